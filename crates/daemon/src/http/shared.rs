//! What every handler works with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use cotenant_sched::{Event, PoolPolicy};
use tokio::sync::oneshot;
use tokio::sync::watch;

use super::metrics::{EventCounts, MetricNames};
use super::problem::Fault;
use crate::keeper::{Message, Reply};
use crate::live::Live;
use crate::store::Reader;

/// Cheap to copy: each request has one.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

/// What is behind it.
pub(crate) struct Inner {
    pub(crate) inbox: Sender<Message>,
    pub(crate) reader: Reader,
    pub(crate) live: Arc<Live>,
    pub(crate) runs: PathBuf,
    pub(crate) started_ms: u64,
    /// Told when somebody ends the daemon.
    pub(crate) ending: watch::Sender<bool>,
    /// Whether others than this machine can reach the pool.
    pub(crate) is_open: bool,
    /// How the pool chooses among cards that have room.
    pub(crate) policy: PoolPolicy,
    /// Under whose names figures are shown, besides our own.
    pub(crate) metric_names: Vec<MetricNames>,
    pub(crate) event_counts: EventCounts,
}

impl Shared {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Reads from the store, on a thread that may wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = self.0.clone();
        let done = tokio::task::spawn_blocking(move || read(&inner.reader)).await;
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Fault::unavailable(&error.to_string())),
            Err(_) => Err(Fault::unavailable("the read was cut off")),
        }
    }

    /// Sends an event, and waits until what it changed is kept.
    pub(super) async fn event(&self, event: Event) -> Result<(), Fault> {
        self.ask(|reply| Message::Event(event, Some(reply))).await
    }

    /// Sends a message, and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let gone = || Fault::unavailable("the daemon is ending");
        self.0.inbox.send(message(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(Fault::from)
    }
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
