//! The rules of STYLE.md that a program can check; each check is a test of this package too.

mod blobs;
mod edges;
mod heads;
mod macros;
mod markdown;
mod modules;
mod paths;
mod sizes;
mod source;
mod specification;
mod unsafety;

use std::fmt;
use std::fs;

use crate::generate::GENERATED;
use crate::project::{Files, Project};

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1; `None` is the file as a whole.
    line: Option<usize>,
    /// What is wrong and what to do about it.
    message: String,
}

/// A rule: its name and what finds the places that break it.
struct Check {
    name: &'static str,
    find: fn(&Files) -> Vec<Finding>,
}

const CHECKS: [Check; 10] = [
    Check { name: "crate edges", find: edges::find },
    Check { name: "sizes of files and functions", find: sizes::find },
    Check { name: "crate heads", find: heads::find },
    Check { name: "unsafe code", find: unsafety::find },
    Check { name: "files that are no module", find: modules::find },
    Check { name: "forbidden macros", find: macros::find },
    Check { name: "links and paths in Markdown", find: markdown::find },
    Check { name: "paths of one machine", find: paths::find },
    Check { name: "SPECIFICATION.md", find: specification::find },
    Check { name: "large files", find: blobs::find },
];

/// Runs every check, and compares generated files with what makes them.
pub(crate) fn run(project: &Project) -> Result<(), String> {
    let files = project.files()?;
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| (check.find)(&files)).collect();
    findings.extend(stale(project));
    for finding in &findings {
        println!("{finding}");
    }
    let names = CHECKS.map(|check| check.name).join(", ");
    match findings.len() {
        0 => {
            println!("tidy: {names}, generated files");
            Ok(())
        }
        count => Err(format!("tidy has {count} findings")),
    }
}

/// Generated files that differ from what would be made now. Not a test: it builds the program.
fn stale(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for generated in &GENERATED {
        let message = match (generated.make)(project) {
            Ok(text)
                if fs::read_to_string(project.at(generated.path)).is_ok_and(|old| old == text) =>
            {
                continue;
            }
            Ok(_) => "is not what the code makes\nhint: run `cargo xtask generate`".to_owned(),
            Err(message) => format!("cannot be made: {message}"),
        };
        findings.push(Finding::of_file(generated.path, message));
    }
    findings
}

impl Finding {
    fn of_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    /// `index` counts lines from 0.
    fn at(path: &str, index: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(index + 1), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.path, self.message),
            None => write!(formatter, "{}: {}", self.path, self.message),
        }
    }
}

/// Compares the findings of one check on made-up files, one line each.
#[cfg(test)]
fn assert_findings(find: fn(&Files) -> Vec<Finding>, files: &[(&str, &str)], expected: &[&str]) {
    let found: Vec<String> =
        find(&Files::of(files)).iter().map(|finding| finding.to_string()).collect();
    let is_alike = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
    assert!(is_alike, "{files:?}\nfound {found:#?}\nnot   {expected:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One rule on the real files; each is its own test, so that a broken rule is named by one.
    fn check(name: &str) {
        let files = Project::find().unwrap().files().unwrap();
        let check = CHECKS.iter().find(|check| check.name == name).unwrap();
        let findings: Vec<String> =
            (check.find)(&files).iter().map(|finding| finding.to_string()).collect();
        assert!(findings.is_empty(), "{name}:\n{}", findings.join("\n"));
    }

    #[test]
    fn crates_depend_as_drawn() {
        check("crate edges");
    }

    #[test]
    fn files_and_functions_are_small() {
        check("sizes of files and functions");
    }

    #[test]
    fn crates_say_what_they_are() {
        check("crate heads");
    }

    #[test]
    fn unsafe_code_stays_where_it_may() {
        check("unsafe code");
    }

    #[test]
    fn every_file_is_a_module() {
        check("files that are no module");
    }

    #[test]
    fn no_macro_was_left_behind() {
        check("forbidden macros");
    }

    #[test]
    fn markdown_points_at_what_exists() {
        check("links and paths in Markdown");
    }

    #[test]
    fn no_file_names_one_machine() {
        check("paths of one machine");
    }

    #[test]
    fn promises_name_their_tests() {
        check("SPECIFICATION.md");
    }

    #[test]
    fn files_are_small_enough_to_commit() {
        check("large files");
    }
}
