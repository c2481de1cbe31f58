//! Reads what the system tells of processes and threads. What is gone or may not be read is none.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The folder in which the system tells of processes.
#[derive(Clone, Debug)]
pub(super) struct Proc {
    root: PathBuf,
    ns_per_tick: u64,
}

/// A thread's or a process's line of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// `R`, `S`, `D` and so on.
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) user_ns: u64,
    pub(super) system_ns: u64,
    /// When it began; with its number, that tells it from all others.
    pub(super) start: u64,
}

/// What a process read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) reads: u64,
    pub(super) read_bytes: u64,
    pub(super) writes: u64,
    pub(super) written_bytes: u64,
}

/// What the system says of the call that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InCall {
    /// It runs.
    None,
    /// It waits in a call with these arguments.
    Call { number: i64, arguments: [u64; 3] },
    /// It waits, but in no call: for memory.
    Fault,
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenFile {
    /// How far it is read or written.
    pub(super) position: u64,
    pub(super) is_written: bool,
    pub(super) is_appended: bool,
}

impl Proc {
    pub(super) fn new(root: &Path) -> Self {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Self { root: root.to_owned(), ns_per_tick: 1_000_000_000 / ticks }
    }

    pub(super) fn process(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }

    fn thread(&self, pid: u32, tid: u32) -> PathBuf {
        self.process(pid).join("task").join(tid.to_string())
    }

    /// Threads of a process, at most so many.
    pub(super) fn threads(&self, pid: u32, max: usize) -> Vec<u32> {
        numbers(&self.process(pid).join("task")).take(max).collect()
    }

    /// Children of a thread; none also where the system does not say.
    pub(super) fn children(&self, pid: u32, tid: u32) -> Vec<u32> {
        let text = fs::read_to_string(self.thread(pid, tid).join("children")).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// Whether the system tells of children.
    pub(super) fn tells_children(&self) -> bool {
        let own = std::process::id();
        self.thread(own, own).join("children").exists()
    }

    /// Every process with its parent: slow where there are many.
    pub(super) fn parents(&self) -> Vec<(u32, u32)> {
        let stat = |pid| Some((pid, self.process_stat(pid)?.parent));
        numbers(&self.root).filter_map(stat).collect()
    }

    pub(super) fn process_stat(&self, pid: u32) -> Option<Stat> {
        self.stat(&self.process(pid).join("stat"))
    }

    pub(super) fn thread_stat(&self, pid: u32, tid: u32) -> Option<Stat> {
        self.stat(&self.thread(pid, tid).join("stat"))
    }

    fn stat(&self, path: &Path) -> Option<Stat> {
        parse_stat(&read(path).ok()?, self.ns_per_tick)
    }

    /// The call that a thread is in.
    ///
    /// # Errors
    /// If it may not be looked at, or is gone.
    pub(super) fn in_call(&self, pid: u32, tid: u32) -> io::Result<InCall> {
        let text = read(&self.thread(pid, tid).join("syscall"))?;
        Ok(parse_call(&String::from_utf8_lossy(&text)))
    }

    /// What is behind an open file's number: a path, or a word with the system's own number.
    pub(super) fn link(&self, pid: u32, file: u64) -> Option<String> {
        let link = fs::read_link(self.process(pid).join("fd").join(file.to_string())).ok()?;
        Some(link.to_string_lossy().into_owned())
    }

    /// Numbers of open files, at most so many.
    pub(super) fn open_files(&self, pid: u32, max: usize) -> Vec<u32> {
        numbers(&self.process(pid).join("fd")).take(max).collect()
    }

    pub(super) fn open_file(&self, pid: u32, file: u64) -> Option<OpenFile> {
        let path = self.process(pid).join("fdinfo").join(file.to_string());
        parse_open_file(&fs::read_to_string(path).ok()?)
    }

    /// What a process read and wrote.
    ///
    /// # Errors
    /// If it may not be looked at, or is gone.
    pub(super) fn traffic(&self, pid: u32) -> io::Result<Traffic> {
        Ok(parse_traffic(&fs::read_to_string(self.process(pid).join("io"))?))
    }

    /// How often a thread read.
    pub(super) fn thread_reads(&self, pid: u32, tid: u32) -> Option<u64> {
        let text = fs::read_to_string(self.thread(pid, tid).join("io")).ok()?;
        Some(parse_traffic(&text).reads)
    }

    /// How long a thread was ready to run and had no processor.
    pub(super) fn ready_ns(&self, pid: u32, tid: u32) -> Option<u64> {
        let text = fs::read_to_string(self.thread(pid, tid).join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// How often a thread stopped by itself.
    pub(super) fn switches(&self, pid: u32, tid: u32) -> Option<u64> {
        let text = fs::read_to_string(self.thread(pid, tid).join("status")).ok()?;
        let rest = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        rest.trim().parse().ok()
    }

    /// Whether any of these words is in the names of files that a process has mapped.
    pub(super) fn maps(&self, pid: u32, words: &[&str]) -> Option<Vec<bool>> {
        let text = fs::read_to_string(self.process(pid).join("maps")).ok()?;
        Some(words.iter().map(|word| text.contains(word)).collect())
    }

    /// What a process's connections are, of these kinds: `unix`, `tcp`, `tcp6`, `udp`, `udp6`.
    pub(super) fn connections(&self, pid: u32, kind: &str) -> String {
        fs::read_to_string(self.process(pid).join("net").join(kind)).unwrap_or_default()
    }
}

/// Most bytes of a line of figures.
const LINE_BYTES_MAX: u64 = 4096;

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    fs::File::open(path)?.take(LINE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn numbers(folder: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A program's name may hold anything, so that figures begin after the last bracket.
fn parse_stat(line: &[u8], ns_per_tick: u64) -> Option<Stat> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: u32::try_from(number(1)?).ok()?,
        user_ns: number(11)?.saturating_mul(ns_per_tick),
        system_ns: number(12)?.saturating_mul(ns_per_tick),
        start: number(19)?,
    })
}

fn parse_call(text: &str) -> InCall {
    let mut words = text.split_ascii_whitespace();
    let Some(number) = words.next().and_then(|word| word.parse::<i64>().ok()) else {
        return InCall::None;
    };
    if number < 0 {
        return InCall::Fault;
    }
    let mut argument = || {
        let word = words.next().and_then(|word| word.strip_prefix("0x"));
        word.and_then(|word| u64::from_str_radix(word, 16).ok()).unwrap_or(0)
    };
    InCall::Call { number, arguments: [argument(), argument(), argument()] }
}

fn parse_open_file(text: &str) -> Option<OpenFile> {
    /// The flags in octal, as the system writes them.
    const ACCESS: u64 = 0o3;
    const APPEND: u64 = 0o2000;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let flags = u64::from_str_radix(field("flags:")?, 8).ok()?;
    Some(OpenFile {
        position: field("pos:")?.parse().ok()?,
        is_written: flags & ACCESS != 0,
        is_appended: flags & APPEND != 0,
    })
}

fn parse_traffic(text: &str) -> Traffic {
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name));
        rest.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    Traffic {
        reads: field("syscr:"),
        read_bytes: field("rchar:"),
        writes: field("syscw:"),
        written_bytes: field("wchar:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let line = b"7 (a) R b) D 3 0 0 0 0 0 0 0 0 0 250 50 0 0 20 0 1 0 12345 0 0";
        let stat = parse_stat(line, 10).unwrap();
        let expected = Stat { state: b'D', parent: 3, user_ns: 2500, system_ns: 500, start: 12345 };
        assert_eq!(stat, expected);
        assert_eq!(parse_stat(b"7 (a) R", 10), None);
        assert_eq!(parse_stat(b"", 10), None);
        assert_eq!(parse_call("running\n"), InCall::None);
        assert_eq!(parse_call("-1 0x7f 0x7e\n"), InCall::Fault);
        let call = InCall::Call { number: 0, arguments: [5, 0x7ff0, 4096] };
        assert_eq!(parse_call("0 0x5 0x7ff0 0x1000 0x0 0x0 0x0 0x7ffe 0x7f00\n"), call);
        assert_eq!(parse_call(""), InCall::None);
        let open = parse_open_file("pos:\t4096\nflags:\t0102001\nmnt_id:\t1\n").unwrap();
        assert_eq!(open, OpenFile { position: 4096, is_written: true, is_appended: true });
        assert_eq!(parse_open_file("pos:\tx"), None);
        let traffic = parse_traffic("rchar: 10\nwchar: 20\nsyscr: 1\nsyscw: 2\nread_bytes: 9\n");
        let expected = Traffic { reads: 1, read_bytes: 10, writes: 2, written_bytes: 20 };
        assert_eq!(traffic, expected);
    }

    #[test]
    fn this_process_is_seen() {
        let proc = Proc::new(Path::new("/proc"));
        let own = std::process::id();
        assert!(proc.process_stat(own).unwrap().start > 0);
        assert!(!proc.threads(own, 100).is_empty());
        assert!(proc.threads(u32::MAX, 100).is_empty());
        assert!(proc.parents().iter().any(|(pid, _)| *pid == own));
        assert!(!proc.maps(own, &["libc.so", "no such file"]).unwrap()[1]);
    }
}
