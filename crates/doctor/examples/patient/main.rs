//! Programs that each idle for one known reason, and some that are well; for the doctor's tests.
//!
//! `patient ILLNESS SECONDS [PATH]`. Those that use a card find a driver as any program does. Work
//! is a matter of processor time, so that on a busy machine an illness stays what it is.

mod card;
mod host;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let illness = arguments.first().map(String::as_str).unwrap_or_default();
    let seconds = arguments.get(1).and_then(|word| word.parse().ok()).unwrap_or(2.0);
    let path = arguments.get(2).map(String::as_str).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    match suffer(illness, until, path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use io::Write;
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(9)
        }
    }
}

fn suffer(illness: &str, until: Instant, path: &str) -> io::Result<()> {
    match illness {
        "worker" => host::worker(path),
        "well" => host::well(until),
        "slow-workers" => host::slow_workers(until),
        "loader-thread" => host::loader_thread(until, path),
        "small-files" => host::small_files(until, path),
        "slow-storage" => host::slow_storage(until, path),
        "checkpoints" => host::checkpoints(until, path),
        "logging" => host::logging(until, path),
        "output" => host::output(until),
        "lock" => host::lock(until),
        "pieces" => host::pieces(until),
        "forks" => host::forks(until),
        "card-well" => card::well(until),
        "card-workers" => card::workers(until),
        "card-checkpoints" => card::checkpoints(until, path),
        "card-unpinned" => card::unpinned(until),
        "card-synchronous" => card::synchronous(until),
        "card-tiny" => card::tiny(until),
        "card-waits" => card::waits(until),
        "card-small" => card::small(until),
        "card-inline" => card::inline(until),
        // How long it computes and how much it copies in a step.
        "card-both" => card::both(until, path),
        other => Err(io::Error::other(format!("'{other}' is no illness"))),
    }
}

/// Uses so much processor time. By the clock, others on the machine would shorten it.
fn compute(microseconds: u64) {
    let until_ns = used_ns() + microseconds * 1000;
    let mut sum = 0u64;
    while used_ns() < until_ns {
        for step in 0..200 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(step));
        }
    }
}

/// Processor time that this thread has used.
fn used_ns() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(used.tv_sec * 1_000_000_000 + used.tv_nsec).expect("time passes forwards")
}
