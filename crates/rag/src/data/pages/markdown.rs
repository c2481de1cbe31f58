//! From Markdown to sections.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::page::{Block, Builder, Page, squeeze};

/// Parses a page; its title is its first heading, or what the caller knows of the file.
pub(super) fn parse(text: &str, file_title: &str) -> Page {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let mut reader = Reader::default();
    for event in Parser::new_ext(text, options) {
        reader.event(event);
    }
    reader.builder.finish(file_title)
}

#[derive(Default)]
struct Reader {
    builder: Builder,
    text: String,
    anchor: String,
    /// Open list items and table rows.
    items: usize,
    /// Open images, metadata and footnotes: not text of the page.
    skipped: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Code(text) if self.skipped == 0 => self.text.push_str(&text),
            Event::SoftBreak | Event::HardBreak => self.text.push(' '),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { id, .. } => {
                self.flush();
                self.anchor = id.as_deref().unwrap_or_default().to_owned();
            }
            Tag::Item | Tag::TableHead | Tag::TableRow => {
                self.flush();
                self.items += 1;
            }
            Tag::Paragraph | Tag::CodeBlock(_) | Tag::List(_) | Tag::BlockQuote(_) => self.flush(),
            Tag::Image { .. } | Tag::MetadataBlock(_) | Tag::FootnoteDefinition(_) => {
                self.skipped += 1;
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let text = std::mem::take(&mut self.text);
                let anchor = match std::mem::take(&mut self.anchor) {
                    anchor if anchor.is_empty() => slug(&text),
                    anchor => anchor,
                };
                self.builder.heading(level as u8, &text, &anchor);
            }
            TagEnd::CodeBlock => {
                let code = std::mem::take(&mut self.text);
                self.builder.block(Block::Code(code.trim_matches('\n').to_owned()));
            }
            TagEnd::Item | TagEnd::TableHead | TagEnd::TableRow => {
                self.flush();
                self.items = self.items.saturating_sub(1);
            }
            TagEnd::TableCell => self.text.push_str(" | "),
            TagEnd::Paragraph | TagEnd::BlockQuote(_) | TagEnd::List(_) => self.flush(),
            TagEnd::Image | TagEnd::MetadataBlock(_) | TagEnd::FootnoteDefinition => {
                self.skipped = self.skipped.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn flush(&mut self) {
        let text = squeeze(&std::mem::take(&mut self.text));
        let text = text.trim_end_matches([' ', '|']).to_owned();
        let item = self.items > 0;
        self.builder.block(if item { Block::Item(text) } else { Block::Paragraph(text) });
    }
}

/// A heading as the fragment of a link, as most renderers write it.
pub(super) fn slug(heading: &str) -> String {
    let letters = heading.trim().chars().filter_map(|c| match c {
        ' ' | '-' => Some('-'),
        _ if c.is_alphanumeric() || c == '_' => c.to_lowercase().next(),
        _ => None,
    });
    letters.collect()
}
