//! Answers from a finished run: a query, a tenant's adapter, its nearest passages.

use cotenant_index::Hit;
use cotenant_transformer::{Adapter, Forward, Packed, Scratch, Start};

use super::base::BaseModel;
use super::error::JobError;
use super::run_folder::{RunFolder, SavedTenant};
use crate::data::Document;
use crate::retrieval::pipeline::{
    Asked, Collection, Effort, Pipeline, RERANKED_MAX, Reached, RetrievalError, Tuned,
};
use crate::retrieval::{CrossEncoder, Embedder, Vectors};
use crate::workspace::{Limits, Task};

/// One tenant of a run, ready to answer.
pub struct Searcher {
    base: BaseModel,
    tenant: SavedTenant,
    documents: Vec<Document>,
    way: Way,
}

/// How a tenant's passages are found.
enum Way {
    /// By their vectors under the adapter, or under the base model where there is none.
    Vectors { adapter: Option<Adapter>, vectors: Vectors },
    /// By words and the vectors of the base model, and then in the adapter's order.
    Reranked(Box<Reranked>),
}

struct Reranked {
    adapter: Adapter,
    embedder: Embedder,
    collection: Collection,
    tuned: Tuned,
}

/// A passage that answers a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The passage.
    pub document: Document,
    /// Its cosine with the query, in -1..=1; where a reranker read it, what finding says of it, from
    /// 0 to 1, and the weighted score of the reranker.
    pub score: f32,
}

impl Searcher {
    /// Loads a tenant of a finished run.
    pub fn open(folder: &RunFolder, tenant: &str) -> Result<Self, JobError> {
        let run = folder.load()?;
        let saved = run.tenant(tenant)?.clone();
        let base = BaseModel::open(&run.base_folder, &run.base, run.precision_choice())?;
        if base.digest != run.model {
            let problem = "the base model's files are not those it was trained with".to_owned();
            return Err(JobError::Damaged { path: run.base_folder, problem });
        }
        let (documents, vectors) = folder.load_tenant(tenant)?;
        let way = match (saved.is_trained, saved.task) {
            (false, Task::Embed | Task::Rerank) => Way::Vectors { adapter: None, vectors },
            (true, Task::Embed) => {
                Way::Vectors { adapter: Some(base.adapter(&folder.adapter(tenant))?), vectors }
            }
            (true, Task::Rerank) => {
                let texts = documents.iter().map(|document| document.search_text()).collect();
                let collection = Collection::new(texts, vectors).map_err(failed(tenant))?;
                Way::Reranked(Box::new(Reranked {
                    adapter: base.reranker(&folder.adapter(tenant))?,
                    embedder: base.embedder(&Limits::default()),
                    collection,
                    tuned: folder.load_first_stage(tenant)?,
                }))
            }
        };
        Ok(Self { base, tenant: saved, documents, way })
    }

    /// The `k` passages that answer a query best, best first. A reranker orders the first 30 that
    /// were found, and no more than those are given.
    pub fn search(&self, query: &str, k: usize) -> Result<Vec<Found>, JobError> {
        let found = |document: u32, score: f32| Found {
            document: self.documents[document as usize].clone(),
            score,
        };
        match &self.way {
            Way::Vectors { adapter, vectors } => {
                let vector = self.embed(query, adapter.as_ref())?;
                let ranked = vectors.search(&vector, k).into_iter();
                Ok(ranked.map(|ranked| found(ranked.document, ranked.score)).collect())
            }
            Way::Reranked(reranked) => {
                let hits = self.rerank(reranked, query, k)?.into_iter();
                Ok(hits.map(|hit| found(hit.slot.0, hit.score)).collect())
            }
        }
    }

    /// The best documents, in the reranker's order.
    fn rerank(&self, reranked: &Reranked, query: &str, k: usize) -> Result<Vec<Hit>, JobError> {
        let Reranked { adapter, embedder, collection, tuned } = reranked;
        let tenant = &self.tenant;
        let vector = self.embed(query, None)?;
        let vector = || Some(vector.clone());
        let asked = Asked { text: query, count: k.min(RERANKED_MAX), without: None };
        let cross = CrossEncoder {
            embedder,
            tokenizer: &self.base.tokenizer,
            adapter,
            query_prefix: &tenant.query_prefix,
            document_prefix: &tenant.document_prefix,
            tokens_max: tenant.tokens_max,
        };
        let pipeline = Pipeline { retrievers: collection, tuned, reranker: Some(&cross) };
        let answered = pipeline.answer(&asked, Effort::To(Reached::All), &vector);
        Ok(answered.map_err(failed(&tenant.name))?.hits)
    }

    fn embed(&self, query: &str, adapter: Option<&Adapter>) -> Result<Vec<f32>, JobError> {
        let text = format!("{}{query}", self.tenant.query_prefix);
        let tokens = self.base.tokenizer.encode(&text, self.tenant.tokens_max)?;
        let mut batch = Packed::default();
        let adapters: Vec<&Adapter> = adapter.into_iter().collect();
        batch.push([tokens.as_slice()], adapter.map(|_| 0), None);
        let mut vector = vec![0.0; self.base.encoder.config().hidden];
        let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
        self.base.encoder.embed(&forward, &mut Scratch::default(), &mut vector);
        Ok(vector)
    }
}

fn failed(tenant: &str) -> impl Fn(RetrievalError) -> JobError + '_ {
    |source| JobError::Search { tenant: tenant.to_owned(), source }
}
