//! Why a job waits, as values, and what would help.

use cotenant_types::{Amount, JobId, Moment, TenantName};
use serde::{Deserialize, Serialize};

/// One thing that stands in a job's way. Were it gone, the job would be placed, or wait for
/// another reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The pool has no card at all.
    NoCards,
    /// No card has room, or too few of a node have.
    Cards {
        /// Members that had room at once.
        members_placed: u32,
        /// Members that it wants.
        members: u32,
        /// Cards that each wants.
        cards: u32,
        /// What the cards lack, by model.
        lacks: Vec<ModelLack>,
        /// What would help, if something is known to.
        help: Vec<Help>,
    },
    /// A tenant would hold more than it may.
    Quota {
        /// The tenant: the job's, or one that it lives on.
        tenant: TenantName,
        /// What it holds.
        held: Amount,
        /// What the job would add.
        wanted: Amount,
        /// What it may hold.
        limit: Amount,
    },
    /// There is room, but it is kept for a job that waits longer.
    Reserved {
        /// The job.
        job: JobId,
        /// When that job can start at the latest, as far as anybody knows.
        at: Moment,
    },
    /// Others were told to make room.
    MakingRoom {
        /// Jobs that were.
        victims: Vec<JobId>,
    },
    /// It failed, and its next attempt is not due.
    Backoff {
        /// When it is.
        until: Moment,
    },
}

/// What cards of a model lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelLack {
    /// The model.
    pub model: String,
    /// What they lack: the first thing that is missing on each.
    pub lack: CardLack,
    /// How many of them.
    pub cards: u32,
}

/// The first thing that a card lacks for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardLack {
    /// The card is lost or failing, or its machine is being drained.
    Unusable,
    /// It is none of the models that the job takes.
    Model,
    /// Nothing on it holds a job as strongly as the job wants.
    Enforcement,
    /// It is too small even when idle.
    Size,
    /// A job has it for itself.
    Whole,
    /// Others have slices of it, and the job wants it whole.
    Shared,
    /// Too little memory is free.
    Memory,
    /// Too little compute is free.
    Compute,
    /// No partition of it fits.
    Partition,
    /// Nothing; but too few such cards are near each other.
    Together,
}

/// Something that would let a job be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Help {
    /// The job would fit an idle pool: it has to wait for others, or be preferred to them.
    OthersEnd,
    /// The job would fit if lost cards came back, failing ones were well, and no machine were
    /// drained.
    CardsReturn,
    /// Nothing that runs stands in its way: it asks for more than the pool's cards can ever give.
    AskLess,
}

impl Reason {
    /// A stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::NoCards => "no-cards",
            Reason::Cards { .. } => "cards",
            Reason::Quota { .. } => "quota",
            Reason::Reserved { .. } => "reserved",
            Reason::MakingRoom { .. } => "making-room",
            Reason::Backoff { .. } => "backoff",
        }
    }
}
