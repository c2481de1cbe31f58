//! Which way of sharing suits one job, and why.

use cotenant_types::{Ask, Card, CardShare, Class, JobTerms, Mebibytes, Rung, Share};
use serde::Serialize;

use super::rung::{Hold, RungFacts};
use super::shape::{CardChoice, NodeShape};
use super::smallest::lack;
use crate::ledger::Ledger;
use crate::place::{Need, place};
use crate::reason::CardLack;

/// Whether a job's code is known to mean well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It may err, and does not attack.
    #[default]
    Trusted,
    /// It may try to reach what is not its own.
    Untrusted,
}

/// What is advised for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobAdvice {
    /// Each rung that the cards have or could have, from the strongest.
    pub rungs: Vec<RungAdvice>,
    /// Where it should run.
    pub way: Way,
    /// Why there.
    pub why: Why,
}

/// What a rung would mean for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RungAdvice {
    /// The rung.
    pub rung: Rung,
    /// What it gives any job.
    pub facts: RungFacts,
    /// What would be kept for this one on each card, or what the card lacks for it.
    pub kept: Result<Kept, CardLack>,
}

/// What is kept for a job on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The partition that it would get.
    pub partition: Option<String>,
    /// Memory that is kept, which may be more than it asks for.
    pub memory: Mebibytes,
    /// Compute that is kept.
    pub compute: Share,
    /// Memory that is kept and not asked for.
    pub memory_lost: Mebibytes,
    /// Compute that is kept and not asked for.
    pub compute_lost: Share,
}

/// Where a job should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// On a slice that a rung holds.
    Shared(Rung),
    /// On cards of its own.
    Whole,
    /// On none of these cards.
    Nowhere(CardLack),
}

/// Why a job should run there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It asks for whole cards.
    AsksForWhole,
    /// It asks for whole cards, and leaves them idle most of the time.
    LeavesWholeIdle,
    /// It is not trusted, and hardware holds it.
    Untrusted,
    /// It is not trusted, and nothing but cards of its own would hold it.
    UntrustedAlone,
    /// Somebody waits for its answers, and a partition of about its size keeps them steady.
    Steady,
    /// A partition would be steadier, and leave too much of itself unused.
    PartitionTooLarge,
    /// Its memory and compute are held, and what it leaves idle serves others.
    Held,
    /// Only a partition holds it.
    OnlyPartition,
    /// Its memory is held and its compute is not, which hurts nobody who waits.
    MemoryHeld,
    /// Nothing holds it, and nobody waits for it.
    GoodWill,
    /// Somebody waits for its answers, and nothing holds its neighbours.
    NothingHolds,
    /// No such card has room for it.
    NoRoom,
}

/// Thousandths of a partition that may be lost to a job for which it counts as made.
const LOST_PER_MILLE_MAX: u64 = 250;

/// A job that has whole cards and is busy for less than this would do with a part.
const WHOLE_BUSY_PER_MILLE_MIN: u32 = 500;

/// What is advised for a job on such cards, given whether it is trusted and, if somebody knows, how
/// much of its time it computes.
pub(super) fn advise_job(
    terms: &JobTerms,
    (trust, busy): (Trust, Option<Share>),
    choice: &CardChoice,
) -> JobAdvice {
    let mut rungs = Vec::new();
    let both = [choice.partitioned.as_ref(), choice.ordinary.as_ref()];
    for shape in both.into_iter().flatten() {
        let on = |&rung: &Rung| RungAdvice {
            rung,
            facts: RungFacts::of(rung),
            kept: kept(&terms.ask, shape, rung),
        };
        rungs.extend(shape.card().rungs.iter().map(on));
    }
    let (way, why) = match terms.ask.share {
        CardShare::Whole => whole(&terms.ask, (trust, busy), choice),
        CardShare::Part { .. } => part(terms, trust, (&rungs, choice)),
    };
    JobAdvice { rungs, way, why }
}

/// What a rung of a node's cards would keep for one member of a job.
fn kept(ask: &Ask, shape: &NodeShape, rung: Rung) -> Result<Kept, CardLack> {
    let ask = Ask { members: 1, ..ask.clone() };
    let only = |card: Card| Card { rungs: vec![rung], ..card };
    let cards: Vec<Card> = shape.grown_to(shape.cards_per_node()).into_iter().map(only).collect();
    let node = Ledger::new(cards.iter().map(|card| (card, true)));
    let need = Need::new(&ask, &node.catalog);
    let placement = place(&node, &need).map_err(|_| lack(&node, &need))?;
    let slice = placement.slices().next().expect("a member has a slice of each of its cards");
    let asked = match ask.share {
        CardShare::Whole => (slice.memory.request, slice.compute.request),
        CardShare::Part { memory, compute } => {
            (memory.request.on(shape.card().memory), compute.request)
        }
    };
    let compute_lost = slice.compute.request.per_mille().saturating_sub(asked.1.per_mille());
    Ok(Kept {
        partition: slice.mig.as_ref().map(|place| place.profile.clone()),
        memory: slice.memory.request,
        compute: slice.compute.request,
        memory_lost: Mebibytes(slice.memory.request.0.saturating_sub(asked.0.0)),
        compute_lost: Share::from_per_mille(compute_lost).expect("less than a share is one"),
    })
}

impl Kept {
    /// Whether most of what is kept was asked for.
    fn is_close(&self) -> bool {
        let within = |lost: u64, all: u64| lost * 1000 <= all * LOST_PER_MILLE_MAX;
        within(self.memory_lost.0, self.memory.0)
            && within(self.compute_lost.per_mille().into(), self.compute.per_mille().into())
    }
}

/// The way of a job that asks for whole cards.
fn whole(ask: &Ask, (trust, busy): (Trust, Option<Share>), choice: &CardChoice) -> (Way, Why) {
    let is_idle = busy.is_some_and(|busy| busy.per_mille() < WHOLE_BUSY_PER_MILLE_MIN);
    let why = match trust {
        Trust::Trusted if is_idle => Why::LeavesWholeIdle,
        Trust::Trusted => Why::AsksForWhole,
        Trust::Untrusted => Why::UntrustedAlone,
    };
    alone(ask, why, choice)
}

/// Whole cards, if there are such.
fn alone(ask: &Ask, why: Why, choice: &CardChoice) -> (Way, Why) {
    let ask = Ask { share: CardShare::Whole, ..ask.clone() };
    let shape = choice.as_found();
    match kept(&ask, shape, shape.card().rungs.first().copied().unwrap_or(Rung::Advisory)) {
        Ok(_) => (Way::Whole, why),
        Err(lack) => (Way::Nowhere(lack), Why::NoRoom),
    }
}

/// The way of a job that asks for a part of a card.
fn part(
    terms: &JobTerms,
    trust: Trust,
    (rungs, choice): (&[RungAdvice], &CardChoice),
) -> (Way, Why) {
    let fitting = || rungs.iter().filter(|rung| rung.kept.is_ok());
    let partition = fitting().find(|rung| rung.facts.memory == Hold::Hardware);
    let others = || fitting().filter(|rung| rung.facts.memory != Hold::Hardware);
    let held = others().find(|rung| rung.facts.holds_all());
    let shared = |rung: &RungAdvice, why| (Way::Shared(rung.rung), why);
    if fitting().next().is_none() {
        return (nowhere(rungs), Why::NoRoom);
    }
    let is_close = |rung: &&RungAdvice| rung.kept.as_ref().is_ok_and(Kept::is_close);
    match (trust, terms.class) {
        (Trust::Untrusted, Class::Online | Class::Offline) => match partition {
            Some(partition) => shared(partition, Why::Untrusted),
            None => alone(&terms.ask, Why::UntrustedAlone, choice),
        },
        (Trust::Trusted, Class::Online) => match (partition.filter(is_close), partition, held) {
            (Some(close), ..) => shared(close, Why::Steady),
            (None, Some(_), Some(held)) => shared(held, Why::PartitionTooLarge),
            (None, None, Some(held)) => shared(held, Why::Held),
            (None, Some(partition), None) => shared(partition, Why::OnlyPartition),
            (None, None, None) => alone(&terms.ask, Why::NothingHolds, choice),
        },
        (Trust::Trusted, Class::Offline) => match (held, partition) {
            (Some(held), _) => shared(held, Why::Held),
            (None, Some(partition)) => shared(partition, Why::OnlyPartition),
            (None, None) => {
                let other = others().next().expect("what fits is a partition or another rung");
                let holds_memory = other.facts.memory != Hold::Nothing;
                shared(other, if holds_memory { Why::MemoryHeld } else { Why::GoodWill })
            }
        },
    }
}

/// What the weakest of the rungs lacks, which takes the most jobs.
fn nowhere(rungs: &[RungAdvice]) -> Way {
    let mut lacks = rungs.iter().rev().filter_map(|rung| rung.kept.as_ref().err().copied());
    Way::Nowhere(lacks.next().unwrap_or(CardLack::Enforcement))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::testing::{bursting, cards, geometry, of_cards, online, share, terms};
    use super::*;

    fn gpus() -> CardChoice {
        CardChoice::of(&cards(8, 81_920), Some(&geometry())).unwrap()
    }

    /// Cards that offer these rungs alone, and have no MIG mode.
    fn with(rungs: &[Rung]) -> CardChoice {
        let cards: Vec<Card> = cards(1, 81_920)
            .into_iter()
            .map(|card| Card { rungs: rungs.to_vec(), ..card })
            .collect();
        CardChoice::of(&cards, None).unwrap()
    }

    fn untrusted() -> (Trust, Option<Share>) {
        (Trust::Untrusted, None)
    }

    fn check(
        terms: JobTerms,
        (facts, choice): ((Trust, Option<Share>), CardChoice),
        expected: Expect,
    ) {
        let advice = advise_job(&terms, facts, &choice);
        let rung = |advice: &RungAdvice| match &advice.kept {
            Ok(kept) => {
                let partition = kept.partition.as_deref().unwrap_or("fits");
                let (memory, compute) = (kept.memory_lost, kept.compute_lost);
                format!("{} {partition}, loses {memory} {compute}", advice.rung)
            }
            Err(lack) => format!("{} lacks {lack:?}", advice.rung),
        };
        let rungs: Vec<String> = advice.rungs.iter().map(rung).collect();
        expected.assert_eq(&format!("{:?}: {:?}\n{}\n", advice.way, advice.why, rungs.join("\n")));
    }

    #[test]
    fn somebody_waits() {
        let trusted = (Trust::Trusted, None);
        check(
            online(terms("38GiB 400")),
            (trusted, gpus()),
            expect![[r#"
                Shared(Mig): Steady
                mig 3g.40gb, loses 2048MiB 2.8%
                mps fits, loses 0MiB 0%
                time-slice fits, loses 0MiB 0%
                advisory fits, loses 0MiB 0%
            "#]],
        );
        check(
            online(terms("22GiB 300")),
            (trusted, gpus()),
            expect![[r#"
                Shared(Mps): PartitionTooLarge
                mig 3g.40gb, loses 18432MiB 12.8%
                mps fits, loses 0MiB 0%
                time-slice fits, loses 0MiB 0%
                advisory fits, loses 0MiB 0%
            "#]],
        );
        // A partition can neither lend nor borrow.
        check(
            bursting(online(terms("38GiB 400"))),
            (trusted, gpus()),
            expect![[r#"
                Shared(Mps): Held
                mig lacks Enforcement
                mps fits, loses 0MiB 0%
                time-slice fits, loses 0MiB 0%
                advisory fits, loses 0MiB 0%
            "#]],
        );
        check(
            online(terms("22GiB 300")),
            (trusted, with(&[Rung::TimeSlice, Rung::Advisory])),
            expect![[r#"
                Whole: NothingHolds
                time-slice fits, loses 0MiB 0%
                advisory fits, loses 0MiB 0%
            "#]],
        );
    }

    #[test]
    fn nobody_waits() {
        let trusted = (Trust::Trusted, None);
        let job = || terms("38GiB 400");
        check(
            job(),
            (trusted, with(&[Rung::Cgroup, Rung::Worker])),
            expect![[r#"
                Shared(Cgroup): Held
                cgroup fits, loses 0MiB 0%
                worker fits, loses 0MiB 0%
            "#]],
        );
        let switched = gpus().partitioned.unwrap().grown_to(1);
        check(
            job(),
            (trusted, CardChoice::of(&switched, None).unwrap()),
            expect![[r#"
                Shared(Mig): OnlyPartition
                mig 3g.40gb, loses 2048MiB 2.8%
            "#]],
        );
        check(
            job(),
            (trusted, with(&[Rung::Driver, Rung::TimeSlice])),
            expect![[r#"
                Shared(Driver): MemoryHeld
                driver fits, loses 0MiB 0%
                time-slice fits, loses 0MiB 0%
            "#]],
        );
        check(
            job(),
            (trusted, with(&[Rung::TimeSlice, Rung::Advisory])),
            expect![[r#"
                Shared(TimeSlice): GoodWill
                time-slice fits, loses 0MiB 0%
                advisory fits, loses 0MiB 0%
            "#]],
        );
        check(
            terms("90GiB 400"),
            (trusted, with(&[Rung::Mps])),
            expect![[r#"
                Nowhere(Size): NoRoom
                mps lacks Size
            "#]],
        );
    }

    #[test]
    fn nobody_trusts_it() {
        check(
            terms("8GiB 100"),
            (untrusted(), gpus()),
            expect![[r#"
                Shared(Mig): Untrusted
                mig 1g.10gb, loses 2048MiB 4.2%
                mps fits, loses 0MiB 0%
                time-slice fits, loses 0MiB 0%
                advisory fits, loses 0MiB 0%
            "#]],
        );
        check(
            terms("81GiB 100"),
            (untrusted(), with(&[Rung::Mps])),
            expect![[r#"
                Nowhere(Size): NoRoom
                mps lacks Size
            "#]],
        );
        check(
            terms("8GiB 100"),
            (untrusted(), with(&[Rung::Mps])),
            expect![[r#"
                Whole: UntrustedAlone
                mps fits, loses 0MiB 0%
            "#]],
        );
    }

    #[test]
    fn whole_cards_are_asked_for() {
        let busy = |per_mille| (Trust::Trusted, Some(share(per_mille)));
        let whole = || terms("whole");
        check(
            whole(),
            (busy(500), with(&[Rung::Mps])),
            expect![[r#"
                Whole: AsksForWhole
                mps fits, loses 0MiB 0%
            "#]],
        );
        check(
            whole(),
            (busy(499), with(&[Rung::Mps])),
            expect![[r#"
                Whole: LeavesWholeIdle
                mps fits, loses 0MiB 0%
            "#]],
        );
        check(
            of_cards(whole(), 2),
            (busy(900), with(&[Rung::Mps])),
            expect![[r#"
                Nowhere(Together): NoRoom
                mps lacks Together
            "#]],
        );
    }

    #[test]
    fn what_a_job_wants_at_least_is_kept_to() {
        let mut job = terms("8GiB 100");
        job.ask.rung_min = Some(Rung::Mps);
        check(
            job,
            ((Trust::Trusted, None), with(&[Rung::TimeSlice])),
            expect![[r#"
                Nowhere(Enforcement): NoRoom
                time-slice lacks Enforcement
            "#]],
        );
    }
}
