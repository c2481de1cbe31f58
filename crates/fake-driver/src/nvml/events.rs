//! Xid errors, for whoever waits for them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::card::argument;
use super::{Device, cards, handle, named};
use crate::codes::{Code, Outcome, nvml};
use crate::ffi::{Out, driver};

/// NVML's `nvmlEventData_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EventData {
    device: Device,
    kind: u64,
    data: u64,
    gpu_instance: u32,
    compute_instance: u32,
}

/// What somebody waits for: cards, and how many errors he has seen.
#[derive(Debug, Default)]
struct EventSet {
    cards: Vec<usize>,
    seen: u64,
}

const XID: u64 = 8;
const LOOK: Duration = Duration::from_millis(2);

static SETS: Mutex<Option<HashMap<usize, EventSet>>> = Mutex::new(None);

driver! {
    nvml:

    fn nvmlEventSetCreate(set: Out<usize>) {
        let seen = cards()?.xids_len();
        let mut sets = sets();
        let all = sets.get_or_insert_default();
        let made = all.keys().max().copied().unwrap_or(0x3000_0000) + 16;
        all.insert(made, EventSet { cards: Vec::new(), seen });
        argument(set.set(made))
    }

    fn nvmlEventSetFree(set: usize) {
        let gone = sets().get_or_insert_default().remove(&set);
        gone.map(drop).ok_or(nvml::INVALID_ARGUMENT)
    }

    fn nvmlDeviceRegisterEvents(device: Device, kinds: u64, set: usize) {
        let (index, _) = named(device)?;
        if kinds & !XID != 0 {
            return Err(nvml::NOT_SUPPORTED);
        }
        let mut sets = sets();
        let found = sets.get_or_insert_default().get_mut(&set);
        found.ok_or(nvml::INVALID_ARGUMENT)?.cards.push(index);
        Ok(())
    }

    fn nvmlDeviceGetSupportedEventTypes(device: Device, kinds: Out<u64>) {
        named(device)?;
        argument(kinds.set(XID))
    }

    fn nvmlEventSetWait(set: usize, data: Out<EventData>, timeout_ms: u32) {
        wait(set, data, timeout_ms)
    }

    fn nvmlEventSetWait_v2(set: usize, data: Out<EventData>, timeout_ms: u32) {
        wait(set, data, timeout_ms)
    }
}

fn sets() -> MutexGuard<'static, Option<HashMap<usize, EventSet>>> {
    SETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on the machine's clock, as who watches cards does.
fn wait(set: usize, data: Out<EventData>, timeout_ms: u32) -> Outcome {
    let end = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
    loop {
        if let Some((card, xid)) = next(set)? {
            let (gpu_instance, compute_instance) = (u32::MAX, u32::MAX);
            let (device, data_value) = (handle(card), u64::from(xid));
            return argument(data.set(EventData {
                device,
                kind: XID,
                data: data_value,
                gpu_instance,
                compute_instance,
            }));
        }
        if Instant::now() >= end {
            return Err(nvml::TIMEOUT);
        }
        thread::sleep(LOOK);
    }
}

/// The next error on a card of a set.
fn next(set: usize) -> Result<Option<(usize, u32)>, Code> {
    let cards = cards()?;
    let mut sets = sets();
    let found = sets.get_or_insert_default().get_mut(&set).ok_or(nvml::INVALID_ARGUMENT)?;
    for (card, xid) in cards.xids_after(found.seen) {
        found.seen += 1;
        if found.cards.contains(&card) {
            return Ok(Some((card, xid)));
        }
    }
    Ok(None)
}
