//! A tenant before training: its data read, tokenised, embedded, measured and mined.

use std::path::PathBuf;
use std::sync::Arc;

use cotenant_train::{Example as TrainExample, Texts};
use cotenant_transformer::{Adapter, Tokenizer};

use super::base::BaseModel;
use super::dev::DevPool;
use super::error::JobError;
use super::observer::{Observer, RunEvent, Stage};
use super::texts::CutTexts;
use crate::bm25::Bm25;
use crate::data::{self, Dataset, Example, Judgements, ReadOptions};
use crate::mining::Miner;
use crate::retrieval::{Embedder, Measurement, VectorCache, Vectors, measure};
use crate::tokens::{TokenOptions, TokenStore};
use crate::workspace::TenantConfig;

/// A tenant that is ready to train.
pub(super) struct Prepared {
    pub name: String,
    pub config: TenantConfig,
    pub dataset: Dataset,
    /// At the length that quality is measured with.
    pub texts: Arc<dyn Texts>,
    /// At the length that training uses.
    pub cut: Arc<dyn Texts>,
    /// What is trained on, mined negatives included.
    pub examples: Vec<TrainExample>,
    /// Quality of the base model on the test queries.
    pub before: Measurement,
    pub dev: DevPool,
}

/// What preparing needs besides the tenant's own configuration.
pub(super) struct Workshop<'a> {
    pub base: &'a BaseModel,
    pub embedder: &'a Embedder,
    /// Where token ids and base embeddings are kept between runs.
    pub cache: Option<PathBuf>,
    pub observer: &'a dyn Observer,
}

impl Workshop<'_> {
    /// Reads a tenant's data and begins to tokenise it in the background.
    pub(super) fn read(
        &self,
        config: &TenantConfig,
    ) -> Result<(Dataset, Arc<dyn Texts>), JobError> {
        let name = config.name.to_string();
        let options = ReadOptions { name: name.clone(), passages_max: config.passages_max };
        self.start(&name, Stage::Read, 0);
        let loaded = data::read(&config.data, &options)
            .map_err(|source| JobError::Data { tenant: name.clone(), source })?;
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
    fn tokens_max(&self, config: &TenantConfig) -> usize {
        let model = self.base.folder.tokens_max();
        config.evaluation.tokens_max.map_or(model, |most| most.min(model))
    }

    /// Measures the base model, mines negatives and picks the dev pool.
    pub(super) fn prepare(
        &self,
        config: &TenantConfig,
        dataset: Dataset,
        texts: Arc<dyn Texts>,
    ) -> Result<Prepared, JobError> {
        let name = config.name.to_string();
        if dataset.train.is_empty() {
            let hint = "add training queries, pairs, or pages with headings";
            return Err(JobError::NothingToTrain { tenant: name, hint });
        }
        let wanted = Wanted::of(&dataset, config);
        let vectors = self.embed_before(&name, &dataset, &*texts, &wanted)?;
        let test = rows(&vectors.queries, &dataset.test);
        let all: Vec<u32> = (0..dataset.documents.len() as u32).collect();
        let pool = (all.as_slice(), &vectors.documents);
        let before = measure(&dataset, &dataset.test, &test, pool, self.embedder.threads);

        self.start(&name, Stage::Mine, 0);
        let search_texts: Vec<String> =
            dataset.documents.iter().map(|document| document.search_text()).collect();
        let bm25 = Bm25::build(search_texts.iter().map(String::as_str), &Default::default());
        let miner = Miner {
            dataset: &dataset,
            bm25: &bm25,
            documents: &vectors.documents,
            queries: &vectors.queries,
        };
        let examples = miner.mine(&config.negatives);
        let dev_queries = rows(&vectors.queries, &dataset.dev);
        let dev = DevPool::new(&dataset, &bm25, &dev_queries, &vectors.documents);
        self.finish(&name, Stage::Mine);

        let examples = examples.iter().map(|example| numbered(&dataset, example)).collect();
        let tokens_max = self.tokens_max(config);
        let cut = CutTexts {
            inner: Arc::clone(&texts),
            queries: dataset.queries.len() as u32,
            query_tokens_max: config.texts.query_tokens_max.min(tokens_max),
            document_tokens_max: config.texts.document_tokens_max.min(tokens_max),
        };
        let cut = Arc::new(cut);
        Ok(Prepared { name, config: config.clone(), dataset, texts, cut, examples, before, dev })
    }

    /// Base embeddings of every document and of the queries that are wanted.
    fn embed_before(
        &self,
        name: &str,
        dataset: &Dataset,
        texts: &dyn Texts,
        wanted: &Wanted,
    ) -> Result<Base, JobError> {
        let documents: Vec<u32> =
            (0..dataset.documents.len() as u32).map(|d| dataset.document_text(d)).collect();
        let queries: Vec<u32> = wanted.queries.iter().map(|&q| dataset.query_text(q)).collect();
        self.start(name, Stage::EmbedBefore, (documents.len() + queries.len()) as u64);
        let found = self.embed_bare(name, texts, &queries)?;
        let documents = self.embed_bare(name, texts, &documents)?;
        let width = found.width;
        let mut queries = Vectors { values: vec![0.0; dataset.queries.len() * width], width };
        for (&query, row) in wanted.queries.iter().zip(found.values.chunks_exact(width)) {
            queries.values[query as usize * width..][..width].copy_from_slice(row);
        }
        self.finish(name, Stage::EmbedBefore);
        Ok(Base { queries, documents })
    }

    /// Embeds texts with the base model, or finds what an earlier run has kept.
    fn embed_bare(&self, name: &str, texts: &dyn Texts, ids: &[u32]) -> Result<Vectors, JobError> {
        let cache = self.cache.as_ref().map(|cache| {
            let model = self.base.fingerprint;
            VectorCache::new(cache.join("vectors"), model)
        });
        if let Some(kept) = cache.as_ref().and_then(|cache| cache.load(texts, ids)) {
            self.advance(name, Stage::EmbedBefore, ids.len());
            return Ok(kept);
        }
        let done = |by: usize| self.advance(name, Stage::EmbedBefore, by);
        let vectors = self
            .embedder
            .embed(texts, ids, None, &done)
            .map_err(|source| JobError::Text { tenant: name.to_owned(), source })?;
        if let Some(Err(error)) = cache.map(|cache| cache.store(texts, ids, &vectors)) {
            self.warn(name, format!("embeddings are not kept for the next run: {error}"));
        }
        Ok(vectors)
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
        let all: Vec<u32> = (0..dataset.documents.len() as u32).collect();
        let documents: Vec<u32> = all.iter().map(|&d| dataset.document_text(d)).collect();
        self.start(name, stage, (test.len() + documents.len()) as u64);
        let done = |by: usize| self.advance(name, stage, by);
        let embed = |ids: &[u32]| {
            self.embedder
                .embed(texts, ids, adapter, &done)
                .map_err(|source| JobError::Text { tenant: name.to_owned(), source })
        };
        let (queries, vectors) = (embed(&test)?, embed(&documents)?);
        self.finish(name, stage);
        let threads = self.embedder.threads;
        Ok((measure(dataset, &dataset.test, &queries, (&all, &vectors), threads), vectors))
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

/// Base embeddings of one tenant.
struct Base {
    /// One row a query; zeros for those that were not wanted.
    queries: Vectors,
    /// One row a document.
    documents: Vectors,
}

/// The queries whose base embeddings are needed.
struct Wanted {
    queries: Vec<u32>,
}

impl Wanted {
    /// Held-out queries, and those of the examples if negatives are mined.
    fn of(dataset: &Dataset, config: &TenantConfig) -> Self {
        let held_out = [&dataset.dev, &dataset.test].into_iter().flat_map(|j| &j.queries);
        let mut queries: Vec<u32> = held_out.map(|judged| judged.query).collect();
        if config.negatives.per_example > 0 {
            queries.extend(dataset.train.iter().map(Example::query));
        }
        queries.sort_unstable();
        queries.dedup();
        Self { queries }
    }
}

/// The rows of judged queries, in the order of the judgements.
fn rows(queries: &Vectors, judgements: &Judgements) -> Vectors {
    let rows = judgements.queries.iter().flat_map(|judged| queries.row(judged.query as usize));
    Vectors { values: rows.copied().collect(), width: queries.width }
}

/// An example over the table of texts: the queries, then the documents.
pub(super) fn numbered(dataset: &Dataset, example: &Example) -> TrainExample {
    match example {
        Example::Pair { query, positive, negatives } => TrainExample::Pair {
            anchor: dataset.query_text(*query),
            positive: dataset.document_text(*positive),
            negatives: negatives.iter().map(|&document| dataset.document_text(document)).collect(),
        },
        Example::Scored { left, right, score } => TrainExample::Scored {
            left: dataset.query_text(*left),
            right: dataset.document_text(*right),
            score: *score,
        },
    }
}
