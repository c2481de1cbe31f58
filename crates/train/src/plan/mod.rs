//! What a tenant's step is: a pure function of its examples, settings and step number.
//!
//! `sampler` decides which examples form a batch, `batch` lists their texts once and says what the
//! loss compares, `pieces` cuts the texts into runs that fit a chunk, and `course` walks through
//! batches and epochs.

mod batch;
mod course;
mod pieces;
mod sampler;

use std::ops::Range;

pub(crate) use batch::Batch;
pub use course::steps_per_epoch;
pub(crate) use course::{Course, Cursor, steps_total};

use crate::loss::Task;

/// One batch of one tenant, ready to be packed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Each text once, as numbers in the tenant's table.
    pub(crate) texts: Vec<u32>,
    /// Tokens of each text.
    pub(crate) lengths: Vec<usize>,
    /// Runs of texts, in the order in which their gradients are summed.
    pub(crate) pieces: Vec<Range<usize>>,
    /// What the loss compares.
    pub(crate) task: Task,
    /// Number of examples.
    pub(crate) pairs: usize,
}

impl Plan {
    /// The plan of a batch whose texts have these lengths.
    pub(crate) fn new(batch: Batch, lengths: Vec<usize>, tokens_chunk: usize) -> Self {
        let pieces = pieces::split(&lengths, tokens_chunk);
        let Batch { texts, task, pairs } = batch;
        Self { texts, lengths, pieces, task, pairs }
    }

    /// Tokens of all texts.
    pub(crate) fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Tokens of one piece.
    pub(crate) fn piece_tokens(&self, piece: usize) -> usize {
        self.lengths[self.pieces[piece].clone()].iter().sum()
    }
}
