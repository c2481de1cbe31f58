//! What NVML says from outside while tenants work, passed on to their pages as a pool does.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use super::clock::steady_ns;
use super::slice::Slice;
use super::stage::{Stage, Tenant};

/// A slice and the processes in it.
pub(crate) struct Watched<'a> {
    pub(crate) slice: &'a mut Slice,
    pub(crate) pids: Vec<u32>,
}

/// What was seen of each process.
#[derive(Default)]
pub(crate) struct Looks {
    /// The first look's time, by NVML's clock and by the machine's.
    begun: Option<(u64, u64)>,
    seen_us: u64,
    busy: HashMap<u32, Busy>,
}

/// A process from its first sample to its last.
#[derive(Clone, Copy)]
struct Busy {
    first_us: u64,
    last_us: u64,
    busy_ns: u64,
}

/// From one look to the next: shorter than NVML's own samples, so that none is missed.
const EVERY: Duration = Duration::from_millis(50);

impl Looks {
    /// Looks for a while, writing what is seen onto the pages of slices.
    pub(crate) fn pass_on(
        &mut self,
        stage: &Stage<'_>,
        slices: &mut [Watched<'_>],
        span: Duration,
    ) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < span {
            thread::sleep(EVERY.min(span));
            if self.look(stage) {
                slices.iter_mut().try_for_each(|watched| self.write(watched))?;
            }
        }
        Ok(())
    }

    /// Looks for a while.
    pub(crate) fn watch(&mut self, stage: &Stage<'_>, span: Duration) -> Result<(), String> {
        self.pass_on(stage, &mut [], span)
    }

    fn write(&self, watched: &mut Watched<'_>) -> Result<(), String> {
        let seen = watched.pids.iter().filter_map(|pid| self.busy.get(pid));
        let (at_us, busy_ns) =
            seen.fold((0, 0), |all, one| (all.0.max(one.last_us), all.1 + one.busy_ns));
        match self.begun {
            Some((first_us, first_ns)) if at_us > 0 => {
                let at_ns = first_ns + at_us.saturating_sub(first_us).saturating_mul(1000);
                watched.slice.change(|limits| limits.seen = (busy_ns, at_ns))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The part of the time that NVML saw a tenant busy, in per cent; `None` if it showed nothing.
    pub(crate) fn percent(&self, tenant: &Tenant) -> Option<f64> {
        let Busy { first_us, last_us, busy_ns } = self.busy.get(&tenant.pid())?;
        let span_us = last_us - first_us;
        (span_us > 0).then(|| *busy_ns as f64 / (span_us as f64 * 10.0))
    }

    /// Takes in what is new; whether there was anything.
    fn look(&mut self, stage: &Stage<'_>) -> bool {
        // NVML says it as an error if there is nothing new.
        let asked = stage.watch(&format!("nvml samples 0 {}", self.seen_us));
        let Ok(samples) = asked else { return false };
        let (now_ns, before_us) = (steady_ns(), self.seen_us);
        for (pid, percent, at_us) in samples.split(' ').filter_map(parse) {
            self.begun.get_or_insert((at_us, now_ns));
            let new = Busy { first_us: at_us, last_us: at_us, busy_ns: 0 };
            let busy = self.busy.entry(pid).or_insert(new);
            let span_us = at_us.saturating_sub(busy.last_us);
            busy.busy_ns += span_us.saturating_mul(percent).saturating_mul(10);
            busy.last_us = at_us.max(busy.last_us);
            self.seen_us = self.seen_us.max(at_us);
        }
        self.seen_us > before_us
    }
}

/// Process, per cent, microseconds.
fn parse(sample: &str) -> Option<(u32, u64, u64)> {
    let (pid, rest) = sample.split_once(':')?;
    let (percent, at_us) = rest.split_once('@')?;
    Some((pid.parse().ok()?, percent.parse().ok()?, at_us.parse().ok()?))
}
