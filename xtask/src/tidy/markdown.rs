//! What Markdown points at exists: links, headings, pictures, and paths in code spans. The README's
//! translations keep its headings.

use crate::project::Files;
use crate::tidy::Finding;

const README: &str = "README.md";
const TRANSLATIONS: [&str; 1] = ["README.zh-CN.md"];

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.texts(".md") {
        for (index, line) in prose(text) {
            let links = targets(line).into_iter().filter(|target| !resolves(files, path, target));
            findings.extend(
                links.map(|target| Finding::at(path, index, format!("nothing is at '{target}'"))),
            );
            let spans = line.split('`').skip(1).step_by(2);
            let paths = spans.filter(|span| is_path(files, span) && !is_there(files, span));
            findings.extend(
                paths.map(|span| {
                    Finding::at(path, index, format!("the path `{span}` is not there"))
                }),
            );
        }
    }
    findings.extend(TRANSLATIONS.iter().filter_map(|path| untranslated(files, path)));
    findings
}

/// The lines outside fenced code, counted from 0.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// What `[text](target)`, `[name]: target`, `src="target"` and `href="target"` point at.
fn targets(line: &str) -> Vec<String> {
    // Code spans may look like links; they keep their place as spaces.
    let parts = line.split('`').enumerate();
    let line: String =
        parts.map(|(n, part)| if n % 2 == 0 { part.to_owned() } else { " ".to_owned() }).collect();
    let mut targets = Vec::new();
    for (start, end) in [("](", ")"), ("src=\"", "\""), ("href=\"", "\"")] {
        let found = line.split(start).skip(1).filter_map(|rest| rest.split_once(end));
        targets.extend(found.map(|(target, _)| target.to_owned()));
    }
    let defined = line.strip_prefix('[').and_then(|line| line.split_once("]: "));
    targets.extend(defined.map(|(_, target)| target.to_owned()));
    let first_word =
        |target: String| target.split_whitespace().next().unwrap_or_default().to_owned();
    targets.into_iter().map(first_word).collect()
}

/// Whether a link leads somewhere; addresses on the network are taken on trust.
fn resolves(files: &Files, from: &str, target: &str) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => Some(from.to_owned()),
        file => joined(from, file),
    };
    let Some(path) = path.filter(|path| files.exists(path)) else { return false };
    heading.is_empty()
        || files
            .text(&path)
            .is_some_and(|text| headings(text).any(|(_, title)| slug(title) == heading))
}

/// A relative path from a file's folder; `None` if it leaves the project.
fn joined(from: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.trim_end_matches('/').split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a code span is meant as a path of the project: it begins with a folder of the project
/// and has no blank, variable or wildcard.
fn is_path(files: &Files, span: &str) -> bool {
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let first = span.split_once('/').map(|(first, _)| first);
    is_plain && first.is_some_and(|first| !first.is_empty() && files.exists(first))
}

/// Whether the path is there, or is made on the machine and ignored by git.
fn is_there(files: &Files, span: &str) -> bool {
    let path = span.trim_end_matches('/');
    let ignored = files.text(".gitignore").unwrap_or_default().lines();
    let mut ignored = ignored.filter_map(|line| line.strip_prefix('/'));
    files.exists(path) || ignored.any(|ignored| path == ignored || is_below(path, ignored))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Levels and titles of the headings.
fn headings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).filter_map(|(_, line)| {
        let level = line.chars().take_while(|c| *c == '#').count();
        let title = line[level..].strip_prefix(' ')?;
        (level > 0).then_some((level, title.trim()))
    })
}

/// A heading as the end of an address.
fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn untranslated(files: &Files, path: &str) -> Option<Finding> {
    let original = files.text(README)?;
    let Some(translation) = files.text(path) else {
        return Some(Finding::of_file(path, format!("the translation of {README} is missing")));
    };
    let levels = |text| headings(text).map(|(level, _)| level).collect::<Vec<_>>();
    let (expected, found) = (levels(original), levels(translation));
    let message = format!("headings of levels {found:?} do not follow {README}: {expected:?}");
    (found != expected).then(|| Finding::of_file(path, message))
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    fn check(text: &str, expected: &[&str]) {
        let files = [
            ("docs/a.md", text),
            ("docs/b.md", "# Two words, here\n```\n# no heading\n```\n"),
            ("crates/eval/src/lib.rs", ""),
            (".gitignore", "/target\n/golden/venv\n"),
            ("golden/x.py", ""),
        ];
        assert_findings(super::find, &files, expected);
    }

    #[test]
    fn links_to_nothing_are_found() {
        check("[b](b.md) [c](../crates/eval) [up](https://example.org/x) [d](b.md \"title\")", &[]);
        check("[b](c.md)", &["docs/a.md:1: nothing is at 'c.md'"]);
        check("\n[b](../../x.md)", &["docs/a.md:2: nothing is at '../../x.md'"]);
        check("[b](b.md#two-words-here)", &[]);
        check("[b](b.md#no-heading)", &["docs/a.md:1: nothing is at 'b.md#no-heading'"]);
        check("# Here\n[b](#here) [c](#there)", &["docs/a.md:2: nothing is at '#there'"]);
        check("<img src=\"a.svg\">\n[x]: y.md", &["docs/a.md:1: nothing", "docs/a.md:2: nothing"]);
        check("`[b](c.md)`\n```\n[b](c.md)\n```", &[]);
    }

    #[test]
    fn paths_to_nothing_are_found() {
        check("`crates/eval/src/lib.rs`, `crates/eval/`, `query/value`, `crates/*/x`", &[]);
        check("`golden/venv/bin/python` and `golden/venv`", &[]);
        check("`golden/venue`", &["docs/a.md:1: the path `golden/venue` is not there"]);
        check("see `crates/sched`", &["docs/a.md:1: the path `crates/sched` is not there"]);
    }

    #[test]
    fn translations_keep_the_headings() {
        let check = |translation: &[(&str, &str)], expected: &[&str]| {
            let files = [&[("README.md", "# A\n\n## B\n\n## C\n")], translation].concat();
            assert_findings(super::find, &files, expected);
        };
        check(&[("README.zh-CN.md", "# 甲\n\n## 乙\n\n## 丙\n")], &[]);
        check(
            &[("README.zh-CN.md", "# 甲\n\n## 乙\n")],
            &["README.zh-CN.md: headings of levels [1, 2]"],
        );
        check(&[], &["README.zh-CN.md: the translation of README.md is missing"]);
    }
}
