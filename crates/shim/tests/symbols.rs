//! The table of entry points against what drivers export, and against its own reference page.
//!
//! The lists in `symbols` are made by the script beside them. A name of a new version that is
//! neither taken over nor waived makes this fail, and then somebody has to think about it.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cotenant_shim::ffi::table::{Hook, Library};
use cotenant_shim::ffi::waived::{NVML_WAIVED, TELLING, WAIVED, nvml_reason, reason};

const VERSIONS: [&str; 4] = ["11.8", "12.4", "12.9", "13.5"];

fn exported(version: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("symbols/cuda-{version}.txt"));
    let text = fs::read_to_string(path).expect("the lists are committed");
    text.lines().map(str::to_owned).collect()
}

fn hooks() -> BTreeSet<String> {
    let cuda = Hook::ALL.iter().filter(|hook| hook.library() == Library::Cuda);
    cuda.map(|hook| hook.name().to_owned()).collect()
}

#[test]
fn every_entry_point_is_taken_over_or_waived() {
    let hooks = hooks();
    for version in VERSIONS {
        let names = exported(version);
        assert!(names.len() > 500, "CUDA {version} has {} names", names.len());
        let forgotten: Vec<&String> =
            names.iter().filter(|name| !hooks.contains(*name) && reason(name).is_none()).collect();
        assert!(forgotten.is_empty(), "CUDA {version}: nobody has thought about {forgotten:?}");
    }
}

#[test]
fn nothing_is_both_taken_over_and_waived() {
    let both: Vec<String> = hooks().into_iter().filter(|name| reason(name).is_some()).collect();
    assert!(both.is_empty(), "{both:?}");
}

/// The list is of the functions that the crate `nvml-wrapper-sys` declares.
#[test]
fn whatever_of_nvml_tells_of_others_is_taken_over_or_waived() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("symbols/nvml-12.txt");
    let text = fs::read_to_string(path).expect("the list is committed");
    let names: BTreeSet<&str> = text.lines().collect();
    assert!(names.len() > 300, "NVML has {} names", names.len());
    let hooks = Hook::ALL.iter().filter(|hook| hook.library() == Library::Nvml);
    let hooks: BTreeSet<&str> = hooks.map(|hook| hook.name()).collect();
    let tells = |name: &str| TELLING.iter().any(|part| name.contains(part));
    for name in names.iter().filter(|name| tells(name)) {
        let (is_hooked, reason) = (hooks.contains(name), nvml_reason(name));
        assert!(is_hooked != reason.is_some(), "{name}: hooked {is_hooked}, waived for {reason:?}");
    }
    let waived = NVML_WAIVED.iter().flat_map(|(_, names)| names.iter());
    let unknown: Vec<_> = waived.chain(&hooks).filter(|name| !names.contains(*name)).collect();
    assert!(unknown.is_empty(), "NVML has no {unknown:?}");
}

/// A rule that fits nothing would hide a name that comes later.
#[test]
fn every_rule_and_every_hook_is_of_some_driver() {
    let all: BTreeSet<String> = VERSIONS.iter().flat_map(|version| exported(version)).collect();
    for rule in WAIVED.iter().flat_map(|(_, rules)| rules.iter()) {
        let is_met = match rule.strip_suffix('*') {
            Some(front) => all.iter().any(|name| name.starts_with(front)),
            None => all.contains(*rule),
        };
        assert!(is_met, "no driver has {rule}");
    }
    // The functions that make contexts for graphics are declared in a header of their own.
    let unknown: Vec<String> =
        hooks().into_iter().filter(|name| !all.contains(name) && !name.contains("GL")).collect();
    assert!(unknown.is_empty(), "no driver has {unknown:?}");
}

/// A rule with `*` may not swallow a way to submit or to allocate.
#[test]
fn ways_to_submit_and_to_allocate_are_waived_by_name_alone() {
    for front in [
        "cuLaunchNew",
        "cuMemAllocNew",
        "cuMemCreateNew",
        "cuGraphLaunchNew",
        "cuArrayCreateNew",
        "cuMemAlloc_v3",
        "cuLaunchKernel_v2",
        "cuMemMap_v2",
        "cuGraphAddNode_v4",
        "cuStreamBeginCaptureNew",
        "cuCtxSetCurrent_v2",
        "cuGraphInstantiateNew",
    ] {
        assert_eq!(reason(front), None, "{front}");
    }
}

#[test]
fn the_reference_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/shim-hooks.md");
    let page = reference_page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        old == page,
        "docs/shim-hooks.md is not what the table says\nhint: run this test with UPDATE_EXPECT=1"
    );
}

fn reference_page() -> String {
    let mut text = "# Entry points of the driver\n\n\
        This page is made from the table of the preload library by its test `symbols`, with \
        `UPDATE_EXPECT=1`.\n\n\
        ## Taken over\n\n| entry point | what is done |\n| --- | --- |\n"
        .to_owned();
    for hook in Hook::ALL {
        writeln!(text, "| `{}` | {} |", hook.name(), hook.topic().text())
            .expect("a string takes any text");
    }
    text.push_str("\n## Left to the driver\n\n| entry points | why |\n| --- | --- |\n");
    for (reason, rules) in WAIVED {
        let rules: Vec<String> = rules.iter().map(|rule| format!("`{rule}`")).collect();
        writeln!(text, "| {} | {reason} |", rules.join(", ")).expect("a string takes any text");
    }
    for (reason, names) in NVML_WAIVED {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        writeln!(text, "| {} | {reason} |", names.join(", ")).expect("a string takes any text");
    }
    text
}
