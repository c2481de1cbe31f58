//! All that was seen of a program, as counts: what a diagnosis is made from.

use std::collections::BTreeMap;

use crate::card::CardCounts;
use crate::held::Held;

/// All that was seen of a program.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// How long it was looked at.
    pub wall_ns: u64,
    /// How often.
    pub looks: u64,
    /// Processors that it may use.
    pub cores: u32,
    /// What it was held up by, in time. With a card, only while the card had nothing to do and no
    /// call to its driver was under way.
    pub held: BTreeMap<Held, u64>,
    /// What it asked of its card.
    pub card: Option<CardCounts>,
    /// The process that does the work.
    pub lead: ProcessCounts,
    /// All others of the program together.
    pub others: ProcessCounts,
    /// Files that were seen being read.
    pub files: FilesRead,
    /// Files that the program was seen waiting to write.
    pub written: Vec<WrittenFile>,
    /// What could not be seen, and what else a reader should know.
    pub notes: Vec<Note>,
}

/// What processes used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCounts {
    /// Processor time in their own code.
    pub user_ns: u64,
    /// Processor time in the system, on their behalf.
    pub system_ns: u64,
    /// Time in which threads were ready to run and had no processor.
    pub ready_ns: u64,
    /// Calls that read.
    pub reads: u64,
    /// What those gave.
    pub read_bytes: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// What those took.
    pub written_bytes: u64,
    /// How often threads stopped by themselves, to wait for something.
    pub switches: u64,
}

/// Files that were seen being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesRead {
    /// Different ones.
    pub count: u64,
    /// How far in they were seen read, at most, all together.
    pub bytes: u64,
}

/// A file that the program was seen waiting to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenFile {
    /// Where.
    pub path: String,
    /// How long it waited.
    pub held_ns: u64,
    /// How far in it was seen written.
    pub bytes: u64,
    /// Whether everything goes to its end, as a log's lines do.
    pub is_appended: bool,
}

/// What a reader should know beside the findings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The preload library was not found, so that no calls to a driver were seen.
    NoLibrary(String),
    /// A process that uses a driver did not load the library.
    CardUnseen {
        /// The process.
        pid: u32,
    },
    /// What some processes do could not be looked at.
    Denied {
        /// How many.
        processes: u64,
    },
    /// There were more threads or processes than are looked at.
    TooMany,
    /// Several processes use cards, and the busiest was looked at.
    SeveralUseCards {
        /// How many.
        processes: u64,
    },
    /// It ended before much was seen.
    Brief,
}

impl ProcessCounts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            user_ns: self.user_ns + other.user_ns,
            system_ns: self.system_ns + other.system_ns,
            ready_ns: self.ready_ns + other.ready_ns,
            reads: self.reads + other.reads,
            read_bytes: self.read_bytes + other.read_bytes,
            writes: self.writes + other.writes,
            written_bytes: self.written_bytes + other.written_bytes,
            switches: self.switches + other.switches,
        }
    }

    /// What came since an earlier count.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
            ready_ns: self.ready_ns.saturating_sub(before.ready_ns),
            reads: self.reads.saturating_sub(before.reads),
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
            writes: self.writes.saturating_sub(before.writes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
            switches: self.switches.saturating_sub(before.switches),
        }
    }

    /// Processor time.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }
}

impl FilesRead {
    /// Whether these are many files of which each is small.
    #[must_use]
    pub fn are_many_and_small(&self) -> bool {
        const COUNT_MIN: u64 = 8;
        const BYTES_MAX: u64 = 256 << 10;
        self.count >= COUNT_MIN && self.bytes / self.count <= BYTES_MAX
    }
}
