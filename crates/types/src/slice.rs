//! What a job holds: slices of cards, by member.

use serde::{Deserialize, Serialize};

use crate::{CardId, Mebibytes, MigPlace, NodeName, Rung, Share, Span};

/// A job's part of one card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The card.
    pub card: CardId,
    /// Memory that is kept for the job, and what it may reach.
    pub memory: Span<Mebibytes>,
    /// Compute that is kept for the job, and what it may reach.
    pub compute: Span<Share>,
    /// Whether no other job may have a slice of the card.
    pub whole: bool,
    /// What holds the job to it.
    pub enforced_by: Rung,
    /// Its partition, where the card is in MIG mode.
    pub mig: Option<MigPlace>,
}

/// What one member of a job holds: all on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSlices {
    /// The machine that it runs on.
    pub node: NodeName,
    /// Its slices, each of another card.
    pub slices: Vec<Slice>,
}

/// What a job holds, member by member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placement(pub Vec<MemberSlices>);

impl Placement {
    /// Every slice of every member, with its node.
    pub fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.0.iter().flat_map(|member| &member.slices)
    }

    /// What the job is charged for.
    pub fn amount(&self) -> Amount {
        self.slices().map(Amount::of).fold(Amount::default(), Amount::plus)
    }
}

/// Cards and memory together: what tenants are given, and what jobs use up.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Amount {
    /// Compute, in thousandths of a card.
    pub compute_milli: u64,
    /// Memory of cards.
    pub memory: Mebibytes,
}

impl Amount {
    /// What a slice uses up: what is kept for its job.
    pub fn of(slice: &Slice) -> Self {
        Self {
            compute_milli: u64::from(slice.compute.request.per_mille()),
            memory: slice.memory.request,
        }
    }

    /// The sum, or the largest amount if it does not fit.
    pub fn plus(self, other: Amount) -> Self {
        Self {
            compute_milli: self.compute_milli.saturating_add(other.compute_milli),
            memory: Mebibytes(self.memory.0.saturating_add(other.memory.0)),
        }
    }

    /// What is left, or nothing where more is taken than there is.
    pub fn minus(self, other: Amount) -> Self {
        Self {
            compute_milli: self.compute_milli.saturating_sub(other.compute_milli),
            memory: Mebibytes(self.memory.0.saturating_sub(other.memory.0)),
        }
    }

    /// Whether there is no more of anything here than there.
    pub fn is_within(self, other: Amount) -> bool {
        self.compute_milli <= other.compute_milli && self.memory <= other.memory
    }
}
