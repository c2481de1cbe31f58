//! Unsafe code stands in few folders, and each block says why it is sound.

use crate::project::Files;
use crate::tidy::Finding;
use crate::tidy::source::Source;

/// Vector and tile instructions, the inner loops of products, the system's allocator, and the tests'
/// emulation of tiles; the driver of cards and its libraries, and the run of kernels on the processor
/// in tests; an index's vector instructions and mapped tables, and its mapped files; the
/// preload library's side to the driver and the system, and what measures it; NVML where no crate
/// wraps it; and in fixtures of tests, a file that processes share and the C interface of a driver.
const ALLOWED: [&str; 9] = [
    "crates/transformer/src/cpu/",
    "crates/transformer/src/cuda/",
    "crates/index/src/dense/kernels/",
    "crates/index/src/store/mmap.rs",
    "crates/shim/src/ffi/",
    "crates/shim/examples/",
    "crates/device/src/nvidia/nvml/",
    "crates/fake-cards/src/system/",
    "crates/fake-driver/src/ffi/",
];

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.texts(".rs") {
        let is_allowed = ALLOWED.iter().any(|folder| path.starts_with(folder));
        let source = Source::new(text);
        for at in source.words("unsafe") {
            let line = source.line_of(at);
            let rest = source.code_from(at + "unsafe".len()).trim_start();
            if !is_allowed {
                let message = format!("unsafe code may stand only in {}", ALLOWED.join(", "));
                findings.push(Finding::at(path, line, message));
            } else if (rest.starts_with('{') || rest.starts_with("impl"))
                && !has_reason(&source, line)
            {
                findings.push(Finding::at(path, line, "unsafe code without `SAFETY:` above it"));
            }
        }
    }
    findings
}

/// Whether the comment on this line, or above the statement that holds it, gives the reason.
fn has_reason(source: &Source<'_>, line: usize) -> bool {
    let (text, code) = (source.text_lines(), source.code_lines());
    for above in (0..=line).rev() {
        if text[above].contains("SAFETY:") {
            return true;
        }
        let is_comment = text[above].trim_start().starts_with("//");
        let is_earlier = above < line && code[above].trim_end().ends_with([';', '{', '}', ',']);
        if is_earlier || (!is_comment && code[above].trim().is_empty()) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_findings(super::find, &[(path, text)], expected);
    }

    #[test]
    fn unsafe_code_elsewhere_is_found() {
        let block = "fn f() {\n    // SAFETY: it holds.\n    unsafe { g() }\n}\n";
        check("crates/transformer/src/cpu/amx.rs", block, &[]);
        check("crates/index/src/dense/kernels/a.rs", block, &[]);
        check("crates/device/src/nvidia/nvml/a.rs", block, &[]);
        let beside = "crates/device/src/nvidia/meter.rs";
        check(beside, block, &["crates/device/src/nvidia/meter.rs:3: unsafe code may stand"]);
        check("crates/train/src/a.rs", block, &["crates/train/src/a.rs:3: unsafe code may stand"]);
        check("crates/train/src/a.rs", "// unsafe\n#![deny(unsafe_code)]\n", &[]);
    }

    #[test]
    fn unsafe_code_without_a_reason_is_found() {
        let path = "crates/transformer/src/cpu/a.rs";
        let missing = &["crates/transformer/src/cpu/a.rs:3: unsafe code without `SAFETY:`"];
        check(path, "fn f() {\n    g();\n    unsafe { g() }\n}\n", missing);
        // The reason of an earlier statement is not this one's.
        check(
            path,
            "// SAFETY: it holds.\nlet a = unsafe { g() };\nlet b = unsafe { g() };\n",
            missing,
        );
        check(
            path,
            "    // SAFETY: it holds,\n    // in two lines.\n    let x =\n        unsafe { g() };\n",
            &[],
        );
        check(path, "// SAFETY: plain data.\nunsafe impl Send for A {}\n", &[]);
        check(path, "\n\nunsafe impl Send for A {}\n", missing);
        check(path, "/// # Safety\n/// The caller knows.\nunsafe fn f() {}\n", &[]);
    }
}
