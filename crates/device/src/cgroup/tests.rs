//! Names, and version 2's files in a folder that only looks like its hierarchy.

use std::fs;
use std::path::Path;

use cotenant_types::{Mebibytes, Share};

use super::*;

fn limits(memory_mib: u64, quota: Option<u32>) -> CpuLimits {
    let share = |per_mille| Share::from_per_mille(per_mille).unwrap();
    CpuLimits {
        memory_max: Mebibytes(memory_mib),
        weight: share(500),
        quota: quota.map(share),
        cores: 2,
    }
}

#[test]
fn names_cannot_leave_the_folder() {
    let check =
        |name: &str, is_good: bool| assert_eq!(check_name(name).is_ok(), is_good, "{name:?}");
    check("job-7-1_a", true);
    check(&"a".repeat(96), true);
    check("", false);
    check("..", false);
    check("a/b", false);
    check("memory.max", false);
    check("tasks", false);
    check(&"a".repeat(97), false);
}

/// A folder that looks like version 2's hierarchy, where this process is in `service`.
fn fake(controllers: &str, is_shared: bool) -> (tempfile::TempDir, Mounts) {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("service");
    let this = std::process::id();
    for group in [own.clone(), own.join(PARENT), own.join(PARENT).join("job-1")] {
        fs::create_dir(&group).unwrap();
        let procs = format!("{this}\n{}", if is_shared { "1\n" } else { "" });
        fs::write(group.join("cgroup.procs"), procs).unwrap();
        fs::write(group.join("cgroup.type"), "domain\n").unwrap();
        fs::write(group.join("cgroup.controllers"), controllers).unwrap();
        fs::write(group.join("cgroup.subtree_control"), "").unwrap();
        fs::write(group.join("memory.current"), "5242881\n").unwrap();
        fs::write(group.join("memory.stat"), "anon 4000\nfile 9000\nshmem 500\n").unwrap();
        fs::write(group.join("memory.swap.max"), "max\n").unwrap();
        fs::write(group.join("cpu.stat"), "usage_usec 7\nthrottled_usec 3\n").unwrap();
        fs::write(group.join("memory.events"), "oom 9\noom_kill 2\n").unwrap();
        fs::write(group.join("cgroup.kill"), "").unwrap();
    }
    let mountinfo = format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw", folder.path().display());
    let mounts = Mounts::parse(&mountinfo, "0::/service");
    (folder, mounts)
}

#[test]
fn version_two_is_told_the_same_limits() {
    let (folder, mounts) = fake("cpuset cpu io memory pids\n", false);
    let own = folder.path().join("service");
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let cgroups = Cgroups::within(&mounts).unwrap();
    let group = cgroups.create("job-1", &limits(64, Some(250))).unwrap();
    let job = own.join("cotenant").join("job-1");
    assert_eq!(text(&own.join("cotenant-self/cgroup.procs")), std::process::id().to_string());
    assert_eq!(text(&own.join("cgroup.subtree_control")), "+cpu +memory");
    assert_eq!(text(&own.join("cotenant/cgroup.subtree_control")), "+cpu +memory");
    assert_eq!(text(&job.join("memory.max")), (64 << 20).to_string());
    assert_eq!(text(&job.join("memory.swap.max")), "0");
    assert_eq!(text(&job.join("cpu.weight")), "5000");
    assert_eq!(text(&job.join("cpu.max")), "50000 100000");
    assert!(!job.join("memory.oom.group").exists(), "a kernel without the file is not told");
    group.set(&limits(128, None)).unwrap();
    assert_eq!(text(&job.join("cpu.max")), "max 100000");
    assert_eq!(text(&job.join("cpu.weight")), "500", "without a quota nobody is favoured");
    let refused = group.set(&limits(5, None)).unwrap_err();
    assert!(refused.to_string().contains("uses 6MiB"), "{refused}");
    let used = GroupUse {
        cpu_usec: 7,
        throttled_usec: 3,
        memory_bytes: 5_242_881,
        memory_held_bytes: 4_500,
        memory_peak_bytes: 5_242_881,
        oom_kills: 2,
    };
    assert_eq!(group.read_use().unwrap(), used);
    assert_eq!(cgroups.list("").unwrap(), ["job-1"]);
    fs::write(job.join("cgroup.procs"), "").unwrap();
    group.kill_all().unwrap();
}

#[test]
fn version_two_says_why_it_cannot() {
    let check = |controllers: &str, is_shared: bool, own: &str, expected: &str| {
        let (folder, mounts) = fake(controllers, is_shared);
        fs::write(folder.path().join("service/cgroup.subtree_control"), own).unwrap();
        let message =
            Cgroups::within(&mounts).map_or_else(|error| error.to_string(), |_| "ready".into());
        assert!(message.contains(expected), "{message}");
    };
    check("cpu memory", false, "", "ready");
    check("cpu memory", true, "", "holds 1 other processes; give this program a group");
    check("cpu memory", true, "memory cpu\n", "ready");
    check("pids memory", false, "", "does not have the controllers cpu;");
    check("", false, "", "controllers cpu, memory;");
    let nothing = Cgroups::within(&Mounts::default()).unwrap_err().to_string();
    assert!(nothing.contains("cpu, cpuacct, memory, freezer are not mounted"), "{nothing}");
}

#[test]
fn a_group_that_others_limit_has_no_limits_of_ours() {
    let (folder, mounts) = fake("cpu memory", false);
    let group = Cgroups::within(&mounts).unwrap().create_unlimited("job-1").unwrap();
    let job = folder.path().join("service/cotenant/job-1");
    assert_eq!(group.unified_folder(), Some(job.as_path()));
    for file in ["memory.max", "cpu.max", "cpu.weight"] {
        assert!(!job.join(file).exists(), "{file}");
    }
}
