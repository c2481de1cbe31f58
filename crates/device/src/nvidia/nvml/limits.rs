//! Memory limits of control groups, which NVML sets since driver r615.
//!
//! No crate declares these functions yet, so that they are looked up by name.

use std::ffi::{CStr, c_char};

use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings as sys;

use super::refused::Refused;

/// NVML's `nvmlSetMemoryLimits_v1_t`.
#[repr(C)]
struct SetMemoryLimits {
    name_space: *const c_char,
    soft_limit: u64,
    hard_limit: u64,
}

/// NVML's `nvmlGetMemoryLimits_v1_t`.
#[repr(C)]
struct GetMemoryLimits {
    name_space: *const c_char,
    soft_limit: u64,
    hard_limit: u64,
    current_used: u64,
}

type Set = unsafe extern "C" fn(sys::nvmlDevice_t, *mut SetMemoryLimits) -> sys::nvmlReturn_t;
type Get = unsafe extern "C" fn(sys::nvmlDevice_t, *mut GetMemoryLimits) -> sys::nvmlReturn_t;

const SET: &str = "nvmlDeviceSetMemoryLimits_v1";
const GET: &str = "nvmlDeviceGetMemoryLimits_v1";

/// The limit of a group that has none: `NVML_DEVICE_MEMORY_LIMIT_MAX`.
pub(crate) const ALL_MEMORY: u64 = u64::MAX;

/// Limits of a control group on a card, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What it has before others.
    pub(crate) soft: u64,
    /// What it never passes.
    pub(crate) hard: u64,
    /// What it uses; not read when limits are set.
    pub(crate) used: u64,
}

/// Whether this driver has the functions.
pub(crate) fn has_limits(nvml: &Nvml) -> bool {
    setter(nvml).is_ok() && getter(nvml).is_ok()
}

/// Sets the limits of the control group whose folder this is.
pub(crate) fn set_limits(
    nvml: &Nvml,
    device: &Device<'_>,
    (group, wished): (&CStr, Limits),
) -> Result<(), Refused> {
    let set = setter(nvml)?;
    let mut limits = SetMemoryLimits {
        name_space: group.as_ptr(),
        soft_limit: wished.soft,
        hard_limit: wished.hard,
    };
    // SAFETY: the handle is of `nvml`, which is open; the struct has NVML's layout, and the text in
    // it ends with a zero and outlives the call.
    Refused::check(unsafe { set(device.handle(), &mut limits) })
}

/// The limits of the control group whose folder this is.
pub(crate) fn limits(nvml: &Nvml, device: &Device<'_>, group: &CStr) -> Result<Limits, Refused> {
    let get = getter(nvml)?;
    let mut limits = GetMemoryLimits {
        name_space: group.as_ptr(),
        soft_limit: 0,
        hard_limit: 0,
        current_used: 0,
    };
    // SAFETY: as in `set_limits`.
    Refused::check(unsafe { get(device.handle(), &mut limits) })?;
    Ok(Limits { soft: limits.soft_limit, hard: limits.hard_limit, used: limits.current_used })
}

fn setter(nvml: &Nvml) -> Result<Set, Refused> {
    // SAFETY: NVIDIA documents a function of this type under this name.
    let found = unsafe { nvml.lib().__library.get::<Set>(SET.as_bytes()) };
    found.map(|function| *function).map_err(|_| Refused::Missing(SET))
}

fn getter(nvml: &Nvml) -> Result<Get, Refused> {
    // SAFETY: as in `setter`.
    let found = unsafe { nvml.lib().__library.get::<Get>(GET.as_bytes()) };
    found.map(|function| *function).map_err(|_| Refused::Missing(GET))
}

// What NVIDIA documents: a pointer and two or three numbers of 64 bits, in this order.
const _: () = assert!(size_of::<SetMemoryLimits>() == 24 && size_of::<GetMemoryLimits>() == 32);
const _: () = assert!(std::mem::offset_of!(GetMemoryLimits, current_used) == 24);
