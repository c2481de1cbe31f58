//! Calling functions of a driver by their address, and the few things of the system that a tenant
//! does which Rust has no safe way for.

use std::ffi::c_void;
use std::io;

/// A function of C that takes numbers and addresses and returns a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function(*const c_void);

/// How many arguments a function may have.
const ARGUMENTS_MAX: usize = 12;

impl Function {
    /// The function at an address that a loader or a driver gave for it.
    pub(crate) fn at(address: *const c_void) -> Option<Self> {
        (!address.is_null()).then_some(Self(address))
    }

    /// Calls it. The tenant, which alone does so, vouches for its arguments as any program in C
    /// would: each number and address is passed as a word, which is how C passes them where this
    /// runs, and a function that takes fewer does not see the rest.
    pub(crate) fn call(self, arguments: &[usize]) -> i32 {
        assert!(arguments.len() <= ARGUMENTS_MAX, "no function of the driver takes as many");
        let mut a = [0usize; ARGUMENTS_MAX];
        a[..arguments.len()].copy_from_slice(arguments);
        type Words = extern "C" fn(
            usize,
            usize,
            usize,
            usize,
            usize,
            usize,
            usize,
            usize,
            usize,
            usize,
            usize,
            usize,
        ) -> i32;
        // SAFETY: the address is a function's, and words in place of what it takes are passed alike.
        let function: Words = unsafe { std::mem::transmute(self.0) };
        function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11])
    }

    /// Calls `cuIpcOpenMemHandle`, which takes 64 bytes by value.
    pub(crate) fn call_with_handle(self, address: &mut u64, handle: [u64; 8], flags: u32) -> i32 {
        #[repr(C)]
        struct Handle([u64; 8]);
        type Open = extern "C" fn(*mut u64, Handle, u32) -> i32;
        // SAFETY: the address is that of a function of this type, as whoever calls vouches.
        let function: Open = unsafe { std::mem::transmute(self.0) };
        function(address, Handle(handle), flags)
    }
}

/// Runs something in a child and gives the code with which it ended; the child does nothing else.
pub(crate) fn in_child(body: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the child runs the body and ends without coming back to the parent's code; what locks
    // the parent's other threads hold, the body must not need.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = body();
            // SAFETY: ends the child at once, without what the parent wanted done at its end.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: the status is a place for a number, and the child is this process's own.
            match unsafe { libc::waitpid(pid, &mut status, 0) } {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(status),
            }
        }
    }
}

/// Ends this process as `kill -9` does.
pub(crate) fn kill_self() {
    // SAFETY: a signal to oneself touches no memory.
    unsafe { libc::raise(libc::SIGKILL) };
}
