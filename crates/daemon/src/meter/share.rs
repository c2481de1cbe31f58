//! Whose use is whose: what a job's members used, spread over their slices.
//!
//! What is read is read of processes; what is shown is shown of slices. An NVIDIA card says what
//! each process does on it. A processor says it of none of its slices, but a member has only one
//! there. A simulated card does nothing at all: its use is what the program does on the processor
//! of this machine, one core kept busy being one card kept busy, and a member with several of them
//! is spread over them by what is kept for it on each.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_api::UseView;
use cotenant_device::ProcessUse;
use cotenant_types::{Card, CardId, CardKind, Slice};

/// What a member of a job did between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Thousandths of a core that it kept busy.
    pub(super) busy_per_mille: u64,
    /// Bytes of memory of this machine that it holds.
    pub(super) memory_bytes: u64,
    /// Its processes, where they were looked for.
    pub(super) pids: BTreeSet<u32>,
}

/// What is in use of each slice of a member, in their order; none where nobody can know.
pub(super) fn slice_uses(
    slices: &[Slice],
    cards: &BTreeMap<CardId, Card>,
    (work, processes): (&Work, &[ProcessUse]),
) -> Vec<Option<UseView>> {
    let weights = |of: &dyn Fn(&Slice) -> u64| -> Vec<u32> {
        let is_here = |slice: &Slice| {
            let card = cards.get(&slice.card);
            card.is_some_and(|card| matches!(card.kind, CardKind::Cpu | CardKind::Sim))
        };
        let weight = |slice: &Slice| match is_here(slice) {
            true => u32::try_from(of(slice)).unwrap_or(u32::MAX).saturating_add(1),
            false => 0,
        };
        slices.iter().map(weight).collect()
    };
    // One more than what is kept, so that slices for which nothing is kept share evenly.
    let compute =
        split(work.busy_per_mille, &weights(&|slice| slice.compute.request.per_mille().into()));
    let memory = split(work.memory_bytes, &weights(&|slice| slice.memory.request.0));
    let parts = slices.iter().zip(compute.into_iter().zip(memory));
    let view = |(slice, (busy, bytes)): (&Slice, (u64, u64))| {
        let card = cards.get(&slice.card)?;
        let (per_mille, memory_mib) = match card.kind {
            CardKind::Sim => (busy, bytes >> 20),
            CardKind::Cpu => (busy / u64::from(card.cores.max(1)), bytes >> 20),
            CardKind::Nvidia => on_card(slice, work, processes)?,
        };
        Some(UseView {
            compute_per_mille: u32::try_from(per_mille).unwrap_or(u32::MAX).min(1000),
            memory_mib: memory_mib.min(card.memory.0),
            ..UseView::default()
        })
    };
    parts.map(view).collect()
}

/// What a member's processes do on an NVIDIA card. Of partitions the driver does not say it.
fn on_card(slice: &Slice, work: &Work, processes: &[ProcessUse]) -> Option<(u64, u64)> {
    if slice.mig.is_some() {
        return None;
    }
    let is_its = |it: &&ProcessUse| it.card == slice.card && work.pids.contains(&it.pid);
    let mut sum = (0, 0);
    for process in processes.iter().filter(is_its) {
        sum.0 += process.compute.map_or(0, |share| u64::from(share.per_mille()));
        sum.1 += process.memory_used.map_or(0, |memory| memory.0);
    }
    Some(sum)
}

/// Splits a total by weights so that the parts sum up to it exactly, each less than one away from
/// what it would be in fractions. Without any weight nobody gets anything.
fn split(total: u64, weights: &[u32]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let mut before: u128 = 0;
    let mut given: u64 = 0;
    let parts = weights.iter().map(|&weight| {
        before += u128::from(weight);
        let until = (u128::from(total) * before).checked_div(sum).unwrap_or(0);
        let until = u64::try_from(until).expect("a part is at most the total");
        let part = until - given;
        given = until;
        part
    });
    parts.collect()
}

/// The sum of what is in use of several slices; none if nothing is known of any.
pub(super) fn summed<'a>(uses: impl Iterator<Item = &'a UseView>) -> Option<UseView> {
    uses.cloned().reduce(|sum, it| UseView {
        at_ms: sum.at_ms.max(it.at_ms),
        compute_per_mille: sum.compute_per_mille.saturating_add(it.compute_per_mille),
        memory_mib: sum.memory_mib.saturating_add(it.memory_mib),
        ..UseView::default()
    })
}

#[cfg(test)]
mod tests {
    use cotenant_device::CardsSpec;
    use cotenant_types::{Mebibytes, MigPlace, Rung, Share, Span};

    use super::*;

    fn cards() -> BTreeMap<CardId, Card> {
        let CardsSpec::Simulated(pool) = "sim:3xH100".parse().unwrap() else {
            panic!("simulated cards are simulated")
        };
        let mut cards: Vec<Card> = pool.cards().into_iter().collect();
        cards[2].kind = CardKind::Nvidia;
        let cpu = Card {
            id: "cpu-0".parse().unwrap(),
            kind: CardKind::Cpu,
            cores: 4,
            memory: Mebibytes(1000),
            ..cards[0].clone()
        };
        cards.push(cpu);
        cards.into_iter().map(|card| (card.id.clone(), card)).collect()
    }

    fn slice(card: &str, compute: u32, memory: u64) -> Slice {
        let share = Share::from_per_mille(compute).unwrap();
        Slice {
            card: card.parse().unwrap(),
            memory: Span { request: Mebibytes(memory), limit: Mebibytes(memory) },
            compute: Span { request: share, limit: share },
            whole: false,
            enforced_by: Rung::Advisory,
            mig: None,
        }
    }

    fn check(slices: &[Slice], (busy, mib): (u64, u64), expected: &[Option<(u32, u64)>]) {
        let pids = BTreeSet::from([7, 8]);
        let work = Work { busy_per_mille: busy, memory_bytes: mib << 20, pids };
        let process = |card: &str, pid, compute: Option<u32>, memory: u64| ProcessUse {
            card: card.parse().unwrap(),
            pid,
            compute: compute.map(|it| Share::from_per_mille(it).unwrap()),
            memory_used: Some(Mebibytes(memory)),
        };
        let processes = [
            process("sim-n0-2", 7, Some(300), 50),
            process("sim-n0-2", 8, None, 7),
            process("sim-n0-2", 9, Some(600), 900),
            process("sim-n0-1", 7, Some(600), 900),
        ];
        let uses = slice_uses(slices, &cards(), (&work, &processes));
        let shown =
            uses.iter().map(|it| Some((it.as_ref()?.compute_per_mille, it.as_ref()?.memory_mib)));
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{slices:?}");
    }

    #[test]
    fn use_is_spread_over_the_slices_of_a_member() {
        // A core kept busy is a simulated card kept busy.
        check(&[slice("sim-n0-0", 100, 10)], (1000, 64), &[Some((1000, 64))]);
        // By what is kept on each, and never more than a card.
        let two = [slice("sim-n0-0", 299, 9), slice("sim-n0-1", 99, 29)];
        check(&two, (800, 40), &[Some((600, 10)), Some((200, 30))]);
        check(&two, (8000, 40), &[Some((1000, 10)), Some((1000, 30))]);
        check(
            &[slice("sim-n0-0", 0, 0), slice("sim-n0-1", 0, 0)],
            (9, 8),
            &[Some((4, 4)), Some((5, 4))],
        );
        // A processor has several cores, and no more memory than it has.
        check(&[slice("cpu-0", 500, 10)], (2000, 4096), &[Some((500, 1000))]);
        // The driver says whose process does what; of a partition it does not.
        check(&[slice("sim-n0-2", 500, 10)], (2000, 64), &[Some((300, 57))]);
        let partition = MigPlace { profile: "1g.10gb".to_owned(), start: 0 };
        check(&[Slice { mig: Some(partition), ..slice("sim-n0-2", 100, 1) }], (1, 1), &[None]);
        check(&[slice("gone", 500, 10)], (2000, 64), &[None]);
    }

    #[test]
    fn parts_sum_up_to_the_total() {
        let weights: [&[u32]; 6] =
            [&[], &[0, 0], &[1], &[1, 1, 1], &[0, 5, 2], &[u32::MAX, u32::MAX, 1]];
        for weights in weights {
            for total in [0, 1, 2, 7, 1000, u64::MAX] {
                let parts = split(total, weights);
                let sum: u64 = parts.iter().sum();
                let whole: u128 = weights.iter().map(|&it| u128::from(it)).sum();
                assert_eq!(sum, if whole == 0 { 0 } else { total }, "{total} by {weights:?}");
                for (part, weight) in parts.iter().zip(weights) {
                    let exact = total as f64 * f64::from(*weight) / (whole.max(1) as f64);
                    let slack = 1.0 + exact * 1e-9;
                    assert!((*part as f64 - exact).abs() <= slack, "{total} by {weights:?}");
                }
            }
        }
    }
}
