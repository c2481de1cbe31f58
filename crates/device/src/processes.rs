//! What the processes of this machine use, those that carry a mark in their environment.
//!
//! Whoever starts a program gives it variables, which its children inherit. A child that drops them
//! still has its parent, so that it counts as its nearest ancestor does that carries them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::param::{clock_ticks_per_second, page_size};

/// A process that carries a mark, or descends from one that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedProcess {
    /// Its number, in this program's own count.
    pub pid: u32,
    /// The values of the variables that were asked for, in that order.
    pub marks: Vec<String>,
    /// Microseconds of processor time that it has used, with what those of its children used that
    /// have ended and were waited for.
    pub cpu_usec: u64,
    /// Bytes of memory that are its own: files and memory that it shares are not in it.
    pub memory_bytes: u64,
}

/// What is known of any process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    parent: u32,
    ticks: u64,
    pages: u64,
    marks: Option<Vec<String>>,
}

/// Longest line of ancestors that is looked along: numbers are read one by one while processes come
/// and go, so that they might even form a ring.
const ANCESTORS_MAX: usize = 64;

/// Every process that has all these variables in its environment, or an ancestor that has. One that
/// may not be looked at, or has gone meanwhile, is left out.
pub fn marked_processes(variables: &[&str]) -> Vec<MarkedProcess> {
    within(Path::new("/proc"), variables)
}

fn within(proc: &Path, variables: &[&str]) -> Vec<MarkedProcess> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let seen: BTreeMap<u32, Seen> =
        pids.filter_map(|pid| Some((pid, look(&proc.join(pid.to_string()), variables)?))).collect();
    let usec_per_tick = 1_000_000 / clock_ticks_per_second().max(1);
    let marked = seen.iter().filter_map(|(&pid, process)| {
        Some(MarkedProcess {
            pid,
            marks: marks_of(&seen, pid)?.clone(),
            cpu_usec: process.ticks.saturating_mul(usec_per_tick),
            memory_bytes: process.pages.saturating_mul(page_size() as u64),
        })
    });
    marked.collect()
}

/// Its own marks, or those of its nearest ancestor that has some.
fn marks_of(seen: &BTreeMap<u32, Seen>, pid: u32) -> Option<&Vec<String>> {
    let mut next = seen.get(&pid);
    for _ in 0..ANCESTORS_MAX {
        let process = next?;
        if process.marks.is_some() {
            return process.marks.as_ref();
        }
        next = seen.get(&process.parent);
    }
    None
}

fn look(folder: &Path, variables: &[&str]) -> Option<Seen> {
    let (parent, ticks) = parent_and_ticks(&fs::read_to_string(folder.join("stat")).ok()?)?;
    let pages = own_pages(&fs::read_to_string(folder.join("statm")).ok()?)?;
    // Another user's environment is not to be read, and then it is not known.
    let environment = fs::read(folder.join("environ")).unwrap_or_default();
    let value = |name: &&str| -> Option<String> {
        let all = environment.split(|&byte| byte == 0);
        let mut found = all.filter_map(|it| it.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        Some(String::from_utf8_lossy(found.next()?).into_owned())
    };
    let marks: Option<Vec<String>> = variables.iter().map(value).collect();
    Some(Seen { parent, ticks, pages, marks })
}

/// From a line such as `7 (a name) S 1 …`. The name may hold anything, `)` too, so that what counts
/// begins behind the last one.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let parent = words.get(1)?.parse().ok()?;
    // utime, stime, cutime, cstime; those of children may be negative in form.
    let times = words.get(11..15)?.iter().map(|word| word.parse::<i64>().unwrap_or(0).max(0));
    Some((parent, times.fold(0, |sum: u64, time| sum.saturating_add(time.unsigned_abs()))))
}

/// From a line `size resident shared …`, in pages.
fn own_pages(statm: &str) -> Option<u64> {
    let mut words = statm.split_ascii_whitespace().skip(1);
    let mut next = || words.next()?.parse::<u64>().ok();
    let (resident, shared) = (next()?, next()?);
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const NAMES: [&str; 2] = ["MARK", "NUMBER"];

    /// A process in a folder: its parent, its ticks, its own pages, its environment.
    fn put(proc: &Path, pid: u32, (parent, ticks, pages): (u32, u64, u64), environment: &str) {
        let folder = proc.join(pid.to_string());
        fs::create_dir(&folder).unwrap();
        let zeros = "0 0 0 0 0 0 0 0 0";
        let stat = format!("{pid} (an (odd) name) S {parent} {zeros} {ticks} 1 2 -1 20 0 1 0 99\n");
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join("statm"), format!("900 {} 5 1 0 1 0\n", pages + 5)).unwrap();
        fs::write(folder.join("environ"), environment).unwrap();
    }

    #[test]
    fn marks_are_a_processs_own_or_its_nearest_ancestors() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        put(proc, 1, (0, 5, 5), "PATH=x\0");
        put(proc, 10, (1, 7, 3), "PATH=x\0MARK=a b\0NUMBER=0\0");
        put(proc, 11, (10, 0, 0), "");
        put(proc, 12, (11, 0, 2), "MARK=half\0");
        put(proc, 13, (12, 0, 0), "NUMBER=1\0MARK=inner\0");
        put(proc, 20, (1, 0, 0), "XMARK=a\0NUMBER=0\0MARK\0");
        // A ring, as numbers that were given again while they were read might form.
        put(proc, 30, (31, 0, 0), "");
        put(proc, 31, (30, 0, 0), "");
        fs::create_dir(proc.join("self")).unwrap();
        fs::create_dir(proc.join("40")).unwrap();
        let tick = 1_000_000 / clock_ticks_per_second();
        let page = page_size() as u64;
        let found = within(proc, &NAMES);
        let shown: Vec<(u32, String, u64, u64)> = found
            .into_iter()
            .map(|it| (it.pid, it.marks.join("/"), it.cpu_usec / tick, it.memory_bytes / page))
            .collect();
        let of = |pid, marks: &str, ticks, pages| (pid, marks.to_owned(), ticks, pages);
        assert_eq!(
            shown,
            [
                of(10, "a b/0", 10, 3),
                of(11, "a b/0", 3, 0),
                of(12, "a b/0", 3, 2),
                of(13, "inner/1", 3, 0)
            ]
        );
    }

    #[test]
    fn lines_that_say_nothing_are_nobody() {
        for stat in ["", "7 (x", "7 (x) S", "7 (x) S 1 2 3", "7 (x) S a 0 0 0 0 0 0 0 0 0 1 1 1 1"]
        {
            assert_eq!(parent_and_ticks(stat), None, "{stat:?}");
        }
        for statm in ["", "1", "1 2", "1 a 2"] {
            assert_eq!(own_pages(statm), None, "{statm:?}");
        }
        assert_eq!(own_pages("9 2 7"), Some(0));
    }

    #[test]
    fn a_real_process_and_its_children_are_found() {
        let value = format!("test-{}", std::process::id());
        // The inner shell has no environment of its own, and waits for its input to end.
        let mut child = Command::new("sh")
            .args(["-c", "env -i /bin/sh -c 'echo ready; read line'; true"])
            .envs([("MARK", value.as_str()), ("NUMBER", "3")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let lines = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(lines), &mut line).unwrap();
        let found = marked_processes(&NAMES);
        drop(child.stdin.take());
        child.wait().unwrap();
        let ours: Vec<_> = found.iter().filter(|it| it.marks == [value.as_str(), "3"]).collect();
        assert!(ours.len() >= 2, "{ours:?}");
        assert!(ours.iter().all(|it| it.memory_bytes > 0), "{ours:?}");
        assert!(ours.iter().any(|it| it.pid == child.id()), "{ours:?}");
    }
}
