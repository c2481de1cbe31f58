//! A slice's folder, written as a pool writes it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cotenant_types::limits::{
    CardLimit, LIMITS_FILE, LimitPage, LimitWord, Neighbours, OnFailure, ShownProcesses,
    USAGE_FILE, UsageLayout,
};
use cotenant_types::{Bytes, Policy, Share, Span};

/// What a slice may have of the card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) memory: Option<u64>,
    pub(crate) policy: Policy,
    /// Thousandths.
    pub(crate) request: u32,
    /// Thousandths.
    pub(crate) limit: u32,
    pub(crate) neighbours: Neighbours,
    pub(crate) hold_until_ns: u64,
    /// Busy time that the driver saw, and when.
    pub(crate) seen: (u64, u64),
}

impl Limits {
    /// Memory alone.
    pub(crate) fn memory(bytes: u64) -> Self {
        Self { memory: Some(bytes), ..Self::fixed(1000) }
    }

    /// A share that is neither more nor less.
    pub(crate) fn fixed(milli: u32) -> Self {
        Self {
            memory: None,
            policy: Policy::Fixed,
            request: milli,
            limit: milli,
            neighbours: Neighbours::default(),
            hold_until_ns: 0,
            seen: (0, 0),
        }
    }

    /// A share that is kept, and idle time besides.
    pub(crate) fn burst(milli: u32) -> Self {
        Self { policy: Policy::Burst, limit: 1000, ..Self::fixed(milli) }
    }

    /// The same beside one other slice that wants so much.
    pub(crate) fn beside(self, others_milli: u32) -> Self {
        let neighbours =
            Neighbours { count: 1, active_milli: others_milli, ..Neighbours::default() };
        Self { neighbours, ..self }
    }
}

/// The slice, for as long as its folder stands.
#[derive(Debug)]
pub(crate) struct Slice {
    folder: PathBuf,
    uuid: [u8; 16],
    loosen_percent: u64,
    sequence: u64,
    pub(crate) limits: Limits,
}

impl Slice {
    /// Makes the folder of a slice, whose pages give so much more than the limits say.
    pub(crate) fn create(
        folder: PathBuf,
        uuid: [u8; 16],
        limits: Limits,
        loosen_percent: u64,
    ) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        File::create(folder.join(USAGE_FILE))?.set_len(UsageLayout::BYTES as u64)?;
        File::create(folder.join(LIMITS_FILE))?.set_len(LimitWord::COUNT as u64 * 8)?;
        let mut slice = Self { folder, uuid, loosen_percent, sequence: 0, limits };
        slice.write()?;
        Ok(slice)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Changes the limits while programs run.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Limits)) -> Result<(), String> {
        change(&mut self.limits);
        self.write().map_err(|error| format!("write a limit page: {error}"))
    }

    fn write(&mut self) -> io::Result<()> {
        self.sequence += 2;
        let file = OpenOptions::new().write(true).open(self.folder.join(LIMITS_FILE))?;
        let words = self.page().to_words(self.sequence);
        let put =
            |word: usize, value: u64| file.write_all_at(&value.to_ne_bytes(), word as u64 * 8);
        put(LimitWord::SEQUENCE, self.sequence - 1)?;
        for (word, value) in words.iter().enumerate() {
            if word != LimitWord::SEQUENCE {
                put(word, *value)?;
            }
        }
        // Nobody is woken: whoever waits looks again within 5 ms.
        put(LimitWord::SEQUENCE, self.sequence)
    }

    fn page(&self) -> LimitPage {
        let more = |value: u64| value.saturating_mul(100 + self.loosen_percent) / 100;
        let share = |milli: u32| {
            let milli = more(u64::from(milli)).min(1000) as u32;
            Share::from_per_mille(milli).expect("it is 1000 at most")
        };
        let limits = &self.limits;
        let card = CardLimit {
            uuid: self.uuid,
            memory: limits.memory.map(|bytes| Bytes(more(bytes))),
            overhead: Bytes(0),
            policy: limits.policy,
            compute: Span { request: share(limits.request), limit: share(limits.limit) },
            neighbours: limits.neighbours,
            hold_until_ns: if self.loosen_percent == 0 { limits.hold_until_ns } else { 0 },
            seen_busy_ns: limits.seen.0,
            seen_at_ns: limits.seen.1,
        };
        LimitPage { on_failure: OnFailure::Refuse, shown: ShownProcesses::Own, cards: vec![card] }
    }
}
