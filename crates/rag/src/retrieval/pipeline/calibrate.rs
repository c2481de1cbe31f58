//! From judged queries to what is kept as [`Tuned`].
//!
//! Each dev query goes down all stages once. What stopping at a stage loses against full depth is
//! foretold from hints by queries of other parts of the set, and each pair of thresholds on those
//! forecasts is a rule with a measured quality and cost. Those that are neither worse nor dearer
//! than another are kept. A rule's quality is taken three standard errors lower than measured, so that
//! few judged queries make a careful rule.

use std::borrow::Cow;
use std::cell::RefCell;

use cotenant_eval::{Judged, Metric};
use cotenant_index::{Hit, Slot};
use serde::{Deserialize, Serialize};

use super::blend::{Blend, FOUND_DEPTH, Scored, found_scores};
use super::cost::Prices;
use super::error::RetrievalError;
use super::forecast::Forecast;
use super::hints::{AFTER_READING, after_both, after_reading};
use super::mean::mean_and_error;
use super::mix::{Lists, Mix};
use super::remembered::Remembered;
use super::search::{Asked, Reached, Reranker, Reread, Search, SoFar};
use super::source::Retrievers;
use super::tuned::{ALWAYS, NEVER, Parts, Rule, Tuned, rounded};

/// Documents that quality looks at.
const DEPTH: usize = 10;

/// Most judged queries that are used; of more, as many are taken at even distances.
pub const DEV_QUERIES_MAX: usize = 1000;

/// Most of them from which weights are learnt, which looks at each of them thousands of times.
const MIX_QUERIES_MAX: usize = 300;

/// Most of them for which a reranker reads documents, some fifty each.
const REREAD_QUERIES_MAX: usize = 200;

/// Thresholds that are tried on each forecast: so many parts of its range by rank.
const THRESHOLDS: usize = 24;

/// The same for what reading more would lose.
const READING_THRESHOLDS: usize = 12;

/// Standard errors by which a measured quality is lowered. With three, one rule of 740 that seems to
/// keep the floor would not; hundreds are tried on the same queries, and the cheapest is taken.
const CAUTION: f64 = 3.0;

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

/// What was learnt, and what the queries that it was learnt from say of each stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// What is to be kept.
    pub tuned: Tuned,
    /// Words alone, few candidates, many candidates, full depth; empty without queries.
    pub stages: Vec<StageBuys>,
}

/// What going to a stage buys, whatever the query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageBuys {
    /// The stage.
    pub stage: Reached,
    /// Mean nDCG@10 of the judged queries, with the mix that was learnt on them.
    pub ndcg10: f64,
    /// What the index spends on a query, in priced microseconds.
    pub search_us: f64,
    /// With the model that embeds the query.
    pub total_us: f64,
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
    search_us: f64,
    cost_us: f64,
}

/// A query after a stage, by how much of what was found is read again; all the same where nothing
/// is.
struct Reading {
    /// The ten best alone.
    first: Stop,
    whole: Stop,
    /// What the ten best tell of the others.
    hints: Vec<f64>,
}

/// A query after each stage.
struct Trace {
    words: Stop,
    shallow: Reading,
    /// Many candidates after few.
    deep: Reading,
    /// Many candidates straight after words.
    direct: Reading,
    all: Stop,
}

/// What each stage found for a query.
struct Looked<'a> {
    query: &'a DevQuery<'a>,
    after_words: Vec<f64>,
    after_shallow: Vec<f64>,
    words: SoFar,
    shallow: SoFar,
    deep: SoFar,
    direct: SoFar,
    all: SoFar,
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
    /// If what is retrieved from cannot answer, as where a query's vector does not fit.
    pub fn run(&self) -> Result<Learnt, RetrievalError> {
        let dev = spread(self.dev, DEV_QUERIES_MAX);
        if dev.is_empty() {
            return Ok(Learnt { tuned: Tuned::untaught(self.prices), stages: Vec::new() });
        }
        let all: Vec<Looked<'_>> =
            dev.into_iter().map(|query| self.look(query)).collect::<Result<_, _>>()?;
        let mix = learn_mix(&all);
        let remembered = self.reranker.map(Remembered::new);
        let most = if remembered.is_some() { REREAD_QUERIES_MAX } else { all.len() };
        let looked = spread(&all, most);
        let learn = |reranker| self.learn_blend(&looked, &mix, reranker);
        let blend = remembered.as_ref().map(|reranker| learn(reranker)).transpose()?;
        let counts = blend.filter(|blend| blend.counts());
        let rereading = remembered.as_ref().map(|it| it as &dyn Reranker).zip(counts);
        let traces: Vec<Trace> = looked
            .iter()
            .map(|one| self.trace(one, (&mix, rereading)))
            .collect::<Result<_, _>>()?;
        let losses = |stop: fn(&Trace) -> Stop| -> Vec<f64> {
            traces.iter().map(|trace| trace.all.ndcg - stop(trace).ndcg).collect()
        };
        let words = losses(|trace| trace.words);
        let shallow = losses(|trace| trace.shallow.whole);
        let reading = losses(|trace| trace.direct.first);
        let words_hints: Vec<Vec<f64>> = looked.iter().map(|one| one.after_words.clone()).collect();
        let shallow_hints: Vec<Vec<f64>> =
            looked.iter().map(|one| one.after_shallow.clone()).collect();
        let of_reading = |stage: fn(&Trace) -> &Reading| -> Vec<Vec<f64>> {
            traces.iter().map(|trace| stage(trace).hints.clone()).collect()
        };
        // Many candidates are the same, whether few were looked at before or not.
        let read_few = of_reading(|trace| &trace.shallow);
        let read_many = of_reading(|trace| &trace.direct);
        let foretold = Foretold {
            words: Forecast::of_each_from_others(&words_hints, &words),
            shallow: Forecast::of_each_from_others(&shallow_hints, &shallow),
            reading_few: Forecast::of_others_from_others(&read_many, &reading, &read_few),
            reading_many: Forecast::of_each_from_others(&read_many, &reading),
            rereads: rereading.is_some(),
        };
        let fit = |hints: &[Vec<f64>], losses: &[f64]| {
            let rows: Vec<&[f64]> = hints.iter().map(Vec::as_slice).collect();
            Forecast::fit(&rows, losses)
        };
        let stages = stages(&traces);
        let full = stages.last().expect("full depth is the last stage");
        let tuned = Tuned::new(Parts {
            queries: traces.len(),
            mix,
            blend,
            prices: self.prices,
            after_words: fit(&words_hints, &words),
            after_shallow: fit(&shallow_hints, &shallow),
            after_reading: fit(&read_many, &reading),
            rules: rules(&traces, &foretold),
            full_quality: full.ndcg10,
            full_cost_us: full.total_us,
        });
        Ok(Learnt { tuned, stages })
    }

    /// Every stage in turn, and full depth.
    fn look<'q>(&self, query: &'q DevQuery<'q>) -> Result<Looked<'q>, RetrievalError> {
        let asked = asked(query);
        let retrievers = self.retrievers;
        let mut search = Search { retrievers, asked: &asked, so_far: SoFar::default() };
        search.find_words()?;
        let after_words = search.word_hints()?;
        let near = |stage| search.near(stage, query.vector);
        let (few, many) = (near(Reached::Shallow)?, near(Reached::Deep)?);
        let every = near(Reached::All)?;
        let words = search.so_far.clone();
        let shallow = words.with(&few, query.without);
        Ok(Looked {
            query,
            after_shallow: after_both(&after_words, &shallow.lists.words, &shallow.lists.vectors),
            after_words,
            deep: shallow.with(&many, query.without),
            direct: words.with(&many, query.without),
            all: words.with(&every, query.without),
            words,
            shallow,
        })
    }

    /// How much the reranker counts, by what it says of what full depth finds.
    fn learn_blend(
        &self,
        looked: &[&Looked<'_>],
        mix: &Mix,
        reranker: &dyn Reranker,
    ) -> Result<Blend, RetrievalError> {
        let mut lists = Vec::with_capacity(looked.len());
        for one in looked {
            let asked = asked(one.query);
            let so_far = SoFar::default();
            let mut search = Search { retrievers: self.retrievers, asked: &asked, so_far };
            let hits = mix.fuse(&one.all.lists, FOUND_DEPTH);
            let mut found = found_scores(&hits);
            found.truncate(Reached::All.reread());
            let reread = search.read_again(reranker, &hits[..found.len()])?;
            lists.push((hits, Scored { found, reread }));
        }
        let scored: Vec<Scored> = lists.iter().map(|(_, scored)| scored.clone()).collect();
        Ok(Blend::learn(&scored, &|at, order| {
            let hits: Vec<Hit> = order.iter().map(|&place| lists[at].0[place]).collect();
            ndcg(looked[at].query, &hits)
        }))
    }

    /// What each stage would answer with this mix, and with a reranker that counts so much.
    fn trace(
        &self,
        looked: &Looked<'_>,
        (mix, rereading): (&Mix, Option<(&dyn Reranker, Blend)>),
    ) -> Result<Trace, RetrievalError> {
        let asked = asked(looked.query);
        let hints = RefCell::new(vec![0.0; AFTER_READING]);
        let stop =
            |so_far: &SoFar, reached: Reached, is_first: bool| -> Result<Stop, RetrievalError> {
                let so_far = so_far.clone();
                let mut search = Search { retrievers: self.retrievers, asked: &asked, so_far };
                let is_enough = |hits: &[Hit], reread: &[f32]| {
                    if let Some((_, blend)) = rereading {
                        *hints.borrow_mut() = after_reading(&found_scores(hits), reread, blend);
                    }
                    is_first
                };
                let reread = rereading.map(|(reranker, blend)| Reread {
                    reranker,
                    blend: Some(blend),
                    is_enough: &is_enough,
                });
                let hits = search.finish(mix, reread, reached)?;
                let work = search.so_far.work;
                Ok(Stop {
                    ndcg: ndcg(looked.query, &hits),
                    search_us: work.search_us(&self.prices),
                    cost_us: work.total_us(&self.prices),
                })
            };
        let reading = |so_far: &SoFar, reached: Reached| -> Result<Reading, RetrievalError> {
            let (first, whole) = (stop(so_far, reached, true)?, stop(so_far, reached, false)?);
            Ok(Reading { first, whole, hints: hints.borrow().clone() })
        };
        Ok(Trace {
            words: stop(&looked.words, Reached::Words, false)?,
            shallow: reading(&looked.shallow, Reached::Shallow)?,
            deep: reading(&looked.deep, Reached::Deep)?,
            direct: reading(&looked.direct, Reached::Deep)?,
            all: stop(&looked.all, Reached::All, false)?,
        })
    }
}

fn asked<'a>(query: &'a DevQuery<'_>) -> Asked<'a> {
    Asked { text: &query.text, count: DEPTH, without: query.without }
}

fn learn_mix(looked: &[Looked<'_>]) -> Mix {
    let some = spread(looked, MIX_QUERIES_MAX);
    let lists: Vec<Lists> = some.iter().map(|one| one.all.lists.clone()).collect();
    Mix::learn(&lists, DEPTH, &|at, hits| ndcg(some[at].query, hits))
}

/// The mean of each stage over queries, of which there are some.
fn stages(traces: &[Trace]) -> Vec<StageBuys> {
    let count = traces.len() as f64;
    let of = |stage, stop: fn(&Trace) -> Stop| {
        let mean = |of: fn(Stop) -> f64| {
            rounded(traces.iter().map(|trace| of(stop(trace))).sum::<f64>() / count)
        };
        StageBuys {
            stage,
            ndcg10: mean(|stop| stop.ndcg),
            search_us: mean(|stop| stop.search_us),
            total_us: mean(|stop| stop.cost_us),
        }
    };
    vec![
        of(Reached::Words, |trace| trace.words),
        of(Reached::Shallow, |trace| trace.shallow.whole),
        of(Reached::Deep, |trace| trace.direct.whole),
        of(Reached::All, |trace| trace.all),
    ]
}

/// What is foretold for each query from others.
struct Foretold {
    words: Vec<f64>,
    shallow: Vec<f64>,
    /// Of reading the ten best of few candidates alone.
    reading_few: Vec<f64>,
    /// The same of many.
    reading_many: Vec<f64>,
    /// Whether anything is read again.
    rereads: bool,
}

impl Foretold {
    /// Where a query stops by these thresholds.
    fn stop(&self, trace: &Trace, at: usize, rule: &Rule) -> Stop {
        if self.words[at] <= rule.words_loss_max {
            return trace.words;
        }
        let (reading, foretold) = if rule.shallow_loss_max <= NEVER {
            (&trace.direct, &self.reading_many)
        } else if self.shallow[at] <= rule.shallow_loss_max {
            (&trace.shallow, &self.reading_few)
        } else {
            (&trace.deep, &self.reading_many)
        };
        match rule.reading_loss_max > NEVER && foretold[at] <= rule.reading_loss_max {
            true => reading.first,
            false => reading.whole,
        }
    }
}

/// Rules that are neither worse nor dearer than another, the best first.
fn rules(traces: &[Trace], foretold: &Foretold) -> Vec<Rule> {
    let readings = match foretold.rereads {
        true => thresholds(&foretold.reading_many, READING_THRESHOLDS),
        false => vec![NEVER],
    };
    let mut tried: Vec<Rule> = Vec::new();
    for words_loss_max in thresholds(&foretold.words, THRESHOLDS) {
        for shallow_loss_max in thresholds(&foretold.shallow, THRESHOLDS) {
            for &reading_loss_max in &readings {
                let (quality, cost_us) = (1.0, 0.0);
                let mut rule =
                    Rule { words_loss_max, shallow_loss_max, reading_loss_max, quality, cost_us };
                let stops = traces.iter().enumerate();
                let stops: Vec<Stop> =
                    stops.map(|(at, trace)| foretold.stop(trace, at, &rule)).collect();
                (rule.quality, rule.cost_us) = measured(traces, &stops);
                tried.push(rule);
            }
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
    let losses = traces.iter().zip(stops).map(|(trace, stop)| trace.all.ndcg - stop.ndcg);
    let (mean, error) = mean_and_error(&losses.collect::<Vec<_>>());
    let lost = mean + CAUTION * error;
    let full = traces.iter().map(|trace| trace.all.ndcg).sum::<f64>() / count;
    let quality = if full > 0.0 { 1.0 - lost / full } else { 1.0 };
    (quality, stops.iter().map(|stop| stop.cost_us).sum::<f64>() / count)
}

/// Values that part the forecasts evenly, and those that part none.
fn thresholds(foretold: &[f64], parts: usize) -> Vec<f64> {
    let mut sorted = foretold.to_vec();
    sorted.sort_by(f64::total_cmp);
    let part = |part: usize| rounded(sorted[part * (sorted.len() - 1) / parts]);
    let parts = (1..parts).map(part);
    let mut values: Vec<f64> = parts.chain([NEVER, ALWAYS]).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}
