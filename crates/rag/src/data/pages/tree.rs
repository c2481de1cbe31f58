//! From HTML to a tree, in bounded time and memory.
//!
//! A parser's time grows with the number of elements that are open, and so does what it adds by
//! itself: it opens every unclosed `<b>` again in every paragraph. What a page opens shows only
//! once it is parsed, since stray end tags, capitals, comments and drawings each have rules of
//! their own. So the parser gets a page in small steps, and stops where the tree passes a bound.

use ego_tree::Tree;
use html5ever::driver::{ParseOpts, parse_document};
use html5ever::tendril::{StrTendril, TendrilSink};
use scraper::{Html, HtmlTreeSink, Node};

/// Most nodes within each other; no author nests a tenth of that.
const DEPTH_MAX: usize = 400;

/// Most elements and texts; an author's page of the largest size that is read has a fifth of that.
const NODES_MAX: usize = 1 << 20;

/// What is parsed between two looks at the tree: so few tags that they cannot do much harm.
const STEP_BYTES: usize = 1 << 10;

/// Parses a page; `None` if its tree is deeper or larger than any author's would be.
pub(super) fn parse(text: &str) -> Option<Html> {
    let mut parser = parse_document(HtmlTreeSink::new(Html::new_document()), ParseOpts::default());
    let mut rest = text;
    let mut known = 0;
    while !rest.is_empty() {
        let end = (STEP_BYTES.min(rest.len())..).find(|&end| rest.is_char_boundary(end));
        let (step, after) = rest.split_at(end.expect("the end of a text is a boundary"));
        parser.process(StrTendril::from(step));
        rest = after;
        let document = parser.tokenizer.sink.sink.0.borrow();
        if !is_bounded(&document.tree, known) {
            return None;
        }
        known = document.tree.values().len();
    }
    Some(parser.finish())
}

/// Whether a tree whose first `known` nodes were looked at is within the bounds.
fn is_bounded(tree: &Tree<Node>, known: usize) -> bool {
    let nodes = tree.nodes();
    let added = nodes.len().saturating_sub(known);
    nodes.len() <= NODES_MAX
        && nodes
            .rev()
            .take(added)
            .all(|node| node.ancestors().take(DEPTH_MAX + 1).count() <= DEPTH_MAX)
}
