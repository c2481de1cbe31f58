//! Documents that rest: postings in bytes that never change.

use std::iter::Peekable;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::analyzer::Analyzer;
use super::buffer::TextError;
use super::cursor::word;
use super::dictionary::{Dictionary, Entry};
use super::list::{List, Posting};
use super::options::Bm25Options;
use super::statistics::{Removed, terms_of};
use super::writer::{COUNTS_BYTES, HEAD_BYTES, MAGIC, SegmentWriter, VERSION};
use crate::{Bytes, Slot};

/// Why bytes are no segment.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DamagedText {
    /// They do not begin as a segment does.
    #[error("the text segment does not begin as one: it is another file, or its head is damaged")]
    Magic,
    /// Another version of this program wrote them.
    #[error("the text segment has version {found}, and this program reads version {expected}")]
    Version {
        /// What stands there.
        found: u32,
        /// What this program reads and writes.
        expected: u32,
    },
    /// Some are missing, or there are too many.
    #[error("the text segment should have {expected} bytes and has {found}")]
    Length {
        /// Bytes by its head.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// They are not what was written.
    #[error("the text segment's checksum is not that of its bytes")]
    Checksum,
    /// The checksum is right, but this was never written by us.
    #[error("the text segment contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// Where the sections of a segment lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    documents: u32,
    terms: u32,
    length_total: u64,
    lists: usize,
    blocks: usize,
    places: usize,
}

/// A part of a namespace's text over bytes that do not change, as [`super::TextBuffer::freeze`]
/// and [`TextSegment::merge`] write them. Which documents were removed is kept in memory only:
/// whoever opens a segment removes them again. A clone shares the bytes, and removes for itself.
#[derive(Clone)]
pub struct TextSegment {
    bytes: Bytes,
    layout: Layout,
    pub(super) options: Bm25Options,
    pub(super) removed: Removed,
}

impl TextSegment {
    /// Reads a segment where its bytes lie. All of them are read once, for their checksum.
    ///
    /// # Errors
    /// If the bytes are not what was written.
    pub fn open(bytes: Bytes) -> Result<Self, DamagedText> {
        let found = bytes.len() as u64;
        let head = Fields(&bytes);
        if bytes.len() < HEAD_BYTES + COUNTS_BYTES || bytes[..8] != MAGIC {
            return Err(DamagedText::Magic);
        }
        if head.four(8) != VERSION {
            return Err(DamagedText::Version { found: head.four(8), expected: VERSION });
        }
        let expected = head.eight(16);
        if head.four(12) != 0 || expected != found {
            return Err(DamagedText::Length { expected, found });
        }
        if xxh3_64(&bytes[HEAD_BYTES..]) != head.eight(24) {
            return Err(DamagedText::Checksum);
        }
        let (layout, options) = layout(&bytes)?;
        let segment = Self { bytes, layout, options, removed: Removed::default() };
        let slots = (0..layout.documents).map(|document| segment.slot(document));
        if !slots.is_sorted_by(|one, other| one < other) {
            return Err(DamagedText::Contradiction("slots do not ascend"));
        }
        let lengths = segment.lengths();
        let sum: u64 = (0..layout.documents).map(|document| u64::from(lengths.of(document))).sum();
        if layout.length_total != sum {
            return Err(DamagedText::Contradiction("lengths do not add up"));
        }
        Ok(segment)
    }

    /// A segment with anything behind the right head, since nobody guesses checksums.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, DamagedText> {
        let mut bytes = [&[0; HEAD_BYTES], body].concat();
        let length = bytes.len() as u64;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        bytes[24..32].copy_from_slice(&xxh3_64(body).to_le_bytes());
        Self::open(Bytes::from_vec(bytes))
    }

    /// Removes a document, so that it counts nowhere any more. False if it is not here.
    ///
    /// # Errors
    /// If the text is not the one that was added; nothing is removed then.
    pub fn remove(&mut self, slot: Slot, text: &str) -> Result<bool, TextError> {
        let Some(document) = self.document(slot) else { return Ok(false) };
        let dictionary = self.dictionary();
        let holds = |term: &str| dictionary.find(term).map(|entry| entry.number);
        let gone = terms_of(&mut Analyzer::new(), text, holds);
        let length = super::cursor::Lengths::Bytes(self.lengths_bytes()).of(document);
        let gone = gone.filter(|gone| gone.length == length);
        self.removed.take(document, gone.ok_or(TextError::OtherText { slot: slot.0 })?)
    }

    /// What [`TextSegment::set_removals`] takes: which documents were removed, and what that takes
    /// from its numbers.
    pub(crate) fn removals(&self) -> Vec<u8> {
        self.removed.save()
    }

    /// Removes what was removed before, without any text. False, and without effect, where the bytes
    /// are not those of a segment like this, or have removed a slot for which `is_gone` is false.
    pub(crate) fn set_removals(&mut self, bytes: &[u8], is_gone: impl Fn(Slot) -> bool) -> bool {
        let Layout { documents, terms, length_total, .. } = self.layout;
        let removed = Removed::read(bytes, documents, terms);
        let Some(removed) = removed.filter(|removed| removed.length() <= length_total) else {
            return false;
        };
        let mut gone = (0..documents).filter(|&document| removed.contains(document));
        if !gone.all(|document| is_gone(self.slot(document))) {
            return false;
        }
        self.removed = removed;
        true
    }

    /// Whether the slot is here, and not removed.
    pub fn contains(&self, slot: Slot) -> bool {
        self.document(slot).is_some_and(|document| !self.removed.contains(document))
    }

    /// Number of documents that were not removed.
    pub fn len(&self) -> usize {
        self.layout.documents.saturating_sub(self.removed.documents()) as usize
    }

    /// Whether no document is here but removed ones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of documents that were removed since it was written: what a merge would drop.
    pub fn removed_len(&self) -> usize {
        self.removed.documents() as usize
    }

    /// Length of its bytes, wherever they lie.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of one segment with the documents of several that were not removed.
    ///
    /// No text is needed for that. If a slot is in more than one of them and not removed, which
    /// must not be, it is found twice.
    pub fn merge(segments: &[&Self], options: Bm25Options) -> Vec<u8> {
        let mut order = Vec::new();
        for (part, segment) in segments.iter().enumerate() {
            let documents = 0..segment.layout.documents;
            let live = documents.filter(|&document| !segment.removed.contains(document));
            order.extend(live.map(|document| (segment.slot(document), part, document)));
        }
        order.sort_unstable();
        let mut numbers: Vec<Vec<u32>> = segments
            .iter()
            .map(|segment| vec![u32::MAX; segment.layout.documents as usize])
            .collect();
        let (mut slots, mut lengths) = (Vec::new(), Vec::new());
        for &(slot, part, document) in &order {
            numbers[part][document as usize] = slots.len() as u32;
            slots.push(slot);
            lengths.push(segments[part].lengths().of(document));
        }
        let is_in_order = order.is_sorted_by_key(|(_, part, _)| part);
        let mut writer = SegmentWriter::new(options, slots, lengths);
        let mut sources: Vec<_> =
            segments.iter().map(|segment| segment.dictionary().entries().peekable()).collect();
        let mut postings = Vec::new();
        let first = |sources: &mut Vec<_>| {
            let heads = sources.iter_mut().filter_map(|source: &mut Peekable<_>| source.peek());
            heads.map(|(term, _): &(Vec<u8>, Entry)| term).min().cloned()
        };
        while let Some(term) = first(&mut sources) {
            postings.clear();
            for (part, source) in sources.iter_mut().enumerate() {
                let Some((_, entry)) = source.next_if(|(other, _)| *other == term) else {
                    continue;
                };
                let list = segments[part].list_of(entry).postings();
                postings.extend(list.filter_map(|Posting { document, frequency }| {
                    let document = *numbers[part].get(document as usize)?;
                    (document != u32::MAX).then_some(Posting { document, frequency })
                }));
            }
            if !is_in_order {
                postings.sort_unstable_by_key(|posting| posting.document);
            }
            writer.add(&String::from_utf8_lossy(&term), &postings);
        }
        writer.finish()
    }

    /// Terms of all documents that were not removed, with repetition.
    pub(super) fn length_total(&self) -> u64 {
        self.layout.length_total.saturating_sub(self.removed.length())
    }

    /// Terms of a document on average when it was written.
    pub(super) fn mean_when_written(&self) -> f32 {
        (self.layout.length_total as f64 / f64::from(self.layout.documents.max(1))) as f32
    }

    /// A term's number and documents, removed ones too.
    pub(super) fn list(&self, term: &str) -> Option<(u32, List<'_>)> {
        let entry = self.dictionary().find(term)?;
        Some((entry.number, self.list_of(entry)))
    }

    /// Number of documents, removed ones too.
    pub(super) fn documents(&self) -> u32 {
        self.layout.documents
    }

    /// The slot of a document.
    pub(super) fn slot(&self, document: u32) -> Slot {
        let start = HEAD_BYTES + COUNTS_BYTES;
        Slot(word(&self.bytes[start..], document as usize).unwrap_or(u32::MAX))
    }

    pub(super) fn lengths(&self) -> super::cursor::Lengths<'_> {
        super::cursor::Lengths::Bytes(self.lengths_bytes())
    }

    fn lengths_bytes(&self) -> &[u8] {
        let bytes = 4 * self.layout.documents as usize;
        &self.bytes[self.layout.lists - bytes..self.layout.lists]
    }

    /// The number of a slot's document, removed or not.
    fn document(&self, slot: Slot) -> Option<u32> {
        let (mut low, mut high) = (0, self.layout.documents);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.slot(middle) < slot {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < self.layout.documents && self.slot(low) == slot).then_some(low)
    }

    fn list_of(&self, entry: Entry) -> List<'_> {
        let lists = &self.bytes[self.layout.lists..self.layout.blocks];
        let start = usize::try_from(entry.list).unwrap_or(usize::MAX);
        let bytes = lists.get(start..).unwrap_or_default();
        List::Packed { bytes, documents: entry.documents }
    }

    fn dictionary(&self) -> Dictionary<'_> {
        let Layout { blocks, places, terms, .. } = self.layout;
        Dictionary { blocks: &self.bytes[blocks..places], places: &self.bytes[places..], terms }
    }
}

/// Where everything lies; contradicting numbers are found here, so that slices of sections cannot
/// fail later.
fn layout(bytes: &[u8]) -> Result<(Layout, Bm25Options), DamagedText> {
    let counts = Fields(&bytes[HEAD_BYTES..]);
    let (documents, terms, length_total) = (counts.four(0), counts.four(4), counts.eight(8));
    let options =
        Bm25Options::new(f32::from_bits(counts.four(16)), f32::from_bits(counts.four(20)));
    let options = options.map_err(|_| DamagedText::Contradiction("weights are out of range"))?;
    let per_document = u64::from(documents) * 8;
    let lists = (HEAD_BYTES + COUNTS_BYTES) as u64 + per_document;
    let blocks = lists.checked_add(counts.eight(24));
    let places = blocks.and_then(|blocks| blocks.checked_add(counts.eight(32)));
    let places_bytes = Dictionary::places_bytes(terms) as u64;
    let end = places.and_then(|places| places.checked_add(places_bytes));
    match (blocks, places) {
        (Some(blocks), Some(places)) if end == Some(bytes.len() as u64) => {
            let (lists, blocks, places) = (lists as usize, blocks as usize, places as usize);
            Ok((Layout { documents, terms, length_total, lists, blocks, places }, options))
        }
        _ => Err(DamagedText::Contradiction("its sections are not as long as it is")),
    }
}

/// Numbers at places that are known to be there.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn four(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..][..4].try_into().expect("a slice of four is four"))
    }

    fn eight(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..][..8].try_into().expect("a slice of eight is eight"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Literal, TextBuffer, TextPart, TextSearch};

    /// Whoever can compute a checksum can write any bytes: answers may be wrong, but they come.
    #[test]
    fn forged_bytes_never_panic() {
        let mut buffer = TextBuffer::new(Bm25Options::default());
        let words = ["alpha", "beta", "gamma", "delta"];
        for at in 0..400usize {
            let text = format!("{} {} common{}", words[at % 4], words[at / 4 % 4], at % 50);
            buffer.add(Slot(at as u32 * 2), &text).unwrap();
        }
        let bytes = buffer.freeze();
        let (mut opened, start) = (0, HEAD_BYTES);
        for at in start..bytes.len() {
            for value in [0, 0x7f, 0x80, 0xff, bytes[at] ^ 1] {
                let mut forged = bytes.clone();
                forged[at] = value;
                let checksum = xxh3_64(&forged[start..]);
                forged[24..32].copy_from_slice(&checksum.to_le_bytes());
                let Ok(mut segment) = TextSegment::open(Bytes::from_vec(forged)) else { continue };
                opened += 1;
                let removed = segment.remove(Slot(8), "alpha gamma common4");
                assert!(removed.is_ok() || removed == Err(TextError::OtherText { slot: 8 }));
                let parts = [TextPart::Segment(&segment)];
                let options = Bm25Options::default();
                let search = TextSearch { parts: &parts, options, allowed: &|_| true };
                assert!(search.best("alpha beta common7 zeta", 5).hits.len() <= 5);
                let text_of = |_: Slot| Some("alpha common4".into());
                let exact = crate::text::Exact { k: 5, texts_max: 50, text_of: &text_of };
                search.exact(&Literal::all_of("\"alpha common4\""), exact);
                if at % 16 == 0 {
                    TextSegment::merge(&[&segment], options);
                }
            }
        }
        assert!(opened > 1000, "{opened} forgeries were looked at");
    }
}
