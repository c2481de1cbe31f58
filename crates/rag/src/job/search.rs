//! Answers from a finished run: a query, a tenant's adapter, its nearest passages.

use cotenant_transformer::{Adapter, Forward, Packed, Scratch, Start};

use super::base::BaseModel;
use super::error::JobError;
use super::run_folder::{RunFolder, SavedTenant};
use crate::data::Document;
use crate::retrieval::Vectors;

/// One tenant of a run, ready to answer.
pub struct Searcher {
    base: BaseModel,
    tenant: SavedTenant,
    adapter: Option<Adapter>,
    documents: Vec<Document>,
    vectors: Vectors,
}

/// A passage that answers a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The passage.
    pub document: Document,
    /// Its cosine with the query, in -1..=1.
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
        let adapter = match saved.is_trained {
            true => Some(base.adapter(&folder.adapter(tenant))?),
            false => None,
        };
        let (documents, vectors) = folder.load_tenant(tenant)?;
        Ok(Self { base, tenant: saved, adapter, documents, vectors })
    }

    /// The `k` passages nearest to a query, best first.
    pub fn search(&self, query: &str, k: usize) -> Result<Vec<Found>, JobError> {
        let text = format!("{}{query}", self.tenant.query_prefix);
        let tokens = self.base.tokenizer.encode(&text, self.tenant.tokens_max)?;
        let mut batch = Packed::default();
        let adapters: Vec<&Adapter> = self.adapter.iter().collect();
        batch.push([tokens.as_slice()], self.adapter.as_ref().map(|_| 0), None);
        let mut vector = vec![0.0; self.vectors.width];
        let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
        self.base.encoder.embed(&forward, &mut Scratch::default(), &mut vector);
        let found = self.vectors.search(&vector, k).into_iter();
        Ok(found
            .map(|ranked| Found {
                document: self.documents[ranked.document as usize].clone(),
                score: ranked.score,
            })
            .collect())
    }
}
