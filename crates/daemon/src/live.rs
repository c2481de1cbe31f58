//! What is true now and kept nowhere: why jobs wait, what is used, how long the log is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cotenant_api::UseView;
use cotenant_sched::Reason;
use cotenant_types::{CardId, JobId};
use tokio::sync::watch;

/// Why each waiting job waits.
pub(crate) type Waits = BTreeMap<JobId, Arc<[Reason]>>;

/// What cards and jobs use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) cards: BTreeMap<CardId, UseView>,
    pub(crate) jobs: BTreeMap<JobId, UseView>,
}

/// The present, as the loop and the meter last told it.
pub(crate) struct Live {
    waits: Mutex<Arc<Waits>>,
    uses: Mutex<Arc<Uses>>,
    /// The last event of the log.
    pub(crate) seq: watch::Sender<u64>,
}

impl Live {
    pub(crate) fn new(seq: u64) -> Self {
        Self { waits: Mutex::default(), uses: Mutex::default(), seq: watch::Sender::new(seq) }
    }

    pub(crate) fn waits(&self) -> Arc<Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_waits(&self, waits: Waits) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(waits);
    }

    pub(crate) fn uses(&self) -> Arc<Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_uses(&self, uses: Uses) {
        *self.uses.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(uses);
    }
}
