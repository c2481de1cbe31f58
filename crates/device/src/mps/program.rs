//! Runs the control program for one line, with a bound on its time and on what it prints.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::answer::{check, shown};
use super::command::Say;
use super::error::MpsError;

/// Most bytes of an answer; a list of 4096 processes has fewer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How often it is looked whether the program has ended.
const LOOK: Duration = Duration::from_millis(2);

/// The control program, and what it is told by its environment.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) env: BTreeMap<&'static str, String>,
}

impl Program {
    /// A command with nothing in its environment but `PATH` and what is for it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear().envs(&self.env).process_group(0);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    /// Says a line, and gives what came back within the time.
    pub(super) fn ask(&self, say: Say, wait: Duration) -> Result<String, MpsError> {
        let until = Instant::now() + wait;
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| cannot_run(&self.path, source))?;
        let (answers, streams) = mpsc::channel();
        read(child.stdout.take().expect("it is piped"), Stream::Out, answers.clone());
        read(child.stderr.take().expect("it is piped"), Stream::Err, answers);
        if let Some(mut input) = child.stdin.take() {
            // A line is shorter than a pipe is deep, so that this does not wait. A program that
            // does not listen has its reasons, which it says or shows by its end.
            let _ = writeln!(input, "{say}");
        }
        let slow = || MpsError::Slow { command: say.to_string(), waited_ms: millis(wait) };
        let mut texts = [String::new(), String::new()];
        for _ in 0..texts.len() {
            match streams.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((stream, Ok(bytes))) => {
                    texts[stream as usize] = String::from_utf8_lossy(&bytes).into_owned();
                }
                Ok((_, Err(TooLong))) => {
                    end(&mut child);
                    let command = say.to_string();
                    return Err(MpsError::Long { command, bytes_max: ANSWER_BYTES_MAX });
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    end(&mut child);
                    return Err(slow());
                }
            }
        }
        let [out, err] = texts;
        let Some(status) = wait_until(&mut child, until) else {
            end(&mut child);
            return Err(slow());
        };
        if status.success() {
            return Ok(out);
        }
        let said = format!("{out}\n{err}");
        check(say, &said)?;
        let answer = format!("{} ({status})", shown(&said));
        Err(MpsError::Refused { command: say.to_string(), answer })
    }
}

/// Which stream of a program.
#[derive(Clone, Copy, Debug)]
enum Stream {
    Out = 0,
    Err = 1,
}

/// A stream did not end where the longest answer would.
#[derive(Debug)]
struct TooLong;

type Answer = (Stream, Result<Vec<u8>, TooLong>);

/// Reads a stream on a thread, which ends with the program: the caller ends that one in any case.
fn read(from: impl Read + Send + 'static, stream: Stream, to: mpsc::Sender<Answer>) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What cannot be read is not there.
        let _ = from.take(ANSWER_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        let whole = if bytes.len() > ANSWER_BYTES_MAX { Err(TooLong) } else { Ok(bytes) };
        let _ = to.send((stream, whole));
    });
}

/// Waits for a child up to a time.
pub(super) fn wait_until(child: &mut Child, until: Instant) -> Option<std::process::ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Kills a child and whatever it started in its process group.
pub(super) fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It fails only if nobody is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

pub(super) fn cannot_run(program: &Path, source: io::Error) -> MpsError {
    MpsError::Program { program: program.to_owned(), source }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
