//! The folder of one start of a job on one machine: all that its processes and the daemon say to
//! each other, so that either may die and come back.
//!
//! ```text
//! runs/JOB/GENERATION/NODE/
//!   run.json     what to start; nothing is started without it
//!   lock         held by the supervisor as long as it lives
//!   begun        the supervisor is about to start the members: from here on, some may run
//!   started      the members were started
//!   stop.json    somebody wants it to end
//!   peak.json    MiB that a member had at most, where that is measured; before exit.json
//!   exit.json    how it ended; whoever holds the lock writes it, once
//!   stdout.0     what member 0 printed, and so on
//!   slices.0.json, slice.0/   what the preload library holds of member 0, and its pages
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cotenant_sched::{Exit, Run};
use cotenant_types::{JobId, Mebibytes, Signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::intercepted::Intercepts;

/// The variable by which a run's processes are found when nothing else is left of it.
pub(crate) const MARK: &str = "COTENANT_RUN";
/// The variable that tells a process of which member it is.
pub(crate) const MEMBER: &str = "COTENANT_MEMBER";

/// A run's folder.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder(PathBuf);

/// What to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunFile {
    pub(super) run: Run,
    pub(super) program: Vec<String>,
    pub(super) folder: PathBuf,
    pub(super) members: Vec<MemberFile>,
}

/// What one member differs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MemberFile {
    pub(super) number: u32,
    pub(super) env: BTreeMap<String, String>,
    /// The control group that it is put into, if there is one.
    pub(super) group: Option<String>,
}

/// Somebody wants the run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StopFile {
    /// None to kill at once.
    pub(super) signal: Option<Signal>,
    pub(super) grace_ms: u64,
}

impl RunFolder {
    /// The folder of a run among all; whether there is one is not asked.
    pub(crate) fn of(runs: &Path, run: &Run) -> Self {
        let node = run.node.as_str().replace('/', "%2F");
        Self(runs.join(run.job.to_string()).join(run.generation.to_string()).join(node))
    }

    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder; false if it was there.
    pub(super) fn create(&self) -> io::Result<bool> {
        let builder = |is_whole: bool| {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(is_whole).mode(0o700);
            builder
        };
        if let Some(parent) = self.0.parent() {
            builder(true).create(parent)?;
        }
        match builder(false).create(&self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The lock, not yet taken.
    pub(super) fn lock_file(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(self.0.join("lock"))
    }

    pub(super) fn write_run(&self, run: &RunFile) -> io::Result<()> {
        self.write("run.json", run)
    }

    pub(super) fn read_run(&self) -> io::Result<RunFile> {
        self.read("run.json")
    }

    /// The lock, if nobody has it.
    pub(super) fn try_lock(&self) -> Option<File> {
        let file = self.lock_file().ok()?;
        file.try_lock().ok()?;
        Some(file)
    }

    pub(super) fn mark_begun(&self) -> io::Result<()> {
        self.write("begun", &())
    }

    pub(super) fn is_begun(&self) -> bool {
        self.0.join("begun").exists()
    }

    pub(super) fn mark_started(&self) -> io::Result<()> {
        self.write("started", &())
    }

    pub(super) fn is_started(&self) -> bool {
        self.0.join("started").exists()
    }

    pub(super) fn write_stop(&self, stop: StopFile) -> io::Result<()> {
        self.write("stop.json", &stop)
    }

    pub(super) fn read_stop(&self) -> Option<StopFile> {
        self.read("stop.json").ok()
    }

    pub(super) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        self.write("exit.json", exit)
    }

    /// Whether it has ended; a folder in which nothing was begun has not.
    pub(crate) fn has_ended(&self) -> bool {
        self.read_exit().is_some()
    }

    pub(super) fn read_exit(&self) -> Option<Exit> {
        self.read("exit.json").ok()
    }

    pub(super) fn write_peak(&self, peak: Mebibytes) -> io::Result<()> {
        self.write("peak.json", &peak)
    }

    /// The most memory that a member had, if it was measured.
    pub(super) fn read_peak(&self) -> Option<Mebibytes> {
        self.read("peak.json").ok()
    }

    /// Tells the members that their slice will be taken back.
    pub(super) fn write_notice(&self, at_ms: u64) -> io::Result<()> {
        self.write("notice.json", &at_ms)
    }

    /// The folder of the pages by which the preload library and the pool speak of a member.
    pub(super) fn slice(&self, member: u32) -> PathBuf {
        self.0.join(format!("slice.{member}"))
    }

    pub(super) fn write_intercepts(&self, member: u32, slices: &Intercepts) -> io::Result<()> {
        self.write(&format!("slices.{member}.json"), slices)
    }

    pub(super) fn read_intercepts(&self, member: u32) -> io::Result<Intercepts> {
        self.read(&format!("slices.{member}.json"))
    }

    /// The runs of an attempt, one for each machine.
    pub(crate) fn all_in(attempt: &Path) -> Vec<Self> {
        below(attempt).into_iter().map(Self).collect()
    }

    /// The file that a member's stream goes to: `stdout` or `stderr`.
    pub(crate) fn log(&self, stream: &str, member: u32) -> PathBuf {
        self.0.join(format!("{stream}.{member}"))
    }

    /// What a member printed to a stream when the job was last started, if it ever was.
    pub(crate) fn latest_log(
        runs: &Path,
        job: JobId,
        (stream, member): (&str, u32),
    ) -> Option<PathBuf> {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let mut generations = below(&runs.join(job.to_string()));
        generations.sort_by_key(number);
        let newest = generations.iter().rev();
        let logs = newest.flat_map(|generation| below(generation));
        logs.map(|node| Self(node).log(stream, member)).find(|path| path.exists())
    }

    /// What marks the run's processes: no other run, nor one of another pool, has the same.
    pub(crate) fn mark(&self) -> String {
        self.0.display().to_string()
    }

    /// Writes a file whole or not at all, and waits until it is on the disk.
    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let new = self.0.join(format!("{name}.{}.new", std::process::id()));
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&new, self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<T> {
        Ok(serde_json::from_slice(&fs::read(self.0.join(name))?)?)
    }
}

/// Every run that has a folder.
pub(super) fn all(runs: &Path) -> Vec<RunFolder> {
    let generations = below(runs).into_iter().flat_map(|job| below(&job));
    generations.flat_map(|generation| below(&generation)).map(RunFolder).collect()
}

/// Every run that has not ended, with what it starts.
pub(super) fn alive(runs: &Path) -> Vec<(RunFolder, RunFile)> {
    let alive = all(runs).into_iter().filter(|folder| !folder.has_ended());
    alive.filter_map(|folder| Some((folder.clone(), folder.read_run().ok()?))).collect()
}

fn below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
