//! What is counted of online experiments.

use std::collections::BTreeMap;

use cotenant_eval::experiment::Recorded;

use super::Meters;
use super::page::{Kind, Page, Sample};
use crate::serve::experiments::{StopCode, Variant};

/// Counts of a tenant's experiments.
#[derive(Default)]
pub(super) struct Trials {
    /// Searches that an experiment decided about, by variant.
    searches: BTreeMap<&'static str, u64>,
    /// Feedback that was taken, by what became of it.
    feedback: BTreeMap<&'static str, u64>,
    /// Experiments that stopped, by reason.
    stopped: BTreeMap<&'static str, u64>,
}

impl Meters {
    pub(in crate::serve) fn on_enrolled(&self, tenant: &str, variant: Variant) {
        self.trials(tenant, |trials| trials.searches.entry(variant.name()).or_default());
    }

    pub(in crate::serve) fn on_feedback(&self, tenant: &str, recorded: Recorded) {
        let result = match recorded {
            Recorded::Counted => "counted",
            Recorded::Repeated => "repeated",
            Recorded::TooLate => "too_late",
        };
        self.trials(tenant, |trials| trials.feedback.entry(result).or_default());
    }

    pub(in crate::serve) fn on_stopped(&self, tenant: &str, code: StopCode) {
        self.trials(tenant, |trials| trials.stopped.entry(code.name()).or_default());
    }

    fn trials(&self, tenant: &str, count: impl FnOnce(&mut Trials) -> &mut u64) {
        self.of(&tenant.into(), |tenant| *count(&mut tenant.trials) += 1);
    }
}

pub(super) fn write<'a>(
    page: &mut Page,
    tenants: impl Iterator<Item = (&'a str, &'a Trials)> + Clone,
) {
    type Counts = fn(&Trials) -> &BTreeMap<&'static str, u64>;
    let families: [(&str, &str, &str, Counts); 3] = [
        ("searches", "variant", "Searches that an experiment decided about.", |it| &it.searches),
        ("feedback", "result", "Feedback that was taken.", |it| &it.feedback),
        ("stops", "reason", "Experiments that stopped.", |it| &it.stopped),
    ];
    for (name, label, about, counts) in families {
        let samples = tenants.clone().flat_map(|(tenant, trials)| {
            counts(trials).iter().map(move |(value, &count)| -> Sample {
                let labels = vec![("tenant", tenant.to_owned()), (label, (*value).to_owned())];
                (labels, count as f64)
            })
        });
        let name = format!("cotenant_serve_experiment_{name}_total");
        page.family((&name, Kind::Counter), about, samples);
    }
}
