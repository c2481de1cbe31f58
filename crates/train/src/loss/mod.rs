//! Losses over embeddings: pure functions of the rows of one tenant's batch, one order of summing.

mod cosent;
mod matrix;
mod mnrl;
#[cfg(test)]
mod testing;

pub use cosent::{CoSent, Scored};
pub use matrix::{Embedded, LossBuffers};
pub use mnrl::{Mnrl, Ranking};

use crate::spec::Loss;

/// What a loss compares; rows refer to the texts of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// Anchors and the texts they choose from.
    Ranking(Ranking),
    /// Pairs with a score each.
    Scored(Scored),
}

impl Task {
    /// Refers to text `places[row]` wherever it referred to text `row`.
    pub(crate) fn renumber(&mut self, places: &[u32]) {
        let rows = match self {
            Task::Ranking(Ranking { anchors, columns, .. }) => [anchors, columns],
            Task::Scored(Scored { left, right, .. }) => [left, right],
        };
        for row in rows.into_iter().flatten() {
            *row = places[*row as usize];
        }
    }
}

/// The loss of a task, and its gradient by the embeddings *added* to `gradient` (`[texts, hidden]`).
pub(crate) fn evaluate(
    loss: Loss,
    task: &Task,
    embedded: Embedded,
    gradient: &mut [f32],
    buffers: &mut LossBuffers,
) -> f32 {
    match (loss, task) {
        (Loss::Mnrl { scale, symmetric }, Task::Ranking(ranking)) => {
            Mnrl { scale, symmetric }.evaluate(ranking, embedded, gradient, buffers)
        }
        (Loss::CoSent { scale }, Task::Scored(scored)) => {
            CoSent { scale }.evaluate(scored, embedded, gradient, buffers)
        }
        (Loss::Mnrl { .. }, Task::Scored(_)) | (Loss::CoSent { .. }, Task::Ranking(_)) => {
            unreachable!("a tenant joins only with examples that its loss reads")
        }
    }
}

/// Bytes that a loss needs besides the embeddings.
pub(crate) fn buffer_bytes(task: &Task, hidden: usize) -> usize {
    let floats = match task {
        Task::Ranking(Ranking { anchors, columns, .. }) => {
            2 * (anchors.len() + columns.len()) * (hidden + 1) + 2 * anchors.len() * columns.len()
        }
        Task::Scored(scored) => 2 * scored.left.len() * (hidden + 1) + 2 * scored.left.len(),
    };
    floats * size_of::<f32>()
}
