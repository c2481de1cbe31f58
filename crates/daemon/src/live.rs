//! What is true now and kept nowhere: why jobs wait, what is used, how long the log is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use cotenant_api::UseView;
use cotenant_device::{Health, PartitionUse, Vitals};
use cotenant_sched::Reason;
use cotenant_types::{Card, CardId, CardKind, JobId};
use tokio::sync::watch;

use crate::executor::Counted;

/// Why each waiting job waits.
pub(crate) type Waits = BTreeMap<JobId, Arc<[Reason]>>;

/// Most readings that are remembered: five minutes of them.
const READINGS_MAX: usize = 150;
/// Most cards, members and jobs of a reading that are remembered one by one.
const REMEMBERED_MAX: usize = 2048;

/// What cards, slices and jobs use, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    /// When it was read; 0 if it never was.
    pub(crate) at_ms: u64,
    pub(crate) cards: BTreeMap<CardId, UseView>,
    /// By job and member, then by card.
    pub(crate) slices: BTreeMap<(JobId, u32), BTreeMap<CardId, UseView>>,
    /// What the preload library counted of members.
    pub(crate) counted: BTreeMap<(JobId, u32), Counted>,
    /// The sums of their slices.
    pub(crate) jobs: BTreeMap<JobId, UseView>,
    /// The sum of all cards.
    pub(crate) total: UseView,
    /// How cards are that say it, those too that do not answer any more.
    pub(crate) conditions: BTreeMap<CardId, Condition>,
    /// What partitions of cards in MIG mode do.
    pub(crate) partitions: Vec<PartitionUse>,
}

/// How a card is.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) health: Health,
    pub(crate) vitals: Vitals,
}

impl Uses {
    /// The sum of several uses, at this time.
    pub(crate) fn sum<'a>(&self, uses: impl Iterator<Item = &'a UseView>) -> UseView {
        let none = UseView { at_ms: self.at_ms, ..UseView::default() };
        uses.fold(none, |sum, it| UseView {
            compute_per_mille: sum.compute_per_mille.saturating_add(it.compute_per_mille),
            memory_mib: sum.memory_mib.saturating_add(it.memory_mib),
            ..sum
        })
    }

    /// How much there is to remember.
    fn len(&self) -> usize {
        let cards = self.cards.len() + self.conditions.len() + self.partitions.len();
        cards + self.slices.len() + self.jobs.len()
    }

    /// What is in use of a card. A simulated one that nobody uses does nothing.
    pub(crate) fn of_card(&self, card: &Card) -> Option<UseView> {
        let is_simulated = card.kind == CardKind::Sim && self.at_ms > 0;
        let idle = || is_simulated.then(|| UseView { at_ms: self.at_ms, ..UseView::default() });
        self.cards.get(&card.id).cloned().or_else(idle)
    }

    /// What is in use of a member's slice of a card.
    pub(crate) fn of_slice(&self, job: JobId, member: u32, card: &CardId) -> Option<&UseView> {
        self.slices.get(&(job, member))?.get(card)
    }
}

/// The present, as the loop and the meter last told it.
pub(crate) struct Live {
    waits: Mutex<Arc<Waits>>,
    /// What was read last, behind what was read before; never empty.
    uses: Mutex<VecDeque<Arc<Uses>>>,
    /// The last event of the log.
    pub(crate) seq: watch::Sender<u64>,
}

impl Live {
    pub(crate) fn new(seq: u64) -> Self {
        let uses = Mutex::new(VecDeque::from([Arc::default()]));
        Self { waits: Mutex::default(), uses, seq: watch::Sender::new(seq) }
    }

    pub(crate) fn waits(&self) -> Arc<Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_waits(&self, waits: Waits) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(waits);
    }

    pub(crate) fn uses(&self) -> Arc<Uses> {
        let kept = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        kept.back().cloned().unwrap_or_default()
    }

    /// What was read over the last minutes, the oldest first; of a large pool the totals alone.
    pub(crate) fn history(&self) -> Vec<Arc<Uses>> {
        let kept = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|uses| uses.at_ms > 0).cloned().collect()
    }

    pub(crate) fn set_uses(&self, uses: Uses) {
        let mut kept = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = kept.back_mut().filter(|last| last.len() > REMEMBERED_MAX) {
            let Uses { at_ms, ref total, .. } = **last;
            *last = Arc::new(Uses { at_ms, total: total.clone(), ..Uses::default() });
        }
        kept.push_back(Arc::new(uses));
        if kept.len() > READINGS_MAX {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading at a time, of so many jobs.
    fn uses(at_ms: u64, jobs: u64) -> Uses {
        let total = UseView { at_ms, memory_mib: 7, ..UseView::default() };
        let jobs = (0..jobs).map(|id| (JobId(id), total.clone())).collect();
        Uses { at_ms, jobs, total, ..Uses::default() }
    }

    #[test]
    fn the_last_minutes_are_remembered_within_bounds() {
        let live = Live::new(0);
        assert_eq!((live.uses().at_ms, live.history().len()), (0, 0));
        let large = REMEMBERED_MAX as u64 + 1;
        live.set_uses(uses(1, large));
        assert_eq!(live.uses().jobs.len() as u64, large, "the last is whole");
        live.set_uses(uses(2, 3));
        live.set_uses(uses(3, 0));
        let shown = |live: &Live| -> Vec<(u64, usize)> {
            live.history().iter().map(|uses| (uses.at_ms, uses.jobs.len())).collect()
        };
        assert_eq!(shown(&live), [(1, 0), (2, 3), (3, 0)]);
        assert!(live.history().iter().all(|uses| uses.total.memory_mib == 7));
        for at_ms in 4..1000 {
            live.set_uses(uses(at_ms, 1));
        }
        assert_eq!(live.history().len(), READINGS_MAX);
        assert_eq!((live.history()[0].at_ms, live.uses().at_ms), (850, 999));
    }
}
