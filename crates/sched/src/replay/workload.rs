//! The pods of a trace as jobs for a cluster, in the order of their names.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Demand, Fleet, Mix, Models};
use crate::replay::trace::{PodRow, Service, Times};

/// The pods of a trace, by kind.
#[derive(Clone, Debug)]
pub struct Workload {
    kinds: Vec<Demand>,
    /// The kind of each pod.
    pods: Vec<u32>,
    times: Vec<Option<Times>>,
    services: Vec<Service>,
    mix: Mix,
    unknown_models: BTreeSet<String>,
}

impl Workload {
    /// The workload of these pods on the nodes of a fleet.
    pub fn new(fleet: &Fleet, mut rows: Vec<PodRow>) -> Self {
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        let mut unknown_models = BTreeSet::new();
        let mut numbers = BTreeMap::new();
        let mut kinds = Vec::new();
        let mut pods = Vec::with_capacity(rows.len());
        for row in &rows {
            let demand = demand(fleet, row, &mut unknown_models);
            let number = numbers.entry(demand).or_insert_with_key(|demand| {
                kinds.push(demand.clone());
                kinds.len() as u32 - 1
            });
            pods.push(*number);
        }
        let jobs = pods.iter().zip(&rows);
        let mix = Mix::of(jobs.map(|(kind, row)| (&kinds[*kind as usize], row.models.as_str())));
        let times = rows.iter().map(|row| row.times).collect();
        let services = rows.iter().map(|row| row.service).collect();
        Self { kinds, pods, times, services, mix, unknown_models }
    }

    /// The different jobs of the trace.
    pub fn kinds(&self) -> &[Demand] {
        &self.kinds
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// How often each kind comes.
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// Models that pods name and no node has.
    pub fn unknown_models(&self) -> impl Iterator<Item = &str> {
        self.unknown_models.iter().map(String::as_str)
    }

    /// When a pod came and went, by its place among the names; none if the trace does not say.
    pub fn times(&self, pod: u32) -> Option<Times> {
        self.times[pod as usize]
    }

    /// Whether a pod may be moved, by its place among the names.
    pub fn service(&self, pod: u32) -> Service {
        self.services[pod as usize]
    }

    /// The kind of a pod, by its place among the names.
    pub(crate) fn kind(&self, pod: u32) -> u32 {
        self.pods[pod as usize]
    }

    /// The job of a pod, by its place among the names.
    pub fn demand(&self, pod: u32) -> &Demand {
        &self.kinds[self.kind(pod) as usize]
    }
}

fn demand(fleet: &Fleet, row: &PodRow, unknown: &mut BTreeSet<String>) -> Demand {
    Demand {
        cpu_milli: row.cpu_milli,
        memory_mib: row.memory_mib,
        cards: row.cards,
        compute: row.compute,
        card_memory_mib: row.card_memory_mib,
        models: models(fleet, &row.models, unknown),
    }
}

fn models(fleet: &Fleet, written: &str, unknown: &mut BTreeSet<String>) -> Models {
    if written.is_empty() {
        return Models::ANY;
    }
    written.split('|').fold(Models::NONE, |models, name| match fleet.model(name) {
        Some(model) => models.with(model),
        None => {
            unknown.insert(name.to_owned());
            models
        }
    })
}
