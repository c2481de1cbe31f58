//! What comes in, when, and for how long; and how long it may wait.

use std::collections::BTreeSet;

use cotenant_types::{Class, JobTerms, Moment, Seconds, TenantName};

use super::draw::exponential;
use crate::advise::whole;

/// Most jobs that should be simulated, of all seeds together: each pool that is tried plans anew for
/// each.
pub const JOBS_MAX: u64 = 100_000;

/// What a simulated pool has to bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Jobs, by what they have in common.
    pub streams: Vec<Stream>,
    /// Each is one course of the same time; what is found counts the jobs of all.
    pub seeds: Vec<u64>,
    /// How long jobs come that are counted.
    pub horizon: Seconds,
    /// How long they may wait.
    pub target: Target,
}

/// Jobs that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What each of them asks for. Deadlines and idleness are left out of a simulation.
    pub terms: JobTerms,
    /// How many sources send such jobs, none knowing of another.
    pub copies: u32,
    /// When the sources begin.
    pub start: Seconds,
    /// The mean time between two jobs of a source, which come at random; without it, each sends one
    /// as it begins, and no more.
    pub every: Option<Seconds>,
    /// How long a job runs; without it, for ever.
    pub runs: Option<Length>,
}

/// How long jobs run that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// All of them so long.
    Fixed(Seconds),
    /// So long on average, and most of them less: exponentially distributed.
    Exponential(Seconds),
}

/// How long jobs may wait: of every stream, 95 of 100 jobs no longer; of those that run for ever,
/// all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Offline jobs.
    pub offline: Seconds,
    /// Online jobs.
    pub online: Seconds,
}

/// A job that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub(super) at: Moment,
    pub(super) stream: usize,
    /// Which of its stream, to tell apart what comes in at once.
    source: (u32, u64),
    pub(super) runs_ms: Option<u64>,
}

/// What a random number is for.
#[derive(Clone, Copy)]
enum Purpose {
    Gap = 1,
    Run = 2,
}

impl Demand {
    /// The same jobs, each with whole cards.
    pub fn without_sharing(&self) -> Self {
        let alone = |stream: &Stream| Stream { terms: whole(&stream.terms), ..stream.clone() };
        Self { streams: self.streams.iter().map(alone).collect(), ..self.clone() }
    }

    /// Time at the beginning, while the pool fills: jobs of sources that send more than one count
    /// only after it. A tenth of all.
    pub fn warm_up(&self) -> Seconds {
        Seconds(self.horizon.0 / 10)
    }

    /// Jobs that are to be expected, of all seeds together.
    pub fn jobs_expected(&self) -> u64 {
        let end = self.end();
        let of = |stream: &Stream| match stream.every {
            None => u64::from(stream.copies),
            Some(every) => {
                let span = end - Moment(stream.start.to_ms());
                let each = span.div_ceil(every.to_ms().max(1));
                u64::from(stream.copies).saturating_mul(each)
            }
        };
        let one = self.streams.iter().map(of).fold(0, u64::saturating_add);
        one.saturating_mul(self.seeds.len() as u64)
    }

    /// The last moment of a simulation. Jobs go on coming after the last one that counts, until
    /// even that one has waited too long or not.
    pub(super) fn end(&self) -> Moment {
        let target = self.target.offline.max(self.target.online);
        Moment(self.horizon.to_ms()).after(target)
    }

    /// Whether a job counts in what is found.
    pub(super) fn counts(&self, arrival: &Arrival) -> bool {
        let is_warm = arrival.at.0 >= self.warm_up().to_ms();
        let comes_once = self.streams[arrival.stream].every.is_none();
        arrival.at.0 < self.horizon.to_ms() && (is_warm || comes_once)
    }

    /// How long a job may wait.
    pub(super) fn wait_max_ms(&self, arrival: &Arrival) -> u64 {
        let target = match self.streams[arrival.stream].terms.class {
            Class::Online => self.target.online,
            Class::Offline => self.target.offline,
        };
        target.to_ms()
    }

    /// Jobs of a stream that may wait longer, of so many.
    pub(super) fn late_max(&self, stream: usize, came: u64) -> u64 {
        match self.streams[stream].runs {
            None => 0,
            // What the nearest rank leaves above the 95th per cent.
            Some(_) => came / 20,
        }
    }

    /// Everyone who sends jobs.
    pub(super) fn tenants(&self) -> BTreeSet<TenantName> {
        self.streams.iter().map(|stream| stream.terms.tenant.clone()).collect()
    }

    /// All that comes in with a seed, in order.
    pub(super) fn arrivals(&self, seed: u64) -> Vec<Arrival> {
        let end = self.end();
        let mut arrivals = Vec::new();
        for (number, stream) in self.streams.iter().enumerate() {
            for copy in 0..stream.copies {
                let source = Source { seed, stream, number, copy };
                arrivals.extend(source.arrivals().take_while(|arrival| arrival.at <= end));
            }
        }
        arrivals.sort_unstable();
        arrivals
    }
}

struct Source<'a> {
    seed: u64,
    stream: &'a Stream,
    number: usize,
    copy: u32,
}

impl Source<'_> {
    /// Its jobs, one after the other; without end, if it sends more than one.
    fn arrivals(&self) -> impl Iterator<Item = Arrival> {
        let start = Moment(self.stream.start.to_ms());
        let jobs = if self.stream.every.is_some() { usize::MAX } else { 1 };
        let times = (0u64..).scan(start, move |at, job| {
            if let Some(every) = self.stream.every {
                *at = at.after_ms(exponential(every.to_ms().max(1), &self.key(Purpose::Gap, job)));
            }
            Some((*at, job))
        });
        times.take(jobs).map(|(at, job)| Arrival {
            at,
            stream: self.number,
            source: (self.copy, job),
            runs_ms: self.stream.runs.map(|length| self.run_ms(length, job)),
        })
    }

    fn run_ms(&self, length: Length, job: u64) -> u64 {
        match length {
            Length::Fixed(time) => time.to_ms().max(1),
            Length::Exponential(mean) => {
                exponential(mean.to_ms(), &self.key(Purpose::Run, job)).max(1)
            }
        }
    }

    fn key(&self, purpose: Purpose, job: u64) -> [u64; 5] {
        [self.seed, self.number as u64, u64::from(self.copy), job, purpose as u64]
    }
}
