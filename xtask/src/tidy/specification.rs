//! Every promise in SPECIFICATION.md names a test that exists, or says that it is pending.
//!
//! A row is `| promise | number | test | last measured |`. A test is a code span, either
//! `path/of/file.rs: name_of_the_test` or a `cargo xtask` command that measures.

use crate::project::Files;
use crate::tidy::Finding;
use crate::tidy::source::Source;

const PATH: &str = "SPECIFICATION.md";
const COLUMNS: usize = 4;
const COMMANDS: [&str; 8] = [
    "cargo xtask ci",
    "cargo xtask tidy",
    "cargo xtask contract",
    "cargo xtask golden",
    "cargo xtask bench train",
    "cargo xtask bench embed",
    "cargo xtask bench isolation",
    "cargo xtask gpu",
];

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let Some(text) = files.text(PATH) else {
        return vec![Finding::of_file(PATH, "the file is missing")];
    };
    let rows: Vec<(usize, Vec<&str>)> = rows(text).collect();
    if rows.is_empty() {
        return vec![Finding::of_file(PATH, "no table makes a promise")];
    }
    let problems = rows.into_iter().filter_map(|(index, cells)| {
        problem(files, &cells).map(|message| Finding::at(PATH, index, message))
    });
    problems.collect()
}

/// The rows of every table below its line of dashes, with their line, counted from 0.
fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let mut is_body = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        let Some(inner) = inner else {
            is_body = false;
            return None;
        };
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        let is_rule = cells.iter().all(|cell| cell.chars().all(|c| "-: ".contains(c)));
        let is_row = is_body && !is_rule;
        is_body |= is_rule;
        is_row.then_some((index, cells))
    })
}

fn problem(files: &Files, cells: &[&str]) -> Option<String> {
    let [promise, number, test, measured] = cells else {
        return Some(format!("a promise has {COLUMNS} columns, not {}", cells.len()));
    };
    if [promise, number, measured].iter().any(|cell| cell.is_empty()) {
        return Some("an empty cell\nhint: what is not known yet says *pending*".to_owned());
    }
    let tests: Vec<&str> = test.split('`').skip(1).step_by(2).collect();
    if tests.is_empty() && *test != "*pending*" {
        return Some(format!("'{test}' is neither a test in backticks nor *pending*"));
    }
    let missing = tests.into_iter().find(|test| !exists(files, test))?;
    Some(format!("no test `{missing}`\nhint: write `path/of/file.rs: name_of_the_test`"))
}

fn exists(files: &Files, test: &str) -> bool {
    if COMMANDS.contains(&test) {
        return true;
    }
    let Some((path, name)) = test.split_once(": ") else { return false };
    let Some(text) = files.text(path) else { return false };
    let source = Source::new(text);
    let lines = source.code_lines();
    let functions = source.functions().into_iter().filter(|function| function.name == name);
    let has_attribute = |start: usize| {
        // Attributes stand right above; comments between them are blank here.
        let above = lines[..start].iter().rev().map(|line| line.trim());
        let mut attributes = above.take_while(|line| line.is_empty() || line.starts_with("#["));
        attributes.any(|line| line == "#[test]")
    };
    functions.into_iter().any(|function| has_attribute(function.lines.start))
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    const HEAD: &str =
        "# Promises\n\n| Promise | Number | Test | Last |\n| --- | --- | --- | --- |\n";
    const CODE: &str = "#[test]\n// Why.\nfn holds() {}\n\nfn helper() {}\n";

    fn check(rows: &str, expected: &[&str]) {
        let text = format!("{HEAD}{rows}");
        assert_findings(super::find, &[("SPECIFICATION.md", &text), ("a/b.rs", CODE)], expected);
    }

    #[test]
    fn promises_without_a_test_are_found() {
        check("| p | 1 | `a/b.rs: holds` | *pending* |\n", &[]);
        check("| p | 1 | *pending* | *pending* |\n", &[]);
        check("| p | 1 | `cargo xtask bench train` | 2.1, CPU, 2026-01-01 |\n", &[]);
        check("| p | 1 | someday | 1 |\n", &["SPECIFICATION.md:5: 'someday' is neither"]);
        check(
            "| p | 1 | `a/b.rs: helper` | 1 |\n",
            &["SPECIFICATION.md:5: no test `a/b.rs: helper`"],
        );
        check("| p | 1 | `a/c.rs: holds` | 1 |\n", &["SPECIFICATION.md:5: no test"]);
        check("| p | 1 | `cargo xtask dance` | 1 |\n", &["SPECIFICATION.md:5: no test"]);
        check("| p | 1 | *pending* |\n", &["SPECIFICATION.md:5: a promise has 4 columns, not 3"]);
        check("| p | 1 | *pending* | |\n", &["SPECIFICATION.md:5: an empty cell"]);
        check("", &["SPECIFICATION.md: no table makes a promise"]);
        assert_findings(super::find, &[], &["SPECIFICATION.md: the file is missing"]);
    }
}
