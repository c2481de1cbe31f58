//! A tenant that trains a reranker: what it orders, what it learns from, how it is judged.
//!
//! Words and the base model's vectors find candidates, mixed as the training queries like best.
//! They stay the same however the adapter changes, so each judged query's are looked up once. What
//! finding says of a candidate is known before it is read: training adds it to what the adapter
//! says, so that the adapter learns the rest, and an adapter is as good as the order that both
//! together make of the candidates.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cotenant_eval::Metric;
use cotenant_index::Hit;
use cotenant_train::{Candidate, Example as TrainExample, Texts};
use cotenant_transformer::Adapter;

use super::error::JobError;
use super::observer::Stage;
use super::prepare::{Base, Goal, Lesson, Prepared, Read, Wanted};
use super::prior;
use super::stages::{Set, dev_queries};
use super::workshop::{Workshop, not_embedded};
use crate::data::{Dataset, Example, Judged, Judgements};
use crate::retrieval::pipeline::{
    Asked, Blend, Calibration, Collection, DEV_QUERIES_MAX, DevQuery, Effort, FOUND_DEPTH,
    Pipeline, Prices, RERANKED_MAX, Reached, RetrievalError, Scored, Tuned, found_scores, spread,
};
use crate::retrieval::{DEPTH, Measurement, OnDone, PairTexts, Vectors, judged, score, unless};
use crate::workspace::TenantConfig;

/// Most dev queries that adapters are compared on; of more, as many are taken at even distances.
/// Each costs as much as [`RERANKED_MAX`] documents.
pub(super) const JUDGED_MAX: usize = 80;

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
    /// What was found for each query.
    lists: Vec<List>,
}

/// What was found for a query, best first.
struct List {
    documents: Vec<u32>,
    /// From 0 to 1, what finding says of each.
    found: Vec<f32>,
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
        let Base { queries, documents } = vectors;
        let search_texts = dataset.documents.iter().map(|document| document.search_text());
        let collection = Collection::new(search_texts.collect(), documents).map_err(failed)?;
        self.go_on()?;
        let set = Set { dataset: &dataset, collection: &collection, reranker: None };
        let tuned = choose_first_stage(&set, &queries).map_err(failed)?;
        let first =
            FirstStage { workshop: self, name: &name, set: &set, queries: &queries, tuned: &tuned };
        let dev = first.candidates(spread(&dataset.dev.queries, JUDGED_MAX))?;
        let test = first.candidates(dataset.test.queries.iter().collect())?;
        let rankings = test.lists.iter().map(|list| list.first(DEPTH));
        let before = Measurement::of(rankings.collect(), &dataset.test);
        let known = first.known()?;
        let prior = |query: u32, document: u32| known.prior(query, document);
        let Lesson { examples, cut } =
            self.lesson_in_pairs(config, (&dataset, &texts), &examples, &prior);
        self.finish(&name, Stage::Mine);
        let tokens_max = self.pair_tokens_max(config);
        let goal = Goal::Rerank(Box::new(Reranking { dev, test, tuned, tokens_max }));
        let (config, wall_s) = (config.clone(), begun.elapsed().as_secs_f64());
        Ok(Prepared { name, config, dataset, texts, cut, examples, before, goal, wall_s })
    }

    /// The examples as choices among pairs; `prior` tells what is known of a query's document.
    pub(super) fn lesson_in_pairs(
        &self,
        config: &TenantConfig,
        (dataset, texts): (&Dataset, &Arc<dyn Texts>),
        examples: &[Example],
        prior: &dyn Fn(u32, u32) -> f32,
    ) -> Lesson {
        let mut pairs = Pairs::default();
        let choice = |example: &Example| match example {
            Example::Pair { query, positive, negatives } => {
                let mut candidate = |document: &u32| {
                    let pair = (dataset.query_text(*query), dataset.document_text(*document));
                    Candidate { text: pairs.number(pair), prior: prior(*query, *document) }
                };
                let right = candidate(positive);
                let wrong = negatives.iter().map(candidate).collect();
                Some(TrainExample::Choice { right, wrong })
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

    /// nDCG@10 of an adapter on the dev queries, if it counts as much as they seem to like best.
    pub(super) fn judge_reranker(
        &self,
        tenant: &Prepared,
        reranking: &Reranking,
        adapter: &Adapter,
    ) -> Result<f64, JobError> {
        let on_done = |_| unless(self.stop);
        let candidates = &reranking.dev;
        let scored = self.read_again(tenant, (reranking, candidates), adapter, &on_done)?;
        let found = candidates.ordered(&scored, Blend::default()).quality().ndcg10;
        Ok(found + Blend::gain(&scored, &|at, order| candidates.ndcg(at, order)))
    }

    /// How much an adapter counts beside finding: as the dev queries surely like best.
    pub(super) fn blend_of(
        &self,
        tenant: &Prepared,
        reranking: &Reranking,
        adapter: &Adapter,
    ) -> Result<Blend, JobError> {
        let on_done = |_| unless(self.stop);
        let scored = self.read_again(tenant, (reranking, &reranking.dev), adapter, &on_done)?;
        Ok(reranking.dev.blend(&scored))
    }

    /// Puts what was found for the test queries in the order of finding and an adapter.
    pub(super) fn measure_reranker(
        &self,
        tenant: &Prepared,
        reranking: &Reranking,
        (adapter, blend): (&Adapter, Blend),
    ) -> Result<Measurement, JobError> {
        let name = &tenant.name;
        let candidates = &reranking.test;
        let pairs: usize = candidates.lists.iter().map(|list| list.documents.len()).sum();
        self.start(name, Stage::Rerank, pairs as u64);
        let on_done = |by| {
            self.advance(name, Stage::Rerank, by);
            unless(self.stop)
        };
        let scored = self.read_again(tenant, (reranking, candidates), adapter, &on_done)?;
        self.finish(name, Stage::Rerank);
        Ok(candidates.ordered(&scored, blend))
    }

    /// What an adapter says of each candidate.
    fn read_again(
        &self,
        tenant: &Prepared,
        (reranking, candidates): (&Reranking, &Candidates),
        adapter: &Adapter,
        on_done: OnDone<'_>,
    ) -> Result<Vec<Scored>, JobError> {
        let dataset = &tenant.dataset;
        let Candidates { judgements, lists } = candidates;
        let pairs = judgements.queries.iter().zip(lists).flat_map(|(judged, list)| {
            let query = dataset.query_text(judged.query);
            list.documents.iter().map(move |&document| (query, dataset.document_text(document)))
        });
        let table = PairTexts {
            inner: Arc::clone(&tenant.texts),
            tokenizer: Arc::clone(&self.base.tokenizer),
            pairs: pairs.collect(),
            tokens_max: reranking.tokens_max,
        };
        let ids: Vec<u32> = (0..table.pairs.len() as u32).collect();
        let scores = score(self.embedder, (&table, &ids), adapter, on_done)
            .map_err(|error| not_embedded(&tenant.name, error))?;
        let mut left = scores.as_slice();
        let of_list = |list: &List| {
            let (reread, rest) = left.split_at(list.documents.len());
            left = rest;
            Scored { found: list.found.clone(), reread: reread.to_vec() }
        };
        Ok(lists.iter().map(of_list).collect())
    }
}

impl List {
    fn first(&self, most: usize) -> Vec<u32> {
        self.documents.iter().copied().take(most).collect()
    }
}

impl Candidates {
    /// The order that finding and an adapter make of the candidates.
    fn ordered(&self, scored: &[Scored], blend: Blend) -> Measurement {
        let scored = scored.iter().enumerate();
        let rankings = scored.map(|(at, one)| self.ranking(at, &blend.order(one)));
        Measurement::of(rankings.collect(), &self.judgements)
    }

    fn blend(&self, scored: &[Scored]) -> Blend {
        Blend::learn(scored, &|at, order| self.ndcg(at, order))
    }

    fn ndcg(&self, query: usize, order: &[usize]) -> f64 {
        let judged = judged(&self.ranking(query, order), &self.judgements.queries[query]);
        judged.map_or(0.0, |judged| Metric::Ndcg.at(DEPTH, &judged))
    }

    fn ranking(&self, query: usize, order: &[usize]) -> Vec<u32> {
        let documents = &self.lists[query].documents;
        order.iter().take(DEPTH).map(|&at| documents[at]).collect()
    }
}

/// Chooses how words and vectors are mixed.
fn choose_first_stage(set: &Set<'_>, queries: &Vectors) -> Result<Tuned, RetrievalError> {
    let known = dev_queries(set.dataset);
    let known = spread(&known, DEV_QUERIES_MAX);
    let query = |judged: &Judged| set.query(judged, queries.row(judged.query as usize));
    let known: Vec<DevQuery<'_>> = known.into_iter().map(query).collect();
    let prices = Prices::for_dimensions(queries.width);
    let retrievers = set.collection;
    let calibration = Calibration { retrievers, dev: &known, prices, reranker: None };
    Ok(calibration.run()?.tuned)
}

/// What finds candidates.
struct FirstStage<'a> {
    workshop: &'a Workshop<'a>,
    /// The tenant.
    name: &'a str,
    set: &'a Set<'a>,
    queries: &'a Vectors,
    tuned: &'a Tuned,
}

impl FirstStage<'_> {
    /// What is read again for judged queries.
    fn candidates(&self, judged: Vec<&Judged>) -> Result<Candidates, JobError> {
        let list = |judged: &&Judged| {
            let mut list = self.find(judged)?;
            list.documents.truncate(RERANKED_MAX);
            list.found.truncate(RERANKED_MAX);
            Ok(list)
        };
        let lists = judged.iter().map(list).collect::<Result<_, JobError>>()?;
        let queries = judged.into_iter().cloned().collect();
        Ok(Candidates { judgements: Judgements { queries }, lists })
    }

    /// What is known of the candidates of queries that are trained on.
    fn known(&self) -> Result<Known, JobError> {
        let dataset = self.set.dataset;
        let positives = dataset.train_positives();
        let mut queries: Vec<u32> = dataset.train.iter().map(Example::query).collect();
        queries.dedup();
        let (mut lists, mut found) = (HashMap::new(), Vec::new());
        for query in queries {
            let list = self.find(&Judged { query, gains: Vec::new() })?;
            let answers =
                |document: &u32| positives[query as usize].binary_search(document).is_ok();
            let answers = list.documents.iter().map(answers).collect();
            found.push(prior::Found { scores: list.found.clone(), answers });
            lists.insert(query, list.documents.into_iter().zip(list.found).collect());
        }
        Ok(Known { lists, scale: prior::scale(&found) })
    }

    fn find(&self, judged: &Judged) -> Result<List, JobError> {
        self.workshop.go_on()?;
        let Self { name, set, queries, tuned, .. } = *self;
        let query = set.query(judged, queries.row(judged.query as usize));
        let pipeline = Pipeline { retrievers: set.collection, tuned, reranker: None };
        let vector = || Some(query.vector.to_vec());
        let without = query.without;
        let asked = Asked { text: &query.text, count: FOUND_DEPTH, without };
        let found = pipeline.answer(&asked, Effort::To(Reached::All), &vector);
        let failed = |source| JobError::Search { tenant: name.to_owned(), source };
        let found = found.map_err(failed)?;
        let hits: Vec<Hit> =
            found.hits.into_iter().filter(|hit| Some(hit.slot) != without).collect();
        let documents = hits.iter().map(|hit| hit.slot.0).collect();
        Ok(List { documents, found: found_scores(&hits) })
    }
}

/// What is known of candidates before they are read.
struct Known {
    /// For each query what was found, from 0 to 1, by document.
    lists: HashMap<u32, HashMap<u32, f32>>,
    /// The logit of what is found best; the last has 0.
    scale: f32,
}

impl Known {
    /// What was not found is worth as much as the last that was.
    fn prior(&self, query: u32, document: u32) -> f32 {
        let found = self.lists.get(&query).and_then(|list| list.get(&document));
        self.scale * found.copied().unwrap_or(0.0)
    }
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
    fn finding_and_reading_decide_the_order_and_equal_ones_change_nothing() {
        let queries = vec![Judged { query: 0, gains: vec![(9, 1)] }];
        let lists = vec![List { documents: vec![7, 8, 9], found: vec![1.0, 0.5, 0.0] }];
        let candidates = Candidates { judgements: Judgements { queries }, lists };
        let scored =
            |reread: [f32; 3]| vec![Scored { found: vec![1.0, 0.5, 0.0], reread: reread.to_vec() }];
        let check = |reread, weight, expected: [u32; 3]| {
            let blend = Blend::new(weight).unwrap();
            assert_eq!(candidates.ordered(&scored(reread), blend).rankings, [expected]);
        };
        check([0.0, 0.0, 2.0], 1.0, [9, 7, 8]);
        check([0.0, 0.0, 2.0], 0.0, [7, 8, 9]);
        check([0.5, 1.0, 0.0], 1.0, [7, 8, 9]);
        assert!(candidates.blend(&scored([0.0, 0.0, 1.0])).counts());
        assert!(!candidates.blend(&scored([1.0, 0.0, 0.0])).counts());
    }

    #[test]
    fn a_pair_has_one_number() {
        let mut pairs = Pairs::default();
        assert_eq!([(1, 2), (1, 3), (1, 2)].map(|pair| pairs.number(pair)), [0, 1, 0]);
        assert_eq!(pairs.all, [(1, 2), (1, 3)]);
    }

    #[test]
    fn what_was_not_found_is_worth_as_much_as_the_last() {
        let lists = HashMap::from([(3, HashMap::from([(7, 0.5)]))]);
        let known = Known { lists, scale: 4.0 };
        assert_eq!([(3, 7), (3, 8), (4, 7)].map(|(q, d)| known.prior(q, d)), [2.0, 0.0, 0.0]);
    }
}
