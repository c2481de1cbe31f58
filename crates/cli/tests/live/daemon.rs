//! A real daemon for tests: its own folder and port, ended with all that it left running.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{Client, JobState, JobView};
use tempfile::TempDir;

const ANSWER_WAIT: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(10);
/// Longest time for a job, or for anything else, to become as it is wished.
const WISH_WAIT: Duration = Duration::from_secs(120);
const LASTING_PORTS: Range<u16> = 15_000..30_000;

/// A daemon of `cotenant up`.
pub(crate) struct Daemon {
    folder: TempDir,
    /// What `up` is told, besides where.
    arguments: Vec<String>,
    /// Variables besides those of the tests.
    env: Vec<(&'static str, PathBuf)>,
    port: u16,
    /// Keeps the port from other tests.
    _port_lock: File,
    child: Child,
}

impl Daemon {
    /// Starts one on a free port of this machine, and waits until it answers.
    pub(crate) fn start(cards: &str) -> Self {
        Self::start_with(cards, &[])
    }

    /// Starts one with further arguments of `up`.
    pub(crate) fn start_with(cards: &str, further: &[&str]) -> Self {
        Self::start_in(cards, further, &[])
    }

    /// Starts one with further variables, too.
    pub(crate) fn start_in(cards: &str, further: &[&str], env: &[(&'static str, PathBuf)]) -> Self {
        let arguments =
            ["--cards", cards].into_iter().chain(further.iter().copied()).map(str::to_owned);
        let arguments: Vec<String> = arguments.collect();
        let folder = tempfile::tempdir().unwrap();
        let (port, _port_lock) = lasting_port();
        let env = env.to_vec();
        let child = spawn(folder.path(), (&arguments, &env, port), None);
        let daemon = Self { folder, arguments, env, port, _port_lock, child };
        daemon.wait_for_answer();
        daemon
    }

    /// Where it keeps everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address(), None)
    }

    /// Kills it as a power cut would; what it started goes on.
    pub(crate) fn kill(&mut self) {
        // It may have ended itself, which comes to the same.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again after it ended, to abort at a named point if one is given.
    pub(crate) fn start_again(&mut self, fail_at: Option<&str>) {
        let how = (&*self.arguments, &*self.env, self.port);
        self.child = spawn(self.folder.path(), how, fail_at);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it answers.
    pub(crate) fn wait_for_answer(&self) {
        let client = self.client();
        let deadline = Instant::now() + ANSWER_WAIT;
        while let Err(why) = client.pool() {
            assert!(Instant::now() < deadline, "the daemon does not answer: {why}");
            thread::sleep(LOOK_EACH);
        }
    }

    /// Processes that carry the mark of one of its runs.
    pub(crate) fn marked(&self) -> Vec<i32> {
        let mark = format!("COTENANT_RUN={}", self.folder.path().display());
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let is_marked = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|&byte| byte == 0).any(|it| it.starts_with(mark.as_bytes()))
        };
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(is_marked).collect()
    }

    /// Supervisors of its runs.
    pub(crate) fn supervisors(&self) -> Vec<i32> {
        let folder = self.folder.path().display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let supervises = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("internal\0supervise") && line.contains(&folder)
        };
        pids.filter(supervises).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.supervisors().into_iter().chain(self.marked()) {
            signal(pid, "KILL");
        }
    }
}

/// A port that is free, and stays so while a daemon is down: the system gives connections ports of
/// 32,768 and above by itself, each process of these tests begins to look elsewhere, and none takes
/// what another has locked.
fn lasting_port() -> (u16, File) {
    let folder = std::env::temp_dir().join("cotenant-test-ports");
    fs::create_dir_all(&folder).unwrap();
    let begin = std::process::id() as u16 % LASTING_PORTS.len() as u16;
    let mut ports = LASTING_PORTS.cycle().skip(begin.into()).take(LASTING_PORTS.len());
    let take = |port: u16| {
        let lock = File::create(folder.join(port.to_string())).unwrap();
        let is_ours = lock.try_lock().is_ok();
        let is_free = || TcpListener::bind(("127.0.0.1", port)).is_ok();
        (is_ours && is_free()).then_some((port, lock))
    };
    ports.find_map(take).expect("a port is free")
}

/// Waits until a job is as it is wished.
#[track_caller]
pub(crate) fn wait(client: &Client, id: u64, is_so: impl Fn(&JobView) -> bool) -> JobView {
    let begun = Instant::now();
    loop {
        let view = client.job(id).unwrap();
        if is_so(&view) {
            return view;
        }
        let has_ended = view.row.state == JobState::Ended;
        assert!(!has_ended, "job {id} ended before: {:?}, {:?}", view.row.outcome, view.exit);
        assert!(begun.elapsed() < WISH_WAIT, "job {id} is not so: {view:?}");
        thread::yield_now();
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < WISH_WAIT, "{what} never came to be");
        thread::yield_now();
    }
}

/// Sends a signal to a process that may be gone.
pub(crate) fn signal(pid: i32, name: &str) {
    let _ =
        Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
}

fn spawn(
    folder: &Path,
    (arguments, env, port): (&[String], &[(&str, PathBuf)], u16),
    fail_at: Option<&str>,
) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cotenant"));
    command
        .args(["up", "--listen", &format!("127.0.0.1:{port}"), "--state"])
        .arg(folder)
        .args(arguments)
        .envs(env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match fail_at {
        Some(point) => command.env("COTENANT_FAIL_AT", point),
        None => command.env_remove("COTENANT_FAIL_AT"),
    };
    command.spawn().unwrap()
}
