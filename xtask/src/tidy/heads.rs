//! The head of a library says what the crate is and what always holds, and then stops.

use crate::project::Files;
use crate::tidy::Finding;
use crate::tidy::source::Source;

const LINES_MAX: usize = 40;

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.texts("/src/lib.rs") {
        if !text.starts_with("//!") {
            findings.push(Finding::of_file(path, "the file does not begin with `//!`"));
        }
        if !text.lines().any(|line| line == "//! # Invariants") {
            findings.push(Finding::of_file(path, "the head has no part `# Invariants`"));
        }
        let head = text.lines().filter(|line| line.starts_with("//!")).count();
        let source = Source::new(text);
        let code = source.code_lines().iter().filter(|line| !line.trim().is_empty()).count();
        for (what, lines) in [("head", head), ("code", code)] {
            if lines >= LINES_MAX {
                let message = format!("the {what} has {lines} lines, not under {LINES_MAX}");
                findings.push(Finding::of_file(path, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    fn check(text: &str, expected: &[&str]) {
        assert_findings(super::find, &[("crates/a/src/lib.rs", text)], expected);
    }

    #[test]
    fn heads_without_promises_and_with_too_much_are_found() {
        let head = "//! Metrics.\n//!\n//! # Invariants\n//! - Pure.\n\n";
        check(&format!("{head}{}", "mod a;\n".repeat(39)), &[]);
        check(
            &format!("{head}{}", "mod a;\n".repeat(40)),
            &["crates/a/src/lib.rs: the code has 40 lines, not under 40"],
        );
        check("//! Metrics.\n", &["crates/a/src/lib.rs: the head has no part `# Invariants`"]);
        check(
            "mod a;\n",
            &[
                "crates/a/src/lib.rs: the file does not begin with `//!`",
                "crates/a/src/lib.rs: the head has no part",
            ],
        );
    }
}
