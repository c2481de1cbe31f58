//! Functions of the program that the driver calls.

use std::ffi::c_void;

/// Calls a function that the program gave for this, with its data.
pub(crate) fn call_host_function(function: usize, data: usize) {
    if function == 0 {
        return;
    }
    // SAFETY: the program gave the address of a function of this type, and it is not null.
    let function: extern "C" fn(*mut c_void) = unsafe { std::mem::transmute(function) };
    function(data as *mut c_void);
}
