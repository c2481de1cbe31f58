//! Sums gradients in plan order, whichever thread is first.
//!
//! Float addition depends on its order, so a piece's gradient waits until all pieces before it are
//! in the sum. Waiting gradients are bounded by a window over chunks: a thread that has run ahead
//! of the slowest chunk by a window waits. The slowest chunk's own thread never waits, so the
//! window always moves.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use crate::packing::Part;

/// The sums of a round, one a plan.
pub(crate) struct Reducer<'a> {
    sums: Vec<Mutex<Sum<'a>>>,
    /// Buffers that no gradient waits in.
    free: Mutex<Vec<Vec<f32>>>,
    window: Window,
}

struct Sum<'a> {
    total: &'a mut [f32],
    /// The piece to be added next.
    next: usize,
    waiting: BTreeMap<usize, Vec<f32>>,
}

impl<'a> Reducer<'a> {
    /// Adds to these totals, one a plan; `chunks_ahead` bounds how far threads can be apart.
    pub(crate) fn new(totals: impl Iterator<Item = &'a mut [f32]>, chunks_ahead: usize) -> Self {
        let sum = |total| Mutex::new(Sum { total, next: 0, waiting: BTreeMap::new() });
        let (sums, free) = (totals.map(sum).collect(), Mutex::default());
        Self { sums, free, window: Window::new(chunks_ahead) }
    }

    /// Waits until a chunk is within the window; the chunk is being worked on until the result is
    /// dropped.
    pub(crate) fn enter(&self, chunk: usize) -> Entered<'_> {
        self.window.enter(chunk)
    }

    /// Adds a piece's gradient as soon as its turn comes. `gradient` is left with any content.
    pub(crate) fn add(&self, part: Part, gradient: &mut Vec<f32>) {
        let mut sum = lock(&self.sums[part.plan]);
        if part.piece != sum.next {
            let buffer = lock(&self.free).pop().unwrap_or_default();
            sum.waiting.insert(part.piece, mem::replace(gradient, buffer));
            return;
        }
        sum.add(gradient);
        while let Some(waiting) = {
            let next = sum.next;
            sum.waiting.remove(&next)
        } {
            sum.add(&waiting);
            lock(&self.free).push(waiting);
        }
    }

    /// Whether every piece was added; `pieces` has one number a plan.
    pub(crate) fn is_complete(&self, pieces: impl Iterator<Item = usize>) -> bool {
        self.sums.iter().zip(pieces).all(|(sum, pieces)| lock(sum).next == pieces)
    }
}

impl Sum<'_> {
    fn add(&mut self, gradient: &[f32]) {
        self.next += 1;
        for (total, value) in self.total.iter_mut().zip(gradient) {
            *total += value;
        }
    }
}

/// Keeps chunks that are being worked on close together.
struct Window {
    size: usize,
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Every chunk below is done.
    done_below: usize,
    done: BTreeSet<usize>,
    /// A thread panicked; nobody waits any more.
    broken: bool,
}

/// A chunk that is being worked on.
pub(crate) struct Entered<'a> {
    window: &'a Window,
    chunk: usize,
}

impl Window {
    fn new(size: usize) -> Self {
        Self { size: size.max(1), progress: Mutex::default(), moved: Condvar::new() }
    }

    fn enter(&self, chunk: usize) -> Entered<'_> {
        let mut progress = lock(&self.progress);
        while chunk >= progress.done_below + self.size && !progress.broken {
            progress = self.moved.wait(progress).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        Entered { window: self, chunk }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut progress = lock(&self.window.progress);
        progress.broken |= thread::panicking();
        progress.done.insert(self.chunk);
        while {
            let below = progress.done_below;
            progress.done.remove(&below)
        } {
            progress.done_below += 1;
        }
        self.window.moved.notify_all();
    }
}

/// A panic elsewhere is reported when its thread is joined, so a poisoned lock needs no second one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use cotenant_transformer::random;

    use super::{Part, Reducer};
    use crate::round::crew;

    fn gradient(plan: usize, piece: usize) -> Vec<f32> {
        let value = |i| random::unit(random::mix(&[plan as u64, piece as u64, i])) - 0.5;
        (0..7).map(value).collect()
    }

    /// Adds three plans' pieces, one piece of each a chunk, on some threads.
    fn sums(threads: usize, chunks_ahead: usize, pieces: usize) -> Vec<Vec<f32>> {
        let mut totals = vec![vec![0.0; 7]; 3];
        let reducer = Reducer::new(totals.iter_mut().map(Vec::as_mut_slice), chunks_ahead);
        crew::run(&mut vec![(); threads], pieces, |(), chunk| {
            let _entered = reducer.enter(chunk);
            if chunk % 3 == 0 {
                std::thread::yield_now();
            }
            for plan in 0..3 {
                reducer.add(Part { plan, piece: chunk }, &mut gradient(plan, chunk));
            }
        });
        assert!(reducer.is_complete([pieces; 3].into_iter()));
        assert!(!reducer.is_complete([pieces + 1; 3].into_iter()));
        drop(reducer);
        totals
    }

    #[test]
    fn sums_have_the_same_bits_on_any_number_of_threads() {
        let expected = sums(1, 1, 60);
        for threads in 2..6 {
            for chunks_ahead in [1, 2, 16] {
                assert_eq!(sums(threads, chunks_ahead, 60), expected, "{threads} threads");
            }
        }
    }

    #[test]
    fn a_piece_waits_for_those_before_it() {
        let mut total = [vec![0.0; 7]];
        let reducer = Reducer::new(total.iter_mut().map(Vec::as_mut_slice), 8);
        for piece in [2, 0, 3, 1] {
            reducer.add(Part { plan: 0, piece }, &mut gradient(0, piece));
        }
        drop(reducer);
        let mut expected = vec![0.0; 7];
        for piece in 0..4 {
            expected.iter_mut().zip(gradient(0, piece)).for_each(|(sum, value)| *sum += value);
        }
        assert_eq!(total[0], expected);
    }

    #[test]
    fn a_panic_in_one_thread_leaves_no_other_waiting() {
        let mut totals = [vec![0.0]];
        let reducer = Reducer::new(totals.iter_mut().map(Vec::as_mut_slice), 1);
        let run = || {
            crew::run(&mut [(), ()], 20, |(), chunk| {
                let _entered = reducer.enter(chunk);
                assert_ne!(chunk, 4, "found on purpose");
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
