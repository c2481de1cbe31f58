//! Each tenant alone, in a process of its own: what sharing saves, measured.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use cotenant_rag::job::RunResults;
use cotenant_rag::report::Separate;

use crate::console::Console;

/// Trains each of these tenants in turn, each in its own process, below the run's folder.
pub(super) fn measure(
    tenants: &[&str],
    out: &Path,
    console: &Console,
) -> Result<Separate, Box<dyn Error>> {
    let folder = out.join("apart");
    fs::create_dir_all(&folder).map_err(|error| {
        format!("create {}: {error}\nhint: make room, or leave --compare out", folder.display())
    })?;
    let mut found = Separate {
        wall_s: 0.0,
        peak_rss_mib_each: Vec::new(),
        peak_rss_mib_together: 0.0,
        tenants: tenants.len(),
    };
    for &name in tenants {
        console.say(&format!("training {name} alone, in a process of its own"));
        let output = Command::new(std::env::current_exe()?)
            .args(without_own_flags(std::env::args_os().skip(1)))
            .args(["--json", "--quiet", "--only", name, "--out"])
            .arg(folder.join(name))
            .stderr(Stdio::inherit())
            .output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let last = stdout.lines().last().unwrap_or_default();
        let results: RunResults = serde_json::from_str(last).map_err(|_| {
            let status = output.status;
            format!(
                "train {name} alone: its process ended with {status}\n\
                     hint: its own message stands above; the run itself is whole without --compare"
            )
        })?;
        found.wall_s += results.wall_s;
        found.peak_rss_mib_each.push(results.peak_rss_mib as f64);
        found.peak_rss_mib_together += results.peak_rss_mib as f64;
    }
    Ok(found)
}

/// This program's arguments without those that each process gets of its own.
fn without_own_flags(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--compare" | "--json" | "--quiet" | "-q" | "--resume") => {}
            Some("--out" | "--only") => drop(arguments.next()),
            Some(text) if text.starts_with("--out=") || text.starts_with("--only=") => {}
            Some(_) | None => kept.push(argument),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_its_own_gets_the_same_order() {
        let check = |given: &[&str], expected: &[&str]| {
            let kept = without_own_flags(given.iter().map(OsString::from));
            assert_eq!(kept, expected.iter().map(OsString::from).collect::<Vec<_>>());
        };
        check(
            &["demo", "--compare", "--out", "x", "--docs", "a", "b"],
            &["demo", "--docs", "a", "b"],
        );
        check(&["--json", "train", "w.toml", "--out=x", "-q"], &["train", "w.toml"]);
        check(&["train", "--only", "a", "w.toml", "--only=b", "--resume"], &["train", "w.toml"]);
    }
}
