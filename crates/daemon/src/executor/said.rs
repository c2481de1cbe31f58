//! What members are told of what holds them: at the end of what they print to `stderr`, where
//! whoever looks for a member's trouble finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cotenant_sched::Run;

use super::folder::RunFolder;

/// A member of a run.
#[derive(Clone, Copy)]
pub(super) struct MemberOf<'a> {
    pub(super) run: &'a Run,
    pub(super) folder: &'a RunFolder,
    pub(super) number: u32,
}

impl MemberOf<'_> {
    /// What it is called among all members of the pool.
    pub(super) fn name(self) -> String {
        member_name(self.run, self.number)
    }
}

/// What a member is called among all members of the pool; its control group is called the same.
pub(crate) fn member_name(run: &Run, number: u32) -> String {
    format!("job-{}-{}-{number}", run.job, run.generation)
}

/// Where each member is told of its trouble, and what it was told, so that it is told once.
#[derive(Debug, Default)]
pub(super) struct Said {
    logs: BTreeMap<String, PathBuf>,
    said: BTreeSet<(String, String)>,
}

impl Said {
    pub(super) fn add(&mut self, member: MemberOf<'_>) {
        self.logs.insert(member.name(), member.folder.log("stderr", member.number));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.logs.remove(name);
        self.said.retain(|(whom, _)| whom != name);
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.logs.keys().cloned().collect()
    }

    pub(super) fn say(&mut self, name: &str, what: &str) {
        let Some(log) = self.logs.get(name) else { return };
        if !self.said.insert((name.to_owned(), what.to_owned())) {
            return;
        }
        say(log, what);
    }
}

/// Says something at the end of what a member printed.
pub(super) fn say(log: &Path, what: &str) {
    let mut options = OpenOptions::new();
    // A full disk loses what is said, not the job.
    let _ = options
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)
        .and_then(|mut file| writeln!(file, "[cotenant: {what}]"));
}

/// An error with its causes, on one line.
pub(super) fn whole(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
