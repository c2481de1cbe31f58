//! A tenant before training: its data read, tokenised, embedded, measured and mined.

use std::sync::Arc;
use std::time::Instant;

use cotenant_train::{Example as TrainExample, Texts};

use super::dev::DevPool;
use super::error::JobError;
use super::observer::Stage;
use super::texts::CutTexts;
use super::workshop::{Workshop, all_documents};
use crate::bm25::Bm25;
use crate::data::{Dataset, Example, Judgements};
use crate::mining::Miner;
use crate::retrieval::{Measurement, Vectors};
use crate::workspace::TenantConfig;

/// A tenant whose data is read.
pub(super) struct Read<'a> {
    pub config: &'a TenantConfig,
    pub dataset: Dataset,
    /// At the length that quality is measured with.
    pub texts: Arc<dyn Texts>,
}

/// A tenant that is ready to train, or to be searched with the base model.
pub(super) struct Prepared {
    pub name: String,
    pub config: TenantConfig,
    pub dataset: Dataset,
    /// At the length that quality is measured with.
    pub texts: Arc<dyn Texts>,
    /// At the length that training uses.
    pub cut: Arc<dyn Texts>,
    /// What is trained on, mined negatives included; empty for a tenant that stays zero-shot.
    pub examples: Vec<TrainExample>,
    /// Quality of the base model on the test queries.
    pub before: Measurement,
    pub dev: DevPool,
    /// Seconds that preparing took.
    pub wall_s: f64,
}

impl Workshop<'_> {
    /// Measures the base model, mines negatives and picks the dev pool.
    pub(super) fn prepare(&self, read: Read<'_>) -> Result<Prepared, JobError> {
        let begun = Instant::now();
        let Read { config, dataset, texts } = read;
        let name = config.name.to_string();
        let wanted = Wanted::of(&dataset, config);
        let vectors = self.embed_before(&name, &dataset, &*texts, &wanted)?;
        let test = rows(&vectors.queries, &dataset.test);
        let before = self.rank((&dataset, &dataset.test), &test, &vectors.documents)?;
        let (examples, dev) = match dataset.train.is_empty() {
            true => (Vec::new(), DevPool::default()),
            false => self.mine(config, &dataset, &vectors)?,
        };
        let tokens_max = self.tokens_max(config);
        let cut = CutTexts {
            inner: Arc::clone(&texts),
            queries: dataset.queries.len() as u32,
            query_tokens_max: config.texts.query_tokens_max.min(tokens_max),
            document_tokens_max: config.texts.document_tokens_max.min(tokens_max),
        };
        let (cut, config) = (Arc::new(cut), config.clone());
        let wall_s = begun.elapsed().as_secs_f64();
        Ok(Prepared { name, config, dataset, texts, cut, examples, before, dev, wall_s })
    }

    /// Finds hard negatives, and the documents that adapters are compared on.
    fn mine(
        &self,
        config: &TenantConfig,
        dataset: &Dataset,
        vectors: &Base,
    ) -> Result<(Vec<TrainExample>, DevPool), JobError> {
        let name = config.name.as_str();
        self.start(name, Stage::Mine, 0);
        let search_texts: Vec<String> =
            dataset.documents.iter().map(|document| document.search_text()).collect();
        let wanted = search_texts.iter().map(String::as_str).take_while(|_| !self.is_stopped());
        let bm25 = Bm25::build(wanted, Default::default());
        self.go_on()?;
        let miner = Miner {
            dataset,
            bm25: &bm25,
            documents: &vectors.documents,
            queries: &vectors.queries,
            stop: self.stop,
        };
        let examples = miner.mine(&config.negatives).ok_or(JobError::Stopped)?;
        let dev_queries = rows(&vectors.queries, &dataset.dev);
        let dev = DevPool::new(dataset, &bm25, &dev_queries, &vectors.documents);
        self.finish(name, Stage::Mine);
        Ok((examples.iter().map(|example| numbered(dataset, example)).collect(), dev))
    }

    /// Base embeddings of every document and of the queries that are wanted.
    fn embed_before(
        &self,
        name: &str,
        dataset: &Dataset,
        texts: &dyn Texts,
        wanted: &Wanted,
    ) -> Result<Base, JobError> {
        let documents = all_documents(dataset);
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
