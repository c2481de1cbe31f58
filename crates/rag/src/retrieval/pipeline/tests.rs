//! Pipelines over a made-up collection: half of its queries are answered by a rare word, the other
//! half by vectors alone.

use std::borrow::Cow;
use std::cell::Cell;

use cotenant_index::{Hit, Slot};
use cotenant_transformer::random::{mix, unit};

use super::*;
use crate::retrieval::Vectors;

const SEED: u64 = 5;
const DOCUMENTS: usize = 400;
const WIDTH: usize = 64;

fn noise(of: u64, at: usize) -> f32 {
    unit(mix(&[SEED, of, at as u64])) - 0.5
}

fn unit_vector(of: u64) -> Vec<f32> {
    let values: Vec<f32> = (0..WIDTH).map(|at| noise(of, at)).collect();
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter().map(|v| v / length).collect()
}

/// A vector near that of a document.
fn near(document: u64, salt: u64) -> Vec<f32> {
    let (own, other) = (unit_vector(document), unit_vector(1_000_000 + salt));
    own.iter().zip(other).map(|(own, other)| own + 0.5 * other).collect()
}

fn collection() -> Collection {
    let common = |document: u64, at: u64| mix(&[SEED, document, at, 77]) % 12;
    let texts = (0..DOCUMENTS as u64).map(|document| {
        let words: Vec<String> = (0..10)
            .map(|at| format!("common{}", char::from(b'a' + common(document, at) as u8)))
            .collect();
        format!("rare{} {}", letters(document), words.join(" "))
    });
    let values = (0..DOCUMENTS as u64).flat_map(unit_vector).collect();
    Collection::new(texts.collect(), Vectors { values, width: WIDTH }).unwrap()
}

/// A number as letters, so that it is a word and no code.
fn letters(number: u64) -> String {
    format!("{number:03}").bytes().map(|digit| char::from(digit - b'0' + b'k')).collect()
}

struct Queries {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    answers: Vec<u32>,
}

/// Even queries name a rare word and have a vector of something else; odd ones the other way round.
fn queries(count: usize, salt: u64) -> Queries {
    let answers: Vec<u32> =
        (0..count as u64).map(|at| (mix(&[SEED, salt, at]) % DOCUMENTS as u64) as u32).collect();
    let texts = answers.iter().enumerate().map(|(at, &answer)| match at % 2 {
        0 => format!("rare{} commona", letters(answer.into())),
        _ => "commona commonb commonc".to_owned(),
    });
    let vectors = answers.iter().enumerate().map(|(at, &answer)| match at % 2 {
        0 => unit_vector(2_000_000 + at as u64),
        _ => near(answer.into(), at as u64),
    });
    Queries { texts: texts.collect(), vectors: vectors.collect(), answers }
}

fn tuned(collection: &Collection, queries: &Queries) -> Tuned {
    learnt(collection, queries).tuned
}

fn learnt(collection: &Collection, queries: &Queries) -> Learnt {
    learnt_with(collection, queries, None)
}

fn learnt_with(
    collection: &Collection,
    queries: &Queries,
    reranker: Option<&dyn Reranker>,
) -> Learnt {
    let dev: Vec<DevQuery<'_>> = queries
        .texts
        .iter()
        .zip(&queries.vectors)
        .zip(&queries.answers)
        .map(|((text, vector), &answer)| DevQuery {
            text: text.into(),
            vector,
            gains: vec![(answer, 1)],
            without: None,
        })
        .collect();
    let prices = Prices::for_dimensions(WIDTH);
    Calibration { retrievers: collection, dev: &dev, prices, reranker }.run().unwrap()
}

#[test]
fn a_query_that_words_answer_costs_no_vector() {
    let collection = collection();
    let tuned = tuned(&collection, &queries(200, 1));
    let pipeline = Pipeline { retrievers: &collection, tuned: &tuned, reranker: None };
    let effort = tuned.effort(1.0, 0.99);
    assert!(matches!(effort, Effort::Needed(_)), "{tuned:?}");
    let fresh = queries(100, 2);
    let (mut right, mut right_all, mut encoded) = ([0; 2], [0; 2], [0; 2]);
    for (at, text) in fresh.texts.iter().enumerate() {
        let was_asked = Cell::new(0);
        let vector = || {
            was_asked.set(was_asked.get() + 1);
            Some(fresh.vectors[at].clone())
        };
        let asked = Asked { text, count: 10, without: None };
        let found = pipeline.answer(&asked, effort, &vector).unwrap();
        assert_eq!(u64::from(was_asked.get() > 0), found.work.encoded);
        assert!(was_asked.get() <= 1, "the vector is made once");
        assert_eq!(found.reached == Reached::Words, found.work.encoded == 0);
        encoded[at % 2] += found.work.encoded;
        let all = pipeline.answer(&asked, Effort::To(Reached::All), &vector).unwrap();
        assert_eq!((all.reached, all.work.full), (Reached::All, DOCUMENTS as u64));
        let is_right =
            |hits: &[Hit]| hits.first().is_some_and(|hit| hit.slot.0 == fresh.answers[at]);
        right[at % 2] += u32::from(is_right(&found.hits));
        right_all[at % 2] += u32::from(is_right(&all.hits));
    }
    assert_eq!(encoded, [0, 50], "words answer even queries, and odd ones need their vector");
    assert!(right[0] >= 49 && right[1] + 1 >= right_all[1], "{right:?} of {right_all:?}");
}

#[test]
fn calibration_is_the_same_each_time_and_its_file_is_read_back() {
    let (collection, queries) = (collection(), queries(120, 3));
    let one = tuned(&collection, &queries);
    assert_eq!(one, tuned(&collection, &queries));
    assert_eq!(Tuned::from_json(one.to_json().as_bytes()).unwrap(), one);
}

#[test]
fn a_file_that_cannot_be_right_is_refused() {
    let collection = collection();
    let json = tuned(&collection, &queries(40, 4)).to_json();
    let check = |from: &str, to: &str, expected: &str| {
        assert!(json.contains(from), "{from}");
        let error = Tuned::from_json(json.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check("\"version\": 4", "\"version\": 9", "has version 9");
    check("\"blend\": null", "\"blend\": -1", "its weight of the reranker");
    check("\"posting_ns\": ", "\"posting_ns\": -", "its prices");
    check("\"words\": ", "\"words\": -1", "its mix");
    check("\"means\": [", "\"means\": [0.5,", "its forecast after words");
    check("\"mix\"", "\"mixed\"", "failed to read what was learnt");
    assert!(Tuned::from_json(&json.as_bytes()[..json.len() / 2]).is_err());
    assert!(Tuned::from_json(b"\xff").is_err());
}

#[test]
fn load_makes_a_rule_cheaper_and_a_floor_bounds_it() {
    let collection = collection();
    let tuned = tuned(&collection, &queries(200, 1));
    let cost = |load, floor| match tuned.effort(load, floor) {
        Effort::To(_) => tuned.full_cost_us,
        Effort::Needed(rule) => {
            assert!(rule.quality >= 1.0 - load * (1.0 - floor), "{rule:?} at {load}");
            rule.cost_us
        }
    };
    for floor in [0.5, 0.9, 0.99] {
        let costs: Vec<f64> = (0..=10).map(|tenth| cost(f64::from(tenth) / 10.0, floor)).collect();
        assert!(costs.is_sorted_by(|less, more| less >= more), "{floor}: {costs:?}");
    }
    assert!(cost(1.0, 0.2) < cost(1.0, 0.99));
    assert_eq!(
        tuned.effort(1.0, 1.5),
        Effort::To(Reached::All),
        "no rule keeps more than everything"
    );
    assert_eq!(tuned.effort(f64::NAN, 0.9), tuned.effort(1.0, 0.9));
}

#[test]
fn without_judged_queries_or_vectors_there_are_still_answers() {
    let collection = collection();
    let none = Queries { texts: vec![], vectors: vec![], answers: vec![] };
    let tuned = tuned(&collection, &none);
    assert_eq!(tuned.effort(1.0, 0.5), Effort::To(Reached::All));
    assert_eq!(Tuned::from_json(tuned.to_json().as_bytes()).unwrap(), tuned);
    let pipeline = Pipeline { retrievers: &collection, tuned: &tuned, reranker: None };
    let text = format!("rare{}", letters(17));
    let asked = Asked { text: &text, count: 3, without: None };
    let found = pipeline.answer(&asked, Effort::To(Reached::All), &|| None).unwrap();
    assert_eq!((found.reached, found.hits[0].slot), (Reached::Words, Slot(17)));
    let left_out = Asked { without: Some(Slot(17)), ..asked };
    let found = pipeline.answer(&left_out, Effort::To(Reached::All), &|| None).unwrap();
    assert!(found.hits.iter().all(|hit| hit.slot != Slot(17)));
    let not_finite = || Some(vec![f32::NAN; WIDTH]);
    assert!(pipeline.answer(&asked, Effort::To(Reached::All), &not_finite).is_err());
}

#[test]
fn what_is_quoted_comes_before_what_is_near() {
    let collection = collection();
    let none = Queries { texts: vec![], vectors: vec![], answers: vec![] };
    let tuned = tuned(&collection, &none);
    let pipeline = Pipeline { retrievers: &collection, tuned: &tuned, reranker: None };
    let text = format!("commona \"rare{}\"", letters(33));
    let asked = Asked { text: &text, count: 5, without: None };
    let vector = || Some(unit_vector(8));
    let found = pipeline.answer(&asked, Effort::To(Reached::All), &vector).unwrap();
    assert_eq!(found.hits[0].slot, Slot(33));
    assert_eq!(found.work.texts, 1);
}

/// Likes texts whose rare word comes late.
struct Backwards;

impl Reranker for Backwards {
    fn scores(&self, _: &str, texts: &[Cow<'_, str>]) -> Result<Vec<f32>, RetrievalError> {
        let score = |text: &Cow<'_, str>| {
            let digits = text["rare".len()..].bytes().take(3);
            digits.fold(0.0, |number, letter| number * 10.0 + f32::from(letter - b'k'))
        };
        Ok(texts.iter().map(score).collect())
    }
}

#[test]
fn a_reranker_has_the_last_word_on_the_best() {
    let collection = collection();
    let none = Queries { texts: vec![], vectors: vec![], answers: vec![] };
    let tuned = tuned(&collection, &none);
    let pipeline = Pipeline { retrievers: &collection, tuned: &tuned, reranker: Some(&Backwards) };
    let asked = Asked { text: "commona commonb", count: 10, without: None };
    let (all, vector) = (Effort::To(Reached::All), || Some(unit_vector(8)));
    let found = pipeline.answer(&asked, all, &vector).unwrap();
    assert_eq!(found.work.reranked, RERANKED_MAX as u64);
    assert!(found.hits.is_sorted_by(|one, other| one.slot > other.slot), "{:?}", found.hits);
    let plain = Pipeline { reranker: None, ..pipeline };
    let wide = Asked { count: RERANKED_MAX, ..asked };
    let highest = plain.answer(&wide, all, &vector).unwrap();
    let highest = highest.hits.iter().map(|hit| hit.slot).max();
    assert_eq!(highest, found.hits.first().map(|hit| hit.slot));
}

/// A reranker that is right is read as far as a query needs, and one that is wrong is never read.
#[test]
fn a_reranker_counts_as_much_as_judged_queries_say() {
    let collection = collection();
    let mut judged = queries(80, 6);
    let wrong = learnt_with(&collection, &judged, Some(&Backwards));
    let blend = wrong.tuned.blend.unwrap();
    assert!(!blend.counts(), "{blend:?}");
    let answer_by = |tuned: &Tuned, at: usize, judged: &Queries, effort: Effort| {
        let pipeline = Pipeline {
            retrievers: &collection,
            tuned,
            reranker: Some(&Backwards as &dyn Reranker),
        };
        let asked = Asked { text: &judged.texts[at], count: 10, without: None };
        let vector = || Some(judged.vectors[at].clone());
        pipeline.answer(&asked, effort, &vector).unwrap()
    };
    let answer = |tuned: &Tuned, at: usize, judged: &Queries| {
        answer_by(tuned, at, judged, Effort::To(Reached::All))
    };
    assert_eq!(answer(&wrong.tuned, 0, &judged).work.reranked, 0);
    // The answers become those that it likes best of the first ten.
    judged.answers = (0..80)
        .map(|at| {
            answer(&wrong.tuned, at, &judged).hits.iter().map(|hit| hit.slot.0).max().unwrap()
        })
        .collect();
    let without = learnt(&collection, &judged);
    let right = learnt_with(&collection, &judged, Some(&Backwards));
    assert!(right.tuned.blend.unwrap().counts());
    let quality = |learnt: &Learnt| learnt.tuned.full_quality;
    assert!(quality(&right) > quality(&without) + 0.2, "{} {}", quality(&right), quality(&without));
    assert_eq!(answer(&right.tuned, 0, &judged).work.reranked, RERANKED_MAX as u64);
    // Ten are enough to find them, and no more are read.
    let effort = right.tuned.effort(1.0, 0.99);
    let read = |at: usize| answer_by(&right.tuned, at, &judged, effort);
    let read: Vec<u64> = (0..80).map(|at| read(at).work.reranked).collect();
    assert!(read.iter().sum::<u64>() <= 80 * 12, "{effort:?}: {read:?}");
    let costs: Vec<f64> = right.stages.iter().map(|one| one.total_us).collect();
    let reading = [10.0, 20.0, 30.0, 30.0].map(|documents| documents * 18_000.0);
    assert!(costs.iter().zip(reading).all(|(cost, reading)| *cost >= reading), "{costs:?}");
}

/// Who lets go of the collection between words and vectors gets the same answer.
#[test]
fn an_answer_in_two_steps_is_the_answer_in_one() {
    let collection = collection();
    let tuned = tuned(&collection, &queries(200, 1));
    let pipeline = Pipeline { retrievers: &collection, tuned: &tuned, reranker: None };
    let fresh = queries(60, 5);
    let mut waited = 0;
    for (text, vector) in fresh.texts.iter().zip(&fresh.vectors) {
        let asked = Asked { text, count: 10, without: None };
        let stages = Reached::ALL.map(Effort::To);
        for effort in stages.into_iter().chain([tuned.effort(1.0, 0.99)]) {
            let whole = pipeline.answer(&asked, effort, &|| Some(vector.clone())).unwrap();
            let parts = match pipeline.begin(&asked, effort).unwrap() {
                Begun::Answered(answered) => answered,
                Begun::NeedsVector(underway) => {
                    waited += 1;
                    pipeline.go_on(&asked, underway, Some(vector)).unwrap()
                }
            };
            assert_eq!(parts, whole, "{text} {effort:?}");
        }
    }
    assert!(waited > 180, "{waited} needed their vector");
}

#[test]
fn each_stage_says_what_it_buys() {
    let collection = collection();
    let learnt = learnt(&collection, &queries(200, 1));
    let stages: Vec<Reached> = learnt.stages.iter().map(|one| one.stage).collect();
    assert_eq!(stages, Reached::ALL);
    assert!(learnt.stages[0].total_us < learnt.stages[1].total_us, "{:?}", learnt.stages);
    // Words answer half of the queries, and full depth nearly all.
    assert!(learnt.stages[0].ndcg10 < 0.6 && learnt.stages[3].ndcg10 > 0.9, "{:?}", learnt.stages);
    assert_eq!(learnt.tuned.full_quality, learnt.stages[3].ndcg10);
}
