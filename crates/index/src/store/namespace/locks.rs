//! The locks of a namespace, that are given back to whoever has waited longest.
//!
//! A thread that gives a lock back and takes it again, as it does for each part of a batch, would
//! otherwise have it before those who wait have woken up; searches would then wait for all of it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::panicking;

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Writer;
use super::state::State;

/// The state, and whether a change of it ended in a panic, so that nobody knows what it is.
pub(super) struct StateLock {
    state: RwLock<State>,
    is_torn: AtomicBool,
}

/// A change of the state that is being made; searches wait.
pub(super) struct Changing<'a> {
    lock: &'a StateLock,
    /// Given back when this is dropped, and not before.
    state: Option<RwLockWriteGuard<'a, State>>,
}

/// The right to write.
pub(super) struct Writing<'a> {
    /// Given back when this is dropped, and not before.
    writer: Option<MutexGuard<'a, Writer>>,
}

impl StateLock {
    pub(super) fn new(state: State) -> Self {
        Self { state: RwLock::new(state), is_torn: AtomicBool::new(false) }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.check();
        self.state.read()
    }

    pub(super) fn change(&self) -> Changing<'_> {
        let state = Some(self.state.write());
        self.check();
        Changing { lock: self, state }
    }

    fn check(&self) {
        assert!(!self.is_torn.load(Ordering::Acquire), "a change of the namespace panicked");
    }
}

impl Deref for Changing<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect("it is given back at the end")
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("it is given back at the end")
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.lock.is_torn.fetch_or(panicking(), Ordering::AcqRel);
        if let Some(state) = self.state.take() {
            RwLockWriteGuard::unlock_fair(state);
        }
    }
}

impl<'a> Writing<'a> {
    pub(super) fn new(writer: &'a Mutex<Writer>) -> Self {
        Self { writer: Some(writer.lock()) }
    }
}

impl Deref for Writing<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        self.writer.as_ref().expect("it is given back at the end")
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is given back at the end")
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let Some(mut writer) = self.writer.take() else { return };
        // Whoever panicked may have left the disk and what we know of it apart.
        writer.is_stopped |= panicking();
        MutexGuard::unlock_fair(writer);
    }
}
