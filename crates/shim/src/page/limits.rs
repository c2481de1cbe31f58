//! The limit page: read as a whole, while its writer may be at work.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use cotenant_types::limits::{
    CARDS_MAX, CardLimit, LimitPage, LimitPageError, LimitWord, OnFailure, ShownProcesses,
};

/// Looks that are worth taking at a page that is being written.
const LOOKS: usize = 64;

/// A limit page as its owner last wrote it; of fixed size, so that reading allocates nothing.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The sequence number that it was read with.
    pub sequence: u64,
    /// What happens when the library cannot do its work.
    pub on_failure: OnFailure,
    /// Which processes a program may see.
    pub shown: ShownProcesses,
    /// How many of [`Self::cards`] there are.
    pub count: usize,
    /// The cards, those in use first.
    pub cards: [Option<CardLimit>; CARDS_MAX],
}

/// Reads a limit page.
#[derive(Clone, Copy, Debug)]
pub struct LimitReader<'a> {
    words: &'a [AtomicU64],
}

impl Facts {
    /// No cards, so no limits.
    pub const NONE: Self = Self {
        sequence: 0,
        on_failure: OnFailure::PassThrough,
        shown: ShownProcesses::All,
        count: 0,
        cards: [None; CARDS_MAX],
    };
}

impl<'a> LimitReader<'a> {
    /// A page of these words, whatever they hold; at least [`LimitWord::COUNT`].
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() >= LimitWord::COUNT).then_some(Self { words })
    }

    /// The number that changes with every write.
    pub fn sequence(self) -> u64 {
        self.words[LimitWord::SEQUENCE].load(Ordering::Acquire)
    }

    /// The word whose low half processes wait on.
    pub fn sequence_word(self) -> &'a AtomicU64 {
        &self.words[LimitWord::SEQUENCE]
    }

    /// The page as a whole: never half of one write and half of another.
    pub fn read(self) -> Result<Facts, LimitPageError> {
        let mut last = LimitPageError::Unfinished;
        for look in 0..LOOKS {
            match self.look() {
                Ok(facts) => return Ok(facts),
                Err(error @ (LimitPageError::Unfinished | LimitPageError::Checksum)) => {
                    last = error;
                }
                Err(error) => return Err(error),
            }
            if look > 4 {
                std::thread::yield_now();
            }
        }
        Err(last)
    }

    fn look(self) -> Result<Facts, LimitPageError> {
        let mut words = [0; LimitWord::COUNT];
        let before = self.sequence();
        for (copy, word) in words.iter_mut().zip(self.words) {
            *copy = word.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        if self.words[LimitWord::SEQUENCE].load(Ordering::Relaxed) != before {
            return Err(LimitPageError::Unfinished);
        }
        words[LimitWord::SEQUENCE] = before;
        let count = LimitPage::check(&words)?;
        let (on_failure, shown) = LimitPage::policies(&words)?;
        let mut cards = [None; CARDS_MAX];
        for (index, card) in cards.iter_mut().enumerate().take(count) {
            *card = Some(LimitPage::card(&words, index)?);
        }
        Ok(Facts { sequence: before, on_failure, shown, count, cards })
    }
}
