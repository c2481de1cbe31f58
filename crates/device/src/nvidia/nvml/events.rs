//! Xid errors as they happen.

use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings as sys;

use super::refused::{Refused, function};

/// Waits for Xid errors of cards that it was told of. It owns NVML, so that its set is freed before
/// NVML is closed.
pub(crate) struct XidWatch {
    nvml: Nvml,
    /// The address of NVML's set; none if this driver has no events.
    set: Option<usize>,
}

/// An Xid error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct XidEvent {
    /// The card's identity.
    pub(crate) card: String,
    /// The error's number.
    pub(crate) xid: u64,
}

const XID: u64 = sys::nvmlEventTypeXidCriticalError as u64;

/// Most errors of one look: a card that fails may report them without an end.
const EVENTS_MAX: usize = 256;

impl XidWatch {
    /// Watches cards, by their identities; those without events are left out.
    pub(crate) fn new<'a>(nvml: Nvml, cards: impl Iterator<Item = &'a str>) -> Self {
        let set = create(&nvml).ok();
        if let Some(set) = set {
            let registered = cards.filter_map(|card| nvml.device_by_uuid(card).ok());
            for device in registered {
                // A card that has none is watched by its other answers.
                let _ = register(&nvml, &device, set);
            }
        }
        Self { nvml, set }
    }

    /// NVML, for everything else.
    pub(crate) fn nvml(&self) -> &Nvml {
        &self.nvml
    }

    /// Errors since the last look; does not wait.
    pub(crate) fn look(&self) -> Vec<XidEvent> {
        let Some(set) = self.set else { return Vec::new() };
        let next = || next(&self.nvml, set).ok();
        std::iter::from_fn(next).take(EVENTS_MAX).flatten().collect()
    }
}

impl Drop for XidWatch {
    fn drop(&mut self) {
        if let (Some(set), Ok(free)) = (self.set, function!(self.nvml, nvmlEventSetFree)) {
            // SAFETY: the set was made by this NVML, which is still open, and is used no more.
            unsafe { free(set as sys::nvmlEventSet_t) };
        }
    }
}

impl std::fmt::Debug for XidWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XidWatch").field("set", &self.set).finish_non_exhaustive()
    }
}

fn create(nvml: &Nvml) -> Result<usize, Refused> {
    let create = function!(nvml, nvmlEventSetCreate)?;
    let mut set: sys::nvmlEventSet_t = std::ptr::null_mut();
    // SAFETY: NVML is open, and `set` is a place for a handle.
    Refused::check(unsafe { create(&mut set) })?;
    Ok(set as usize)
}

fn register(nvml: &Nvml, device: &Device<'_>, set: usize) -> Result<(), Refused> {
    let register = function!(nvml, nvmlDeviceRegisterEvents)?;
    // SAFETY: both handles are of this NVML, which is open.
    Refused::check(unsafe { register(device.handle(), XID, set as sys::nvmlEventSet_t) })
}

/// The next event; nothing inside for one that is no Xid error or of no card that can be named.
fn next(nvml: &Nvml, set: usize) -> Result<Option<XidEvent>, Refused> {
    let wait = function!(nvml, nvmlEventSetWait_v2)?;
    let mut data = sys::nvmlEventData_t {
        device: std::ptr::null_mut(),
        eventType: 0,
        eventData: 0,
        gpuInstanceId: 0,
        computeInstanceId: 0,
    };
    // SAFETY: the set is of this NVML, which is open, and `data` is a place for an event.
    Refused::check(unsafe { wait(set as sys::nvmlEventSet_t, &mut data, 0) })?;
    // SAFETY: NVML has just given the handle, and the device does not outlive this function.
    let device = unsafe { Device::new(data.device, nvml) };
    let card = device.uuid().ok().filter(|_| data.eventType & XID != 0);
    Ok(card.map(|card| XidEvent { card, xid: data.eventData }))
}
