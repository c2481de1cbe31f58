//! Macros that were meant to go, and libraries that talk.

use crate::project::Files;
use crate::tidy::Finding;
use crate::tidy::source::Source;

const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];
const PRINTING: [&str; 4] = ["print", "println", "eprint", "eprintln"];

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.texts(".rs") {
        let source = Source::new(text);
        let calls = |word| {
            let is_call = |at: &usize| source.code_from(*at)[str::len(word)..].starts_with('!');
            source.words(word).filter(is_call).map(|at| source.line_of(at)).collect::<Vec<_>>()
        };
        for word in UNFINISHED {
            let lines = calls(word).into_iter();
            findings.extend(
                lines.map(|line| Finding::at(path, line, format!("`{word}!` was left here"))),
            );
        }
        for word in PRINTING.iter().filter(|_| is_library(path)) {
            let lines = calls(word).into_iter().filter(|line| !source.is_test_line(*line));
            let message =
                format!("`{word}!` in a library: return it, so that the caller can say it");
            findings.extend(lines.map(|line| Finding::at(path, line, message.clone())));
        }
    }
    findings
}

/// The program may talk, and so may folders of tests; all else returns values and errors.
fn is_library(path: &str) -> bool {
    let is_source = path.starts_with("crates/") && path.contains("/src/");
    is_source && !path.starts_with("crates/cli/") && !path.contains("/tests/")
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_findings(super::find, &[(path, text)], expected);
    }

    #[test]
    fn leftovers_and_talk_are_found() {
        let unfinished = "fn f() {\n    todo!()\n}\n";
        check("xtask/src/a.rs", unfinished, &["xtask/src/a.rs:2: `todo!` was left here"]);
        check("crates/a/tests/b.rs", "dbg!(1);", &["crates/a/tests/b.rs:1: `dbg!`"]);
        check("crates/a/src/b.rs", "// todo!\nlet x = \"dbg!\";\nmy_todo!();", &[]);

        let talk = "println!(\"x\");\n";
        check("crates/a/src/b.rs", talk, &["crates/a/src/b.rs:1: `println!` in a library"]);
        check("crates/cli/src/b.rs", talk, &[]);
        check("crates/a/tests/b.rs", talk, &[]);
        check("crates/a/src/b/tests/c.rs", talk, &[]);
        check("crates/a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{\n{talk}}}\n"), &[]);
    }
}
