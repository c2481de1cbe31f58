//! A place within one term's list, that only moves forward.
//!
//! A block is read in stages, each only when it is needed: its meta, its documents, its
//! frequencies, its weights.

use super::list::{Block, List, Place, SHARE_ONE};
use super::options::Discount;
use super::packing::BLOCK;

/// Documents that are scored together; their sums fit in the first-level cache.
pub(super) const WINDOW: usize = 4096;

/// Documents of a block that are compared at once, when one of them is looked for.
const RUN: usize = 16;

/// Lengths of a part's documents in terms.
#[derive(Clone, Copy)]
pub(super) enum Lengths<'a> {
    /// In memory.
    Plain(&'a [u32]),
    /// Four bytes each, the lowest first.
    Bytes(&'a [u8]),
}

impl Lengths<'_> {
    /// A document's length; 0 for one that is not there.
    #[inline(always)]
    pub(super) fn of(&self, document: u32) -> u32 {
        match self {
            Self::Plain(lengths) => lengths.get(document as usize).copied().unwrap_or(0),
            Self::Bytes(bytes) => word(bytes, document as usize).unwrap_or(0),
        }
    }
}

/// The `at`-th number of four bytes, the lowest first.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.as_chunks::<4>().0.get(at).map(|bytes| u32::from_le_bytes(*bytes))
}

/// How the weights of a term are computed.
#[derive(Clone, Copy)]
pub(super) struct Weighing<'a> {
    /// What a share of 1 weighs, in units of the query's scale.
    pub whole: f32,
    pub discount: Discount,
    pub lengths: Lengths<'a>,
    /// What the shares of metas are to be multiplied with; see [`super::list`].
    pub stretch: f32,
}

/// Weights are whole numbers below this, so that sums do not depend on their order.
pub(super) const WEIGHT_MAX: u32 = 1 << 23;

impl Weighing<'_> {
    /// For cursors that are asked for documents only.
    pub(super) const NONE: Self =
        Self { whole: 0.0, discount: Discount::NONE, lengths: Lengths::Plain(&[]), stretch: 1.0 };

    /// The weight of one document.
    #[inline(always)]
    fn weight(&self, frequency: u32, length: u32) -> u32 {
        let share = self.discount.share(frequency as f32, length as f32);
        let weight = self.whole * share;
        // A document that was touched has a sum. (`max` would mind what is no number, at a cost.)
        rounded(if weight > 1.0 { weight } else { 1.0 })
    }

    /// At least the weight of every document whose share is at most the meta's.
    #[inline]
    fn bound(&self, share: u16) -> u32 {
        let share = (f32::from(share) / f32::from(SHARE_ONE) * self.stretch).min(1.0);
        // A part in a million is more than rounding can be off.
        (self.whole * share * 1.000_001) as u32 + 2
    }
}

/// The nearest whole number of one below [`WEIGHT_MAX`]: at 2^23 a float has no fraction any more, so
/// that adding it rounds, and the low bits are the number. Unlike a cast this runs in lanes.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    (value + 8_388_608.0).to_bits() & 0x7f_ffff
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    Meta,
    Documents,
    Frequencies,
    Weights,
}

/// One term's list while it is searched.
pub(super) struct Cursor<'a> {
    list: List<'a>,
    weighing: Weighing<'a>,
    /// The block that the cursor is in; nothing behind the last one.
    place: Option<Place>,
    /// No document of that block is below the one or above the other; [`NONE`] behind the last one.
    first: u32,
    last: u32,
    /// At least the weight of each document of that block.
    block_bound: u32,
    stage: Stage,
    block: Box<Block>,
    weights: Box<[u32; BLOCK]>,
    /// Documents of the block before this were passed.
    at: usize,
    /// Postings that were read, in whole blocks.
    pub read: u64,
}

/// A document that no list has.
const NONE: u32 = u32::MAX;

impl<'a> Cursor<'a> {
    pub(super) fn new(list: List<'a>, weighing: Weighing<'a>) -> Self {
        let mut cursor = Self {
            list,
            weighing,
            place: None,
            first: NONE,
            last: NONE,
            block_bound: 0,
            stage: Stage::Meta,
            block: Box::new(Block::new()),
            weights: Box::new([0; BLOCK]),
            at: 0,
            read: 0,
        };
        cursor.go_to(list.first());
        cursor
    }

    /// Number of documents of the whole list.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    fn go_to(&mut self, place: Option<Place>) {
        self.place = place;
        self.first = place.map_or(NONE, |place| place.base.wrapping_add(1));
        self.last = place.map_or(NONE, |place| place.meta.last);
        self.block_bound = place.map_or(0, |place| self.weighing.bound(place.meta.share));
        self.stage = Stage::Meta;
        self.at = 0;
    }

    /// Passes all documents before `document`, reading no more than metas unless the block is open.
    #[inline(always)]
    fn pass_blocks(&mut self, document: u32) {
        if self.last < document {
            self.go_to(self.place.and_then(|place| self.list.place_from(place, document)));
        }
    }

    /// Reads the block up to a stage. Bytes that cannot be read end the list.
    #[inline(always)]
    fn open(&mut self, stage: Stage) -> Option<()> {
        if self.stage >= stage {
            return Some(());
        }
        let read = self.read_block(stage);
        if read.is_none() {
            self.go_to(None);
        }
        read
    }

    fn read_block(&mut self, stage: Stage) -> Option<()> {
        let place = self.place?;
        if self.stage < Stage::Documents {
            self.list.documents(place, &mut self.block)?;
            self.read += self.block.len as u64;
            self.stage = Stage::Documents;
        }
        if self.stage < Stage::Frequencies && stage >= Stage::Frequencies {
            self.list.frequencies(place, &mut self.block)?;
            self.stage = Stage::Frequencies;
        }
        if stage == Stage::Weights {
            match self.weighing.lengths {
                Lengths::Plain(lengths) => {
                    self.weigh(|document| lengths.get(document as usize).copied().unwrap_or(0));
                }
                Lengths::Bytes(bytes) => {
                    let (lengths, _) = bytes.as_chunks::<4>();
                    self.weigh(|document| {
                        lengths
                            .get(document as usize)
                            .map_or(0, |length| u32::from_le_bytes(*length))
                    });
                }
            }
            self.stage = Stage::Weights;
        }
        Some(())
    }

    #[inline(always)]
    fn weigh(&mut self, length: impl Fn(u32) -> u32) {
        // Lengths come from all over memory and weights are arithmetic in lanes: two loops.
        let mut lengths = [0; BLOCK];
        for (out, &document) in lengths.iter_mut().zip(&self.block.documents) {
            *out = length(document);
        }
        let weighing = self.weighing;
        let frequencies = self.block.frequencies.iter().zip(&lengths);
        for (weight, (&frequency, &length)) in self.weights.iter_mut().zip(frequencies) {
            *weight = weighing.weight(frequency, length);
        }
    }

    /// At least the weight of each document in the window; 0 if surely none is there.
    pub(super) fn bound(&mut self, start: u32, end: u32) -> u32 {
        self.pass_blocks(start);
        if self.stage >= Stage::Documents {
            self.pass_documents(start);
            if self.at < self.block.len && self.block.documents[self.at] >= end {
                return 0;
            }
        }
        match self.place {
            Some(_) if self.first >= end => 0,
            Some(_) if self.last >= end - 1 => self.block_bound,
            Some(place) => self.weighing.bound(self.list.share_until(place, end)),
            None => 0,
        }
    }

    #[inline]
    fn pass_documents(&mut self, document: u32) {
        let rest = &self.block.documents[..self.block.len];
        while self.at < rest.len() && rest[self.at] < document {
            self.at += 1;
        }
    }

    /// Calls `take` with the documents of the window and their weights, some at a time.
    #[inline(always)]
    pub(super) fn each_in(&mut self, window: (u32, u32), mut take: impl FnMut(&[u32], &[u32])) {
        let (start, end) = window;
        self.pass_blocks(start);
        while self.first < end && self.open(Stage::Weights).is_some() {
            self.pass_documents(start);
            let documents = &self.block.documents[self.at..self.block.len];
            let count = documents.partition_point(|&document| document < end);
            take(&documents[..count], &self.weights[self.at..][..count]);
            self.at += count;
            if self.last >= end {
                return;
            }
            self.pass_blocks(self.last + 1);
        }
    }

    /// At least the weight of this very document, by the meta of its block.
    #[inline(always)]
    pub(super) fn block_bound(&mut self, document: u32) -> u32 {
        self.pass_blocks(document);
        if self.first <= document { self.block_bound } else { 0 }
    }

    /// The weight of the document, 0 if the list does not hold it.
    #[inline(always)]
    pub(super) fn weight(&mut self, document: u32) -> u32 {
        self.pass_blocks(document);
        if self.first > document || self.open(Stage::Documents).is_none() {
            return 0;
        }
        let at = self.block.place_of(document, self.at);
        // Documents that do not rise, which nobody has written, can be passed in part.
        self.at = at.min(self.block.len);
        if self.block.documents.get(at) != Some(&document)
            || self.open(Stage::Frequencies).is_none()
        {
            return 0;
        }
        match self.stage {
            Stage::Weights => self.weights[at],
            Stage::Meta | Stage::Documents | Stage::Frequencies => {
                let frequency = self.block.frequencies[at];
                self.weighing.weight(frequency, self.weighing.lengths.of(document))
            }
        }
    }

    /// The first document of the list that is not before `document`; the cursor stays on it.
    #[inline]
    pub(super) fn next_from(&mut self, document: u32) -> Option<u32> {
        self.pass_blocks(document);
        self.open(Stage::Documents)?;
        let rest = &self.block.documents[self.at.min(self.block.len)..self.block.len];
        let passed = rest.partition_point(|&one| one < document);
        self.at += passed;
        rest.get(passed).copied()
    }
}

impl Block {
    /// How many of its documents are before one that is not behind the last; at least `from` are.
    #[inline(always)]
    fn place_of(&self, document: u32, from: usize) -> usize {
        let (runs, _) = self.documents.as_chunks::<RUN>();
        let mut run = (from / RUN).min(runs.len() - 1);
        while run < runs.len() - 1 && runs[run][RUN - 1] < document {
            run += 1;
        }
        // Without a decision for each of them, they are compared in lanes: a part has far fewer than
        // 2^31 documents, so that the highest bit of a difference is its sign.
        let before: u32 = runs[run].iter().map(|one| one.wrapping_sub(document) >> 31).sum();
        run * RUN + before as usize
    }
}
