//! What a policy looks at: what is free on a node, and what a job asks for.

use std::fmt;

use crate::policy::fleet::Models;

/// Thousandths of a card that are all of it.
pub const WHOLE: u32 = 1000;

/// Jobs that a node holds at most (what Kubernetes was set to in the published experiment).
const JOBS_MAX: u32 = 1001;

/// What is free on a node. Its cards are of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its shape among those of the fleet.
    pub shape: usize,
    /// Its model among those of the fleet.
    pub model: usize,
    /// What tells it from other nodes, for policies that draw.
    pub key: u64,
    /// Free vCPU in thousandths; none where processors are not shared out.
    pub cpu_milli: Option<u64>,
    /// Free memory of the host in MiB; none where it is not shared out.
    pub memory_mib: Option<u64>,
    /// Memory of each card in MiB; 0 where it is not known.
    pub card_memory_mib: u64,
    /// What is free on each card, at most 64 of them.
    pub cards: Vec<Free>,
    /// Jobs that run there.
    pub jobs: u32,
    /// Kinds of card jobs that run there: bit 0 for shares, bit k for jobs of k whole cards (63 for
    /// more).
    pub hosted: u64,
}

/// What is free on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Thousandths of the card's compute.
    pub compute: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// What a job asks for. A job of whole cards has all of their memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// vCPU in thousandths.
    pub cpu_milli: u64,
    /// Memory of the host in MiB.
    pub memory_mib: u64,
    /// Cards; 0 for a job without any.
    pub cards: u32,
    /// Thousandths of each card: [`WHOLE`], or less of a single card, or 0 without cards.
    pub compute: u32,
    /// Memory of each card in MiB; 0 if the job names none.
    pub card_memory_mib: u64,
    /// Models that will do.
    pub models: Models,
}

/// Kinds of jobs that outcomes are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeClass {
    /// No card.
    CpuOnly,
    /// A part of one card.
    Share,
    /// So many whole cards.
    Whole(u32),
}

/// Cards of a node, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cards(pub u64);

impl Node {
    /// Whether the node has what the job wants beside cards, and is of a model that will do.
    pub(crate) fn has_room_beside_cards(&self, demand: &Demand) -> bool {
        self.cpu_milli.is_none_or(|free| free >= demand.cpu_milli)
            && self.memory_mib.is_none_or(|free| free >= demand.memory_mib)
            && self.jobs < JOBS_MAX
            && demand.models.allow(self.model)
    }

    /// Whether nothing of the card is taken.
    pub(crate) fn is_idle(&self, card: Free) -> bool {
        card.compute == WHOLE && card.memory_mib == self.card_memory_mib
    }

    /// Cards of which nothing is taken.
    pub(crate) fn idle(&self) -> u32 {
        self.cards.iter().filter(|&&card| self.is_idle(card)).count() as u32
    }

    /// Free compute of all cards, in thousandths of a card.
    pub(crate) fn compute(&self) -> u32 {
        self.cards.iter().map(|card| card.compute).sum()
    }

    /// The lowest-numbered idle cards that a job of whole cards would get.
    pub(crate) fn first_idle(&self, demand: &Demand) -> Option<Cards> {
        if demand.card_memory_mib > self.card_memory_mib {
            return None;
        }
        let idle = self.cards.iter().enumerate().filter(|&(_, &card)| self.is_idle(card));
        let taken = idle.take(demand.cards as usize);
        let (count, cards) = taken.fold((0, 0), |(n, bits), (at, _)| (n + 1, bits | 1 << at));
        (count == demand.cards).then_some(Cards(cards))
    }

    /// Gives back what a job took. What kinds of jobs are left there is for the caller to say.
    pub(crate) fn give_back(&mut self, (demand, cards): (&Demand, Cards), hosted: u64) {
        self.cpu_milli = self.cpu_milli.map(|free| free + demand.cpu_milli);
        self.memory_mib = self.memory_mib.map(|free| free + demand.memory_mib);
        self.jobs -= 1;
        self.hosted = hosted;
        let all = Free { compute: WHOLE, memory_mib: self.card_memory_mib };
        for at in cards.iter() {
            self.cards[at] = match demand.compute {
                WHOLE => all,
                part => Free {
                    compute: self.cards[at].compute + part,
                    memory_mib: self.cards[at].memory_mib + demand.card_memory_mib,
                },
            };
        }
    }

    /// Takes what the job asks for on cards that have room.
    pub(crate) fn take(&mut self, demand: &Demand, cards: Cards) {
        self.cpu_milli = self.cpu_milli.map(|free| free - demand.cpu_milli);
        self.memory_mib = self.memory_mib.map(|free| free - demand.memory_mib);
        self.jobs += 1;
        self.hosted |= demand.hosted_bit();
        for at in cards.iter() {
            self.cards[at] = self.cards[at].less(demand);
        }
    }
}

impl Free {
    /// Whether the card has room for a share.
    pub(crate) fn fits(self, demand: &Demand) -> bool {
        self.compute >= demand.compute && self.memory_mib >= demand.card_memory_mib
    }

    /// What is left of the card.
    pub(crate) fn less(self, demand: &Demand) -> Self {
        match demand.compute {
            WHOLE => Self { compute: 0, memory_mib: 0 },
            _ => Self {
                compute: self.compute - demand.compute,
                memory_mib: self.memory_mib - demand.card_memory_mib,
            },
        }
    }
}

impl Demand {
    /// Its kind.
    pub fn class(&self) -> SizeClass {
        match (self.cards, self.compute) {
            (0, _) => SizeClass::CpuOnly,
            (cards, WHOLE) => SizeClass::Whole(cards),
            (_, _) => SizeClass::Share,
        }
    }

    /// The bit of [`Node::hosted`] that stands for its kind; 0 without cards.
    pub(crate) fn hosted_bit(&self) -> u64 {
        match self.class() {
            SizeClass::CpuOnly => 0,
            SizeClass::Share => 1,
            SizeClass::Whole(count) => 1 << count.min(63),
        }
    }

    /// All that it takes of cards, in thousandths of a card.
    pub fn compute_all(&self) -> u64 {
        u64::from(self.cards) * u64::from(self.compute)
    }
}

impl Cards {
    /// No card.
    pub(crate) const NONE: Self = Self(0);

    /// One card.
    pub(crate) fn one(at: usize) -> Self {
        Self(1 << at)
    }

    /// Their places on the node, lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = (left != 0).then(|| left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            at
        })
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SizeClass::CpuOnly => formatter.write_str("cpu-only"),
            SizeClass::Share => formatter.write_str("share"),
            SizeClass::Whole(1) => formatter.write_str("1-card"),
            SizeClass::Whole(cards) => write!(formatter, "{cards}-cards"),
        }
    }
}
