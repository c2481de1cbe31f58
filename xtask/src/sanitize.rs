//! Tests of the preload library's own code, under AddressSanitizer.
//!
//! It needs a compiler that knows it, which a stable one does if it is told to be more than that, and
//! a processor and system for which it brings its parts. The library stands before nothing there: it
//! would take over `dlsym`, and so does the sanitizer. ThreadSanitizer would need a standard library
//! that was built for it: with the one that there is it takes the end of every thread for a race.

use crate::command;
use crate::project::Project;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const FLAGS: &str =
    "-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer --cfg cotenant_sanitized";

/// Runs the tests; says why not, if they cannot be run here.
pub(crate) fn run(project: &Project) -> Result<Option<&'static str>, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        return Ok(Some("it is run on x86-64 Linux with glibc alone"));
    }
    let mut tests = project.cargo();
    tests
        .args(["test", "--quiet", "--target", TARGET, "-p", "cotenant-shim", "--lib"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", project.at("target/sanitize"));
    command::run(&mut tests)?;
    Ok(None)
}
