//! Jobs in the order in which they come, with how long each runs.

use crate::replay::trace::{Times, TraceError};
use crate::replay::workload::Workload;

/// The jobs of a trace in the order in which they come.
#[derive(Clone, Debug)]
pub struct Stream {
    jobs: Vec<Job>,
    never_scheduled: u64,
    without_times: u64,
}

/// A job of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The pod, by its place among the names.
    pub pod: u32,
    /// When it comes, from the first on.
    pub arrives_s: u64,
    /// How long it runs, at least a second.
    pub runs_s: u64,
}

impl Stream {
    /// The jobs of a trace, which come so many times as fast as they did; refused if no row has
    /// times.
    pub fn new(workload: &Workload, load: u64) -> Result<Self, TraceError> {
        let pods = 0..workload.pods() as u32;
        let mut timed: Vec<(u32, Times)> =
            pods.filter_map(|pod| Some((pod, workload.times(pod)?))).collect();
        timed.sort_by_key(|&(pod, times)| (times.created_s, pod));
        let first_s = timed.first().ok_or(TraceError::NoTimes)?.1.created_s;
        let job = |&(pod, times): &(u32, Times)| {
            let begun_s = times.scheduled_s.unwrap_or(times.created_s);
            Job {
                pod,
                arrives_s: (times.created_s - first_s) / load.max(1),
                runs_s: (times.deleted_s - begun_s).max(1),
            }
        };
        let never_scheduled = timed.iter().filter(|(_, times)| times.scheduled_s.is_none()).count();
        Ok(Self {
            jobs: timed.iter().map(job).collect(),
            never_scheduled: never_scheduled as u64,
            without_times: (workload.pods() - timed.len()) as u64,
        })
    }

    /// The jobs, in the order in which they come.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// Jobs that never ran in the trace; here they run from when they came to when they were deleted.
    pub fn never_scheduled(&self) -> u64 {
        self.never_scheduled
    }

    /// Rows that are left out, because they have no times.
    pub fn without_times(&self) -> u64 {
        self.without_times
    }

    /// From when to when use is measured: from when a twentieth of the jobs has come, to the last.
    pub fn window(&self) -> (u64, u64) {
        let at = |place: usize| self.jobs.get(place).map_or(0, |job| job.arrives_s);
        (at(self.jobs.len() / 20), at(self.jobs.len().saturating_sub(1)))
    }
}
