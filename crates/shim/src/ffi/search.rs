//! The `dlsym` that programs find before the system's.
//!
//! Runtimes open the driver by name and look its functions up in that handle, where a preloaded
//! library is not searched. So the look-up itself is taken over, for the driver's names alone. Any
//! other name goes on to the system's `dlsym` by a jump: it must see the caller's own return
//! address, by which it knows what "next" means to whoever asked.

use std::ffi::{CStr, c_char, c_void};

use super::lookup;
use super::resolve::{ask, real_dlsym};

/// Says what a look-up finds if it is one of ours, or null to go on to the system.
///
/// # Safety
/// As for `dlsym`: the handle is one that it takes, and the name a C string.
#[cfg_attr(not(all(target_env = "gnu", target_arch = "x86_64")), allow(dead_code))]
unsafe extern "C" fn route(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    let null = std::ptr::null_mut();
    if real_dlsym() == 0 || name.is_null() {
        return null;
    }
    // SAFETY: the caller's name is a C string, and each byte is only read if none before was its
    // end.
    let is_driver = unsafe {
        let byte = |at: usize| *name.add(at) as u8;
        match byte(0) {
            // `cuInit`, but not `cudaMalloc` or `cublasCreate`, which are other libraries'.
            b'c' => byte(1) == b'u' && byte(2).is_ascii_uppercase(),
            b'n' => byte(1) == b'v' && byte(2) == b'm' && byte(3) == b'l',
            _ => false,
        }
    };
    // Both of these search the global scope, in which this library's own names come first.
    if !is_driver || handle == libc::RTLD_NEXT || handle == libc::RTLD_DEFAULT {
        return null;
    }
    // SAFETY: the caller's handle and name.
    let found = unsafe { ask(handle, name) };
    // SAFETY: the caller's name.
    let name = unsafe { CStr::from_ptr(name) };
    match lookup::routed(found as usize, name) {
        0 => null,
        ours => ours as *mut c_void,
    }
}

#[cfg(all(target_env = "gnu", target_arch = "x86_64"))]
mod machine {
    use std::ffi::{c_char, c_void};

    /// The `dlsym` that programs find first.
    ///
    /// # Safety
    /// As for the system's.
    #[cfg_attr(not(cotenant_sanitized), unsafe(no_mangle))]
    #[unsafe(naked)]
    #[allow(unreachable_pub)]
    pub unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
        std::arch::naked_asm!(
            "push rdi",
            "push rsi",
            "sub rsp, 8",
            "call {route}",
            "add rsp, 8",
            "pop rsi",
            "pop rdi",
            "test rax, rax",
            "jne 2f",
            "mov rax, qword ptr [rip + {real}]",
            "test rax, rax",
            "je 2f",
            "jmp rax",
            "2:",
            "ret",
            route = sym super::route,
            real = sym super::super::resolve::REAL_DLSYM,
        )
    }
}

#[cfg(all(target_env = "gnu", target_arch = "aarch64"))]
mod machine {
    use std::ffi::{c_char, c_void};

    /// The `dlsym` that programs find first.
    ///
    /// # Safety
    /// As for the system's.
    #[cfg_attr(not(cotenant_sanitized), unsafe(no_mangle))]
    #[unsafe(naked)]
    #[allow(unreachable_pub)]
    pub unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
        std::arch::naked_asm!(
            "stp x0, x1, [sp, #-32]!",
            "str x30, [sp, #16]",
            "bl {route}",
            "mov x9, x0",
            "ldr x30, [sp, #16]",
            "ldp x0, x1, [sp], #32",
            "cbnz x9, 2f",
            "adrp x10, {real}",
            "ldr x10, [x10, :lo12:{real}]",
            "cbz x10, 2f",
            "br x10",
            "2:",
            "mov x0, x9",
            "ret",
            route = sym super::route,
            real = sym super::super::resolve::REAL_DLSYM,
        )
    }
}
