//! Every Rust file is reached from a crate's root, or nobody compiles it.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::project::Files;
use crate::tidy::Finding;
use crate::tidy::source::Source;

/// Folders in which each file is a root of its own.
const ROOT_FOLDERS: [&str; 4] = ["src/bin", "tests", "benches", "examples"];

pub(super) fn find(files: &Files) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    for (manifest, text) in files.texts("Cargo.toml") {
        let package = manifest.strip_suffix("Cargo.toml").unwrap_or_default();
        for root in roots(files, package, text) {
            reach(files, &root, true, &mut reached);
        }
    }
    let lost = files.texts(".rs").filter(|(path, _)| !reached.contains(*path));
    lost.map(|(path, _)| Finding::of_file(path, "no crate has this file as a module")).collect()
}

/// The files that cargo compiles by itself; `package` is the folder with a slash behind it.
fn roots(files: &Files, package: &str, manifest: &str) -> Vec<String> {
    let mut roots: Vec<String> =
        ["src/lib.rs", "src/main.rs", "build.rs"].map(|file| format!("{package}{file}")).into();
    for folder in ROOT_FOLDERS.map(|folder| format!("{package}{folder}/")) {
        let below = files.texts(".rs").filter_map(|(path, _)| path.strip_prefix(&folder));
        let own = below.filter(|file| !file.contains('/') || is_main_of_folder(file));
        roots.extend(own.map(|file| format!("{folder}{file}")));
    }
    let named = manifest.parse().map(|table| named_paths(&table)).unwrap_or_default();
    roots.extend(named.into_iter().map(|path| format!("{package}{path}")));
    roots.retain(|root| files.text(root).is_some());
    roots
}

fn is_main_of_folder(file: &str) -> bool {
    file.strip_suffix("/main.rs").is_some_and(|folder| !folder.contains('/'))
}

/// Every `path = "….rs"` of a manifest.
fn named_paths(table: &Table) -> Vec<String> {
    let mut paths = Vec::new();
    for (key, value) in table {
        match value {
            Value::String(path) if key == "path" && path.ends_with(".rs") => {
                paths.push(path.clone())
            }
            Value::Table(below) => paths.extend(named_paths(below)),
            Value::Array(all) => {
                paths.extend(all.iter().filter_map(Value::as_table).flat_map(named_paths));
            }
            _ => {}
        }
    }
    paths
}

/// Notes a file and every module below it.
fn reach(files: &Files, path: &str, is_root: bool, reached: &mut BTreeSet<String>) {
    let Some(text) = files.text(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let below = match file.strip_suffix(".rs") {
        Some(stem) if !is_root && stem != "mod" => format!("{folder}/{stem}"),
        Some(_) | None => folder.to_owned(),
    };
    for module in Source::new(text).declared_modules() {
        let module = [vec![below.clone()], module].concat().join("/");
        let module = module.trim_start_matches('/');
        reach(files, &format!("{module}.rs"), false, reached);
        reach(files, &format!("{module}/mod.rs"), false, reached);
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::assert_findings;

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        assert_findings(super::find, files, expected);
    }

    #[test]
    fn files_that_nobody_compiles_are_found() {
        let manifest = ("crates/a/Cargo.toml", "[package]\nname = \"a\"");
        check(
            &[
                manifest,
                ("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod c;\nmod d { mod e; }"),
                ("crates/a/src/b/mod.rs", "mod f;"),
                ("crates/a/src/b/f.rs", "mod g;"),
                ("crates/a/src/b/f/g.rs", ""),
                ("crates/a/src/c.rs", ""),
                ("crates/a/src/d/e.rs", ""),
                ("crates/a/tests/t.rs", "mod common;"),
                ("crates/a/tests/common/mod.rs", ""),
                ("crates/a/src/bin/tool/main.rs", "mod part;"),
                ("crates/a/src/bin/tool/part.rs", ""),
                ("crates/a/build.rs", ""),
            ],
            &[],
        );
        check(
            &[
                manifest,
                ("crates/a/src/lib.rs", "// mod lost;\nmod b;"),
                ("crates/a/src/b.rs", ""),
                ("crates/a/src/lost.rs", "mod below;"),
                ("crates/a/src/lost/below.rs", ""),
                ("crates/a/tests/common/mod.rs", ""),
            ],
            &[
                "crates/a/src/lost.rs: no crate has this file",
                "crates/a/src/lost/below.rs: no crate",
                "crates/a/tests/common/mod.rs: no crate",
            ],
        );
        let fuzz = ("fuzz/Cargo.toml", "[[bin]]\nname = \"x\"\npath = \"fuzz_targets/x.rs\"");
        check(&[fuzz, ("fuzz/fuzz_targets/x.rs", "")], &[]);
    }
}
