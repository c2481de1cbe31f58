//! Quality of a base model, and of an adapter, on data that nothing is trained on here.

use cotenant_eval::{Comparison, Metric, Resampling};
use cotenant_transformer::Adapter;
use serde::Serialize;

use super::base::BaseModel;
use super::error::JobError;
use super::observer::Observer;
use super::workshop::{NEVER, Workshop};
use crate::retrieval::{Measurement, Quality};
use crate::tracking::Measured;
use crate::workspace::{Limits, TenantConfig};

/// How well one data set's test queries are answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataQuality {
    /// The data set.
    pub name: String,
    /// Documents searched.
    pub documents: usize,
    /// Judged queries.
    pub queries: usize,
    /// With the base model.
    pub base: Quality,
    /// With the adapter, if one was given.
    pub adapter: Option<Quality>,
    /// How sure the difference in nDCG@10 is, if an adapter was given.
    pub difference: Option<Difference>,
}

impl DataQuality {
    /// What of it is worth keeping: how good the adapter is if there is one, else the base model.
    pub fn measured(&self) -> Measured {
        let kept = self.adapter.unwrap_or(self.base);
        let metrics =
            [("ndcg_10", kept.ndcg10), ("recall_10", kept.recall10), ("mrr_10", kept.mrr10)];
        let gain = self.difference.iter();
        let gains =
            gain.flat_map(|by| [("ndcg_10_gain", by.ndcg10), ("ndcg_10_gain_p", by.p_value)]);
        let metrics = metrics.into_iter().chain(gains);
        let parameters = [
            ("documents", self.documents.to_string()),
            ("queries", self.queries.to_string()),
            ("adapter", if self.adapter.is_some() { "yes" } else { "no" }.to_owned()),
        ];
        Measured {
            name: self.name.clone(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }
}

/// The adapter's nDCG@10 less the base model's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Mean over queries.
    pub ndcg10: f64,
    /// Lower end of the 95 % interval, by paired bootstrap.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How likely so large a difference is by chance, by Fisher's randomisation.
    pub p_value: f64,
}

/// Measures the test queries of one data set.
pub fn evaluate(
    base: &BaseModel,
    adapter: Option<&Adapter>,
    config: &TenantConfig,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<DataQuality, JobError> {
    let embedder = base.embedder(limits);
    let workshop = Workshop { base, embedder: &embedder, cache: None, observer, stop: &NEVER };
    let (dataset, texts) = workshop.read(config)?;
    let name = config.name.to_string();
    if dataset.test.is_empty() {
        return Err(JobError::NothingToMeasure { data: name });
    }
    let texts = (&dataset, &*texts);
    let (before, _) = workshop.measure(&name, texts, None)?;
    let after = match adapter {
        Some(adapter) => Some(workshop.measure(&name, texts, Some(adapter))?.0),
        None => None,
    };
    Ok(DataQuality {
        name,
        documents: dataset.documents.len(),
        queries: dataset.test.len(),
        base: before.quality(),
        adapter: after.as_ref().map(Measurement::quality),
        difference: after.and_then(|after| difference(&before, &after)),
    })
}

fn difference(before: &Measurement, after: &Measurement) -> Option<Difference> {
    let found =
        before.evaluation.compare(&after.evaluation, Metric::Ndcg, Resampling::default()).ok()?;
    let Comparison { difference, low, high, p_value, .. } = found;
    Some(Difference { ndcg10: difference, low, high, p_value })
}
