//! What a program does when it does not compute.

use super::{Cause, Costs};
use crate::held::Held;
use crate::observed::{Observed, ProcessCounts, WrittenFile};

/// A call of the system costs about this much processor time, and a byte that it moves this much of
/// a picosecond.
const CALL_NS: u64 = 1000;
const BYTE_PS: u64 = 400;

/// Estimates may be wrong by this factor before system time is put down to something else.
const ESTIMATE_FACTOR: u64 = 8;

/// Reads that are as large on average are of data.
const LARGE_READ_BYTES_MIN: u64 = 64 << 10;

/// Writes that are smaller on average are lines of a log.
const LOG_WRITE_BYTES_MAX: u64 = 4 << 10;
/// A checkpoint has at least this much.
const CHECKPOINT_BYTES_MIN: u64 = 256 << 10;

/// Threads that run for less than this between two waits hand over more than they compute.
const PIECE_NS_MAX: u64 = 200_000;

/// Costs of a program without a card: the whole time, what of it was computing, and the causes of
/// the rest.
pub(super) fn costs(observed: &Observed) -> (u64, u64, Costs) {
    let mut costs = Costs::default();
    let wall_ns = observed.held.values().sum();
    waits(observed, 1.0, &mut costs);
    let computes_ns = held_ns(observed, Held::Computes);
    let runs_ns = computes_ns - no_processor(&observed.lead, computes_ns, &mut costs);
    let busy_ns = runs_ns - transfers(observed, runs_ns, &mut costs);
    (wall_ns, busy_ns, costs)
}

/// How long a program was held up by something.
pub(super) fn held_ns(observed: &Observed, held: Held) -> u64 {
    observed.held.get(&held).copied().unwrap_or(0)
}

/// Puts down all waits, each as `scale` of what was seen of it, and gives their sum.
pub(super) fn waits(observed: &Observed, scale: f64, costs: &mut Costs) -> u64 {
    let mut sum = 0;
    for (&held, &ns) in &observed.held {
        let ns = (ns as f64 * scale) as u64;
        match held {
            Held::Computes => continue,
            Held::ByWorkers => workers(observed, ns, costs),
            Held::ByReading => costs.add(reading(observed), ns),
            Held::ByOpening => costs.add(Cause::SmallFiles, ns),
            Held::ByWriting => writes(observed, ns, costs),
            Held::ByOutput => costs.add(Cause::Output, ns),
            Held::ByNetwork => costs.add(Cause::Network, ns),
            Held::ByOneThread => costs.add(one_thread(observed), ns),
            Held::BySleep => costs.add(Cause::Sleep, ns),
            Held::ByUnknown => costs.add(Cause::UnknownWait, ns),
        }
        sum += ns;
    }
    sum
}

/// Of time in which threads were at work, puts down that in which they had no processor.
fn no_processor(counts: &ProcessCounts, ns: u64, costs: &mut Costs) -> u64 {
    let ready_ns = part(ns, counts.ready_ns, counts.ready_ns.saturating_add(counts.cpu_ns()));
    costs.add(Cause::NoProcessor, ready_ns);
    ready_ns
}

/// Of time in which the lead computed, puts down what it spent in the system on reading and
/// writing, and gives that.
pub(super) fn transfers(observed: &Observed, computes_ns: u64, costs: &mut Costs) -> u64 {
    let Transfers { read_ns, write_ns } = Transfers::of(&observed.lead, computes_ns);
    // Small reads of no file in particular are of pipes and of the system.
    let is_large = observed.lead.read_bytes / observed.lead.reads.max(1) >= LARGE_READ_BYTES_MIN;
    let is_of_files = observed.files.are_many_and_small() || observed.files.count > 0 && is_large;
    let read_ns = if is_of_files { read_ns } else { 0 };
    costs.add(reading(observed), read_ns);
    costs.add(small_or_large(&observed.lead), write_ns);
    read_ns + write_ns
}

/// Of some time of processes, what went into reading and writing.
struct Transfers {
    read_ns: u64,
    write_ns: u64,
}

impl Transfers {
    fn of(counts: &ProcessCounts, ns: u64) -> Self {
        let cpu_ns = counts.cpu_ns().max(1);
        let system_ns = part(ns, counts.system_ns, cpu_ns);
        let weigh = |calls: u64, bytes: u64| {
            calls.saturating_mul(CALL_NS).saturating_add(bytes / 1000 * BYTE_PS)
        };
        let read = weigh(counts.reads, counts.read_bytes);
        let write = weigh(counts.writes, counts.written_bytes);
        let known = part(read.saturating_add(write).saturating_mul(ESTIMATE_FACTOR), ns, cpu_ns);
        let transfers_ns = system_ns.min(known);
        let read_ns = part(transfers_ns, read, read.saturating_add(write));
        Self { read_ns, write_ns: transfers_ns - read_ns }
    }
}

/// `whole * of / all`, which is at most the whole.
pub(super) fn part(whole: u64, of: u64, all: u64) -> u64 {
    let part = u128::from(whole) * u128::from(of) / u128::from(all.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Those who prepare data may spend their time on opening and reading small files.
fn workers(observed: &Observed, ns: u64, costs: &mut Costs) {
    let is_elsewhere = observed.others.cpu_ns() > observed.lead.cpu_ns() / 4;
    let counts = if is_elsewhere { &observed.others } else { &observed.lead };
    let ns = ns - no_processor(counts, ns, costs);
    let read_ns = match observed.files.are_many_and_small() {
        true => Transfers::of(counts, ns).read_ns,
        false => 0,
    };
    costs.add(Cause::SmallFiles, read_ns);
    costs.add(Cause::SlowWorkers, ns - read_ns);
}

fn reading(observed: &Observed) -> Cause {
    match observed.files.are_many_and_small() {
        true => Cause::SmallFiles,
        false => Cause::SlowStorage,
    }
}

/// Waits for writes, by the files that were waited for.
fn writes(observed: &Observed, ns: u64, costs: &mut Costs) {
    let all: u64 = observed.written.iter().map(|file| file.held_ns).sum();
    if all == 0 {
        costs.add(small_or_large(&observed.lead.plus(observed.others)), ns);
        return;
    }
    let is_log = |file: &&WrittenFile| file.is_appended || file.bytes < CHECKPOINT_BYTES_MIN;
    let logs: u64 = observed.written.iter().filter(is_log).map(|file| file.held_ns).sum();
    let log_ns = part(ns, logs, all);
    costs.add(Cause::Logging, log_ns);
    costs.add(Cause::Checkpoints, ns - log_ns);
}

fn small_or_large(counts: &ProcessCounts) -> Cause {
    match counts.written_bytes / counts.writes.max(1) {
        0..LOG_WRITE_BYTES_MAX => Cause::Logging,
        _ => Cause::Checkpoints,
    }
}

fn one_thread(observed: &Observed) -> Cause {
    match observed.lead.cpu_ns() / observed.lead.switches.max(1) {
        0..PIECE_NS_MAX => Cause::SmallPieces,
        _ => Cause::OneThread,
    }
}
