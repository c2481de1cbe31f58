//! What must hold after every step, worked out apart from the code under test.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_sched::{Job, Phase, Reason, Run, State};
use cotenant_types::{Amount, Ask, Card, CardId, CardShare, JobId, NodeName, TenantName};

use crate::live::Waits;

/// Nothing gives more than it has, nobody holds more than its limit, nothing runs twice.
pub(super) fn state(state: &State) {
    cards(state);
    quotas(state);
    for job in state.jobs() {
        let holds = job.placement().is_some();
        let waits = matches!(job.phase, Phase::Queued { .. });
        assert!(holds != waits, "job {} holds slices while it waits, or none otherwise", job.id);
    }
}

/// What is taken of each card, by how many slices, and whether one of them is the whole.
type Taken<'a> = BTreeMap<&'a CardId, (Amount, u32, bool)>;

fn taken(state: &State) -> Taken<'_> {
    let mut taken = Taken::new();
    for slice in state.jobs().filter_map(Job::placement).flat_map(|it| it.slices()) {
        let sum = taken.entry(&slice.card).or_default();
        *sum = (sum.0.plus(Amount::of(slice)), sum.1 + 1, sum.2 | slice.whole);
    }
    taken
}

fn cards(state: &State) {
    let taken = taken(state);
    for record in state.cards() {
        let Some((amount, slices, is_whole)) = taken.get(&record.card.id) else { continue };
        let all = Amount { compute_milli: 1000, memory: record.card.memory };
        assert!(amount.is_within(all), "{} gives {amount:?} of {all:?}", record.card.id);
        assert!(!is_whole || *slices == 1, "{} is whole and shared", record.card.id);
    }
}

fn quotas(state: &State) {
    let mut held: BTreeMap<&TenantName, Amount> = BTreeMap::new();
    for job in state.jobs() {
        let amount = job.placement().map(|it| it.amount()).unwrap_or_default();
        let mut next = Some(&job.terms.tenant);
        while let Some(name) = next {
            let sum = held.entry(name).or_default();
            *sum = sum.plus(amount);
            next = state.tenants()[name].parent.as_ref();
        }
    }
    for (name, amount) in held {
        if let Some(limit) = state.tenants()[name].limit {
            assert!(amount.is_within(limit), "{name} holds {amount:?} of {limit:?}");
        }
    }
}

/// No job runs in two starts at once, but where a start was fenced off with its machine.
pub(super) fn runs<'a>(alive: impl Iterator<Item = &'a Run>) {
    let mut generations: BTreeMap<JobId, BTreeSet<u32>> = BTreeMap::new();
    for run in alive {
        generations.entry(run.job).or_default().insert(run.generation.0);
    }
    for (job, generations) in generations {
        assert!(generations.len() == 1, "job {job} runs in starts {generations:?}");
    }
}

/// What is on the disk is what is in memory.
pub(super) fn stored(memory: &State, disk: &State) {
    for (here, there) in memory.jobs().zip(disk.jobs()) {
        assert_eq!(here, there, "memory and disk differ");
    }
    assert_eq!(memory.jobs().count(), disk.jobs().count(), "one has jobs more");
    assert!(memory.cards().eq(disk.cards()), "cards differ in memory and on disk");
    assert_eq!(memory.tenants(), disk.tenants());
    assert_eq!(memory.next_job(), disk.next_job());
    for record in memory.cards() {
        let node = &record.card.node;
        assert_eq!(memory.is_draining(node), disk.is_draining(node), "{node}");
    }
}

/// What is said to stand in a job's way does: counted from what jobs hold, without the ledger.
///
/// Looked at are jobs of one member whose cards need not be near each other, and cards that are not
/// in MIG mode: what fits there can be told from sums.
pub(super) fn reasons(state: &State, waits: &Waits) {
    let taken = taken(state);
    for (id, reasons) in waits {
        let Some(job) = state.job(*id) else { continue };
        for reason in reasons.iter() {
            match reason {
                Reason::Cards { .. } if job.terms.ask.members == 1 => {
                    assert!(!has_room(state, job, &taken), "job {id} has room, but {reason:?}");
                }
                Reason::Quota { held, wanted, limit, .. } => {
                    let sum = held.plus(*wanted);
                    assert!(!sum.is_within(*limit), "job {id} is within quota, but {reason:?}");
                }
                Reason::NoCards => assert_eq!(state.cards().count(), 0),
                Reason::Cards { .. }
                | Reason::Reserved { .. }
                | Reason::MakingRoom { .. }
                | Reason::Backoff { .. } => {}
            }
        }
    }
}

/// Whether a node has as many cards with room as the job's one member wants.
fn has_room(state: &State, job: &Job, taken: &Taken<'_>) -> bool {
    let ask = &job.terms.ask;
    if ask.same.is_some() {
        return false;
    }
    let mut free: BTreeMap<&NodeName, u32> = BTreeMap::new();
    for record in state.cards() {
        let card = &record.card;
        let is_well = !record.is_lost && !record.is_failing;
        let is_usable = is_well && !state.is_draining(&card.node) && card.mig.is_none();
        if is_usable && fits(ask, card, taken.get(&card.id)) {
            *free.entry(&card.node).or_default() += 1;
        }
    }
    free.values().any(|&cards| cards >= ask.cards)
}

fn fits(ask: &Ask, card: &Card, taken: Option<&(Amount, u32, bool)>) -> bool {
    let (amount, slices, is_whole) = taken.copied().unwrap_or_default();
    let foretold = ask.foretold.unwrap_or_default();
    match ask.share {
        CardShare::Whole => slices == 0 && foretold <= card.memory,
        CardShare::Part { memory, compute } => {
            let kept = memory.request.on(card.memory);
            !is_whole
                && foretold <= memory.limit.on(card.memory)
                && amount.memory.0 + kept.0 <= card.memory.0
                && amount.compute_milli + u64::from(compute.request.per_mille()) <= 1000
        }
    }
}
