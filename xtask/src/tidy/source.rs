//! Rust source with its comments and literals blanked, so that braces and words can be counted.
//!
//! This is a scanner, not a parser: it relies on source that compiles and that rustfmt wrote.

use std::ops::Range;

/// One file of Rust, in lines counted from 0.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// The file as it is.
    text: &'a str,
    /// Byte for byte as long, with spaces for what comments, strings and characters hold.
    code: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// From the line of `fn` to that of the closing brace, exclusive end.
    pub(super) lines: Range<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, code: blank(text) }
    }

    /// The lines as they are.
    pub(super) fn text_lines(&self) -> Vec<&'a str> {
        self.text.lines().collect()
    }

    /// The lines without comments and literals.
    pub(super) fn code_lines(&self) -> Vec<&str> {
        self.code.lines().collect()
    }

    /// Where a word stands alone in the code: byte positions.
    pub(super) fn words<'b>(&'b self, word: &'b str) -> impl Iterator<Item = usize> + 'b {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).map(|(at, _)| at).filter(move |at| {
            !self.code[..*at].ends_with(is_part)
                && !self.code[at + word.len()..].starts_with(is_part)
        })
    }

    /// The code from a byte position on.
    pub(super) fn code_from(&self, at: usize) -> &str {
        &self.code[at..]
    }

    /// The line of a byte position.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count()
    }

    /// Every function that has a body, nested ones too.
    pub(super) fn functions(&self) -> Vec<Function> {
        self.words("fn").filter_map(|at| self.function(at)).collect()
    }

    /// Lines of modules that are compiled for tests only.
    pub(super) fn test_lines(&self) -> Vec<Range<usize>> {
        let gates = self.code.match_indices("#[cfg(test)]").map(|(at, gate)| at + gate.len());
        let blocks = gates.filter_map(|after| {
            let is_module = self.code[after..].trim_start().starts_with("mod ");
            let block = is_module.then(|| self.block(after)).flatten()?;
            Some(self.line_of(after)..self.line_of(block.end) + 1)
        });
        blocks.collect()
    }

    /// Whether a line is in a module that is compiled for tests only.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines().iter().any(|lines| lines.contains(&line))
    }

    /// The modules that this file declares in files of their own, as paths of names.
    pub(super) fn declared_modules(&self) -> Vec<Vec<String>> {
        let mut inline: Vec<(String, Range<usize>)> = Vec::new();
        let mut declared = Vec::new();
        for at in self.words("mod") {
            let rest = self.code[at + 3..].trim_start();
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let around = inline.iter().filter(|(_, block)| block.contains(&at));
            let mut path: Vec<String> = around.map(|(name, _)| name.clone()).collect();
            match rest[name.len()..].trim_start().chars().next() {
                Some(';') if !name.is_empty() => {
                    path.push(name);
                    declared.push(path);
                }
                Some('{') if !name.is_empty() => {
                    inline.extend(self.block(at).map(|block| (name, block)));
                }
                _ => {}
            }
        }
        declared
    }

    fn function(&self, at: usize) -> Option<Function> {
        let name = self.code[at + 2..].trim_start();
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // `fn(u32) -> u32` is a type, and a declaration in a trait has no body.
        let block = (!name.is_empty()).then(|| self.block(at)).flatten()?;
        Some(Function { name, lines: self.line_of(at)..self.line_of(block.end) + 1 })
    }

    /// The braces of the item that starts at `at`: positions of the opening and the closing one.
    /// `None` if a semicolon ends the item first.
    fn block(&self, at: usize) -> Option<Range<usize>> {
        let (mut round, mut braces, mut start) = (0usize, 0usize, None);
        for (offset, byte) in self.code[at..].bytes().enumerate() {
            match byte {
                b'(' | b'[' => round += 1,
                b')' | b']' => round = round.saturating_sub(1),
                b';' if round == 0 && braces == 0 => return None,
                b'{' if round == 0 || braces > 0 => {
                    start.get_or_insert(at + offset);
                    braces += 1;
                }
                b'}' if braces > 0 => {
                    braces -= 1;
                    if braces == 0 {
                        return Some(start?..at + offset);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// Replaces what comments and literals hold by spaces, and keeps line ends.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped(text, at);
        if end > at {
            let hidden = bytes[at..end].iter();
            code.extend(hidden.map(|byte| if *byte == b'\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            // A letter outside ASCII cannot stand in code but in a name, where its width is kept.
            code.push(if bytes[at].is_ascii() { char::from(bytes[at]) } else { '_' });
            at += 1;
        }
    }
    code
}

/// The end of the comment or literal that begins at `at`, or `at` itself.
fn skipped(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    let follows_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'r', b'"' | b'#', ..] if !follows_name => at + raw_string(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !follows_name => at + raw_string(rest, 2),
        [b'"', ..] => at + quoted(rest, b'"'),
        [b'\'', b'\\', ..] => at + quoted(rest, b'\''),
        [b'\'', ..] => at + character(&text[at..]),
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `r##"..."##` after `prefix` letters, or 0 if it is a raw name such as `r#type`.
fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let close = [vec![b'"'], vec![b'#'; hashes]].concat();
    let body = rest[open + 1..].windows(close.len()).position(|window| window == close);
    body.map_or(rest.len(), |length| open + 1 + length + close.len())
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of `'x'`, or 0 for the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(2);
    match letters.next() {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_blank(text: &str, expected: &str) {
        assert_eq!(blank(text), expected, "{text}");
        assert_eq!(blank(text).len(), text.len());
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check_blank("a // {\nb", "a     \nb");
        check_blank("a /*/*{*/*/ b", "a           b");
        check_blank(r#"f("{\"}", '{', b'}', '\'')"#, r#"f(      ,    , b   ,     )"#);
        check_blank(r##"r#"{"}"# r#type br"{" "##, "         r#type       ");
        check_blank("fn f<'a>(x: &'a str, 'é')", "fn f<'a>(x: &'a str,     )");
        check_blank("\"{\n}\" é", "  \n   __");
    }

    #[test]
    fn functions_are_measured() {
        let text = "trait T {\n    fn none(&self);\n}\n\nfn one(f: fn(u8) -> u8) {}\n\n\
            fn many(x: [u8; 2]) -> [u8; 2]\nwhere\n    X: Y,\n{\n    fn inner() {\n        \"}\"\n    }\n}\n";
        let source = Source::new(text);
        let found: Vec<_> =
            source.functions().into_iter().map(|found| (found.name, found.lines)).collect();
        let expected = [("one", 4..5), ("many", 6..14), ("inner", 10..13)];
        assert_eq!(found, expected.map(|(name, lines)| (name.to_owned(), lines)));
    }

    #[test]
    fn test_modules_and_declared_modules_are_found() {
        let text = "mod a;\npub(crate) mod b;\nmod c {\n    mod d;\n}\n#[cfg(test)]\nmod tests {\n    x\n}\n\
            #[cfg(test)]\nmod more_tests;\n#[cfg(test)]\nfn helper() {}\n";
        let source = Source::new(text);
        assert_eq!(source.test_lines(), vec![5..9]);
        let declared: Vec<String> =
            source.declared_modules().iter().map(|path| path.join("::")).collect();
        assert_eq!(declared, ["a", "b", "c::d", "more_tests"]);
    }

    #[test]
    fn words_stand_alone() {
        let source = Source::new("unsafe { unsafe_code } // unsafe\n#[unsafe(x)]");
        let lines: Vec<usize> = source.words("unsafe").map(|at| source.line_of(at)).collect();
        assert_eq!(lines, [0, 1]);
    }
}
