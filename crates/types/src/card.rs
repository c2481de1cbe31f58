//! A card as the pool sees it: what it has, where it sits, and what can hold a slice of it.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::{CardId, Mebibytes, MigGeometry, NodeName};

/// One card: a GPU, a simulated GPU, or the processor of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its name in the pool.
    pub id: CardId,
    /// The machine it sits in.
    pub node: NodeName,
    /// Its place among the machine's cards, from 0.
    pub index: u32,
    /// What it is.
    pub kind: CardKind,
    /// Its maker's name for it, such as `NVIDIA H100 80GB HBM3`.
    pub model: String,
    /// Memory that jobs may have: what the driver keeps is not in it.
    pub memory: Mebibytes,
    /// Processor cores, where the card is a processor; 0 for others.
    pub cores: u32,
    /// Where it sits.
    pub site: Site,
    /// What can hold a slice of it, best first; the first that suits a job is used.
    pub rungs: Vec<Rung>,
    /// Its partitions, while it is in MIG mode.
    pub mig: Option<MigGeometry>,
}

/// What a card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CardKind {
    /// A GPU found through NVML.
    Nvidia,
    /// The processor and memory of a machine.
    Cpu,
    /// A card that exists in numbers alone.
    Sim,
}

/// Neighbourhoods of a card; equal values are near each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Cards of one node with the same number are joined by NVLink.
    pub nvlink: u32,
    /// The NUMA node of the card's bus.
    pub numa: u32,
    /// The rack, or switch, of the machine; empty if unknown.
    pub rack: String,
}

/// What keeps a job inside its slice, from the strongest to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Partitions in hardware.
    Mig,
    /// Memory limits of the NVIDIA driver per control group (r615 and newer).
    Driver,
    /// MPS with limits per client.
    Mps,
    /// Control groups of the kernel: processor time and memory of a CPU card.
    Cgroup,
    /// Calls to the driver, counted and held by the preload library.
    Intercept,
    /// The driver's turns between processes.
    TimeSlice,
    /// The job's own worker keeps to its thread count and memory.
    Worker,
    /// Nothing but the job's good will: its slice is in its environment.
    Advisory,
}

impl Rung {
    /// Every rung, from the strongest.
    pub const ALL: [Rung; 8] = [
        Rung::Mig,
        Rung::Driver,
        Rung::Mps,
        Rung::Cgroup,
        Rung::Intercept,
        Rung::TimeSlice,
        Rung::Worker,
        Rung::Advisory,
    ];

    /// Its name in files, on the command line and over HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Rung::Mig => "mig",
            Rung::Driver => "driver",
            Rung::Mps => "mps",
            Rung::Cgroup => "cgroup",
            Rung::Intercept => "intercept",
            Rung::TimeSlice => "time-slice",
            Rung::Worker => "worker",
            Rung::Advisory => "advisory",
        }
    }

    /// Whether a job that passes its memory limit is stopped from outside.
    pub fn holds_memory(self) -> bool {
        match self {
            Rung::Mig | Rung::Driver | Rung::Mps | Rung::Cgroup | Rung::Intercept => true,
            Rung::TimeSlice | Rung::Worker | Rung::Advisory => false,
        }
    }

    /// Whether a job that passes its compute limit is slowed from outside.
    pub fn holds_compute(self) -> bool {
        match self {
            Rung::Mig | Rung::Mps | Rung::Cgroup | Rung::Intercept => true,
            Rung::Driver | Rung::TimeSlice | Rung::Worker | Rung::Advisory => false,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for CardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CardKind::Nvidia => "nvidia",
            CardKind::Cpu => "cpu",
            CardKind::Sim => "sim",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_called_the_same_everywhere() {
        for rung in Rung::ALL {
            let json = serde_json::to_string(&rung).unwrap();
            assert_eq!(json, format!("\"{}\"", rung.name()));
            assert_eq!(serde_json::from_str::<Rung>(&json).unwrap(), rung);
        }
        assert!(Rung::ALL.is_sorted(), "the order of the list is the order of strength");
    }
}
