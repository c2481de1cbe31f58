//! Two texts that are read together: what stands around them, and their token types.

use tokenizers::{Encoding, Token};

use crate::packed::Text;

/// Token ids of a text, or of two texts that are read together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextIds {
    /// Token ids, special ones included.
    pub ids: Vec<u32>,
    /// Tokens of type 0, which come first; those after them have type 1.
    pub first: usize,
}

impl TextIds {
    /// A text alone.
    pub fn alone(ids: Vec<u32>) -> Self {
        Self { first: ids.len(), ids }
    }

    /// As the encoder takes it.
    pub fn as_text(&self) -> Text<'_> {
        Text { tokens: &self.ids, first: self.first }
    }
}

/// The special tokens around two texts, as the tokenizer's post-processor puts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PairTemplate {
    opening: Vec<u32>,
    /// Special tokens between the texts that have type 0.
    between: Vec<u32>,
    /// Special tokens between the texts that have type 1.
    between_second: Vec<u32>,
    closing: Vec<u32>,
    /// Whether the second text has type 1; where it has not, no token has.
    has_types: bool,
}

/// Stand for the two texts while the post-processor is asked; no vocabulary is as large.
const PROBES: [u32; 2] = [u32::MAX, u32::MAX - 1];

impl PairTemplate {
    /// What a tokenizer's post-processor does with two texts, for a model with so many token types;
    /// the reason if that is nothing that a BERT-family model is given. Models of one type are given
    /// no types, as transformers does.
    pub(super) fn of(inner: &tokenizers::Tokenizer, token_types: usize) -> Result<Self, String> {
        let probe =
            |(id, kind)| Encoding::from_tokens(vec![Token::new(id, String::new(), (0, 0))], kind);
        let [first, second] = [(PROBES[0], 0), (PROBES[1], 1)].map(probe);
        let joined = inner.post_process(first, Some(second), true).map_err(|e| e.to_string())?;
        let (ids, types) = (joined.get_ids(), joined.get_type_ids());
        let places = PROBES.map(|id| ids.iter().position(|found| *found == id));
        let [Some(first), Some(second)] = places else {
            return Err("its template for two texts does not hold both".to_owned());
        };
        let zeros = match token_types {
            0 | 1 => ids.len(),
            2.. => types.iter().position(|kind| *kind != 0).unwrap_or(ids.len()),
        };
        let is_plain = first < second
            && (zeros == ids.len() || (first < zeros && zeros <= second))
            && (token_types < 2 || types[zeros..].iter().all(|kind| *kind == 1));
        if !is_plain {
            return Err(format!(
                "its template for two texts is none of a BERT-family model: token types {types:?}"
            ));
        }
        let middle = zeros.min(second);
        Ok(Self {
            opening: ids[..first].to_vec(),
            between: ids[first + 1..middle].to_vec(),
            between_second: ids[middle..second].to_vec(),
            closing: ids[second + 1..].to_vec(),
            has_types: zeros < ids.len(),
        })
    }

    /// All special tokens, in their order.
    pub(super) fn special_tokens(&self) -> impl Iterator<Item = &u32> {
        let parts = [&self.opening, &self.between, &self.between_second, &self.closing];
        parts.into_iter().flatten()
    }

    /// Puts the special tokens around two texts that have none.
    pub(super) fn join(&self, first: &[u32], second: &[u32]) -> TextIds {
        let Self { opening, between, between_second, closing, has_types } = self;
        let mut ids = [opening, first, between].concat();
        let zeros = ids.len();
        ids.extend([between_second, second, closing].into_iter().flatten());
        let first = if *has_types { zeros } else { ids.len() };
        TextIds { ids, first }
    }
}
