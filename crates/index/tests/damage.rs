//! Bytes on disk that are not those that were written.
//!
//! Each file of an index is changed at random places, cut and removed. Whatever is asked then ends
//! in an error that names the file, or in the right answer; and verifying names the file wherever
//! something is lost.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use cotenant_index::dense::Metric;
use cotenant_index::filter::Filter;
use cotenant_index::{Change, Document, EmbeddingSpec, Index, KindName, Query, Storage};

const SEED: u64 = 7_112_026;
const FLIPS: u64 = 40;
const CUTS: u64 = 15;
const DIMENSIONS: usize = 8;
/// Of the documents of the last one many are gone.
const NAMESPACES: [&str; 3] = ["dense", "plain", "thinned"];

fn mix(values: &[u64]) -> u64 {
    values.iter().fold(0x9e37_79b9_7f4a_7c15, |state, value| {
        let x = (state ^ value).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (x >> 31)
    })
}

fn vector(number: u64) -> Vec<f32> {
    (0..DIMENSIONS as u64).map(|at| (mix(&[number, at]) % 2001) as f32 / 1000.0 - 1.0).collect()
}

fn document(number: u64, is_dense: bool) -> Document {
    Document {
        id: format!("id-{number}"),
        text: format!("word{} about {number} ", number % 7).repeat(20 + number as usize % 30),
        metadata: [("number".to_owned(), number.into())].into_iter().collect(),
        vector: is_dense.then(|| vector(number)),
    }
}

fn spec(name: &str) -> EmbeddingSpec {
    let kind = Some(if name == "one" { KindName::Hnsw } else { KindName::ExactInt8 });
    let (metric, storage) = (Metric::Cosine, Storage::Bf16);
    EmbeddingSpec { name: name.to_owned(), dimensions: DIMENSIONS, metric, storage, kind }
}

/// An index that has every kind of file, and of most of them several.
fn build(folder: &Path) {
    let index = Index::create(folder).unwrap();
    for name in &NAMESPACES[..2] {
        let is_dense = *name == "dense";
        let embedding = is_dense.then(|| spec("one"));
        let namespace = index.create_namespace(name, embedding.as_ref()).unwrap();
        for part in 0..3 {
            let documents: Vec<Document> =
                (part * 100..part * 100 + 120).map(|n| document(n, is_dense)).collect();
            namespace.add(&documents).unwrap();
            if is_dense && part == 1 {
                namespace.begin_embedding(&spec("two")).unwrap();
                let missing = namespace.missing("two", 90).unwrap();
                let row = |(at, (id, _)): (usize, (String, String))| (id, vector(at as u64));
                let vectors: Vec<_> = missing.into_iter().enumerate().map(row).collect();
                namespace.put_vectors("two", &vectors).unwrap();
            }
            namespace.flush().unwrap();
        }
        if is_dense {
            namespace.compact().unwrap();
            namespace.add(&(400..450).map(|n| document(n, true)).collect::<Vec<_>>()).unwrap();
            namespace.flush().unwrap();
        }
        namespace.delete(&["id-3", "id-150", "id-250"]).unwrap();
        let text = Some("another text".to_owned());
        namespace.update(&[Change { id: "id-4".to_owned(), text, ..Change::default() }]).unwrap();
        namespace.add(&[document(1000, is_dense), document(1001, is_dense)]).unwrap();
    }
    let namespace = index.create_namespace(NAMESPACES[2], None).unwrap();
    namespace.add(&(0..200).map(|number| document(number, false)).collect::<Vec<_>>()).unwrap();
    namespace.flush().unwrap();
    let gone: Vec<String> = (0..45).map(|number| format!("id-{}", number * 3)).collect();
    namespace.delete(&gone).unwrap();
    namespace.flush().unwrap();
}

/// What an index answers, question by question; errors as their messages.
fn answers(folder: &Path) -> Vec<Result<String, String>> {
    let index = match Index::open(folder) {
        Ok(index) => index,
        Err(error) => return vec![Err(error.to_string())],
    };
    let mut answers = vec![Ok(index.namespaces().join(","))];
    for name in NAMESPACES {
        let namespace = match index.namespace(name) {
            Ok(namespace) => namespace,
            Err(error) => {
                answers.push(Err(error.to_string()));
                continue;
            }
        };
        let values = vector(77);
        let vector = (name == "dense").then_some(&values[..]);
        let filter = Filter::parse(&serde_json::json!({"number": {"gte": 40}})).unwrap();
        for (vector, text, filter) in [
            (vector, None, None),
            (None, Some("word3 about 150"), None),
            (vector, Some("word1"), Some(&filter)),
        ] {
            let found = namespace.search(&Query { vector, text, filter, ..Query::default() });
            answers
                .push(found.map(|answer| format!("{:?}", answer.found)).map_err(|e| e.to_string()));
        }
        for id in ["id-0", "id-3", "id-4", "id-199", "id-1001", "nothing"] {
            let found = namespace.get(id);
            answers.push(found.map(|found| format!("{:?}", found)).map_err(|e| e.to_string()));
        }
        let mut lines = Vec::new();
        let exported = namespace.export(&mut lines).map_err(|error| error.to_string());
        answers.push(exported.map(|_| String::from_utf8(lines).unwrap()));
        let stats = namespace.stats().map(|stats| format!("{:?}", (stats.documents, stats.dead)));
        answers.push(stats.map_err(|error| error.to_string()));
    }
    answers
}

/// What is wrong, as verifying tells it.
fn damage(folder: &Path) -> String {
    match Index::open(folder).and_then(|index| index.verify()) {
        Ok(verified) => verified.damaged.iter().map(ToString::to_string).collect(),
        Err(error) => error.to_string(),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// Puts a copy of an index in the place of another one.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    for file in files(from) {
        let path = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(file, path).unwrap();
    }
}

/// Asks a damaged copy everything; `what` says how the file was changed.
fn check(copy: &Path, file: &Path, what: &str, expected: &[Result<String, String>]) -> bool {
    let name = file.display().to_string();
    let found = damage(copy);
    assert!(found.is_empty() || found.contains(&name), "{what} of {name}: {found}");
    let mut is_lost = false;
    let answers = answers(copy);
    for answer in &answers {
        match answer {
            Ok(_) => assert!(expected.contains(answer), "{what} of {name}: a wrong answer"),
            Err(error) => {
                is_lost = true;
                assert!(error.contains(&name), "{what} of {name}: {error}");
            }
        }
    }
    assert!(is_lost || answers == expected, "{what} of {name}: answers are absent");
    assert!(!is_lost || !found.is_empty(), "{what} of {name}: verifying saw nothing");
    !found.is_empty()
}

#[test]
fn damage_is_named_or_harmless_and_never_a_wrong_answer() {
    println!("seed {SEED}");
    let scratch = tempfile::tempdir().unwrap();
    let (whole, broken) = (scratch.path().join("whole"), scratch.path().join("broken"));
    build(&whole);
    copy(&whole, &broken);
    let expected = answers(&broken);
    assert!(expected.iter().all(Result::is_ok), "{expected:?}");
    assert_eq!(damage(&broken), "");
    // Opening changes nothing that counts, but may renew a mark: the copies are of what is there.
    let files = files(&whole);
    assert!(files.len() >= 20, "{files:?}");
    for (number, file) in (0..).zip(&files) {
        let bytes = fs::read(file).unwrap();
        let path = broken.join(file.strip_prefix(&whole).unwrap());
        let kind = path.file_name().unwrap().to_str().unwrap();
        let is_mark = kind == "lock" || kind.ends_with(".mark");
        let draw = |what, trial, below: u64| mix(&[SEED, number, what, trial]) % below.max(1);
        for trial in 0..FLIPS.min(bytes.len() as u64) {
            copy(&whole, &broken);
            let mut changed = bytes.clone();
            let at = draw(1, trial, bytes.len() as u64) as usize;
            changed[at] ^= 1 + draw(2, trial, 255) as u8;
            fs::write(&path, &changed).unwrap();
            let is_seen = check(&broken, &path, &format!("another byte {at}"), &expected);
            assert!(is_seen || is_mark, "another byte {at} of {kind} was not seen");
        }
        for trial in 0..CUTS.min(bytes.len() as u64) {
            copy(&whole, &broken);
            let end = draw(3, trial, bytes.len() as u64) as usize;
            fs::write(&path, &bytes[..end]).unwrap();
            let is_seen = check(&broken, &path, &format!("a cut at {end}"), &expected);
            assert!(is_seen || is_mark, "a cut at {end} of {kind} was not seen");
        }
        copy(&whole, &broken);
        fs::remove_file(&path).unwrap();
        let is_seen = check(&broken, &path, "the absence", &expected);
        assert!(is_seen || is_mark, "the absence of {kind} was not seen");
    }
}
