//! Isolation on a CPU card: what neighbours cost a job, and what the pool costs one that is alone.
//!
//! A real pool runs real jobs. A neighbour disturbs in every second slot of time alone, and a job in
//! the pool takes turns with the same program outside of it, so that each ratio is of neighbours in
//! time, and what else the machine does meets both sides.

mod pool;
mod stats;
pub(crate) mod work;

use std::env;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use cotenant_api::JobRequest;

use crate::bench::machine;
use crate::project::Project;
use pool::Pool;
use stats::Spread;
use work::{Schedule, Threads, Turn};

/// From a plan to its first slot: all that take part have started by then.
const LEAD_MS: u64 = 2000;
/// A slot in which a neighbour disturbs, or does not: ten periods of a quota.
const NEIGHBOUR_SLOT_MS: u64 = 1000;
/// A slot of one of two programs that take turns.
const TURN_SLOT_MS: u64 = 500;

/// The least that a job may get done beside a neighbour, by what it gets done alone.
const BESIDE_MIN: f64 = 0.95;
/// The least that a job may get done in the pool, by what the same program does outside.
const POOLED_MIN: f64 = 0.99;

/// Who disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    Spins,
    Allocates,
}

/// Measures all three, each for so many seconds, and prints what came of it.
pub(super) fn run(project: &Project, seconds: u64) -> Result<(), String> {
    let pool = Pool::start(project)?;
    println!("machine: {}", machine::describe());
    for neighbour in [Neighbour::Spins, Neighbour::Allocates] {
        beside(&pool, neighbour, seconds)?;
    }
    against_outside(&pool, seconds)
}

fn schedule(turn: Turn, slot_ms: u64, seconds: u64) -> Schedule {
    let slots = (seconds * 1000 / slot_ms) as usize | 1;
    Schedule { turn, start_ms: work::now_ms() + LEAD_MS, slot_ms, slots }
}

impl Schedule {
    /// From now until a moment past the last slot.
    fn wait(&self) -> Duration {
        let end = self.start_ms + self.slot_ms * self.slots as u64;
        Duration::from_millis(end.saturating_sub(work::now_ms()))
    }

    fn for_turn(&self, turn: Turn) -> Self {
        Self { turn, ..*self }
    }
}

/// A job of this tool's hidden commands.
fn job(words: &[String], (policy, compute): (&str, &str)) -> Result<JobRequest, String> {
    let ours = env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
    let mut command = vec![ours.display().to_string()];
    command.extend(words.iter().cloned());
    Ok(JobRequest {
        command,
        memory: Some("512MiB".to_owned()),
        compute: Some(compute.to_owned()),
        policy: Some(policy.to_owned()),
        ..JobRequest::default()
    })
}

/// A `fixed` job beside a neighbour that may have all that is idle.
fn beside(pool: &Pool, neighbour: Neighbour, seconds: u64) -> Result<(), String> {
    let (counted, disturbed) = (pool.file("counted"), pool.file("disturbed"));
    let plan = schedule(Turn::Every, NEIGHBOUR_SLOT_MS, seconds);
    let odd = plan.for_turn(Turn::Odd);
    let fixed =
        pool.begin(&job(&work::count_words(Threads::Told, &plan, &counted), ("fixed", "40%"))?)?;
    let words = match neighbour {
        Neighbour::Spins => work::count_words(Threads::TwiceTheCores, &odd, &disturbed),
        Neighbour::Allocates => work::allocate_words(&odd, &disturbed),
    };
    let other = pool.begin(&job(&words, ("burst", "50%"))?)?;
    check_in_time(&plan)?;
    let outcome = pool.end(fixed, plan.wait())?;
    pool.end(other, odd.wait())?;
    let ratios = stats::beside(&work::read(&counted)?);
    let did: u64 = work::read(&disturbed)?.iter().sum();
    let what = match neighbour {
        Neighbour::Spins => format!("a neighbour that spins on all cores ({did} units of work)"),
        Neighbour::Allocates => {
            format!("a neighbour that allocates without end ({did} processes killed)")
        }
    };
    if did == 0 {
        return Err(format!("{what} disturbed nobody"));
    }
    println!("- a fixed job of 40 % beside {what}: {}", verdict(ratios, BESIDE_MIN)?);
    match outcome.as_str() {
        "succeeded" => Ok(()),
        other => Err(format!("the fixed job ended as {other}")),
    }
}

/// A `burst` job that is alone in the pool, in turn with the same program outside.
fn against_outside(pool: &Pool, seconds: u64) -> Result<(), String> {
    let (inside, outside) = (pool.file("inside"), pool.file("outside"));
    let plan = schedule(Turn::Odd, TURN_SLOT_MS, seconds);
    let pooled =
        pool.begin(&job(&work::count_words(Threads::Told, &plan, &inside), ("burst", "40%"))?)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let ours = env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
    let words = work::count_words(Threads::Told, &plan.for_turn(Turn::Even), &outside);
    let mut free = Command::new(ours)
        .args(words)
        .env_clear()
        .env("OMP_NUM_THREADS", cores.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("failed to start a process: {error}"))?;
    check_in_time(&plan)?;
    let before = pool.own_cpu();
    thread::sleep(plan.wait().saturating_sub(Duration::from_secs(1)));
    let own = pool.own_cpu().saturating_sub(before);
    pool.end(pooled, plan.wait())?;
    free.wait().map_err(|error| format!("lost a process: {error}"))?;
    let mut counts = work::read(&outside)?;
    counts.iter_mut().zip(work::read(&inside)?).for_each(|(sum, count)| *sum += count);
    println!(
        "- a burst job of 40 % alone, against the same program outside the pool: {}",
        verdict(stats::beside(&counts), POOLED_MIN)?
    );
    let share = own.as_secs_f64() / (seconds as f64 * cores as f64) * 100.0;
    println!("- the daemon and the job's supervisor meanwhile: {share:.2} % of the cores");
    Ok(())
}

fn check_in_time(plan: &Schedule) -> Result<(), String> {
    match work::now_ms() < plan.start_ms {
        true => Ok(()),
        false => Err("the jobs took too long to start; try again on an idle machine".to_owned()),
    }
}

fn verdict(ratios: Vec<f64>, least: f64) -> Result<String, String> {
    let spread = Spread::of(ratios).ok_or("too few slots were measured")?;
    let Spread { median, low, high, pairs } = spread;
    let kept = if median >= least { "kept" } else { "not kept" };
    Ok(format!(
        "median {median:.4}, quartiles {low:.4} to {high:.4}, {pairs} pairs; promised at least \
         {least}: {kept}"
    ))
}
