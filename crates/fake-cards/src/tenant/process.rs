//! A tenant as a test sees it: a process that is told lines and answers them.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use thiserror::Error;

use crate::cards::{Cards, FILE_VARIABLE};

/// A running tenant; it is killed when the value is dropped.
#[derive(Debug)]
pub struct TenantProcess {
    child: Child,
    lines: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A tenant could not be asked.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The system refused, or the tenant is gone.
    #[error("talk to the tenant")]
    Io(#[from] io::Error),
    /// It ended without an answer.
    #[error("hear from the tenant: it ended without an answer to '{line}'")]
    Ended {
        /// What it was told last.
        line: String,
    },
}

impl TenantProcess {
    /// Starts a program that calls [`super::main`], on cards and with the driver of a folder.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(program: &Path, cards: &Cards, folder: &Path) -> Result<Self, ProcessError> {
        let mut command = Command::new(program);
        command.env(FILE_VARIABLE, cards.path()).env("LD_LIBRARY_PATH", folder);
        Self::spawn(command)
    }

    /// Starts a command that was made ready, with more in its environment perhaps.
    ///
    /// # Errors
    /// If it cannot be started, or is not ready.
    pub fn spawn(mut command: Command) -> Result<Self, ProcessError> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut tenant = Self { child, lines, answers };
        tenant.answer("its start")?;
        Ok(tenant)
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it a line and waits for the answer.
    ///
    /// # Errors
    /// If it ended.
    pub fn ask(&mut self, line: &str) -> Result<String, ProcessError> {
        self.tell(line)?;
        self.answer(line)
    }

    /// Tells it a line; the answer is to be asked for.
    ///
    /// # Errors
    /// If it ended.
    pub fn tell(&mut self, line: &str) -> Result<(), ProcessError> {
        let ended = || ProcessError::Ended { line: line.to_owned() };
        let lines = self.lines.as_mut().ok_or_else(ended)?;
        writeln!(lines, "{line}")?;
        Ok(lines.flush()?)
    }

    /// Waits for the next answer; `line` is what it answers, for whoever reads the error.
    ///
    /// # Errors
    /// If it ended.
    pub fn answer(&mut self, line: &str) -> Result<String, ProcessError> {
        let mut answer = String::new();
        match self.answers.read_line(&mut answer)? {
            0 => Err(ProcessError::Ended { line: line.to_owned() }),
            _ => Ok(answer.trim_end().to_owned()),
        }
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Tells it that there is no more, and waits until it ended.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn finish(&mut self) -> Result<ExitStatus, ProcessError> {
        self.lines = None;
        Ok(self.child.wait()?)
    }
}

impl Drop for TenantProcess {
    fn drop(&mut self) {
        // It may have ended before, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
