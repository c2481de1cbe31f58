//! The thread that throws away run folders which nobody will look for: of jobs that ended long ago,
//! and of early attempts of jobs that were tried often.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cotenant_types::{Moment, Seconds};
use tokio::sync::watch;

use crate::executor::RunFolder;
use crate::keeper::now;
use crate::store::Reader;

/// How often.
const PAUSE: Duration = Duration::from_secs(3600);
/// Attempts of a job that are kept.
const GENERATIONS_MAX: usize = 5;

/// What the thread works with.
pub(crate) struct Pruning {
    pub(crate) runs: PathBuf,
    pub(crate) reader: Reader,
    /// How long after a job's end its folders are kept.
    pub(crate) keep: Seconds,
    pub(crate) ending: watch::Receiver<bool>,
}

impl Pruning {
    /// Looks now and then until the daemon ends.
    pub(crate) fn run(self) {
        while !*self.ending.borrow() {
            self.prune(now());
            std::thread::park_timeout(PAUSE);
        }
    }

    fn prune(&self, now: Moment) {
        for job in numbered(&self.runs) {
            match self.is_over((job.number, now)) {
                // What cannot be removed is tried again.
                true => drop(fs::remove_dir_all(&job.path)),
                false => prune_attempts(&job.path),
            }
        }
    }

    /// Whether a job ended so long ago that its folders go. A job that the store does not know may
    /// be one that is being submitted.
    fn is_over(&self, (job, now): (u64, Moment)) -> bool {
        let found = self.reader.job(job).ok().flatten();
        let ended = found.and_then(|job| job.ended_ms);
        ended.is_some_and(|ended| Moment(ended).after(self.keep) <= now)
    }
}

/// Throws away all attempts but the last few, if they have ended.
fn prune_attempts(job: &Path) {
    let mut attempts = numbered(job);
    attempts.sort_by_key(|attempt| attempt.number);
    let old = attempts.len().saturating_sub(GENERATIONS_MAX);
    for attempt in &attempts[..old] {
        let has_ended = RunFolder::all_in(&attempt.path).iter().all(RunFolder::has_ended);
        if has_ended {
            let _ = fs::remove_dir_all(&attempt.path);
        }
    }
}

/// A folder whose name is a number.
struct Numbered {
    number: u64,
    path: PathBuf,
}

fn numbered(folder: &Path) -> Vec<Numbered> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some(Numbered { number, path: entry.path() })
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use cotenant_api::JobRequest;
    use cotenant_sched::{Event, Outcome, State, step};
    use cotenant_types::{JobId, Quota};

    use super::*;
    use crate::store::{Change, NewJob, Store};

    /// A store with a job that ended at a moment, and one that waits.
    fn store(path: &Path, ended: Moment) {
        let mut state = State::default();
        let tenant: cotenant_types::TenantName = "law".parse().unwrap();
        let set = Event::TenantSet { tenant: tenant.clone(), quota: Quota::default() };
        step(&mut state, Moment(0), set).unwrap();
        let request: JobRequest = cotenant_api::parse_job("command = ['true']").unwrap();
        let mut changes = Vec::new();
        for _ in 0..2 {
            let terms = request.resolve(Some(&tenant), Moment(0)).unwrap().terms;
            let job = state.next_job();
            step(&mut state, Moment(0), Event::JobSubmitted { job, terms }).unwrap();
            let job = state.job(job).unwrap().clone();
            let (name, asks) = ("x".to_owned(), String::new());
            let request = request.clone();
            let new = NewJob { job, name, kind: "command", asks, request, key: None };
            changes.push(Change::Submitted(Box::new(new)));
        }
        let first = state.job(JobId(1)).unwrap().clone();
        changes.push(Change::Ended(Box::new(first), Outcome::Succeeded));
        Store::open(path).unwrap().commit(ended, &changes).unwrap();
    }

    #[test]
    fn old_runs_go_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (path, runs) = (folder.path().join("pool.db"), folder.path().join("runs"));
        store(&path, Moment(1_000_000));
        let make = |job: u64, generation: u64, has_ended: bool| {
            let run = runs.join(format!("{job}/{generation}/n"));
            fs::create_dir_all(&run).unwrap();
            if has_ended {
                fs::write(run.join("exit.json"), "{\"code\":0}").unwrap();
            }
        };
        make(1, 1, true);
        make(2, 1, false);
        (2..=9).for_each(|generation| make(2, generation, true));
        make(3, 1, true);
        let ending = watch::channel(false).1;
        let reader = Reader::new(&path);
        let pruning = Pruning { runs: runs.clone(), reader, keep: Seconds(100), ending };
        let left = |now: Moment| {
            pruning.prune(now);
            let mut left: Vec<String> = numbered(&runs)
                .iter()
                .flat_map(|job| {
                    let attempts = numbered(&job.path).into_iter();
                    attempts.map(|attempt| format!("{}/{}", job.number, attempt.number))
                })
                .collect();
            left.sort();
            left.join(" ")
        };
        assert_eq!(left(Moment(1_099_999)), "1/1 2/1 2/5 2/6 2/7 2/8 2/9 3/1");
        assert_eq!(left(Moment(1_100_000)), "2/1 2/5 2/6 2/7 2/8 2/9 3/1");
    }
}
