//! The processes of a program: its root and whatever descends from it, as they come and go.
//!
//! A process stays known when its parent ends before it. What each used is taken in as it grows, so
//! nothing is kept of those that are gone.

use std::collections::BTreeMap;
use std::io;

use super::proc::{Proc, Traffic};
use crate::observed::ProcessCounts;

/// Processes that are looked at.
const PROCESSES_MAX: usize = 512;
/// Threads of a process that are looked at.
const THREADS_MAX: usize = 1024;

/// Longest line of ancestors that is looked along: numbers are read while processes come and go, so
/// that they might even form a ring.
const ANCESTORS_MAX: usize = 64;

/// A thread that reads more often than this between two counts brings data.
const READS_OF_A_READER: u64 = 2;

/// The processes of a program.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) proc: Proc,
    tells_children: bool,
    root: u32,
    worker: u32,
    pub(super) processes: BTreeMap<u32, Process>,
    /// Whether there were more than are looked at.
    pub(super) is_cut: bool,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) parent: u32,
    start: u64,
    pub(super) threads: BTreeMap<u32, Thread>,
    counts: ProcessCounts,
    /// Looks in which its first thread waited for a child, or slept.
    pub(super) stood_by: u64,
    pub(super) looks: u64,
    /// How often it could not be looked at.
    pub(super) denials: u32,
    /// Whether one of its connections leads to another machine.
    pub(super) has_network: bool,
}

/// A thread.
#[derive(Debug, Default)]
pub(super) struct Thread {
    reads: Option<u64>,
    switches: u64,
    ready_ns: u64,
    pub(super) is_reader: bool,
}

/// What came to a thread since it was counted last.
struct Grown {
    switches: u64,
    ready_ns: u64,
}

impl Tree {
    pub(super) fn new(proc: Proc, root: u32) -> Self {
        let tells_children = proc.tells_children();
        let mut tree = Self {
            proc,
            tells_children,
            root,
            worker: root,
            processes: BTreeMap::new(),
            is_cut: false,
        };
        tree.meet(root);
        tree
    }

    /// Finds who came and who went.
    pub(super) fn refresh(&mut self) {
        let proc = &self.proc;
        self.processes.retain(|pid, process| {
            let stat = proc.process_stat(*pid);
            stat.is_some_and(|stat| stat.start == process.start && stat.state != b'Z')
        });
        let parents = if self.tells_children { Vec::new() } else { self.proc.parents() };
        let mut open: Vec<u32> = self.processes.keys().copied().collect();
        while let Some(pid) = open.pop() {
            let Some(process) = self.processes.get_mut(&pid) else { continue };
            let tids = self.proc.threads(pid, THREADS_MAX + 1);
            self.is_cut |= tids.len() > THREADS_MAX;
            process.threads.retain(|tid, _| tids.contains(tid));
            for tid in tids.iter().take(THREADS_MAX) {
                process.threads.entry(*tid).or_default();
            }
            let children: Vec<u32> = match self.tells_children {
                true => tids.iter().flat_map(|tid| self.proc.children(pid, *tid)).collect(),
                false => {
                    let own = parents.iter().filter(|(_, parent)| *parent == pid);
                    own.map(|(child, _)| *child).collect()
                }
            };
            open.extend(children.into_iter().filter(|child| self.meet(*child)));
        }
    }

    /// Takes in what every process used since the last time, and gives it by process.
    pub(super) fn count(&mut self) -> Vec<(u32, ProcessCounts)> {
        let mut grown = Vec::new();
        for (&pid, process) in &mut self.processes {
            let Some(stat) = self.proc.process_stat(pid) else { continue };
            let traffic = self.proc.traffic(pid);
            let is_denied =
                matches!(&traffic, Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
            process.denials += u32::from(is_denied);
            let (mut switches, mut ready_ns) = (0, 0);
            for (&tid, thread) in &mut process.threads {
                let grown = thread.count(&self.proc, pid, tid);
                switches += grown.switches;
                ready_ns += grown.ready_ns;
            }
            let Traffic { reads, read_bytes, writes, written_bytes } = traffic.unwrap_or_default();
            let before = process.counts;
            let now = ProcessCounts {
                user_ns: stat.user_ns.max(before.user_ns),
                system_ns: stat.system_ns.max(before.system_ns),
                reads: reads.max(before.reads),
                read_bytes: read_bytes.max(before.read_bytes),
                writes: writes.max(before.writes),
                written_bytes: written_bytes.max(before.written_bytes),
                switches: before.switches + switches,
                ready_ns: before.ready_ns + ready_ns,
            };
            process.counts = now;
            grown.push((pid, now.since(before)));
        }
        self.worker = self.find_worker();
        grown
    }

    /// The process that does the work: the root, unless it only stands by while a child does. It is
    /// found out whenever processes are counted.
    pub(super) fn worker(&self) -> u32 {
        if self.processes.contains_key(&self.worker) { self.worker } else { self.root }
    }

    fn find_worker(&self) -> u32 {
        /// Of so many looks, one may be at something else.
        const LOOKS_ELSEWHERE: u64 = 20;
        let below = self.cpu_below();
        let cpu_below = |pid: &u32| below.get(pid).copied().unwrap_or(0);
        let mut pid = match self.processes.contains_key(&self.root) {
            true => self.root,
            // It ended before its children did.
            false => self.processes.keys().copied().max_by_key(cpu_below).unwrap_or(self.root),
        };
        for _ in 0..ANCESTORS_MAX {
            let Some(process) = self.processes.get(&pid) else { break };
            let elsewhere = process.looks - process.stood_by.min(process.looks);
            let stands_by = elsewhere <= process.looks / LOOKS_ELSEWHERE
                && process.counts.cpu_ns() <= cpu_below(&pid) / LOOKS_ELSEWHERE;
            let own = self.processes.iter().filter(|(_, child)| child.parent == pid);
            match own.map(|(child, _)| *child).max_by_key(cpu_below) {
                Some(child) if stands_by => pid = child,
                Some(_) | None => break,
            }
        }
        pid
    }

    /// Processor time of each process together with all that descend from it.
    fn cpu_below(&self) -> BTreeMap<u32, u64> {
        let mut below: BTreeMap<u32, u64> = BTreeMap::new();
        for (&pid, process) in &self.processes {
            let mut at = pid;
            for _ in 0..ANCESTORS_MAX {
                *below.entry(at).or_default() += process.counts.cpu_ns();
                match self.processes.get(&at) {
                    Some(process) if process.parent != at => at = process.parent,
                    Some(_) | None => break,
                }
            }
        }
        below
    }

    /// Whether a process is new and is looked at from now on.
    fn meet(&mut self, pid: u32) -> bool {
        if self.processes.contains_key(&pid) {
            return false;
        }
        let Some(stat) = self.proc.process_stat(pid) else { return false };
        if self.processes.len() >= PROCESSES_MAX {
            self.is_cut = true;
            return false;
        }
        let process = Process {
            parent: stat.parent,
            start: stat.start,
            threads: BTreeMap::new(),
            counts: ProcessCounts::default(),
            stood_by: 0,
            looks: 0,
            denials: 0,
            has_network: false,
        };
        self.processes.insert(pid, process);
        true
    }
}

impl Process {
    /// Whether its calls may not be looked at; one that is just ending refuses once or twice.
    pub(super) fn is_denied(&self) -> bool {
        const DENIALS_FEW: u32 = 3;
        self.denials > DENIALS_FEW
    }
}

impl Thread {
    /// Looks how often it read, and gives what else came since the last time.
    fn count(&mut self, proc: &Proc, pid: u32, tid: u32) -> Grown {
        if let Some(reads) = proc.thread_reads(pid, tid) {
            let since = reads.saturating_sub(self.reads.unwrap_or(reads));
            self.is_reader |= since >= READS_OF_A_READER;
            self.reads = Some(reads);
        }
        let switches = proc.switches(pid, tid).unwrap_or(0).max(self.switches);
        let ready_ns = proc.ready_ns(pid, tid).unwrap_or(0).max(self.ready_ns);
        let grown =
            Grown { switches: switches - self.switches, ready_ns: ready_ns - self.ready_ns };
        (self.switches, self.ready_ns) = (switches, ready_ns);
        grown
    }
}
