//! Documents that came lately: postings in memory that grow.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use thiserror::Error;

use super::analyzer::{Analyzer, Token};
use super::list::Posting;
use super::options::Bm25Options;
use super::statistics::Removed;
use super::writer::SegmentWriter;
use crate::Slot;

/// Most words whose term is remembered; past that a word is stemmed again.
const WORDS_MAX: usize = 1 << 20;

/// Longest document in terms; the sum over a namespace stays countable.
const DOCUMENT_TERMS_MAX: u32 = 1 << 28;

/// Why a document was not taken or not removed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TextError {
    /// Slots are given in ascending order, and a part takes them in that order.
    #[error("slot {slot} comes after slot {last}")]
    NotAscending {
        /// The document's.
        slot: u32,
        /// The highest one of the part.
        last: u32,
    },
    /// More terms than a document may have.
    #[error("the document in slot {slot} has more than {terms_max} terms")]
    TooLong {
        /// The document's.
        slot: u32,
        /// How many it may have.
        terms_max: u32,
    },
    /// A document can be removed only by the text that was added.
    #[error("the text given for slot {slot} is not the one that was added")]
    OtherText {
        /// The document's.
        slot: u32,
    },
}

/// A part of a namespace's text that takes documents. It is flushed to a segment by
/// [`TextBuffer::freeze`].
pub struct TextBuffer {
    pub(super) options: Bm25Options,
    analyzer: Analyzer,
    /// Words as they stand in texts, and the number of their term.
    words: HashMap<Box<str>, u32, RandomState>,
    terms: HashMap<Box<str>, u32, RandomState>,
    /// For each term its documents in ascending order, those too that were removed.
    lists: Vec<Vec<Posting>>,
    /// Ascending. A document's number is its place here.
    pub(super) slots: Vec<Slot>,
    pub(super) lengths: Vec<u32>,
    pub(super) removed: Removed,
    length_total: u64,
    postings: usize,
    /// Bytes of words and terms.
    text_bytes: usize,
}

impl TextBuffer {
    /// An empty buffer whose segments are made for a weighting.
    pub fn new(options: Bm25Options) -> Self {
        Self {
            options,
            analyzer: Analyzer::new(),
            words: HashMap::default(),
            terms: HashMap::default(),
            lists: Vec::new(),
            slots: Vec::new(),
            lengths: Vec::new(),
            removed: Removed::default(),
            length_total: 0,
            postings: 0,
            text_bytes: 0,
        }
    }

    /// Adds a document.
    ///
    /// # Errors
    /// If the slot is not above those before, or the text has more than 2^28 terms. Nothing is
    /// added then.
    pub fn add(&mut self, slot: Slot, text: &str) -> Result<(), TextError> {
        if let Some(&last) = self.slots.last().filter(|last| **last >= slot) {
            return Err(TextError::NotAscending { slot: slot.0, last: last.0 });
        }
        // A term takes a byte or more, but for the pair beside each Chinese character of three.
        if text.len() > DOCUMENT_TERMS_MAX as usize {
            return Err(TextError::TooLong { slot: slot.0, terms_max: DOCUMENT_TERMS_MAX });
        }
        let document = self.slots.len() as u32;
        let mut length = 0;
        let Self { analyzer, words, terms, lists, postings, text_bytes, .. } = self;
        analyzer.each_token(text, |stemmer, token| {
            let (word, known) = match token {
                Token::Word(word) => (word, words.get(word)),
                Token::Gram(gram) => (gram, terms.get(gram)),
            };
            let term = match known {
                Some(&term) => term,
                None => {
                    let stem = match token {
                        Token::Word(word) => stemmer.stem(word),
                        Token::Gram(gram) => gram.into(),
                    };
                    let term = term_number(terms, lists, &stem);
                    *text_bytes += word.len() + stem.len();
                    if matches!(token, Token::Word(_)) && words.len() < WORDS_MAX {
                        words.insert(word.into(), term);
                    }
                    term
                }
            };
            length += 1;
            let list = &mut lists[term as usize];
            match list.last_mut().filter(|last| last.document == document) {
                Some(last) => last.frequency += 1,
                None => {
                    list.push(Posting { document, frequency: 1 });
                    *postings += 1;
                }
            }
        });
        self.slots.push(slot);
        self.lengths.push(length);
        self.length_total += u64::from(length);
        Ok(())
    }

    /// Removes a document, so that it counts nowhere any more. False if it is not here.
    ///
    /// # Errors
    /// If the text is not the one that was added; nothing is removed then.
    pub fn remove(&mut self, slot: Slot, text: &str) -> Result<bool, TextError> {
        let Ok(document) = self.slots.binary_search(&slot) else { return Ok(false) };
        let Self { analyzer, terms, lists, lengths, .. } = self;
        let document = document as u32;
        let holds = |term: &str| {
            let term = *terms.get(term)?;
            let list = &lists[term as usize];
            list.binary_search_by_key(&document, |posting| posting.document).ok()?;
            Some(term)
        };
        let gone = super::statistics::terms_of(analyzer, text, holds);
        let gone = gone.filter(|gone| gone.length == lengths[document as usize]);
        self.removed.take(document, gone.ok_or(TextError::OtherText { slot: slot.0 })?)
    }

    /// Whether the slot is here, and not removed.
    pub fn contains(&self, slot: Slot) -> bool {
        let document = self.slots.binary_search(&slot);
        document.is_ok_and(|document| !self.removed.contains(document as u32))
    }

    /// Number of documents that were not removed.
    pub fn len(&self) -> usize {
        self.slots.len() - self.removed.documents() as usize
    }

    /// Whether no document is here but removed ones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how much memory it takes, for deciding when to flush it.
    pub fn memory_bytes(&self) -> usize {
        // A map keeps up to an eighth free and doubles; so does a vector.
        let entries = self.words.capacity() + self.terms.capacity();
        let lists = self.lists.capacity() * size_of::<Vec<Posting>>();
        self.text_bytes
            + entries * (size_of::<(Box<str>, u32)>() + 1)
            + lists
            + self.postings * size_of::<Posting>() * 3 / 2
            + self.slots.capacity() * 8
            + self.removed.memory_bytes()
    }

    /// The bytes of a segment with the documents that were not removed, to be opened by
    /// [`super::TextSegment::open`].
    pub fn freeze(&self) -> Vec<u8> {
        let mut numbers = Vec::with_capacity(self.slots.len());
        let (mut slots, mut lengths) = (Vec::new(), Vec::new());
        for (document, (&slot, &length)) in self.slots.iter().zip(&self.lengths).enumerate() {
            numbers.push(slots.len() as u32);
            if !self.removed.contains(document as u32) {
                slots.push(slot);
                lengths.push(length);
            }
        }
        let mut terms: Vec<(&str, u32)> =
            self.terms.iter().map(|(term, &number)| (&**term, number)).collect();
        terms.sort_unstable();
        let mut writer = SegmentWriter::new(self.options, slots, lengths);
        let mut kept = Vec::new();
        for (term, number) in terms {
            let list = &self.lists[number as usize];
            if self.removed.documents() == 0 {
                writer.add(term, list);
                continue;
            }
            kept.clear();
            kept.extend(list.iter().filter(|one| !self.removed.contains(one.document)).map(
                |one| Posting {
                    document: numbers[one.document as usize],
                    frequency: one.frequency,
                },
            ));
            writer.add(term, &kept);
        }
        writer.finish()
    }

    /// Terms of all documents that were not removed, with repetition.
    pub(super) fn length_total(&self) -> u64 {
        self.length_total - self.removed.length()
    }

    /// A term's number and documents, removed ones too.
    pub(super) fn list(&self, term: &str) -> Option<(u32, &[Posting])> {
        let number = *self.terms.get(term)?;
        Some((number, &self.lists[number as usize]))
    }
}

fn term_number(
    terms: &mut HashMap<Box<str>, u32, RandomState>,
    lists: &mut Vec<Vec<Posting>>,
    stem: &str,
) -> u32 {
    if let Some(&number) = terms.get(stem) {
        return number;
    }
    let number = lists.len() as u32;
    terms.insert(stem.into(), number);
    lists.push(Vec::new());
    number
}
