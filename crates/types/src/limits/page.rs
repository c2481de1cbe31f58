//! What a limit page says, and its form in words.

use thiserror::Error;

use super::seal::checksum;
use super::{CARDS_MAX, LimitWord};
use crate::{Bytes, Policy, Share, Span};

/// What a pool tells the processes of one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitPage {
    /// What happens when the library cannot do its work.
    pub on_failure: OnFailure,
    /// Which processes a program may see on its cards.
    pub shown: ShownProcesses,
    /// The slice's part of each card; at most [`CARDS_MAX`]. A card keeps its place for as long as
    /// the slice lives, since the usage page counts by place.
    pub cards: Vec<CardLimit>,
}

/// What a slice may have of one card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardLimit {
    /// The card's or its partition's own number, as its driver gives it.
    pub uuid: [u8; 16],
    /// Memory that the slice may reach; without one it is only counted.
    pub memory: Option<Bytes>,
    /// Memory that the driver says the slice has beyond what its processes asked for: contexts,
    /// code, workspaces. It counts against the limit.
    pub overhead: Bytes,
    /// What the compute shares mean.
    pub policy: Policy,
    /// Compute that is kept for the slice, and what it may reach.
    pub compute: Span<Share>,
    /// What others on the card do.
    pub neighbours: Neighbours,
    /// Until this time of the machine's steady clock nothing more is submitted, in favour of an
    /// online neighbour; 0 for never. It ends by itself, so a pool that dies holds nobody.
    pub hold_until_ns: u64,
    /// Compute time that the driver has seen the slice use, ever; 0 if nobody looks.
    pub seen_busy_ns: u64,
    /// When it was seen, on the machine's steady clock.
    pub seen_at_ns: u64,
}

/// The other slices of a card, as far as they matter to this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// How many there are, idle ones too.
    pub count: u32,
    /// The requests of those that want compute now, in thousandths; their sum may pass the whole.
    pub active_milli: u32,
    /// Of those, the requests of those that would take idle time as well.
    pub elastic_milli: u32,
}

/// What happens when the library cannot do its work: no room in the usage page, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The program goes on without limits, and that is counted.
    #[default]
    PassThrough,
    /// The call fails as the driver's own would.
    Refuse,
}

/// Which processes a program may see on its cards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShownProcesses {
    /// Those of its slice.
    #[default]
    Own,
    /// Whatever the driver shows.
    All,
}

/// Why words are not a limit page.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LimitPageError {
    /// Not a page, or of another machine's word order.
    #[error("it does not begin as a limit page does")]
    Magic,
    /// Written by another version.
    #[error("its version is {0}, and this library reads {known}", known = LimitWord::VERSION_VALUE)]
    Version(u64),
    /// Being written; look again.
    #[error("it is being written")]
    Unfinished,
    /// Fewer words than it says it has.
    #[error("it ends after {0} words")]
    Short(usize),
    /// More cards than a slice may have.
    #[error("it names {0} cards, and a slice has at most {most}", most = CARDS_MAX)]
    Cards(u64),
    /// Torn or damaged.
    #[error("its checksum is wrong")]
    Checksum,
    /// A word that means nothing.
    #[error("word {word} is {value}, which means nothing there")]
    Value {
        /// The word's number.
        word: usize,
        /// What it holds.
        value: u64,
    },
}

impl LimitPage {
    /// The page in words, its sequence number included, which must be even.
    ///
    /// Whoever writes it over another first makes the sequence number odd, then writes all other
    /// words, then the new number.
    pub fn to_words(&self, sequence: u64) -> Vec<u64> {
        let mut words = vec![0; LimitWord::used(self.cards.len())];
        words[LimitWord::MAGIC] = LimitWord::MAGIC_VALUE;
        words[LimitWord::VERSION] = LimitWord::VERSION_VALUE;
        words[LimitWord::SEQUENCE] = sequence;
        words[LimitWord::CARDS] = self.cards.len() as u64;
        words[LimitWord::ON_FAILURE] = match self.on_failure {
            OnFailure::PassThrough => 0,
            OnFailure::Refuse => 1,
        };
        words[LimitWord::SHOWN] = match self.shown {
            ShownProcesses::Own => 0,
            ShownProcesses::All => 1,
        };
        for (index, card) in self.cards.iter().enumerate() {
            let first = LimitWord::used(index);
            words[first..first + LimitWord::CARD_STRIDE].copy_from_slice(&card.to_words());
        }
        words[LimitWord::CHECKSUM] = checksum(&words[LimitWord::CARDS..]);
        words
    }

    /// Reads words that were copied from a page.
    pub fn from_words(words: &[u64]) -> Result<Self, LimitPageError> {
        let cards = Self::check(words)?;
        let (on_failure, shown) = Self::policies(words)?;
        let cards =
            (0..cards).map(|index| Self::card(words, index)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { on_failure, shown, cards })
    }

    /// The number of cards of a page whose head and checksum are right.
    pub fn check(words: &[u64]) -> Result<usize, LimitPageError> {
        if words.len() < LimitWord::CARD_FIRST {
            return Err(LimitPageError::Short(words.len()));
        }
        if words[LimitWord::MAGIC] != LimitWord::MAGIC_VALUE {
            return Err(LimitPageError::Magic);
        }
        if words[LimitWord::VERSION] != LimitWord::VERSION_VALUE {
            return Err(LimitPageError::Version(words[LimitWord::VERSION]));
        }
        if !words[LimitWord::SEQUENCE].is_multiple_of(2) {
            return Err(LimitPageError::Unfinished);
        }
        let cards = words[LimitWord::CARDS];
        let count = usize::try_from(cards).ok().filter(|count| *count <= CARDS_MAX);
        let count = count.ok_or(LimitPageError::Cards(cards))?;
        let body = words.get(LimitWord::CARDS..LimitWord::used(count));
        let body = body.ok_or(LimitPageError::Short(words.len()))?;
        if checksum(body) != words[LimitWord::CHECKSUM] {
            return Err(LimitPageError::Checksum);
        }
        Ok(count)
    }

    /// The policies of a page that [`Self::check`] found right.
    pub fn policies(words: &[u64]) -> Result<(OnFailure, ShownProcesses), LimitPageError> {
        let bad = |word: usize| LimitPageError::Value { word, value: words[word] };
        let on_failure = match words[LimitWord::ON_FAILURE] {
            0 => OnFailure::PassThrough,
            1 => OnFailure::Refuse,
            _ => return Err(bad(LimitWord::ON_FAILURE)),
        };
        let shown = match words[LimitWord::SHOWN] {
            0 => ShownProcesses::Own,
            1 => ShownProcesses::All,
            _ => return Err(bad(LimitWord::SHOWN)),
        };
        Ok((on_failure, shown))
    }

    /// One card of a page that [`Self::check`] found right; it allocates nothing.
    pub fn card(words: &[u64], index: usize) -> Result<CardLimit, LimitPageError> {
        let first = LimitWord::used(index);
        let card = words.get(first..first + LimitWord::CARD_STRIDE);
        CardLimit::from_words(card.ok_or(LimitPageError::Short(words.len()))?, first)
    }
}

impl CardLimit {
    fn to_words(self) -> [u64; LimitWord::CARD_STRIDE] {
        let (high, low) = self.uuid.split_at(8);
        let half = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let policy = match self.policy {
            Policy::Fixed => 0,
            Policy::Burst => 1,
            Policy::Contend => 2,
        };
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        [
            half(high),
            half(low),
            u64::from(self.memory.is_some()),
            self.memory.map_or(0, |memory| memory.0),
            self.overhead.0,
            policy,
            pair(self.compute.request.per_mille(), self.compute.limit.per_mille()),
            u64::from(self.neighbours.count),
            pair(self.neighbours.active_milli, self.neighbours.elastic_milli),
            self.hold_until_ns,
            self.seen_busy_ns,
            self.seen_at_ns,
            0,
            0,
            0,
            0,
        ]
    }

    /// `first` is the number of the card's first word, for the error.
    fn from_words(words: &[u64], first: usize) -> Result<Self, LimitPageError> {
        let bad = |at: usize| LimitPageError::Value { word: first + at, value: words[at] };
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&words[0].to_be_bytes());
        uuid[8..].copy_from_slice(&words[1].to_be_bytes());
        let memory = match words[2] {
            0 => None,
            1 => Some(Bytes(words[3])),
            _ => return Err(bad(2)),
        };
        let policy = match words[5] {
            0 => Policy::Fixed,
            1 => Policy::Burst,
            2 => Policy::Contend,
            _ => return Err(bad(5)),
        };
        let share = |milli: u64| Share::from_per_mille(milli as u32).map_err(|_| bad(6));
        let compute =
            Span { request: share(words[6] >> 32)?, limit: share(words[6] & 0xffff_ffff)? };
        Ok(Self {
            uuid,
            memory,
            overhead: Bytes(words[4]),
            policy,
            compute,
            neighbours: Neighbours {
                count: u32::try_from(words[7]).map_err(|_| bad(7))?,
                active_milli: (words[8] >> 32) as u32,
                elastic_milli: words[8] as u32,
            },
            hold_until_ns: words[9],
            seen_busy_ns: words[10],
            seen_at_ns: words[11],
        })
    }
}
