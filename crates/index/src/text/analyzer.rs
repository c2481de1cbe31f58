//! From a text to its terms.
//!
//! Terms are runs of letters and digits, lower-cased after a split of `camelCase` and stemmed by
//! the English Snowball stemmer; a run of Chinese characters gives its characters and its pairs of
//! neighbours. Both sides, documents and queries, go through here, so that the same words meet.

use rust_stemmers::{Algorithm, Stemmer};

/// Longest word in bytes: what a longer one holds behind that does not count, so that a document
/// of one endless word makes one short term.
const WORD_BYTES_MAX: usize = 200;

/// A piece of a text, still to be stemmed if it is a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// Lower-cased, not stemmed.
    Word(&'a str),
    /// One or two Chinese characters: a term as it is.
    Gram(&'a str),
}

/// Cuts texts into terms, reusing its buffer.
pub(super) struct Analyzer {
    stemmer: Stemmer,
    lower: String,
}

impl Analyzer {
    pub(super) fn new() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English), lower: String::new() }
    }

    /// Calls `emit` with every term, in the order of the text but for Chinese pairs, which follow
    /// the characters of their run.
    pub(super) fn each_term(&mut self, text: &str, mut emit: impl FnMut(&str)) {
        self.each_token(text, |stemmer, token| match token {
            Token::Gram(gram) => emit(gram),
            Token::Word(word) => emit(&stemmer.stem(word)),
        });
    }

    /// Calls `emit` with every token and the stemmer for it, for callers that remember stems.
    pub(super) fn each_token(&mut self, text: &str, mut emit: impl FnMut(&Stemmer, Token<'_>)) {
        normalise(text, &mut self.lower);
        let lower = self.lower.as_str();
        let mut at = 0;
        while at < lower.len() {
            let (class, _) = class_at(lower, at);
            let start = at;
            while at < lower.len() {
                let (next, width) = class_at(lower, at);
                if next != class {
                    break;
                }
                at += width;
            }
            let run = &lower[start..at];
            match class {
                Class::Gap => {}
                Class::Chinese => each_gram(run, |gram| emit(&self.stemmer, Token::Gram(gram))),
                Class::Word => {
                    let mut end = run.len().min(WORD_BYTES_MAX);
                    while !run.is_char_boundary(end) {
                        end -= 1;
                    }
                    emit(&self.stemmer, Token::Word(&run[..end]));
                }
            }
        }
    }
}

/// Lower-cased into `out`, with a space between a lower-case letter or digit and a capital behind
/// it.
pub(super) fn normalise(text: &str, out: &mut String) {
    out.clear();
    out.reserve(text.len() + text.len() / 16);
    let mut before = ' ';
    for character in text.chars() {
        if character.is_ascii_uppercase() {
            if before.is_ascii_lowercase() || before.is_ascii_digit() {
                out.push(' ');
            }
            out.push(character.to_ascii_lowercase());
        } else if character.is_ascii() {
            out.push(character);
        } else {
            out.extend(character.to_lowercase());
        }
        before = character;
    }
}

/// What a character belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Class {
    /// No part of a word.
    Gap,
    /// A letter or digit.
    Word,
    /// A character of the block of unified ideographs.
    Chinese,
}

impl Class {
    pub(super) fn of(character: char) -> Self {
        match character {
            '\u{4e00}'..='\u{9fff}' => Self::Chinese,
            _ if character.is_alphanumeric() => Self::Word,
            _ => Self::Gap,
        }
    }
}

/// The class of the character at a boundary within `text`, and its width in bytes.
fn class_at(text: &str, at: usize) -> (Class, usize) {
    let byte = text.as_bytes()[at];
    if byte.is_ascii() {
        return (if byte.is_ascii_alphanumeric() { Class::Word } else { Class::Gap }, 1);
    }
    let character = text[at..].chars().next().expect("a boundary before the end has a character");
    (Class::of(character), character.len_utf8())
}

/// Each character, then each pair of neighbours.
fn each_gram(run: &str, mut emit: impl FnMut(&str)) {
    let mut bounds: Vec<usize> = run.char_indices().map(|(at, _)| at).collect();
    bounds.push(run.len());
    for width in [1, 2] {
        for ends in bounds.windows(width + 1) {
            emit(&run[ends[0]..ends[width]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        Analyzer::new().each_term(text, |term| out.push(term.to_owned()));
        out
    }

    #[test]
    fn texts_become_terms() {
        let check = |text: &str, expected: &[&str]| assert_eq!(terms(text), expected, "{text:?}");
        check("Running runs, ran.", &["run", "run", "ran"]);
        check("parseJSONFile2Text", &["pars", "jsonfile2", "text"]);
        check("snake_case", &["snake", "case"]);
        check("经营者", &["经", "营", "者", "经营", "营者"]);
        check("Rust语言", &["rust", "语", "言", "语言"]);
        check("ÀÉ caféÜber", &["àé", "caféüber"]);
        check("", &[]);
        check(" -- ", &[]);
    }

    #[test]
    fn an_endless_word_is_a_short_term() {
        let found = terms(&"é".repeat(100_000));
        assert_eq!(found, ["é".repeat(WORD_BYTES_MAX / 2)]);
        let found = terms(&format!("x{}", "é".repeat(100_000)));
        assert_eq!(found, [format!("x{}", "é".repeat(WORD_BYTES_MAX / 2 - 1))]);
    }
}
