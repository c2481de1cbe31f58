//! From HTML to sections: the main content, without navigation, scripts and hidden lines.

use ego_tree::NodeRef;
use ego_tree::iter::Edge;
use scraper::node::Element;
use scraper::{Html, Node, Selector};

use super::page::{Block, Builder, Page, squeeze};

/// Elements whose content is never text of the page.
const SKIPPED: &[&str] = &[
    "script", "style", "noscript", "template", "nav", "footer", "button", "svg", "iframe", "form",
    "select", "head", "dialog", "audio", "video", "canvas", "math",
];

/// Classes of what documentation tools add to a page: hidden lines of listings (`boring`), rule
/// labels of the Rust reference, anchors of headings, tables of contents.
const SKIPPED_CLASSES: &[&str] = &[
    "boring",
    "rule",
    "rule-link",
    "test-link",
    "popup-container",
    "popup-hidden",
    "tests-popup",
    "grammar-container",
    "grammar-railroad",
    "headerlink",
    "header-anchor",
    "anchor-link",
    "toc",
    "table-of-contents",
    "toctree-wrapper",
    "sidebar",
    "breadcrumbs",
    "breadcrumb",
    "sr-only",
    "visually-hidden",
    "nav-chapters",
    "nav-wrapper",
    "footnote-reference",
    "edit-link",
    "copy-button",
];

/// Where the content of a page is looked for, best first.
const ROOTS: &[&str] = &["main", "article", "[role=main]", "#content", ".content", "body"];

/// Reads a page; `None` if it only leads to another one.
pub(super) fn read(document: &Html, file_title: &str) -> Option<Page> {
    if find(document, "meta[http-equiv=refresh]").is_some() {
        return None;
    }
    let root = ROOTS.iter().find_map(|root| find(document, root))?;
    let mut reader = Reader::default();
    if let Some(title) = find(document, "title") {
        let title: String = title
            .children()
            .filter_map(|node| node.value().as_text())
            .map(|text| &**text)
            .collect();
        if let Some((title, site)) = split_title(&title) {
            reader.builder.set_title(title, site);
        }
    }
    reader.read(root);
    Some(reader.builder.finish(file_title))
}

/// The title proper and the site, of "Title - Site" and the like; `None` where there is one part.
fn split_title(title: &str) -> Option<(&str, &str)> {
    let separators = [" - ", " | ", " — ", " – ", " · ", " :: "];
    let parts = separators.iter().find_map(|separator| title.rsplit_once(separator));
    parts.filter(|(title, _)| !title.trim().is_empty())
}

fn find<'d>(document: &'d Html, selector: &str) -> Option<NodeRef<'d, Node>> {
    let selector = Selector::parse(selector).expect("a constant selector");
    document.select(&selector).next().map(|element| *element)
}

/// What is being read, while the tree is walked without recursion: hostile pages nest deeply.
#[derive(Default)]
struct Reader {
    builder: Builder,
    /// Text of the block that is open.
    text: String,
    /// The element whose content is skipped.
    skipping: Option<ego_tree::NodeId>,
    /// Open `pre`, list item and heading elements.
    pre: usize,
    items: usize,
    /// Terms that wait for their definition.
    term: String,
}

impl Reader {
    fn read(&mut self, root: NodeRef<'_, Node>) {
        for edge in root.traverse() {
            match edge {
                Edge::Open(node) => self.open(node),
                Edge::Close(node) => self.close(node),
            }
        }
        self.flush();
        self.flush_term();
    }

    fn open(&mut self, node: NodeRef<'_, Node>) {
        if self.skipping.is_some() {
            return;
        }
        match node.value() {
            Node::Text(text) => self.text.push_str(text),
            Node::Element(element) if is_skipped(element) => self.skipping = Some(node.id()),
            Node::Element(element) => {
                if is_block(element.name()) {
                    self.flush();
                }
                match element.name() {
                    "pre" => self.pre += 1,
                    "li" | "tr" | "dd" => self.items += 1,
                    "br" => self.text.push('\n'),
                    "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.flush_term(),
                    _ => {}
                }
            }
            Node::Document
            | Node::Fragment
            | Node::Doctype(_)
            | Node::Comment(_)
            | Node::ProcessingInstruction(_) => {}
        }
    }

    fn close(&mut self, node: NodeRef<'_, Node>) {
        if let Some(skipped) = self.skipping {
            if skipped == node.id() {
                self.skipping = None;
            }
            return;
        }
        let Some(element) = node.value().as_element() else { return };
        match element.name() {
            name @ ("h1" | "h2" | "h3" | "h4" | "h5" | "h6") => {
                let text = std::mem::take(&mut self.text);
                let anchor = element.id().unwrap_or_default();
                self.builder.heading(name.as_bytes()[1] - b'0', &text, anchor);
            }
            "pre" => {
                self.flush();
                self.pre = self.pre.saturating_sub(1);
            }
            "dt" => {
                let text = squeeze(&std::mem::take(&mut self.text));
                if !self.term.is_empty() && !text.is_empty() {
                    self.term.push_str(", ");
                }
                self.term.push_str(&text);
            }
            "li" | "tr" | "dd" => {
                self.flush();
                self.items = self.items.saturating_sub(1);
            }
            "td" | "th" => self.text.push_str(" | "),
            "dl" => {
                self.flush();
                self.flush_term();
            }
            name if is_block(name) => self.flush(),
            _ => {}
        }
    }

    /// Ends the open block.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return;
        }
        if self.pre > 0 {
            return self.builder.block(Block::Code(text.trim_matches('\n').to_owned()));
        }
        let text = squeeze(&text);
        let mut text = text.trim_end_matches([' ', '|']).to_owned();
        if !self.term.is_empty() {
            text = format!("{}: {text}", std::mem::take(&mut self.term));
        }
        let item = self.items > 0;
        self.builder.block(if item { Block::Item(text) } else { Block::Paragraph(text) });
    }

    /// A term that was never defined is text of its own.
    fn flush_term(&mut self) {
        let term = std::mem::take(&mut self.term);
        self.builder.block(Block::Item(term));
    }
}

fn is_skipped(element: &Element) -> bool {
    SKIPPED.contains(&element.name())
        || element.attr("hidden").is_some()
        || element.attr("aria-hidden") == Some("true")
        || element.classes().any(|class| SKIPPED_CLASSES.contains(&class))
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "p" | "div"
            | "section"
            | "article"
            | "main"
            | "aside"
            | "header"
            | "blockquote"
            | "pre"
            | "ul"
            | "ol"
            | "li"
            | "dl"
            | "dt"
            | "dd"
            | "table"
            | "tr"
            | "thead"
            | "tbody"
            | "caption"
            | "figure"
            | "figcaption"
            | "details"
            | "summary"
            | "hr"
            | "address"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "body"
    )
}
