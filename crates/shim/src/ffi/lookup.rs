//! From an address of the driver's to the function that stands before it.
//!
//! Names are not trusted for this. `cuGetProcAddress` gives, for one name, the variant that suits
//! the program's version and kind of stream; whichever it is, it is one of the functions that the
//! driver exports, and only if that very one is in the table is it taken over. So a wrong variant
//! is never called, and a version that the table does not know stays the driver's own.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::resolve::Library;
use super::table::Hook;
use super::{account, state, waived};

/// The function of ours that stands before the driver's at this address, or the address itself.
pub(super) fn routed(address: usize, name: &CStr) -> usize {
    if address == 0 {
        return 0;
    }
    let library = match name.to_bytes().first() {
        Some(b'n') => Library::Nvml,
        _ => Library::Cuda,
    };
    let hooks = Hook::ALL.iter().filter(|hook| hook.library() == library);
    for hook in hooks {
        // One of our own: the program's linker found it first.
        if hook.wrapper() == address {
            return address;
        }
        if hook.real() == Some(address) {
            return hook.wrapper();
        }
    }
    if library == Library::Cuda && !is_known(name) {
        state::count_unknown();
    }
    address
}

/// Whether a name that led to none of our functions may well do so: it is waived, and no variant of
/// it is taken over.
fn is_known(name: &CStr) -> bool {
    let Ok(name) = name.to_str() else { return false };
    let is_variant = |hook: &&Hook| {
        let rest = hook.name().strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    waived::reason(name).is_some() && !Hook::ALL.iter().any(|hook| is_variant(&hook))
}

/// `cuGetProcAddress` in both its forms: the driver answers, and the answer is routed.
///
/// # Safety
/// The name is a C string, and the place one to which the driver wrote.
pub(super) unsafe fn answer(
    call: impl Fn() -> c_int,
    name: *const c_char,
    place: *mut *mut c_void,
) -> c_int {
    let result = call();
    if result == account::SUCCESS && !name.is_null() && !place.is_null() {
        // SAFETY: the caller's.
        unsafe { *place = routed(*place as usize, CStr::from_ptr(name)) as *mut c_void };
    }
    result
}
