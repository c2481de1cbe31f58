//! Pages of every format become passages, queries and splits.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::sync::atomic::AtomicBool;

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::page::{Block, Page};
use super::{Ids, html, markdown, plain, tree};
use crate::data::{Dataset, Loaded, ReadOptions, TEXT_BYTES_MAX, Warning, read};

/// A page as an outline: headings, then blocks with their kind.
fn outline(page: &Page) -> String {
    let mut out = format!("{} ({})\n", page.title, page.site);
    for section in &page.sections {
        writeln!(out, "# {:?} #{}", section.headings, section.anchor).unwrap();
        for block in &section.blocks {
            let kind = match block {
                Block::Paragraph(_) => "p",
                Block::Item(_) => "-",
                Block::Code(_) => "```",
            };
            writeln!(out, "{kind} {}", block.text()).unwrap();
        }
    }
    out
}

fn check(page: &Page, expected: Expect) {
    expected.assert_eq(&outline(page));
}

#[test]
fn html_keeps_the_main_content() {
    let page = "<html><head><title>cargo x - The Cargo Book</title><style>p{}</style></head><body>
        <nav><ul><li>Elsewhere</li></ul></nav>
        <main><h1 id=\"x\"><a class=\"header\" href=\"#x\">cargo-x(1)</a></h1>
        <div class=\"rule\">[rule.id]</div>
        <p>Does <code>x</code> and&nbsp;<em>y</em>.<script>evil()</script></p>
        <h2 id=\"opt\">OPTIONS</h2>
        <dl><dt><code>--a</code></dt><dt>-a</dt><dd><p>Turns a on.</p><p>More.</p></dd></dl>
        <pre><code><span class=\"boring\">fn main() {
</span>    let a = 1;
<span class=\"boring\">}</span></code></pre>
        <ul><li>one</li><li><p>two</p></li></ul>
        <table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>
        <h3>Deeper</h3><blockquote><p>Note well.</p></blockquote>
        <div hidden>secret</div></main><footer>Copyright</footer></body></html>";
    check(
        &html::read(&tree::parse(page).unwrap(), "file").unwrap(),
        expect![[r##"
            cargo x (The Cargo Book)
            # [] #x
            p Does x and y.
            # ["Options"] #opt
            - --a, -a: Turns a on.
            - More.
            ```     let a = 1;
            - one
            - two
            - k | v
            - 1 | 2
            # ["Options", "Deeper"] #
            p Note well.
        "##]],
    );
    let redirect = "<meta http-equiv=\"refresh\" content=\"0; URL=x.html\"><body>Go</body>";
    assert_eq!(html::read(&tree::parse(redirect).unwrap(), "file"), None);
}

#[test]
fn only_absurd_pages_are_too_deep() {
    let check = |text: &str, expected| {
        assert_eq!(tree::parse(text).is_none(), expected, "{text:.80}");
    };
    check(&"<div>".repeat(100_000), true);
    check(&"<div></x>".repeat(100_000), true);
    check(&format!("<SCRIPT>1</SCRIPT>{}", "<div>".repeat(100_000)), true);
    check(&format!("<!-->{}", "<div>".repeat(100_000)), true);
    check(&format!("<svg>{}", "<path>".repeat(100_000)), true);
    let opened: String = (0..300).map(|number| format!("<b a{number}>")).collect();
    check(&format!("<p>{opened}{}", "<p>x".repeat(100_000)), true);
    check(&"<b class=x><p>".repeat(1000), false);
    check(&"<div><p>text</div>".repeat(1000), false);
    check(&"<p>one<br><li>two<tr><td>".repeat(1000), false);
    check(&format!("<script>{}</script>", "'<div>'".repeat(1000)), false);
    check(&format!("<!-- {} -->", "<div>".repeat(1000)), false);
    check(&format!("<title>{}</title>", "é".repeat(10_000)), false);
    check("", false);
    check("<", false);
    check("</", false);
    check("<!--", false);
    check("a < b <é", false);
    check(&"<div>".repeat(390), false);
}

#[test]
fn markdown_becomes_sections() {
    let page = "---\ntitle: front matter\n---\n# Crate `x`\n\n[![badge](a.svg)](b)\n\nIt *does* things.\n
## 1.2. Usage\n\n```rust\nlet a = 1;\n\nlet b = 2;\n```\n\n- one\n- two\n\n| k | v |\n|---|---|\n| 1 | 2 |\n
Setext\n------\n\nText with <b>mark-up</b>.\n";
    check(
        &markdown::parse(page, "file"),
        expect![[r##"
            Crate x ()
            # [] #crate-x
            p It does things.
            # ["Usage"] #12-usage
            ``` let a = 1;

            let b = 2;
            - one
            - two
            - k | v
            - 1 | 2
            # ["Setext"] #setext
            p Text with mark-up.
        "##]],
    );
    check(
        &markdown::parse("no heading", "My file"),
        expect![[r#"
        My file ()
        # [] #
        p no heading
    "#]],
    );
}

#[test]
fn plain_text_becomes_sections() {
    let page = "Manual\n======\n\nFirst line\nsecond line.\n\nPart\n----\n\n    let a = 1;\n    let b = 2;\n
1.2 Numbered Part\n\nEnd.\n";
    check(
        &plain::parse(page, "file"),
        expect![[r##"
            Manual ()
            # [] #manual
            p First line second line.
            # ["Part"] #part
            ```     let a = 1;
                let b = 2;
            # ["Numbered Part"] #12-numbered-part
            p End.
        "##]],
    );
}

#[test]
fn data_is_not_prose() {
    let check = |text: &str, expected| assert_eq!(plain::is_prose(text), expected, "{text:.60}");
    check("A sentence. And another one!", true);
    check(&"经营者依照规定登记，为个体工商户。".repeat(50), true);
    check(&"word\n".repeat(500), false);
    check(&"0.1 2.3 4.5\n".repeat(100), false);
}

/// A folder of pages with sections of their own words.
fn book(pages: usize, sections: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for page in 0..pages {
        let mut text = format!("# Page {page}\n\n");
        for section in 0..sections {
            writeln!(text, "## Topic {page} {section}\n").unwrap();
            for word in 0..80 {
                write!(text, "word{page}x{section}x{word} ").unwrap();
            }
            text += "\n\nThis notice stands on every page of the book.\n\n";
        }
        fs::write(folder.path().join(format!("p{page:03}.md")), text).unwrap();
    }
    folder
}

fn load(folder: &TempDir, passages_max: usize) -> Loaded {
    let stop = &AtomicBool::new(false);
    let options = ReadOptions { name: "book".to_owned(), passages_max, stop };
    read(&[folder.path().to_owned()], &options).unwrap()
}

/// The page that a query comes from.
fn page_of(set: &Dataset, query: u32) -> String {
    let text = &set.queries[query as usize].text;
    text.split(':').next().unwrap().to_owned()
}

#[test]
fn whole_pages_are_held_out_and_everything_is_searched() {
    let folder = book(60, 4);
    let loaded = load(&folder, 10_000);
    let set = &loaded.dataset;
    assert_eq!((set.documents.len(), set.queries.len()), (240, 240));
    assert_eq!((set.test.len(), set.dev.len()), (36, 32));
    let pages = |queries: &mut dyn Iterator<Item = u32>| -> HashSet<String> {
        queries.map(|query| page_of(set, query)).collect()
    };
    let train = pages(&mut set.train.iter().map(|example| example.query()));
    let dev = pages(&mut set.dev.queries.iter().map(|judged| judged.query));
    let test = pages(&mut set.test.queries.iter().map(|judged| judged.query));
    assert_eq!((train.len(), dev.len(), test.len()), (43, 8, 9));
    assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
    assert_eq!(set.queries[5].text, "Page 1: Topic 1 1");
    assert_eq!(set.documents[5].id, "p001.md#topic-1-1");
    assert!(set.documents.iter().all(|one| one.title.is_empty()), "a title would be the answer");
    let notices = set.documents.iter().filter(|one| one.text.contains("notice"));
    assert!(notices.count() <= 4, "repeated blocks are kept on one page");
    assert_eq!(loaded, load(&folder, 10_000), "the same files give the same data");
}

#[test]
fn made_up_ids_never_collide() {
    let mut ids = Ids::default();
    let places = ["a.md", "a.md~2", "a.md", "a.md", "0:a.md", "0:a.md", "a.md~2", "a.md~2~2"];
    let made: Vec<String> = places.iter().map(|place| ids.unique(place)).collect();
    let expected =
        ["a.md", "a.md~2", "a.md~3", "a.md~4", "0:a.md", "0:a.md~2", "a.md~2~2", "a.md~2~2~2"];
    assert_eq!(made, expected);
}

#[test]
fn a_sample_is_spread_over_the_pages() {
    let loaded = load(&book(20, 6), 40);
    let set = &loaded.dataset;
    assert_eq!(set.documents.len(), 40);
    let mut counts = std::collections::HashMap::new();
    for document in &set.documents {
        *counts.entry(document.id.split('#').next().unwrap()).or_insert(0) += 1;
    }
    assert!(counts.len() == 20 && counts.values().all(|&count| count == 2), "{counts:?}");
    let sampled = Warning::PassagesSampled { found: 120, kept: 40 };
    assert!(loaded.warnings.contains(&sampled), "{:?}", loaded.warnings);
}

#[test]
fn a_page_that_is_not_text_is_skipped_and_told() {
    let folder = book(10, 2);
    fs::write(folder.path().join("bad.md"), b"# Caf\xe9\n").unwrap();
    let skipped = load(&folder, 100).warnings.into_iter().find_map(|warning| match warning {
        Warning::FilesSkipped { first, files, why } => Some((first, files, why)),
        _ => None,
    });
    let (first, files, why) = skipped.unwrap();
    assert!(first.ends_with("bad.md"));
    assert_eq!((files, why), (1, "not UTF-8"));
}

#[test]
fn ids_differ_and_texts_are_bounded_whatever_a_page_holds() {
    let folder = book(10, 2);
    let section = |(anchor, heading): (&str, &str)| {
        let words: String = (0..30).map(|word| format!("{heading}{word} ")).collect();
        format!("<h2 id=\"{anchor}\">{heading}</h2><p>{words}")
    };
    let sections = [("x", "One"), ("x", "Two"), ("x~2", "Three"), ("y", "Four")].map(section);
    let page = format!("{} {}", sections.concat(), "A".repeat(TEXT_BYTES_MAX));
    fs::write(folder.path().join("page.html"), page).unwrap();
    let set = load(&folder, 1000).dataset;
    let on_page = set.documents.iter().filter(|document| document.id.starts_with("page.html"));
    let ids: HashSet<&str> = on_page.clone().map(|document| &*document.id).collect();
    assert!(ids.len() >= 4 && ids.len() == on_page.clone().count(), "{ids:?}");
    assert!(on_page.clone().any(|document| document.text.len() == TEXT_BYTES_MAX));
    assert!(on_page.clone().all(|document| document.text.len() <= TEXT_BYTES_MAX));
}
