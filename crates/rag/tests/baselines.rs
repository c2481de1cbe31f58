//! Reads the shared retrieval sets and compares BM25 with published numbers for them
//! (bm25s with PyStemmer, k1 0.9 and b 0.4, nDCG@10 on the test queries).
//!
//! Needs the folder of sets: `COTENANT_DATA`, or `../shared/data` beside the checkout.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers are tests too")]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use cotenant_rag::bm25::Bm25;
use cotenant_rag::data::{Dataset, Judged, Layout, ReadOptions, read};

/// The folder with one BEIR folder a set, if it is there.
fn sets() -> Option<PathBuf> {
    let data = match std::env::var_os("COTENANT_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    let sets = data.join("retrieval");
    if sets.is_dir() {
        return Some(sets);
    }
    eprintln!("skipped: {} is not there; set COTENANT_DATA to run this test", sets.display());
    None
}

fn load(folder: PathBuf) -> Dataset {
    let stop = &AtomicBool::new(false);
    let options = ReadOptions { name: "set".to_owned(), passages_max: 1000, stop };
    let loaded = read(&[folder], &options).unwrap();
    assert_eq!(loaded.layout, Layout::Beir);
    loaded.dataset
}

/// nDCG@10 with linear gains, as trec_eval computes it.
fn ndcg10(judged: &Judged, ranking: &[u32]) -> f64 {
    let gain = |document: &u32| {
        let at = judged.gains.binary_search_by_key(document, |(document, _)| *document).ok();
        at.map_or(0.0, |at| f64::from(judged.gains[at].1))
    };
    let sum = |gains: &mut dyn Iterator<Item = f64>| -> f64 {
        gains.take(10).enumerate().map(|(at, gain)| gain / (at as f64 + 2.0).log2()).sum()
    };
    let mut best: Vec<f64> = judged.gains.iter().map(|&(_, gain)| f64::from(gain)).collect();
    best.sort_by(|one, other| other.total_cmp(one));
    sum(&mut ranking.iter().map(gain)) / sum(&mut best.into_iter())
}

#[test]
fn bm25_reaches_its_published_quality() {
    let Some(sets) = sets() else { return };
    let check = |name: &str, queries: usize, expected: f64| {
        let set = load(sets.join(name));
        assert_eq!(set.test.len(), queries, "{name}");
        let texts: Vec<String> = set.documents.iter().map(|one| one.search_text()).collect();
        let index = Bm25::build(texts.iter().map(String::as_str), Default::default());
        let scores = set.test.queries.iter().map(|judged| {
            let found = index.search(&set.queries[judged.query as usize].text, 10);
            ndcg10(judged, &found)
        });
        let mean = scores.sum::<f64>() / queries as f64;
        eprintln!("{name}: nDCG@10 {mean:.4}, published {expected}");
        assert!((mean - expected).abs() < 0.003, "{name}: {mean:.4} is not {expected}");
    };
    check("scifact", 300, 0.682);
    check("cosqa", 500, 0.363);
    check("cranfield", 115, 0.485);
    check("stard-zh", 465, 0.505);
    check("medquad", 1421, 0.449);
    check("npl", 53, 0.459);
}

#[test]
fn no_held_out_query_is_trained() {
    let Some(sets) = sets() else { return };
    let check = |name: &str, dev: usize| {
        let set = load(sets.join(name));
        let text = |query: u32| set.queries[query as usize].text.trim().to_lowercase();
        let held = set.dev.queries.iter().chain(&set.test.queries);
        let held: std::collections::HashSet<String> = held.map(|one| text(one.query)).collect();
        for example in &set.train {
            assert!(!held.contains(&text(example.query())), "{name}: {}", text(example.query()));
        }
        assert_eq!(set.dev.len(), dev, "{name}");
    };
    check("scifact", 122);
    check("cosqa", 117);
    check("cranfield", 20);
    check("npl", 10);
}
