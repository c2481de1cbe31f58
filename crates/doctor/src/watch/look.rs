//! One look at every thread of a program.

use std::collections::HashMap;
use std::io;

use super::calls::{CallClass, FileKind, class, file_kind, leads_away, reading, writing};
use super::proc::{InCall, Proc, Stat};
use super::tree::Tree;
use crate::held::{Doing, ThreadSeen, WaitsFor};

/// Connections that are remembered.
const CONNECTIONS_MAX: usize = 4096;

/// What is remembered between looks.
#[derive(Debug, Default)]
pub(super) struct Looker {
    /// Whether a connection, by its number, leads to another machine.
    remote: HashMap<String, bool>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) threads: Vec<ThreadSeen>,
    /// Files that threads wait to write: process and number of the open file.
    pub(super) written: Vec<(u32, u64)>,
}

/// A thread of a process.
#[derive(Clone, Copy)]
struct Who {
    pid: u32,
    tid: u32,
}

impl Looker {
    /// Looks at every thread of the tree.
    pub(super) fn look(&mut self, tree: &mut Tree) -> Seen {
        let mut seen = Seen::default();
        let Tree { proc, processes, .. } = tree;
        for (&pid, process) in processes.iter_mut() {
            process.looks += 1;
            for (&tid, thread) in &process.threads {
                let Some(stat) = proc.thread_stat(pid, tid) else { continue };
                let who = Who { pid, tid };
                let (doing, file) = match self.doing(proc, who, &stat) {
                    Ok(found) => found,
                    Err(_) => {
                        process.denials = process.denials.saturating_add(1);
                        (by_state(stat.state), None)
                    }
                };
                let doing = match doing {
                    Doing::Waits(WaitsFor::Several { .. }) => {
                        let has_network = process.has_network;
                        Doing::Waits(WaitsFor::Several { has_network })
                    }
                    other => other,
                };
                if doing == Doing::WritesFile {
                    seen.written.extend(file.map(|file| (pid, file)));
                }
                let stands_by = matches!(doing, Doing::Waits(WaitsFor::Child) | Doing::Sleeps);
                process.stood_by += u64::from(tid == pid && stands_by);
                let cpu_ns = stat.user_ns + stat.system_ns;
                let is_reader = thread.is_reader;
                seen.threads.push(ThreadSeen { pid, tid, doing, cpu_ns, is_reader });
            }
        }
        seen
    }

    /// Looks which processes have connections to other machines.
    pub(super) fn look_for_network(&mut self, tree: &mut Tree) {
        /// Open files of a process that are looked at.
        const FILES_MAX: usize = 256;
        let Tree { proc, processes, .. } = tree;
        for (&pid, process) in processes.iter_mut() {
            let files = proc.open_files(pid, FILES_MAX);
            process.has_network =
                files.iter().any(|file| self.kind(proc, pid, u64::from(*file)) == FileKind::Remote);
        }
    }

    /// What a thread does, and the open file that it does it with.
    fn doing(&mut self, proc: &Proc, who: Who, stat: &Stat) -> io::Result<(Doing, Option<u64>)> {
        if stat.state == b'R' {
            return Ok((Doing::Runs, None));
        }
        if !matches!(stat.state, b'S' | b'D') {
            return Ok((Doing::Unknown, None));
        }
        let (number, arguments) = match proc.in_call(who.pid, who.tid) {
            Ok(InCall::Call { number, arguments }) => (number, arguments),
            Ok(InCall::None) => return Ok((Doing::Runs, None)),
            Ok(InCall::Fault) => return Ok((by_state(stat.state), None)),
            // It is gone, which the next look sees.
            Err(error) if is_gone(&error) => return Ok((Doing::Unknown, None)),
            Err(error) => return Err(error),
        };
        let file = Some(arguments[0]);
        Ok(match class(number, arguments) {
            CallClass::Read => (reading(self.kind(proc, who.pid, arguments[0])), file),
            CallClass::Write => {
                (writing(self.kind(proc, who.pid, arguments[0]), arguments[0]), file)
            }
            CallClass::Sync => (Doing::WritesFile, file),
            CallClass::Change => (Doing::WritesFile, None),
            CallClass::Open => (Doing::OpensFile, None),
            CallClass::Futex => (Doing::Waits(WaitsFor::Thread), None),
            CallClass::Child => (Doing::Waits(WaitsFor::Child), None),
            CallClass::Several { has_files: true } => {
                (Doing::Waits(WaitsFor::Several { has_network: false }), None)
            }
            CallClass::Several { has_files: false } | CallClass::Sleep => (Doing::Sleeps, None),
            CallClass::Connect => (Doing::Network, None),
            CallClass::Other => (Doing::Unknown, None),
        })
    }

    fn kind(&mut self, proc: &Proc, pid: u32, file: u64) -> FileKind {
        let Some(link) = proc.link(pid, file) else { return FileKind::Other };
        file_kind(&link, |number| {
            if let Some(known) = self.remote.get(number) {
                return *known;
            }
            let tables = ["tcp", "tcp6", "udp", "udp6"];
            let is_remote =
                tables.iter().any(|kind| leads_away(&proc.connections(pid, kind), number));
            if self.remote.len() >= CONNECTIONS_MAX {
                self.remote.clear();
            }
            self.remote.insert(number.to_owned(), is_remote);
            is_remote
        })
    }
}

/// What a state alone says: only a disk, or what behaves like one, makes a thread wait so deeply.
fn by_state(state: u8) -> Doing {
    match state {
        b'R' => Doing::Runs,
        b'D' => Doing::ReadsFile,
        _ => Doing::Unknown,
    }
}

/// Whether a thread ended between two looks: no such process, or no such file.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A folder like the system's, with one process whose calls may not be looked at.
    fn closed(root: &Path, state: char) {
        let task = root.join("7/task/7");
        fs::create_dir_all(&task).unwrap();
        let line = format!("7 (x) {state} 1 0 0 0 0 0 0 0 0 0 5 5 0 0 20 0 1 0 99 0 0");
        fs::write(root.join("7/stat"), &line).unwrap();
        fs::write(task.join("stat"), &line).unwrap();
        // A folder where a file should be cannot be read, whoever asks.
        fs::create_dir_all(task.join("syscall")).unwrap();
    }

    #[test]
    fn where_calls_may_not_be_looked_at_the_state_counts() {
        for (state, expected) in
            [('R', Doing::Runs), ('D', Doing::ReadsFile), ('S', Doing::Unknown)]
        {
            let root = tempfile::tempdir().unwrap();
            closed(root.path(), state);
            let mut tree = Tree::new(Proc::new(root.path()), 7);
            tree.refresh();
            for _ in 0..5 {
                let seen = Looker::default().look(&mut tree);
                assert_eq!(seen.threads[0].doing, expected, "{state}");
            }
            assert_eq!(tree.processes[&7].is_denied(), state != 'R');
        }
    }
}
