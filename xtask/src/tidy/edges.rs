//! Dependencies point one way: the table of ARCHITECTURE.md, read beside the manifests.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::project::Files;
use crate::tidy::Finding;

/// Each crate, and the crates of ours that it may use. A new arrow is a change of the design: it
/// comes with one here, one in ARCHITECTURE.md, and a reason in the commit.
const ALLOWED: [(&str, &[&str]); 16] = [
    ("types", &[]),
    ("transformer", &[]),
    ("index", &[]),
    ("eval", &[]),
    ("sched", &["types"]),
    ("device", &["types"]),
    ("shim", &["types"]),
    ("api", &["types"]),
    ("train", &["transformer", "eval"]),
    ("rag", &["train", "index", "eval", "transformer", "types"]),
    ("daemon", &["api", "sched", "device", "types"]),
    ("doctor", &["types", "device"]),
    ("cli", &["api", "daemon", "sched", "device", "doctor", "rag", "train", "eval", "types"]),
    ("fuzz", &["index", "rag", "train", "eval", "transformer"]),
    ("fake-cards", &[]),
    ("fake-driver", &["fake-cards"]),
];

/// The tests of every crate may use them, and nothing else may: fixtures are in no program that a
/// user gets, and the preload library is loaded before programs and linked into none.
const FOR_TESTS: [&str; 3] = ["fake-cards", "fake-driver", "shim"];

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let allowed = BTreeMap::from(ALLOWED);
    let mut findings = Vec::new();
    for (path, text) in files.texts("/Cargo.toml") {
        let Some(name) = path.strip_prefix("crates/").and_then(|path| path.split('/').next())
        else {
            continue;
        };
        let Some(allowed) = allowed.get(name) else {
            findings.push(Finding::of_file(path, format!("the design has no crate '{name}'")));
            continue;
        };
        let manifest: Table = match text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(Finding::of_file(path, format!("is no manifest: {error}")));
                continue;
            }
        };
        let package =
            if name == "cli" { "cotenant".to_owned() } else { format!("cotenant-{name}") };
        if manifest.get("package").and_then(|table| table.get("name"))
            != Some(&package.clone().into())
        {
            findings.push(Finding::of_file(path, format!("the package is not called '{package}'")));
        }
        let is_refused = |used: &&Used| {
            let is_for_tests = used.is_for_tests && FOR_TESTS.contains(&used.name.as_str());
            !is_for_tests && !allowed.contains(&used.name.as_str())
        };
        for Used { name: used, .. } in used(&manifest).iter().filter(is_refused) {
            let message = match allowed.is_empty() {
                true => format!("'{name}' uses '{used}' but may use no crate of ours"),
                false => format!("'{name}' uses '{used}' but may use only {}", allowed.join(", ")),
            };
            findings.push(Finding::of_file(path, message));
        }
    }
    findings
}

/// A crate of ours that a manifest names.
struct Used {
    name: String,
    is_for_tests: bool,
}

/// The crates of ours in every table of dependencies, those for tests and single platforms too.
fn used(table: &Table) -> Vec<Used> {
    let mut used = Vec::new();
    for (key, value) in table {
        let Value::Table(below) = value else { continue };
        if key.ends_with("dependencies") {
            let is_for_tests = key == "dev-dependencies";
            let ours = below.keys().filter_map(|name| name.strip_prefix("cotenant-"));
            used.extend(ours.map(|name| Used { name: name.to_owned(), is_for_tests }));
        } else {
            used.extend(self::used(below));
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    fn check(path: &str, manifest: &str, expected: &[&str]) {
        assert_findings(super::find, &[(path, manifest)], expected);
    }

    #[test]
    fn arrows_that_the_design_lacks_are_found() {
        let head = "[package]\nname = \"cotenant-train\"\n[dependencies]\nserde = \"1\"\n";
        let train = |rest: &str| format!("{head}{rest}");
        let path = "crates/train/Cargo.toml";
        check(path, &train("cotenant-eval.workspace = true"), &[]);
        check(
            path,
            &train("cotenant-rag = { path = \"../rag\" }"),
            &["crates/train/Cargo.toml: 'train' uses 'rag' but may use only transformer, eval"],
        );
        check(
            path,
            &train("[target.'cfg(unix)'.dev-dependencies]\ncotenant-types.workspace = true"),
            &["crates/train/Cargo.toml: 'train' uses 'types'"],
        );
        check(
            "crates/eval/Cargo.toml",
            "[package]\nname = \"evaluation\"\n[build-dependencies]\ncotenant-types = \"1\"\n",
            &[
                "crates/eval/Cargo.toml: the package is not called 'cotenant-eval'",
                "crates/eval/Cargo.toml: 'eval' uses 'types' but may use no crate of ours",
            ],
        );
        check(
            "crates/utils/Cargo.toml",
            "[package]\nname = \"utils\"",
            &["crates/utils/Cargo.toml: the design has no crate 'utils'"],
        );
        // A fixture is for tests alone.
        check(path, &train("[dev-dependencies]\ncotenant-fake-cards.workspace = true"), &[]);
        check(
            path,
            &train("cotenant-fake-driver.workspace = true"),
            &["crates/train/Cargo.toml: 'train' uses 'fake-driver' but may use only"],
        );
        check("xtask/Cargo.toml", "[dependencies]\ncotenant-rag.workspace = true", &[]);
    }
}
