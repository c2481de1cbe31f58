//! `cotenant demo`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use cotenant_rag::workspace::{Length, Limits, TenantConfig, Workspace};

use super::training::{self, Order};
use super::{Ended, base, tenant_named_after};
use crate::args::DemoArgs;
use crate::console::Console;

/// The base model of the demo.
const BASE: &str = "all-MiniLM-L6-v2";

/// Books of the Rust toolchain that the demo would take, best first; it takes three.
const BOOKS: [&str; 8] = [
    "book",
    "cargo",
    "reference",
    "rust-by-example",
    "rustc",
    "nomicon",
    "embedded-book",
    "edition-guide",
];

/// Tenants of the demo, unless folders are named.
const TENANTS: usize = 3;

/// Trains three tenants on what stands on this machine.
pub(crate) fn run(arguments: &DemoArgs, console: &Console) -> Ended {
    let named = arguments.docs.iter().chain(&arguments.data);
    let mut corpora: Vec<_> = named.map(|path| tenant_named_after(path, "docs")).collect();
    if corpora.is_empty() {
        corpora = books();
    }
    if corpora.is_empty() {
        console.say("the Rust books are not installed; taking the documentation of crates instead");
        corpora = crates();
    }
    if corpora.is_empty() {
        return Err(
            "find documentation to train on: neither the Rust books nor unpacked crates are \
                    on this machine\nhint: name folders with --docs FOLDER..."
                .into(),
        );
    }
    let mut workspace = Workspace {
        file: arguments.out.join("demo.toml"),
        base: BASE.to_owned(),
        limits: base::limits(Limits::default(), &arguments.machine),
        tenants: told_apart(corpora),
    };
    for tenant in &mut workspace.tenants {
        tenant.passages_max = arguments.passages_max as usize;
        // One pass with one negative each, where the defaults take three with two: a first look
        // should take minutes on two cores.
        tenant.training.length = Length::Epochs(1);
        tenant.negatives.per_example = Some(1);
    }
    training::keep(&mut workspace, &arguments.only)?;
    for tenant in &workspace.tenants {
        let folders: Vec<_> = tenant.data.iter().map(|path| path.display().to_string()).collect();
        console.say(&format!("tenant {}: {}", tenant.name, folders.join(" ")));
    }
    let order = Order {
        workspace: &workspace,
        out: &arguments.out,
        resume: arguments.resume,
        compare: arguments.compare,
    };
    training::run(&order, console)
}

/// The tenants with a number behind each name that an earlier one has.
fn told_apart(tenants: Vec<TenantConfig>) -> Vec<TenantConfig> {
    let mut told: Vec<TenantConfig> = Vec::new();
    for mut tenant in tenants {
        let taken = |name: &TenantConfig| told.iter().any(|known| known.name == name.name);
        let plain = tenant.name.to_string();
        for number in 2.. {
            if !taken(&tenant) {
                break;
            }
            tenant.name = format!("{plain}-{number}").parse().expect("a name and a number");
        }
        told.push(tenant);
    }
    told
}

/// The first three books of the toolchain that are installed.
fn books() -> Vec<TenantConfig> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output();
    let Ok(output) = asked else { return Vec::new() };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let html = sysroot.join("share/doc/rust/html");
    let found = BOOKS.iter().map(|book| html.join(book)).filter(|folder| folder.is_dir());
    found.take(TENANTS).map(|folder| tenant_named_after(&folder, "book")).collect()
}

/// The crates that cargo has unpacked, dealt out to three tenants.
fn crates() -> Vec<TenantConfig> {
    let cargo = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let Some(sources) = cargo.map(|cargo| cargo.join("registry/src")) else { return Vec::new() };
    let folders = |folder: &Path| -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let unpacked: Vec<PathBuf> =
        folders(&sources).iter().flat_map(|registry| folders(registry)).collect();
    let share = unpacked.len().div_ceil(TENANTS).max(1);
    let dealt = unpacked.chunks(share).zip(1..);
    dealt
        .map(|(folders, at): (&[PathBuf], u32)| {
            let named = tenant_named_after(Path::new(&format!("crates-{at}")), "crates");
            TenantConfig { data: folders.to_vec(), ..named }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_name_are_told_apart() {
        let paths = ["a/docs", "b/docs", "docs-2", "c/docs"];
        let tenants = paths.map(|path| tenant_named_after(Path::new(path), "x"));
        let names: Vec<_> =
            told_apart(tenants.into()).into_iter().map(|tenant| tenant.name.to_string()).collect();
        assert_eq!(names, ["docs", "docs-2", "docs-2-2", "docs-3"]);
    }
}
