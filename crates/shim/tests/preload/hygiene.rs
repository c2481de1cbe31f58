//! What the library does to a program that it is loaded into: nothing that can be seen.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use cotenant_shim::ffi::table::Hook;

use super::scene::{GIB, Scene, library, ready, told};

/// The names that the library exports are those of the table, and `dlsym`; so no program finds
/// something else in it by chance.
#[test]
fn only_what_is_taken_over_is_exported() {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).output().unwrap();
    assert!(output.status.success(), "nm comes with the C compiler that this project needs");
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let mut expected: BTreeSet<&str> = Hook::ALL.iter().map(|hook| hook.name()).collect();
    expected.insert("dlsym");
    assert_eq!(names, expected);
}

/// A loader that sets a program up runs the C library's own entry and that of Rust's, which
/// remembers the arguments; there is none of ours beside them.
#[test]
fn nothing_runs_before_the_program() {
    let output = Command::new("readelf").arg("-dW").arg(library()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let size = text.lines().find(|line| line.contains("(INIT_ARRAYSZ)")).unwrap();
    let bytes: u64 = size
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no size in {size}"));
    assert!(bytes <= 16, "{bytes} bytes of constructors");
}

#[test]
fn programs_that_use_no_card_are_as_before() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 100);
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; ulimit -c; umask; exit 7"]);
    let without = command.output().unwrap();
    command.env("LD_PRELOAD", library()).env("COTENANT_SLICE", slice.file(""));
    let with = command.output().unwrap();
    assert_eq!(with, without);
    assert_eq!(with.status.code(), Some(7));
}

#[test]
fn the_library_says_nothing_and_starts_nothing() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 500);
    let mut command = scene.command();
    command.env("COTENANT_SLICE", slice.file("")).stderr(Stdio::piped());
    let count = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    let mut bare = scene.command();
    bare.env_remove("LD_PRELOAD");
    let mut bare = ready(bare);
    let mut tenant = ready(command);
    for tenant in [&mut bare, &mut tenant] {
        told(tenant, "alloc a 1000", "ok");
        told(tenant, "launch 1000 count=100", "ok");
        told(tenant, "sync", "ok");
    }
    assert_eq!(count(tenant.pid()), count(bare.pid()), "threads");
    assert_eq!(signals(tenant.pid()), signals(bare.pid()), "signals that are caught or ignored");
}

fn signals(pid: u32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let lines = status.lines().filter(|line| line.starts_with("Sig"));
    lines.map(str::to_owned).collect()
}
