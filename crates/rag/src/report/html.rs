//! A writer of HTML and SVG that cannot be broken out of.
//!
//! Tags and the names of attributes are literals of the program; whatever comes from data can only
//! pass through [`Html::text`] or the value of an attribute, and both escape. Elements are closed
//! by the function that opened them, so that a page is balanced whatever it says.

use std::fmt::Write;

/// Names and values of an element's attributes.
pub type Attributes<'a> = &'a [(&'static str, &'a str)];

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Html {
    text: String,
    ids: usize,
}

impl Html {
    /// Writes that what follows is HTML; the first thing of a page.
    pub(super) fn doctype(&mut self) {
        self.text.push_str("<!doctype html>\n");
    }

    /// Writes an element with what `content` writes inside.
    pub fn element(
        &mut self,
        tag: &'static str,
        attributes: Attributes,
        content: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        self.text.push('>');
        content(self);
        write!(self.text, "</{tag}>").expect("a String takes any text");
        self.end_line(tag);
    }

    /// Writes an element with nothing inside.
    pub fn leaf(&mut self, tag: &'static str, attributes: Attributes) {
        self.open(tag, attributes);
        self.text.push_str("/>");
        self.end_line(tag);
    }

    /// Writes an element with text inside.
    pub fn word(&mut self, tag: &'static str, attributes: Attributes, text: &str) {
        self.element(tag, attributes, |html| html.text(text));
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) {
        escape(text, &mut self.text);
    }

    /// Writes text from the user's data, set apart so that its direction of writing stays its own.
    pub fn foreign(&mut self, text: &str) {
        self.word("bdi", &[], text);
    }

    /// Writes the program's own style sheet as it is.
    pub(super) fn style(&mut self, css: &'static str) {
        self.open("style", &[]);
        self.text.push_str(">\n");
        self.text.push_str(css);
        self.text.push_str("</style>\n");
    }

    /// An id that no other element of the page has.
    pub(super) fn fresh_id(&mut self) -> String {
        self.ids += 1;
        format!("i{}", self.ids)
    }

    /// The page as text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn open(&mut self, tag: &'static str, attributes: Attributes) {
        write!(self.text, "<{tag}").expect("a String takes any text");
        for (name, value) in attributes {
            write!(self.text, " {name}=\"").expect("a String takes any text");
            escape(value, &mut self.text);
            self.text.push('"');
        }
    }

    /// Blanks count between words of a sentence, so only blocks and shapes end a line.
    fn end_line(&mut self, tag: &'static str) {
        const INLINE: [&str; 6] = ["b", "bdi", "code", "span", "time", "tspan"];
        if !INLINE.contains(&tag) {
            self.text.push('\n');
        }
    }
}

/// At most `chars_max` characters of a text on one line, with an ellipsis where some were cut.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars_max) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}

/// Escapes for text and for attributes in double quotes. Control characters, which HTML forbids,
/// and those that reverse the order of what follows them are shown as replaced.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let check = |text: &str, expected: &str| {
            let mut html = Html::default();
            html.word("p", &[("title", text)], text);
            assert_eq!(html.finish(), format!("<p title=\"{expected}\">{expected}</p>\n"));
        };
        check("plain, 日本語, é", "plain, 日本語, é");
        check("</p><script>alert(1)</script>", "&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\" onclick='x'", "&quot; onclick=&#39;x&#39;");
        check("&lt;", "&amp;lt;");
        check("a\0b\u{1b}[31m\u{202e}c\r", "a\u{fffd}b\u{fffd}[31m\u{fffd}c\u{fffd}");
        check("two\nlines\tand a tab", "two\nlines\tand a tab");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let check = |text: &str, expected: &str| assert_eq!(shortened(text, 5), expected);
        check("short", "short");
        check("longer", "longe…");
        check("äöüßäö", "äöüßä…");
        check("  a \n b ", "a b");
        check("four and", "four…");
        check("", "");
    }

    #[test]
    fn ids_differ() {
        let mut html = Html::default();
        assert_ne!(html.fresh_id(), html.fresh_id());
    }
}
