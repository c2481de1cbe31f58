//! Retrieval as needed through a namespace of the index, as the server does it: rules are learnt
//! on train queries from the live namespace and tried on test queries.
//!
//! Needs the folder of sets (`COTENANT_DATA`, or `../shared/data` beside the checkout) and the real
//! MiniLM. Cranfield is looked at unless `COTENANT_SETS` names others.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers are tests too")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use cotenant_eval::{Judged, Metric};
use cotenant_index::dense::Metric as Likeness;
use cotenant_index::{Document, EmbeddingSpec, Index, KindName, Namespace, Slot, Storage};
use cotenant_rag::data::{Dataset, Example, ReadOptions, read};
use cotenant_rag::index::TextEmbedder;
use cotenant_rag::job::BaseModel;
use cotenant_rag::models::Store;
use cotenant_rag::retrieval::pipeline::{
    Asked, Calibration, DevQuery, Effort, Live, Pipeline, Prices, Reached, Tuned, Work,
};
use cotenant_rag::workspace::{Limits, PrecisionChoice};

const MODEL: &str = "all-MiniLM-L6-v2";
const EMBEDDING: &str = "base";
const DEPTH: usize = 10;

/// The part of full depth's nDCG@10 that is promised.
const FLOOR: f64 = 0.99;

/// The part of full depth's cost that is promised: what the index spends, the query's embedding
/// apart.
const SHARE_MAX: f64 = 0.6;

/// A set with the vectors of its texts.
struct Set {
    dataset: Dataset,
    documents: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
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

fn embedder() -> Result<TextEmbedder, String> {
    let store = Store::open().map_err(|error| error.to_string())?;
    let folder = store.pull(MODEL, &mut |_| {}).map_err(|error| error.to_string())?;
    let base = BaseModel::open(&folder, MODEL, PrecisionChoice::Auto).unwrap();
    Ok(TextEmbedder::new(base, None, Limits::default(), "").unwrap())
}

fn embedded(embedder: &TextEmbedder, folder: PathBuf, name: &str) -> Set {
    let stop = &AtomicBool::new(false);
    let options = ReadOptions { name: name.to_owned(), passages_max: 100_000, stop };
    let dataset = read(&[folder], &options).unwrap().dataset;
    let texts: Vec<String> = dataset.documents.iter().map(|one| one.search_text()).collect();
    let documents = embedder.embed(name, texts.iter().map(String::as_str)).unwrap();
    let queries = embedder.embed(name, dataset.queries.iter().map(|one| &*one.text)).unwrap();
    Set { dataset, documents, queries }
}

impl Set {
    /// A namespace to which documents came in parts, some of them twice.
    fn fill(&self, index: &Index, kind: Option<KindName>) -> std::sync::Arc<Namespace> {
        let (dimensions, metric) = (self.documents[0].len(), Likeness::Cosine);
        let (name, storage) = (EMBEDDING.to_owned(), Storage::F32);
        let spec = EmbeddingSpec { name, dimensions, metric, storage, kind };
        let namespace = index.create_namespace(&format!("{kind:?}"), Some(&spec)).unwrap();
        let documents: Vec<Document> = (self.dataset.documents.iter().zip(&self.documents))
            .map(|(one, vector)| Document {
                id: one.id.clone(),
                text: one.search_text(),
                vector: Some(vector.clone()),
                ..Document::default()
            })
            .collect();
        for part in documents.chunks(500) {
            namespace.add(part).unwrap();
            namespace.flush().unwrap();
        }
        namespace.add(&documents[..documents.len().min(300)]).unwrap();
        namespace
    }

    /// Slots of all documents, and the other way round what stands in a slot.
    fn slots(&self, namespace: &Namespace) -> Vec<Slot> {
        let view = namespace.view(None).unwrap();
        let slot = |id: &str| view.slot(id).unwrap().unwrap();
        self.dataset.documents.iter().map(|one| slot(&one.id)).collect()
    }

    fn query<'a>(&'a self, (query, gains): (u32, &[(u32, u32)]), slots: &[Slot]) -> DevQuery<'a> {
        let one = &self.dataset.queries[query as usize];
        let own = self.dataset.documents.iter().position(|document| document.id == one.id);
        let without = own.filter(|_| self.dataset.leaves_out_own_id).map(|at| slots[at]);
        let gain = |&(document, gain): &(u32, u32)| (slots[document as usize].0, gain.into());
        DevQuery {
            text: Cow::Borrowed(&one.text),
            vector: &self.queries[query as usize],
            gains: gains.iter().map(gain).collect(),
            without,
        }
    }

    /// Judged queries of the splits that nothing is reported on.
    fn dev(&self, slots: &[Slot]) -> Vec<DevQuery<'_>> {
        let trained: BTreeMap<u32, &Vec<(u32, u32)>> = self
            .dataset
            .train
            .iter()
            .map(Example::query)
            .map(|query| (query, &self.dataset.train_gains[query as usize]))
            .collect();
        let dev = self.dataset.dev.queries.iter().map(|one| (one.query, &one.gains));
        trained
            .into_iter()
            .chain(dev)
            .map(|(query, gains)| self.query((query, gains), slots))
            .collect()
    }
}

/// What a way to search finds and spends on test queries.
struct Tried {
    ndcg: f64,
    work: Work,
    embedded: u64,
}

fn try_out(
    namespace: &Namespace,
    tuned: &Tuned,
    (test, effort): (&[DevQuery<'_>], Effort),
) -> Tried {
    let (mut ndcg, mut work) = (0.0, Work::default());
    for query in test {
        let view = namespace.view(None).unwrap();
        let pipeline = Pipeline { retrievers: &view, tuned, reranker: None };
        let asked = Asked { text: &query.text, count: DEPTH, without: query.without };
        let vector = || Some(query.vector.to_vec());
        let found = pipeline.answer(&asked, effort, &vector).unwrap();
        let ranking: Vec<u32> = found.hits.iter().map(|hit| hit.slot.0).collect();
        let judged = Judged::new(&ranking, &query.gains);
        ndcg += judged.map_or(0.0, |judged| Metric::Ndcg.at(DEPTH, &judged));
        work += found.work;
    }
    Tried { ndcg: ndcg / test.len() as f64, embedded: work.encoded, work }
}

#[test]
fn retrieval_as_needed_keeps_the_floor_for_less_in_a_namespace() {
    let named = std::env::var("COTENANT_SETS").unwrap_or_else(|_| "cranfield".to_owned());
    let (sets, embedder) = match sets().and_then(|sets| Ok((sets, embedder()?))) {
        Ok(found) => found,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    for name in named.split(',') {
        let set = embedded(&embedder, sets.join(name), name);
        let folder = tempfile::tempdir().unwrap();
        let index = Index::create(folder.path()).unwrap();
        for kind in [Some(KindName::ExactInt8), Some(KindName::Codes), Some(KindName::Hnsw), None] {
            let namespace = set.fill(&index, kind);
            check(&set, &namespace, (name, kind));
        }
    }
}

fn check(set: &Set, namespace: &Namespace, (name, kind): (&str, Option<KindName>)) {
    let slots = set.slots(namespace);
    let dev = set.dev(&slots);
    let judged = &set.dataset.test.queries;
    let test: Vec<DevQuery<'_>> =
        judged.iter().map(|one| set.query((one.query, &one.gains), &slots)).collect();
    let prices = Prices::for_dimensions(set.documents[0].len());
    let stop = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_secs(600);
    let live = Live { namespace, embedding: EMBEDDING, stop: &stop, deadline };
    let begun = Instant::now();
    let calibration = Calibration { retrievers: &live, dev: &dev, prices, reranker: None };
    let tuned = calibration.run().unwrap().tuned;
    let learnt_s = begun.elapsed().as_secs_f64();
    let full = try_out(namespace, &tuned, (&test, Effort::To(Reached::All)));
    let needed = try_out(namespace, &tuned, (&test, tuned.effort(1.0, FLOOR)));
    let kept = needed.ndcg / full.ndcg;
    let share = needed.work.search_us(&prices) / full.work.search_us(&prices);
    let total = needed.work.total_us(&prices) / full.work.total_us(&prices);
    let used = namespace.view(None).unwrap().kind().unwrap().name();
    eprintln!(
        "{name}, {used}: full depth {:.4}, kept {kept:.4} for {share:.3} of its search and \
         {total:.3} with embedding; {} of {} queries embedded; learnt from {} in {learnt_s:.1} s",
        full.ndcg,
        needed.embedded,
        test.len(),
        dev.len(),
    );
    assert!(kept >= FLOOR, "{name}, {used}: {kept}");
    // Where all vectors are compared in f32 in any case, nothing but the query's embedding can be
    // saved; and looking originals up again, or walking, costs as much as comparing so few.
    if kind == Some(KindName::ExactInt8) {
        assert!(share <= SHARE_MAX, "{name}, {used}: {share}");
    }
}
