//! Losses over embeddings: pure functions of the rows of one tenant's batch, one order of summing.

mod cosent;
mod lce;
mod matrix;
mod mnrl;
#[cfg(test)]
mod testing;

pub use cosent::{CoSent, Scored};
pub(crate) use lce::Choices;
pub use matrix::{Embedded, LossBuffers};
pub use mnrl::{Mnrl, Ranking};

use cotenant_transformer::Adapter;

use crate::spec::Loss;

/// What a loss compares; rows refer to the texts of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// Anchors and the texts they choose from.
    Ranking(Ranking),
    /// Pairs with a score each.
    Scored(Scored),
    /// Candidates of questions.
    Choices(Choices),
}

impl Task {
    /// Refers to text `places[row]` wherever it referred to text `row`.
    pub(crate) fn renumber(&mut self, places: &[u32]) {
        let rows = match self {
            Task::Ranking(Ranking { anchors, columns, .. }) => [Some(anchors), Some(columns)],
            Task::Scored(Scored { left, right, .. }) => [Some(left), Some(right)],
            Task::Choices(Choices { candidates, .. }) => [Some(candidates), None],
        };
        for row in rows.into_iter().flatten().flatten() {
            *row = places[*row as usize];
        }
    }
}

/// A batch whose texts went through the encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged<'a> {
    /// What is compared.
    pub(crate) task: &'a Task,
    /// What the encoder made of the texts.
    pub(crate) embedded: Embedded<'a>,
    /// The adapter that it did so with, whose head reads the rows if the loss is over scores.
    pub(crate) adapter: &'a Adapter,
    /// What gradients are multiplied with.
    pub(crate) part: f32,
}

/// Where gradients go.
#[derive(Debug)]
pub(crate) struct Slopes<'a> {
    /// `[texts, hidden]`, by what the encoder made of the texts; zero before.
    pub(crate) rows: &'a mut [f32],
    /// By the adapter's values: a head's part is added, the others are backward's.
    pub(crate) values: &'a mut [f32],
}

/// The loss of a batch, and its gradients times the batch's part.
pub(crate) fn evaluate(
    loss: Loss,
    judged: Judged<'_>,
    slopes: Slopes<'_>,
    buffers: &mut LossBuffers,
) -> f32 {
    let Judged { embedded, part, .. } = judged;
    let value = match (loss, judged.task) {
        (Loss::Mnrl { scale, symmetric }, Task::Ranking(ranking)) => {
            Mnrl { scale, symmetric }.evaluate(ranking, embedded, slopes.rows, buffers)
        }
        (Loss::CoSent { scale }, Task::Scored(scored)) => {
            CoSent { scale }.evaluate(scored, embedded, slopes.rows, buffers)
        }
        (Loss::Lce, Task::Choices(choices)) => {
            return lce::evaluate(choices, judged, slopes, buffers);
        }
        (Loss::Mnrl { .. }, Task::Scored(_) | Task::Choices(_))
        | (Loss::CoSent { .. }, Task::Ranking(_) | Task::Choices(_))
        | (Loss::Lce, Task::Ranking(_) | Task::Scored(_)) => {
            unreachable!("a tenant joins only with examples that its loss reads")
        }
    };
    slopes.rows.iter_mut().for_each(|slope| *slope *= part);
    value
}

/// Bytes that a loss needs besides the embeddings.
pub(crate) fn buffer_bytes(task: &Task, hidden: usize) -> usize {
    let floats = match task {
        Task::Ranking(Ranking { anchors, columns, .. }) => {
            2 * (anchors.len() + columns.len()) * (hidden + 1) + 2 * anchors.len() * columns.len()
        }
        Task::Scored(scored) => 2 * scored.left.len() * (hidden + 1) + 2 * scored.left.len(),
        // Candidates are counted once a question, and so not too low where they repeat; and a head.
        Task::Choices(choices) => {
            (choices.candidates.len() + 1) * (hidden + 2) + hidden * hidden + 2 * hidden + 1
        }
    };
    floats * size_of::<f32>()
}
