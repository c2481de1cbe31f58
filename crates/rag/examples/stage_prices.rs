//! Takes the prices of pieces of work that `retrieval::pipeline::Prices` holds:
//! `cargo run -p cotenant-rag --example stage_prices -- BEIR_FOLDER`.
//!
//! Each piece is timed on one thread over the folder's test queries, with vectors drawn from a seed
//! in place of embeddings, as comparing costs the same whatever is compared. The model must be in
//! the user's cache, or there must be a network.

#![allow(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cotenant_index::dense::Metric;
use cotenant_index::text::{Literal, LiteralKind};
use cotenant_index::{Document, EmbeddingSpec, Index, KindName, Slot, Storage};
use cotenant_rag::data::{ReadOptions, read};
use cotenant_rag::job::BaseModel;
use cotenant_rag::models::Store;
use cotenant_rag::retrieval::pipeline::{Collection, Lists, Mix, Probe, Retrievers, Work};
use cotenant_rag::retrieval::{CrossEncoder, Embedder, EmbeddingModel, Vectors};
use cotenant_rag::workspace::{PrecisionChoice, TenantConfig};
use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{Adapter, AdapterLayout, Forward, Packed, Scratch, Start};

const WIDTH: usize = 384;
const QUERIES_MAX: usize = 100;
const RERANKED_QUERIES_MAX: usize = 10;
const ROUNDS: usize = 5;
const MODEL: &str = "all-MiniLM-L6-v2";

fn drawn(of: u64) -> Vec<f32> {
    (0..WIDTH as u64).map(|at| unit(mix(&[of, at])) - 0.5).collect()
}

/// Nanoseconds of one call on average, the fastest round of several, and the sum of what the calls
/// of a round say of their work.
fn time(queries: usize, mut work: impl FnMut(usize) -> u64) -> (f64, f64) {
    let mut best = (f64::INFINITY, 0);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let pieces: u64 = (0..queries).map(&mut work).sum();
        let ns = begun.elapsed().as_nanos() as f64;
        if ns < best.0 {
            best = (ns, pieces);
        }
    }
    (best.0 / queries as f64, best.1 as f64 / queries as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name a BEIR folder")?);
    let stop = &AtomicBool::new(false);
    let options = ReadOptions { name: "set".to_owned(), passages_max: 1000, stop };
    let dataset = read(&[folder], &options)?.dataset;
    let texts: Vec<String> = dataset.documents.iter().map(|one| one.search_text()).collect();
    let documents = texts.len();
    let values = (0..documents as u64).flat_map(drawn).collect();
    let collection = Collection::new(texts, Vectors { values, width: WIDTH })?;
    let judged = dataset.test.queries.iter().take(QUERIES_MAX);
    let queries: Vec<&str> =
        judged.map(|one| dataset.queries[one.query as usize].text.as_str()).collect();
    let count = queries.len();
    let vectors: Vec<Vec<f32>> = (0..count as u64).map(|at| drawn(1 << 40 | at)).collect();
    println!("{count} queries, {documents} documents, {WIDTH} dimensions");

    let found = "a collection in memory answers";
    let words = |k| time(count, |at| collection.words(queries[at], k).expect(found).postings_read);
    for k in [20, 50] {
        let (ns, postings) = words(k);
        println!("words, {k} best: {ns:.0} ns for {postings:.0} postings");
    }
    let literal = |at: usize| Literal {
        text: beginning_of(&collection, at * 37 % documents),
        kind: LiteralKind::Phrase,
    };
    let read =
        time(count, |at| collection.holding(&[literal(at)], 50).expect(found).texts_read as u64);
    println!("a phrase of two words: {:.0} ns for {:.1} texts", read.0, read.1);
    let near = |k, probe| {
        let found = |at: usize| collection.near(&vectors[at], k, probe).expect("vectors fit");
        time(count, |at| black_box(found(at)).work.fine)
    };
    let few = near(10, Probe::Some { candidates: 20 });
    let many = near(10, Probe::Some { candidates: 1020 });
    println!("codes, 20 compared again: {:.0} ns", few.0);
    println!("a code: at most {:.2} ns", few.0 / documents as f64);
    println!("a comparison in 8 bits, with keeping it: {:.1} ns", (many.0 - few.0) / 1000.0);
    let all = near(50, Probe::All);
    println!("a comparison in f32: {:.1} ns", all.0 / documents as f64);
    let lists: Vec<Lists> = (0..count)
        .map(|at| Lists {
            words: collection.words(queries[at], 50).expect(found).hits,
            vectors: collection.near(&vectors[at], 50, Probe::All).expect("vectors fit").hits,
            ..Lists::default()
        })
        .collect();
    let fused = time(count, |at| {
        black_box(Mix::default().fuse(&lists[at], 10));
        (lists[at].words.len() + lists[at].vectors.len()) as u64
    });
    println!("an entry that is fused: {:.0} ns", fused.0 / fused.1);

    in_a_namespace(&vectors, documents)?;

    let folder = Store::open()?.pull(MODEL, &mut |_| {})?;
    let base = BaseModel::open(&folder, MODEL, PrecisionChoice::Auto)?;
    let mut scratch = Scratch::default();
    let encoded = time(count, |at| {
        let tokens = base.tokenizer.encode(queries[at], 256).expect("a query has tokens");
        let mut batch = Packed::default();
        batch.push([tokens.as_slice()], None, None);
        let forward = Forward { batch: &batch, adapters: &[], start: Start::Tokens };
        let mut vector = vec![0.0; WIDTH];
        base.encoder.embed(&forward, &mut scratch, &mut vector);
        tokens.len() as u64
    });
    println!("a query's vector: {:.0} ns for {:.0} tokens", encoded.0, encoded.1);
    rerank(&base, &collection, &queries)
}

/// The price of a document that is read again, by an adapter and a head that nothing was trained
/// into: what they cost does not depend on their values.
fn rerank(
    base: &BaseModel,
    collection: &Collection,
    queries: &[&str],
) -> Result<(), Box<dyn Error>> {
    let spec = TenantConfig::new("prices".parse()?).adapter.spec();
    let config = base.folder.config();
    let layout = AdapterLayout::from_spec(&spec, config)?.with_head(config);
    let adapter = Adapter::initial(layout.into(), 1);
    let embedder = Embedder {
        model: EmbeddingModel::Cpu(base.encoder.clone()),
        threads: 1,
        chunk_tokens: 256,
        fingerprint: base.fingerprint,
        precision: base.precision,
    };
    let cross = CrossEncoder {
        embedder: &embedder,
        tokenizer: &base.tokenizer,
        adapter: &adapter,
        query_prefix: "",
        document_prefix: "",
        tokens_max: base.folder.tokens_max(),
    };
    let text_of = |hit: &cotenant_index::Hit| collection.text(hit.slot).expect("it is in memory");
    let reranked = time(queries.len().min(RERANKED_QUERIES_MAX), |at| {
        let hits = collection.words(queries[at], 10).expect("it is in memory").hits;
        let texts: Vec<_> = hits.iter().filter_map(text_of).collect();
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let scores = cross.scores(queries[at], &texts).expect("texts have tokens");
        black_box(scores).len() as u64
    });
    println!("a document that is reranked: {:.0} ns", reranked.0 / reranked.1);
    Ok(())
}

/// The first two words of a document.
fn beginning_of(collection: &Collection, document: usize) -> String {
    let text = collection.text(Slot(document as u32)).expect("it is in memory");
    let text = text.unwrap_or_default();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// What comparing costs in a namespace of the index, by the kind of its embedding.
fn in_a_namespace(queries: &[Vec<f32>], documents: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let index = Index::create(folder.path())?;
    for kind in [KindName::ExactF32, KindName::ExactInt8, KindName::Codes, KindName::Hnsw] {
        let (dimensions, metric, storage) = (WIDTH, Metric::Cosine, Storage::F32);
        let (name, kind) = (format!("{kind:?}"), Some(kind));
        let spec = EmbeddingSpec { name: name.clone(), dimensions, metric, storage, kind };
        let namespace = index.create_namespace(&name, Some(&spec))?;
        let document = |at: usize| Document {
            id: at.to_string(),
            vector: Some(drawn(at as u64)),
            ..Document::default()
        };
        for from in (0..documents).step_by(1000) {
            let some: Vec<Document> = (from..documents.min(from + 1000)).map(document).collect();
            namespace.add(&some)?;
        }
        namespace.flush()?;
        for (k, probe) in [
            (30, Probe::Some { candidates: 100 }),
            (50, Probe::Some { candidates: 300 }),
            (50, Probe::All),
        ] {
            let mut work = Work::default();
            let (ns, _) = time(queries.len(), |at| {
                let view = namespace.view(None).expect("it is there");
                work = view.near(&queries[at], k, probe).expect("vectors fit").work;
                black_box(work.vectors())
            });
            println!("{name}, {k} by {probe:?}: {ns:.0} ns, the last one {work:?}");
        }
    }
    Ok(())
}
