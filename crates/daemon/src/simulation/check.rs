//! What must hold after every step, worked out apart from the code under test.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_sched::{Job, Phase, Run, State};
use cotenant_types::{Amount, CardId, JobId, TenantName};

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

fn cards(state: &State) {
    let mut taken: BTreeMap<&CardId, (Amount, u32, bool)> = BTreeMap::new();
    for slice in state.jobs().filter_map(Job::placement).flat_map(|it| it.slices()) {
        let sum = taken.entry(&slice.card).or_default();
        *sum = (sum.0.plus(Amount::of(slice)), sum.1 + 1, sum.2 | slice.whole);
    }
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
    let text = |state: &State| serde_json::to_string(state).unwrap();
    assert_eq!(text(memory), text(disk), "memory and disk differ");
}
