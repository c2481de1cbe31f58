//! Documents in which something stands word for word: quoted phrases, and words that look like
//! codes, as identifiers and part numbers, which stemming and splitting would blur.
//!
//! The postings say which documents hold all terms of a literal, and only their texts are looked at.
//! None is missed: a literal that stands between boundaries makes the same terms there as alone.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::analyzer::{Analyzer, Class, normalise};
use super::cursor::{Cursor, Weighing};
use super::search::{TextSearch, Wanted};
use crate::{Hit, Slot};

/// Most literals of a query that are looked for: the first ones.
pub const LITERALS_MAX: usize = 8;

/// Longest literal in bytes; a longer one is none.
pub const LITERAL_BYTES_MAX: usize = 1024;

/// What must stand in a document word for word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// As it stands in the query, without quotation marks.
    pub text: String,
    /// How it is compared.
    pub kind: LiteralKind,
}

/// How a literal is compared with a text. Neither kind is found where it would begin or end within
/// a word; Chinese has no such boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralKind {
    /// Quoted: upper and lower case are the same, and so are all runs of white space. `camelCase` is
    /// two words, as it is for BM25.
    Phrase,
    /// Looks like a code: letter by letter.
    Code,
}

/// How far a search for literals goes.
#[derive(Clone, Copy)]
pub struct Exact<'a> {
    /// How many documents are wanted.
    pub k: usize,
    /// Most texts that are read for one literal, in the order of parts and slots.
    pub texts_max: usize,
    /// The text that was added under a slot. A document without text is not found.
    pub text_of: &'a dyn Fn(Slot) -> Option<Cow<'a, str>>,
}

/// What a search for literals found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactFound {
    /// The best documents that hold a literal, in the order of [`Hit::best_first`]. Each literal
    /// counts the rarity of its terms.
    pub hits: Vec<Hit>,
    /// Number of texts that were read.
    pub texts_read: usize,
    /// Literals for which `texts_max` was too few to read every text that could hold them.
    pub literals_cut: usize,
}

impl Literal {
    /// What a query wants word for word: quoted phrases first, then words that look like codes, each
    /// once, at most [`LITERALS_MAX`].
    ///
    /// A phrase stands between `"…"`, `“…”` or `「…」`. A word looks like a code if it has a letter
    /// and a digit, a capital behind a small letter, or a `_`, `::`, `.`, `/` or `@` within.
    pub fn all_of(query: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut rest = String::new();
        let mut left = query;
        while let Some((start, open)) = left.char_indices().find(|(_, c)| "\"“「".contains(*c)) {
            let close = match open {
                '“' => '”',
                '「' => '」',
                _ => '"',
            };
            let inner = &left[start + open.len_utf8()..];
            let Some(end) = inner.find(close) else { break };
            rest.push_str(&left[..start]);
            rest.push(' ');
            add(&mut found, &inner[..end], LiteralKind::Phrase);
            left = &inner[end + close.len_utf8()..];
        }
        rest.push_str(left);
        for word in rest.split_whitespace() {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
            if is_code(word) {
                add(&mut found, word, LiteralKind::Code);
            }
        }
        found
    }
}

fn add(found: &mut Vec<Literal>, text: &str, kind: LiteralKind) {
    let text = text.trim();
    let is_new = found.iter().all(|literal| literal.text != text);
    let has_terms = text.chars().any(|c| Class::of(c) != Class::Gap);
    if has_terms && is_new && text.len() <= LITERAL_BYTES_MAX && found.len() < LITERALS_MAX {
        found.push(Literal { text: text.to_owned(), kind });
    }
}

fn is_code(word: &str) -> bool {
    let has_letter = word.chars().any(char::is_alphabetic);
    let has_digit = word.chars().any(|c| c.is_ascii_digit());
    let mut pairs = word.chars().zip(word.chars().skip(1));
    let has_capital_within = pairs.any(|(one, other)| one.is_lowercase() && other.is_uppercase());
    let has_joint = word.contains("::") || word.contains(['_', '.', '/', '@']);
    // Chinese is written without spaces, so that a digit stands beside a letter in plain text.
    let is_chinese = word.chars().any(|c| Class::of(c) == Class::Chinese);
    has_letter && !is_chinese && (has_digit || has_capital_within || has_joint)
}

impl TextSearch<'_> {
    /// The documents that hold at least one of the literals word for word.
    pub fn exact(&self, literals: &[Literal], exact: Exact<'_>) -> ExactFound {
        let mut found = ExactFound::default();
        let mut scores: HashMap<Slot, f32> = HashMap::new();
        for literal in literals.iter().take(LITERALS_MAX) {
            let wanted = self.wanted(&literal.text);
            if literal.text.len() > LITERAL_BYTES_MAX || wanted.len() != terms(&literal.text) {
                continue;
            }
            let score: f64 = wanted.iter().map(|one| one.term.rarity).sum();
            let pattern = Pattern::new(literal);
            let candidates = self.holding_all(&wanted);
            if candidates.len() > exact.texts_max {
                found.literals_cut += 1;
            }
            for slot in candidates.into_iter().take(exact.texts_max) {
                found.texts_read += 1;
                if (exact.text_of)(slot).is_some_and(|text| pattern.is_in(&text)) {
                    *scores.entry(slot).or_default() += score as f32;
                }
            }
        }
        found.hits = scores.into_iter().map(|(slot, score)| Hit { slot, score }).collect();
        found.hits.sort_unstable_by(Hit::best_first);
        found.hits.truncate(exact.k);
        found
    }

    /// Allowed documents that hold every term, part by part.
    fn holding_all(&self, wanted: &[Wanted<'_>]) -> Vec<Slot> {
        let mut slots = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            let lists = wanted.iter().map(|one| one.lists[at]);
            let Some(mut lists) = lists.collect::<Option<Vec<_>>>() else { continue };
            // The shortest list leads.
            lists.sort_by_key(|list| list.len());
            let mut cursors: Vec<_> =
                lists.into_iter().map(|list| Cursor::new(list, Weighing::NONE)).collect();
            let mut document = 0;
            while let Some(common) = next_common(&mut cursors, document) {
                let slot = part.slot(common);
                if !part.removed().contains(common) && (self.allowed)(slot) {
                    slots.push(slot);
                }
                let Some(next) = common.checked_add(1) else { break };
                document = next;
            }
        }
        slots
    }
}

/// The first document from `document` on that all lists hold.
fn next_common(cursors: &mut [Cursor<'_>], mut document: u32) -> Option<u32> {
    let (mut agreed, mut at) = (0, 0);
    while agreed < cursors.len() {
        let next = cursors[at].next_from(document)?;
        agreed = if next == document { agreed + 1 } else { 1 };
        document = next;
        at = (at + 1) % cursors.len();
    }
    (agreed > 0).then_some(document)
}

/// Number of different terms of a text.
fn terms(text: &str) -> usize {
    let mut terms = HashSet::new();
    Analyzer::new().each_term(text, |term| {
        terms.insert(term.to_owned());
    });
    terms.len()
}

/// A literal in the form in which it is compared.
struct Pattern {
    text: String,
    kind: LiteralKind,
}

impl Pattern {
    fn new(literal: &Literal) -> Self {
        Self { text: comparable(&literal.text, literal.kind).into_owned(), kind: literal.kind }
    }

    fn is_in(&self, text: &str) -> bool {
        let text = comparable(text, self.kind);
        let is_word = |c: Option<char>| c.is_some_and(|c| Class::of(c) == Class::Word);
        let begins = is_word(self.text.chars().next());
        let ends = is_word(self.text.chars().next_back());
        text.match_indices(&self.text).any(|(start, found)| {
            let before = text[..start].chars().next_back();
            let after = text[start + found.len()..].chars().next();
            !(begins && is_word(before) || ends && is_word(after))
        })
    }
}

fn comparable(text: &str, kind: LiteralKind) -> Cow<'_, str> {
    match kind {
        LiteralKind::Code => text.into(),
        LiteralKind::Phrase => {
            let mut lower = String::new();
            normalise(text, &mut lower);
            lower.split_whitespace().collect::<Vec<_>>().join(" ").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use crate::text::{Bm25Options, TextBuffer, TextPart, TextSegment};

    #[test]
    fn literals_are_seen() {
        let check = |query: &str, expected: &[(&str, LiteralKind)]| {
            let found = Literal::all_of(query);
            let found: Vec<_> = found.iter().map(|one| (one.text.as_str(), one.kind)).collect();
            assert_eq!(found, expected, "{query}");
        };
        use LiteralKind::{Code, Phrase};
        check("what is the price of apples?", &[]);
        check("find \"red apple\" pie", &[("red apple", Phrase)]);
        check(
            "“red apple” and \"x\" and 「合同」",
            &[("red apple", Phrase), ("x", Phrase), ("合同", Phrase)],
        );
        check("half \"open", &[]);
        check("\"\" \" - \"", &[]);
        check(
            "AB-1234X (parseJson), read_file!",
            &[("AB-1234X", Code), ("parseJson", Code), ("read_file", Code)],
        );
        check("see std::io and a.b@c.org in 1999.", &[("std::io", Code), ("a.b@c.org", Code)]);
        check("H2O H2O 第3条", &[("H2O", Code)]);
        check(&"x1 y2 ".repeat(9), &[("x1", Code), ("y2", Code)]);
        let many: String = (0..20).map(|at| format!("a{at} ")).collect();
        assert_eq!(Literal::all_of(&many).len(), LITERALS_MAX);
    }

    const TEXTS: [&str; 8] = [
        "Order AB-1234X today; it is an apple\n  pie.",
        "order ab-1234x today, an Apple Pie",
        "XAB-1234X is another one, as is AB-1234XY or AB 1234X",
        "parseJson reads; pie apple",
        "parse json reads",
        "合同法第3条",
        "apple pies and AB-1234X and parseJson",
        "an apple pie, gone",
    ];

    fn check(query: &str, expected: &[u32]) {
        let mut buffer = TextBuffer::new(Bm25Options::default());
        for (slot, text) in (0..).zip(TEXTS) {
            buffer.add(Slot(slot), text).unwrap();
        }
        let mut segment = TextSegment::open(Bytes::from_vec(buffer.freeze())).unwrap();
        buffer.remove(Slot(7), TEXTS[7]).unwrap();
        segment.remove(Slot(7), TEXTS[7]).unwrap();
        for part in [TextPart::Buffer(&buffer), TextPart::Segment(&segment)] {
            let options = Bm25Options::default();
            let search = TextSearch { parts: &[part], options, allowed: &|_| true };
            let text_of = |slot: Slot| TEXTS.get(slot.0 as usize).map(|text| Cow::from(*text));
            let exact = Exact { k: 9, texts_max: 100, text_of: &text_of };
            let found = search.exact(&Literal::all_of(query), exact);
            let slots: Vec<u32> = found.hits.iter().map(|hit| hit.slot.0).collect();
            assert_eq!(slots, expected, "{query}: {found:?}");
            assert_eq!(found.literals_cut, 0);
            let cut = search.exact(&Literal::all_of(query), Exact { texts_max: 0, ..exact });
            assert!(cut.hits.is_empty() && cut.texts_read == 0);
            assert_eq!(cut.literals_cut > 0, found.texts_read > 0);
        }
    }

    #[test]
    fn what_stands_word_for_word_is_found() {
        check("\"apple pie\"", &[0, 1]);
        check("\"AN  apple pie\"", &[0, 1]);
        check("AB-1234X", &[0, 6]);
        check("parseJson", &[3, 6]);
        check("\"parse json\"", &[3, 4, 6]);
        check("\"合同\"", &[5]);
        check("\"法第\"", &[5]);
        check("\"pie apple\" AB-1234X parseJson", &[6, 3, 0]);
        check("\"apple zebra\"", &[]);
        check("apple pie", &[]);
    }
}
