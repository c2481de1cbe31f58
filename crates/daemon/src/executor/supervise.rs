//! The process that stands between the daemon and a job: it outlives the daemon, and knows how the
//! job ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cotenant_device::{Cgroups, Group};
use cotenant_sched::Exit;
use cotenant_types::{Mebibytes, Signal};
use rustix::process::{Pid, kill_process_group};
use thiserror::Error;

use super::folder::{MemberFile, RunFile, RunFolder, StopFile};

/// How often the supervisor looks whether something ended or is to end.
const LOOK: Duration = Duration::from_millis(25);
/// Every so many looks memory is read, which costs more than a look.
const LOOKS_FOR_A_PEAK: u32 = 8;
/// Most bytes that are kept of a stream.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// How long a gang's members have once one of them failed.
const GANG_GRACE: Duration = Duration::from_secs(10);
/// How long processes that inherited a stream may hold it open when the member has ended.
const STREAM_WAIT: Duration = Duration::from_secs(2);

/// Why a process that the daemon started for a job cannot do its work.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct InternalError {
    what: String,
    source: Option<io::Error>,
}

impl InternalError {
    pub(super) fn new(what: String, source: io::Error) -> Self {
        Self { what, source: Some(source) }
    }

    pub(super) fn of(what: &str) -> Self {
        Self { what: what.to_owned(), source: None }
    }
}

/// Runs the job in a folder until it has ended. `stdout` says `started` to a daemon that still
/// listens.
pub fn supervise(folder: &Path) -> Result<(), InternalError> {
    let folder = RunFolder::at(folder);
    let failed =
        |what: &'static str| move |error: io::Error| InternalError::new(what.to_owned(), error);
    let lock = folder.lock_file().map_err(failed("open the lock"))?;
    lock.lock().map_err(failed("take the lock"))?;
    if folder.read_exit().is_some() {
        return Ok(());
    }
    let run = folder.read_run().map_err(failed("read run.json"))?;
    folder.mark_begun().map_err(failed("write"))?;
    let mut members = Vec::with_capacity(run.members.len());
    for member in &run.members {
        members.push(Member::start(&folder, member).map_err(failed("start a member"))?);
    }
    folder.mark_started().map_err(failed("write"))?;
    // The daemon may be gone; whoever comes after it finds the file.
    let _ = io::stdout().write_all(b"started\n").and_then(|()| io::stdout().flush());
    let mut peak = Peak::new(&run);
    let exit = wait(&folder, &mut members, &mut peak);
    // Without it less is known of the job, and nothing is wrong.
    let _ = peak.most().map(|most| folder.write_peak(most));
    clean_up(&run, &mut members);
    let exit = told_apart(&run, exit);
    remove_groups(&run);
    folder.write_exit(&exit).map_err(failed("write"))
}

/// A member and what it prints.
struct Member {
    child: Child,
    ended: Option<ExitStatus>,
    streams: mpsc::Receiver<()>,
}

impl Member {
    fn start(folder: &RunFolder, member: &MemberFile) -> io::Result<Self> {
        let number = member.number.to_string();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["internal", "member"])
            .arg(folder.path())
            .args([&number, &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (done, streams) = mpsc::channel();
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        copy(stdout, log(folder, "stdout", member.number)?, done.clone());
        copy(stderr, log(folder, "stderr", member.number)?, done);
        Ok(Self { child, ended: None, streams })
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It fails only if nobody is left to hear it.
            let _ = kill_process_group(pid, signal);
        }
    }
}

fn log(folder: &RunFolder, stream: &str, member: u32) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(folder.log(stream, member))
}

/// Copies a stream to a file up to the bound, and reads on beyond it so that nobody has to wait.
fn copy(mut from: impl Read + Send + 'static, mut to: File, done: mpsc::Sender<()>) {
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        let mut left = LOG_BYTES_MAX;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let kept = left.min(count as u64) as usize;
            // A full disk loses what is printed, not the job.
            let _ = to.write_all(&buffer[..kept]);
            left -= kept as u64;
            if kept < count && kept > 0 {
                let _ = writeln!(to, "\n[cotenant: what follows {LOG_BYTES_MAX} bytes is dropped]");
            }
        }
        let _ = done.send(());
    });
}

/// Waits until every member has ended, of itself or because somebody wants it; gives the worst end.
fn wait(folder: &RunFolder, members: &mut [Member], peak: &mut Peak) -> Exit {
    let mut asked: Option<StopFile> = None;
    let mut kill_at: Option<Instant> = None;
    loop {
        peak.look();
        for member in members.iter_mut().filter(|member| member.ended.is_none()) {
            member.ended = member.child.try_wait().ok().flatten();
        }
        let failed = members.iter().any(|it| it.ended.is_some_and(|status| !status.success()));
        if members.iter().all(|member| member.ended.is_some()) {
            let worst = members.iter().filter_map(|member| member.ended).map(exit_of);
            return worst.max_by_key(Exit::gravity).unwrap_or(Exit::Lost);
        }
        let wanted = folder.read_stop();
        if wanted != asked {
            asked = wanted;
            if let Some(stop) = asked {
                kill_at = Some(Instant::now() + Duration::from_millis(stop.grace_ms));
                signal_all(members, stop.signal.map_or(rustix::process::Signal::KILL, native));
            }
        } else if failed && kill_at.is_none() {
            kill_at = Some(Instant::now() + GANG_GRACE);
            signal_all(members, rustix::process::Signal::TERM);
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            signal_all(members, rustix::process::Signal::KILL);
        }
        thread::sleep(LOOK);
    }
}

fn signal_all(members: &[Member], signal: rustix::process::Signal) {
    let left = members.iter().filter(|member| member.ended.is_none());
    left.for_each(|member| member.signal(signal));
}

fn native(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Int => rustix::process::Signal::INT,
        Signal::Usr1 => rustix::process::Signal::USR1,
        Signal::Usr2 => rustix::process::Signal::USR2,
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Lost,
    }
}

/// Ends what the members left behind, and waits for the last of what they printed.
fn clean_up(run: &RunFile, members: &mut [Member]) {
    signal_left_behind(members);
    for group in groups(run) {
        let _ = group.kill_all();
    }
    let until = Instant::now() + STREAM_WAIT;
    for member in members {
        for _ in 0..2 {
            let _ = member.streams.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// The most memory that a member has had so far, looked at now and then.
///
/// The kernel keeps a peak too, but counts files in its cache, which grow to any limit.
struct Peak {
    groups: Vec<Group>,
    bytes: u64,
    looks: u32,
}

impl Peak {
    fn new(run: &RunFile) -> Self {
        Self { groups: groups(run).collect(), bytes: 0, looks: 0 }
    }

    fn look(&mut self) {
        self.looks += 1;
        if self.looks % LOOKS_FOR_A_PEAK != 1 {
            return;
        }
        let held = self.groups.iter().filter_map(|group| group.read_use().ok());
        let most = held.map(|it| it.memory_held_bytes).max().unwrap_or(0);
        self.bytes = self.bytes.max(most);
    }

    fn most(&self) -> Option<Mebibytes> {
        (self.bytes > 0).then(|| Mebibytes(self.bytes.div_ceil(1 << 20)))
    }
}

/// A member that has ended may have left children in its process group.
fn signal_left_behind(members: &[Member]) {
    members.iter().for_each(|member| member.signal(rustix::process::Signal::KILL));
}

/// A bad end is the memory limit's if the kernel killed for it.
fn told_apart(run: &RunFile, exit: Exit) -> Exit {
    let kills = groups(run).filter_map(|group| group.read_use().ok()).map(|it| it.oom_kills);
    match kills.sum::<u64>() {
        0 => exit,
        _ if exit == Exit::Code(0) => exit,
        _ => Exit::OutOfMemory,
    }
}

fn remove_groups(run: &RunFile) {
    for group in groups(run) {
        // What is left of it is found again when the daemon starts.
        let _ = group.remove();
    }
}

pub(super) fn groups(run: &RunFile) -> impl Iterator<Item = Group> {
    let names: Vec<&String> = run.members.iter().filter_map(|it| it.group.as_ref()).collect();
    let all = if names.is_empty() { None } else { Cgroups::open().ok() };
    let found = names.into_iter().filter_map(move |name| all.as_ref()?.find(name).ok().flatten());
    found.collect::<Vec<_>>().into_iter()
}
