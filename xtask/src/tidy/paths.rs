//! No file names a folder that only one machine has.

use crate::project::Files;
use crate::tidy::Finding;

/// Folders at the root of somebody's machine. A relative path, or a folder that a program asks the
/// system for, works everywhere.
const FOLDERS: [&str; 4] = ["work", "root", "tmp", "home"];

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.texts("") {
        for (index, line) in text.lines().enumerate() {
            if let Some(folder) = FOLDERS.iter().find(|folder| names(line, folder)) {
                let message = format!("a path below '/{folder}' is there on one machine only");
                findings.push(Finding::at(path, index, message));
            }
        }
    }
    findings
}

/// Whether a line has the folder as an absolute path.
fn names(line: &str, folder: &str) -> bool {
    let folder = format!("/{folder}");
    let is_inner = |c: char| c.is_alphanumeric() || "._-~}/".contains(c);
    line.match_indices(&folder).any(|(at, _)| {
        let after = &line[at + folder.len()..];
        !line[..at].ends_with(is_inner)
            && !after.starts_with(|c: char| c.is_alphanumeric() || "._-".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: bool) {
        // The folders are put in here, so that this file passes its own check.
        let line = template.replace('@', "tmp");
        assert_eq!(names(&line, "tmp"), expected, "{line}");
    }

    #[test]
    fn absolute_paths_of_one_machine_are_found() {
        for line in ["cd /@/x", "\"/@\"", "see `/@/a/b`.", "PATH=/usr/bin:/@", "/@"] {
            check(line, true);
        }
        for line in ["a/@/b", "docs/@", "~/@", "$HOME}/@", "/@lets", "../@", "//@", "/@.md"] {
            check(line, false);
        }
    }
}
