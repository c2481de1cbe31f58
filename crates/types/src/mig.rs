//! The geometry of MIG: which partitions a card offers and where each may begin.
//!
//! A card has a row of memory slots. A profile covers a number of neighbouring slots and may begin
//! only at some of them, so that free slots are not always usable: the facts come from the driver
//! (`nvmlDeviceGetGpuInstancePossiblePlacements`), or from a table where a card is simulated.

use serde::{Deserialize, Serialize};

use crate::{Mebibytes, Share};

/// The partitions that a card offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigGeometry {
    /// Memory slots of the card, at most 32.
    pub slots: u8,
    /// What may lie on them, smallest first.
    pub profiles: Vec<MigProfile>,
}

/// A size of partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigProfile {
    /// NVIDIA's name for it, such as `1g.10gb`.
    pub name: String,
    /// Memory of such a partition.
    pub memory: Mebibytes,
    /// Its part of the card's multiprocessors.
    pub compute: Share,
    /// Slots that it covers.
    pub width: u8,
    /// Slots that it may begin at.
    pub starts: Vec<u8>,
    /// Most of them on one card.
    pub count_max: u8,
}

/// A partition on a card: what it is and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MigPlace {
    /// The profile's name.
    pub profile: String,
    /// Its first slot.
    pub start: u8,
}

impl MigGeometry {
    /// The profile of that name.
    pub fn profile(&self, name: &str) -> Option<&MigProfile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }
}

impl MigProfile {
    /// Slots covered by a partition that begins there, one bit a slot.
    pub fn mask(&self, start: u8) -> u32 {
        let ones = (1u64 << self.width.min(32)) - 1;
        (ones << start.min(32)) as u32
    }
}
