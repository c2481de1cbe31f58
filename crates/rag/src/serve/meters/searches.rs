//! What is counted of searches: how far they went, and what each stage read.

use std::collections::BTreeMap;

use super::Meters;
use super::page::{Kind, Page, Sample};

/// What a search did that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) struct Searched {
    /// The mode by which it was answered.
    pub(in crate::serve) mode: &'static str,
    /// The last stage that it reached.
    pub(in crate::serve) reached: &'static str,
    /// Whether words were searched.
    pub(in crate::serve) words_searched: bool,
    /// Whether the query was embedded.
    pub(in crate::serve) query_embedded: bool,
    /// Whether vectors were searched.
    pub(in crate::serve) vectors_searched: bool,
    /// Entries of word lists that were read.
    pub(in crate::serve) postings: u64,
    /// Vectors that were compared.
    pub(in crate::serve) vectors: u64,
}

/// Counts of a tenant's searches.
#[derive(Default)]
pub(super) struct Searches {
    /// By mode and the last stage that was reached.
    searches: BTreeMap<(&'static str, &'static str), u64>,
    /// How often each stage ran.
    stages: BTreeMap<&'static str, u64>,
    /// What each stage read: entries of word lists, and vectors.
    read: BTreeMap<&'static str, u64>,
}

impl Meters {
    pub(in crate::serve) fn on_search(&self, tenant: &str, searched: Searched) {
        self.of(&tenant.into(), |tenant| tenant.searches.add(searched));
    }
}

impl Searches {
    fn add(&mut self, searched: Searched) {
        *self.searches.entry((searched.mode, searched.reached)).or_default() += 1;
        for (stage, ran, read) in [
            ("words", searched.words_searched, searched.postings),
            ("embedding", searched.query_embedded, 1),
            ("vectors", searched.vectors_searched, searched.vectors),
        ] {
            if ran {
                *self.stages.entry(stage).or_default() += 1;
                *self.read.entry(stage).or_default() += read;
            }
        }
    }
}

pub(super) fn write<'a>(
    page: &mut Page,
    tenants: impl Iterator<Item = (&'a str, &'a Searches)> + Clone,
) {
    let samples = tenants.clone().flat_map(|(tenant, searches)| {
        searches.searches.iter().map(move |(&(mode, reached), &count)| -> Sample {
            let own = vec![("tenant", tenant.to_owned()), ("mode", mode.to_owned())];
            ([own, vec![("reached", reached.to_owned())]].concat(), count as f64)
        })
    });
    let about = "Searches that were answered, by mode and the last stage that was reached.";
    page.family(("cotenant_serve_searches_total", Kind::Counter), about, samples);
    type Counts = fn(&Searches) -> &BTreeMap<&'static str, u64>;
    let families: [(&str, &str, Counts); 2] = [
        ("runs", "Stages that ran for searches.", |it| &it.stages),
        (
            "read",
            "Entries of word lists, queries for the model, and vectors that stages read.",
            |it| &it.read,
        ),
    ];
    for (name, about, counts) in families {
        let samples = tenants.clone().flat_map(|(tenant, searches)| {
            counts(searches).iter().map(move |(stage, &count)| -> Sample {
                let labels = vec![("tenant", tenant.to_owned()), ("stage", (*stage).to_owned())];
                (labels, count as f64)
            })
        });
        let name = format!("cotenant_serve_search_stage_{name}_total");
        page.family((&name, Kind::Counter), about, samples);
    }
}
