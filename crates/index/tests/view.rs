//! What a view finds, against a plain map that is asked the same.
//!
//! Documents come, change and go at random, with flushes and compactions in between; after each
//! round every retriever is asked, with filters and without, and each must find what comparing
//! with everything finds.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use cotenant_index::dense::Metric;
use cotenant_index::filter::Filter;
use cotenant_index::text::{Bm25Options, Literal, LiteralKind, TextBuffer, TextPart, TextSearch};
use cotenant_index::{
    Document, EmbeddingSpec, Hit, Index, KindName, Namespace, Query, Slot, Storage, View, Weights,
};
use serde_json::json;

const SEED: u64 = 29_112_026;
const ROUNDS: u64 = 40;
const DIMENSIONS: usize = 8;
const WORDS: [&str; 6] = ["ship", "rudder", "sail", "X9-a", "keel", "mast"];

fn mix(values: &[u64]) -> u64 {
    values.iter().fold(0x9e37_79b9_7f4a_7c15, |state, value| {
        let x = (state ^ value).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (x >> 31)
    })
}

fn vector(of: u64) -> Vec<f32> {
    (0..DIMENSIONS as u64).map(|at| (mix(&[SEED, of, at]) % 2001) as f32 / 1000.0 - 1.0).collect()
}

fn document(id: u64, version: u64) -> Document {
    let word = |at| WORDS[(mix(&[SEED, id, version, at]) % WORDS.len() as u64) as usize];
    let length = 3 + mix(&[SEED, id, version]) % 9;
    Document {
        id: format!("d{id}"),
        text: (0..length).map(word).collect::<Vec<_>>().join(" "),
        metadata: [("year".to_owned(), json!(mix(&[id, version]) % 10))].into_iter().collect(),
        vector: Some(vector(mix(&[id, version]))),
    }
}

type Model = BTreeMap<String, Document>;

/// Ids and scores, best first; ties in no order, as slots are unknown to the map.
fn sorted(mut found: Vec<(String, f32)>) -> Vec<(String, f32)> {
    found.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    found
}

fn ids(view: &View<'_>, hits: &[Hit]) -> Vec<(String, f32)> {
    let id = |hit: &Hit| (view.document(hit.slot).unwrap().unwrap().id, hit.score);
    sorted(hits.iter().map(id).collect())
}

fn check_near(found: &[(String, f32)], expected: &[(String, f32)], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (one, other) in found.iter().zip(expected) {
        assert!((one.1 - other.1).abs() < 1e-5, "{what}: {one:?} instead of {other:?}");
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

/// Every retriever, under a filter on years below a bound.
fn check(namespace: &Namespace, model: &Model, (round, bound): (u64, Option<u64>)) {
    let filter = bound.map(|year| Filter::parse(&json!({"year": {"lt": year}})).unwrap());
    let view = namespace.view(filter.as_ref()).unwrap();
    let what = format!("seed {SEED}, round {round}, years below {bound:?}");
    assert_eq!(view.documents(), model.len() as u64, "{what}");
    assert_eq!(view.vectors(), model.len() as u64, "{what}");
    let passes =
        |one: &&Document| bound.is_none_or(|bound| one.metadata["year"].as_u64().unwrap() < bound);
    let passing: Vec<&Document> = model.values().filter(passes).collect();
    for one in model.values() {
        let slot = view.slot(&one.id).unwrap().unwrap();
        assert_eq!(view.text_of(slot).unwrap(), Some(one.text.as_str()), "{what}");
    }

    let query = vector(mix(&[round, 7]));
    let near = |one: &&Document| (one.id.clone(), cosine(&query, one.vector.as_ref().unwrap()));
    let mut expected = sorted(passing.iter().map(near).collect());
    expected.truncate(10);
    let found = view.nearest_of_all(&query, 10).unwrap();
    assert_eq!(found.cost.full, passing.len() as u64, "{what}");
    check_near(&ids(&view, &found.hits), &expected, &what);
    // With as much effort as there are vectors every kind finds the same.
    let found = view.nearest(&query, 10, Some(1000)).unwrap();
    check_near(&ids(&view, &found.hits), &expected, &what);

    let mut twin = TextBuffer::new(Bm25Options::default());
    let all: Vec<&Document> = model.values().collect();
    for (slot, one) in (0..).zip(&all) {
        twin.add(Slot(slot), &one.text).unwrap();
    }
    let passing_by_slot = |slot: Slot| passes(&all[slot.0 as usize]);
    let parts = [TextPart::Buffer(&twin)];
    let options = Bm25Options::default();
    let search = TextSearch { parts: &parts, options, allowed: &passing_by_slot };
    let of_twin = |hits: &[Hit]| {
        sorted(hits.iter().map(|hit| (all[hit.slot.0 as usize].id.clone(), hit.score)).collect())
    };
    let words = "rudder mast ship ship";
    let (found, expected) = (view.words(words, 1000).unwrap(), search.best(words, 1000));
    assert_eq!(ids(&view, &found.hits), of_twin(&expected.hits), "{what}");
    assert_eq!(view.terms(words), search.terms(words), "{what}");

    for (text, kind) in [("sail keel", LiteralKind::Phrase), ("X9-a", LiteralKind::Code)] {
        let literal = Literal { text: text.to_owned(), kind };
        let found = view.holding(&[literal], 1000).unwrap();
        let found: Vec<String> = ids(&view, &found.hits).into_iter().map(|one| one.0).collect();
        let holds = |one: &&&Document| format!(" {} ", one.text).contains(&format!(" {text} "));
        let mut expected: Vec<String> =
            passing.iter().filter(holds).map(|one| one.id.clone()).collect();
        expected.sort();
        assert_eq!(found, expected, "{what}: {text}");
    }
}

fn spec(kind: KindName) -> EmbeddingSpec {
    let (metric, storage) = (Metric::Cosine, Storage::F32);
    EmbeddingSpec {
        name: "e".to_owned(),
        dimensions: DIMENSIONS,
        metric,
        storage,
        kind: Some(kind),
    }
}

#[test]
fn a_view_finds_what_a_map_finds_whatever_came_and_went() {
    println!("seed {SEED}");
    for kind in [KindName::ExactF32, KindName::ExactInt8, KindName::Codes, KindName::Hnsw] {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::create(folder.path()).unwrap();
        let namespace = index.create_namespace("law", Some(&spec(kind))).unwrap();
        let mut model = Model::new();
        for round in 0..ROUNDS {
            let draw = |at, below| mix(&[SEED, round, at]) % below;
            let added: Vec<Document> =
                (0..draw(1, 8)).map(|at| document(draw(10 + at, 60), round)).collect();
            namespace.add(&added).unwrap();
            model.extend(added.into_iter().map(|one| (one.id.clone(), one)));
            let gone: Vec<String> =
                (0..draw(2, 4)).map(|at| format!("d{}", draw(20 + at, 60))).collect();
            namespace.delete(&gone).unwrap();
            gone.iter().for_each(|id| drop(model.remove(id)));
            match draw(3, 6) {
                0 | 1 => namespace.flush().unwrap(),
                2 => namespace.compact().unwrap(),
                _ => {}
            }
            for bound in [None, Some(4), Some(0)] {
                check(&namespace, &model, (round, bound));
            }
        }
        assert!(model.len() > 20, "{} documents are left", model.len());
    }
}

#[test]
fn a_revision_tells_writes_of_documents_from_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(folder.path()).unwrap();
    let namespace = index.create_namespace("law", Some(&spec(KindName::Codes))).unwrap();
    let revision = || namespace.view(None).unwrap().revision();
    let mut before = revision();
    let mut check = |changes: bool, what: &str| {
        let now = revision();
        assert_eq!(now != before, changes, "{what}");
        before = now;
    };
    namespace.add(&[document(1, 1), document(2, 1)]).unwrap();
    check(true, "adding");
    namespace.flush().unwrap();
    check(false, "flushing");
    namespace.delete(&["d1"]).unwrap();
    check(true, "deleting");
    namespace.delete(&["d1"]).unwrap();
    check(false, "deleting nothing");
    namespace.compact().unwrap();
    check(false, "compacting");
    namespace.keep_note("a note", Some("text")).unwrap();
    check(false, "keeping a note");
    assert_eq!(namespace.view(None).unwrap().note("a note").as_deref(), Some("text"));
    namespace.keep_note("a note", None).unwrap();
    assert_eq!(namespace.view(None).unwrap().note("a note"), None);
    let long = "x".repeat(cotenant_index::limits::NOTE_BYTES_MAX + 1);
    assert!(namespace.keep_note("a note", Some(&long)).is_err());
    for at in 0..cotenant_index::limits::NOTES_MAX {
        namespace.keep_note(&format!("note {at}"), Some("text")).unwrap();
    }
    assert!(namespace.keep_note("one more", Some("text")).is_err());
    drop(index);
}

/// What is quoted comes first however far down the retrievers have it, then what a code names.
#[test]
fn a_search_finds_what_stands_word_for_word() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(folder.path()).unwrap();
    let namespace = index.create_namespace("law", Some(&spec(KindName::ExactF32))).unwrap();
    let texts = [
        "the keel of the ship and its sail",
        "sail keel, the ship",
        "part X9-a of a mast",
        "part X9 a of a mast, mast, mast",
        "the ship of the ship",
    ];
    let documents: Vec<Document> = (0..)
        .zip(texts)
        .map(|(at, text)| Document { text: text.to_owned(), ..document(at, 0) })
        .collect();
    namespace.add(&documents).unwrap();
    let near = documents[4].vector.clone().unwrap();
    let search = |text: &str| {
        let query = Query { vector: Some(&near), text: Some(text), ..Query::default() };
        namespace.search(&query).unwrap()
    };
    let answer = search("\"sail keel\" ship");
    assert_eq!(answer.found[0].document.id, "d1");
    assert_eq!(answer.found[0].phrases.unwrap().rank, 1);
    assert_eq!(answer.texts_read, 2);
    let answer = search("X9-a mast");
    assert_eq!(answer.found[0].document.id, "d2");
    assert_eq!(answer.found[0].codes.unwrap().rank, 1);
    assert!(answer.found.iter().all(|one| one.document.id == "d2" || one.codes.is_none()));
    let by_words = |text, weights| {
        let query = Query { text: Some(text), weights, count: 1, ..Query::default() };
        namespace.search(&query).unwrap().found.remove(0)
    };
    let weights = Weights::default();
    assert_eq!(by_words("ship \"sail keel\" ship", weights).document.id, "d1");
    assert_eq!(by_words("X9-a mast", weights).document.id, "d2");
    let deaf = Weights { codes: 0.0, ..weights };
    assert_eq!(by_words("X9-a mast", deaf).document.id, "d3");

    // A code that many hold is a word like others.
    let more: Vec<Document> =
        (5..9).map(|at| Document { text: "X9-a".to_owned(), ..document(at, 0) }).collect();
    namespace.add(&more).unwrap();
    assert_eq!(by_words("X9-a mast mast mast", weights).document.id, "d3");
}
