//! From judged queries to what is kept as [`Tuned`].
//!
//! Each dev query goes down all stages once. What stopping at a stage loses against full depth is
//! foretold from hints by queries of other parts of the set, and each pair of thresholds on those
//! forecasts is a rule with a measured quality and cost. Those that are neither worse nor dearer
//! than another are kept. A rule's quality is taken two standard errors lower than measured, so that
//! few judged queries make a careful rule.

use std::borrow::Cow;

use cotenant_eval::{Judged, Metric};
use cotenant_index::dense::DenseError;
use cotenant_index::{Hit, Slot};

use super::cost::{Prices, Work};
use super::forecast::Forecast;
use super::hints::after_both;
use super::mix::{Lists, Mix};
use super::search::{Asked, Reached, Reranker, Search};
use super::source::Retrievers;
use super::tuned::{ALWAYS, NEVER, Parts, Rule, Tuned, rounded};

/// Documents that quality looks at.
const DEPTH: usize = 10;

/// Most judged queries that are used; of more, as many are taken at even distances.
pub const DEV_QUERIES_MAX: usize = 1000;

/// Most of them from which weights are learnt, which looks at each of them thousands of times.
const MIX_QUERIES_MAX: usize = 300;

/// Thresholds that are tried on each forecast: so many parts of its range by rank.
const THRESHOLDS: usize = 24;

/// Standard errors by which a measured quality is lowered: with two, one rule of forty that seems to
/// keep the floor would not.
const CAUTION: f64 = 2.0;

/// A query whose answers are known.
#[derive(Clone, Debug)]
pub struct DevQuery<'a> {
    /// As the user would write it.
    pub text: Cow<'a, str>,
    /// Its vector.
    pub vector: &'a [f32],
    /// Relevant documents with their gains; not empty.
    pub gains: Vec<(u32, i64)>,
    /// A document that is no answer.
    pub without: Option<Slot>,
}

/// What is calibrated.
#[derive(Clone, Copy)]
pub struct Calibration<'a> {
    /// What is retrieved from.
    pub retrievers: &'a dyn Retrievers,
    /// Queries that nothing else is measured on.
    pub dev: &'a [DevQuery<'a>],
    /// What work costs.
    pub prices: Prices,
    /// The reranker that will be used, if one will.
    pub reranker: Option<&'a dyn Reranker>,
}

/// A query after a stage.
#[derive(Clone, Copy, Debug)]
struct Stop {
    ndcg: f64,
    cost_us: f64,
}

/// A query after each stage.
struct Trace {
    after_words: Vec<f64>,
    after_shallow: Vec<f64>,
    words: Stop,
    shallow: Stop,
    /// Many candidates after few.
    deep: Stop,
    /// Many candidates straight after words.
    direct: Stop,
    all: Stop,
}

/// nDCG@10 of an answer.
fn ndcg(query: &DevQuery<'_>, hits: &[Hit]) -> f64 {
    let ranking: Vec<u32> = hits.iter().map(|hit| hit.slot.0).collect();
    let judged = Judged::new(&ranking, &query.gains);
    judged.map_or(0.0, |judged| Metric::Ndcg.at(DEPTH, &judged))
}

/// At most so many of all, at even distances.
pub(crate) fn spread<T>(all: &[T], most: usize) -> Vec<&T> {
    let taken = all.len().min(most);
    (0..taken).map(|at| &all[at * all.len() / taken]).collect()
}

impl Calibration<'_> {
    /// Learns weights and rules. Without dev queries the result is full depth with equal weights.
    ///
    /// # Errors
    /// If a query's vector does not fit the documents' or is not finite.
    pub fn run(&self) -> Result<Tuned, DenseError> {
        let mix = self.mix()?;
        let dev = spread(self.dev, DEV_QUERIES_MAX);
        let traces: Vec<Trace> =
            dev.iter().map(|query| self.trace(query, &mix)).collect::<Result<_, _>>()?;
        let losses = |stop: fn(&Trace) -> Stop| -> Vec<f64> {
            traces.iter().map(|trace| trace.all.ndcg - stop(trace).ndcg).collect()
        };
        let hints = |of: fn(&Trace) -> &Vec<f64>| -> Vec<Vec<f64>> {
            traces.iter().map(|trace| of(trace).clone()).collect()
        };
        let (words, shallow) = (losses(|t| t.words), losses(|t| t.shallow));
        let words_hints = hints(|trace| &trace.after_words);
        let shallow_hints = hints(|trace| &trace.after_shallow);
        let foretold = Foretold {
            words: Forecast::of_each_from_others(&words_hints, &words),
            shallow: Forecast::of_each_from_others(&shallow_hints, &shallow),
        };
        let fit = |hints: &[Vec<f64>], losses: &[f64], width: usize| {
            let rows: Vec<&[f64]> = hints.iter().map(Vec::as_slice).collect();
            let nothing = vec![0.0; width];
            match rows.is_empty() {
                true => Forecast::fit(&[&nothing], &[0.0]),
                false => Forecast::fit(&rows, losses),
            }
        };
        let count = traces.len().max(1) as f64;
        let mean = |of: fn(&Trace) -> f64| traces.iter().map(of).sum::<f64>() / count;
        Ok(Tuned::new(Parts {
            queries: traces.len(),
            mix,
            prices: self.prices,
            after_words: fit(&words_hints, &words, super::hints::AFTER_WORDS),
            after_shallow: fit(&shallow_hints, &shallow, super::hints::AFTER_BOTH),
            rules: rules(&traces, &foretold),
            full_quality: mean(|trace| trace.all.ndcg),
            full_cost_us: mean(|trace| trace.all.cost_us),
        }))
    }

    fn mix(&self) -> Result<Mix, DenseError> {
        let dev = spread(self.dev, MIX_QUERIES_MAX);
        let lists = dev.iter().map(|query| -> Result<Lists, DenseError> {
            let vector = || Some(query.vector.to_vec());
            let asked = asked(query, &vector);
            let mut search = Search::new(self.retrievers, &asked);
            search.go_to(Reached::All)?;
            Ok(search.lists)
        });
        let lists: Vec<Lists> = lists.collect::<Result<_, _>>()?;
        Ok(Mix::learn(&lists, DEPTH, &|at, hits| ndcg(dev[at], hits)))
    }

    /// Every stage in turn, and full depth.
    fn trace(&self, query: &DevQuery<'_>, mix: &Mix) -> Result<Trace, DenseError> {
        let vector = || Some(query.vector.to_vec());
        let asked = asked(query, &vector);
        let mut search = Search::new(self.retrievers, &asked);
        let stop = |search: &mut Search<'_>, reached: Reached| {
            // What fusing and reranking took is not carried on to the next stage.
            let before: Work = search.work;
            let hits = search.finish(mix, self.reranker, reached);
            let cost_us = search.work.total_us(&self.prices);
            search.work = before;
            Stop { ndcg: ndcg(query, &hits), cost_us }
        };
        search.go_to(Reached::Words)?;
        let after_words = search.word_hints();
        let words = stop(&mut search, Reached::Words);
        search.go_to(Reached::Shallow)?;
        let after_shallow = after_both(&after_words, &search.lists.words, &search.lists.vectors);
        let shallow = stop(&mut search, Reached::Shallow);
        search.go_to(Reached::Deep)?;
        let deep = stop(&mut search, Reached::Deep);
        let alone = |stage| -> Result<Stop, DenseError> {
            let mut search = Search::new(self.retrievers, &asked);
            search.go_to(stage)?;
            Ok(stop(&mut search, stage))
        };
        let (direct, all) = (alone(Reached::Deep)?, alone(Reached::All)?);
        Ok(Trace { after_words, after_shallow, words, shallow, deep, direct, all })
    }
}

fn asked<'a>(query: &'a DevQuery<'_>, vector: &'a dyn Fn() -> Option<Vec<f32>>) -> Asked<'a> {
    Asked { text: &query.text, vector, count: DEPTH, without: query.without }
}

/// What is foretold for each query from others.
struct Foretold {
    words: Vec<f64>,
    shallow: Vec<f64>,
}

/// Rules that are neither worse nor dearer than another, the best first.
fn rules(traces: &[Trace], foretold: &Foretold) -> Vec<Rule> {
    if traces.is_empty() {
        return Vec::new();
    }
    let mut tried: Vec<Rule> = Vec::new();
    for words_loss_max in thresholds(&foretold.words) {
        for shallow_loss_max in thresholds(&foretold.shallow) {
            let stops = traces.iter().enumerate().map(|(at, trace)| {
                if foretold.words[at] <= words_loss_max {
                    trace.words
                } else if shallow_loss_max <= NEVER {
                    trace.direct
                } else if foretold.shallow[at] <= shallow_loss_max {
                    trace.shallow
                } else {
                    trace.deep
                }
            });
            let stops: Vec<Stop> = stops.collect();
            let (quality, cost_us) = measured(traces, &stops);
            tried.push(Rule { words_loss_max, shallow_loss_max, quality, cost_us });
        }
    }
    tried.sort_by(|one, other| {
        other.quality.total_cmp(&one.quality).then(one.cost_us.total_cmp(&other.cost_us))
    });
    let mut cheapest = f64::INFINITY;
    tried.retain(|rule| {
        let is_cheaper = rule.cost_us < cheapest;
        cheapest = cheapest.min(rule.cost_us);
        is_cheaper
    });
    thinned(tried)
}

/// At most as many rules as a file holds, the ends among them.
fn thinned(rules: Vec<Rule>) -> Vec<Rule> {
    const MOST: usize = 32;
    let kept = rules.len().min(MOST);
    let last = rules.len().saturating_sub(1);
    (0..kept).map(|at| rules[at * last / kept.saturating_sub(1).max(1)]).collect()
}

/// The cautious part of full depth's nDCG@10 that is kept, and the mean cost.
fn measured(traces: &[Trace], stops: &[Stop]) -> (f64, f64) {
    let count = traces.len() as f64;
    let losses = || traces.iter().zip(stops).map(|(trace, stop)| trace.all.ndcg - stop.ndcg);
    let mean = losses().sum::<f64>() / count;
    let variance = losses().map(|loss| (loss - mean).powi(2)).sum::<f64>() / count;
    let lost = mean + CAUTION * (variance / count).sqrt();
    let full = traces.iter().map(|trace| trace.all.ndcg).sum::<f64>() / count;
    let quality = if full > 0.0 { 1.0 - lost / full } else { 1.0 };
    (quality, stops.iter().map(|stop| stop.cost_us).sum::<f64>() / count)
}

/// Values that part the forecasts evenly, and those that part none.
fn thresholds(foretold: &[f64]) -> Vec<f64> {
    let mut sorted = foretold.to_vec();
    sorted.sort_by(f64::total_cmp);
    let part = |part: usize| rounded(sorted[part * (sorted.len() - 1) / THRESHOLDS]);
    let parts = (1..THRESHOLDS).map(part);
    let mut values: Vec<f64> = parts.chain([NEVER, ALWAYS]).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}
