//! How much quality a query would lose, foretold from its hints.
//!
//! Ridge regression (Hoerl and Kennard, 1970) on standardised hints: a few hundred judged queries
//! hold no more than a plane. What a forecast is worth is seen on queries that it did not see.

use serde::{Deserialize, Serialize};

use super::tuned::rounded;

/// How strongly weights are held near 0, for each query that was learnt from.
const RIDGE: f64 = 0.02;

/// Parts into which queries are cut to foretell each from the others.
const FOLDS: usize = 5;

/// A spread below this is that of a hint which never changes.
const SPREAD_MIN: f64 = 1e-9;

/// A plane over hints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Mean loss.
    base: f64,
    /// Mean of each hint.
    means: Vec<f64>,
    /// What a unit of each hint adds.
    weights: Vec<f64>,
}

impl Forecast {
    /// The plane that fits losses best; `rows` has as many hints for each.
    pub(super) fn fit(rows: &[&[f64]], losses: &[f64]) -> Self {
        let width = rows.first().map_or(0, |row| row.len());
        let count = rows.len().max(1) as f64;
        let mean_of = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
        let means: Vec<f64> =
            (0..width).map(|at| mean_of(&mut rows.iter().map(|row| row[at]))).collect();
        let spreads: Vec<f64> = (0..width)
            .map(|at| mean_of(&mut rows.iter().map(|row| (row[at] - means[at]).powi(2))).sqrt())
            .collect();
        let base = mean_of(&mut losses.iter().copied());
        let unit = |row: &[f64], at: usize| match spreads[at] > SPREAD_MIN {
            true => (row[at] - means[at]) / spreads[at],
            false => 0.0,
        };
        let mut system = vec![vec![0.0; width + 1]; width];
        for (row, loss) in rows.iter().zip(losses) {
            let units: Vec<f64> = (0..width).map(|at| unit(row, at)).collect();
            for (equation, one) in system.iter_mut().zip(&units) {
                let right = loss - base;
                for (sum, other) in equation.iter_mut().zip(units.iter().chain([&right])) {
                    *sum += one * other;
                }
            }
        }
        for (at, row) in system.iter_mut().enumerate() {
            row[at] += RIDGE * count;
        }
        let solved = solve(system);
        let weights = solved
            .iter()
            .zip(&spreads)
            .map(|(weight, &spread)| if spread > SPREAD_MIN { weight / spread } else { 0.0 });
        let means = means.iter().copied().map(rounded).collect();
        Self { base: rounded(base), weights: weights.map(rounded).collect(), means }
    }

    /// The loss that these hints foretell.
    pub(super) fn loss(&self, hints: &[f64]) -> f64 {
        let parts = self.weights.iter().zip(&self.means).zip(hints);
        self.base + parts.map(|((weight, mean), hint)| weight * (hint - mean)).sum::<f64>()
    }

    /// For each query the loss that the others foretell. Neighbours, which may ask for the same
    /// things, are left out together.
    pub(super) fn of_each_from_others(rows: &[Vec<f64>], losses: &[f64]) -> Vec<f64> {
        Self::of_others_from_others(rows, losses, rows)
    }

    /// The same where other hints of each query are asked than those that were learnt from.
    pub(super) fn of_others_from_others(
        rows: &[Vec<f64>],
        losses: &[f64],
        asked: &[Vec<f64>],
    ) -> Vec<f64> {
        let fold = |at: usize| at * FOLDS / rows.len().max(1);
        let forecasts: Vec<Self> = (0..FOLDS)
            .map(|left_out| {
                let kept = || (0..rows.len()).filter(|&at| fold(at) != left_out);
                let others: Vec<&[f64]> = kept().map(|at| rows[at].as_slice()).collect();
                Self::fit(&others, &kept().map(|at| losses[at]).collect::<Vec<_>>())
            })
            .collect();
        asked.iter().enumerate().map(|(at, row)| forecasts[fold(at)].loss(row)).collect()
    }

    /// Whether it is one for so many hints, of numbers.
    pub(super) fn is_sound(&self, hints: usize) -> bool {
        let all = self.weights.iter().chain(&self.means).chain([&self.base]);
        let (weights, means) = (self.weights.len(), self.means.len());
        weights == hints && means == hints && all.into_iter().all(|value| value.is_finite())
    }
}

/// Gauss's elimination; `system` is positive definite, with the right side as last column.
fn solve(mut system: Vec<Vec<f64>>) -> Vec<f64> {
    let width = system.len();
    for at in 0..width {
        let pivot = system[at].clone();
        for row in system.iter_mut().skip(at + 1) {
            let factor = row[at] / pivot[at];
            for (value, above) in row.iter_mut().zip(&pivot).skip(at) {
                *value -= factor * above;
            }
        }
    }
    let mut solved = vec![0.0; width];
    for at in (0..width).rev() {
        let known: f64 = (at + 1..width).map(|other| system[at][other] * solved[other]).sum();
        solved[at] = (system[at][width] - known) / system[at][at];
    }
    solved
}

#[cfg(test)]
mod tests {
    use cotenant_transformer::random::{mix, unit};

    use super::*;

    const SEED: u64 = 11;

    fn drawn(queries: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
        let draw = |query: usize, hint: u64| f64::from(unit(mix(&[SEED, query as u64, hint])));
        let rows: Vec<Vec<f64>> =
            (0..queries).map(|query| vec![draw(query, 0), draw(query, 1), 0.5]).collect();
        let losses = rows.iter().map(|row| 0.2 - 0.3 * row[0] + 0.05 * row[1]).collect();
        (rows, losses)
    }

    #[test]
    fn a_plane_is_found_again() {
        println!("seed {SEED}");
        let (rows, losses) = drawn(400);
        let borrowed: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let forecast = Forecast::fit(&borrowed, &losses);
        assert!(forecast.is_sound(3));
        assert!(!forecast.is_sound(2));
        let others = Forecast::of_each_from_others(&rows, &losses);
        for ((row, loss), other) in rows.iter().zip(&losses).zip(others) {
            assert!((forecast.loss(row) - loss).abs() < 0.01, "{row:?}");
            assert!((other - loss).abs() < 0.01, "{row:?}");
        }
    }

    #[test]
    fn chance_foretells_no_query_that_was_not_seen() {
        println!("seed {SEED}");
        let (rows, _) = drawn(60);
        // One query alone loses, and no other has its like.
        let losses: Vec<f64> = (0..60).map(|at| if at == 30 { 1.0 } else { 0.0 }).collect();
        let others = Forecast::of_each_from_others(&rows, &losses);
        assert!(others[30].abs() < 0.2, "{}", others[30]);
        assert!(Forecast::of_each_from_others(&[], &[]).is_empty());
    }
}
