//! Where the driver's own functions are.
//!
//! Addresses are looked up once each, with the real `dlsym`, in the library that the program uses
//! too. What a driver does not have is remembered as missing, and never called.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// One of the driver's two libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `libcuda.so.1`.
    Cuda,
    /// `libnvidia-ml.so.1`.
    Nvml,
}

/// An address that is looked up once; 0 for not yet, 1 for missing.
pub(super) struct Address(AtomicUsize);

const MISSING: usize = 1;

static CUDA: Address = Address::new();
static NVML: Address = Address::new();
/// The system's own `dlsym`; read by the machine code in `search.rs`.
pub(super) static REAL_DLSYM: AtomicUsize = AtomicUsize::new(0);

type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    fn dlvsym(handle: *mut c_void, name: *const c_char, version: *const c_char) -> *mut c_void;
}

impl Library {
    /// What a function of this library says that is not there.
    pub(super) fn missing_result(self) -> c_int {
        match self {
            // CUDA_ERROR_NOT_FOUND.
            Library::Cuda => 500,
            // NVML_ERROR_FUNCTION_NOT_FOUND.
            Library::Nvml => 13,
        }
    }

    fn handle(self) -> Option<usize> {
        let (address, names) = match self {
            Library::Cuda => (&CUDA, [c"libcuda.so.1", c"libcuda.so"]),
            Library::Nvml => (&NVML, [c"libnvidia-ml.so.1", c"libnvidia-ml.so"]),
        };
        address.get(|| names.iter().map(|name| open(name)).find(|handle| *handle != 0).unwrap_or(0))
    }
}

impl Address {
    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// The address of a function of a library.
    pub(super) fn of(&self, library: Library, name: &CStr) -> Option<usize> {
        match self.0.load(Relaxed) {
            0 => self.get(|| library.handle().map_or(0, |handle| find(handle, name))),
            MISSING => None,
            address => Some(address),
        }
    }

    /// Two threads that look it up at once find the same.
    fn get(&self, look_up: impl FnOnce() -> usize) -> Option<usize> {
        let mut address = self.0.load(Relaxed);
        if address == 0 {
            address = look_up().max(MISSING);
            self.0.store(address, Relaxed);
        }
        (address != MISSING).then_some(address)
    }
}

fn open(name: &CStr) -> usize {
    // SAFETY: the name is a C string. The library is the driver's, which the program is about to
    // use: nothing asks for its address before.
    unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) as usize }
}

fn find(handle: usize, name: &CStr) -> usize {
    let real = real_dlsym();
    if real == 0 {
        return 0;
    }
    // SAFETY: `real` is the system's `dlsym`.
    let real = unsafe { std::mem::transmute::<usize, Dlsym>(real) };
    // SAFETY: the handle was opened and is never closed, and the name is a C string.
    unsafe { real(handle as *mut c_void, name.as_ptr()) as usize }
}

/// What the system's `dlsym` says; a null pointer if there is no such function.
///
/// # Safety
/// The handle is one that `dlsym` takes, and the name a C string.
pub(super) unsafe fn ask(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    match real_dlsym() {
        0 => std::ptr::null_mut(),
        real => {
            // SAFETY: `real` is the system's `dlsym`.
            let real = unsafe { std::mem::transmute::<usize, Dlsym>(real) };
            // SAFETY: the caller's.
            unsafe { real(handle, name) }
        }
    }
}

/// The system's own `dlsym`, past the one that this library puts before it.
pub(super) fn real_dlsym() -> usize {
    let known = REAL_DLSYM.load(Relaxed);
    if known != 0 {
        return known;
    }
    let found = look_up_dlsym();
    REAL_DLSYM.store(found, Relaxed);
    found
}

#[cfg(target_env = "gnu")]
fn look_up_dlsym() -> usize {
    // The versions under which libcs name it: all of today's on x86-64 keep the first, on arm64
    // the second, and every new libc has the third.
    let versions = [c"GLIBC_2.2.5", c"GLIBC_2.17", c"GLIBC_2.34"];
    let look = |version: &CStr| {
        // SAFETY: the names are C strings, and the handle is one that `dlvsym` takes.
        unsafe { dlvsym(libc::RTLD_NEXT, c"dlsym".as_ptr(), version.as_ptr()) as usize }
    };
    versions.iter().map(|version| look(version)).find(|address| *address != 0).unwrap_or(0)
}

#[cfg(not(target_env = "gnu"))]
fn look_up_dlsym() -> usize {
    libc::dlsym as *const () as usize
}
