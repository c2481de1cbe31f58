//! What is said of each cause: what it is, what it was seen by, and what to change.

use cotenant_types::trace::{CallKind, GapLength, GapStart};

use super::{Cause, host, remedies};
use crate::card::CardCounts;
use crate::held::Held;
use crate::observed::{Observed, ProcessCounts, WrittenFile};

impl Cause {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::SlowWorkers,
        Self::SmallFiles,
        Self::SlowStorage,
        Self::Network,
        Self::InlinePreparation,
        Self::UnpinnedCopies,
        Self::SynchronousCopies,
        Self::Fetches,
        Self::Synchronization,
        Self::TinyKernels,
        Self::SmallBatch,
        Self::Allocations,
        Self::Checkpoints,
        Self::Logging,
        Self::NoProcessor,
        Self::Output,
        Self::OneThread,
        Self::SmallPieces,
        Self::Sleep,
        Self::UnknownWait,
    ];

    /// Its name for programs, which stays.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowWorkers => "slow_workers",
            Self::SmallFiles => "small_files",
            Self::SlowStorage => "slow_storage",
            Self::Network => "network",
            Self::InlinePreparation => "inline_preparation",
            Self::UnpinnedCopies => "unpinned_copies",
            Self::SynchronousCopies => "synchronous_copies",
            Self::Fetches => "fetches",
            Self::Synchronization => "synchronization",
            Self::TinyKernels => "tiny_kernels",
            Self::SmallBatch => "small_batch",
            Self::Allocations => "allocations",
            Self::Checkpoints => "checkpoints",
            Self::Logging => "logging",
            Self::NoProcessor => "no_processor",
            Self::Output => "output",
            Self::OneThread => "one_thread",
            Self::SmallPieces => "small_pieces",
            Self::Sleep => "sleep",
            Self::UnknownWait => "unknown_wait",
        }
    }

    /// What it is, in a sentence without a stop.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::SlowWorkers => "it waits for data that its own workers are still preparing",
            Self::SmallFiles => "it waits for many small files to be found, opened and read",
            Self::SlowStorage => "it waits for storage to give the content of files",
            Self::Network => "it waits for another machine",
            Self::InlinePreparation => {
                "the thread that feeds the card does other work between two pieces for it"
            }
            Self::UnpinnedCopies => {
                "it copies to the card from memory that is not pinned, and waits meanwhile"
            }
            Self::SynchronousCopies => "it copies to the card and waits until that is done",
            Self::Fetches => "it fetches data from the card and waits until they are there",
            Self::Synchronization => {
                "it waits for the card too often, and the card then waits for what comes next"
            }
            Self::TinyKernels => "its kernels are so short that submitting them takes longer",
            Self::SmallBatch => "its batches are too small to keep the card busy",
            Self::Allocations => "it takes and frees memory of the card all the time",
            Self::Checkpoints => "it waits for checkpoints to be written",
            Self::Logging => "it waits for its log to be written, a little at a time",
            Self::NoProcessor => "it is ready to run and has no processor to run on",
            Self::Output => "it waits for whoever reads what it prints",
            Self::OneThread => {
                "half or more of the threads that compute wait for one of the others"
            }
            Self::SmallPieces => {
                "its threads hand over to one another more often than they compute"
            }
            Self::Sleep => "it sleeps",
            Self::UnknownWait => "it waits for something that cannot be seen from outside",
        }
    }

    /// What to change.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::SlowWorkers => remedies::SLOW_WORKERS,
            Self::SmallFiles => remedies::SMALL_FILES,
            Self::SlowStorage => remedies::SLOW_STORAGE,
            Self::Network => remedies::NETWORK,
            Self::InlinePreparation => remedies::INLINE_PREPARATION,
            Self::UnpinnedCopies => remedies::UNPINNED_COPIES,
            Self::SynchronousCopies => remedies::SYNCHRONOUS_COPIES,
            Self::Fetches => remedies::FETCHES,
            Self::Synchronization => remedies::SYNCHRONIZATION,
            Self::TinyKernels => remedies::TINY_KERNELS,
            Self::SmallBatch => remedies::SMALL_BATCH,
            Self::Allocations => remedies::ALLOCATIONS,
            Self::Checkpoints => remedies::CHECKPOINTS,
            Self::Logging => remedies::LOGGING,
            Self::NoProcessor => remedies::NO_PROCESSOR,
            Self::Output => remedies::OUTPUT,
            Self::OneThread => remedies::ONE_THREAD,
            Self::SmallPieces => remedies::SMALL_PIECES,
            Self::Sleep => remedies::SLEEP,
            Self::UnknownWait => remedies::UNKNOWN_WAIT,
        }
    }
}

/// What a cause was seen by, in numbers.
pub(super) fn seen(cause: Cause, observed: &Observed) -> String {
    let card =
        |say: &dyn Fn(&CardCounts) -> String| observed.card.as_ref().map(say).unwrap_or_default();
    match cause {
        Cause::SlowWorkers => by_workers(observed),
        Cause::SmallFiles => by_files(observed),
        Cause::SlowStorage => by_reads(observed),
        Cause::Network => held_for(observed, Held::ByNetwork, "blocked on connections"),
        Cause::InlinePreparation => card(&by_gaps),
        Cause::UnpinnedCopies => card(&|card| by_calls(card, CallKind::CopyFromPageable)),
        Cause::SynchronousCopies => card(&|card| by_calls(card, CallKind::CopyAndWait)),
        Cause::Fetches => card(&|card| by_calls(card, CallKind::Fetch)),
        Cause::Synchronization => card(&by_waits),
        Cause::TinyKernels => card(&by_kernels),
        Cause::SmallBatch => card(&by_batches),
        Cause::Allocations => {
            card(&|card| format!("{} calls took or freed memory", card.calls(CallKind::Allocate)))
        }
        Cause::Checkpoints | Cause::Logging => by_writes(cause, observed),
        Cause::NoProcessor => {
            let both = observed.lead.plus(observed.others);
            let (ran, ready) = (time(both.cpu_ns()), time(both.ready_ns));
            format!("its threads ran for {ran}, and were ready for {ready} more")
        }
        Cause::Output => held_for(observed, Held::ByOutput, "blocked in printing"),
        Cause::OneThread | Cause::SmallPieces => {
            let switches = observed.lead.switches;
            let piece = observed.lead.cpu_ns() / switches.max(1);
            format!("its threads stopped {switches} times, after {} each", time(piece))
        }
        Cause::Sleep => held_for(observed, Held::BySleep, "asleep"),
        Cause::UnknownWait => held_for(observed, Held::ByUnknown, "waiting with nobody at work"),
    }
}

fn by_workers(observed: &Observed) -> String {
    let ProcessCounts { user_ns, system_ns, .. } = observed.others;
    let used = (user_ns + system_ns) as f64 / observed.wall_ns.max(1) as f64;
    let waited = time(host::held_ns(observed, Held::ByWorkers));
    let cores = observed.cores;
    format!("waited {waited} while workers ran; other processes used {used:.1} of {cores} cores")
}

fn by_files(observed: &Observed) -> String {
    let files = observed.files;
    let both = observed.lead.plus(observed.others);
    let mean = size(files.bytes / files.count.max(1));
    let read = size(both.read_bytes / both.reads.max(1));
    format!("looks met {} different files of about {mean}; reads gave {read} each", files.count)
}

fn by_reads(observed: &Observed) -> String {
    let both = observed.lead.plus(observed.others);
    let blocked = time(host::held_ns(observed, Held::ByReading));
    let size = size(both.read_bytes / both.reads.max(1));
    format!("{blocked} blocked in reading files; {} reads of {size} each", both.reads)
}

fn held_for(observed: &Observed, held: Held, how: &str) -> String {
    format!("{} {how}", time(host::held_ns(observed, held)))
}

fn by_calls(card: &CardCounts, kind: CallKind) -> String {
    let (calls, bytes) = (card.calls(kind), card.bytes(kind));
    format!("{calls} copies of {} each", size(bytes / calls.max(1)))
}

fn by_gaps(card: &CardCounts) -> String {
    let longer = [GapLength::Medium, GapLength::Long];
    let all = longer.into_iter().flat_map(|length| GapStart::ALL.map(|start| (length, start)));
    let (count, ns) = all.fold((0u64, 0), |(count, ns), (length, start)| {
        (count.saturating_add(card.gaps(length, start)), ns + card.gap_ns(length, start))
    });
    format!("{count} gaps of {} each, in which it ran", time(ns / count.max(1)))
}

fn by_waits(card: &CardCounts) -> String {
    let waits = card.calls(CallKind::Synchronize).saturating_add(card.calls(CallKind::ReadValue));
    let start = GapStart::Synchronized;
    let (count, ns) = GapLength::ALL.into_iter().fold((0u64, 0), |(count, ns), length| {
        (count.saturating_add(card.gaps(length, start)), ns + card.gap_ns(length, start))
    });
    format!(
        "{waits} waits for {} submissions; after {count} of them the card had nothing for {}",
        card.submissions(),
        time(ns / count.max(1))
    )
}

fn by_kernels(card: &CardCounts) -> String {
    let rate = card.submissions() as f64 / (card.window_ns().max(1) as f64 / 1e9);
    format!("{rate:.0} submissions a second, of {} each", time(card.mean_ns()))
}

fn by_batches(card: &CardCounts) -> String {
    let blocks = card.mean_blocks().unwrap_or(0);
    let room = card.multiprocessors().unwrap_or(0);
    let kernel = time(card.mean_ns());
    format!("kernels of {kernel} with {blocks} blocks, on a card of {room} multiprocessors")
}

fn by_writes(cause: Cause, observed: &Observed) -> String {
    let both = observed.lead.plus(observed.others);
    let writes = both.writes;
    let mean = size(both.written_bytes / writes.max(1));
    let worst = observed.written.iter().max_by_key(|file| file.held_ns);
    let counted = format!("{writes} writes of {mean} each");
    match worst {
        Some(WrittenFile { held_ns, bytes, .. }) if cause == Cause::Checkpoints => {
            let (held, bytes) = (time(*held_ns), size(*bytes));
            format!("{counted}; {held} for one file of {bytes} or more")
        }
        Some(WrittenFile { held_ns, .. }) => {
            format!("{counted}; {} for one file", time(*held_ns))
        }
        None => counted,
    }
}

/// A time in the unit that suits it.
pub(crate) fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{:.1} us", ns as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

/// An amount of memory in the unit that suits it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
