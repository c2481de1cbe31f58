//! Localised contrastive estimation for rerankers (Gao, Dai and Callan, arXiv:2101.08751): cross
//! entropy of the right candidate among the candidates of its own question, over scores.
//!
//! Candidates are compared with no other question's, unlike in multiple-negatives ranking: each of
//! them was read together with its question, and would have to be read again with another.
//!
//! What is known of a candidate beforehand, its prior, is added to what the head says of it, so that
//! the head learns the rest, as residual embeddings do beside words (Gao et al., arXiv:2004.13969).

use cotenant_transformer::HeadSlopes;

use super::matrix::LossBuffers;
use super::{Judged, Slopes};

/// Candidates of questions; numbers are rows of what the encoder made of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choices {
    /// The candidates of each question in turn, the right one first.
    pub(crate) candidates: Vec<u32>,
    /// What is known of each candidate's score beforehand, as a logit.
    pub(crate) priors: Vec<f32>,
    /// Where each question's candidates end.
    pub(crate) ends: Vec<usize>,
}

impl Choices {
    /// The candidates of each question, and their priors.
    fn iter(&self) -> impl Iterator<Item = (&[u32], &[f32])> {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .map(|(begin, &end)| (&self.candidates[begin..end], &self.priors[begin..end]))
    }
}

/// The mean loss over the questions. Adds the gradient by the rows, through the adapter's head, and
/// that by the head's values, both times the batch's part.
///
/// # Panics
/// If the adapter has no head, which a tenant of this loss always has.
pub(super) fn evaluate(
    choices: &Choices,
    judged: Judged<'_>,
    gradients: Slopes<'_>,
    buffers: &mut LossBuffers,
) -> f32 {
    let Judged { embedded, adapter, part, .. } = judged;
    let LossBuffers { scores, slopes, head: tape, before, .. } = buffers;
    let head = adapter.layout.head().expect("a tenant of this loss has an adapter with a head");
    let texts = embedded.rows.len() / embedded.hidden;
    scores.resize(texts, 0.0);
    head.scores(&adapter.values, embedded.rows, tape, scores);
    slopes.clear();
    slopes.resize(texts, 0.0);
    let questions = choices.ends.len().max(1) as f32;
    let mut loss = 0.0;
    for question in choices.iter() {
        loss += cross_entropy(question, scores, slopes, part / questions);
    }
    // Summed up before it is added to what is there, so that its bits do not depend on that.
    let part = head.values();
    before.clear();
    before.extend_from_slice(&gradients.values[part.clone()]);
    gradients.values[part.clone()].fill(0.0);
    let slopes = HeadSlopes {
        rows: embedded.rows,
        d_scores: slopes,
        d_rows: gradients.rows,
        gradient: gradients.values,
    };
    head.backward(&adapter.values, tape, slopes);
    let values = gradients.values[part].iter_mut().zip(&*before);
    values.for_each(|(value, before)| *value += before);
    (loss / f64::from(questions)) as f32
}

/// Cross entropy of the first candidate among all; adds `part` times its gradient to `slopes`.
fn cross_entropy(
    (candidates, priors): (&[u32], &[f32]),
    scores: &[f32],
    slopes: &mut [f32],
    part: f32,
) -> f64 {
    let Some(right) = candidates.first() else { return 0.0 };
    let logits = || candidates.iter().zip(priors).map(|(row, prior)| scores[*row as usize] + prior);
    let highest = logits().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits().map(|logit| f64::from((logit - highest).exp())).sum();
    let divisor = sum as f32;
    for (row, logit) in candidates.iter().zip(logits()) {
        slopes[*row as usize] += part * (logit - highest).exp() / divisor;
    }
    slopes[*right as usize] -= part;
    sum.ln() - f64::from(scores[*right as usize] + priors[0] - highest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cotenant_transformer::{Adapter, AdapterLayout, EncoderConfig, Head};

    use super::super::testing::{random_rows, slopes_agree};
    use super::super::{Embedded, Task};
    use super::{Choices, Judged, LossBuffers, Slopes, evaluate};

    const HIDDEN: usize = 19;

    fn adapter() -> Adapter {
        let config = EncoderConfig {
            hidden: HIDDEN,
            layers: 1,
            heads: 1,
            intermediate: 4,
            vocab: 4,
            positions: 4,
            token_types: 2,
            norm_eps: 1e-12,
            position_offset: 0,
        };
        let layout = Arc::new(AdapterLayout::default().with_head(&config));
        let values = random_rows(layout.len(), 5).iter().map(|value| value * 0.5).collect();
        Adapter { layout, values }
    }

    /// The definition, in f64 and with plain loops.
    fn naive(choices: &Choices, values: &[f64], head: &Head, rows: &[f64]) -> f64 {
        let score = |text: u32| {
            let row = &rows[text as usize * HIDDEN..][..HIDDEN];
            let activated = |unit: usize| {
                let weights = &values[head.dense.clone()][unit * HIDDEN..][..HIDDEN];
                let sum: f64 = weights.iter().zip(row).map(|(w, x)| w * x).sum();
                (sum + values[head.dense_bias.start + unit]).tanh()
            };
            let out = values[head.out.clone()].iter().enumerate();
            out.map(|(unit, w)| w * activated(unit)).sum::<f64>() + values[head.out_bias.start]
        };
        let one = |(candidates, priors): (&[u32], &[f32])| {
            let logit = |at: usize| score(candidates[at]) + f64::from(priors[at]);
            (0..candidates.len()).map(|at| logit(at).exp()).sum::<f64>().ln() - logit(0)
        };
        choices.iter().map(one).sum::<f64>() / choices.ends.len() as f64
    }

    /// Compares the loss, the gradient by rows and the gradient by the head's values with the
    /// definition and its central differences.
    fn check(choices: &Choices, texts: usize, part: f32) {
        let (adapter, rows) = (adapter(), random_rows(texts * HIDDEN, 11));
        let head = adapter.layout.head().unwrap();
        let (mut by_rows, mut by_values) = (vec![0.0; rows.len()], vec![0.0; adapter.values.len()]);
        let task = Task::Choices(choices.clone());
        let embedded = Embedded { rows: &rows, hidden: HIDDEN };
        let judged = Judged { task: &task, embedded, adapter: &adapter, part };
        let slopes = Slopes { rows: &mut by_rows, values: &mut by_values };
        let loss = evaluate(choices, judged, slopes, &mut LossBuffers::default());
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let scaled = |slopes: Vec<f32>| slopes.iter().map(|slope| slope / part).collect::<Vec<_>>();
        let values = wide(&adapter.values);
        slopes_agree(loss, &scaled(by_rows), &rows, |rows| naive(choices, &values, head, rows));
        let rows = wide(&rows);
        slopes_agree(loss, &scaled(by_values), &adapter.values, |values| {
            naive(choices, values, head, &rows)
        });
    }

    #[test]
    fn loss_and_gradients_agree_with_the_definition() {
        check(&choices(&[0, 1, 2, 3, 4], &[3, 5]), 5, 1.0);
        // A text that is a candidate twice, a question of one candidate, and a part of a step.
        check(&choices(&[2, 0, 3, 1, 0, 4, 2], &[3, 4, 7]), 5, 0.25);
        // What is known beforehand.
        let priors = vec![0.5, 3.0, -1.0, 0.0, 0.0, 2.0, 1.5];
        check(&Choices { priors, ..choices(&[2, 0, 3, 1, 0, 4, 2], &[3, 4, 7]) }, 5, 1.0);
    }

    /// Of which nothing is known.
    fn choices(candidates: &[u32], ends: &[usize]) -> Choices {
        let priors = vec![0.0; candidates.len()];
        Choices { candidates: candidates.to_vec(), priors, ends: ends.to_vec() }
    }

    #[test]
    fn a_value_that_is_not_a_number_is_seen_in_the_loss() {
        let choices = choices(&[0, 1, 2, 3], &[2, 4]);
        for at in 0..4 {
            let (adapter, mut rows) = (adapter(), random_rows(4 * HIDDEN, 3));
            rows[at * HIDDEN] = f32::NAN;
            let task = Task::Choices(choices.clone());
            let embedded = Embedded { rows: &rows, hidden: HIDDEN };
            let judged = Judged { task: &task, embedded, adapter: &adapter, part: 1.0 };
            let (mut by_rows, mut by_values) =
                (vec![0.0; rows.len()], vec![0.0; adapter.values.len()]);
            let slopes = Slopes { rows: &mut by_rows, values: &mut by_values };
            let loss = evaluate(&choices, judged, slopes, &mut LossBuffers::default());
            assert!(loss.is_nan(), "text {at}: {loss}");
        }
    }
}
