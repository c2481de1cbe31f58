//! Pages: HTML, Markdown and plain text, each beside a page that has enough for a data set.

use cotenant_rag::data::Document;

use crate::Verdict;
use crate::dataset::load;
use crate::scratch::Scratch;

const NEIGHBOUR: &str = "neighbour.md";

/// An HTML page.
pub fn html(bytes: &[u8]) -> Verdict {
    page("page.html", bytes).0
}

/// A Markdown page.
pub fn markdown(bytes: &[u8]) -> Verdict {
    page("page.md", bytes).0
}

/// A page of plain text: each word of a passage is a word of the page.
pub fn plain(bytes: &[u8]) -> Verdict {
    let (verdict, passages) = page("page.txt", bytes);
    let text = String::from_utf8_lossy(bytes);
    for passage in &passages {
        // Invisible characters are taken out, and a listing may be cut within a line.
        let is_foreign = |word: &&str| *word != "…" && word.is_ascii() && !text.contains(*word);
        let foreign = passage.text.split_whitespace().find(is_foreign);
        let hidden = text.contains(['\u{200b}', '\u{200c}', '\u{200d}', '\u{ad}', '\u{2060}']);
        assert!(foreign.is_none() || hidden, "{foreign:?} is not on the page");
    }
    verdict
}

/// Reads a page and its neighbour. The page's passages, if it has any.
fn page(name: &str, bytes: &[u8]) -> (Verdict, Vec<Document>) {
    let neighbour = neighbour();
    let scratch = Scratch::new(&[(name, bytes), (NEIGHBOUR, neighbour.as_bytes())]);
    let loaded = load(&scratch, "", bytes.len() + neighbour.len());
    let set = loaded.expect("a bad page spoils no other").dataset;
    let is_single_line = |text: &str| !text.trim().is_empty() && !text.contains(['\n', '\r']);
    for query in &set.queries {
        assert!(is_single_line(&query.text), "{query:?}");
    }
    for document in &set.documents {
        assert!(!document.text.trim().is_empty(), "{document:?}");
    }
    let (neighbours, passages): (Vec<_>, Vec<_>) =
        set.documents.into_iter().partition(|document| document.id.starts_with(NEIGHBOUR));
    assert!(!neighbours.is_empty());
    match passages.is_empty() {
        true => (Verdict::Refused, passages),
        false => (Verdict::Accepted, passages),
    }
}

/// A page of eight sections, whose words no other page has.
fn neighbour() -> String {
    let words = ["amber", "basalt", "cedar", "dune", "ember", "fjord", "glacier", "harbour"];
    let sections = words.iter().map(|word| {
        let sentence = format!("The {word} of the neighbour is long and old, says its owner. ");
        format!("## On {word} alone\n\n{}\n\n", sentence.repeat(3))
    });
    sections.collect()
}
