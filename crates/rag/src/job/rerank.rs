//! A tenant that trains a reranker: what it orders, what it learns from, how it is judged.
//!
//! Words and the base model's vectors find candidates, mixed as the training queries like best.
//! They stay the same however the adapter changes, so each judged query's are looked up once; an
//! adapter is as good as the order in which it puts them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cotenant_train::{Example as TrainExample, Texts};
use cotenant_transformer::Adapter;

use super::error::JobError;
use super::observer::Stage;
use super::prepare::{Goal, Lesson, Prepared, Read, Wanted};
use super::stages::{Set, dev_queries};
use super::workshop::{Workshop, not_embedded};
use crate::data::{Dataset, Example, Judged, Judgements};
use crate::retrieval::pipeline::{
    Asked, Calibration, Collection, DEV_QUERIES_MAX, DevQuery, Effort, Pipeline, Prices, Reached,
    RetrievalError, Tuned, spread,
};
use crate::retrieval::{DEPTH, Measurement, NotEmbedded, OnDone, PairTexts, score, unless};
use crate::workspace::TenantConfig;

/// Documents that are found for a query, and then put in order.
pub(super) const RERANKED: usize = 50;

/// Most dev queries that adapters are compared on; of more, as many are taken at even distances.
/// Each costs as much as fifty documents.
pub(super) const JUDGED_MAX: usize = 40;

/// What a reranker is trained towards.
pub(super) struct Reranking {
    /// On which adapters are compared.
    dev: Candidates,
    /// On which the last one is measured.
    test: Candidates,
    /// How candidates are found.
    pub tuned: Tuned,
    /// Most tokens of a query and a document together.
    tokens_max: usize,
}

/// What was found for judged queries.
struct Candidates {
    judgements: Judgements,
    /// At most [`RERANKED`] documents for each query, best first.
    lists: Vec<Vec<u32>>,
}

/// Texts of a tenant, and what joins two of them.
struct Source<'a> {
    dataset: &'a Dataset,
    texts: &'a Arc<dyn Texts>,
}

impl Workshop<'_> {
    /// Most tokens that a reranker reads at once: as many as training gives query and document.
    pub(super) fn pair_tokens_max(&self, config: &TenantConfig) -> usize {
        let both = config.texts.query_tokens_max + config.texts.document_tokens_max;
        both.min(self.base.folder.tokens_max())
    }

    /// Chooses a first stage on the training queries, finds what it finds for those that are held
    /// out, and mines negatives.
    pub(super) fn prepare_reranker(&self, read: Read<'_>) -> Result<Prepared, JobError> {
        let begun = Instant::now();
        let Read { config, dataset, texts } = read;
        let name = config.name.to_string();
        let wanted = Wanted::of(&dataset, config);
        let vectors = self.embed_before(&name, &dataset, &*texts, &wanted)?;
        self.start(&name, Stage::Mine, 0);
        let (examples, _) = self.negatives(config, &dataset, &vectors)?;
        let failed = |source: RetrievalError| JobError::Search { tenant: name.clone(), source };
        let search_texts = dataset.documents.iter().map(|document| document.search_text());
        let collection = Collection::new(search_texts.collect(), vectors.documents);
        let collection = collection.map_err(failed)?;
        self.go_on()?;
        let set = Set { dataset: &dataset, collection: &collection, reranker: None };
        let query = |judged: &Judged| set.query(judged, vectors.queries.row(judged.query as usize));
        let known = dev_queries(&dataset);
        let known = spread(&known, DEV_QUERIES_MAX);
        let known: Vec<DevQuery<'_>> = known.into_iter().map(query).collect();
        let prices = Prices::for_dimensions(vectors.queries.width);
        let calibration =
            Calibration { retrievers: &collection, dev: &known, prices, reranker: None };
        let tuned = calibration.run().map_err(failed)?.tuned;
        let pipeline = Pipeline { retrievers: &collection, tuned: &tuned, reranker: None };
        let find = |judged: Vec<&Judged>| -> Result<Candidates, JobError> {
            let mut lists = Vec::with_capacity(judged.len());
            for one in &judged {
                self.go_on()?;
                lists.push(candidates(&pipeline, &query(one)).map_err(failed)?);
            }
            let queries = judged.into_iter().cloned().collect();
            Ok(Candidates { judgements: Judgements { queries }, lists })
        };
        let dev = find(spread(&dataset.dev.queries, JUDGED_MAX))?;
        let test = find(dataset.test.queries.iter().collect())?;
        let before = test.lists.iter().map(|list| list[..list.len().min(DEPTH)].to_vec()).collect();
        let before = Measurement::of(before, &dataset.test);
        let Lesson { examples, cut } = self.lesson(config, &dataset, &texts, &examples);
        self.finish(&name, Stage::Mine);
        let tokens_max = self.pair_tokens_max(config);
        let goal = Goal::Rerank(Box::new(Reranking { dev, test, tuned, tokens_max }));
        let (config, wall_s) = (config.clone(), begun.elapsed().as_secs_f64());
        Ok(Prepared { name, config, dataset, texts, cut, examples, before, goal, wall_s })
    }

    /// The examples as choices among pairs.
    pub(super) fn lesson_in_pairs(
        &self,
        config: &TenantConfig,
        dataset: &Dataset,
        texts: &Arc<dyn Texts>,
        examples: &[Example],
    ) -> Lesson {
        let mut pairs = Pairs::default();
        let choice = |example: &Example| match example {
            Example::Pair { query, positive, negatives } => {
                let mut number = |document: &u32| {
                    pairs.number((dataset.query_text(*query), dataset.document_text(*document)))
                };
                let right = number(positive);
                Some(TrainExample::Choice { right, wrong: negatives.iter().map(number).collect() })
            }
            // Refused when the data was read.
            Example::Scored { .. } => None,
        };
        let examples = examples.iter().filter_map(choice).collect();
        let tokens_max = self.pair_tokens_max(config);
        let tokenizer = Arc::clone(&self.base.tokenizer);
        let inner = Arc::clone(texts);
        let cut = PairTexts { inner, tokenizer, pairs: pairs.all, tokens_max };
        Lesson { examples, cut: Arc::new(cut) }
    }

    /// nDCG@10 of an adapter on the dev queries.
    pub(super) fn judge_reranker(
        &self,
        tenant: &Prepared,
        reranking: &Reranking,
        adapter: &Adapter,
    ) -> Result<f64, JobError> {
        let on_done = |_| unless(self.stop);
        let source = Source { dataset: &tenant.dataset, texts: &tenant.texts };
        let judged = self.order(&source, (reranking, &reranking.dev), adapter, &on_done);
        Ok(judged.map_err(|error| not_embedded(&tenant.name, error))?.quality().ndcg10)
    }

    /// Puts what was found for the test queries in an adapter's order.
    pub(super) fn measure_reranker(
        &self,
        tenant: &Prepared,
        reranking: &Reranking,
        adapter: &Adapter,
    ) -> Result<Measurement, JobError> {
        let name = &tenant.name;
        let pairs: usize = reranking.test.lists.iter().map(Vec::len).sum();
        self.start(name, Stage::Rerank, pairs as u64);
        let on_done = |by| {
            self.advance(name, Stage::Rerank, by);
            unless(self.stop)
        };
        let source = Source { dataset: &tenant.dataset, texts: &tenant.texts };
        let measured = self.order(&source, (reranking, &reranking.test), adapter, &on_done);
        let measured = measured.map_err(|error| not_embedded(name, error))?;
        self.finish(name, Stage::Rerank);
        Ok(measured)
    }

    fn order(
        &self,
        source: &Source<'_>,
        (reranking, candidates): (&Reranking, &Candidates),
        adapter: &Adapter,
        on_done: OnDone<'_>,
    ) -> Result<Measurement, NotEmbedded> {
        let Source { dataset, texts } = *source;
        let Candidates { judgements, lists } = candidates;
        let pairs = judgements.queries.iter().zip(lists).flat_map(|(judged, list)| {
            let query = dataset.query_text(judged.query);
            list.iter().map(move |&document| (query, dataset.document_text(document)))
        });
        let table = PairTexts {
            inner: Arc::clone(texts),
            tokenizer: Arc::clone(&self.base.tokenizer),
            pairs: pairs.collect(),
            tokens_max: reranking.tokens_max,
        };
        let ids: Vec<u32> = (0..table.pairs.len() as u32).collect();
        let scores = score(self.embedder, (&table, &ids), adapter, on_done)?;
        let mut left = scores.as_slice();
        let ordered = lists.iter().map(|list| {
            let (scores, rest) = left.split_at(list.len());
            left = rest;
            in_order(list, scores)
        });
        Ok(Measurement::of(ordered.collect(), judgements))
    }
}

/// What the first stage finds for a query, best first.
fn candidates(pipeline: &Pipeline<'_>, query: &DevQuery<'_>) -> Result<Vec<u32>, RetrievalError> {
    let vector = || Some(query.vector.to_vec());
    let without = query.without;
    let asked = Asked { text: &query.text, count: RERANKED, without };
    let found = pipeline.answer(&asked, Effort::To(Reached::All), &vector)?;
    let hits = found.hits.into_iter().filter(|hit| Some(hit.slot) != without);
    Ok(hits.map(|hit| hit.slot.0).collect())
}

/// The first documents by score; equal ones stay in the order in which they were found.
fn in_order(list: &[u32], scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_by(|&one, &other| scores[other].total_cmp(&scores[one]));
    order.truncate(DEPTH);
    order.into_iter().map(|at| list[at]).collect()
}

/// Pairs of texts, numbered by first use.
#[derive(Default)]
struct Pairs {
    all: Vec<(u32, u32)>,
    numbers: HashMap<(u32, u32), u32>,
}

impl Pairs {
    fn number(&mut self, pair: (u32, u32)) -> u32 {
        *self.numbers.entry(pair).or_insert_with(|| {
            self.all.push(pair);
            (self.all.len() - 1) as u32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_decide_the_order_and_equal_ones_change_nothing() {
        assert_eq!(in_order(&[7, 8, 9], &[0.5, 2.0, 0.5]), [8, 7, 9]);
        assert_eq!(in_order(&[7, 8], &[f32::NAN, 1.0]).len(), 2);
        let many: Vec<u32> = (0..50).collect();
        let scores: Vec<f32> = many.iter().map(|&document| document as f32).collect();
        assert_eq!(in_order(&many, &scores), [49, 48, 47, 46, 45, 44, 43, 42, 41, 40]);
    }

    #[test]
    fn a_pair_has_one_number() {
        let mut pairs = Pairs::default();
        assert_eq!([(1, 2), (1, 3), (1, 2)].map(|pair| pairs.number(pair)), [0, 1, 0]);
        assert_eq!(pairs.all, [(1, 2), (1, 3)]);
    }
}
