//! What every stage of a run works with: the model, the caches, who watches and who stops it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cotenant_train::Texts;
use cotenant_transformer::{Adapter, Tokenizer};

use super::base::BaseModel;
use super::error::JobError;
use super::observer::{Observer, RunEvent, Stage};
use super::settings;
use crate::data::{self, DataError, Dataset, Judgements, ReadOptions};
use crate::retrieval::{
    Embedder, Measurement, NotEmbedded, Pace, VectorCache, Vectors, measure, unless,
};
use crate::tokens::{TokenOptions, TokenStore};
use crate::workspace::TenantConfig;

/// For work that nobody stops.
pub(super) static NEVER: AtomicBool = AtomicBool::new(false);

/// Texts whose base embeddings are kept as one file: what a run that is stopped loses at most.
const KEPT_TEXTS: usize = 4096;

/// What preparing needs besides the tenant's own configuration. All that takes long here ends with
/// [`JobError::Stopped`] soon after it is asked to.
pub(super) struct Workshop<'a> {
    pub base: &'a BaseModel,
    pub embedder: &'a Embedder,
    /// Where token ids and base embeddings are kept between runs.
    pub cache: Option<PathBuf>,
    pub observer: &'a dyn Observer,
    pub stop: &'a AtomicBool,
}

impl Workshop<'_> {
    /// Reads a tenant's data, refuses what its loss cannot learn from, and begins to tokenise it in
    /// the background.
    pub(super) fn read(
        &self,
        config: &TenantConfig,
    ) -> Result<(Dataset, Arc<dyn Texts>), JobError> {
        let name = config.name.to_string();
        let passages_max = config.passages_max;
        let options = ReadOptions { name: name.clone(), passages_max, stop: self.stop };
        self.start(&name, Stage::Read, 0);
        let loaded = data::read(&config.data, &options)
            .and_then(|loaded| settings::check_loss(config, &loaded).map(|()| loaded))
            .map_err(|source| match source {
                DataError::Stopped => JobError::Stopped,
                source => JobError::Data { tenant: name.clone(), source },
            })?;
        for warning in &loaded.warnings {
            self.warn(&name, warning.to_string());
        }
        self.finish(&name, Stage::Read);
        let dataset = loaded.dataset;
        let texts = self.tokenise(config, &dataset);
        Ok((dataset, texts))
    }

    fn tokenise(&self, config: &TenantConfig, dataset: &Dataset) -> Arc<dyn Texts> {
        let tokens_max = self.tokens_max(config);
        let queries = dataset.queries.iter();
        let queries = queries.map(|query| format!("{}{}", config.texts.query_prefix, query.text));
        let documents = dataset.documents.iter();
        let documents = documents
            .map(|document| format!("{}{}", config.texts.document_prefix, document.search_text()));
        let options = TokenOptions {
            tokens_max,
            // One for each tenant: whoever asks for a text that is not there helps, and every further
            // thread would hold an arena of memory.
            threads: 1,
            cache: self.cache.as_ref().map(|cache| cache.join("tokens")),
            fingerprint: self.base.fingerprint,
        };
        let tokenizer: Arc<Tokenizer> = Arc::clone(&self.base.tokenizer);
        Arc::new(TokenStore::new(queries.chain(documents).collect(), tokenizer, options))
    }

    /// Tokens that a text may have when quality is measured.
    pub(super) fn tokens_max(&self, config: &TenantConfig) -> usize {
        let model = self.base.folder.tokens_max();
        config.evaluation.tokens_max.map_or(model, |most| most.min(model))
    }

    /// Waits until every text of a tenant has its tokens; bad ones are told where they are used.
    pub(super) fn wait_for_tokens(
        &self,
        dataset: &Dataset,
        texts: &dyn Texts,
    ) -> Result<(), JobError> {
        for text in 0..dataset.texts() {
            self.go_on()?;
            // Who needs this text is told why it has none.
            let _ = texts.tokens(text);
        }
        Ok(())
    }

    /// Embeds texts with the base model, or finds what an earlier run has kept.
    pub(super) fn embed_bare(
        &self,
        name: &str,
        texts: &dyn Texts,
        ids: &[u32],
    ) -> Result<Vectors, JobError> {
        let cache = self.cache.as_ref().map(|cache| {
            let model = self.embedder.fingerprint;
            VectorCache::new(cache.join("vectors"), model)
        });
        let width = self.base.folder.config().hidden;
        let mut vectors = Vectors { values: Vec::with_capacity(ids.len() * width), width };
        let mut not_kept = None;
        for ids in ids.chunks(KEPT_TEXTS) {
            self.go_on()?;
            let kept = cache.as_ref().and_then(|cache| cache.load(texts, ids));
            let part = match kept {
                Some(kept) => {
                    self.advance(name, Stage::EmbedBefore, ids.len());
                    kept
                }
                None => {
                    let part = self.embed(name, Stage::EmbedBefore, (texts, ids, None))?;
                    if let Some(Err(error)) =
                        cache.as_ref().map(|cache| cache.store(texts, ids, &part))
                    {
                        not_kept = Some(error);
                    }
                    part
                }
            };
            vectors.values.extend(part.values);
        }
        if let Some(error) = not_kept {
            self.warn(name, format!("embeddings are not kept for the next run: {error}"));
        }
        Ok(vectors)
    }

    /// Embeds texts of a tenant and says how far it is.
    pub(super) fn embed(
        &self,
        name: &str,
        stage: Stage,
        (texts, ids, adapter): (&dyn Texts, &[u32], Option<&Adapter>),
    ) -> Result<Vectors, JobError> {
        let on_done = |by| {
            self.advance(name, stage, by);
            unless(self.stop)
        };
        let embedded = self.embedder.embed(texts, ids, adapter, &on_done);
        embedded.map_err(|error| not_embedded(name, error))
    }

    /// Embeds every document and test query, with an adapter or without, and ranks; the vectors are
    /// those of the documents.
    pub(super) fn measure(
        &self,
        name: &str,
        (dataset, texts): (&Dataset, &dyn Texts),
        adapter: Option<&Adapter>,
    ) -> Result<(Measurement, Vectors), JobError> {
        let stage = if adapter.is_some() { Stage::EmbedAfter } else { Stage::EmbedBefore };
        let test = dataset.test.queries.iter().map(|judged| dataset.query_text(judged.query));
        let test: Vec<u32> = test.collect();
        let documents = all_documents(dataset);
        self.start(name, stage, (test.len() + documents.len()) as u64);
        let embed = |ids: &[u32]| self.embed(name, stage, (texts, ids, adapter));
        let (queries, vectors) = (embed(&test)?, embed(&documents)?);
        let measured = self.rank((dataset, &dataset.test), &queries, &vectors)?;
        self.finish(name, stage);
        Ok((measured, vectors))
    }

    /// Ranks every document for judged queries, which have one row each.
    pub(super) fn rank(
        &self,
        (dataset, judgements): (&Dataset, &Judgements),
        queries: &Vectors,
        documents: &Vectors,
    ) -> Result<Measurement, JobError> {
        let all: Vec<u32> = (0..dataset.documents.len() as u32).collect();
        let pace = Pace { threads: self.embedder.threads, stop: self.stop };
        let found = measure(dataset, judgements, queries, (&all, documents), pace);
        found.ok_or(JobError::Stopped)
    }

    /// An error once the run is asked to stop.
    pub(super) fn go_on(&self) -> Result<(), JobError> {
        if self.is_stopped() { Err(JobError::Stopped) } else { Ok(()) }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn warn(&self, tenant: &str, message: String) {
        self.observer.on_event(&RunEvent::Warned { tenant: tenant.to_owned(), message });
    }

    pub(super) fn start(&self, tenant: &str, stage: Stage, total: u64) {
        let tenant = tenant.to_owned();
        self.observer.on_event(&RunEvent::StageStarted { tenant, stage, total });
    }

    pub(super) fn advance(&self, tenant: &str, stage: Stage, by: usize) {
        let (tenant, by) = (tenant.to_owned(), by as u64);
        self.observer.on_event(&RunEvent::StageAdvanced { tenant, stage, by });
    }

    pub(super) fn finish(&self, tenant: &str, stage: Stage) {
        self.observer.on_event(&RunEvent::StageFinished { tenant: tenant.to_owned(), stage });
    }
}

/// The rows of all documents in the table of texts.
pub(super) fn all_documents(dataset: &Dataset) -> Vec<u32> {
    (0..dataset.documents.len() as u32).map(|document| dataset.document_text(document)).collect()
}

/// A failure to embed texts of a tenant.
pub(super) fn not_embedded(tenant: &str, error: NotEmbedded) -> JobError {
    match error {
        NotEmbedded::Text(source) => JobError::Text { tenant: tenant.to_owned(), source },
        NotEmbedded::Device(source) => JobError::Device { source },
        NotEmbedded::Stopped => JobError::Stopped,
    }
}
