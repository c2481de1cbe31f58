//! `cotenant advise`

mod json;
mod text;
mod words;

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use cotenant_api::{SetJob, parse_jobs};
use cotenant_device::{CardsSpec, Model, Terms, discover};
use cotenant_sched::advise::{self, CardChoice, SetAdvice, ShapeError, Trust};
use cotenant_types::{Card, CardKind};

pub(super) use words::{class, lacks};

use super::Ended;
use super::pool::failure::Failure;
use crate::args::advise::AdviseArgs;
use crate::console::Console;

/// More than the largest file of jobs; how large that is, the parser knows.
const READ_BYTES_MAX: u64 = 2 << 20;

/// Most cards of a pool that is tried: every slice that a file may ask for has one to itself.
const POOL_CARDS_MAX: u32 = 4096;

/// All that is said of a set.
struct Advised<'a> {
    jobs: &'a [SetJob],
    cards: &'a [Card],
    choice: &'a CardChoice,
    advice: &'a SetAdvice,
}

/// Advises on a file of jobs.
pub(crate) fn run(arguments: &AdviseArgs, console: &Console) -> Ended {
    let jobs = read(&arguments.jobs)?;
    let cards = find(&arguments.cards, console)?;
    let geometry = cards.first().and_then(Model::of).and_then(Model::mig);
    let choice = CardChoice::of(&cards, geometry.as_ref()).map_err(of_one_kind)?;
    let advice = advise::advise(&jobs.iter().map(job).collect::<Vec<_>>(), &choice, POOL_CARDS_MAX);
    let advised = Advised { jobs: &jobs, cards: &cards, choice: &choice, advice: &advice };
    console.data(&json::of(&advised), || text::of(&advised))?;
    let is_real = cards.iter().any(|card| card.kind == CardKind::Nvidia);
    if is_real && choice.partitioned.is_some() {
        console.say("this version makes partitions on simulated cards only");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a file of jobs.
pub(super) fn read(path: &Path) -> Result<Vec<SetJob>, Failure> {
    let failed = |why: &dyn Error, hint: &str| {
        Failure::new(
            &format!("read the jobs of {}", path.display()),
            format!("{why}\nhint: {hint}"),
        )
    };
    let mut text = String::new();
    let file = File::open(path).map(|file| file.take(READ_BYTES_MAX));
    file.and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| failed(&error, "check its path"))?;
    parse_jobs(&text).map_err(|error| failed(&error, "cotenant advise --help shows such a file"))
}

/// The cards that are meant.
pub(super) fn find(spec: &CardsSpec, console: &Console) -> Result<Vec<Card>, Failure> {
    let found = discover(spec, &Terms::default()).map_err(|error| {
        let causes = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        let hint = "hint: --cards sim:8xH100 needs no card to be there";
        Failure::new("find the cards", format!("{}\n{hint}", causes.join("\n")))
    })?;
    found.notes.iter().for_each(|note| console.say(note));
    Ok(found.cards)
}

/// Why cards of several kinds are no shape.
pub(super) fn of_one_kind(error: ShapeError) -> Failure {
    let hint = "hint: ask for one kind at a time, as --cards sim:8xH100";
    Failure::new("advise on these cards", format!("{error}\n{hint}"))
}

fn job(job: &SetJob) -> advise::SetJob {
    advise::SetJob {
        terms: job.job.terms.clone(),
        copies: job.copies,
        trust: if job.trusted { Trust::Trusted } else { Trust::Untrusted },
        busy: job.busy,
    }
}
