//! `cotenant demo`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use cotenant_rag::workspace::{Limits, TenantConfig, Workspace};

use super::training::{self, Order};
use super::{Ended, base};
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
    let named = arguments.docs.iter().chain(&arguments.data).cloned();
    let mut corpora: Vec<(String, Vec<PathBuf>)> = named.map(|f| (name(&f), vec![f])).collect();
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
        tenants: corpora
            .into_iter()
            .map(|(name, data)| tenant(&name, data, arguments.passages_max))
            .collect::<Result<_, _>>()?,
    };
    training::keep(&mut workspace, &arguments.only)?;
    for tenant in &workspace.tenants {
        let folders: Vec<_> = tenant.data.iter().map(|path| path.display().to_string()).collect();
        console.say(&format!("tenant {}: {}", tenant.name, folders.join(" ")));
    }
    let order = Order {
        workspace: &workspace,
        out: &arguments.out,
        resume: false,
        compare: arguments.compare,
    };
    training::run(&order, console)
}

fn tenant(name: &str, data: Vec<PathBuf>, passages_max: usize) -> Result<TenantConfig, String> {
    let parsed = name.parse().map_err(|error| format!("name a tenant {name}: {error}"))?;
    Ok(TenantConfig { data, passages_max, ..TenantConfig::new(parsed) })
}

/// The folder's name, of characters that a tenant's name may have.
fn name(folder: &Path) -> String {
    let stem = folder.file_name().unwrap_or("docs".as_ref()).to_string_lossy();
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    stem.chars().map(legal).collect::<String>().trim_matches('-').to_owned()
}

/// The first three books of the toolchain that are installed.
fn books() -> Vec<(String, Vec<PathBuf>)> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output();
    let Ok(output) = asked else { return Vec::new() };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let html = sysroot.join("share/doc/rust/html");
    let found = BOOKS.iter().map(|book| (name(Path::new(book)), vec![html.join(book)]));
    found.filter(|(_, folders)| folders[0].is_dir()).take(TENANTS).collect()
}

/// The crates that cargo has unpacked, dealt out to three tenants.
fn crates() -> Vec<(String, Vec<PathBuf>)> {
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
    dealt.map(|(folders, at)| (format!("crates-{at}"), folders.to_vec())).collect()
}
