//! The numbers in the file that processes share. All zeros are a card that answers nothing here.

use super::MemoryLimit;

/// Profiles that NVML has numbers for.
pub(crate) const PROFILES_MAX: usize = 17;
/// Partitions that a card may have at once.
pub(crate) const PARTITIONS_MAX: usize = 8;
/// Compute instances of one partition.
pub(crate) const COMPUTES_MAX: usize = 7;
/// Processes of one partition that a test may name.
pub(crate) const USERS_MAX: usize = 4;
/// Control groups that may have limits on a card.
pub(crate) const LIMITS_MAX: usize = 16;
/// Bytes of a profile's name.
pub(crate) const PROFILE_NAME_BYTES: usize = 32;

/// What NVML answers of one card.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Answers {
    pub(crate) told: CardAnswers,
    /// By NVML's number of the profile, which is not its id.
    pub(crate) profiles: [Profile; PROFILES_MAX],
    pub(crate) partitions: [Partition; PARTITIONS_MAX],
    /// Counts compute instances, so that each has an identity of its own.
    pub(crate) serial: u64,
    pub(crate) limits: [MemoryLimit; LIMITS_MAX],
}

/// What a card answers to plain questions. A number that is 0 where that makes no sense is one that
/// the card does not tell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardAnswers {
    /// 1 if partitions may be made now.
    pub mig_mode: u64,
    /// 1 if they may be after the next reset.
    pub mig_mode_pending: u64,
    /// 0 if it has none, 1 if errors are not corrected, 2 if they are.
    pub ecc_mode: u64,
    /// Errors since the driver was loaded that were corrected.
    pub ecc_corrected: u64,
    /// Errors since the driver was loaded that were not.
    pub ecc_uncorrected: u64,
    /// 1 if it tells of its rows.
    pub rows_told: u64,
    /// Rows that were replaced after errors that were corrected.
    pub rows_corrected: u64,
    /// Rows that were replaced after errors that were not.
    pub rows_uncorrected: u64,
    /// 1 if rows are replaced at the next reset.
    pub rows_pending: u64,
    /// 1 if a row could not be replaced.
    pub rows_failed: u64,
    /// 0 if it does not tell, 1 if no page waits to be retired, 2 if one does.
    pub pages: u64,
    /// Milliwatts that it may draw.
    pub power_limit_mw: u64,
    /// Degrees at which it slows down.
    pub slowdown_c: u64,
    /// Degrees at which it goes off.
    pub shutdown_c: u64,
    /// Megahertz of its multiprocessors.
    pub sm_mhz: u64,
    /// Megahertz of its memory.
    pub memory_mhz: u64,
    /// Millijoules since the driver was loaded.
    pub energy_mj: u64,
    /// 1 if it counts what its bus had to send again.
    pub replays_told: u64,
    /// What that is.
    pub replays: u64,
}

/// A size of partition.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileAnswers {
    /// 1 if the card has it.
    pub is_offered: u64,
    /// Its id.
    pub id: u64,
    /// Compute slices.
    pub slices: u64,
    /// Most of them.
    pub count: u64,
    /// Memory.
    pub memory_mib: u64,
    /// Multiprocessors.
    pub sms: u64,
    /// Memory slots.
    pub width: u64,
    /// Slots that it may begin at, one bit each.
    pub starts: u64,
    /// Its name, with zeros behind it.
    pub name: [u8; PROFILE_NAME_BYTES],
}

/// A size of partition, as the file holds it.
pub(crate) type Profile = ProfileAnswers;

/// A partition, which NVML calls a GPU instance.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Partition {
    pub(crate) is_there: u64,
    /// The place of its profile in the list.
    pub(crate) profile: u64,
    pub(crate) start: u64,
    pub(crate) computes: [Compute; COMPUTES_MAX],
    pub(crate) users: [User; USERS_MAX],
}

/// A compute instance: what programs see as a card.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Compute {
    /// Its number among all that the card ever had; 0 if it is not there.
    pub(crate) serial: u64,
    pub(crate) slices: u64,
}

/// A process on a partition, as a test says.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct User {
    /// 0 if there is none.
    pub(crate) pid: u64,
    pub(crate) bytes: u64,
}

impl ProfileAnswers {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let length = self.name.iter().position(|&byte| byte == 0).unwrap_or(PROFILE_NAME_BYTES);
        String::from_utf8_lossy(&self.name[..length]).into_owned()
    }

    /// Whether it may begin at a slot.
    #[must_use]
    pub fn may_begin_at(&self, start: u64) -> bool {
        start < 64 && self.starts >> start & 1 == 1
    }
}
