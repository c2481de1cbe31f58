//! What finding a candidate says of its score, as a logit that a reranker's is added to.

/// Largest logit between what is found best and what is found last.
const SCALE_MAX: f64 = 64.0;

/// Steps of the search: each leaves 0.618 of the range.
const STEPS: usize = 40;

/// What was found for a judged query.
pub(super) struct Found {
    /// From 0 to 1, what finding says of each document.
    pub scores: Vec<f32>,
    /// Whether it answers.
    pub answers: Vec<bool>,
}

/// The factor with which scores of finding, as logits, make known answers likeliest among what does
/// not answer; 0 where nothing is known. The likelihood of a factor has one peak.
pub(super) fn scale(queries: &[Found]) -> f32 {
    const PART: f64 = 0.618_033_988_749_895;
    let (mut low, mut high) = (0.0, SCALE_MAX);
    for _ in 0..STEPS {
        let (left, right) = (high - PART * (high - low), low + PART * (high - low));
        if surprise(queries, left) <= surprise(queries, right) {
            high = right;
        } else {
            low = left;
        }
    }
    (0.5 * (low + high)) as f32
}

/// Sum over all answers of the negative logarithm of their likelihood beside what does not answer.
fn surprise(queries: &[Found], scale: f64) -> f64 {
    let of_query = |query: &Found| {
        let logit = |at: usize| scale * f64::from(query.scores[at]);
        let (right, wrong): (Vec<usize>, Vec<usize>) =
            (0..query.scores.len()).partition(|&at| query.answers[at]);
        // Scores are 1 at most, so no power of e below is above 1.
        let wrong: f64 = wrong.iter().map(|&at| (logit(at) - scale).exp()).sum();
        right
            .iter()
            .map(|&at| (wrong + (logit(at) - scale).exp()).ln() - (logit(at) - scale))
            .sum::<f64>()
    };
    queries.iter().map(of_query).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(scores: &[f32], answer: usize) -> Found {
        let answers = (0..scores.len()).map(|at| at == answer).collect();
        Found { scores: scores.to_vec(), answers }
    }

    #[test]
    fn the_likeliest_scale_is_found() {
        // Of two documents the better answers in three of four: e^s / (1 + e^s) = 3/4.
        let queries: Vec<Found> = [0, 0, 0, 1].map(|answer| found(&[1.0, 0.0], answer)).into();
        assert!((scale(&queries) - 3.0_f32.ln()).abs() < 1e-3, "{}", scale(&queries));
    }

    #[test]
    fn finding_that_says_nothing_or_is_always_right_has_an_end() {
        assert!(scale(&[found(&[1.0, 0.0], 1)]) < 1e-3);
        assert!(scale(&[]) < 1e-3);
        let sure = scale(&[found(&[1.0, 0.0, 0.0], 0)]);
        assert!(sure > 20.0 && f64::from(sure) <= SCALE_MAX, "{sure}");
        let list = [1.0, 0.5, 0.25, 0.0].map(|score| score);
        let mixed: Vec<Found> = (0..4).map(|answer| found(&list, answer)).collect();
        assert!(scale(&mixed) < 0.1);
    }
}
