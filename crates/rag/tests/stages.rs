//! What retrieval is held to, on the shared retrieval sets with the real MiniLM: exact vectors and
//! BM25 reproduce published numbers, both together are no worse than the better of them, and
//! retrieval as needed keeps 99 % of full depth at 60 % of its cost. Everything is chosen on train
//! queries and measured on test queries.
//!
//! Needs the folder of sets (`COTENANT_DATA`, or `../shared/data` beside the checkout) and the model.
//! Embedding all sets takes minutes, so that two small ones are looked at unless `COTENANT_SETS` is
//! `all` or names others (`scifact,cosqa`); embeddings are kept in the target folder.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers are tests too")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cotenant_rag::job::{
    BaseModel, Observer, RunEvent, StageQuality, StagesQuality, StagesQuestion, measure_stages,
};
use cotenant_rag::models::Store;
use cotenant_rag::workspace::{Limits, PrecisionChoice, TenantConfig};

const MODEL: &str = "all-MiniLM-L6-v2";

/// The part of full depth's nDCG@10 that is promised.
const FLOOR: f64 = 0.99;

/// The part of full depth's cost that is promised: what the index spends, the query's embedding
/// apart.
const SHARE_MAX: f64 = 0.6;

/// A set, the published nDCG@10 of BM25 and that of exact search with MiniLM.
struct Published {
    name: &'static str,
    words: f64,
    vectors: f64,
    is_small: bool,
}

const SETS: [Published; 6] = [
    Published { name: "cranfield", words: 0.485, vectors: 0.501, is_small: true },
    Published { name: "stard-zh", words: 0.505, vectors: 0.053, is_small: true },
    Published { name: "npl", words: 0.459, vectors: 0.459, is_small: false },
    Published { name: "cosqa", words: 0.363, vectors: 0.592, is_small: false },
    Published { name: "scifact", words: 0.682, vectors: 0.644, is_small: false },
    Published { name: "medquad", words: 0.449, vectors: 0.677, is_small: false },
];

struct Quiet;

impl Observer for Quiet {
    fn on_event(&self, _: &RunEvent) {}
}

fn sets() -> Result<PathBuf, String> {
    let data = match std::env::var_os("COTENANT_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    let sets = data.join("retrieval");
    let missing = || format!("{} is not there; set COTENANT_DATA to run this test", sets.display());
    if sets.is_dir() { Ok(sets) } else { Err(missing()) }
}

fn measured() -> Result<Vec<(&'static Published, StagesQuality)>, String> {
    let sets = sets()?;
    let store = Store::open().map_err(|error| error.to_string())?;
    let folder = store.pull(MODEL, &mut |_| {}).map_err(|error| error.to_string())?;
    let base = BaseModel::open(&folder, MODEL, PrecisionChoice::Auto).unwrap();
    // Tests that run beside each other, each a process, would embed all texts as often: the first does
    // it for the others.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let first = File::create(kept.join("stages.lock")).and_then(|file| file.lock().map(|()| file));
    let _first = first.map_err(|error| error.to_string())?;
    let named = std::env::var("COTENANT_SETS").unwrap_or_default();
    if named.is_empty() {
        eprintln!("only the small sets; COTENANT_SETS=all measures every one");
    }
    let is_wanted = |set: &&Published| match named.as_str() {
        "" => set.is_small,
        "all" => true,
        names => names.split(',').any(|name| name == set.name),
    };
    let measure = |set: &'static Published| {
        let mut config = TenantConfig::new(set.name.parse().unwrap());
        config.data = vec![sets.join(set.name)];
        let question = StagesQuestion {
            reranker: None,
            base: &base,
            adapter: None,
            config: &config,
            limits: &Limits::default(),
            cache: Some(kept.join("texts")),
            floor: FLOOR,
        };
        let found = measure_stages(&question, &Quiet).unwrap();
        eprintln!("{}: {} dev queries, {:?}", found.name, found.dev_queries, found.mix);
        for stage in &found.stages {
            eprintln!(
                "  {:34} nDCG@10 {:.4} kept {:.4} search {:6.1} us {:.3}, with embedding {:.3}, ended {:.3?}",
                stage.name,
                stage.quality.ndcg10,
                stage.kept,
                stage.search_us,
                stage.search_share,
                stage.total_share,
                stage.ended
            );
        }
        (set, found)
    };
    Ok(SETS.iter().filter(is_wanted).map(measure).collect())
}

/// All sets, measured once for all tests; `None`, said aloud, where they or the model are missing.
fn found() -> Option<&'static [(&'static Published, StagesQuality)]> {
    static FOUND: OnceLock<Result<Vec<(&Published, StagesQuality)>, String>> = OnceLock::new();
    match FOUND.get_or_init(measured) {
        Ok(found) => Some(found),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn stage<'a>(set: &'a StagesQuality, name: &str) -> &'a StageQuality {
    set.stages.iter().find(|stage| stage.name.starts_with(name)).unwrap()
}

fn ndcg(set: &StagesQuality, name: &str) -> f64 {
    stage(set, name).quality.ndcg10
}

#[test]
fn words_and_exact_vectors_reach_what_is_published() {
    for (published, set) in found().unwrap_or_default() {
        for (way, expected) in [("words (", published.words), ("all vectors", published.vectors)] {
            let found = ndcg(set, way);
            eprintln!("{}, {way}: nDCG@10 {found:.4}, published {expected}", set.name);
            assert!((found - expected).abs() < 0.003, "{} {way}: {found} not {expected}", set.name);
        }
    }
}

#[test]
fn both_together_are_no_worse_than_the_better_of_them() {
    let Some(found) = found() else { return };
    let gains: Vec<(&str, f64)> = found
        .iter()
        .map(|(_, set)| {
            let better = ndcg(set, "words (").max(ndcg(set, "all vectors"));
            (set.name.as_str(), ndcg(set, "full depth") - better)
        })
        .collect();
    eprintln!("full depth less the better retriever: {gains:.4?}");
    assert!(gains.iter().all(|(_, gain)| *gain >= 0.0), "{gains:?}");
    if found.len() == SETS.len() {
        let clear = gains.iter().filter(|(_, gain)| *gain >= 0.01).count();
        assert!(clear >= 3, "{gains:?}");
    }
}

#[test]
fn retrieval_as_needed_keeps_the_floor_for_less() {
    for (_, set) in found().unwrap_or_default() {
        let needed = stage(set, "as needed, loaded");
        eprintln!(
            "{}: kept {:.4} of full depth for {:.3} of its search and {:.3} of all its cost; {:.3} embedded",
            set.name, needed.kept, needed.search_share, needed.total_share, needed.work["encoded"]
        );
        assert!(needed.kept >= FLOOR, "{}: {}", set.name, needed.kept);
        assert!(needed.search_share <= SHARE_MAX, "{}: {}", set.name, needed.search_share);
    }
}
