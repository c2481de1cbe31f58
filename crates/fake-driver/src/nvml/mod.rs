//! NVML over the same cards. It never makes its process a user of them.

pub(crate) mod card;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod mig;
pub(crate) mod processes;
pub(crate) mod system;

use std::sync::atomic::{AtomicUsize, Ordering};

use cotenant_fake_cards::{CardFacts, Cards};

use crate::codes::{Code, nvml};
use crate::state;

/// A card's handle: its index, away from what a program might take for null.
pub(crate) type Device = usize;

const FIRST: Device = 0x2000_0000;
const STEP: Device = 0x100;

static INITIALISED: AtomicUsize = AtomicUsize::new(0);

/// The cards, if NVML was initialised.
fn cards() -> Result<&'static Cards, Code> {
    if INITIALISED.load(Ordering::Acquire) == 0 {
        return Err(nvml::UNINITIALIZED);
    }
    state::cards().map_err(|_| nvml::DRIVER_NOT_LOADED)
}

/// The handle of a card.
fn handle(index: usize) -> Device {
    FIRST + index * STEP
}

/// The index of a card and what is known of it, even if it fell off.
fn named(device: Device) -> Result<(usize, CardFacts), Code> {
    let cards = cards()?;
    let offset = device.checked_sub(FIRST).filter(|offset| offset.is_multiple_of(STEP));
    let index = offset.ok_or(nvml::INVALID_ARGUMENT)? / STEP;
    Ok((index, cards.card(index).ok_or(nvml::INVALID_ARGUMENT)?))
}

/// A card that is there.
fn present(device: Device) -> Result<(usize, CardFacts), Code> {
    let (index, facts) = named(device)?;
    if facts.is_lost { Err(nvml::GPU_IS_LOST) } else { Ok((index, facts)) }
}

/// A card's identity as NVML writes it.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits: Vec<String> = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| digits[from..to].concat();
    format!("GPU-{}-{}-{}-{}-{}", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16))
}
