//! Large files make every clone slow for ever.

use crate::project::Files;
use crate::tidy::Finding;

const BYTES_MAX: u64 = 256 * 1024;

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let large =
        files.all().filter(|(path, file)| file.bytes > BYTES_MAX && !path.starts_with("golden/"));
    let finding = |(path, file): (&str, &crate::project::File)| {
        let kib = file.bytes / 1024;
        Finding::of_file(path, format!("{kib} KiB are more than {} KiB", BYTES_MAX / 1024))
    };
    large.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    #[test]
    fn large_files_are_found() {
        let text = |kib: usize| "x".repeat(kib * 1024);
        assert_findings(super::find, &[("a.txt", &text(256)), ("golden/b", &text(300))], &[]);
        let expected = &["a.txt: 300 KiB are more than 256 KiB"];
        assert_findings(super::find, &[("a.txt", &text(300))], expected);
    }
}
