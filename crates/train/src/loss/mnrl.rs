//! Multiple-negatives ranking (arXiv:1705.00652): cross entropy over `scale` times the cosine.
//!
//! Columns are the positives of the batch, in the order of their anchors, and then every hard
//! negative once. Unlike sentence-transformers', a hard negative that several examples share is one
//! column, and a column that is known to answer an anchor as well is left out for that anchor.

use serde::{Deserialize, Serialize};

use super::matrix::{Embedded, LossBuffers, add_weighted, products};

/// Who chooses from what; numbers are rows of the embeddings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranking {
    /// One row an example.
    pub anchors: Vec<u32>,
    /// The examples' positives in their order, then hard negatives.
    pub columns: Vec<u32>,
    /// `(anchor, column)` indices that count neither as right nor as wrong.
    pub excluded: Vec<(u32, u32)>,
}

/// The loss and its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mnrl {
    /// Factor on the cosine.
    pub scale: f32,
    /// Take the mean with the ranking of anchors by positives (hard negatives take no part there).
    pub symmetric: bool,
}

impl Mnrl {
    /// The mean loss over the anchors. Adds its gradient by the embeddings to `gradient`
    /// (`[texts, hidden]`).
    pub fn evaluate(
        &self,
        ranking: &Ranking,
        embedded: Embedded,
        gradient: &mut [f32],
        buffers: &mut LossBuffers,
    ) -> f32 {
        let (anchors, columns) = (ranking.anchors.len(), ranking.columns.len());
        if anchors == 0 {
            return 0.0;
        }
        let hidden = embedded.hidden;
        let LossBuffers { left, right, scores, slopes, .. } = buffers;
        left.gather(embedded, &ranking.anchors);
        right.gather(embedded, &ranking.columns);
        products(&left.units, &right.units, hidden, self.scale, scores);
        for &(anchor, column) in &ranking.excluded {
            scores[anchor as usize * columns + column as usize] = f32::NEG_INFINITY;
        }
        slopes.clear();
        slopes.resize(scores.len(), 0.0);
        let directions = if self.symmetric { 2.0 } else { 1.0 };
        let part = 1.0 / (anchors as f32 * directions);
        let mut loss = 0.0;
        for anchor in 0..anchors {
            let row = Choice { first: anchor * columns, step: 1, count: columns, right: anchor };
            loss += row.cross_entropy(scores, slopes, part);
        }
        if self.symmetric {
            for positive in 0..anchors {
                let column =
                    Choice { first: positive, step: columns, count: anchors, right: positive };
                loss += column.cross_entropy(scores, slopes, part);
            }
        }
        slopes.iter_mut().for_each(|slope| *slope *= self.scale);
        for (anchor, slope) in left.slopes.chunks_exact_mut(hidden).enumerate() {
            let weights = slopes[anchor * columns..][..columns].iter().copied();
            add_weighted(slope, weights, &right.units);
        }
        for (column, slope) in right.slopes.chunks_exact_mut(hidden).enumerate() {
            let weights = slopes[column..].iter().step_by(columns).copied();
            add_weighted(slope, weights, &left.units);
        }
        left.scatter(&ranking.anchors, hidden, gradient);
        right.scatter(&ranking.columns, hidden, gradient);
        (loss * f64::from(part)) as f32
    }
}

/// One choice among `count` scores that lie `step` apart.
struct Choice {
    first: usize,
    step: usize,
    count: usize,
    right: usize,
}

impl Choice {
    /// Cross entropy of the choice; adds `part` times its gradient to `slopes`.
    fn cross_entropy(&self, scores: &[f32], slopes: &mut [f32], part: f32) -> f64 {
        let at = |index: usize| self.first + index * self.step;
        let highest = (0..self.count).map(|i| scores[at(i)]).fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = (0..self.count).map(|i| f64::from((scores[at(i)] - highest).exp())).sum();
        let divisor = sum as f32;
        for i in 0..self.count {
            slopes[at(i)] += part * (scores[at(i)] - highest).exp() / divisor;
        }
        slopes[at(self.right)] -= part;
        sum.ln() - f64::from(scores[at(self.right)] - highest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{cosine, random_rows, slopes_agree};
    use super::{Embedded, LossBuffers, Mnrl, Ranking};

    /// The definition, in f64 and with plain loops.
    fn naive(mnrl: Mnrl, ranking: &Ranking, rows: &[f64], hidden: usize) -> f64 {
        let anchors = ranking.anchors.len();
        let score = |anchor: usize, column: usize| {
            let (a, c) = (ranking.anchors[anchor] as usize, ranking.columns[column] as usize);
            f64::from(mnrl.scale)
                * cosine(&rows[a * hidden..][..hidden], &rows[c * hidden..][..hidden])
        };
        let counts = |anchor: usize, column: usize| {
            !ranking.excluded.contains(&(anchor as u32, column as u32))
        };
        let forward = |i: usize| {
            let all = (0..ranking.columns.len()).filter(|&j| counts(i, j));
            all.map(|j| score(i, j).exp()).sum::<f64>().ln() - score(i, i)
        };
        let backward = |j: usize| {
            let all = (0..anchors).filter(|&i| counts(i, j));
            all.map(|i| score(i, j).exp()).sum::<f64>().ln() - score(j, j)
        };
        let mean = |losses: Vec<f64>| losses.iter().sum::<f64>() / anchors as f64;
        let one = mean((0..anchors).map(forward).collect());
        let other = mean((0..anchors).map(backward).collect());
        if mnrl.symmetric { (one + other) / 2.0 } else { one }
    }

    fn check(mnrl: Mnrl, ranking: &Ranking, texts: usize) {
        let hidden = 19;
        let rows = random_rows(texts * hidden, 11);
        let mut gradient = vec![0.0; rows.len()];
        let embedded = Embedded { rows: &rows, hidden };
        let loss = mnrl.evaluate(ranking, embedded, &mut gradient, &mut LossBuffers::default());
        let expected = |rows: &[f64]| naive(mnrl, ranking, rows, hidden);
        slopes_agree(loss, &gradient, &rows, expected);
    }

    #[test]
    fn loss_and_gradient_agree_with_the_definition() {
        let plain = Ranking { anchors: vec![0, 2, 4], columns: vec![1, 3, 5], excluded: vec![] };
        let ragged = Ranking { columns: vec![1, 3, 5, 6, 7], ..plain.clone() };
        // Text 2 is an anchor and a column, as when a text is de-duplicated; some columns are out.
        let shared = Ranking {
            anchors: vec![0, 2, 4],
            columns: vec![1, 3, 5, 2, 6],
            excluded: vec![(0, 2), (1, 3), (2, 1), (2, 4)],
        };
        for scale in [1.0, 20.0] {
            for symmetric in [false, true] {
                for ranking in [&plain, &ragged, &shared] {
                    check(Mnrl { scale, symmetric }, ranking, 8);
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_not_a_number_is_seen_in_the_loss() {
        let ranking = Ranking { anchors: vec![0, 2], columns: vec![1, 3], excluded: vec![] };
        for at in 0..4 {
            let mut rows = random_rows(16, 3);
            rows[at * 4] = f32::NAN;
            let (embedded, mut gradient) = (Embedded { rows: &rows, hidden: 4 }, vec![0.0; 16]);
            let mnrl = Mnrl { scale: 20.0, symmetric: false };
            let loss =
                mnrl.evaluate(&ranking, embedded, &mut gradient, &mut LossBuffers::default());
            assert!(loss.is_nan(), "text {at}: {loss}");
        }
    }
}
