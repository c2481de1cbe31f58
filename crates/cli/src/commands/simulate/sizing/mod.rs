//! How many cards jobs need that come and go.

mod json;
mod text;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cotenant_api::{SetJob, Timing};
use cotenant_device::CardsSpec;
use cotenant_sched::advise::{Misfit, NodeShape};
use cotenant_sched::sizing::{
    Demand, Findings, JOBS_MAX, Length, Stream, Target, measure, misfit, smallest,
};
use cotenant_types::{Card, Seconds};
use indicatif::ProgressBar;

use crate::args::sizing::SizingArgs;
use crate::commands::Ended;
use crate::commands::advise;
use crate::commands::pool::failure::Failure;
use crate::console::Console;
use crate::words::plain;

/// How often it is shown that something goes on.
const TICK: Duration = Duration::from_millis(200);

/// All that was found.
struct Sized<'a> {
    arguments: &'a SizingArgs,
    jobs: &'a [SetJob],
    card: &'a Card,
    per_node: u32,
    demand: &'a Demand,
    shared: Answer<'a>,
    whole: Answer<'a>,
}

/// Whether cards are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// As the jobs ask for.
    Shared,
    /// Each job has whole cards.
    Whole,
}

/// What was found with sharing, or without.
struct Answer<'a> {
    sharing: Sharing,
    demand: &'a Demand,
    /// The fewest cards that are enough, or the most that were tried and are not.
    cards: Result<u32, u32>,
    /// The pool with one card fewer, if there is one, and the pool itself.
    pools: Vec<(u32, Findings)>,
}

/// Finds the fewest cards for the jobs of a file, with sharing and without.
pub(super) fn run(
    (file, seeds): (&Path, &[u64]),
    arguments: &SizingArgs,
    console: &Console,
) -> Ended {
    let jobs = advise::read(file)?;
    let cards: &CardsSpec = &arguments.cards;
    let shape = NodeShape::of(&advise::find(cards, console)?).map_err(advise::of_one_kind)?;
    let demand = demand(&jobs, seeds, arguments);
    check(&jobs, &demand, &shape)?;
    long_runs(&jobs, &demand).iter().for_each(|warning| console.say(warning));
    let alone = demand.without_sharing();
    let tries = |sharing| Tries { sharing, shape: &shape, console, arguments };
    let sized = Sized {
        arguments,
        jobs: &jobs,
        card: shape.card(),
        per_node: shape.cards_per_node(),
        demand: &demand,
        shared: tries(Sharing::Shared).answer(&demand),
        whole: tries(Sharing::Whole).answer(&alone),
    };
    sized.without_jobs().iter().for_each(|warning| console.say(warning));
    console.data(&json::of(&sized), || text::of(&sized))?;
    Ok(ExitCode::SUCCESS)
}

fn demand(jobs: &[SetJob], seeds: &[u64], arguments: &SizingArgs) -> Demand {
    let stream = |job: &SetJob| {
        let Timing { start, every, runs, is_steady } = job.timing;
        let length = if is_steady { Length::Fixed } else { Length::Exponential };
        let terms = job.job.terms.clone();
        Stream { terms, copies: job.copies, start, every, runs: runs.map(length) }
    };
    let target =
        Target { offline: arguments.target_wait.0, online: arguments.target_wait_online.0 };
    Demand {
        streams: jobs.iter().map(stream).collect(),
        seeds: seeds.to_vec(),
        horizon: Seconds(arguments.hours * 3600),
        target,
    }
}

/// What cannot be simulated, or would take too long.
fn check(jobs: &[SetJob], demand: &Demand, shape: &NodeShape) -> Result<(), Failure> {
    let failed = |why: String, hint: &str| {
        Err(Failure::new("simulate these jobs", format!("{why}\nhint: {hint}")))
    };
    let comes_late = |job: &&SetJob| job.timing.start >= demand.horizon;
    if let Some(job) = jobs.iter().find(comes_late) {
        let (name, start) = (plain(&job.job.name), job.timing.start);
        let why = format!("'{name}' first comes after {start}, when {} are over", demand.horizon);
        return failed(why, "ask for more --hours");
    }
    let expected = demand.jobs_expected();
    if expected > JOBS_MAX {
        let seeds = demand.seeds.len();
        let why =
            format!("about {expected} jobs would come with {seeds} seeds; at most {JOBS_MAX}");
        return failed(why, "ask for fewer --hours or --seeds");
    }
    match misfit(demand, shape) {
        Some(Misfit::Job { job, lack }) => {
            let (name, lacks) =
                (plain(&jobs[job].job.name), advise::lacks(&jobs[job], (None, lack)));
            let why = format!("'{name}' finds room on no number of such cards: {lacks}");
            failed(why, "ask for less of each card, or for other --cards")
        }
        Some(Misfit::Limit { .. }) | None => Ok(()),
    }
}

/// Of jobs that come again and again, those that run so long that a pool is not yet full of them
/// when they begin to count.
fn long_runs(jobs: &[SetJob], demand: &Demand) -> Vec<String> {
    let warm_up = demand.warm_up();
    let warning = |job: &SetJob| {
        let runs = job.timing.runs.filter(|&runs| job.timing.every.is_some() && runs > warm_up)?;
        let name = plain(&job.job.name);
        Some(format!(
            "warning: jobs of '{name}' run for {runs}, longer than the {warm_up} in which the pool \
             fills before any counts; more --hours give a truer answer"
        ))
    };
    jobs.iter().filter_map(warning).collect()
}

struct Tries<'a> {
    sharing: Sharing,
    shape: &'a NodeShape,
    console: &'a Console,
    arguments: &'a SizingArgs,
}

impl Tries<'_> {
    fn answer<'d>(&self, demand: &'d Demand) -> Answer<'d> {
        let bar = match self.console.quiet {
            true => ProgressBar::hidden(),
            false => ProgressBar::new_spinner(),
        };
        bar.enable_steady_tick(TICK);
        let tried = |cards: u32| bar.set_message(format!("{cards} cards, {}", self.sharing.name()));
        let cards_max = self.arguments.cards_max;
        let cards = match smallest(demand, (self.shape, cards_max), &tried) {
            Ok(cards) => Ok(cards),
            Err(Misfit::Limit { .. } | Misfit::Job { .. }) => Err(cards_max),
        };
        let shown = cards.map_or(vec![cards_max], |cards| vec![cards - 1, cards]);
        let measured = shown.into_iter().filter(|&cards| cards > 0).map(|cards| {
            tried(cards);
            (cards, measure(demand, (self.shape, cards)))
        });
        let pools = measured.collect();
        bar.finish_and_clear();
        Answer { sharing: self.sharing, demand, cards, pools }
    }
}

impl Sharing {
    /// Its name in words and in JSON.
    fn name(self) -> &'static str {
        match self {
            Sharing::Shared => "shared",
            Sharing::Whole => "whole",
        }
    }
}

impl Sized<'_> {
    /// With sharing, and without.
    fn answers(&self) -> [&Answer<'_>; 2] {
        [&self.shared, &self.whole]
    }

    /// Cards that sharing saves.
    fn saved(&self) -> Option<u32> {
        Some(self.whole.cards.ok()?.saturating_sub(self.shared.cards.ok()?))
    }

    /// Warnings of jobs of which none came while jobs count.
    fn without_jobs(&self) -> Vec<String> {
        let Some((_, found)) = self.shared.pools.last() else { return Vec::new() };
        let came = self.jobs.iter().zip(&found.waits);
        let missing = came.filter(|(_, waits)| waits.count() == 0);
        let warning = |(job, _): (&SetJob, _)| {
            let name = plain(&job.job.name);
            format!("warning: no job of '{name}' came while jobs count; ask for more --hours")
        };
        missing.map(warning).collect()
    }
}
