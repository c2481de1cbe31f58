//! Quality of a base model, and of an adapter, on data that nothing is trained on here.

use cotenant_eval::{Comparison, Metric, Resampling};
use cotenant_train::Texts;
use cotenant_transformer::Adapter;
use serde::Serialize;

use super::base::BaseModel;
use super::error::JobError;
use super::observer::{Observer, Stage};
use super::prepare::Workshop;
use super::train::threads;
use crate::data::Dataset;
use crate::retrieval::{Embedder, Measurement, Quality, measure};
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
    let embedder = Embedder {
        encoder: base.encoder.clone(),
        threads: threads(limits),
        chunk_tokens: limits.chunk_tokens,
    };
    let workshop = Workshop { base, embedder: &embedder, cache: None, observer };
    let (dataset, texts) = workshop.read(config)?;
    let name = config.name.to_string();
    if dataset.test.is_empty() {
        return Err(JobError::NothingToMeasure { data: name });
    }
    let before = measured(&workshop, &name, (&dataset, &*texts), None)?;
    let after = match adapter {
        Some(adapter) => Some(measured(&workshop, &name, (&dataset, &*texts), Some(adapter))?),
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

/// Embeds every document and test query and ranks.
fn measured(
    workshop: &Workshop<'_>,
    name: &str,
    (dataset, texts): (&Dataset, &dyn Texts),
    adapter: Option<&Adapter>,
) -> Result<Measurement, JobError> {
    let stage = if adapter.is_some() { Stage::EmbedAfter } else { Stage::EmbedBefore };
    let test = dataset.test.queries.iter().map(|judged| dataset.query_text(judged.query));
    let test: Vec<u32> = test.collect();
    let all: Vec<u32> = (0..dataset.documents.len() as u32).collect();
    let documents: Vec<u32> = all.iter().map(|&d| dataset.document_text(d)).collect();
    workshop.start(name, stage, (test.len() + documents.len()) as u64);
    let done = |by: usize| workshop.advance(name, stage, by);
    let embed = |ids: &[u32]| {
        workshop
            .embedder
            .embed(texts, ids, adapter, &done)
            .map_err(|source| JobError::Text { tenant: name.to_owned(), source })
    };
    let (queries, vectors) = (embed(&test)?, embed(&documents)?);
    workshop.finish(name, stage);
    Ok(measure(dataset, &dataset.test, &queries, (&all, &vectors), workshop.embedder.threads))
}
