//! A tenant before training: its data read, tokenised, embedded, measured and mined.

use std::sync::Arc;
use std::time::Instant;

use cotenant_train::{Example as TrainExample, Texts};

use super::dev::DevPool;
use super::error::JobError;
use super::observer::Stage;
use super::rerank::Reranking;
use super::texts::CutTexts;
use super::workshop::{Workshop, all_documents};
use crate::bm25::Bm25;
use crate::data::{Dataset, Example, Judgements};
use crate::mining::Miner;
use crate::retrieval::{Measurement, Vectors};
use crate::workspace::{Task, TenantConfig};

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
    /// What training reads, at the length that it uses; the examples' numbers refer to it.
    pub cut: Arc<dyn Texts>,
    /// What is trained on, mined negatives included; empty for a tenant that stays zero-shot.
    pub examples: Vec<TrainExample>,
    /// Quality of the base model on the test queries, and of the first stage for a reranker.
    pub before: Measurement,
    pub goal: Goal,
    /// Seconds that preparing took.
    pub wall_s: f64,
}

/// What adapters are compared by.
pub(super) enum Goal {
    /// How they rank a pool of documents.
    Embed(DevPool),
    /// How they order what was found without them.
    Rerank(Box<Reranking>),
}

/// Examples over the table that they refer to.
pub(super) struct Lesson {
    pub examples: Vec<TrainExample>,
    pub cut: Arc<dyn Texts>,
}

impl Workshop<'_> {
    /// Measures what there is without an adapter, mines negatives and picks what adapters are
    /// compared on.
    pub(super) fn prepare(&self, read: Read<'_>) -> Result<Prepared, JobError> {
        match read.config.task {
            // What has nothing to train on answers with the base model, whatever it was to train.
            Task::Rerank if !read.dataset.train.is_empty() => self.prepare_reranker(read),
            Task::Rerank | Task::Embed => self.prepare_embedding(read),
        }
    }

    fn prepare_embedding(&self, read: Read<'_>) -> Result<Prepared, JobError> {
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
        let Lesson { examples, cut } = self.lesson(config, &dataset, &texts, &examples);
        let (config, goal) = (config.clone(), Goal::Embed(dev));
        let wall_s = begun.elapsed().as_secs_f64();
        Ok(Prepared { name, config, dataset, texts, cut, examples, before, goal, wall_s })
    }

    /// What is trained on: single texts, each cut for itself, or pairs of them for a reranker.
    pub(super) fn lesson(
        &self,
        config: &TenantConfig,
        dataset: &Dataset,
        texts: &Arc<dyn Texts>,
        examples: &[Example],
    ) -> Lesson {
        if config.task == Task::Rerank {
            return self.lesson_in_pairs(config, (dataset, texts), examples, &|_, _| 0.0);
        }
        let tokens_max = self.tokens_max(config);
        let cut = CutTexts {
            inner: Arc::clone(texts),
            queries: dataset.queries.len() as u32,
            query_tokens_max: config.texts.query_tokens_max.min(tokens_max),
            document_tokens_max: config.texts.document_tokens_max.min(tokens_max),
        };
        let examples = examples.iter().map(|example| numbered(dataset, example)).collect();
        Lesson { examples, cut: Arc::new(cut) }
    }

    /// Finds hard negatives, and the documents that adapters are compared on.
    fn mine(
        &self,
        config: &TenantConfig,
        dataset: &Dataset,
        vectors: &Base,
    ) -> Result<(Vec<Example>, DevPool), JobError> {
        let name = config.name.as_str();
        self.start(name, Stage::Mine, 0);
        let (examples, bm25) = self.negatives(config, dataset, vectors)?;
        let dev_queries = rows(&vectors.queries, &dataset.dev);
        let dev = DevPool::new(dataset, &bm25, &dev_queries, &vectors.documents);
        self.finish(name, Stage::Mine);
        Ok((examples, dev))
    }

    /// The examples with hard negatives, and what ranked them by words.
    pub(super) fn negatives(
        &self,
        config: &TenantConfig,
        dataset: &Dataset,
        vectors: &Base,
    ) -> Result<(Vec<Example>, Bm25), JobError> {
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
        let examples = miner.mine(&config.negatives, config.negatives_mined());
        Ok((examples.ok_or(JobError::Stopped)?, bm25))
    }

    /// Base embeddings of every document and of the queries that are wanted.
    pub(super) fn embed_before(
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
pub(super) struct Base {
    /// One row a query; zeros for those that were not wanted.
    pub queries: Vectors,
    /// One row a document.
    pub documents: Vectors,
}

/// The queries whose base embeddings are needed.
pub(super) struct Wanted {
    queries: Vec<u32>,
}

impl Wanted {
    /// Held-out queries, and those of the examples if negatives are mined or a first stage is
    /// chosen by them.
    pub(super) fn of(dataset: &Dataset, config: &TenantConfig) -> Self {
        let held_out = [&dataset.dev, &dataset.test].into_iter().flat_map(|j| &j.queries);
        let mut queries: Vec<u32> = held_out.map(|judged| judged.query).collect();
        if config.negatives() > 0 || config.task == Task::Rerank {
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
fn numbered(dataset: &Dataset, example: &Example) -> TrainExample {
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
