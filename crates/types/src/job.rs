//! What a job asks of the pool, after its file was read and checked.

use serde::{Deserialize, Serialize};

use crate::{Mebibytes, Moment, Rung, Seconds, Share, TenantName};

/// Everything about a job that decides when and where it runs; not what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTerms {
    /// Who pays for it.
    pub tenant: TenantName,
    /// What it needs.
    pub ask: Ask,
    /// Whether somebody waits for its answers.
    pub class: Class,
    /// Higher goes first among the jobs of a tenant's class.
    pub priority: i32,
    /// Longest time it may run at a stretch; without one it may run for ever.
    pub time_limit: Option<Seconds>,
    /// When it must have ended; past it, it is stopped or never begun.
    pub deadline: Option<Moment>,
    /// How often it is started again after it failed.
    pub retries: u32,
    /// How it is stopped in favour of another; without it, it never is.
    pub preempt: Option<Preempt>,
    /// When it is taken to be idle; without it, it never is.
    pub idle: Option<Idle>,
    /// When it suffers from its neighbours, of an online job; without it, it never does.
    pub watermark: Option<Watermark>,
}

/// Cards, and a share of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ask {
    /// Processes that start together or not at all, each with its own cards; at least 1.
    pub members: u32,
    /// Different cards for each member, all on one node; at least 1.
    pub cards: u32,
    /// What it needs of each card.
    pub share: CardShare,
    /// What the limits mean.
    pub policy: Policy,
    /// Which of the cards that fit is taken.
    pub place: Place,
    /// A neighbourhood that all its cards must share.
    pub same: Option<Near>,
    /// A neighbourhood that all its cards share where one has room, and do without elsewhere.
    pub prefer: Option<Near>,
    /// Memory that it is foretold to take of each card: no slice that may not reach it will do.
    pub foretold: Option<Mebibytes>,
    /// Names, or parts of names, of models that will do; empty for any.
    pub models: Vec<String>,
    /// The weakest enforcement that will do.
    pub rung_min: Option<Rung>,
}

/// What a job needs of one card.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardShare {
    /// The card for itself.
    Whole,
    /// A part of it, beside others.
    Part {
        /// Memory that is kept for it, and what it may reach.
        memory: Span<MemoryAsk>,
        /// Compute that is kept for it, and what it may reach.
        compute: Span<Share>,
    },
}

/// What is kept for a job, and the most that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span<T> {
    /// Kept for it.
    pub request: T,
    /// The most that it may have; at least the request.
    pub limit: T,
}

/// Memory of a card, in numbers or as a part of whichever card it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryAsk {
    /// So many MiB.
    Mib(Mebibytes),
    /// So much of the card, rounded down to a MiB.
    Part(Share),
}

impl MemoryAsk {
    /// The amount on a card of so much memory.
    pub fn on(self, card: Mebibytes) -> Mebibytes {
        match self {
            MemoryAsk::Mib(amount) => amount,
            MemoryAsk::Part(share) => {
                let part = u128::from(card.0) * u128::from(share.per_mille()) / 1000;
                Mebibytes(part as u64)
            }
        }
    }
}

/// What a compute limit means.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The limit always holds.
    #[default]
    Fixed,
    /// The request is guaranteed, and idle time may be used up to the limit.
    Burst,
    /// The request is a weight that counts only when several jobs want the card.
    Contend,
}

/// Whether somebody waits for the answers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Somebody waits: it goes first, and is never stopped for another.
    Online,
    /// Nobody waits: it takes what online neighbours leave.
    #[default]
    Offline,
}

/// Which of the cards that fit is taken.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The fullest, so that whole cards stay free for those who need them.
    #[default]
    Binpack,
    /// The emptiest, so that jobs disturb each other least.
    Spread,
}

/// A neighbourhood of cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Near {
    /// Cards of a member joined by NVLink.
    Nvlink,
    /// Cards of a member at one NUMA node.
    Numa,
    /// All members in one rack.
    Rack,
}

/// How a job is asked to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preempt {
    /// What tells it to write a checkpoint and end.
    pub signal: Signal,
    /// How long it has for that before it is killed.
    pub grace: Seconds,
}

/// Signals that a job may wish for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Ends a program unless it handles it.
    #[default]
    #[serde(rename = "SIGTERM")]
    Term,
    /// As Ctrl-C does.
    #[serde(rename = "SIGINT")]
    Int,
    /// The program's own meaning.
    #[serde(rename = "SIGUSR1")]
    Usr1,
    /// The program's own meaning.
    #[serde(rename = "SIGUSR2")]
    Usr2,
}

/// When a job is taken to be idle, and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Time without work after which it gets a notice.
    pub after: Seconds,
    /// Time from the notice until its slice is taken back.
    pub notice: Seconds,
}

/// Marks above which an online job suffers from its neighbours; either alone is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Milliseconds that its answers may take.
    pub latency_ms: Option<u32>,
    /// The part of the compute kept for it that it may use.
    pub usage: Option<Share>,
}

/// What an online job says of itself, or is seen to do; what is absent is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Milliseconds that its answers take.
    pub latency_ms: Option<u32>,
    /// The part of the compute kept for it that it uses.
    pub usage: Option<Share>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_memory_are_of_the_card_that_it_will_be() {
        let check = |ask: MemoryAsk, card: u64, expected: u64| {
            assert_eq!(ask.on(Mebibytes(card)), Mebibytes(expected));
        };
        let part = |per_mille| MemoryAsk::Part(Share::from_per_mille(per_mille).unwrap());
        check(MemoryAsk::Mib(Mebibytes(7)), 100, 7);
        check(part(250), 81_920, 20_480);
        check(part(333), 1_000, 333);
        check(part(1), 999, 0);
        check(part(1000), u64::MAX, u64::MAX);
    }
}
