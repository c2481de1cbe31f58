//! The thread that reads what cards and jobs use, and notices jobs that do nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use cotenant_api::UseView;
use cotenant_device::{Cgroups, Meter};
use cotenant_sched::{Event, Job};
use cotenant_types::{Card, JobId};
use tokio::sync::watch;

use crate::keeper::{Message, now};
use crate::live::{Live, Uses};
use crate::store::Reader;

/// How often.
const PAUSE: Duration = Duration::from_secs(2);
/// Use below this is none: a program that waits still looks around now and then.
const BUSY_PER_MILLE: u32 = 10;

/// What the thread works with.
pub(crate) struct Metering {
    pub(crate) cards: Vec<Card>,
    pub(crate) reader: Reader,
    pub(crate) live: Arc<Live>,
    pub(crate) inbox: Sender<Message>,
    pub(crate) ending: watch::Receiver<bool>,
}

/// A job's processor time when it was last read.
type Before = BTreeMap<JobId, (Instant, u64)>;

impl Metering {
    /// Reads until the daemon ends.
    pub(crate) fn run(self) {
        let mut meter = Meter::new(&self.cards);
        let groups = Cgroups::open().ok();
        let mut before = Before::new();
        while !*self.ending.borrow() {
            let holders = self.reader.holders().unwrap_or_default();
            let jobs = match &groups {
                Some(groups) => self.jobs(&holders, groups, &mut before),
                None => BTreeMap::new(),
            };
            let at_ms = now().0;
            let reading = meter.read();
            let cards = reading.cards.into_iter().map(|it| {
                let view = UseView {
                    at_ms,
                    compute_per_mille: it.compute.per_mille(),
                    memory_mib: it.memory_used.0,
                    temperature_c: it.temperature_c,
                    power_mw: it.power_mw.map(u64::from),
                };
                (it.card, view)
            });
            self.live.set_uses(Uses { cards: cards.collect(), jobs });
            std::thread::park_timeout(PAUSE);
        }
    }

    fn jobs(
        &self,
        holders: &[Job],
        groups: &Cgroups,
        before: &mut Before,
    ) -> BTreeMap<JobId, UseView> {
        let cores: u32 = self.cards.iter().map(|card| card.cores).max().unwrap_or(1).max(1);
        let mut uses = BTreeMap::new();
        let mut read = Before::new();
        for job in holders {
            let Some((cpu_usec, memory_bytes)) = used(job, groups) else { continue };
            let at = Instant::now();
            read.insert(job.id, (at, cpu_usec));
            let since = before.get(&job.id).copied().unwrap_or((at, cpu_usec));
            let wall = (at - since.0).as_micros().max(1) as u64 * u64::from(cores);
            let busy = cpu_usec.saturating_sub(since.1).saturating_mul(1000) / wall;
            let compute_per_mille = u32::try_from(busy).unwrap_or(u32::MAX).min(1000);
            if compute_per_mille >= BUSY_PER_MILLE && job.terms.idle.is_some() {
                // If nobody listens any more, the daemon ends.
                let _ = self.inbox.send(Message::Event(Event::JobBusy { job: job.id }, None));
            }
            let memory_mib = memory_bytes >> 20;
            let view =
                UseView { at_ms: now().0, compute_per_mille, memory_mib, ..UseView::default() };
            uses.insert(job.id, view);
        }
        *before = read;
        uses
    }
}

/// Processor time and memory of all of a job's control groups; none if it has none.
fn used(job: &Job, groups: &Cgroups) -> Option<(u64, u64)> {
    let prefix = format!("job-{}-{}-", job.id, job.generation);
    let names = groups.list(&prefix).ok()?;
    let reads = names.iter().filter_map(|name| groups.find(name).ok()??.read_use().ok());
    let sums = reads.fold((0, 0), |sum, it| (sum.0 + it.cpu_usec, sum.1 + it.memory_bytes));
    (!names.is_empty()).then_some(sums)
}
