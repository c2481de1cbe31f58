//! How a card is, beside what it does: why it is slow, what its memory has lost, what went wrong.

use crate::nvidia::{XidKind, xid_meaning};

/// What a card says of itself; nothing where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Why its clocks are lower than they could be, other than that it is idle.
    pub throttled_by: Vec<Throttle>,
    /// The same in NVML's bits, which DCGM shows.
    pub throttle_bits: Option<u64>,
    /// Milliwatts that it may draw.
    pub power_limit_mw: Option<u32>,
    /// Degrees Celsius at which it slows down.
    pub slowdown_c: Option<u32>,
    /// Degrees Celsius at which it goes off.
    pub shutdown_c: Option<u32>,
    /// Megahertz of its multiprocessors.
    pub sm_clock_mhz: Option<u32>,
    /// Megahertz of its memory.
    pub memory_clock_mhz: Option<u32>,
    /// Millijoules since the driver was loaded.
    pub energy_mj: Option<u64>,
    /// What its bus had to send again.
    pub pcie_replays: Option<u32>,
    /// Errors of its memory since the driver was loaded, where it corrects any.
    pub ecc: Option<EccErrors>,
    /// Rows of its memory that were replaced, where it can replace any.
    pub rows: Option<RowRemaps>,
    /// Whether pages of its memory wait to be retired, on cards that retire pages.
    pub are_pages_pending: Option<bool>,
    /// Xid errors since it is metered, the newest last; at most [`Vitals::XIDS_MAX`].
    pub xids: Vec<u64>,
}

/// Why a card's clocks are low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Throttle {
    /// It draws as much as it may.
    PowerCap,
    /// Its software keeps it from becoming too hot.
    Heat,
    /// It is so hot that its hardware has halved its clocks, or more.
    HardwareHeat,
    /// Its supply of power has told it to draw less.
    PowerBrake,
    /// Its hardware slows it down, for heat or for power.
    Hardware,
    /// It keeps to the slowest of a group of cards.
    SyncBoost,
    /// Somebody has set its clocks.
    SetClocks,
}

/// Errors of a card's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EccErrors {
    /// Those that were corrected.
    pub corrected: u64,
    /// Those that were not.
    pub uncorrected: u64,
}

/// Rows of a card's memory that were replaced by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowRemaps {
    /// After errors that were corrected.
    pub corrected: u32,
    /// After errors that were not.
    pub uncorrected: u32,
    /// Whether some wait for a reset.
    pub is_pending: bool,
    /// Whether one could not be replaced.
    pub has_failed: bool,
}

impl Throttle {
    /// Every reason.
    pub const ALL: [Throttle; 7] = [
        Throttle::PowerCap,
        Throttle::Heat,
        Throttle::HardwareHeat,
        Throttle::PowerBrake,
        Throttle::Hardware,
        Throttle::SyncBoost,
        Throttle::SetClocks,
    ];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Throttle::PowerCap => "power-cap",
            Throttle::Heat => "heat",
            Throttle::HardwareHeat => "hardware-heat",
            Throttle::PowerBrake => "power-brake",
            Throttle::Hardware => "hardware",
            Throttle::SyncBoost => "sync-boost",
            Throttle::SetClocks => "set-clocks",
        }
    }

    /// In words, and what to do.
    pub fn words(self) -> &'static str {
        match self {
            Throttle::PowerCap => {
                "it draws as much power as it may; nvidia-smi -q -d POWER shows the limit"
            }
            Throttle::Heat => {
                "it is warm, and its software keeps it from becoming too hot; cool it"
            }
            Throttle::HardwareHeat => {
                "it is too hot, and its hardware has slowed it down; cool it at once"
            }
            Throttle::PowerBrake => {
                "its supply of power has told it to draw less; look at the supply"
            }
            Throttle::Hardware => "its hardware slows it down, for heat or for power; look at both",
            Throttle::SyncBoost => "it keeps to the slowest of a group of cards",
            Throttle::SetClocks => "somebody has set its clocks; nvidia-smi -rgc -rac undoes that",
        }
    }

    /// NVML's bit for it.
    pub(crate) fn bit(self) -> u64 {
        match self {
            Throttle::SetClocks => 0x2,
            Throttle::PowerCap => 0x4,
            Throttle::Hardware => 0x8,
            Throttle::SyncBoost => 0x10,
            Throttle::Heat => 0x20,
            Throttle::HardwareHeat => 0x40,
            Throttle::PowerBrake => 0x80,
        }
    }

    /// The reasons among NVML's bits. What hardware does for a reason that is known is not said
    /// twice.
    pub(crate) fn of_bits(bits: u64) -> Vec<Throttle> {
        let is_set = |throttle: &Throttle| bits & throttle.bit() != 0;
        let mut reasons: Vec<Throttle> = Self::ALL.into_iter().filter(is_set).collect();
        let is_known =
            reasons.iter().any(|one| matches!(one, Throttle::HardwareHeat | Throttle::PowerBrake));
        reasons.retain(|one| *one != Throttle::Hardware || !is_known);
        reasons
    }
}

impl Vitals {
    /// Most Xid errors that are remembered of a card.
    pub const XIDS_MAX: usize = 32;

    /// Notes an Xid error.
    pub(crate) fn push_xid(xids: &mut Vec<u64>, xid: u64) {
        if xids.len() == Self::XIDS_MAX {
            xids.remove(0);
        }
        xids.push(xid);
    }

    /// Why nothing new should run on the card, in words that say what to do; none if it is sound.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let rows = self.rows.unwrap_or_default();
        if rows.has_failed {
            faults.push(
                "a bad row of its memory could not be replaced: have the card looked at".to_owned(),
            );
        }
        let is_lossy = self.ecc.is_some_and(|ecc| ecc.uncorrected > 0);
        if rows.is_pending && is_lossy {
            faults.push(
                "a bad row of its memory is replaced only at the next reset: stop what runs there \
                 and run: nvidia-smi --gpu-reset -i CARD"
                    .to_owned(),
            );
        }
        // Each number once, the newest first.
        let mut told: Vec<u64> = Vec::new();
        for &xid in self.xids.iter().rev() {
            let meaning = xid_meaning(xid);
            if meaning.kind == XidKind::Card && !told.contains(&xid) {
                told.push(xid);
                faults.push(format!("Xid {xid}, {}: {}", meaning.what, meaning.hint));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttles_are_read_from_bits() {
        assert_eq!(Throttle::of_bits(0x1), []);
        assert_eq!(Throttle::of_bits(0x4 | 0x20), [Throttle::PowerCap, Throttle::Heat]);
        assert_eq!(Throttle::of_bits(0x8), [Throttle::Hardware]);
        assert_eq!(Throttle::of_bits(0x8 | 0x40), [Throttle::HardwareHeat]);
        let all = Throttle::ALL.into_iter().fold(0, |bits, one| bits | one.bit());
        assert_eq!(all, 0xfe, "each reason has a bit of its own");
        assert!(Throttle::ALL.into_iter().all(|one| !one.words().is_empty()));
    }

    #[test]
    fn only_what_the_card_must_be_reset_for_is_a_fault() {
        let check = |vitals: Vitals, expected: &[&str]| {
            let faults = vitals.faults();
            assert_eq!(faults.len(), expected.len(), "{faults:?}");
            for (fault, start) in faults.iter().zip(expected) {
                assert!(fault.starts_with(start), "{fault}");
            }
        };
        let none = Vitals::default();
        check(Vitals { xids: vec![13, 31, 94, 63], ..none.clone() }, &[]);
        let fatal = ["Xid 95, an uncorrectable", "Xid 48, an uncorrectable"];
        check(Vitals { xids: vec![48, 13, 48, 95], ..none.clone() }, &fatal);
        let rows = RowRemaps { is_pending: true, ..RowRemaps::default() };
        check(Vitals { rows: Some(rows), ..none.clone() }, &[]);
        let ecc = Some(EccErrors { corrected: 9, uncorrected: 1 });
        check(Vitals { rows: Some(rows), ecc, ..none.clone() }, &["a bad row of its memory is"]);
        let rows = Some(RowRemaps { has_failed: true, ..RowRemaps::default() });
        check(Vitals { rows, ..none }, &["a bad row of its memory could not"]);
    }

    #[test]
    fn xids_are_remembered_within_bounds() {
        let mut xids = Vec::new();
        (0..100).for_each(|xid| Vitals::push_xid(&mut xids, xid));
        assert_eq!((xids.len(), xids[0], xids[31]), (Vitals::XIDS_MAX, 68, 99));
    }
}
