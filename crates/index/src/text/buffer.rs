//! Documents that came lately: postings in memory that grow.

use std::collections::HashMap;
use std::sync::Arc;

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
    options: Bm25Options,
    analyzer: Analyzer,
    /// Shared with whoever freezes it; nothing is added to it meanwhile, or it is copied.
    body: Arc<Body>,
    pub(super) removed: Removed,
}

/// What was added, those documents too that were removed.
#[derive(Clone, Default)]
struct Body {
    /// Words as they stand in texts, and the number of their term.
    words: HashMap<Box<str>, u32, RandomState>,
    terms: HashMap<Box<str>, u32, RandomState>,
    /// For each term its documents in ascending order.
    lists: Vec<Vec<Posting>>,
    /// Ascending. A document's number is its place here.
    slots: Vec<Slot>,
    lengths: Vec<u32>,
    length_total: u64,
    postings: usize,
    /// Bytes of words and terms.
    text_bytes: usize,
}

/// What a buffer held at a moment. It costs little to make, and can be frozen on another thread
/// while documents are removed from the buffer.
pub(crate) struct TextMoment {
    options: Bm25Options,
    body: Arc<Body>,
    removed: Removed,
}

impl TextBuffer {
    /// An empty buffer whose segments are made for a weighting.
    pub fn new(options: Bm25Options) -> Self {
        let (body, removed) = (Arc::default(), Removed::default());
        Self { options, analyzer: Analyzer::new(), body, removed }
    }

    /// Adds a document.
    ///
    /// # Errors
    /// If the slot is not above those before, or the text has more than 2^28 terms. Nothing is
    /// added then.
    pub fn add(&mut self, slot: Slot, text: &str) -> Result<(), TextError> {
        if let Some(&last) = self.body.slots.last().filter(|last| **last >= slot) {
            return Err(TextError::NotAscending { slot: slot.0, last: last.0 });
        }
        // A term takes a byte or more, but for the pair beside each Chinese character of three.
        if text.len() > DOCUMENT_TERMS_MAX as usize {
            return Err(TextError::TooLong { slot: slot.0, terms_max: DOCUMENT_TERMS_MAX });
        }
        let mut length = 0;
        let body = Arc::make_mut(&mut self.body);
        let document = body.slots.len() as u32;
        let Body { words, terms, lists, postings, text_bytes, .. } = body;
        self.analyzer.each_token(text, |stemmer, token| {
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
        body.slots.push(slot);
        body.lengths.push(length);
        body.length_total += u64::from(length);
        Ok(())
    }

    /// Removes a document, so that it counts nowhere any more. False if it is not here.
    ///
    /// # Errors
    /// If the text is not the one that was added; nothing is removed then.
    pub fn remove(&mut self, slot: Slot, text: &str) -> Result<bool, TextError> {
        let Self { analyzer, body, .. } = self;
        let Ok(document) = body.slots.binary_search(&slot) else { return Ok(false) };
        let Body { terms, lists, lengths, .. } = &**body;
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
        let document = self.body.slots.binary_search(&slot);
        document.is_ok_and(|document| !self.removed.contains(document as u32))
    }

    /// Number of documents that were not removed.
    pub fn len(&self) -> usize {
        self.body.slots.len() - self.removed.documents() as usize
    }

    /// Whether no document is here but removed ones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how much memory it takes, for deciding when to flush it.
    pub fn memory_bytes(&self) -> usize {
        let body = &*self.body;
        // A map keeps up to an eighth free and doubles; so does a vector.
        let entries = body.words.capacity() + body.terms.capacity();
        let lists = body.lists.capacity() * size_of::<Vec<Posting>>();
        body.text_bytes
            + entries * (size_of::<(Box<str>, u32)>() + 1)
            + lists
            + body.postings * size_of::<Posting>() * 3 / 2
            + body.slots.capacity() * 8
            + self.removed.memory_bytes()
    }

    /// The bytes of a segment with the documents that were not removed, to be opened by
    /// [`super::TextSegment::open`].
    pub fn freeze(&self) -> Vec<u8> {
        self.moment().freeze()
    }

    /// What it holds now, to be frozen later.
    pub(crate) fn moment(&self) -> TextMoment {
        let (options, body) = (self.options, Arc::clone(&self.body));
        TextMoment { options, body, removed: self.removed.clone() }
    }

    /// Terms of all documents that were not removed, with repetition.
    pub(super) fn length_total(&self) -> u64 {
        self.body.length_total - self.removed.length()
    }

    /// A term's number and documents, removed ones too.
    pub(super) fn list(&self, term: &str) -> Option<(u32, &[Posting])> {
        let number = *self.body.terms.get(term)?;
        Some((number, &self.body.lists[number as usize]))
    }

    /// The slots of all documents, removed ones too.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.body.slots
    }

    /// Their terms, with repetition.
    pub(super) fn lengths(&self) -> &[u32] {
        &self.body.lengths
    }
}

impl TextMoment {
    /// The bytes of a segment, as [`TextBuffer::freeze`] gives them.
    pub(crate) fn freeze(&self) -> Vec<u8> {
        let body = &*self.body;
        let mut numbers = Vec::with_capacity(body.slots.len());
        let (mut slots, mut lengths) = (Vec::new(), Vec::new());
        for (document, (&slot, &length)) in body.slots.iter().zip(&body.lengths).enumerate() {
            numbers.push(slots.len() as u32);
            if !self.removed.contains(document as u32) {
                slots.push(slot);
                lengths.push(length);
            }
        }
        let mut terms: Vec<(&str, u32)> =
            body.terms.iter().map(|(term, &number)| (&**term, number)).collect();
        terms.sort_unstable();
        let mut writer = SegmentWriter::new(self.options, slots, lengths);
        let mut kept = Vec::new();
        for (term, number) in terms {
            let list = &body.lists[number as usize];
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
