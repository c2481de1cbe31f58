//! The two pages by which a pool and the preload library speak, as the pool keeps them.
//!
//! The pool writes what a slice may have, and reads what its processes say that they use. What is
//! read was written by tenants and is worth no more than their word.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cotenant_types::Bytes;
use cotenant_types::limits::{
    CARDS_MAX, CardWord, HeaderWord, LIMITS_FILE, LimitPage, LimitWord, SlotWord, USAGE_FILE,
    UsageLayout,
};
use thiserror::Error;

/// A slice's pages, in a folder that its programs are told of.
#[derive(Debug)]
pub struct SlicePages {
    folder: PathBuf,
    limits: File,
    usage: File,
    sequence: u64,
}

/// What a slice's processes say of one card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceUsage {
    /// Memory that they hold.
    pub held: Bytes,
    /// The most that they held at once.
    pub peak: Bytes,
    /// Allocations that the limit refused, ever.
    pub refused: u64,
    /// Compute time that they were charged, ever.
    pub charged_ns: u64,
    /// Kernels and graphs that they submitted, ever.
    pub submissions: u64,
    /// Time that they were kept waiting, ever.
    pub waited_ns: u64,
    /// Submissions of kinds of which nothing was known that were charged without measuring, ever.
    pub unmeasured: u64,
    /// Processes that the library counts, whichever card they use.
    pub processes: u32,
    /// Functions that programs looked up and the library does not know, ever, whichever the card.
    pub unknown_symbols: u64,
    /// Calls that it could not do its work for, ever, whichever the card.
    pub failures: u64,
}

/// A slice's pages could not be made, written or read.
#[derive(Debug, Error)]
pub enum SlicePagesError {
    /// The system refused.
    #[error("failed to {deed} {path}")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More cards than a page has room for.
    #[error("failed to write limits for {0} cards: a slice has at most {most}", most = CARDS_MAX)]
    Cards(usize),
}

impl SlicePages {
    /// Makes the pages of a slice in a folder, or takes up those that are there.
    ///
    /// # Errors
    /// If the folder cannot be written, or the page names too many cards.
    pub fn create(folder: &Path, page: &LimitPage) -> Result<Self, SlicePagesError> {
        let failed = |deed, path: &Path| {
            let path = path.to_owned();
            move |source| SlicePagesError::Io { deed, path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
        let open = |name: &str, words: usize| {
            let path = folder.join(name);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&path).map_err(failed("open", &path))?;
            file.set_len(words as u64 * 8).map_err(failed("size", &path))?;
            Ok::<File, SlicePagesError>(file)
        };
        let usage = open(USAGE_FILE, UsageLayout::COUNT)?;
        let limits = open(LIMITS_FILE, LimitWord::COUNT)?;
        let mut pages = Self { folder: folder.to_owned(), limits, usage, sequence: 0 };
        // A pool that died while it wrote left an odd number.
        pages.sequence = pages.read(&pages.limits, LimitWord::SEQUENCE)? & !1;
        pages.write(page)?;
        Ok(pages)
    }

    /// Writes new limits over the old ones. Programs never see half of each: they look again while
    /// the sequence number is odd, and check the sum.
    ///
    /// # Errors
    /// If the file cannot be written, or the page names too many cards.
    pub fn write(&mut self, page: &LimitPage) -> Result<(), SlicePagesError> {
        if page.cards.len() > CARDS_MAX {
            return Err(SlicePagesError::Cards(page.cards.len()));
        }
        let next = self.sequence.wrapping_add(2);
        let words = page.to_words(next);
        self.put(LimitWord::SEQUENCE, &[next - 1])?;
        self.put(0, &words[..LimitWord::SEQUENCE])?;
        self.put(LimitWord::SEQUENCE + 1, &words[LimitWord::SEQUENCE + 1..])?;
        self.put(LimitWord::SEQUENCE, &[next])?;
        self.sequence = next;
        Ok(())
    }

    /// What the slice's processes say of a card, by its place on the page.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn usage(&self, card: usize) -> Result<SliceUsage, SlicePagesError> {
        let card = card.min(CARDS_MAX - 1);
        let word = |word: usize| self.read(&self.usage, UsageLayout::card(card, word));
        let (held, processes) = self.held(card)?;
        Ok(SliceUsage {
            held: Bytes(held),
            processes,
            peak: Bytes(word(CardWord::PEAK_BYTES)?),
            refused: word(CardWord::REFUSED)?,
            charged_ns: word(CardWord::CHARGED_NS)?,
            submissions: word(CardWord::SUBMISSIONS)?,
            waited_ns: word(CardWord::WAITED_NS)?,
            unmeasured: word(CardWord::UNMEASURED)?,
            unknown_symbols: self.read(&self.usage, HeaderWord::UNKNOWN_SYMBOLS)?,
            failures: self.read(&self.usage, HeaderWord::FAILURES)?,
        })
    }

    /// When a process of the slice last submitted to a card or wished to, on the machine's steady
    /// clock; 0 for never.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn wanted_at_ns(&self, card: usize) -> Result<u64, SlicePagesError> {
        let card = card.min(CARDS_MAX - 1);
        self.read(&self.usage, UsageLayout::card(card, CardWord::WANTED_AT_NS))
    }

    /// What is held of a card, and by how many processes.
    fn held(&self, card: usize) -> Result<(u64, u32), SlicePagesError> {
        let used = self.read(&self.usage, HeaderWord::SLOTS_USED)?;
        let used = usize::try_from(used).unwrap_or(usize::MAX).min(UsageLayout::SLOTS_MAX);
        let (mut sum, mut processes) = (0u64, 0);
        for slot in 0..used {
            let word = |word: usize| self.read(&self.usage, UsageLayout::slot(slot, word));
            // A slot whose owner is still moving in holds nothing.
            let owner = word(SlotWord::OWNER)?;
            if owner != 0 && owner >> 63 == 0 {
                sum = sum.saturating_add(word(SlotWord::HELD + card)?);
                processes += 1;
            }
        }
        Ok((sum, processes))
    }

    fn put(&self, first: usize, words: &[u64]) -> Result<(), SlicePagesError> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let written = self.limits.write_all_at(&bytes, first as u64 * 8);
        written.map_err(|source| self.failed("write", LIMITS_FILE, source))
    }

    fn read(&self, file: &File, word: usize) -> Result<u64, SlicePagesError> {
        let mut bytes = [0; 8];
        let read = file.read_exact_at(&mut bytes, word as u64 * 8);
        read.map_err(|source| self.failed("read", "a page of the slice in", source))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn failed(&self, deed: &'static str, name: &str, source: io::Error) -> SlicePagesError {
        SlicePagesError::Io { deed, path: self.folder.join(name), source }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use cotenant_types::limits::{
        CardLimit, LimitPageError, Neighbours, OnFailure, ShownProcesses,
    };
    use cotenant_types::{Policy, Share, Span};

    use super::*;

    fn page(cards: usize, memory: u64) -> LimitPage {
        let card = CardLimit {
            uuid: [7; 16],
            memory: Some(Bytes(memory)),
            overhead: Bytes(memory),
            policy: Policy::Burst,
            compute: Span { request: Share::ZERO, limit: Share::WHOLE },
            neighbours: Neighbours::default(),
            hold_until_ns: memory,
            seen_busy_ns: memory,
            seen_at_ns: memory,
        };
        LimitPage {
            on_failure: OnFailure::Refuse,
            shown: ShownProcesses::Own,
            cards: vec![card; cards],
        }
    }

    fn written(folder: &Path) -> Result<LimitPage, LimitPageError> {
        let bytes = std::fs::read(folder.join(LIMITS_FILE)).unwrap();
        let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
        LimitPage::from_words(&words.collect::<Vec<u64>>())
    }

    #[test]
    fn limits_are_written_over_and_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut pages = SlicePages::create(folder.path(), &page(2, 5)).unwrap();
        assert_eq!(written(folder.path()), Ok(page(2, 5)));
        pages.write(&page(64, 6)).unwrap();
        assert_eq!(written(folder.path()), Ok(page(64, 6)));
        let error = pages.write(&page(65, 6)).unwrap_err().to_string();
        assert_eq!(error, "failed to write limits for 65 cards: a slice has at most 64");
        // A pool that was killed between two writes.
        pages.put(LimitWord::SEQUENCE, &[pages.sequence + 1]).unwrap();
        assert_eq!(written(folder.path()), Err(LimitPageError::Unfinished));
        let again = SlicePages::create(folder.path(), &page(1, 7)).unwrap();
        assert!(again.sequence > pages.sequence, "who waits for a change sees one");
        assert_eq!(written(folder.path()), Ok(page(1, 7)));
    }

    /// Every reading while another thread writes is a whole page or none.
    #[test]
    fn a_reader_never_sees_half_of_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let mut pages = SlicePages::create(folder.path(), &page(8, 0)).unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for memory in 1..2000 {
                    pages.write(&page(8, memory)).unwrap();
                }
                is_done.store(true, Ordering::SeqCst);
            });
            let mut last = 0;
            while !is_done.load(Ordering::SeqCst) {
                match written(folder.path()) {
                    Ok(read) => {
                        let memory = read.cards[0].hold_until_ns;
                        assert!(memory >= last, "pages do not go back");
                        assert_eq!(read, page(8, memory));
                        last = memory;
                    }
                    Err(LimitPageError::Unfinished | LimitPageError::Checksum) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }

    #[test]
    fn what_processes_say_is_added_up_and_never_believed_to_fit() {
        let folder = tempfile::tempdir().unwrap();
        let pages = SlicePages::create(folder.path(), &page(1, 0)).unwrap();
        assert_eq!(pages.usage(0).unwrap(), SliceUsage::default());
        let put = |word: usize, value: u64| {
            pages.usage.write_all_at(&value.to_ne_bytes(), word as u64 * 8).unwrap();
        };
        put(HeaderWord::SLOTS_USED, u64::MAX);
        for (slot, owner, held) in [(0, 5, 100), (3, 6, 20), (4, 0, 999), (5, 1 << 63 | 7, 999)] {
            put(UsageLayout::slot(slot, SlotWord::OWNER), owner);
            put(UsageLayout::slot(slot, SlotWord::HELD), held);
        }
        put(UsageLayout::card(0, CardWord::CHARGED_NS), 77);
        put(UsageLayout::card(0, CardWord::UNMEASURED), 3);
        put(HeaderWord::UNKNOWN_SYMBOLS, 4);
        put(HeaderWord::FAILURES, 5);
        let usage = pages.usage(0).unwrap();
        assert_eq!((usage.held, usage.processes, usage.charged_ns), (Bytes(120), 2, 77));
        assert_eq!((usage.unmeasured, usage.unknown_symbols, usage.failures), (3, 4, 5));
        put(UsageLayout::slot(0, SlotWord::HELD), u64::MAX);
        assert_eq!(pages.usage(0).unwrap().held, Bytes(u64::MAX));
    }
}
