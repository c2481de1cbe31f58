//! What a simulation found, as a table and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_sched::policy::SizeClass;
use cotenant_sched::replay::{Findings, PERCENT_MAX};
use serde_json::{Map, Value, json};

use super::run::PolicyResult;
use crate::table::table;

/// One object for programs.
pub(super) fn json(results: &[PolicyResult]) -> Value {
    let seed = |(seed, findings): &(u64, Findings)| {
        let rejected: Map<String, Value> = findings
            .classes
            .iter()
            .map(|(class, counts)| (class.to_string(), counts.rejected.into()))
            .collect();
        json!({
            "seed": seed,
            "allocation_pct": findings.allocation_percent,
            "fragmentation_pct": findings.fragmentation_percent,
            "placed": findings.placed(),
            "rejected": rejected,
        })
    };
    let policy = |result: &PolicyResult| {
        json!({
            "policy": result.policy.as_str(),
            "decisions_per_s": result.decisions_per_s().round() as u64,
            "seeds": result.seeds.iter().map(seed).collect::<Vec<_>>(),
        })
    };
    json!({ "policies": results.iter().map(policy).collect::<Vec<_>>() })
}

/// Tables for people: allocation, and who found no room.
pub(super) fn text(results: &[PolicyResult]) -> String {
    let header = [
        "policy",
        "allocated % at 100 %",
        "at 130 %",
        "fragmented % at 100 %",
        "placed",
        "decisions/s",
    ];
    let row = |result: &PolicyResult| {
        let at = |percent: usize| Spread::of(result, |it| it.allocation_percent[percent]);
        let lost = Spread::of(result, |findings| findings.fragmentation_percent[100]);
        let placed = Spread::of(result, |findings| findings.placed() as f64);
        vec![
            result.policy.as_str().to_owned(),
            at(100).in_words(),
            at(PERCENT_MAX).in_words(),
            lost.in_words(),
            format!("{:.1}", placed.mean),
            format!("{:.0}", result.decisions_per_s()),
        ]
    };
    let rows: Vec<_> = results.iter().map(row).collect();
    format!("{}\n\n{}", table(&header, &rows), rejections(results))
}

fn rejections(results: &[PolicyResult]) -> String {
    let classes = classes(results);
    let names: Vec<String> = classes.iter().map(SizeClass::to_string).collect();
    let names = names.iter().map(String::as_str);
    let header: Vec<&str> = std::iter::once("found no room").chain(names).collect();
    let row = |result: &PolicyResult| {
        let rejected = rejected(result);
        let cells = classes.iter().map(|class| format!("{:.1}", rejected[class]));
        std::iter::once(result.policy.as_str().to_owned()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = results.iter().map(row).collect();
    table(&header, &rows)
}

/// Every kind of job that arrived.
pub(super) fn classes(results: &[PolicyResult]) -> BTreeSet<SizeClass> {
    let outcomes = results.iter().flat_map(|result| &result.seeds);
    outcomes.flat_map(|(_, findings)| findings.classes.keys().copied()).collect()
}

/// Jobs that found no room, by kind, on average over the seeds.
pub(super) fn rejected(result: &PolicyResult) -> BTreeMap<SizeClass, f64> {
    let mut sums: BTreeMap<SizeClass, f64> = BTreeMap::new();
    for (_, findings) in &result.seeds {
        for (class, counts) in &findings.classes {
            *sums.entry(*class).or_default() += counts.rejected as f64;
        }
    }
    let seeds = result.seeds.len() as f64;
    sums.into_iter().map(|(class, sum)| (class, sum / seeds)).collect()
}

/// A figure over seeds.
pub(super) struct Spread {
    pub(super) mean: f64,
    /// The standard deviation; none of a single seed.
    deviation: Option<f64>,
}

impl Spread {
    /// A figure of every seed's findings.
    pub(super) fn of(result: &PolicyResult, figure: impl Fn(&Findings) -> f64) -> Self {
        let values: Vec<f64> = result.seeds.iter().map(|(_, findings)| figure(findings)).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, deviation: (count > 1.0).then(|| (squares / (count - 1.0)).sqrt()) }
    }

    /// The mean, and the deviation behind it.
    pub(super) fn in_words(&self) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.2} ± {deviation:.2}", self.mean),
            None => format!("{:.2}", self.mean),
        }
    }
}
