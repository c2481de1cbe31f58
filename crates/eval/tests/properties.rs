//! What holds for every ranking and every sample.
//!
//! proptest draws short rankings with grades 0 to 3, so that ties, repeats and empty lists are
//! common; it prints its seed and keeps found cases.

#![expect(clippy::unwrap_used, reason = "a panic is how a property fails")]

use proptest::prelude::*;

use cotenant_eval::{
    Judged, Metric, Ranked, Resampling, Scores, by_score, compare, permutation_p_value, top,
};

const FEW: Resampling = Resampling { samples: 200, confidence_per_mille: 900, seed: 11 };

/// Grades of a ranking, and grades of relevant documents that it did not find.
fn cases() -> impl Strategy<Value = (Vec<u32>, Vec<u32>)> {
    let found = prop::collection::vec(0u32..4, 0..12);
    let missed = prop::collection::vec(1u32..4, 0..6);
    (found, missed).prop_filter("a relevant document", |(found, missed)| {
        found.iter().chain(missed).any(|grade| *grade > 0)
    })
}

fn judged(found: &[u32], missed: &[u32]) -> Judged {
    let positives = found.iter().chain(missed).copied().collect();
    Judged::from_grades(found.to_vec(), positives).unwrap().unwrap()
}

fn samples() -> impl Strategy<Value = Vec<(f64, f64)>> {
    let thousandth = || (0u32..=1000).prop_map(|value| f64::from(value) / 1000.0);
    prop::collection::vec((thousandth(), thousandth()), 1..40)
}

proptest! {
    #[test]
    fn every_metric_is_a_share((found, missed) in cases(), depth in 1usize..15) {
        for metric in Metric::ALL {
            let value = metric.at(depth, &judged(&found, &missed));
            prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{metric}@{depth}: {value}");
        }
    }

    #[test]
    fn the_ideal_ranking_is_perfect((found, missed) in cases(), depth in 1usize..15) {
        let ideal = judged(&found, &missed).ideal().to_vec();
        let scores = Scores::at(depth, &judged(&ideal, &[]));
        prop_assert!((scores.ndcg - 1.0).abs() < 1e-12);
        prop_assert_eq!((scores.mrr, scores.hit_rate), (1.0, 1.0));
        if depth >= ideal.len() {
            prop_assert!((scores.map - 1.0).abs() < 1e-12 && scores.recall == 1.0);
        } else {
            prop_assert_eq!(scores.precision, 1.0);
        }
    }

    #[test]
    fn what_follows_the_depth_changes_nothing(
        (found, missed) in cases(),
        depth in 1usize..15,
        irrelevant in 0usize..4,
    ) {
        let scores = Scores::at(depth, &judged(&found, &missed));
        let mut longer = found.clone();
        longer.extend(vec![0; irrelevant]);
        prop_assert_eq!(scores, Scores::at(depth, &judged(&longer, &missed)));
        // The documents below the depth may stand in any order.
        let mut turned = found.clone();
        let cut = depth.min(turned.len());
        turned[cut..].reverse();
        prop_assert_eq!(scores, Scores::at(depth, &judged(&turned, &missed)));
    }

    #[test]
    fn a_better_document_further_up_never_hurts((found, missed) in cases(), depth in 1usize..15) {
        let before = Scores::at(depth, &judged(&found, &missed));
        for place in 1..found.len() {
            let mut swapped = found.clone();
            if swapped[place] > swapped[place - 1] {
                swapped.swap(place, place - 1);
            }
            let after = Scores::at(depth, &judged(&swapped, &missed));
            for metric in Metric::ALL {
                prop_assert!(after.get(metric) >= before.get(metric) - 1e-12, "{metric}");
            }
        }
    }

    #[test]
    fn deeper_finds_no_less((found, missed) in cases(), depth in 1usize..15) {
        let judged = judged(&found, &missed);
        for metric in [Metric::Recall, Metric::Mrr, Metric::Map, Metric::HitRate] {
            prop_assert!(metric.at(depth + 1, &judged) >= metric.at(depth, &judged), "{metric}");
        }
    }

    #[test]
    fn the_top_is_the_head_of_the_sorted_list(
        scores in prop::collection::vec((0u32..6).prop_map(|score| score as f32 / 5.0), 0..60),
        depth in 0usize..70,
        turn in 0usize..60,
    ) {
        let mut documents: Vec<_> =
            scores.iter().enumerate().map(|(document, score)| Ranked { document, score: *score })
            .collect();
        let mut sorted = documents.clone();
        sorted.sort_by(by_score);
        sorted.truncate(depth);
        let middle = turn % documents.len().max(1);
        documents.rotate_left(middle);
        prop_assert_eq!(top(documents, depth), sorted);
    }

    #[test]
    fn a_comparison_is_sound_and_has_two_sides(pairs in samples()) {
        let (before, after): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let forward = compare(&before, &after, FEW).unwrap();
        prop_assert!(forward.low <= forward.high);
        prop_assert!(forward.p_value > 0.0 && forward.p_value <= 1.0);
        prop_assert_eq!(forward, compare(&before, &after, FEW).unwrap());

        let backward = compare(&after, &before, FEW).unwrap();
        prop_assert_eq!(forward.difference, -backward.difference);
        prop_assert_eq!(forward.p_value, backward.p_value);
        // The cut is the same above and below, so the interval turns round exactly.
        prop_assert_eq!((forward.low, forward.high), (-backward.high, -backward.low));
    }

    #[test]
    fn the_same_system_twice_is_no_evidence(before in prop::collection::vec(0.0f64..1.0, 1..30)) {
        let differences = vec![0.0; before.len()];
        prop_assert_eq!(permutation_p_value(&differences, FEW).unwrap(), 1.0);
    }
}
