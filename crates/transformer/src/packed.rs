//! A batch: many texts of any lengths, end to end, without padding.

use std::ops::Range;

/// A text as the encoder reads it: alone, or as two that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// Token ids, special ones included.
    pub tokens: &'a [u32],
    /// Tokens of type 0, which come first; those after them, the second of two texts, have type 1.
    pub first: usize,
}

impl<'a> From<&'a [u32]> for Text<'a> {
    /// A text alone: all its tokens have type 0.
    fn from(tokens: &'a [u32]) -> Self {
        Self { tokens, first: tokens.len() }
    }
}

/// Texts laid end to end in one flat token buffer, grouped into segments by adapter.
///
/// Text `i` owns the tokens `offsets[i]..offsets[i + 1]`, and the segments cover the texts in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    tokens: Vec<u32>,
    offsets: Vec<usize>,
    /// Tokens of type 0 of each text.
    firsts: Vec<usize>,
    segments: Vec<Segment>,
}

/// Consecutive texts that share one adapter, and so one gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The texts of the segment, as indices into the batch.
    pub texts: Range<usize>,
    /// The adapter's index in the slice given to the encoder; `None` is the bare base model.
    pub adapter: Option<usize>,
    /// Dropout on what the adapter reads; `None` while evaluating.
    pub dropout: Option<Dropout>,
}

/// Dropout by a counter: the mask is a function of these keys, never of a position in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// Mixes everything that names the step: the tenant's seed and its step number.
    pub key: u64,
    /// One key a text of the segment, unique within the step.
    pub text_keys: Vec<u64>,
    /// Probability of dropping a feature, in thousandths (0..1000).
    pub rate_per_mille: u32,
}

impl Packed {
    /// An empty batch that keeps its buffers' capacity.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.offsets.clear();
        self.firsts.clear();
        self.segments.clear();
    }

    /// Appends a segment of texts, each a list of token ids or a [`Text`]; an empty text is refused
    /// by assertion, since every tokenizer we load writes at least its two special tokens.
    pub fn push<'a, T: Into<Text<'a>>>(
        &mut self,
        texts: impl IntoIterator<Item = T>,
        adapter: Option<usize>,
        dropout: Option<Dropout>,
    ) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        let first = self.texts();
        for text in texts {
            let Text { tokens, first } = text.into();
            assert!(!tokens.is_empty(), "a text has at least one token");
            assert!(first <= tokens.len(), "no more tokens of type 0 than tokens");
            self.tokens.extend_from_slice(tokens);
            self.offsets.push(self.tokens.len());
            self.firsts.push(first);
        }
        let texts = first..self.texts();
        if let Some(dropout) = &dropout {
            assert_eq!(dropout.text_keys.len(), texts.len(), "one dropout key a text");
        }
        self.segments.push(Segment { texts, adapter, dropout });
    }

    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The text at a place.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn text(&self, at: usize) -> Text<'_> {
        Text {
            tokens: &self.tokens[self.offsets[at]..self.offsets[at + 1]],
            first: self.firsts[at],
        }
    }

    /// All token ids, end to end.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// `texts() + 1` token offsets (`cu_seqlens`), or none while the batch is empty.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The tokens of a segment, as a range of the flat buffer.
    pub fn rows(&self, segment: &Segment) -> Range<usize> {
        self.offsets[segment.texts.start]..self.offsets[segment.texts.end]
    }
}
