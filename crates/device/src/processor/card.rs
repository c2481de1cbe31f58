//! Describes the processor as a card: what of the machine this process may use.

use std::path::PathBuf;
use std::{fs, thread};

use cotenant_types::{Bytes, Card, CardId, CardKind, Mebibytes, NodeName, Site};
use thiserror::Error;

use crate::cgroup::{Cgroups, Mounts};
use crate::rungs::{Capabilities, rungs};

/// The amount of memory cannot be learnt.
#[derive(Debug, Error)]
#[error("/proc/meminfo has no line MemTotal; the CPU is a card on Linux only")]
pub struct NoMemory;

/// The CPU card of this machine, and what there is to say about it.
pub(crate) fn find(node: &NodeName) -> Result<(Card, Vec<String>), NoMemory> {
    let meminfo = fs::read_to_string("/proc/meminfo").map_err(|_| NoMemory)?;
    let machine = meminfo_bytes(&meminfo, "MemTotal").ok_or(NoMemory)?;
    let usable = limits().into_iter().map(|limit| limit.max).fold(machine, Bytes::min);
    let mut notes = Vec::new();
    let control_groups = match Cgroups::probe() {
        Ok(_) => true,
        Err(error) => {
            notes.push(format!("no control groups for the CPU card: {error}"));
            false
        }
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let capabilities = Capabilities { processor: true, control_groups, ..Capabilities::default() };
    let card = Card {
        id: "cpu-0".parse::<CardId>().expect("a plain name is a label"),
        node: node.clone(),
        index: 0,
        kind: CardKind::Cpu,
        model: model(&cpuinfo),
        memory: for_jobs(usable),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        site: Site::default(),
        rungs: rungs(&capabilities),
        mig: None,
    };
    Ok((card, notes))
}

/// What this machine is called. Letters that a node's name may not have become `-`.
pub(crate) fn node_name() -> NodeName {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).take(NAME_LEN_MAX).collect();
    let nameless = || "node".parse().expect("a plain name is a label");
    name.parse().unwrap_or_else(|_| nameless())
}

/// Most letters of a machine's name that are kept.
const NAME_LEN_MAX: usize = 64;

/// A limit on memory that somebody has set around this process, and what counts against it.
#[derive(Clone, Debug)]
pub(super) struct MemoryLimit {
    pub(super) max: Bytes,
    /// The file with the bytes in use.
    pub(super) used: PathBuf,
    /// The file that says how many of them are cached files, which go when memory is wanted.
    pub(super) stat: PathBuf,
    /// The key of that number.
    pub(super) cached: &'static str,
}

/// Limits of the control groups that this process is in, innermost first.
pub(super) fn limits() -> Vec<MemoryLimit> {
    let Ok(mounts) = Mounts::read() else {
        return Vec::new();
    };
    let v1 = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];
    let v2 = ["memory.max", "memory.current", "inactive_file"];
    let places = [(mounts.v1("memory"), v1), (mounts.v2(), v2)];
    let mut limits = Vec::new();
    for (place, [max, used, cached]) in places {
        for folder in place.into_iter().flat_map(|place| place.upwards()) {
            let text = fs::read_to_string(folder.join(max)).unwrap_or_default();
            // Without a limit, v2 says "max", and v1 a number near 2^63 that is no limit either.
            if let Ok(bytes) = text.trim().parse() {
                let (used, stat) = (folder.join(used), folder.join("memory.stat"));
                limits.push(MemoryLimit { max: Bytes(bytes), used, stat, cached });
            }
        }
    }
    limits
}

/// What jobs may have of the usable memory: the rest, a sixteenth of it but at least 256 MiB and
/// at most 4 GiB, is left to the daemon and the system.
fn for_jobs(usable: Bytes) -> Mebibytes {
    let usable = usable.0 >> 20;
    let reserve = (usable / 16).clamp(256, 4096);
    Mebibytes(usable.saturating_sub(reserve).max(1))
}

/// A number of `/proc/meminfo`, which gives KiB.
pub(super) fn meminfo_bytes(meminfo: &str, key: &str) -> Option<Bytes> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024).map(Bytes)
}

/// The processor's name; some architectures give none.
fn model(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
    match name {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("{} processor", std::env::consts::ARCH),
    }
}

#[cfg(test)]
mod tests {
    use cotenant_types::Rung;

    use super::*;

    #[test]
    fn this_machine_is_a_card() {
        let (card, notes) = find(&node_name()).unwrap();
        assert!(card.cores >= 1 && card.memory.0 >= 1, "{card:?}");
        assert_eq!(card.rungs.last(), Some(&Rung::Worker));
        assert_eq!(card.rungs.contains(&Rung::Cgroup), notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn some_memory_is_kept_back() {
        let check = |usable_mib: u64, expected: u64| {
            assert_eq!(for_jobs(Bytes(usable_mib << 20)), Mebibytes(expected), "{usable_mib} MiB");
        };
        check(0, 1);
        check(100, 1);
        check(1_024, 768);
        check(16_384, 15_360);
        check(1_048_576, 1_044_480);
    }

    #[test]
    fn proc_files_are_read_or_passed_over() {
        let meminfo = "MemTotal:       24684084 kB\nMemFree: 1 kB\nHugePages_Total: 0\n";
        assert_eq!(meminfo_bytes(meminfo, "MemTotal"), Some(Bytes(24_684_084 * 1024)));
        assert_eq!(meminfo_bytes(meminfo, "Mem"), None);
        assert_eq!(meminfo_bytes(meminfo, "HugePages_Total"), None);
        assert_eq!(meminfo_bytes("MemTotal: 99999999999999999999 kB", "MemTotal"), None);
        assert_eq!(model("vendor_id : x\nmodel name\t: Some CPU @ 2GHz\n"), "Some CPU @ 2GHz");
        assert!(model("Features : fp asimd\n").ends_with(" processor"));
    }
}
