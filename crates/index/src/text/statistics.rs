//! What removed documents no longer count for.

use std::collections::{BTreeMap, HashMap};

use super::analyzer::Analyzer;
use super::buffer::TextError;
use crate::store::codec::{Reader, u64_at};

/// The documents of a part that were removed, and what that takes from its numbers.
#[derive(Clone, Default)]
pub(super) struct Removed {
    /// A bit for each document, as far as one was removed.
    bits: Vec<u64>,
    documents: u32,
    length: u64,
    /// For each term how many of its documents were removed.
    of_term: HashMap<u32, u32>,
}

/// A document's different terms by their numbers, and its length.
pub(super) struct Gone {
    terms: Vec<u32>,
    pub length: u32,
}

/// Analyses a text again whose terms should all be known. Nothing if one is not.
pub(super) fn terms_of(
    analyzer: &mut Analyzer,
    text: &str,
    number: impl Fn(&str) -> Option<u32>,
) -> Option<Gone> {
    let (mut terms, mut length, mut is_known) = (Vec::new(), 0, true);
    analyzer.each_term(text, |term| {
        length += 1;
        match is_known.then(|| number(term)).flatten() {
            Some(number) => terms.push(number),
            None => is_known = false,
        }
    });
    terms.sort_unstable();
    terms.dedup();
    is_known.then_some(Gone { terms, length })
}

impl Removed {
    #[inline]
    pub(super) fn contains(&self, document: u32) -> bool {
        self.bits.get(document as usize / 64).is_some_and(|bits| bits >> (document % 64) & 1 == 1)
    }

    /// Takes a document out. False if it was out.
    pub(super) fn take(&mut self, document: u32, gone: Gone) -> Result<bool, TextError> {
        if self.contains(document) {
            return Ok(false);
        }
        let word = document as usize / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (document % 64);
        self.documents += 1;
        self.length += u64::from(gone.length);
        for term in gone.terms {
            *self.of_term.entry(term).or_default() += 1;
        }
        Ok(true)
    }

    /// Number of removed documents.
    pub(super) fn documents(&self) -> u32 {
        self.documents
    }

    /// Terms of removed documents, with repetition.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Removed documents that hold a term.
    pub(super) fn with_term(&self, term: u32) -> u32 {
        self.of_term.get(&term).copied().unwrap_or(0)
    }

    /// The bytes that [`Removed::read`] reads: documents, words of bits and length; the words; terms
    /// by rising numbers, with how many documents of each are gone.
    pub(super) fn save(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.documents.to_le_bytes());
        out.extend((self.bits.len() as u32).to_le_bytes());
        out.extend(self.length.to_le_bytes());
        out.extend(self.bits.iter().flat_map(|bits| bits.to_le_bytes()));
        let of_term: BTreeMap<u32, u32> =
            self.of_term.iter().map(|(&term, &documents)| (term, documents)).collect();
        for (term, documents) in of_term {
            out.extend(term.to_le_bytes());
            out.extend(documents.to_le_bytes());
        }
        out
    }

    /// Reads what was saved of a part with so many documents and terms; `None` where it cannot be.
    pub(super) fn read(bytes: &[u8], documents_max: u32, terms_max: u32) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (documents, words, length) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let words = reader.take((words as usize).checked_mul(8)?)?;
        let bits: Vec<u64> = (0..words.len() / 8).map(|at| u64_at(words, at)).collect();
        let count: u32 = bits.iter().map(|bits| bits.count_ones()).sum();
        let last = bits.iter().rposition(|bits| *bits != 0);
        let end = last.map_or(0, |last| last as u32 * 64 + 64 - bits[last].leading_zeros());
        let mut removed = Self { bits, documents, length, of_term: HashMap::new() };
        let mut before = None;
        while !reader.is_empty() {
            let (term, of_term) = (reader.u32()?, reader.u32()?);
            let is_new = before.replace(term).is_none_or(|before| before < term);
            if !is_new || term >= terms_max || of_term > documents {
                return None;
            }
            removed.of_term.insert(term, of_term);
        }
        (count == documents && end <= documents_max).then_some(removed)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bits.capacity() * 8 + self.of_term.capacity() * 9
    }
}
