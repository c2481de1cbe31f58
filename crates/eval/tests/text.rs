//! Text metrics beside rouge-score, sacrebleu and nltk.
//!
//! `golden/text_metrics.py` wrote what the packages compute; here every number is computed again.

#![expect(clippy::unwrap_used, reason = "a wrong golden file fails the test")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use cotenant_eval::text::{Bleu, Language, Overlap, Pair, Rouge, Stemming, meteor, words};

const TOLERANCE: f64 = 1e-9;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/text_metrics.json");
    let text = fs::read_to_string(&path).expect("golden/text_metrics.json is committed");
    serde_json::from_str(&text).expect("golden/text_metrics.json is JSON")
}

fn language(case: &Value) -> Language {
    match case["language"].as_str().unwrap() {
        "english" => Language::English,
        "chinese" => Language::Chinese,
        other => panic!("no language is called {other}"),
    }
}

fn check(what: &str, found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= TOLERANCE, "{what}: {found}, not {expected}");
}

fn check_rouge(case: &Value, stemming: Stemming, expected: &Value) {
    let pair = pair(case);
    let found = Rouge::new(pair, language(case), stemming);
    for (name, overlap) in [("rouge1", found.one), ("rouge2", found.two), ("rougeL", found.longest)]
    {
        let Overlap { precision, recall, f1 } = overlap;
        for (place, found) in [precision, recall, f1].into_iter().enumerate() {
            check(&format!("{name} {place} of {pair:?}"), found, &expected[name][place]);
        }
    }
}

fn pair(case: &Value) -> Pair<'_> {
    let text = |key: &str| case[key].as_str().unwrap();
    Pair { reference: text("reference"), answer: text("answer") }
}

#[test]
fn rouge_is_that_of_rouge_score() {
    let golden = golden();
    let (mut plain, mut stemmed) = (0, 0);
    for case in golden["pairs"].as_array().unwrap() {
        check_rouge(case, Stemming::None, &case["rouge"]);
        plain += 1;
        if let Some(expected) = case.get("rouge_stemmed") {
            check_rouge(case, Stemming::Porter, expected);
            stemmed += 1;
        }
    }
    assert!(plain > stemmed && stemmed > 50, "{plain} cases and {stemmed} with stems");
}

#[test]
fn bleu_is_that_of_sacrebleu() {
    let golden = golden();
    for case in golden["pairs"].as_array().unwrap() {
        let Pair { reference, answer } = pair(case);
        let found = Bleu::new(&[reference], answer, language(case)).sentence_score();
        check(&format!("BLEU of {reference:?} and {answer:?}"), found * 100.0, &case["bleu"]);
    }
    for corpus in golden["corpora"].as_array().unwrap() {
        let texts = |key: &str| -> Vec<&str> {
            corpus[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
        };
        let (references, answers) = (texts("references"), texts("answers"));
        let (mut one, mut two) = (Bleu::default(), Bleu::default());
        for (number, answer) in answers.iter().enumerate() {
            let own = references[number];
            let other = references[(number + 1) % references.len()];
            one += Bleu::new(&[own], answer, language(corpus));
            two += Bleu::new(&[own, other], answer, language(corpus));
        }
        check("BLEU of a corpus", one.score() * 100.0, &corpus["bleu"]);
        check("BLEU with two references", two.score() * 100.0, &corpus["bleu_of_two"]);
    }
}

#[test]
fn meteor_is_that_of_nltk_without_synonyms() {
    for case in golden()["pairs"].as_array().unwrap() {
        let Pair { reference, answer } = pair(case);
        let found = meteor(&[words(reference)], &words(answer));
        check(&format!("METEOR of {reference:?} and {answer:?}"), found, &case["meteor"]);
    }
}

proptest! {
    #[test]
    fn every_text_has_scores_between_0_and_1(reference in "\\PC{0,60}", answer in "\\PC{0,60}") {
        let pair = Pair { reference: &reference, answer: &answer };
        for language in [Language::English, Language::Chinese] {
            let rouge = Rouge::new(pair, language, Stemming::Porter);
            let bleu = Bleu::new(&[&reference], &answer, language);
            for found in [
                rouge.one.f1,
                rouge.two.f1,
                rouge.longest.f1,
                bleu.score(),
                bleu.sentence_score(),
                meteor(&[words(&reference)], &words(&answer)),
            ] {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&found), "{found}");
            }
            let same = Rouge::new(Pair { answer: &reference, ..pair }, language, Stemming::None);
            prop_assert!(same.longest.f1 == 1.0 || same.longest.f1 == 0.0);
            prop_assert!(same.one.f1 == same.longest.f1);
        }
    }

    /// The longest common subsequence beside the definition: the best of all subsequences.
    #[test]
    fn the_longest_common_subsequence_is_the_longest(
        left in prop::collection::vec(0u8..3, 0..10),
        right in prop::collection::vec(0u8..3, 0..10),
    ) {
        let text = |letters: &[u8]| -> String {
            letters.iter().map(|letter| format!("w{letter} ")).collect()
        };
        let is_within = |wanted: &[u8]| {
            let mut rest = right.iter();
            wanted.iter().all(|letter| rest.any(|other| other == letter))
        };
        let subsequence = |mask: u32| -> Vec<u8> {
            let kept = left.iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1);
            kept.map(|(_, letter)| *letter).collect()
        };
        let all = (0..1u32 << left.len()).map(subsequence);
        let longest = all.filter(|wanted| is_within(wanted)).map(|wanted| wanted.len()).max();
        let (reference, answer) = (text(&left), text(&right));
        let pair = Pair { reference: &reference, answer: &answer };
        let found = Rouge::new(pair, Language::English, Stemming::None).longest.recall;
        let expected = longest.unwrap() as f64 / left.len().max(1) as f64;
        prop_assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }
}
