//! What a group may use, and how a job's terms become the kernel's numbers.

use cotenant_types::{Mebibytes, Policy, Share, Slice};

/// What a group may use of a CPU card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuLimits {
    /// Memory that it may reach. Beyond it the kernel kills: version 2 the whole group, version 1
    /// a process that it picks from it.
    pub memory_max: Mebibytes,
    /// Its part of the cores when other groups of this program want them too.
    pub weight: Share,
    /// Its part of the cores that it never passes; without one it may have all that is idle.
    pub quota: Option<Share>,
    /// Cores of the card.
    pub cores: u32,
}

/// How often the kernel counts what is left of a quota.
pub(super) const PERIOD_US: u64 = 100_000;

/// What version 1 gives a process for each core that it may fill.
pub(super) const CORE_SHARES: u64 = 1024;

/// See [`CpuLimits::favour`]: nine tenths of a core are left to a thread beside one of a neighbour.
const FAVOUR: u64 = 10;

/// The least quota that the kernel takes.
const QUOTA_US_MIN: u64 = 1_000;

impl CpuLimits {
    /// The limits of a slice. What is kept for the job is its weight under every policy, and a job
    /// that may have no more is favoured, so that it gets that on whichever core it runs; its limit
    /// is a quota, except where the policy is `contend`, or the policy is `burst` and the limit
    /// all there is.
    pub fn of(slice: &Slice, policy: Policy, cores: u32) -> Self {
        let limit = slice.compute.limit;
        let quota = match policy {
            Policy::Fixed => Some(limit),
            Policy::Burst => (limit < Share::WHOLE).then_some(limit),
            Policy::Contend => None,
        };
        Self { memory_max: slice.memory.limit, weight: slice.compute.request, quota, cores }
    }

    /// Version 1's `cpu.shares`: 1024 a core, ten times as much for a group that is favoured, from 2
    /// to 262144.
    pub(super) fn shares(&self) -> u64 {
        let whole = u64::from(self.cores) * CORE_SHARES * self.favour();
        (u64::from(self.weight.per_mille()) * whole / 1000).clamp(2, 262_144)
    }

    /// Version 2's `cpu.weight`: 1000 for the whole card, or 10000 for a group that is favoured, from
    /// 1. Groups are weighed against each other alone, so that cores do not matter.
    pub(super) fn weight(&self) -> u64 {
        (u64::from(self.weight.per_mille()) * self.favour()).max(1)
    }

    /// How much more a group weighs than its part of the cores.
    ///
    /// The kernel weighs groups on each core by itself. One thread that is due most of a core, beside
    /// one thread of a neighbour that has the other cores too, would get half of it. Where the quota
    /// holds a group to what is kept for it, it can be favoured: it gets that first, and never more.
    fn favour(&self) -> u64 {
        match self.quota {
            Some(quota) if quota <= self.weight => FAVOUR,
            Some(_) | None => 1,
        }
    }

    /// Microseconds of processor time in each [`PERIOD_US`]; none for as much as there is.
    pub(super) fn quota_us(&self) -> Option<u64> {
        let whole = u64::from(self.cores.max(1)) * PERIOD_US;
        let part = |quota: Share| (u64::from(quota.per_mille()) * whole / 1000).max(QUOTA_US_MIN);
        self.quota.map(part)
    }
}

#[cfg(test)]
mod tests {
    use cotenant_types::{Rung, Span};

    use super::*;

    fn share(per_mille: u32) -> Share {
        Share::from_per_mille(per_mille).unwrap()
    }

    #[test]
    fn policies_become_weights_and_quotas() {
        let check = |policy, (request, limit), cores, expected: (u64, u64, Option<u64>)| {
            let slice = Slice {
                card: "cpu-0".parse().unwrap(),
                memory: Span { request: Mebibytes(1), limit: Mebibytes(2) },
                compute: Span { request: share(request), limit: share(limit) },
                whole: false,
                enforced_by: Rung::Cgroup,
                mig: None,
            };
            let limits = CpuLimits::of(&slice, policy, cores);
            assert_eq!(limits.memory_max, Mebibytes(2));
            let numbers = (limits.shares(), limits.weight(), limits.quota_us());
            assert_eq!(numbers, expected, "{policy:?} {request} {limit} {cores}");
        };
        check(Policy::Fixed, (250, 500), 2, (512, 250, Some(100_000)));
        check(Policy::Fixed, (1000, 1000), 2, (20_480, 10_000, Some(200_000)));
        check(Policy::Burst, (250, 500), 2, (512, 250, Some(100_000)));
        check(Policy::Burst, (500, 500), 2, (10_240, 5_000, Some(100_000)));
        check(Policy::Burst, (250, 1000), 2, (512, 250, None));
        check(Policy::Contend, (250, 500), 2, (512, 250, None));
        check(Policy::Contend, (0, 0), 2, (2, 1, None));
        check(Policy::Fixed, (0, 0), 2, (2, 1, Some(1_000)));
        check(Policy::Fixed, (1, 1), 1, (10, 10, Some(1_000)));
        check(Policy::Fixed, (333, 333), 3, (10_229, 3_330, Some(99_900)));
        check(Policy::Fixed, (1000, 1000), 1_000, (262_144, 10_000, Some(100_000_000)));
        check(Policy::Fixed, (500, 500), 0, (2, 5_000, Some(50_000)));
    }
}
