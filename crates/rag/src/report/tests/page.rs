//! A small strict reader of pages: it knows just the HTML that the report writes and takes no other.

/// An element's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) tag: String,
    pub(super) attributes: Vec<(String, String)>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// In the order in which they begin.
    pub(super) elements: Vec<Element>,
    /// All text outside the style sheet, unescaped.
    pub(super) text: String,
}

impl Element {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let attribute = self.attributes.iter().find(|(key, _)| key == name);
        attribute.map(|(_, value)| value.as_str())
    }
}

/// Reads a page.
///
/// # Panics
/// If an element is not closed in its order, an attribute not quoted, or a character not escaped.
pub(super) fn read(html: &str) -> Page {
    let mut page = Page::default();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html.strip_prefix("<!doctype html>").unwrap_or(html);
    while let Some((text, markup)) = rest.split_once('<') {
        page.text.push_str(&unescaped(text));
        let (inside, after) = split_tag(markup);
        rest = after;
        if let Some(tag) = inside.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(tag), "closed out of order");
            continue;
        }
        let is_leaf = inside.ends_with('/');
        let element = element(inside.trim_end_matches('/'));
        if element.tag == "style" {
            rest = rest.split_once("</style>").expect("a style sheet ends").1;
        } else if !is_leaf {
            open.push(element.tag.clone());
        }
        page.elements.push(element);
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    page.text.push_str(&unescaped(rest));
    page
}

/// The inside of a tag and what follows it; `>` in quotes does not end it.
fn split_tag(markup: &str) -> (&str, &str) {
    let mut is_quoted = false;
    for (at, character) in markup.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return (&markup[..at], &markup[at + 1..]),
            '<' => panic!("'<' inside a tag: {}", &markup[..at]),
            _ => {}
        }
    }
    panic!("a tag does not end: {markup}");
}

fn element(inside: &str) -> Element {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let (tag, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
    assert!(is_name(tag), "no name of an element: '{tag}'");
    let mut attributes: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("an attribute has a value in quotes");
        let (value, after) = after.split_once('"').expect("quotes are closed");
        assert!(is_name(name), "no name of an attribute: '{name}'");
        assert!(attributes.iter().all(|(other, _)| other != name), "'{name}' twice in {tag}");
        attributes.push((name.to_owned(), unescaped(value)));
        rest = if after.is_empty() { after } else { after.strip_prefix(' ').expect("a blank") };
    }
    Element { tag: tag.to_owned(), attributes }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once(';').expect("'&' begins an entity");
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => panic!("an unknown entity: {other}"),
        });
        out.push_str(rest);
    }
    assert!(!text.contains(['>', '"', '\'']), "not escaped: {text}");
    out
}

#[test]
fn broken_pages_are_refused() {
    let is_refused = |html: &'static str| std::panic::catch_unwind(|| read(html)).is_err();
    for html in ["<p>", "<p></b>", "<p a=b></p>", "<p a=\"x\" a=\"y\"/>", "a & b", "a > b", "<p"] {
        assert!(is_refused(html), "{html}");
    }
    let page = read("<!doctype html><p a=\"&lt;\">x<b/> &amp; y</p>");
    assert_eq!(page.text, "x & y");
    assert_eq!(page.elements[0].get("a"), Some("<"));
}
