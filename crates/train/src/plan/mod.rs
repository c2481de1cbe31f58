//! What a tenant's step is: a pure function of its examples, settings and step number.
//!
//! `sampler` decides which examples form a batch, `batch` lists their texts once and says what the
//! loss compares, `pieces` cuts the texts into runs that fit a chunk, and `course` walks through
//! batches and epochs.

mod batch;
mod course;
mod pieces;
mod sampler;

use std::cmp::Reverse;
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
    /// The plan of a batch whose texts have these lengths. Its texts are sorted from the longest on,
    /// equals in their old order, so that runs of them fill chunks: a long text after a short one
    /// would often leave half a chunk empty.
    pub(crate) fn new(batch: Batch, lengths: &[usize], tokens_chunk: usize) -> Self {
        let Batch { texts, mut task, pairs } = batch;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&at| Reverse(lengths[at]));
        let mut places = vec![0; order.len()];
        for (place, &at) in order.iter().enumerate() {
            places[at] = place as u32;
        }
        task.renumber(&places);
        let texts = order.iter().map(|&at| texts[at]).collect();
        let lengths: Vec<usize> = order.iter().map(|&at| lengths[at]).collect();
        let pieces = pieces::split(&lengths, tokens_chunk);
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

#[cfg(test)]
mod tests {
    use super::{Batch, Plan};
    use crate::loss::{Ranking, Task};

    #[test]
    fn texts_are_sorted_from_the_longest_on_and_the_task_follows() {
        let ranking = Ranking { anchors: vec![0, 2], columns: vec![1, 3], excluded: vec![(0, 1)] };
        let batch = Batch { texts: vec![7, 5, 8, 6], task: Task::Ranking(ranking), pairs: 2 };
        let plan = Plan::new(batch, &[10, 128, 12, 128], 256);
        assert_eq!(plan.texts, [5, 6, 8, 7]);
        assert_eq!(plan.lengths, [128, 128, 12, 10]);
        assert_eq!(plan.pieces, [0..1, 1..4]);
        let ranking = Ranking { anchors: vec![3, 2], columns: vec![0, 1], excluded: vec![(0, 1)] };
        assert_eq!(plan.task, Task::Ranking(ranking));
    }
}
