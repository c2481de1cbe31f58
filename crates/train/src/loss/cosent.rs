//! CoSENT (Su, 2022): every two scored pairs should have cosines in the order of their scores.
//!
//! `log(1 + Σ exp(scale * (cos_i - cos_j)))` over all pairs `i`, `j` of the batch where `j` is
//! scored higher than `i`.

use serde::{Deserialize, Serialize};

use super::matrix::{Embedded, LossBuffers, dot};

/// Pairs with scores; numbers are rows of the embeddings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// One row a pair.
    pub left: Vec<u32>,
    /// One row a pair.
    pub right: Vec<u32>,
    /// Only their order matters.
    pub scores: Vec<f32>,
}

/// The loss and its parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoSent {
    /// Factor on the cosine.
    pub scale: f32,
}

impl CoSent {
    /// The loss of the batch (a sum over pairs of pairs inside the logarithm, not a mean). Adds its
    /// gradient by the embeddings to `gradient` (`[texts, hidden]`).
    pub fn evaluate(
        &self,
        scored: &Scored,
        embedded: Embedded,
        gradient: &mut [f32],
        buffers: &mut LossBuffers,
    ) -> f32 {
        let (hidden, pairs) = (embedded.hidden, scored.scores.len());
        let LossBuffers { left, right, scores: cosines, slopes, .. } = buffers;
        left.gather(embedded, &scored.left);
        right.gather(embedded, &scored.right);
        cosines.clear();
        let units = left.units.chunks_exact(hidden).zip(right.units.chunks_exact(hidden));
        cosines.extend(units.map(|(left, right)| self.scale * dot(left, right)));
        slopes.clear();
        slopes.resize(pairs, 0.0);
        let loss = order_loss(cosines, &scored.scores, slopes);
        let (left_slopes, right_slopes) =
            (left.slopes.chunks_exact_mut(hidden), right.slopes.chunks_exact_mut(hidden));
        let units = left.units.chunks_exact(hidden).zip(right.units.chunks_exact(hidden));
        for (((left_slope, right_slope), (left, right)), slope) in
            left_slopes.zip(right_slopes).zip(units).zip(slopes.iter())
        {
            let slope = slope * self.scale;
            left_slope.iter_mut().zip(right).for_each(|(into, unit)| *into += slope * unit);
            right_slope.iter_mut().zip(left).for_each(|(into, unit)| *into += slope * unit);
        }
        left.scatter(&scored.left, hidden, gradient);
        right.scatter(&scored.right, hidden, gradient);
        loss
    }
}

/// The loss over scaled cosines; adds its gradient by them to `slopes`.
fn order_loss(cosines: &[f32], scores: &[f32], slopes: &mut [f32]) -> f32 {
    let excess = |(i, j): (usize, usize)| f64::from(cosines[i]) - f64::from(cosines[j]);
    let wrong = || {
        let pairs = (0..scores.len()).flat_map(|i| (0..scores.len()).map(move |j| (i, j)));
        pairs.filter(|&(i, j)| scores[i] < scores[j])
    };
    let highest = wrong().map(excess).fold(0.0, f64::max);
    let sum = (-highest).exp() + wrong().map(|pair| (excess(pair) - highest).exp()).sum::<f64>();
    for (i, j) in wrong() {
        let weight = ((excess((i, j)) - highest).exp() / sum) as f32;
        slopes[i] += weight;
        slopes[j] -= weight;
    }
    (highest + sum.ln()) as f32
}

#[cfg(test)]
mod tests {
    use super::super::testing::{cosine, random_rows, slopes_agree};
    use super::{CoSent, Embedded, LossBuffers, Scored};

    fn naive(cosent: CoSent, scored: &Scored, rows: &[f64], hidden: usize) -> f64 {
        let row = |row: u32| &rows[row as usize * hidden..][..hidden];
        let cosines: Vec<f64> =
            scored.left.iter().zip(&scored.right).map(|(&l, &r)| cosine(row(l), row(r))).collect();
        let mut sum = 1.0;
        for i in 0..cosines.len() {
            for j in 0..cosines.len() {
                if scored.scores[i] < scored.scores[j] {
                    sum += (f64::from(cosent.scale) * (cosines[i] - cosines[j])).exp();
                }
            }
        }
        sum.ln()
    }

    fn check(scale: f32, scores: &[f32]) {
        let hidden = 18;
        let pairs = scores.len() as u32;
        // Neighbouring pairs share a text, as after de-duplication.
        let scored = Scored {
            left: (0..pairs).collect(),
            right: (1..=pairs).collect(),
            scores: scores.to_vec(),
        };
        let rows = random_rows((scores.len() + 1) * hidden, 5);
        let (cosent, mut gradient) = (CoSent { scale }, vec![0.0; rows.len()]);
        let embedded = Embedded { rows: &rows, hidden };
        let loss = cosent.evaluate(&scored, embedded, &mut gradient, &mut LossBuffers::default());
        slopes_agree(loss, &gradient, &rows, |rows| naive(cosent, &scored, rows, hidden));
    }

    #[test]
    fn loss_and_gradient_agree_with_the_definition() {
        for scale in [1.0, 20.0] {
            check(scale, &[0.1, 0.9, 0.4, 0.4]);
            check(scale, &[1.0, 0.0, 1.0, 0.0, 0.5]);
            check(scale, &[0.5, 0.5, 0.5]);
            check(scale, &[0.5]);
        }
    }

    #[test]
    fn a_value_that_is_not_a_number_is_seen() {
        let scored = Scored { left: vec![0, 1], right: vec![2, 3], scores: vec![0.0, 1.0] };
        for at in 0..4 {
            let mut rows = random_rows(16, 3);
            rows[at * 4] = f32::NAN;
            let (embedded, mut gradient) = (Embedded { rows: &rows, hidden: 4 }, vec![0.0; 16]);
            let cosent = CoSent { scale: 20.0 };
            let loss =
                cosent.evaluate(&scored, embedded, &mut gradient, &mut LossBuffers::default());
            assert!(loss.is_nan() && gradient.iter().any(|slope| slope.is_nan()), "text {at}");
        }
    }
}
