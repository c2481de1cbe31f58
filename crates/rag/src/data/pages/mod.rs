//! Folders of Markdown, HTML or text: passages to search, and headings as their queries.
//!
//! A page is cut into sections by its headings and a section into passages of about 60 to 200
//! words. The query of a section is its page's title and its heading; its answers are its
//! passages, whose text has no heading in it. Whole pages are held out, so that no heading of a
//! test passage, nor a neighbour's, is ever trained; every passage is searched.

mod heading;
mod html;
mod markdown;
mod page;
mod passage;
mod plain;
mod tree;
mod walk;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use page::{Page, Section};
use walk::{Format, PageFile};

use super::error::{DataError, Warning};
use super::lines::cut;
use super::model::{Dataset, Document, Example, Query};
use super::split::{Draft, stable_hash};

/// Fewest sections that are enough to hold some out.
const SECTIONS_MIN: usize = 8;
/// A block that stands on so many pages is kept on the longest of them only, if it has at least so
/// many words: notices, common options, and what old pages quote of new ones.
const REPEATED: [Repeated; 2] = [Repeated { pages: 2, words: 12 }, Repeated { pages: 3, words: 4 }];
/// A page with fewer words that are its own is not a page but a notice.
const OWN_WORDS_MIN: usize = 15;
/// So is a short page with a block that stands on so many pages ("this is an old link").
const NOTICE_WORDS_MAX: usize = 150;
const NOTICE_PAGES: usize = 10;
/// Most passages of a section that are trained: the first ones are closest to the heading.
const PAIRS_PER_SECTION: usize = 4;
/// Fewest pages for holding out whole pages; below it, sections are held out.
const PAGES_MIN: usize = 8;

/// Reads folders of pages into one data set.
pub(super) fn read(
    folders: &[PathBuf],
    options: &super::ReadOptions<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Dataset, DataError> {
    let mut pages = Vec::new();
    let mut skipped: Vec<(&'static str, PathBuf)> = Vec::new();
    for folder in folders {
        let prefix =
            if folders.len() > 1 { format!("{}/", base_name(folder)) } else { String::new() };
        for file in walk::pages(folder, options.stop, warnings)? {
            if options.stop.load(Ordering::Relaxed) {
                return Err(DataError::Stopped);
            }
            match parse(&file)? {
                Parsed::Page(page) => pages.push((format!("{prefix}{}", file.name), page)),
                Parsed::Unusable(why) => skipped.push((why, file.path)),
                Parsed::Redirect => {}
            }
        }
    }
    skipped.sort();
    for files in skipped.chunk_by(|one, other| one.0 == other.0) {
        let (why, first) = files[0].clone();
        warnings.push(Warning::FilesSkipped { first, files: files.len(), why });
    }
    let pages_read = pages.len();
    drop_repeated_blocks(&mut pages);
    let mut sections = sections(&pages);
    sample(&mut sections, options.passages_max, warnings);
    let queries = sections.iter().filter(|section| !section.is_remnant).count();
    if queries < SECTIONS_MIN {
        let hint = format!(
            "{queries} section(s) with a heading and a few sentences were found in \
             {pages_read} page(s); at least {SECTIONS_MIN} are needed, as .md, .html or \
             .txt files (a .jsonl file is given by its own path)"
        );
        let path = folders.first().cloned().unwrap_or_default();
        return Err(DataError::Empty { path, what: "text to learn from", hint });
    }
    Ok(draft(sections, options.name.clone()).finish(warnings))
}

/// A section that became a query and its passages.
struct Found {
    page: String,
    anchor: String,
    query: String,
    heading: String,
    passages: Vec<String>,
    /// Searched, but not asked for by its heading.
    is_remnant: bool,
}

enum Parsed {
    Page(Page),
    Redirect,
    /// Why it cannot be read.
    Unusable(&'static str),
}

fn parse(file: &PageFile) -> Result<Parsed, DataError> {
    let bytes = std::fs::read(&file.path)
        .map_err(|source| DataError::Io { path: file.path.clone(), source })?;
    let Ok(text) = String::from_utf8(bytes) else { return Ok(Parsed::Unusable("not UTF-8")) };
    let title = file_title(&file.path);
    Ok(match file.format {
        Format::Html => match tree::parse(&text) {
            Some(document) => html::read(&document, &title).map_or(Parsed::Redirect, Parsed::Page),
            None => Parsed::Unusable("nested too deeply"),
        },
        Format::Markdown => Parsed::Page(markdown::parse(&text, &title)),
        Format::Plain if !plain::is_prose(&text) => Parsed::Unusable("data, not sentences"),
        Format::Plain => Parsed::Page(plain::parse(&text, &title)),
    })
}

/// What a file's name says about its content: its stem, or its folder where the stem says nothing.
fn file_title(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let general = matches!(stem.to_lowercase().as_str(), "index" | "readme" | "mod" | "lib");
    let parent = path.parent().map(base_name).filter(|parent| general && !parent.is_empty());
    let name = parent.unwrap_or_else(|| stem.into_owned()).replace(['_', '-'], " ");
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn base_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// When a block counts as repeated.
struct Repeated {
    pages: usize,
    words: usize,
}

/// Removes repeated blocks from all but one page, and pages that have nothing else.
fn drop_repeated_blocks(pages: &mut Vec<(String, Page)>) {
    let key = |text: &str| stable_hash("block", &page::squeeze(text).to_lowercase());
    // The longest page of each block, and the number of its pages.
    let mut seen: HashMap<u64, (usize, usize)> = HashMap::new();
    let words: Vec<usize> = pages.iter().map(|(_, page)| page_words(page)).collect();
    for (at, (_, page)) in pages.iter().enumerate() {
        let blocks = page.sections.iter().flat_map(|section| &section.blocks);
        let on_page: HashSet<u64> = blocks.map(|block| key(block.text())).collect();
        for block in on_page {
            let (longest, count) = seen.entry(block).or_insert((at, 0));
            *count += 1;
            if words[at] > words[*longest] {
                *longest = at;
            }
        }
    }
    for (at, (_, page)) in pages.iter_mut().enumerate() {
        let page_words = words[at];
        let mut own = 0;
        let mut notice = false;
        for section in &mut page.sections {
            let (mut left, mut removed) = (0, 0);
            section.blocks.retain(|block| {
                let words = passage::count_words(block.text());
                let (longest, count) = seen[&key(block.text())];
                let repeats =
                    REPEATED.iter().any(|rule| count >= rule.pages && words >= rule.words);
                own += if repeats { 0 } else { words };
                notice |= repeats && count >= NOTICE_PAGES && page_words < NOTICE_WORDS_MAX;
                let keep = !repeats || longest == at;
                *if keep { &mut left } else { &mut removed } += words;
                keep
            });
            section.is_remnant = removed > left;
        }
        if own < OWN_WORDS_MIN || notice {
            page.sections.clear();
        }
    }
    pages.retain(|(_, page)| !page.sections.is_empty());
}

fn page_words(page: &Page) -> usize {
    let blocks = page.sections.iter().flat_map(|section| &section.blocks);
    blocks.map(|block| passage::count_words(block.text())).sum()
}

/// Queries and passages in the order of the pages; equal passages are kept once, and sections of
/// one page with equal queries are one.
fn sections(pages: &[(String, Page)]) -> Vec<Found> {
    let mut known: HashSet<u64> = HashSet::new();
    let mut found: Vec<Found> = Vec::new();
    for (name, page) in pages {
        let first_of_page = found.len();
        for section in &page.sections {
            let mut passages = passage::cut(&section.blocks);
            // Few words can be long ones, as pictures written into a page are.
            for passage in &mut passages {
                cut(passage);
            }
            passages.retain(|text| {
                known.insert(stable_hash("passage", &page::squeeze(text).to_lowercase()))
            });
            let query = heading::query(page, section);
            if passages.is_empty() || query.is_empty() {
                continue;
            }
            match found[first_of_page..]
                .iter_mut()
                .find(|other| other.query == query && other.is_remnant == section.is_remnant)
            {
                Some(other) => other.passages.extend(passages),
                None => found.push(one_section(name, page, section, query, passages)),
            }
        }
    }
    found
}

fn one_section(
    name: &str,
    page: &Page,
    section: &Section,
    query: String,
    passages: Vec<String>,
) -> Found {
    Found {
        page: name.to_owned(),
        anchor: section.anchor.clone(),
        query,
        heading: heading::path(page, section),
        passages,
        is_remnant: section.is_remnant,
    }
}

/// Keeps at most `max` passages: every page's first by hash, then every page's second, and so on.
fn sample(sections: &mut Vec<Found>, max: usize, warnings: &mut Vec<Warning>) {
    let found: usize = sections.iter().map(|section| section.passages.len()).sum();
    if found <= max {
        return;
    }
    let mut by_page: HashMap<&str, Vec<(u64, usize, usize)>> = HashMap::new();
    for (at, section) in sections.iter().enumerate() {
        for (nth, text) in section.passages.iter().enumerate() {
            let hash = stable_hash("sample", text);
            by_page.entry(&section.page).or_default().push((hash, at, nth));
        }
    }
    let mut turns = Vec::with_capacity(found);
    for (page, mut passages) in by_page {
        passages.sort_unstable();
        let page = stable_hash("sample", page);
        turns
            .extend(passages.iter().enumerate().map(|(turn, &(_, at, nth))| (turn, page, at, nth)));
    }
    turns.sort_unstable();
    let kept: HashSet<(usize, usize)> =
        turns[..max].iter().map(|&(_, _, at, nth)| (at, nth)).collect();
    for (at, section) in sections.iter_mut().enumerate() {
        let mut nth = 0;
        section.passages.retain(|_| {
            nth += 1;
            kept.contains(&(at, nth - 1))
        });
    }
    sections.retain(|section| !section.passages.is_empty());
    warnings.push(Warning::PassagesSampled { found, kept: max });
}

/// One query a section, its passages as documents, held out by page.
fn draft(sections: Vec<Found>, name: String) -> Draft {
    let pages: HashSet<&str> = sections.iter().map(|section| section.page.as_str()).collect();
    let by_page = pages.len() >= PAGES_MIN;
    let mut draft = Draft { name, ..Draft::default() };
    let mut ids = Ids::default();
    for section in sections {
        let place = match section.anchor.as_str() {
            "" => section.page.clone(),
            anchor => format!("{}#{anchor}", section.page),
        };
        let query = draft.queries.len() as u32;
        let mut documents = Vec::new();
        for text in section.passages {
            documents.push(draft.documents.len() as u32);
            let (id, heading) = (ids.unique(&place), section.heading.clone());
            draft.documents.push(Document { id, title: String::new(), text, heading });
        }
        if section.is_remnant {
            continue;
        }
        for &positive in documents.iter().take(PAIRS_PER_SECTION) {
            draft.train.push(Example::Pair { query, positive, negatives: Vec::new() });
        }
        draft.gains.push(documents.into_iter().map(|document| (document, 1)).collect());
        draft.keys.push(if by_page { section.page } else { section.query.clone() });
        draft
            .queries
            .push(Query { id: ids.unique(&format!("{query}:{place}")), text: section.query });
    }
    draft
}

/// Ids that were made up so far, of queries and documents alike.
#[derive(Default)]
struct Ids {
    taken: HashSet<String>,
    /// How often each place was asked for.
    asked: HashMap<String, usize>,
}

impl Ids {
    /// The place itself for its first passage, then `place~2` and so on, past every id that a file
    /// or an anchor has by its own name.
    fn unique(&mut self, place: &str) -> String {
        let asked = self.asked.entry(place.to_owned()).or_insert(0);
        loop {
            *asked += 1;
            let id = if *asked == 1 { place.to_owned() } else { format!("{place}~{asked}") };
            if self.taken.insert(id.clone()) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests;
