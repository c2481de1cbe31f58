//! The bytes of a segment.
//!
//! ```text
//! head       HEAD_BYTES bytes: magic, version, whole length, checksum of all that follows
//! counts     documents, terms, sum of lengths, k1, b, bytes of each section below
//! slots      four bytes for each document, ascending
//! lengths    four bytes for each document: its terms, with repetition
//! lists      see the module `list`
//! terms      blocks of the dictionary
//! places     where these blocks begin
//! ```
//! All numbers have their lowest byte first.

use xxhash_rust::xxh3::xxh3_64;

use super::dictionary::DictionaryWriter;
use super::list::{self, Posting, Shares};
use super::options::{Bm25Options, Discount};
use crate::Slot;

pub(super) const MAGIC: [u8; 8] = *b"cotntext";
pub(super) const VERSION: u32 = 1;

/// Magic, version, four bytes of nothing, whole length in bytes, checksum.
pub(super) const HEAD_BYTES: usize = 8 + 4 + 4 + 8 + 8;

/// Documents, terms, sum of lengths, k1, b, and the bytes of lists and of blocks of terms.
pub(super) const COUNTS_BYTES: usize = 4 + 4 + 8 + 4 + 4 + 8 + 8;

/// Writes a segment, term by term in ascending order.
pub(super) struct SegmentWriter {
    options: Bm25Options,
    discount: Discount,
    slots: Vec<Slot>,
    lengths: Vec<u32>,
    /// The segment so far: everything but the terms.
    bytes: Vec<u8>,
    lists_start: usize,
    dictionary: DictionaryWriter,
}

impl SegmentWriter {
    /// Begins a segment of documents with their slots, ascending, and lengths in terms.
    pub(super) fn new(options: Bm25Options, slots: Vec<Slot>, lengths: Vec<u32>) -> Self {
        let mut bytes = vec![0; HEAD_BYTES + COUNTS_BYTES];
        bytes.extend(slots.iter().flat_map(|slot| slot.0.to_le_bytes()));
        bytes.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
        let lists_start = bytes.len();
        let mean = mean(&lengths);
        let (discount, dictionary) = (options.discount(mean), DictionaryWriter::default());
        Self { options, discount, slots, lengths, bytes, lists_start, dictionary }
    }

    /// Adds a term and its documents, ascending. A term without documents is left out.
    pub(super) fn add(&mut self, term: &str, postings: &[Posting]) {
        if postings.is_empty() {
            return;
        }
        let list = (self.bytes.len() - self.lists_start) as u64;
        self.dictionary.add(term, postings.len() as u32, list);
        let shares = Shares { lengths: &self.lengths, discount: self.discount };
        list::write(postings, shares, &mut self.bytes);
    }

    /// The bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        let (blocks, places, terms) = self.dictionary.finish();
        let mut bytes = self.bytes;
        let lists_bytes = (bytes.len() - self.lists_start) as u64;
        bytes.extend_from_slice(&blocks);
        bytes.extend_from_slice(&places);
        let length_total: u64 = self.lengths.iter().map(|&length| u64::from(length)).sum();
        let mut counts = Vec::with_capacity(COUNTS_BYTES);
        counts.extend_from_slice(&(self.slots.len() as u32).to_le_bytes());
        counts.extend_from_slice(&terms.to_le_bytes());
        counts.extend_from_slice(&length_total.to_le_bytes());
        counts.extend_from_slice(&self.options.k1().to_le_bytes());
        counts.extend_from_slice(&self.options.b().to_le_bytes());
        counts.extend_from_slice(&lists_bytes.to_le_bytes());
        counts.extend_from_slice(&(blocks.len() as u64).to_le_bytes());
        bytes[HEAD_BYTES..][..COUNTS_BYTES].copy_from_slice(&counts);
        let (checksum, length) = (xxh3_64(&bytes[HEAD_BYTES..]), bytes.len() as u64);
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// Terms of a document on average, 0 of none.
fn mean(lengths: &[u32]) -> f32 {
    let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    (total as f64 / lengths.len().max(1) as f64) as f32
}
