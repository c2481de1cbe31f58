//! Control groups with real processes. Where this machine lets us make no groups, each test says
//! so and ends.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers are tests too")]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cotenant_device::{CgroupError, Cgroups, CpuLimits, Group};
use cotenant_types::{Mebibytes, Share};

const WAIT_MAX: Duration = Duration::from_secs(20);

/// A group of a test, and a process that waits in it for a line before it starts.
struct Fixture {
    cgroups: Cgroups,
    group: Group,
    children: Vec<Child>,
}

fn limits(memory_mib: u64, quota: Option<u32>) -> CpuLimits {
    let share = |per_mille| Share::from_per_mille(per_mille).unwrap();
    CpuLimits {
        memory_max: Mebibytes(memory_mib),
        weight: share(500),
        quota: quota.map(share),
        cores: 2,
    }
}

impl Fixture {
    /// None, said aloud, where no group can be made.
    fn new(test: &str, limits: &CpuLimits) -> Option<Self> {
        let name = format!("test-{test}-{}", std::process::id());
        let made = Cgroups::open().and_then(|cgroups| {
            let group = cgroups.create(&name, limits)?;
            Ok(Self { cgroups, group, children: Vec::new() })
        });
        made.inspect_err(|error| eprintln!("skipped {test}: no control groups here: {error}")).ok()
    }

    /// Starts a shell that runs the script once it is in the group.
    fn start(&mut self, script: &str) {
        let script = format!("read line; {script}");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        self.group.add(child.id()).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        self.children.push(child);
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let ended = self.group.kill_all().and_then(|()| self.group.remove());
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.cgroups.leave_no_trace();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + WAIT_MAX;
    while !is_so() {
        assert!(Instant::now() < end, "waited {WAIT_MAX:?} until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_that_wants_too_much_memory_is_killed_and_counted() {
    let Some(mut fixture) = Fixture::new("oom", &limits(64, None)) else { return };
    // `tail` keeps its whole input in memory, since there is no line in it.
    fixture.start("head -c 300000000 /dev/zero | tail | wc -c >/dev/null; sleep 1000");
    let group = fixture.group.clone();
    wait_until("a process was killed", || group.read_use().unwrap().oom_kills > 0);
    let used = group.read_use().unwrap();
    assert!(used.memory_peak_bytes > 32 << 20, "{used:?}");
    assert!(used.memory_peak_bytes <= 64 << 20, "{used:?}");
}

#[test]
fn a_quota_holds_a_busy_loop() {
    let Some(mut fixture) = Fixture::new("quota", &limits(64, Some(250))) else { return };
    fixture.start("while :; do :; done");
    let group = fixture.group.clone();
    wait_until("it runs", || group.read_use().unwrap().cpu_usec > 20_000);
    let (start, before) = (Instant::now(), group.read_use().unwrap());
    std::thread::sleep(Duration::from_millis(1_200));
    let (elapsed, after) = (start.elapsed(), group.read_use().unwrap());
    let rate = (after.cpu_usec - before.cpu_usec) as f64 / elapsed.as_micros() as f64;
    // A quarter of two cores is half a core; a busy machine may give it less, never more.
    assert!(rate < 0.65, "the loop had {rate:.2} cores");
    assert!(after.throttled_usec > 0 || rate < 0.5, "{after:?}");
    group.set(&limits(64, None)).unwrap();
    let resized = group.read_use().unwrap();
    wait_until("it runs on", || group.read_use().unwrap().cpu_usec > resized.cpu_usec + 50_000);
}

#[test]
fn killing_leaves_nobody() {
    let Some(mut fixture) = Fixture::new("kill", &limits(64, None)) else { return };
    fixture.start("sleep 1000 & sleep 1000 & (trap '' TERM; sleep 1000) & while :; do :; done");
    fixture.start("while :; do sleep 0.001; done");
    let group = fixture.group.clone();
    wait_until("all have started", || group.procs().unwrap().len() >= 5);
    group.kill_all().unwrap();
    assert_eq!(group.procs().unwrap(), []);
    group.kill_all().unwrap();
}

#[test]
fn groups_are_found_listed_and_removed() {
    let Some(fixture) = Fixture::new("list", &limits(64, Some(500))) else { return };
    let (cgroups, group) = (&fixture.cgroups, &fixture.group);
    assert!(cgroups.list("test-list-").unwrap().iter().any(|name| name == group.name()));
    assert!(cgroups.list("nobody-").unwrap().is_empty());
    assert_eq!(cgroups.find(group.name()).unwrap().as_ref(), Some(group));
    let again = cgroups.create(group.name(), &limits(32, None)).unwrap();
    assert_eq!(&again, group);
    group.remove().unwrap();
    group.remove().unwrap();
    group.kill_all().unwrap();
    assert_eq!(group.procs().unwrap(), []);
    assert_eq!(cgroups.find(group.name()).unwrap(), None);
}

#[test]
fn limits_below_what_is_in_use_are_refused() {
    let Some(mut fixture) = Fixture::new("lower", &limits(256, None)) else { return };
    // The shell keeps what it has read, and then waits.
    fixture.start("kept=$(head -c 40000000 /dev/zero | tr '\\0' a); sleep 1000");
    let group = fixture.group.clone();
    wait_until("memory is in use", || group.read_use().unwrap().memory_bytes > 40_000_000);
    match group.set(&limits(1, None)) {
        Err(CgroupError::MemoryInUse { wished, .. }) => assert_eq!(wished, Mebibytes(1)),
        other => panic!("{other:?}"),
    }
    group.set(&limits(512, None)).unwrap();
}

#[test]
fn a_group_with_processes_stays() {
    let Some(mut fixture) = Fixture::new("busy", &limits(64, None)) else { return };
    fixture.start("sleep 1000");
    assert!(matches!(fixture.group.remove(), Err(CgroupError::Folder { .. })));
    assert!(!fixture.group.procs().unwrap().is_empty());
}
