//! The control daemon of one group: started, asked, held to its limits, ended.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cotenant_types::CardId;
use rustix::process::{Pid, Signal, kill_process_group};

use super::answer::{check, per_mille, pids, shown};
use super::attach::{self, Attached, Unattached};
use super::command::Say;
use super::error::MpsError;
use super::facts::Mark;
use super::folder::{GroupFolder, failed};
use super::limits::Ceiling;
use super::program::{Program, cannot_run, end, millis};

/// How long anything about MPS may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// From the start of the control daemon to its first answer.
    pub start: Duration,
    /// For an answer.
    pub answer: Duration,
    /// From the order to quit to the end.
    pub quit: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { start: seconds(10), answer: seconds(5), quit: seconds(10) }
    }
}

/// How often it is looked whether the daemon answers, or has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Where the daemon's own output goes, in its folder of logs.
const OUTPUT: &str = "daemon.out";

/// Most bytes of that output that a message repeats from.
const OUTPUT_BYTES_MAX: u64 = 4096;

/// How to speak to a group's control daemon. A copy may be kept by a thread that waits for a client.
#[derive(Clone, Debug)]
pub struct Control {
    program: Program,
    folder: GroupFolder,
    pipe: PathBuf,
    uid: u32,
    waits: Waits,
}

impl Control {
    pub(super) fn new(
        program: &Path,
        folder: GroupFolder,
        (uid, cards): (u32, &[CardId]),
        waits: Waits,
    ) -> Self {
        let ids: Vec<&str> = cards.iter().map(CardId::as_str).collect();
        let mut env = environment(&folder);
        env.insert("CUDA_VISIBLE_DEVICES", ids.join(","));
        env.insert("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned());
        let program = Program { path: program.to_owned(), env };
        Self { program, pipe: folder.pipe(), folder, uid, waits }
    }

    /// The user whose programs are served.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The folder of the pipes, which a program must see under the path that it is told.
    pub fn pipe(&self) -> &Path {
        &self.pipe
    }

    /// The servers that run; none until a program uses CUDA.
    pub fn servers(&self) -> Result<Vec<u32>, MpsError> {
        let say = Say::ServerList;
        pids(say, &self.ask(say)?)
    }

    /// The processes that a server serves.
    pub fn clients(&self, server: u32) -> Result<Vec<u32>, MpsError> {
        let say = Say::ClientList { server };
        pids(say, &self.ask(say)?)
    }

    /// Waits until one of a program's processes is a client, or it is known why none is. The
    /// processes are asked for again and again, as they come and go.
    ///
    /// A program becomes a client when it first uses CUDA, which may be long after its start, so
    /// that the limit is the caller's.
    pub fn wait_for_client(
        &self,
        processes: &dyn Fn() -> Vec<u32>,
        limit: Duration,
    ) -> Result<Attached, Unattached> {
        attach::wait(self, processes, limit)
    }

    /// What a client's environment needs to find the daemon.
    pub(super) fn client_environment(&self) -> BTreeMap<&'static str, String> {
        environment(&self.folder)
    }

    /// Starts the daemon and waits until it answers.
    pub(super) fn start(&self) -> Result<(Child, Mark), MpsError> {
        let path = self.folder.log().join(OUTPUT);
        let output = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = output.map_err(|source| failed(&path, source))?;
        let mut command = self.program.command();
        command.arg("-f").stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(|source| cannot_run(&self.program.path, source))?;
        match self.wait_until_it_answers(&mut child) {
            Ok(mark) => Ok((child, mark)),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    fn wait_until_it_answers(&self, child: &mut Child) -> Result<Mark, MpsError> {
        let until = Instant::now() + self.waits.start;
        let say = Say::DefaultPercent;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.program.ask(say, left.min(self.waits.answer));
            if let Ok(Some(status)) = child.try_wait() {
                return Err(self.ended(status));
            }
            match (answer, Mark::of(child.id())) {
                (Ok(answer), Some(mark)) => return per_mille(say, &answer).map(|_| mark),
                (Err(MpsError::NotRunning | MpsError::Slow { .. }), _) | (Ok(_), None) => {}
                (Err(error), _) => return Err(error),
            }
            if Instant::now() >= until {
                let command = "its start".to_owned();
                return Err(MpsError::Slow { command, waited_ms: millis(self.waits.start) });
            }
            thread::sleep(LOOK);
        }
    }

    fn ended(&self, status: ExitStatus) -> MpsError {
        MpsError::Ended { status: status.to_string(), said: self.said(), log: self.folder.log() }
    }

    /// The beginning of what the daemon printed.
    pub(super) fn said(&self) -> String {
        let mut bytes = Vec::new();
        // Without it the logs are still there to be read.
        let _ = File::open(self.folder.log().join(OUTPUT))
            .and_then(|file| file.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes));
        shown(&String::from_utf8_lossy(&bytes))
    }

    /// Makes the limits hold for what starts from now on, and asks whether they do.
    pub(super) fn apply(&self, ceiling: &Ceiling) -> Result<(), MpsError> {
        for say in ceiling.commands(&self.servers()?) {
            check(say, &self.ask(say)?)?;
        }
        let say = Say::DefaultPercent;
        let found = per_mille(say, &self.ask(say)?)?;
        let wished = ceiling.percent * 10;
        match found == wished {
            true => Ok(()),
            false => Err(MpsError::Unkept { wished, found }),
        }
    }

    /// Ends the daemon and its servers; one that does not end in time is killed.
    pub(super) fn quit(&self, daemon: Mark, mut child: Option<Child>) -> Result<(), MpsError> {
        let mut is_alive = || {
            // Only its parent can let a process that ended go.
            let _ = child.as_mut().map(Child::try_wait);
            daemon.is_alive()
        };
        if !is_alive() {
            return Ok(());
        }
        let until = Instant::now() + self.waits.quit;
        // It is killed if it does not listen.
        let _ = self.ask(Say::Quit);
        while is_alive() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        if is_alive() {
            kill(daemon);
        }
        while is_alive() {
            if Instant::now() >= until + self.waits.quit {
                let waited_ms = millis(self.waits.quit * 2);
                return Err(MpsError::Slow { command: Say::Quit.to_string(), waited_ms });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn ask(&self, say: Say) -> Result<String, MpsError> {
        self.program.ask(say, self.waits.answer)
    }
}

fn environment(folder: &GroupFolder) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("CUDA_MPS_PIPE_DIRECTORY", folder.pipe().display().to_string()),
        ("CUDA_MPS_LOG_DIRECTORY", folder.log().display().to_string()),
    ])
}

fn kill(daemon: Mark) {
    if let Some(group) = i32::try_from(daemon.pid).ok().and_then(Pid::from_raw) {
        // It fails only if nobody is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
