//! Runs the items of a phase on a few threads.
//!
//! Threads live as long as a phase. Starting one takes some tens of microseconds, a phase at least
//! some tens of milliseconds, and nothing needs to be shared beyond a borrow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Calls `task(worker, item)` once for each item below `items`, on as many threads as there are
/// workers; this thread is one of them. Items are begun in order. A thread that cannot be started
/// is done without.
pub(crate) fn run<W: Send>(workers: &mut [W], items: usize, task: impl Fn(&mut W, usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = |worker: &mut W| {
        loop {
            let item = next.fetch_add(1, Ordering::Relaxed);
            if item >= items {
                break;
            }
            task(worker, item);
        }
    };
    let useful = workers.len().min(items);
    let Some((here, others)) = workers[..useful].split_first_mut() else { return };
    thread::scope(|scope| {
        for (index, worker) in others.iter_mut().enumerate() {
            let name = format!("train-{}", index + 1);
            let started = thread::Builder::new().name(name).spawn_scoped(scope, || work(worker));
            if started.is_err() {
                break;
            }
        }
        work(here);
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::run;

    fn check(workers: usize, items: usize) {
        let seen = Mutex::new(vec![0; items]);
        let mut counts = vec![0; workers];
        run(&mut counts, items, |count, item| {
            *count += 1;
            seen.lock().unwrap()[item] += 1;
        });
        assert_eq!(seen.into_inner().unwrap(), vec![1; items], "{workers} workers");
        assert_eq!(counts.iter().sum::<usize>(), items);
    }

    #[test]
    fn each_item_is_done_once() {
        for workers in 1..5 {
            for items in [0, 1, 2, 3, 50] {
                check(workers, items);
            }
        }
    }
}
