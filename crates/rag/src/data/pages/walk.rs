//! Which files of a folder are pages.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use walkdir::{DirEntry, WalkDir};

use super::super::error::{DataError, Warning};

/// Most pages of one tenant.
const FILES_MAX: usize = 200_000;
/// Largest page; larger ones are whole books in one file, which repeat what the others say.
const PAGE_BYTES_MAX: u64 = 4 << 20;
/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 64;

/// Pages that repeat or list others, by the name of their file: copies for printing, tables of
/// contents, search pages, build files, and logs of changes, whose headings are versions.
const REPEATING: &[&str] = &[
    "404",
    "changelog",
    "changes",
    "cmakelists",
    "code_of_conduct",
    "copying",
    "copyright",
    "genindex",
    "history",
    "not_found",
    "print",
    "py-modindex",
    "releases",
    "search",
    "settings",
    "sitemap",
    "summary",
    "toc",
];

/// How a file is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// HTML.
    Html,
    /// Markdown.
    Markdown,
    /// Text and reStructuredText.
    Plain,
}

/// A page's file.
pub(super) struct PageFile {
    pub path: PathBuf,
    /// Its path below the folder, with `/` between the parts.
    pub name: String,
    pub format: Format,
}

/// The pages below a folder, ordered by name; hidden and build folders are left out.
pub(super) fn pages(
    folder: &Path,
    stop: &AtomicBool,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<PageFile>, DataError> {
    let mut files = Vec::new();
    let mut large: Option<(PathBuf, usize)> = None;
    let walk = WalkDir::new(folder).max_depth(DEPTH_MAX).into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_ignored(entry)) {
        if stop.load(Ordering::Relaxed) {
            return Err(DataError::Stopped);
        }
        let entry = entry.map_err(|error| DataError::Io {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        })?;
        let Some(format) = Some(&entry).filter(|e| e.file_type().is_file()).and_then(format) else {
            continue;
        };
        let bytes = entry.metadata().map_or(0, |data| data.len());
        if bytes > PAGE_BYTES_MAX {
            large.get_or_insert((entry.path().to_owned(), 0)).1 += 1;
            continue;
        }
        if files.len() >= FILES_MAX {
            let hint = "give folders inside it as several tenants".to_owned();
            let path = folder.to_owned();
            return Err(DataError::TooMany { path, what: "pages", max: FILES_MAX, hint });
        }
        let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        files.push(PageFile { path: entry.path().to_owned(), name: parts.join("/"), format });
    }
    if let Some((first, files)) = large {
        warnings.push(Warning::FilesSkipped { first, files, why: "larger than 4 MiB" });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn is_ignored(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let build = entry.file_type().is_dir()
        && matches!(name.as_ref(), "node_modules" | "target" | "__pycache__" | "venv");
    name.starts_with('.') || build
}

/// The format of a page, by its extension; `None` for what is not a page.
fn format(entry: &DirEntry) -> Option<Format> {
    let stem = entry.path().file_stem()?.to_string_lossy().to_lowercase();
    if REPEATING.binary_search(&stem.as_str()).is_ok() || stem.contains("license") {
        return None;
    }
    match entry.path().extension()?.to_string_lossy().to_lowercase().as_str() {
        "html" | "htm" | "xhtml" => Some(Format::Html),
        "md" | "markdown" | "mdx" => Some(Format::Markdown),
        "txt" | "text" | "rst" => Some(Format::Plain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "b.md",
            "a/z.html",
            "a/print.html",
            "a.txt",
            ".git/x.md",
            "target/y.md",
            "c.rs",
            "LICENSE-MIT.txt",
            "CHANGELOG.md",
        ];
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        }
        let found = pages(folder.path(), &AtomicBool::new(false), &mut Vec::new()).unwrap();
        let found: Vec<_> = found.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(found, ["a.txt", "a/z.html", "b.md"]);
        assert!(REPEATING.is_sorted(), "the search needs order");
    }
}
