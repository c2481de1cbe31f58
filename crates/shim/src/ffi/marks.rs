//! Marks around a submission: a pair of the driver's events, between which its time is measured.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::account::SUCCESS;
use super::capture;
use super::driver::{self, Handle};
use crate::compute::Verdict;

/// CUDA_ERROR_NOT_READY.
const NOT_READY: i32 = 600;

/// No work for a card takes less.
const LEAST_NS: u64 = 500;

/// A pair of the driver's events, made when first needed and kept.
pub(super) struct Marks {
    context: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    /// Of the time between them, so much is not the submission's.
    left_out_ns: AtomicU64,
}

impl Marks {
    pub(super) const fn none() -> Self {
        Self {
            context: AtomicU64::new(0),
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            left_out_ns: AtomicU64::new(0),
        }
    }

    pub(super) fn clear(&self) {
        for word in [&self.context, &self.start, &self.end] {
            word.store(0, Relaxed);
        }
    }

    pub(super) fn is_of(&self, context: u64) -> bool {
        self.context.load(Relaxed) == context
    }

    /// Makes them events of this context, if they are not already.
    pub(super) fn are_of(&self, context: u64) -> bool {
        if context == 0 {
            return false;
        }
        if self.is_of(context) {
            return true;
        }
        for word in [&self.start, &self.end] {
            let old = word.swap(0, Relaxed);
            if old != 0 {
                // SAFETY: the event is ours, and nobody has marked with it since it was taken.
                unsafe { driver::cuEventDestroy_v2(old as Handle) };
            }
            let mut event = std::ptr::null_mut();
            // SAFETY: the place is ours.
            if unsafe { driver::cuEventCreate(&mut event, 0) } != SUCCESS {
                self.context.store(0, Relaxed);
                return false;
            }
            word.store(event as u64, Relaxed);
        }
        self.context.store(context, Relaxed);
        true
    }

    /// Puts the first mark on a stream.
    pub(super) fn begin(&self, stream: Handle) -> bool {
        self.left_out_ns.store(0, Relaxed);
        record(&self.start, stream)
    }

    /// Puts the second one there.
    pub(super) fn end(&self, stream: Handle) -> bool {
        record(&self.end, stream)
    }

    /// Whether the card has come to the first mark.
    pub(super) fn have_begun(&self) -> bool {
        let start = self.start.load(Relaxed) as Handle;
        // SAFETY: the event is ours, of a context that was not destroyed.
        capture::relaxed(|| unsafe { driver::cuEventQuery(start) == SUCCESS })
    }

    /// Says that so much of the time between them is not the submission's.
    pub(super) fn leave_out(&self, ns: u64) {
        self.left_out_ns.store(ns, Relaxed);
    }

    /// What is known of the time between them. A capture may forbid the look: see
    /// [`capture::relaxed`].
    pub(super) fn look(&self) -> Verdict {
        let (start, end) = (self.start.load(Relaxed), self.end.load(Relaxed));
        if start == 0 || end == 0 {
            return Verdict::Lost;
        }
        // SAFETY: the events are ours, of a context that was not destroyed.
        match unsafe { driver::cuEventQuery(end as Handle) } {
            SUCCESS => {}
            NOT_READY => return Verdict::NotYet,
            _ => return Verdict::Lost,
        }
        let mut ms = 0.0f32;
        // SAFETY: as above, and the place is ours.
        let result = unsafe { driver::cuEventElapsedTime(&mut ms, start as Handle, end as Handle) };
        match result {
            SUCCESS if ms.is_finite() && ms >= 0.0 => {
                let ns = (f64::from(ms) * 1_000_000.0) as u64;
                Verdict::Took(match self.left_out_ns.load(Relaxed) {
                    0 => ns,
                    left_out => ns.saturating_sub(left_out).max(LEAST_NS.min(ns)),
                })
            }
            SUCCESS => Verdict::Lost,
            NOT_READY => Verdict::NotYet,
            _ => Verdict::Lost,
        }
    }
}

fn record(event: &AtomicU64, stream: Handle) -> bool {
    // SAFETY: the event was made for the current context, and the stream is the program's.
    unsafe { driver::cuEventRecord(event.load(Relaxed) as Handle, stream) == SUCCESS }
}
