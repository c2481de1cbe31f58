//! A page once its markup is gone: sections of blocks under headings.

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The page's own title, cleaned; may be empty.
    pub title: String,
    /// The name of the whole the page belongs to, if the page says it; may be empty.
    pub site: String,
    /// The text, in order.
    pub sections: Vec<Section>,
}

/// What stands under one heading, up to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// The headings above, outermost first, cleaned, without the page's title.
    pub headings: Vec<String>,
    /// The heading's anchor, for ids; may be empty.
    pub anchor: String,
    /// The text.
    pub blocks: Vec<Block>,
    /// Whether most of the text was taken out, so that the heading says more than what is left.
    pub is_remnant: bool,
}

/// A piece of text that is kept whole where possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Running text.
    Paragraph(String),
    /// One entry of a list, one row of a table or one defined term.
    Item(String),
    /// Preformatted text, with its line ends.
    Code(String),
}

impl Block {
    /// The text without its kind.
    pub(super) fn text(&self) -> &str {
        match self {
            Block::Paragraph(text) | Block::Item(text) | Block::Code(text) => text,
        }
    }
}

/// Builds a page from a stream of headings and blocks.
#[derive(Default)]
pub(super) struct Builder {
    page: Page,
    open: Vec<Open>,
    current: Section,
    has_heading: bool,
}

/// A heading whose section is not over.
struct Open {
    level: u8,
    text: String,
    /// Whether it is the page's title again.
    is_title: bool,
}

impl Builder {
    /// Begins a section under a heading of a level (1 is the highest).
    pub(super) fn heading(&mut self, level: u8, text: &str, anchor: &str) {
        let text = super::heading::clean(text);
        if text.is_empty() {
            return;
        }
        self.flush();
        self.open.retain(|above| above.level < level);
        let first = !std::mem::replace(&mut self.has_heading, true);
        if self.page.title.is_empty() && first && (level == 1 || self.page.sections.is_empty()) {
            self.page.title.clone_from(&text);
        }
        let is_title = first && level == 1 || super::heading::same(&text, &self.page.title);
        self.open.push(Open { level, text, is_title });
        let above = self.open.iter().filter(|above| !above.is_title);
        let headings = above.map(|above| above.text.clone()).collect();
        self.current = Section { headings, anchor: anchor.to_owned(), ..Section::default() };
    }

    /// Adds a block to the current section; blank ones are dropped.
    pub(super) fn block(&mut self, block: Block) {
        if !block.text().trim().is_empty() {
            self.current.blocks.push(block);
        }
    }

    /// The page; `title` and `site` are what is known from outside the text, for want of better.
    pub(super) fn finish(mut self, title: &str) -> Page {
        self.flush();
        if self.page.title.is_empty() {
            self.page.title = super::heading::clean(title);
        }
        self.page
    }

    /// Sets the title before the text begins, so that a first heading that repeats it is none.
    pub(super) fn set_title(&mut self, title: &str, site: &str) {
        self.page.title = super::heading::clean(title);
        self.page.site = super::heading::clean(site);
    }

    fn flush(&mut self) {
        let section = std::mem::take(&mut self.current);
        if !section.blocks.is_empty() {
            self.page.sections.push(section);
        }
    }
}

/// Runs of white space as one space, invisible characters removed.
pub(super) fn squeeze(text: &str) -> String {
    let visible =
        |c: &char| !matches!(c, '\u{200b}'..='\u{200d}' | '\u{ad}' | '\u{feff}' | '\u{2060}');
    let text: String = text.chars().filter(visible).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
