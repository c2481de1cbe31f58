//! Quality over many queries from the judgments of few, drawn where they tell most.
//!
//! Judging is what costs. If two systems agree on most queries, judging those tells nothing about
//! which is better; so queries are drawn with chances in proportion to a weight, such as how far
//! the systems' rankings disagree, and each drawn score counts by one over its chance. That is the
//! estimator of M. H. Hansen and W. N. Hurwitz, "On the Theory of Sampling from Finite
//! Populations", 1943: draws are with replacement, so it is unbiased whatever the weights, and its
//! variance is that of independent draws.

use std::error::Error;
use std::fmt;

use crate::distribution::student_distance;
use crate::random::{Draws, Stream};
use crate::significance::UnusableSample;

/// Share of the draws, in thousandths, that go to all queries alike: it bounds how much one query
/// can count, at ten times its even share, and gives every query a chance.
const EVEN_PER_MILLE: u32 = 100;

/// Fewest draws from which an interval can be made.
const DRAWS_MIN: u32 = 2;

/// A query that is to be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// Which query, counted from 0.
    pub query: usize,
    /// How often it was drawn; it is judged once and counts as often.
    pub times: u32,
    /// Its chance in one draw.
    pub chance: f64,
}

/// Which queries of a set are to be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    queries: usize,
    drawn: Vec<Drawn>,
}

/// What is known of a set's scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known<'a> {
    /// The score of each drawn query, in the order of [`Sample::drawn`].
    pub scores: &'a [f64],
    /// A guess of every query's score, drawn or not, made without the scores; 0 is a guess too.
    pub predictions: &'a [f64],
}

/// The mean over all queries of a set, from a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// Lower end of its confidence interval.
    pub low: f64,
    /// Upper end of its confidence interval.
    pub high: f64,
}

/// Weights by which no query can be drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum UnusableWeights {
    /// There is no query to draw.
    Empty,
    /// A weight is negative, infinite or no number.
    Weight {
        /// Which query, counted from 0.
        query: usize,
        /// Its weight.
        weight: f64,
    },
    /// One draw or none says nothing about how sure a mean is.
    Draws {
        /// How many were asked for.
        draws: u32,
    },
}

impl Sample {
    /// Draws queries with replacement, in proportion to their weights but for a tenth of the draws,
    /// for which all are alike; if all weights are 0, all are alike throughout.
    ///
    /// # Errors
    /// [`UnusableWeights`] if there are no weights, one is not usable, or fewer than 2 draws are
    /// asked for.
    pub fn draw(weights: &[f64], draws: u32, seed: u64) -> Result<Self, UnusableWeights> {
        let chances = chances(weights, draws)?;
        let mut below = Vec::with_capacity(chances.len());
        let mut sum = 0.0;
        for chance in &chances {
            sum += chance;
            below.push(sum);
        }
        let random = Draws::new(seed, Stream::Sample);
        let mut times = vec![0u32; chances.len()];
        for draw in 0..u64::from(draws) {
            let wanted = random.share(draw, 0) * sum;
            let query = below.partition_point(|below| *below <= wanted).min(chances.len() - 1);
            times[query] += 1;
        }
        let drawn = times.into_iter().zip(chances).enumerate();
        let drawn = drawn.map(|(query, (times, chance))| Drawn { query, times, chance });
        Ok(Self { queries: weights.len(), drawn: drawn.filter(|drawn| drawn.times > 0).collect() })
    }

    /// The drawn queries, each once, in ascending order.
    pub fn drawn(&self) -> &[Drawn] {
        &self.drawn
    }

    /// The mean over all queries of a score that is known of the drawn ones, in their order, with
    /// an interval that covers so many thousandths.
    ///
    /// What is estimated is how far the predictions are off (the difference estimator), so the mean
    /// stays unbiased if they are bad and gets sharper if they are good.
    ///
    /// # Errors
    /// [`UnusableSample`] if scores or predictions are too few or too many, or not finite.
    ///
    /// # Panics
    /// If `confidence_per_mille` is 1000 or more.
    pub fn estimate(
        &self,
        Known { scores, predictions }: Known<'_>,
        confidence_per_mille: u32,
    ) -> Result<Estimate, UnusableSample> {
        assert!(confidence_per_mille < 1000, "no interval is certain");
        for (found, wanted) in [(scores, self.drawn.len()), (predictions, self.queries)] {
            if found.len() != wanted {
                return Err(UnusableSample::Unpaired { before: wanted, after: found.len() });
            }
            if let Some(query) = found.iter().position(|value| !value.is_finite()) {
                return Err(UnusableSample::NotFinite { query });
            }
        }
        let all = self.queries as f64;
        let values = self.drawn.iter().zip(scores).map(|(drawn, score)| {
            let off = score - predictions[drawn.query];
            (f64::from(drawn.times), off / (all * drawn.chance))
        });
        let draws: f64 = self.drawn.iter().map(|drawn| f64::from(drawn.times)).sum();
        let off = values.clone().map(|(times, value)| times * value).sum::<f64>() / draws;
        let squares: f64 = values.map(|(times, value)| times * (value - off).powi(2)).sum();
        let error = (squares / (draws - 1.0) / draws).sqrt();
        let mean = predictions.iter().sum::<f64>() / all + off;
        let outside = f64::from(1000 - confidence_per_mille) / 1000.0;
        let reach = student_distance(outside, draws - 1.0) * error;
        Ok(Estimate { mean, error, low: mean - reach, high: mean + reach })
    }
}

fn chances(weights: &[f64], draws: u32) -> Result<Vec<f64>, UnusableWeights> {
    if weights.is_empty() {
        return Err(UnusableWeights::Empty);
    }
    if draws < DRAWS_MIN {
        return Err(UnusableWeights::Draws { draws });
    }
    let is_usable = |weight: &f64| weight.is_finite() && *weight >= 0.0;
    if let Some(query) = weights.iter().position(|weight| !is_usable(weight)) {
        return Err(UnusableWeights::Weight { query, weight: weights[query] });
    }
    // By the largest first, so that huge weights do not sum up to infinity.
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let share = |weight: &f64| if largest > 0.0 { weight / largest } else { 1.0 };
    let sum: f64 = weights.iter().map(share).sum();
    let even = f64::from(EVEN_PER_MILLE) / 1000.0;
    let chance = |weight| even / weights.len() as f64 + (1.0 - even) * share(weight) / sum;
    Ok(weights.iter().map(chance).collect())
}

impl fmt::Display for UnusableWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(formatter, "there is no query to draw"),
            Self::Weight { query, weight } => {
                write!(formatter, "query number {query} has the weight {weight}")
            }
            Self::Draws { draws } => {
                write!(formatter, "{draws} draws are too few\nhint: draw {DRAWS_MIN} or more")
            }
        }
    }
}

impl Error for UnusableWeights {}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 20_261_128;

    /// A population of 400 queries of which few differ between two systems, and weights that know
    /// roughly which.
    fn population() -> (Vec<f64>, Vec<f64>) {
        let draws = Draws::new(SEED, Stream::Bootstrap);
        let differs = |query| draws.share(query, 0) < 0.2;
        let score = |query| if differs(query) { draws.share(query, 1) * 2.0 - 0.8 } else { 0.0 };
        let weight =
            |query| if differs(query) { 1.0 } else { 0.05 } * (0.5 + draws.share(query, 2));
        ((0..400).map(score).collect(), (0..400).map(weight).collect())
    }

    /// Means, mean standard error and coverage of 95 % intervals over 2000 seeds.
    fn check(weights: &[f64], scores: &[f64], predictions: &[f64]) -> (f64, f64, f64) {
        let truth = scores.iter().sum::<f64>() / scores.len() as f64;
        let (mut sum, mut error, mut covered) = (0.0, 0.0, 0);
        for seed in 0..2000 {
            let sample = Sample::draw(weights, 60, SEED + seed).unwrap();
            let known: Vec<f64> = sample.drawn().iter().map(|drawn| scores[drawn.query]).collect();
            let found = sample.estimate(Known { scores: &known, predictions }, 950).unwrap();
            sum += found.mean;
            error += found.error;
            covered += u32::from((found.low..=found.high).contains(&truth));
        }
        (sum / 2000.0 - truth, error / 2000.0, f64::from(covered) / 2000.0)
    }

    /// The seed of each of the 2000 samples is `SEED` and its number.
    #[test]
    fn estimates_are_unbiased_and_their_intervals_cover() {
        let (scores, weights) = population();
        let none = vec![0.0; scores.len()];
        let (bias, error, covered) = check(&weights, &scores, &none);
        // The mean of 2000 estimates has a standard error of a 45th of one's.
        assert!(
            bias.abs() < 4.0 * error / 2000f64.sqrt(),
            "bias {bias}, error {error}, seed {SEED}"
        );
        assert!(covered >= 0.93, "{covered} covered, seed {SEED}");

        let even = vec![1.0; scores.len()];
        let (even_bias, even_error, even_covered) = check(&even, &scores, &none);
        assert!(even_bias.abs() < 4.0 * even_error / 2000f64.sqrt(), "{even_bias} {even_error}");
        assert!(even_covered >= 0.92, "{even_covered} covered");
        // What weights are for: the same width would take the square of this times the draws.
        assert!(error < 0.65 * even_error, "weighted {error}, even {even_error}");

        let guesses: Vec<f64> = scores.iter().map(|score| score * 0.7).collect();
        let (bias, guessed_error, covered) = check(&weights, &scores, &guesses);
        assert!(bias.abs() < 4.0 * guessed_error / 2000f64.sqrt(), "{bias} {guessed_error}");
        assert!(guessed_error < 0.4 * error && covered >= 0.93, "{guessed_error} {covered}");
    }

    #[test]
    fn draws_follow_their_chances_and_the_seed() {
        let sample = Sample::draw(&[0.0, 1.0, 3.0], 100_000, 7).unwrap();
        let times: Vec<u32> = sample.drawn().iter().map(|drawn| drawn.times).collect();
        assert_eq!(times.iter().sum::<u32>(), 100_000);
        for (drawn, expected) in
            sample.drawn().iter().zip([1.0 / 30.0, 0.225 + 1.0 / 30.0, 0.675 + 1.0 / 30.0])
        {
            assert!((drawn.chance - expected).abs() < 1e-12, "{drawn:?}");
            // Five standard deviations of a share of 100 000 are below 0.008.
            assert!((f64::from(drawn.times) / 1e5 - expected).abs() < 0.008, "{drawn:?}");
        }
        assert_eq!(sample, Sample::draw(&[0.0, 1.0, 3.0], 100_000, 7).unwrap());
        assert_ne!(sample, Sample::draw(&[0.0, 1.0, 3.0], 100_000, 8).unwrap());
        let huge = Sample::draw(&[f64::MAX, f64::MAX], 10, 7).unwrap();
        assert!(huge.drawn().iter().all(|drawn| (drawn.chance - 0.5).abs() < 1e-12));
    }

    #[test]
    fn unusable_input_is_refused() {
        assert_eq!(Sample::draw(&[], 2, 0), Err(UnusableWeights::Empty));
        assert_eq!(Sample::draw(&[1.0], 1, 0), Err(UnusableWeights::Draws { draws: 1 }));
        let negative = UnusableWeights::Weight { query: 1, weight: -1.0 };
        assert_eq!(Sample::draw(&[1.0, -1.0], 2, 0), Err(negative));
        let sample = Sample::draw(&[1.0], 2, 0).unwrap();
        let unpaired = UnusableSample::Unpaired { before: 1, after: 2 };
        let known = Known { scores: &[0.0], predictions: &[0.0, 0.0] };
        assert_eq!(sample.estimate(known, 950), Err(unpaired));
        let not_finite = UnusableSample::NotFinite { query: 0 };
        let known = Known { scores: &[f64::INFINITY], predictions: &[0.0] };
        assert_eq!(sample.estimate(known, 950), Err(not_finite));
    }
}
