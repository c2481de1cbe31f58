//! What each rung gives the jobs that share a card, and what it does not.
//!
//! Measured by others on one card: seven pods of one small model on an A100 answered after 0.685 s
//! by time slices, 0.320 s by MPS and 0.344 s in partitions, and one pod alone after 0.088 s,
//! 0.088 s and 0.342 s (nebuly-ai/nos, `demos/gpu-sharing-comparison/README.md`): a partition is as
//! slow alone as in company, and the others as fast as their company lets them be.

use cotenant_types::Rung;
use serde::Serialize;

/// How an amount of one job is kept from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// Hardware of its own.
    Hardware,
    /// A limit that something outside the job keeps it to.
    Limit,
    /// A limit that a library in the job's own process keeps it to: a hostile job gets around it.
    Library,
    /// Nothing.
    Nothing,
}

/// Whom a job's fault reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Faults {
    /// The job alone.
    Contained,
    /// Whoever shares the card, at worst.
    Shared,
}

/// How long a job's answers take when its neighbours are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Latency {
    /// As long as alone.
    Steady,
    /// Longer: compute is held, and caches and the way to memory are shared.
    Stretched,
    /// As much longer as there are neighbours: they take turns.
    Turns,
}

/// What a rung gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RungFacts {
    /// What keeps others out of a job's memory, and the job out of theirs.
    pub memory: Hold,
    /// What keeps others from a job's compute.
    pub compute: Hold,
    /// Whom a fault reaches.
    pub faults: Faults,
    /// What neighbours do to its answers.
    pub latency: Latency,
    /// Whether what one job leaves idle may serve another.
    pub lends: bool,
}

impl RungFacts {
    /// The facts of a rung.
    pub fn of(rung: Rung) -> Self {
        use Faults::{Contained, Shared};
        use Hold::{Hardware, Library, Limit, Nothing};
        use Latency::{Steady, Stretched, Turns};
        let facts = |(memory, compute), (faults, latency), lends| Self {
            memory,
            compute,
            faults,
            latency,
            lends,
        };
        match rung {
            // Own multiprocessors, cache and memory channels (NVIDIA, "MIG User Guide").
            Rung::Mig => facts((Hardware, Hardware), (Contained, Steady), false),
            // Driver r615 limits the memory of a control group and no compute (NVIDIA,
            // "Multi-Process Service", release 615); jobs take turns.
            Rung::Driver => facts((Limit, Nothing), (Shared, Turns), true),
            // Limits are per client. A fatal fault of one client ends the others of its server
            // (NVIDIA, "Multi-Process Service", on error containment).
            Rung::Mps => facts((Limit, Limit), (Shared, Stretched), true),
            // Processes of one kernel: nothing of one is another's, but caches and memory's width.
            Rung::Cgroup => facts((Limit, Limit), (Contained, Stretched), true),
            // Counted in the job's process; contexts take turns on the card.
            Rung::Intercept => facts((Library, Library), (Shared, Stretched), true),
            // "There is no memory or fault-isolation between replicas" (NVIDIA/k8s-device-plugin,
            // README, on time-slicing).
            Rung::TimeSlice => facts((Nothing, Nothing), (Shared, Turns), true),
            Rung::Worker => facts((Nothing, Nothing), (Contained, Turns), true),
            Rung::Advisory => facts((Nothing, Nothing), (Shared, Turns), true),
        }
    }

    /// Whether memory and compute are both held.
    pub fn holds_all(self) -> bool {
        self.memory < Hold::Nothing && self.compute < Hold::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_agree_with_what_rungs_say_of_themselves() {
        for rung in Rung::ALL {
            let facts = RungFacts::of(rung);
            assert_eq!(facts.memory != Hold::Nothing, rung.holds_memory(), "{rung}");
            assert_eq!(facts.compute != Hold::Nothing, rung.holds_compute(), "{rung}");
            // Where nothing holds compute, neighbours take turns.
            assert_eq!(facts.compute == Hold::Nothing, facts.latency == Latency::Turns, "{rung}");
        }
    }
}
