//! What kernels read of a batch, as tables.

use super::tile::count;
use crate::cuda::launch::PlanError;
use crate::packed::Packed;

/// A batch's tables; a kernel takes those that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cuda) struct BatchTables {
    /// `[tokens]`, the text of each row.
    pub texts: Vec<u32>,
    /// `[texts + 1]`, the first row of each text.
    pub offsets: Vec<u32>,
    /// `[texts]`, tokens of type 0.
    pub firsts: Vec<u32>,
    /// `[texts]`, keys of dropout; 0 where a segment has none.
    pub text_keys: Vec<u64>,
}

impl BatchTables {
    /// The tables of a batch.
    pub(in crate::cuda) fn new(batch: &Packed) -> Result<Self, PlanError> {
        count("the batch's tokens", batch.tokens().len())?;
        let mut tables = Self::default();
        tables.offsets.extend(batch.offsets().iter().map(|&offset| offset as u32));
        for at in 0..batch.texts() {
            let text = batch.text(at);
            tables.texts.extend(std::iter::repeat_n(at as u32, text.tokens.len()));
            tables.firsts.push(text.first as u32);
        }
        for segment in batch.segments() {
            match &segment.dropout {
                Some(dropout) => tables.text_keys.extend(&dropout.text_keys),
                None => tables.text_keys.extend(segment.texts.clone().map(|_| 0)),
            }
        }
        Ok(tables)
    }
}
