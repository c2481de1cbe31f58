//! Tiny data sets: documents of made-up words, and queries that share words with one of them.

use std::fs;
use std::path::Path;

use serde_json::json;

/// Made-up words: every pair of a beginning and an end.
pub(crate) fn words() -> Vec<String> {
    let starts = ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe"];
    let ends = ["bar", "cen", "dol", "fim", "gus", "hap", "jet", "kor", "lum", "mas"];
    starts.iter().flat_map(|start| ends.iter().map(move |end| format!("{start}{end}"))).collect()
}

/// A text of words that number and seed pick.
pub(crate) fn text(seed: usize, length: usize) -> String {
    let words = words();
    let word = |at: usize| words[(seed * 7919 + at * at * 31 + at * 17) % words.len()].as_str();
    (0..length).map(word).collect::<Vec<_>>().join(" ")
}

/// The first words of a text, which stand for a question about it.
fn question(seed: usize) -> String {
    text(seed, 3)
}

/// A BEIR folder: documents, and a query for each, of which every fifth is a test query.
pub(crate) fn beir(folder: &Path, documents: usize) {
    fs::create_dir_all(folder.join("qrels")).unwrap();
    let corpus = (0..documents)
        .map(|d| json!({ "_id": format!("d{d}"), "title": "", "text": text(d, 14) }).to_string());
    let queries =
        (0..documents).map(|q| json!({ "_id": format!("q{q}"), "text": question(q) }).to_string());
    lines(&folder.join("corpus.jsonl"), corpus);
    lines(&folder.join("queries.jsonl"), queries);
    for (split, is_test) in [("train", false), ("test", true)] {
        let header = "query-id\tcorpus-id\tscore".to_owned();
        let judged = (0..documents).filter(|d| (d % 5 == 0) == is_test);
        let rows = judged.map(|d| format!("q{d}\td{d}\t1"));
        lines(&folder.join(format!("qrels/{split}.tsv")), std::iter::once(header).chain(rows));
    }
}

/// A JSONL file of pairs.
pub(crate) fn pairs(path: &Path, count: usize) {
    let pair = |d| json!({ "anchor": question(d), "positive": text(d, 14) }).to_string();
    lines(path, (1000..1000 + count).map(pair));
}

/// A folder of Markdown pages with sections.
pub(crate) fn pages(folder: &Path, pages: usize) {
    fs::create_dir_all(folder).unwrap();
    for page in 0..pages {
        let section = |section: usize| {
            let seed = 2000 + 10 * page + section;
            format!("## {}\n\n{}.\n", question(seed), text(seed, 60))
        };
        let body: Vec<String> = (0..4).map(section).collect();
        let title = text(3000 + page, 2);
        fs::write(folder.join(format!("{page}.md")), format!("# {title}\n\n{}", body.join("\n")))
            .unwrap();
    }
}

/// Writes lines to a file.
pub(crate) fn lines(path: &Path, lines: impl IntoIterator<Item = String>) {
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    fs::write(path, text).unwrap();
}
