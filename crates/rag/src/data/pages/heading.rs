//! From headings to queries that somebody could have typed.

use super::page::{Page, Section, squeeze};

/// Headings that say nothing without what stands above them.
const GENERIC: &[&str] = &[
    "about",
    "additional information",
    "additional notes",
    "advanced",
    "arguments",
    "attributes",
    "authors",
    "background",
    "basic",
    "basics",
    "caveats",
    "commands",
    "common issues",
    "compatibility",
    "conclusion",
    "configuration",
    "contents",
    "default",
    "definition",
    "description",
    "details",
    "discussion",
    "environment",
    "errors",
    "example",
    "examples",
    "exit status",
    "faq",
    "features",
    "fields",
    "files",
    "format",
    "further reading",
    "general",
    "history",
    "how it works",
    "implementation",
    "index",
    "info",
    "information",
    "installation",
    "introduction",
    "limitations",
    "methods",
    "miscellaneous",
    "motivation",
    "name",
    "note",
    "notes",
    "options",
    "other",
    "output",
    "overview",
    "panics",
    "parameters",
    "prerequisites",
    "properties",
    "quick start",
    "quickstart",
    "rationale",
    "readme",
    "reference",
    "references",
    "requirements",
    "return value",
    "returns",
    "rules",
    "safety",
    "schema",
    "see also",
    "semantics",
    "settings",
    "setup",
    "status",
    "summary",
    "synopsis",
    "syntax",
    "todo",
    "troubleshooting",
    "types",
    "usage",
    "values",
    "warning",
];

/// A heading without numbering, mark-up remains and shouting.
pub(super) fn clean(heading: &str) -> String {
    let text = squeeze(heading);
    let text = text.trim_matches(|c: char| {
        matches!(c, '#' | '¶' | '§' | '🔗' | ':' | '*' | '`') || c.is_whitespace()
    });
    let text = without_number(text);
    let text = text.strip_suffix(')').and_then(|text| text.rsplit_once('(')).map_or(
        text,
        |(name, page)| {
            if page.len() == 1 && page.as_bytes()[0].is_ascii_digit() { name } else { text }
        },
    );
    let text = text.trim().replace('`', "");
    let shouts = text.len() > 3
        && text.contains(' ') | (text.len() > 4)
        && text.chars().all(|c| !c.is_alphabetic() || c.is_uppercase())
        && text.is_ascii()
        && text.chars().any(char::is_alphabetic);
    if shouts && !text.contains(['_', '.', ':']) {
        let mut lower = text.to_lowercase();
        lower[..1].make_ascii_uppercase();
        return lower;
    }
    text
}

/// Without a leading chapter number ("8.1. ", "3) ", "Chapter 4: ").
fn without_number(text: &str) -> &str {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &text[..text.len() - rest.len()];
    let separated =
        rest.starts_with([' ', ')', ':']) && number.contains('.') || rest.starts_with(") ");
    if !number.is_empty() && separated {
        let rest = rest.trim_start_matches([')', ':', '-', ' ']);
        if !rest.is_empty() {
            return rest;
        }
    }
    text
}

/// Whether two headings read the same.
pub(super) fn same(one: &str, other: &str) -> bool {
    let letters = |text: &str| {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    letters(one) == letters(other)
}

/// Whether a heading says nothing by itself.
fn is_generic(heading: &str) -> bool {
    let lower = heading.to_lowercase();
    lower.chars().filter(|c| c.is_alphanumeric()).count() < 3 && lower.is_ascii()
        || GENERIC.binary_search(&lower.trim_end_matches(['.', '!', '?'])).is_ok()
}

/// The query that a section answers: the page's title and the heading, with the headings between
/// where the heading is generic or stands on the page more than once. Empty if nothing is said.
pub(super) fn query(page: &Page, section: &Section) -> String {
    let repeats = |heading: &String| {
        let others = page.sections.iter().filter(|other| {
            other.headings.last() == Some(heading) && other.headings != section.headings
        });
        others.count() > 0
    };
    let mut parts: Vec<&str> = Vec::new();
    for heading in section.headings.iter().rev() {
        parts.push(heading);
        if !is_generic(heading) && !repeats(heading) {
            break;
        }
    }
    if !page.title.is_empty() {
        parts.push(&page.title);
    }
    if parts.iter().all(|part| is_generic(part)) && !page.site.is_empty() {
        parts.push(&page.site);
    }
    parts.reverse();
    parts.dedup();
    parts.join(": ")
}

/// All that stands above a section, for people.
pub(super) fn path(page: &Page, section: &Section) -> String {
    let title = Some(page.title.as_str()).filter(|title| !title.is_empty());
    let parts = title.into_iter().chain(section.headings.iter().map(String::as_str));
    parts.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_headings_are_sorted() {
        assert!(GENERIC.is_sorted(), "the search needs order");
    }

    #[test]
    fn headings_are_cleaned() {
        let check = |raw: &str, expected: &str| assert_eq!(clean(raw), expected, "{raw:?}");
        check("8.1. Storing  Lists", "Storing Lists");
        check("cargo-vendor(1)", "cargo-vendor");
        check("COMMON OPTIONS", "Common options");
        check("CARGO_HOME", "CARGO_HOME");
        check("The `match` Expression ¶", "The match Expression");
        check("2 + 2", "2 + 2");
        check("3D graphics", "3D graphics");
        check("f(x)", "f(x)");
        check("ABI", "ABI");
        check("¶", "");
    }

    #[test]
    fn queries_say_what_a_section_is_about() {
        let check = |title: &str, headings: &[&str], expected: &str| {
            let other =
                Section { headings: vec!["X".into(), "Twice".into()], ..Section::default() };
            let (title, site) = (title.into(), "The Book".into());
            let page = Page { title, site, sections: vec![other] };
            let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
            let section = Section { headings, ..Section::default() };
            assert_eq!(query(&page, &section), expected);
        };
        check("Vectors", &[], "Vectors");
        check("Vectors", &["Reading Elements"], "Vectors: Reading Elements");
        check("Vectors", &["Reading", "By Index"], "Vectors: By Index");
        check("Vectors", &["Reading", "Examples"], "Vectors: Reading: Examples");
        check("Vectors", &["Examples"], "Vectors: Examples");
        check("Introduction", &[], "The Book: Introduction");
        check("Introduction", &["Who Rust Is For"], "Introduction: Who Rust Is For");
        check("Introduction", &["Overview"], "The Book: Introduction: Overview");
        check("Vectors", &["Reading", "Twice"], "Vectors: Reading: Twice");
        check("", &["Layout"], "Layout");
        check("", &[], "The Book");
    }
}
