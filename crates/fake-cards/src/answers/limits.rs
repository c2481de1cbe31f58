//! Limits of memory that the driver holds control groups to.

use super::facts::LIMITS_MAX;
use crate::cards::Cards;

/// Bytes of a control group's path.
const PATH_BYTES: usize = 256;

/// The limits of one control group on one card, as the file holds them.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MemoryLimit {
    /// With zeros behind it; all zeros if there is none.
    path: [u8; PATH_BYTES],
    soft: u64,
    hard: u64,
}

/// The limits of one control group on one card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimitFacts {
    /// Bytes that it has before others.
    pub soft: u64,
    /// Bytes that it never passes; the largest number for none.
    pub hard: u64,
}

/// Why no limit was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitRefused {
    /// The card is not there, is in MIG mode, or the path is too long.
    Unfit,
    /// As many control groups have limits as there may be.
    Full,
}

impl Cards {
    /// Sets the limits of a control group, which go when they are those of a group without any.
    ///
    /// # Errors
    /// If it has none of that kind, or too many.
    pub fn set_memory_limit(
        &self,
        card: usize,
        path: &str,
        limit: MemoryLimitFacts,
    ) -> Result<(), LimitRefused> {
        let mut world = self.now();
        let name = padded(path).ok_or(LimitRefused::Unfit)?;
        if card >= world.cards_len() || world.cards[card].answers.told.mig_mode == 1 {
            return Err(LimitRefused::Unfit);
        }
        let limits: &mut [MemoryLimit; LIMITS_MAX] = &mut world.cards[card].answers.limits;
        let own = limits.iter().position(|one| one.path == name);
        let free = limits.iter().position(|one| one.path[0] == 0);
        let place = own.or(free).ok_or(LimitRefused::Full)?;
        let is_none = limit.soft == 0 && limit.hard == u64::MAX;
        let path = if is_none { [0; PATH_BYTES] } else { name };
        limits[place] = MemoryLimit { path, soft: limit.soft, hard: limit.hard };
        Ok(())
    }

    /// The limits of a control group; those of none if it has none.
    #[must_use]
    pub fn memory_limit(&self, card: usize, path: &str) -> MemoryLimitFacts {
        let world = self.now();
        let name = padded(path);
        let limits = world.real_cards().get(card).map(|card| &card.answers.limits);
        let found = limits.into_iter().flatten().find(|one| Some(one.path) == name);
        let none = MemoryLimitFacts { soft: 0, hard: u64::MAX };
        found.map_or(none, |one| MemoryLimitFacts { soft: one.soft, hard: one.hard })
    }
}

fn padded(path: &str) -> Option<[u8; PATH_BYTES]> {
    let mut name = [0; PATH_BYTES];
    let fits = !path.is_empty() && path.len() < PATH_BYTES;
    name.get_mut(..path.len())?.copy_from_slice(path.as_bytes());
    fits.then_some(name)
}
