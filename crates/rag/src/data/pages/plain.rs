//! From plain text and reStructuredText to sections: paragraphs between blank lines, and headings
//! that are underlined or numbered and stand alone.

use super::markdown::slug;
use super::page::{Block, Builder, Page, squeeze};
use super::passage::count_words;

/// Longest line that can be a heading.
const HEADING_CHARS_MAX: usize = 80;

/// A text with fewer sentence ends is a table, a word list or data.
const WORDS_PER_SENTENCE_MAX: usize = 60;

/// Whether a file is text that somebody wrote, and not data.
pub(super) fn is_prose(text: &str) -> bool {
    let ends = ["。", "！", "？", ". ", ".\n", ".\r", "! ", "? ", "!\n", "?\n"];
    let sentences: usize = ends.iter().map(|end| text.matches(end).count()).sum();
    let last = usize::from(text.trim_end().ends_with(['.', '!', '?']));
    (sentences + last) * WORDS_PER_SENTENCE_MAX >= count_words(text)
}

/// Parses a page; its title is its first heading, or what the caller knows of the file.
pub(super) fn parse(text: &str, file_title: &str) -> Page {
    let mut builder = Builder::default();
    // Levels of underlines in the order in which the page uses them.
    let mut underlines: Vec<char> = Vec::new();
    let mut paragraph: Vec<&str> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let heading = underline(&lines, at).filter(|_| paragraph.is_empty());
        if let Some(mark) = heading {
            let level = underlines.iter().position(|&known| known == mark).unwrap_or_else(|| {
                underlines.push(mark);
                underlines.len() - 1
            });
            builder.heading((level + 1).min(6) as u8, line, &slug(line));
            at += 2;
            continue;
        }
        if line.trim().is_empty() {
            end_paragraph(&mut builder, &mut paragraph);
        } else if paragraph.is_empty() && is_numbered_heading(&lines, at) {
            builder.heading(2, line, &slug(line));
        } else if !is_rule(line) {
            paragraph.push(line);
        }
        at += 1;
    }
    end_paragraph(&mut builder, &mut paragraph);
    builder.finish(file_title)
}

fn end_paragraph(builder: &mut Builder, lines: &mut Vec<&str>) {
    let indented = lines.len() > 1 && lines.iter().all(|line| line.starts_with("    "));
    let text = lines.join("\n");
    lines.clear();
    builder.block(if indented { Block::Code(text) } else { Block::Paragraph(squeeze(&text)) });
}

/// The mark of the underline below a short line.
fn underline(lines: &[&str], at: usize) -> Option<char> {
    let (text, below) = (lines[at].trim(), lines.get(at + 1)?.trim_end());
    let short = !text.is_empty() && text.chars().count() <= HEADING_CHARS_MAX && !is_rule(text);
    (short && is_rule(below) && below.chars().count() + 2 >= text.chars().count())
        .then(|| below.chars().next())
        .flatten()
}

/// At least three of one mark and nothing else.
fn is_rule(line: &str) -> bool {
    let mut marks = line.trim().chars();
    let Some(first) = marks.next() else { return false };
    matches!(first, '=' | '-' | '~' | '^' | '"' | '*' | '+' | '#')
        && line.trim().chars().count() >= 3
        && marks.all(|mark| mark == first)
}

/// "3.1 Layout" between two blank lines.
fn is_numbered_heading(lines: &[&str], at: usize) -> bool {
    let blank = |at: Option<usize>| {
        at.and_then(|at| lines.get(at)).is_none_or(|line| line.trim().is_empty())
    };
    let line = lines[at].trim();
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    line.starts_with(|c: char| c.is_ascii_digit())
        && rest.len() < line.len()
        && rest.starts_with(' ')
        && line[..line.len() - rest.len()].contains('.')
        && rest.trim_start().starts_with(|c: char| c.is_uppercase())
        && line.chars().count() <= HEADING_CHARS_MAX
        && !line.ends_with(['.', ',', ';'])
        && blank(at.checked_sub(1))
        && blank(Some(at + 1))
}
