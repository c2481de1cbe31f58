//! Readers on small folders: what good data becomes, and what is said of bad data.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tempfile::TempDir;

use super::lines::LINE_BYTES_MAX;
use super::{DataError, Example, Layout, Loaded, ReadOptions, TEXT_BYTES_MAX, Warning, read};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn options() -> ReadOptions<'static> {
    ReadOptions { name: "test".to_owned(), passages_max: 10_000, stop: &GO_ON }
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn load(folder: &TempDir, path: &str) -> Result<Loaded, DataError> {
    read(&[folder.path().join(path)], &options())
}

const CORPUS: &str = "{\"_id\": \"d1\", \"title\": \"One\", \"text\": \"first text\"}\n\
                      {\"_id\": \"d2\", \"title\": \"\", \"text\": \"second text\"}\n";
const QUERIES: &str =
    "{\"_id\": \"q1\", \"text\": \"first\"}\n{\"_id\": 2, \"text\": \"second\"}\n";
const TRAIN: &str = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n";
const TEST: &str = "query-id\tcorpus-id\tscore\r\n2\td2\t3\r\n2\td1\t1\r\n";

fn beir<'a>(change: &[(&'a str, &'a [u8])]) -> TempDir {
    let mut files = vec![
        ("corpus.jsonl", CORPUS.as_bytes()),
        ("queries.jsonl", QUERIES.as_bytes()),
        ("qrels/train.tsv", TRAIN.as_bytes()),
        ("qrels/test.tsv", TEST.as_bytes()),
    ];
    for &(name, content) in change {
        files.retain(|(other, _)| *other != name);
        files.push((name, content));
    }
    folder(&files)
}

#[test]
fn a_beir_folder_is_read() {
    let loaded = load(&beir(&[]), "").unwrap();
    assert_eq!(loaded.layout, Layout::Beir);
    let set = loaded.dataset;
    assert_eq!(set.documents[0].search_text(), "One first text");
    assert_eq!(set.documents[1].search_text(), "second text");
    assert_eq!(set.queries[1].id, "2");
    assert_eq!(set.train, [Example::Pair { query: 0, positive: 0, negatives: vec![1] }]);
    assert_eq!(set.test.queries[0].gains, [(0, 1), (1, 3)]);
    assert_eq!((set.texts(), set.query_text(1), set.document_text(1)), (4, 1, 3));
    assert_eq!(set.train_positives(), [vec![0], vec![]]);
    assert_eq!(set.train_gains, [vec![(0, 2)], vec![]]);
    assert_eq!(loaded.warnings, [Warning::DevHeldOut { queries: 0 }]);
}

#[test]
fn bad_data_is_refused_with_its_place_and_a_hint() {
    let check = |name: &str, content: &[u8], parts: &[&str]| {
        let folder = beir(&[(name, content)]);
        let message = load(&folder, "").unwrap_err().to_string();
        for part in [&["hint: ", name], parts].concat() {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    };
    let corpus = "corpus.jsonl";
    check(corpus, b"{\"_id\": \"d1\", \"text\": \"x\"}\n{\"_id\": ", &[":2:8: EOF"]);
    check(corpus, b"\n\n[1, 2]", &[":3:1: the line is a list"]);
    check(corpus, b"{\"_id\": \"d1\"}", &[":1:1: there is no \"text\""]);
    check(corpus, b"{\"text\": \"x\"}", &["there is no \"_id\""]);
    check(corpus, b"{\"_id\": [], \"text\": \"x\"}", &["the \"_id\" is a list"]);
    check(corpus, b"{\"_id\": \"d1\", \"text\": 5}", &["the \"text\" is a number"]);
    check(corpus, b"", &["has no texts"]);
    check(corpus, b" \n\t\n", &["has no texts"]);
    let twice = [CORPUS, "{\"_id\": \"d1\", \"text\": \"again\"}"].concat();
    check(corpus, twice.as_bytes(), &[":3: the id \"d1\" was already given on line 1"]);
    let latin: &[u8] =
        b"{\"_id\": \"d1\", \"text\": \"x\"}\n{\"_id\": \"d\xe9\", \"text\": \"x\"}\n";
    check(corpus, latin, &[":2: byte 37 of the file is not UTF-8", "iconv"]);
    let train = "qrels/train.tsv";
    check(train, b"q1\td1\t1\n", &[":1: the header is \"q1\\td1\\t1\""]);
    check(train, b"", &["the header is \"\""]);
    check(train, b"query-id\tcorpus-id\tscore\nq1\td1\n", &[":2:1: 2 columns, not 3"]);
    check(train, b"query-id\tcorpus-id\tscore\nq1\td1\t1.5\n", &[":2:7: the score \"1.5\""]);
    check(
        train,
        b"query-id\tcorpus-id\tscore\n\nq9\td1\t1\n",
        &[":3: no query has the id \"q9\"", "queries.jsonl"],
    );
    check(
        train,
        b"query-id\tcorpus-id\tscore\nq1\td9\t1\n",
        &["no document has the id \"d9\"", "corpus.jsonl"],
    );
}

#[test]
fn what_is_absent_is_named() {
    let check = |files: &[(&str, &[u8])], path: &str, parts: &[&str]| {
        let message = load(&folder(files), path).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    };
    let corpus = ("corpus.jsonl", CORPUS.as_bytes());
    let queries = ("queries.jsonl", QUERIES.as_bytes());
    check(&[corpus], "", &["queries.jsonl does not exist", "hint: "]);
    check(&[corpus, queries], "", &["qrels", "does not exist", "at least one of"]);
    check(&[], "nowhere", &["nowhere does not exist"]);
    check(&[("a.csv", b"x")], "a.csv", &["a single file must be .jsonl"]);
    check(&[("a.md", b"# A\n\ntoo little")], "", &["has no text to learn from", "in 1 page(s)"]);
    check(&[("a.jsonl", b"")], "a.jsonl", &["has no examples"]);
}

#[test]
fn a_line_has_a_bound_and_a_text_is_cut() {
    let long = format!("{{\"_id\": \"d1\", \"text\": \"{}\"}}\n", "é".repeat(5 << 20));
    let corpus = [long.as_str(), "{\"_id\": \"d2\", \"text\": \"x\"}"].concat();
    let loaded = load(&beir(&[("corpus.jsonl", corpus.as_bytes())]), "").unwrap();
    assert_eq!(loaded.dataset.documents[0].text.len(), TEXT_BYTES_MAX);
    let cut = loaded
        .warnings
        .iter()
        .any(|warning| matches!(warning, Warning::TextsCut { texts: 1, first_line: 1, .. }));
    assert!(cut, "{:?}", loaded.warnings);

    let endless = vec![b'x'; LINE_BYTES_MAX + 2];
    let message = load(&beir(&[("queries.jsonl", &endless)]), "").unwrap_err().to_string();
    assert!(message.contains("queries.jsonl:1: the line is longer than"), "{message}");
}

#[test]
fn training_files_of_other_tools_are_read() {
    let check = |lines: &str, expected: &[Example]| {
        let folder = folder(&[("pairs.jsonl", lines.as_bytes())]);
        let set = load(&folder, "pairs.jsonl").unwrap().dataset;
        assert_eq!(set.train, expected, "{lines}");
    };
    let pair = |query, positive, negatives: &[u32]| Example::Pair {
        query,
        positive,
        negatives: negatives.to_vec(),
    };
    check(
        "{\"anchor\":\"a\",\"positive\":\"p\"}\n{\"anchor\":\"b\",\"positive\":\"p\"}",
        &[pair(0, 0, &[]), pair(1, 0, &[])],
    );
    check("{\"positive\":\"a\",\"anchor\":\"p\"}", &[pair(0, 0, &[])]);
    check(
        "{\"x\":\"a\",\"y\":\"p\",\"negative_1\":\"n\",\"negative_2\":\"m\"}",
        &[pair(0, 0, &[1, 2])],
    );
    check(
        "{\"s1\":\"a\",\"s2\":\"b\",\"label\":1}\n{\"s1\":\"a\",\"s2\":\"c\",\"label\":0.25}",
        &[
            Example::Scored { left: 0, right: 0, score: 1.0 },
            Example::Scored { left: 0, right: 1, score: 0.25 },
        ],
    );
    check(
        "\u{feff}{\"query\":\"a\",\"pos\":[\"p\",\"r\"],\"neg\":[\"n\"],\"prompt\":\"x\"}\n{\"query\":\"b\",\"pos\":[\"n\"]}",
        &[pair(0, 0, &[2]), pair(0, 1, &[2]), pair(1, 2, &[])],
    );
}

#[test]
fn lines_that_do_not_agree_are_refused() {
    let check = |lines: &str, part: &str| {
        let folder = folder(&[("pairs.jsonl", lines.as_bytes())]);
        let message = load(&folder, "pairs.jsonl").unwrap_err().to_string();
        assert!(message.contains(part) && message.contains("hint: "), "no {part:?} in {message}");
    };
    let first = "{\"a\":\"x\",\"b\":\"y\"}\n";
    check(&[first, "{\"a\":\"x\"}"].concat(), ":2:1: the column \"b\" of the first line is absent");
    check(
        &[first, "{\"a\":\"x\",\"b\":\"y\",\"c\":\"z\"}"].concat(),
        "the column \"c\" is not in the first line",
    );
    check(&[first, "{\"a\":\"x\",\"b\":null}"].concat(), "the column \"b\" is null, not text");
    check(&[first, "{\"a\":\" \",\"b\":\"y\"}"].concat(), "the column \"a\" is empty");
    check("{\"a\":\"x\"}", "1 text column(s)");
    check(
        "{\"id\":7,\"a\":\"x\",\"b\":\"y\"}",
        "the column \"id\" is a number, not text; remove it",
    );
    check("{\"a\":\"x\",\"b\":\"y\",\"c\":\"z\",\"score\":1}", "3 text columns with score");
    check("{\"a\":\"x\",\"b\":\"y\",\"score\":\"high\"}", "is text, not a finite number");
    check("{\"a\":\"x\",\"b\":\"y\",\"score\":1e999}", ":1:");
    check("{\"query\":\"x\",\"pos\":[]}", "\"pos\" is empty");
    check("{\"query\":\"x\",\"pos\":[1]}", "\"pos\" has a number where a text should be");
}

#[test]
fn pairs_are_held_out_by_their_anchor() {
    let line = |at: usize| format!("{{\"q\":\"question {}\",\"a\":\"answer {at}\"}}\n", at / 2);
    let lines: String = (0..400).map(line).collect();
    let folder = folder(&[("pairs.jsonl", lines.as_bytes())]);
    let set = load(&folder, "pairs.jsonl").unwrap().dataset;
    assert_eq!((set.documents.len(), set.queries.len()), (400, 200));
    assert_eq!((set.test.len(), set.dev.len(), set.train.len()), (30, 26, 288));
    assert!(set.test.queries.iter().all(|judged| judged.gains.len() == 2));
}

/// Every id of a data set is within its tables.
fn check_sound(loaded: &Loaded) {
    let set = &loaded.dataset;
    let (queries, documents) = (set.queries.len() as u32, set.documents.len() as u32);
    for example in &set.train {
        match example {
            Example::Pair { query, positive, negatives } => {
                assert!(*query < queries && *positive < documents);
                assert!(negatives.iter().all(|negative| *negative < documents));
            }
            Example::Scored { left, right, score } => {
                assert!(*left < queries && *right < documents && score.is_finite());
            }
        }
    }
    for judged in set.dev.queries.iter().chain(&set.test.queries) {
        assert!(judged.query < queries && !judged.gains.is_empty());
        assert!(judged.gains.iter().all(|(document, _)| *document < documents));
    }
    let ids = set.documents.iter().map(|document| document.id.as_str());
    let mut known: HashSet<&str> = ids.collect();
    assert_eq!(known.len(), set.documents.len(), "two documents have one id");
    if loaded.layout != Layout::Beir {
        known.extend(set.queries.iter().map(|query| query.id.as_str()));
        let made = set.documents.len() + set.queries.len();
        assert_eq!(known.len(), made, "an id was made up twice");
    }
}

#[test]
fn only_ids_that_people_gave_mean_something() {
    let pairs = b"{\"a\": \"x\", \"b\": \"y\"}\n{\"a\": \"y\", \"b\": \"x\"}\n";
    let section = |at: usize| format!("## Part {at}\n\n{}.\n\n", format!("word{at} ").repeat(70));
    let page: String = (0..9).map(section).collect();
    let folder = beir(&[("pairs.jsonl", pairs), ("pages/a.md", page.as_bytes())]);
    for (path, expected) in [("", true), ("pairs.jsonl", false), ("pages", false)] {
        let loaded = load(&folder, path).unwrap();
        assert_eq!(loaded.dataset.leaves_out_own_id, expected, "{path}");
        check_sound(&loaded);
    }
}

#[test]
fn reading_stops_when_it_is_asked_to() {
    let stop = AtomicBool::new(true);
    let folder =
        beir(&[("pairs.jsonl", b"{\"a\": \"x\", \"b\": \"y\"}\n"), ("pages/a.md", b"# A")]);
    for path in ["", "pairs.jsonl", "pages"] {
        let options = ReadOptions { stop: &stop, ..options() };
        let stopped = read(&[folder.path().join(path)], &options);
        assert!(matches!(stopped, Err(DataError::Stopped)), "{path}: {stopped:?}");
    }
}

#[test]
fn the_first_example_is_found_behind_blank_lines() {
    let folder = folder(&[("pairs.jsonl", b"\n  \n{\"a\": \"x\", \"b\": \"y\"}\n")]);
    assert_eq!(load(&folder, "pairs.jsonl").unwrap().first_line, Some(3));
    assert_eq!(load(&beir(&[]), "").unwrap().first_line, None);
}

#[test]
fn several_paths_must_be_folders_of_pages() {
    let folder = folder(&[("a/x.md", b""), ("b.jsonl", b"{}")]);
    let paths: Vec<PathBuf> = ["a", "b.jsonl"].map(|name| folder.path().join(name)).to_vec();
    let message = read(&paths, &options()).unwrap_err().to_string();
    assert!(message.contains("only folders of pages can be read together"), "{message}");
    assert!(read(&[], &options()).is_err());
    assert!(!Path::new("").exists());
}
