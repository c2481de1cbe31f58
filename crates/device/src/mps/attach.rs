//! Whether a program that was started is really a client of its group's server, and if not, why.
//!
//! CUDA runs without MPS, and says nothing, where it does not reach the control daemon. So a
//! program is believed to be held only when a server names one of its processes.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::control::Control;
use super::error::MpsError;
use super::facts::{Cuda, PipeSeen, ProcessFacts, look};
use super::program::millis;

/// How long it is paused after the first look; each pause is longer than the one before.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// And the longest pause: a look starts programs and reads what processes have loaded.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A program that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The server's process.
    pub server: u32,
    /// The client's.
    pub client: u32,
}

/// Why a program is not held by MPS.
#[derive(Debug, Error)]
pub enum Unattached {
    /// It is not there any more.
    #[error("the program ended before it used CUDA through MPS")]
    Gone,
    /// It has not loaded the driver's library.
    #[error(
        "after {waited_ms} ms none of the program's processes has loaded libcuda.so, so that it \
         holds a slice of a card and does not use CUDA; check that it is told to use the card"
    )]
    NoCuda {
        /// How long it was waited.
        waited_ms: u64,
    },
    /// It runs as another user than the server.
    #[error(
        "process {pid} runs as user {uid}, but the MPS server serves user {served} alone; start \
         the program as user {served}"
    )]
    WrongUser {
        /// The process.
        pid: u32,
        /// Its user.
        uid: u32,
        /// The server's.
        served: u32,
    },
    /// Its environment does not say where the pipes are.
    #[error(
        "process {pid} has no CUDA_MPS_PIPE_DIRECTORY in its environment, so that it runs without \
         MPS; let whatever starts it pass its environment on"
    )]
    PipeUnset {
        /// The process.
        pid: u32,
    },
    /// The pipes are not where it looks for them.
    #[error(
        "process {pid} does not see the folder {pipe}, so that it runs without MPS; mount it into \
         the program's container under the same path, and share /dev/shm and process numbers with \
         the host (--ipc=host --pid=host)"
    )]
    PipeUnseen {
        /// The process.
        pid: u32,
        /// The group's pipes.
        pipe: String,
    },
    /// All is as it should be, and still no server names it.
    #[error(
        "process {pid} has loaded libcuda.so and sees the pipes, but after {waited_ms} ms no MPS \
         server names it as a client; if it has used the card by now, it runs beside MPS: see the \
         server's log"
    )]
    Beside {
        /// The process.
        pid: u32,
        /// How long it was waited.
        waited_ms: u64,
    },
    /// The server that ran has gone.
    #[error("the MPS server {server} died; its clients have lost their work on the card")]
    ServerDied {
        /// Its process.
        server: u32,
    },
    /// The control daemon cannot be asked.
    #[error("the MPS control daemon cannot be asked for its clients")]
    Control(#[from] MpsError),
}

/// What was seen in one look.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// Servers, each with its clients.
    pub(super) servers: Vec<(u32, Vec<u32>)>,
    /// A server that an earlier look has seen.
    pub(super) earlier: Option<u32>,
    /// The program's processes.
    pub(super) processes: Vec<ProcessFacts>,
}

/// What one look says.
#[derive(Debug)]
pub(super) enum Verdict {
    Attached(Attached),
    /// Waiting changes nothing.
    Never(Unattached),
    /// It may still become a client; the reason holds if it does not.
    NotYet(Unattached),
}

/// Judges what was seen by the group's user, its pipes, and how long it was waited.
pub(super) fn judge(sight: &Sight, (served, pipe): (u32, &str), waited_ms: u64) -> Verdict {
    let is_ours = |pid: u32| sight.processes.iter().any(|process| process.pid == pid);
    for (server, clients) in &sight.servers {
        if let Some(&client) = clients.iter().find(|&&pid| is_ours(pid)) {
            return Verdict::Attached(Attached { server: *server, client });
        }
    }
    if sight.processes.is_empty() {
        return Verdict::Never(Unattached::Gone);
    }
    let is_there = |server: u32| sight.servers.iter().any(|&(pid, _)| pid == server);
    if let Some(server) = sight.earlier.filter(|&server| !is_there(server)) {
        return Verdict::Never(Unattached::ServerDied { server });
    }
    // Those that use CUDA, or might; a shell that started them is of no interest.
    let mut users = sight.processes.iter().filter(|process| process.cuda == Cuda::Loaded);
    let unknown = || sight.processes.iter().find(|process| process.cuda == Cuda::Unknown);
    let Some(user) = users.next().or_else(unknown) else {
        return Verdict::NotYet(Unattached::NoCuda { waited_ms });
    };
    let (pid, uid) = (user.pid, user.uid);
    if uid != served {
        return Verdict::Never(Unattached::WrongUser { pid, uid, served });
    }
    Verdict::NotYet(match user.pipe {
        PipeSeen::Unset => Unattached::PipeUnset { pid },
        PipeSeen::Elsewhere => Unattached::PipeUnseen { pid, pipe: pipe.to_owned() },
        PipeSeen::Ours | PipeSeen::Unknown => Unattached::Beside { pid, waited_ms },
    })
}

/// Looks until the program is a client, or cannot become one, or the time is over.
pub(super) fn wait(
    control: &Control,
    pids: &dyn Fn() -> Vec<u32>,
    limit: Duration,
) -> Result<Attached, Unattached> {
    let began = Instant::now();
    let pipe = control.pipe().display().to_string();
    let (mut earlier, mut pause) = (None, PAUSE_MIN);
    loop {
        let sight = see(control, pids, earlier)?;
        earlier = sight.servers.first().map(|&(server, _)| server).or(earlier);
        match judge(&sight, (control.uid(), &pipe), millis(began.elapsed())) {
            Verdict::Attached(attached) => return Ok(attached),
            Verdict::Never(why) => return Err(why),
            Verdict::NotYet(why) if began.elapsed() >= limit => return Err(why),
            Verdict::NotYet(_) => {
                thread::sleep(pause.min(limit.saturating_sub(began.elapsed())));
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn see(
    control: &Control,
    pids: &dyn Fn() -> Vec<u32>,
    earlier: Option<u32>,
) -> Result<Sight, MpsError> {
    let mut servers = Vec::new();
    for server in control.servers()? {
        servers.push((server, control.clients(server)?));
    }
    // Processes last: a client that was named is then among them, unless it has ended.
    let processes =
        pids().into_iter().filter_map(|pid| look(Path::new("/proc"), pid, control.pipe()));
    Ok(Sight { servers, earlier, processes: processes.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process from `pid uid cuda pipe`.
    fn process(text: &str) -> ProcessFacts {
        let words: Vec<&str> = text.split(' ').collect();
        let cuda = [("cuda", Cuda::Loaded), ("plain", Cuda::Absent), ("hidden", Cuda::Unknown)];
        let pipes = [
            ("ours", PipeSeen::Ours),
            ("elsewhere", PipeSeen::Elsewhere),
            ("unset", PipeSeen::Unset),
            ("hidden", PipeSeen::Unknown),
        ];
        ProcessFacts {
            pid: words[0].parse().unwrap(),
            uid: words[1].parse().unwrap(),
            cuda: cuda.iter().find(|(name, _)| *name == words[2]).unwrap().1,
            pipe: pipes.iter().find(|(name, _)| *name == words[3]).unwrap().1,
        }
    }

    #[test]
    fn reasons_are_told_apart() {
        let check = |servers: &[(u32, &[u32])], processes: &[&str], expected: &str| {
            let sight = Sight {
                servers: servers.iter().map(|(pid, clients)| (*pid, clients.to_vec())).collect(),
                earlier: Some(9),
                processes: processes.iter().map(|text| process(text)).collect(),
            };
            let shown = match judge(&sight, (7, "/p"), 800) {
                Verdict::Attached(found) => format!("attached {} {}", found.server, found.client),
                Verdict::Never(why) => format!("never: {why}"),
                Verdict::NotYet(why) => format!("not yet: {why}"),
            };
            assert!(shown.starts_with(expected), "{servers:?} {processes:?}: {shown}");
        };
        check(&[(9, &[5, 2])], &["1 7 plain ours", "2 7 cuda ours"], "attached 9 2");
        check(&[(9, &[]), (8, &[1])], &["1 7 cuda ours"], "attached 8 1");
        check(&[(9, &[5])], &[], "never: the program ended");
        check(&[], &["1 7 cuda ours"], "never: the MPS server 9 died");
        check(&[(9, &[5])], &["1 7 plain ours"], "not yet: after 800 ms none of the program's");
        check(
            &[(9, &[5])],
            &["1 7 plain ours", "2 8 cuda ours"],
            "never: process 2 runs as user 8",
        );
        check(&[(9, &[5])], &["2 7 cuda unset"], "not yet: process 2 has no CUDA_MPS_PIPE");
        check(&[(9, &[5])], &["2 7 cuda elsewhere"], "not yet: process 2 does not see the folder");
        check(&[(9, &[5])], &["2 7 cuda ours"], "not yet: process 2 has loaded libcuda.so and");
        check(&[(9, &[5])], &["2 8 hidden hidden"], "never: process 2 runs as user 8");
        check(&[(9, &[5])], &["2 7 hidden hidden"], "not yet: process 2 has loaded");
    }
}
