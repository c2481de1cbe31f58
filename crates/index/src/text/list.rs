//! The documents of one term: as pairs while they are written, in packed blocks when they rest.
//!
//! A packed list is one [`Meta`] for each block of at most [`BLOCK`] documents, then the blocks'
//! data end to end: gaps between documents (the last one is in the meta and packed as 0), then
//! frequencies less one. A document is known by its number within its part.
//!
//! A meta bounds the share (see [`Discount`]) of every document of its block at the mean length
//! that the segment had when it was written. The live mean moves, and the bound follows: a share is
//! `1 / (1 + (c + s * l / m) / f)`, so that a mean `r` times as long raises no share more than `r`
//! times, and a shorter one raises none.

use super::options::Discount;
use super::packing::{BLOCK, Packed, pack, packed_bytes, width_of};

/// A document of a term, and how often it holds the term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Posting {
    pub document: u32,
    pub frequency: u32,
}

/// What bounds a block from outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    /// The highest document.
    pub last: u32,
    /// The highest share, rounded up, in parts of [`SHARE_ONE`].
    pub share: u16,
    gap_width: u8,
    frequency_width: u8,
}

/// A share of 1.
pub(super) const SHARE_ONE: u16 = u16::MAX;

const META_BYTES: usize = 8;

/// One term's documents in ascending order.
#[derive(Clone, Copy)]
pub(super) enum List<'a> {
    /// While they are written.
    Plain(&'a [Posting]),
    /// As [`write`] left them; `bytes` may go on behind the list.
    Packed { bytes: &'a [u8], documents: u32 },
}

/// Documents and frequencies of a block.
pub(super) struct Block {
    pub documents: [u32; BLOCK],
    pub frequencies: [u32; BLOCK],
    /// Values from here on are none; documents there are the last one again.
    pub len: usize,
}

impl Block {
    pub(super) fn new() -> Self {
        Self { documents: [0; BLOCK], frequencies: [0; BLOCK], len: 0 }
    }
}

impl List<'_> {
    /// Number of documents.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(postings) => postings.len(),
            Self::Packed { documents, .. } => *documents as usize,
        }
    }

    pub(super) fn blocks(&self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// The meta of a block; nothing if there is no such block, or if bytes are missing.
    #[inline]
    pub(super) fn meta(&self, block: usize) -> Option<Meta> {
        match self {
            Self::Plain(postings) => {
                let end = (block + 1).saturating_mul(BLOCK).min(postings.len());
                let postings = postings.get(block * BLOCK..end)?;
                let last = postings.last()?.document;
                Some(Meta { last, share: SHARE_ONE, gap_width: 0, frequency_width: 0 })
            }
            Self::Packed { bytes, documents } => {
                if block * BLOCK >= *documents as usize {
                    return None;
                }
                let meta: &[u8; META_BYTES] =
                    bytes.get(block * META_BYTES..)?.first_chunk::<META_BYTES>()?;
                let [a, b, c, d, gap_width, frequency_width, e, f] = *meta;
                let last = u32::from_le_bytes([a, b, c, d]);
                let share = u16::from_le_bytes([e, f]);
                Some(Meta { last, share, gap_width, frequency_width })
            }
        }
    }

    /// Where the data of the first block begins.
    pub(super) fn data_start(&self) -> usize {
        self.blocks() * META_BYTES
    }

    /// The first block.
    pub(super) fn first(&self) -> Option<Place> {
        let meta = self.meta(0)?;
        Some(Place { block: 0, meta, data: self.data_start(), base: u32::MAX })
    }

    /// The first block from a place on that does not end before `document`.
    pub(super) fn place_from(&self, mut place: Place, document: u32) -> Option<Place> {
        while place.meta.last < document {
            let next = place.next(self);
            place = Place { meta: self.meta(next.block)?, ..next };
        }
        Some(place)
    }

    /// The highest share of the blocks from a place on that begin before `end`.
    pub(super) fn share_until(&self, place: Place, end: u32) -> u16 {
        let (mut share, mut last) = (place.meta.share, place.meta.last);
        for block in place.block + 1.. {
            if last >= end - 1 {
                break;
            }
            let Some(meta) = self.meta(block) else { break };
            (share, last) = (share.max(meta.share), meta.last);
        }
        share
    }

    /// Bytes of a block's data.
    #[inline]
    pub(super) fn data_bytes(&self, block: usize, meta: &Meta) -> usize {
        let count = self.count(block);
        packed_bytes(count, meta.gap_width.into())
            + packed_bytes(count, meta.frequency_width.into())
    }

    /// Documents of a block.
    fn count(&self, block: usize) -> usize {
        self.len().saturating_sub(block * BLOCK).min(BLOCK)
    }

    /// Reads a block's documents, which follow `base`, the last document of the block before;
    /// `u32::MAX` before the first.
    pub(super) fn documents(&self, place: Place, out: &mut Block) -> Option<()> {
        out.len = self.count(place.block);
        match self {
            Self::Plain(postings) => {
                let postings = postings.get(place.block * BLOCK..)?;
                for (document, posting) in out.documents.iter_mut().zip(postings) {
                    *document = posting.document;
                }
            }
            Self::Packed { bytes, .. } => {
                let bytes = bytes.get(place.data..)?;
                let (count, width) = (out.len, place.meta.gap_width.into());
                Packed { bytes, count, width }.unpack(&mut out.documents)?;
                add_up(place.base, &mut out.documents);
                *out.documents.get_mut(out.len.checked_sub(1)?)? = place.meta.last;
            }
        }
        out.documents[out.len..].fill(place.meta.last);
        Some(())
    }

    /// Reads a block's frequencies.
    pub(super) fn frequencies(&self, place: Place, out: &mut Block) -> Option<()> {
        out.len = self.count(place.block);
        match self {
            Self::Plain(postings) => {
                let postings = postings.get(place.block * BLOCK..)?;
                for (frequency, posting) in out.frequencies.iter_mut().zip(postings) {
                    *frequency = posting.frequency;
                }
            }
            Self::Packed { bytes, .. } => {
                let gaps = packed_bytes(out.len, place.meta.gap_width.into());
                let bytes = bytes.get(place.data + gaps..)?;
                let (count, width) = (out.len, place.meta.frequency_width.into());
                Packed { bytes, count, width }.unpack(&mut out.frequencies)?;
                for frequency in &mut out.frequencies {
                    *frequency = frequency.wrapping_add(1);
                }
            }
        }
        Some(())
    }

    /// All postings in order, as far as the bytes go.
    pub(super) fn postings(self) -> impl Iterator<Item = Posting> {
        let mut place = Place { block: 0, meta: NO_META, data: self.data_start(), base: u32::MAX };
        let (mut block, mut at) = (Block::new(), 0);
        std::iter::from_fn(move || {
            if at == block.len {
                place.meta = self.meta(place.block)?;
                self.documents(place, &mut block)?;
                self.frequencies(place, &mut block)?;
                place = place.next(&self);
                at = 0;
            }
            at += 1;
            let (document, frequency) = (block.documents[at - 1], block.frequencies[at - 1]);
            Some(Posting { document, frequency })
        })
    }
}

/// From gaps to documents behind `base`. What need not wait for the one before is a loop of its own.
fn add_up(base: u32, gaps: &mut [u32; BLOCK]) {
    for gap in gaps.iter_mut() {
        *gap = gap.wrapping_add(1);
    }
    let mut document = base;
    for gap in gaps {
        document = document.wrapping_add(*gap);
        *gap = document;
    }
}

const NO_META: Meta = Meta { last: 0, share: 0, gap_width: 0, frequency_width: 0 };

/// Where a block lies within its list.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub block: usize,
    pub meta: Meta,
    /// Where its data begins.
    pub data: usize,
    /// The last document before it; `u32::MAX` before the first block.
    pub base: u32,
}

impl Place {
    /// The place behind, with a meta still to be read.
    pub(super) fn next(self, list: &List<'_>) -> Self {
        Self {
            block: self.block + 1,
            meta: self.meta,
            data: self.data + list.data_bytes(self.block, &self.meta),
            base: self.meta.last,
        }
    }
}

/// What shares are computed from when a list is written.
#[derive(Clone, Copy)]
pub(super) struct Shares<'a> {
    /// The documents' lengths in terms.
    pub lengths: &'a [u32],
    pub discount: Discount,
}

/// Appends a list.
pub(super) fn write(postings: &[Posting], shares: Shares<'_>, out: &mut Vec<u8>) {
    let metas = out.len();
    out.resize(metas + postings.len().div_ceil(BLOCK) * META_BYTES, 0);
    let mut base = u32::MAX;
    for (block, postings) in postings.chunks(BLOCK).enumerate() {
        let (mut gaps, mut frequencies) = ([0; BLOCK], [0; BLOCK]);
        let mut share = 0.0f32;
        for (at, posting) in postings.iter().enumerate() {
            gaps[at] = posting.document.wrapping_sub(base).wrapping_sub(1);
            frequencies[at] = posting.frequency.wrapping_sub(1);
            base = posting.document;
            let length = shares.lengths[posting.document as usize] as f32;
            share = share.max(shares.discount.share(posting.frequency as f32, length));
        }
        let count = postings.len();
        gaps[count - 1] = 0;
        let (gap_width, frequency_width) = (width_of(&gaps), width_of(&frequencies));
        pack(&gaps[..count], gap_width, out);
        pack(&frequencies[..count], frequency_width, out);
        let meta = &mut out[metas + block * META_BYTES..][..META_BYTES];
        let share = (share * f32::from(SHARE_ONE)).ceil() as u16;
        meta[..4].copy_from_slice(&base.to_le_bytes());
        meta[4..6].copy_from_slice(&[gap_width as u8, frequency_width as u8]);
        meta[6..].copy_from_slice(&share.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Bm25Options;

    #[test]
    fn lists_come_back() {
        let lengths: Vec<u32> = (0..100_000).map(|at| 5 + at % 90).collect();
        let discount = Bm25Options::default().discount(50.0);
        for (count, step) in [(0, 1), (1, 70_000), (127, 1), (128, 3), (129, 500), (1000, 99)] {
            let postings: Vec<Posting> = (0..count)
                .map(|at| Posting {
                    document: at * step + at * 7 % step,
                    frequency: 1 + at % 5 * at % 3,
                })
                .collect();
            let mut bytes = Vec::new();
            write(&postings, Shares { lengths: &lengths, discount }, &mut bytes);
            bytes.push(255);
            let list = List::Packed { bytes: &bytes, documents: count };
            assert_eq!(list.postings().collect::<Vec<_>>(), postings, "{count}");
            assert_eq!(List::Plain(&postings).postings().collect::<Vec<_>>(), postings);
            for (block, part) in postings.chunks(BLOCK).enumerate() {
                let meta = list.meta(block).unwrap();
                assert_eq!(meta.last, part.last().unwrap().document);
                for one in part {
                    let length = lengths[one.document as usize] as f32;
                    let share = discount.share(one.frequency as f32, length);
                    assert!(share <= f32::from(meta.share) / f32::from(SHARE_ONE), "{count}");
                }
            }
            assert!(list.meta(list.blocks()).is_none());
            // Whatever is missing, what is read ends.
            for end in 0..bytes.len().min(600) {
                let list = List::Packed { bytes: &bytes[..end], documents: count };
                assert!(list.postings().count() <= postings.len());
            }
        }
    }
}
