//! When the jobs of a set come in, and how long they run.

use cotenant_types::Seconds;

use crate::resolve::RequestError;

/// Longest time that a set may speak of: a year.
const TIME_S_MAX: u32 = 31_536_000;

/// When jobs that are alike come in, and how long they run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the first may come.
    pub start: Seconds,
    /// The mean time between two of each copy; without it, each copy is one job.
    pub every: Option<Seconds>,
    /// How long they run on average; without it, for ever.
    pub runs: Option<Seconds>,
    /// Whether all of them run equally long.
    pub is_steady: bool,
}

/// The keys, as they stand in a file.
#[derive(Default)]
pub(crate) struct TimingKeys {
    pub(crate) start_s: Option<u32>,
    pub(crate) every_s: Option<u32>,
    pub(crate) runs_s: Option<u32>,
    pub(crate) runs_vary: Option<bool>,
}

impl TimingKeys {
    pub(crate) fn resolve(&self) -> Result<Timing, RequestError> {
        let within = |key, value: Option<u32>, least| match value {
            Some(value) if !(least..=TIME_S_MAX).contains(&value) => {
                let problem = format!("{value} is not within {least} and {TIME_S_MAX}");
                Err(RequestError { key, problem })
            }
            Some(_) | None => Ok(value.map(Seconds)),
        };
        let needs_runs = |key, is_there: bool, why: &str| match (self.runs_s, is_there) {
            (None, true) => {
                Err(RequestError { key, problem: format!("needs 'runs_s' beside it: {why}") })
            }
            (Some(_), _) | (None, false) => Ok(()),
        };
        let (start, every, runs) = (
            within("start_s", self.start_s, 0)?.unwrap_or_default(),
            within("every_s", self.every_s, 1)?,
            within("runs_s", self.runs_s, 1)?,
        );
        needs_runs("every_s", every.is_some(), "jobs that never end fill any pool")?;
        needs_runs("runs_vary", self.runs_vary.is_some(), "it says how that time varies")?;
        Ok(Timing { start, every, runs, is_steady: self.runs_vary == Some(false) })
    }
}
