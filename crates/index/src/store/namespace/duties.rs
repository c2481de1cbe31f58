//! What is done behind writes, what becomes of its errors, and when a write waits for it.
//!
//! ```text
//!  memory          0 ............ flush_bytes ............ twice as much
//!  a write         goes on        goes on, and has called  waits for the files of what was there
//! ```

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Namespace;
use super::locks::Writing;
use super::state::State;
use crate::store::background::{Caller, Duty};
use crate::store::embedding::Leisure;
use crate::store::error::IndexError;
use crate::store::limits::{BEHIND_VECTORS_MAX, DEATHS_MAX};

/// How long a write waits before it asks again whether somebody is at work.
const CALL_AGAIN: Duration = Duration::from_secs(1);

/// How a namespace stands with those who work behind its writes.
#[derive(Debug)]
pub(super) struct Duties {
    caller: Caller,
    namespace: Weak<Namespace>,
    /// Bytes of documents and vectors in memory from which on they are to become files.
    flush_bytes: usize,
    /// Whether somebody was called for a duty and has not begun.
    is_called: [AtomicBool; Duty::ALL.len()],
    failures: Mutex<Failures>,
    /// Told whenever there may be room again.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct Failures {
    /// What no write has reported yet.
    unreported: Option<(Duty, IndexError)>,
    /// Why each duty failed when it was tried last, by [`Duty`].
    last: BTreeMap<usize, String>,
    /// Counts up whenever there may be room for a write again.
    progress: u64,
}

impl Duties {
    pub(super) fn new(caller: Caller, namespace: Weak<Namespace>, flush_bytes: usize) -> Self {
        Self {
            caller,
            namespace,
            flush_bytes,
            is_called: Default::default(),
            failures: Mutex::default(),
            progress: Condvar::new(),
        }
    }

    /// Asks for a duty, and says whether somebody will see to it.
    pub(super) fn call(&self, duty: Duty) -> bool {
        let is_called = &self.is_called[duty as usize];
        if is_called.swap(true, Ordering::AcqRel) {
            return true;
        }
        let is_heard = self.caller.call(duty, self.namespace.clone());
        if !is_heard {
            is_called.store(false, Ordering::Release);
        }
        is_heard
    }

    /// Why the work behind writes does not get on, in words.
    pub(super) fn failure(&self) -> Option<String> {
        self.failures().last.values().next().cloned()
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock()
    }

    /// There may be room again, though the duty has not ended.
    pub(super) fn on_progress(&self) {
        self.failures().progress += 1;
        self.progress.notify_all();
    }

    /// A duty was done or not, by whomever.
    pub(super) fn on_ended(&self, duty: Duty, result: Result<(), IndexError>) {
        let mut failures = self.failures();
        failures.progress += 1;
        match result {
            Ok(()) => {
                failures.last.remove(&(duty as usize));
                failures.unreported.take_if(|(failed, _)| *failed == duty);
            }
            Err(error) => {
                failures.last.insert(duty as usize, error.to_string());
                failures.unreported = Some((duty, error));
            }
        }
        self.progress.notify_all();
    }
}

impl Namespace {
    /// Does a duty behind the writes; how it ended is told to the next write and by
    /// [`Namespace::stats`].
    pub(crate) fn do_duty(&self, duty: Duty) {
        // What comes from now on may need it once more.
        self.duties.is_called[duty as usize].store(false, Ordering::Release);
        let work = AssertUnwindSafe(|| match duty {
            Duty::Flush => self.flush_if_due(),
            Duty::Tidy => self.tidy(),
        });
        let result = catch_unwind(work).unwrap_or_else(|panic| Err(self.panicked(&*panic)));
        let result = if self.check_there().is_err() { Ok(()) } else { result };
        self.duties.on_ended(duty, result);
    }

    /// Lets a panic of ours end the work, and not those who wait for it.
    fn panicked(&self, panic: &(dyn Any + Send)) -> IndexError {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        let source = std::io::Error::other(format!("the program's own error: {words}"));
        IndexError::Disk { action: "tidy", path: self.folder.path().to_owned(), source }
    }

    /// Asks for what is due by now.
    pub(super) fn call_if_due(&self) -> Result<(), IndexError> {
        let state = self.read()?;
        let (is_full, is_misfit) = (state.is_due(self.duties.flush_bytes), state.is_misfit());
        drop(state);
        for (duty, is_due) in [(Duty::Flush, is_full), (Duty::Tidy, is_misfit)] {
            if is_due {
                // Where nobody hears it, the next write does it.
                self.duties.call(duty);
            }
        }
        Ok(())
    }

    /// The one writer, once there is room for a write. An error of the work behind earlier writes is
    /// returned once, by a write that is not begun.
    pub(super) fn writing_with_room(&self) -> Result<Writing<'_>, IndexError> {
        loop {
            let writer = self.writing()?;
            let seen = {
                let mut failures = self.duties.failures();
                if let Some((_, error)) = failures.unreported.take() {
                    return Err(error);
                }
                failures.progress
            };
            let state = self.read()?;
            let (needed, is_full) = state.needed(self.duties.flush_bytes);
            drop(state);
            let Some(duty) = needed else { return Ok(writer) };
            let is_heard = self.duties.call(duty);
            if is_heard && !is_full {
                return Ok(writer);
            }
            drop(writer);
            match (is_heard, duty) {
                (false, Duty::Flush) => self.flush()?,
                (false, Duty::Tidy) => self.tidy()?,
                (true, Duty::Flush) => self.wait(duty, seen),
                (true, Duty::Tidy) => {
                    if !self.catch_up_beside()? {
                        self.wait(duty, seen);
                    }
                }
            }
        }
    }

    /// Waits until there is progress since what was seen. After a while it is called for once more:
    /// the index, and its threads with it, may have ended meanwhile.
    fn wait(&self, duty: Duty, seen: u64) {
        let mut failures = self.duties.failures();
        let is_waiting = |failures: &mut Failures| failures.progress == seen;
        let waited = self.duties.progress.wait_while_for(&mut failures, is_waiting, CALL_AGAIN);
        if waited.timed_out() {
            self.duties.is_called[duty as usize].store(false, Ordering::Release);
        }
    }

    fn flush_if_due(&self) -> Result<(), IndexError> {
        let _flushing = self.flushing.lock();
        // What was frozen before and could not be written is tried again.
        while self.read()?.is_due(self.duties.flush_bytes) {
            self.flush_once()?;
        }
        self.duties.call(Duty::Tidy);
        Ok(())
    }

    /// Merges what has become too many or too dead, and lets vectors be searched as suits them.
    pub(super) fn tidy(&self) -> Result<(), IndexError> {
        let _tidying = self.tidying.lock();
        for number in self.embedding_numbers()? {
            self.catch_up(number)?;
        }
        self.refit(Leisure::None)?;
        self.merge()?;
        self.save_dense(Leisure::None)
    }
}

impl State {
    /// Whether what is in memory is to become files.
    fn is_due(&self, flush_bytes: usize) -> bool {
        self.frozen.is_some() || self.memory_bytes >= flush_bytes || self.deaths >= DEATHS_MAX
    }

    fn is_misfit(&self) -> bool {
        self.embeddings.iter().any(|embedding| embedding.is_misfit(Leisure::None))
    }

    /// What is to be done, and whether a write must wait for it.
    fn needed(&self, flush_bytes: usize) -> (Option<Duty>, bool) {
        let behind = self.embeddings.iter().map(|embedding| embedding.behind()).max();
        if behind.is_some_and(|behind| behind >= BEHIND_VECTORS_MAX) {
            return (Some(Duty::Tidy), true);
        }
        if self.is_due(flush_bytes) {
            let is_full =
                self.memory_bytes >= flush_bytes.saturating_mul(2) || self.deaths >= 2 * DEATHS_MAX;
            return (Some(Duty::Flush), is_full);
        }
        (self.is_misfit().then_some(Duty::Tidy), false)
    }
}
