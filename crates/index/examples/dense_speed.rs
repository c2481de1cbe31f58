//! Times a dense kind on vectors from files: building, searching, searching while a fifth of all
//! vectors is replaced, and searching after that.
//!
//! The folder holds `base.fvecs`, `new.fvecs`, `queries.fvecs`, and the slots of the true neighbours,
//! `truth-before.ivecs` and `truth-after.ivecs`. Files are rows of a little-endian `u32`, how many
//! numbers follow, and these, `f32` or `u32`. `golden/dense_peer.py` makes them, and times other
//! libraries on them.
//!
//! ```text
//! dense_speed FOLDER KIND [NAME=VALUE ...]
//! ```
//!
//! KIND is a name as `Kind::name` has it, and NAME one of links, construction, candidates, probes,
//! lists, code-bytes, efforts (several, with commas between), originals (0 or 1), and replaced-one-of,
//! if another part than a fifth is replaced. A kind that wants to learn anew afterwards does, and is
//! searched once more. Standard output has
//! a line of JSON for each effort and stage; times are of one thread, CPU seconds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use cotenant_index::Slot;
use cotenant_index::dense::{
    Codes, Dense, DenseSpec, Hnsw, IvfPq, Kind, Metric, Originals, Rescoring, SearchArgs,
};

/// Neighbours that are searched for.
const K: usize = 10;
/// One of as many vectors is replaced, unless said otherwise.
const REPLACED_ONE_OF: usize = 5;
/// After as many replacements there is one search.
const SEARCHED_ONE_OF: usize = 10;

struct Rows<T> {
    dimensions: usize,
    values: Vec<T>,
}

impl<T> Rows<T> {
    fn read(path: &str, number: fn([u8; 4]) -> T) -> Result<Self, Box<dyn Error>> {
        let bytes =
            std::fs::read(path).map_err(|error| format!("failed to read {path}: {error}"))?;
        let word = |at: usize| bytes[at..at + 4].try_into().expect("a word is four bytes");
        if bytes.len() < 4 {
            return Err(format!("{path} has no rows").into());
        }
        let dimensions = u32::from_le_bytes(word(0)) as usize;
        let row = 4 * (dimensions + 1);
        let starts = (0..bytes.len() / row).map(|at| at * row + 4);
        let values = starts
            .flat_map(|start| (0..dimensions).map(move |at| start + 4 * at))
            .map(|at| number(word(at)))
            .collect();
        Ok(Self { dimensions, values })
    }

    fn len(&self) -> usize {
        self.values.len() / self.dimensions
    }

    fn row(&self, at: usize) -> &[T] {
        &self.values[at * self.dimensions..][..self.dimensions]
    }
}

/// All vectors by slot: those of the first file, then those of the second.
struct All<'a>(&'a Rows<f32>, &'a Rows<f32>);

impl All<'_> {
    fn row(&self, slot: Slot) -> &[f32] {
        let at = slot.0 as usize;
        let Self(base, new) = self;
        if at < base.len() { base.row(at) } else { new.row(at - base.len()) }
    }
}

impl Originals for All<'_> {
    fn vector(&self, slot: Slot) -> Option<Cow<'_, [f32]>> {
        Some(Cow::Borrowed(self.row(slot)))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [folder, kind, settings @ ..] = &given[..] else {
        return Err("usage: dense_speed FOLDER KIND [NAME=VALUE ...]".into());
    };
    let vectors = |name| Rows::read(&format!("{folder}/{name}.fvecs"), f32::from_le_bytes);
    let truth = |name| Rows::read(&format!("{folder}/truth-{name}.ivecs"), u32::from_le_bytes);
    let (base, new, queries) = (vectors("base")?, vectors("new")?, vectors("queries")?);
    let settings: BTreeMap<&str, &str> =
        settings.iter().filter_map(|setting| setting.split_once('=')).collect();
    let kind = kind_from(kind, &settings)?;
    let efforts = settings.get("efforts").map_or(Ok(Vec::new()), |efforts| {
        efforts.split(',').map(str::parse::<u32>).collect::<Result<Vec<_>, _>>()
    })?;
    let spec = DenseSpec { dimensions: base.dimensions, metric: Metric::Cosine, kind, seed: 7 };
    let all = All(&base, &new);
    let run = Run {
        all: &all,
        queries: &queries,
        efforts,
        with_originals: settings.get("originals").is_none_or(|value| *value != "0"),
    };
    let slots = (0..base.len() as u32).map(Slot);
    let rows: Vec<(Slot, &[f32])> = slots.map(|slot| (slot, all.row(slot))).collect();
    let (seconds, dense) = timed(|| build(spec, &rows));
    let mut dense = dense?;
    let (len, bytes) = (dense.len(), dense.stats().memory_bytes);
    report(&format!(
        r#"{{"stage":"build","kind":"{}","vectors":{len},"seconds":{seconds:.2},"bytes_per_vector":{:.1}}}"#,
        kind.name(),
        bytes as f64 / len as f64
    ))?;
    run.search(&dense, "before", &truth("before")?)?;
    let one_of = settings.get("replaced-one-of").map_or(Ok(REPLACED_ONE_OF), |n| n.parse())?;
    run.churn(&mut dense, one_of)?;
    run.search(&dense, "after", &truth("after")?)?;
    if dense.wants_learning() {
        let slots: Vec<Slot> = dense.slots().collect();
        let rows: Vec<(Slot, &[f32])> = slots.iter().map(|&slot| (slot, all.row(slot))).collect();
        let (seconds, learnt) = timed(|| build(spec, &rows));
        report(&format!(r#"{{"stage":"learning","seconds":{seconds:.2}}}"#))?;
        run.search(&learnt?, "learnt", &truth("after")?)?;
    }
    Ok(())
}

fn build(spec: DenseSpec, rows: &[(Slot, &[f32])]) -> Result<Dense, Box<dyn Error>> {
    let sample: Vec<f32> = match Dense::sample_len(&spec, rows.len()) {
        0 => Vec::new(),
        wanted => {
            let step = rows.len().div_ceil(wanted);
            rows.iter().step_by(step).flat_map(|(_, row)| *row).copied().collect()
        }
    };
    let mut dense = Dense::learnt(spec, rows.len(), &sample)?;
    rows.iter().try_for_each(|(slot, row)| dense.insert(*slot, row))?;
    Ok(dense)
}

struct Run<'a> {
    all: &'a All<'a>,
    queries: &'a Rows<f32>,
    efforts: Vec<u32>,
    with_originals: bool,
}

impl Run<'_> {
    fn args<'a>(&'a self, query: usize, effort: Option<u32>) -> SearchArgs<'a> {
        let originals: &dyn Originals = self.all;
        SearchArgs {
            query: self.queries.row(query),
            k: K,
            effort,
            allowed: None,
            originals: self.with_originals.then_some(originals),
        }
    }

    /// Times all queries with each effort, and compares with the true neighbours.
    fn search(&self, dense: &Dense, stage: &str, truth: &Rows<u32>) -> Result<(), Box<dyn Error>> {
        let efforts = self.efforts.iter().copied().map(Some);
        let efforts: Vec<Option<u32>> =
            if self.efforts.is_empty() { vec![None] } else { efforts.collect() };
        for effort in efforts {
            let mut found = Vec::new();
            let (seconds, result) = timed(|| {
                (0..self.queries.len()).try_for_each(|query| {
                    dense.search(&self.args(query, effort)).map(|answer| found.push(answer))
                })
            });
            result?;
            let hits = found.iter().enumerate().map(|(query, answer)| {
                let truth = truth.row(query);
                answer.hits.iter().filter(|hit| truth.contains(&hit.slot.0)).count()
            });
            let queries = self.queries.len() as f64;
            let recall = hits.sum::<usize>() as f64 / (queries * K as f64);
            let coarse = found.iter().map(|answer| answer.cost.coarse).sum::<u64>() as f64;
            report(&format!(
                r#"{{"stage":"{stage}","effort":{},"recall":{recall:.4},"queries_per_second":{:.0},"coarse":{:.0}}}"#,
                effort.unwrap_or(0),
                queries / seconds,
                coarse / queries
            ))?;
        }
        Ok(())
    }

    /// Replaces vectors of the first file in no order, with searches in between. Times each of the
    /// three: a hundred removals, as many insertions, ten searches.
    fn churn(&self, dense: &mut Dense, one_of: usize) -> Result<(), Box<dyn Error>> {
        let All(base, new) = self.all;
        let count = (base.len() / one_of).min(new.len());
        let effort = self.efforts.first().copied();
        let (mut removing, mut inserting, mut searching) = (0.0, 0.0, 0.0);
        /// Changes between two looks at the clock.
        const STEP: usize = 100;
        for first in (0..count).step_by(STEP) {
            let steps = first..(first + STEP).min(count);
            removing += timed(|| {
                for at in steps.clone() {
                    // 7919 is prime: no slot comes twice, unless it divides their number.
                    let slot = at * 7919 % base.len();
                    assert!(dense.remove(Slot(slot as u32)), "it was there");
                }
            })
            .0;
            let (seconds, result) = timed(|| {
                steps.clone().try_for_each(|at| {
                    let slot = (base.len() + at) as u32;
                    dense.insert(Slot(slot), new.row(at))
                })
            });
            inserting += seconds;
            result?;
            let (seconds, result) = timed(|| {
                steps.clone().step_by(SEARCHED_ONE_OF).try_for_each(|at| {
                    let query = at / SEARCHED_ONE_OF % self.queries.len();
                    dense.search(&self.args(query, effort)).map(drop)
                })
            });
            searching += seconds;
            result?;
        }
        report(&format!(
            r#"{{"stage":"during","effort":{},"replaced":{count},"queries_per_second":{:.0},"removal_us":{:.1},"insertion_us":{:.1},"unswept":{},"bytes_per_vector":{:.1}}}"#,
            effort.unwrap_or(0),
            count as f64 / SEARCHED_ONE_OF as f64 / searching,
            1e6 * removing / count as f64,
            1e6 * inserting / count as f64,
            dense.stats().unswept,
            dense.stats().memory_bytes as f64 / dense.len() as f64
        ))
    }
}

fn kind_from(name: &str, settings: &BTreeMap<&str, &str>) -> Result<Kind, Box<dyn Error>> {
    let setting = |name: &str, default: u32| match settings.get(name) {
        Some(value) => value.parse().map_err(|_| format!("{name} is {value}, not a number")),
        None => Ok(default),
    };
    let (codes, ivf, hnsw) = (Codes::default(), IvfPq::default(), Hnsw::default());
    Ok(match name {
        "exact-f32" => Kind::ExactF32,
        "exact-bf16" => Kind::ExactBf16,
        "exact-int8" => Kind::ExactInt8,
        "codes" | "codes-originals" => Kind::Codes(Codes {
            rescoring: if name == "codes" { Rescoring::Int8 } else { Rescoring::Originals },
            candidates: setting("candidates", codes.candidates)?,
        }),
        "ivf-pq" => Kind::IvfPq(IvfPq {
            lists: setting("lists", ivf.lists)?,
            code_bytes: setting("code-bytes", ivf.code_bytes)?,
            train_from: setting("train-from", ivf.train_from)?,
            probes: setting("probes", ivf.probes)?,
            candidates: setting("candidates", ivf.candidates)?,
        }),
        "hnsw" => Kind::Hnsw(Hnsw {
            links: setting("links", hnsw.links)?,
            construction: setting("construction", hnsw.construction)?,
            candidates: setting("candidates", hnsw.candidates)?,
        }),
        _ => return Err(format!("{name} is no kind").into()),
    })
}

fn report(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Runs something, and says how many seconds of this thread's processor time it took.
fn timed<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let before = cpu_seconds();
    let result = run();
    (cpu_seconds() - before, result)
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
