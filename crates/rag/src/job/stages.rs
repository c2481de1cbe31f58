//! What each stage of retrieval buys: quality against cost on a data set's test queries.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use cotenant_eval::{Evaluation, Judged, Metric};
use cotenant_index::{Hit, Slot};
use cotenant_train::Texts;
use cotenant_transformer::Adapter;
use serde::Serialize;

use super::base::BaseModel;
use super::error::JobError;
use super::observer::{Observer, Stage};
use super::workshop::{NEVER, Workshop, all_documents};
use crate::data::{Dataset, Example, Judged as JudgedQuery};
use crate::retrieval::pipeline::{
    Asked, Calibration, Collection, DEV_QUERIES_MAX, DevQuery, Effort, Mix, Pipeline, Prices,
    Probe, Reached, Remembered, Reranker, RetrievalError, Retrievers, Tuned, Work, spread,
};
use crate::retrieval::{CrossEncoder, Quality, Vectors};
use crate::tracking::Measured;
use crate::workspace::{Limits, TenantConfig};

/// Documents that quality looks at.
const DEPTH: usize = 10;

/// What is measured, and with what.
pub struct StagesQuestion<'a> {
    /// The base model.
    pub base: &'a BaseModel,
    /// An adapter that embeds queries and documents in its place.
    pub adapter: Option<&'a Adapter>,
    /// An adapter with a head, which reads the best documents of some stages again.
    pub reranker: Option<&'a Adapter>,
    /// The data, and how its texts begin.
    pub config: &'a TenantConfig,
    /// How much of the machine may be used.
    pub limits: &'a Limits,
    /// Where base embeddings are kept between runs.
    pub cache: Option<PathBuf>,
    /// The part of full depth's nDCG@10 that is to be kept, from 0 to 1.
    pub floor: f64,
}

/// Quality and cost of all stages on one data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StagesQuality {
    /// The data set.
    pub name: String,
    /// Documents searched.
    pub documents: usize,
    /// Test queries, on which everything below was measured.
    pub queries: usize,
    /// Judged queries of other splits, on which everything was chosen.
    pub dev_queries: usize,
    /// The part of full depth's nDCG@10 that was to be kept.
    pub floor: f64,
    /// How lists become one.
    pub mix: Mix,
    /// Each stage, and then what is spent as needed.
    pub stages: Vec<StageQuality>,
    /// What was learnt, to be kept beside an index.
    #[serde(skip)]
    pub tuned: Tuned,
}

impl StagesQuality {
    /// What a tracking server keeps of it.
    pub fn measured(&self) -> Measured {
        let parameters = [
            ("documents", self.documents.to_string()),
            ("queries", self.queries.to_string()),
            ("dev_queries", self.dev_queries.to_string()),
            ("floor", self.floor.to_string()),
            ("words_weight", self.mix.words.to_string()),
            ("vectors_weight", self.mix.vectors.to_string()),
        ];
        // MLflow takes no commas, colons or brackets in a name.
        let legal = |name: &str| name.replace([',', ':', '(', ')'], "");
        let metrics = self.stages.iter().flat_map(|stage| {
            let values = [
                ("ndcg_10", stage.quality.ndcg10),
                ("recall_10", stage.quality.recall10),
                ("search_us", stage.search_us),
                ("total_us", stage.total_us),
            ];
            values.map(|(what, value)| (format!("{}/{what}", legal(stage.name)), value))
        });
        Measured {
            name: self.name.clone(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
            metrics: metrics.collect(),
        }
    }
}

/// Quality and cost of one way to retrieve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageQuality {
    /// The way, in words.
    pub name: &'static str,
    /// How well it ranks.
    pub quality: Quality,
    /// nDCG@10 as a part of full depth's.
    pub kept: f64,
    /// What the index spent on a query, in priced microseconds.
    pub search_us: f64,
    /// The same as a part of full depth's.
    pub search_share: f64,
    /// With the model that embeds the query, in priced microseconds.
    pub total_us: f64,
    /// The same as a part of full depth's.
    pub total_share: f64,
    /// Work on a query, on average: `word_searches`, `postings` and so on.
    pub work: BTreeMap<&'static str, f64>,
    /// Part of the queries that ended at words, few candidates, many candidates, all vectors.
    pub ended: [f64; 4],
}

/// A way to retrieve.
#[derive(Clone, Copy)]
enum Way {
    Words,
    Vectors(Probe),
    Both(Effort, Again),
}

/// What becomes of the best documents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// They stay as they were found.
    Kept,
    /// The reranker reads them.
    Read,
}

/// Fewest held-out queries that weights and rules are chosen on where a reranker reads.
const HELD_OUT_MIN: usize = 20;

/// Measures every stage on the test queries, after choosing weights and rules on all other judged
/// queries.
pub fn measure_stages(
    question: &StagesQuestion<'_>,
    observer: &dyn Observer,
) -> Result<StagesQuality, JobError> {
    let embedder = question.base.embedder(question.limits);
    let cache = question.cache.clone();
    let (base, stop) = (question.base, &NEVER);
    let workshop = Workshop { base, embedder: &embedder, cache, observer, stop };
    let (dataset, texts) = workshop.read(question.config)?;
    let name = question.config.name.to_string();
    if dataset.test.is_empty() {
        return Err(JobError::NothingToMeasure { data: name });
    }
    let embed = Embedding { workshop: &workshop, adapter: question.adapter, name: &name };
    let dev = match question.reranker {
        // What it was trained on it knows better than what will come.
        Some(_) if dataset.dev.len() >= HELD_OUT_MIN => dataset.dev.queries.clone(),
        Some(_) | None => dev_queries(&dataset),
    };
    let dev = spread(&dev, DEV_QUERIES_MAX);
    let test: Vec<&JudgedQuery> = dataset.test.queries.iter().collect();
    let rows = dataset.documents.len() + dev.len() + test.len();
    workshop.start(&name, embed.stage(), rows as u64);
    let rows_of = |judged: &[&JudgedQuery]| -> Vec<u32> {
        judged.iter().map(|one| dataset.query_text(one.query)).collect()
    };
    let dev_vectors = embed.run(&*texts, &rows_of(&dev))?;
    let test_vectors = embed.run(&*texts, &rows_of(&test))?;
    let documents = embed.run(&*texts, &all_documents(&dataset))?;
    workshop.finish(&name, embed.stage());
    let failed = |source: RetrievalError| JobError::Search { tenant: name.clone(), source };
    let prices = Prices::for_dimensions(documents.width);
    let search_texts = dataset.documents.iter().map(|document| document.search_text()).collect();
    let collection = Collection::new(search_texts, documents).map_err(failed)?;
    let cross = question.reranker.map(|adapter| CrossEncoder {
        embedder: &embedder,
        tokenizer: &base.tokenizer,
        adapter,
        query_prefix: &question.config.texts.query_prefix,
        document_prefix: &question.config.texts.document_prefix,
        tokens_max: workshop.pair_tokens_max(question.config),
    });
    let cross = cross.as_ref().map(|cross| cross as &dyn Reranker);
    // Each document is read once for a query, whatever stages find it; so does calibration.
    let remembered = cross.map(Remembered::new);
    let reranker = remembered.as_ref().map(|remembered| remembered as &dyn Reranker);
    let set = Set { dataset: &dataset, collection: &collection, reranker };
    let dev: Vec<DevQuery<'_>> =
        dev.iter().enumerate().map(|(at, one)| set.query(one, dev_vectors.row(at))).collect();
    let calibration = Calibration { retrievers: &collection, dev: &dev, prices, reranker: cross };
    let tuned = calibration.run().map_err(failed)?.tuned;
    let test: Vec<DevQuery<'_>> =
        test.iter().enumerate().map(|(at, one)| set.query(one, test_vectors.row(at))).collect();
    let stages = set.stages(&tuned, &test, question.floor).map_err(failed)?;
    Ok(StagesQuality {
        documents: dataset.documents.len(),
        queries: test.len(),
        dev_queries: tuned.queries,
        floor: question.floor,
        mix: tuned.mix,
        name,
        stages,
        tuned,
    })
}

/// Queries of the dev and train splits, by their place in the data, with their grades.
pub(super) fn dev_queries(dataset: &Dataset) -> Vec<JudgedQuery> {
    let mut gains: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
    for example in &dataset.train {
        match example {
            Example::Pair { query, positive, .. } => {
                let graded = dataset.train_gains.get(*query as usize);
                let graded = graded.and_then(|of| of.iter().find(|gain| gain.0 == *positive));
                let gain = graded.map_or(1, |gain| gain.1);
                gains.entry(*query).or_default().insert(*positive, gain);
            }
            // A score of a pair says nothing about other documents.
            Example::Scored { .. } => {}
        }
    }
    for judged in &dataset.dev.queries {
        gains.insert(judged.query, judged.gains.iter().copied().collect());
    }
    let judged = |(query, gains): (u32, BTreeMap<u32, u32>)| JudgedQuery {
        query,
        gains: gains.into_iter().collect(),
    };
    gains.into_iter().map(judged).collect()
}

/// The model that embeds.
struct Embedding<'a> {
    workshop: &'a Workshop<'a>,
    adapter: Option<&'a Adapter>,
    name: &'a str,
}

impl Embedding<'_> {
    fn stage(&self) -> Stage {
        if self.adapter.is_some() { Stage::EmbedAfter } else { Stage::EmbedBefore }
    }

    fn run(&self, texts: &dyn Texts, ids: &[u32]) -> Result<Vectors, JobError> {
        match self.adapter {
            Some(_) => self.workshop.embed(self.name, self.stage(), (texts, ids, self.adapter)),
            None => self.workshop.embed_bare(self.name, texts, ids),
        }
    }
}

/// Data that is searched.
pub(super) struct Set<'a> {
    pub dataset: &'a Dataset,
    pub collection: &'a Collection,
    pub reranker: Option<&'a dyn Reranker>,
}

/// What a way found and spent.
struct Tried {
    name: &'static str,
    quality: Quality,
    work: Work,
    ended: [u32; 4],
}

impl Set<'_> {
    pub(super) fn query<'q>(&'q self, judged: &JudgedQuery, vector: &'q [f32]) -> DevQuery<'q> {
        let query = &self.dataset.queries[judged.query as usize];
        let own = || self.dataset.documents.iter().position(|document| document.id == query.id);
        let without = if self.dataset.leaves_out_own_id { own() } else { None };
        DevQuery {
            text: Cow::Borrowed(&query.text),
            vector,
            gains: judged.gains.iter().map(|&(document, gain)| (document, gain.into())).collect(),
            without: without.map(|at| Slot(at as u32)),
        }
    }

    fn stages(
        &self,
        tuned: &Tuned,
        test: &[DevQuery<'_>],
        floor: f64,
    ) -> Result<Vec<StageQuality>, RetrievalError> {
        let codes = |candidates| Way::Vectors(Probe::Some { candidates });
        let to = |stage| Way::Both(Effort::To(stage), Again::Kept);
        let reread = |stage| Way::Both(Effort::To(stage), Again::Read);
        let needed = |load| Way::Both(tuned.effort(load, floor), Again::Read);
        let ways = [
            ("words (BM25)", Way::Words),
            ("codes, 10 compared again", codes(10)),
            ("codes, 100 compared again", codes(100)),
            ("codes, 300 compared again", codes(300)),
            ("all vectors in f32", Way::Vectors(Probe::All)),
            ("words and 100 of codes", to(Reached::Shallow)),
            ("words and 300 of codes", to(Reached::Deep)),
            ("full depth: words and all vectors", to(Reached::All)),
        ];
        let again = [
            ("words, 10 read again", reread(Reached::Words)),
            ("words and 100 of codes, 20 read again", reread(Reached::Shallow)),
            ("full depth: words and all vectors, 30 read again", reread(Reached::All)),
        ];
        let again = again.iter().filter(|_| self.reranker.is_some());
        let as_needed = [
            ("as needed, idle", needed(0.0)),
            ("as needed, half loaded", needed(0.5)),
            ("as needed, loaded", needed(1.0)),
        ];
        let ways = ways.iter().chain(again).chain(&as_needed);
        let tried = ways.map(|&(name, way)| self.try_out(name, way, (tuned, test)));
        let tried: Vec<Tried> = tried.collect::<Result<_, _>>()?;
        let full = tried.iter().rfind(|one| one.name.starts_with("full"));
        let full = full.expect("it is in the list");
        let count = test.len() as f64;
        let prices = &tuned.prices;
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        let row = |one: &Tried| {
            let (search_us, total_us) =
                (one.work.search_us(prices) / count, one.work.total_us(prices) / count);
            StageQuality {
                name: one.name,
                quality: one.quality,
                kept: share(one.quality.ndcg10, full.quality.ndcg10),
                search_us,
                search_share: share(one.work.search_us(prices), full.work.search_us(prices)),
                total_us,
                total_share: share(one.work.total_us(prices), full.work.total_us(prices)),
                work: one
                    .work
                    .pieces()
                    .into_iter()
                    .map(|(name, n)| (name, n as f64 / count))
                    .collect(),
                ended: one.ended.map(|ended| f64::from(ended) / count),
            }
        };
        Ok(tried.iter().map(row).collect())
    }

    fn try_out(
        &self,
        name: &'static str,
        way: Way,
        (tuned, test): (&Tuned, &[DevQuery<'_>]),
    ) -> Result<Tried, RetrievalError> {
        let (mut work, mut ended, mut judged) = (Work::default(), [0; 4], Vec::new());
        for query in test {
            let (hits, more, reached) = self.retrieve(way, query, tuned)?;
            work += more;
            ended[reached as usize] += 1;
            let ranking: Vec<u32> = hits.iter().map(|hit| hit.slot.0).collect();
            judged.extend(Judged::new(&ranking, &query.gains));
        }
        let evaluation = Evaluation::new(DEPTH, &judged);
        let mean = |metric| evaluation.mean_of(metric).unwrap_or(0.0);
        let quality = Quality {
            ndcg10: mean(Metric::Ndcg),
            recall10: mean(Metric::Recall),
            mrr10: mean(Metric::Mrr),
        };
        Ok(Tried { name, quality, work, ended })
    }

    fn retrieve(
        &self,
        way: Way,
        query: &DevQuery<'_>,
        tuned: &Tuned,
    ) -> Result<(Vec<Hit>, Work, Reached), RetrievalError> {
        let k = DEPTH + usize::from(query.without.is_some());
        let (mut hits, work, reached) = match way {
            Way::Words => {
                let found = self.collection.words(&query.text, k)?;
                let work =
                    Work { word_searches: 1, postings: found.postings_read, ..Work::default() };
                (found.hits, work, Reached::Words)
            }
            Way::Vectors(probe) => {
                let found = self.collection.near(query.vector, k, probe)?;
                let work = Work { encoded: 1, ..found.work };
                let reached = match probe {
                    Probe::Some { .. } => Reached::Shallow,
                    Probe::All => Reached::All,
                };
                (found.hits, work, reached)
            }
            Way::Both(effort, again) => {
                let reranker = self.reranker.filter(|_| again == Again::Read);
                let vector = || Some(query.vector.to_vec());
                let asked = Asked { text: &query.text, count: DEPTH, without: query.without };
                let pipeline = Pipeline { retrievers: self.collection, tuned, reranker };
                let found = pipeline.answer(&asked, effort, &vector)?;
                (found.hits, found.work, found.reached)
            }
        };
        hits.retain(|hit| Some(hit.slot) != query.without);
        hits.truncate(DEPTH);
        Ok((hits, work, reached))
    }
}
