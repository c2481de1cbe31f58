//! A file is one idea and a function fits a screen.

use crate::project::Files;
use crate::tidy::Finding;
use crate::tidy::source::Source;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Tests may be longer: folders of tests and modules for tests do not count.
pub(super) fn find(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.texts(".rs").filter(|(path, _)| !path.contains("/tests/")) {
        let source = Source::new(text);
        let tests: usize = source.test_lines().iter().map(ExactSizeIterator::len).sum();
        let lines = source.text_lines().len() - tests;
        if lines > FILE_LINES_MAX {
            let message = format!(
                "{lines} lines are more than {FILE_LINES_MAX}\nhint: split the file by idea"
            );
            findings.push(Finding::of_file(path, message));
        }
        for function in source.functions() {
            let (start, lines) = (function.lines.start, function.lines.len());
            if lines > FUNCTION_LINES_MAX && !source.is_test_line(start) {
                let name = function.name;
                let message = format!("`{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}");
                findings.push(Finding::at(path, start, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    fn check(text: &str, expected: &[&str]) {
        assert_findings(super::find, &[("a.rs", text)], expected);
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let function = |name: &str, lines: usize| {
            format!("fn {name}() {{\n{}}}\n", "    call();\n".repeat(lines - 2))
        };
        check(&function("screen", 70), &[]);
        check(&format!("\n{}", function("scroll", 71)), &["a.rs:2: `scroll` has 71 lines"]);
        check(&"// word\n".repeat(800), &[]);
        check(&"// word\n".repeat(801), &["a.rs: 801 lines are more than 800"]);

        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function("table", 900));
        check(&tests, &[]);
        assert_findings(super::find, &[("crates/a/tests/b.rs", &function("table", 900))], &[]);
    }
}
