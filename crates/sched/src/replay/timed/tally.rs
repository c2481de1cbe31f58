//! Counts while a replay goes on: how much is in use, and how many wait.

use crate::replay::timed::findings::SLICES;

/// What was counted so far.
#[derive(Debug)]
pub(super) struct Tally {
    window: (u64, u64),
    now_s: u64,
    /// Compute in use now, in thousandths of a card.
    in_use: u64,
    /// Thousandths of a card times seconds, in each slice of the window.
    slices: Vec<u128>,
    pub(super) queue_peak: u64,
    /// What all jobs together have waited so far.
    pub(super) waited_s: u128,
    pub(super) moves: u64,
    /// Work that moves cost, in thousandths of a card times seconds.
    pub(super) lost: u128,
}

impl Tally {
    /// Counts nothing before the window begins, and nothing after it ends.
    pub(super) fn new(window: (u64, u64)) -> Self {
        Self {
            window,
            now_s: 0,
            in_use: 0,
            slices: vec![0; SLICES],
            queue_peak: 0,
            waited_s: 0,
            moves: 0,
            lost: 0,
        }
    }

    /// Lets time go by, in which so many jobs wait.
    pub(super) fn advance(&mut self, now_s: u64, waiting: u64) {
        let (from, to) = (self.now_s, now_s);
        self.now_s = now_s;
        self.waited_s += u128::from(to - from) * u128::from(waiting);
        if self.in_use == 0 {
            return;
        }
        let first = self.slice_of(from.max(self.window.0));
        for at in first..SLICES {
            let (begins, ends) = (self.begins(at), self.begins(at + 1));
            if begins >= to {
                return;
            }
            let seconds = to.min(ends).saturating_sub(from.max(begins));
            self.slices[at] += u128::from(seconds) * u128::from(self.in_use);
        }
    }

    /// So much more is in use.
    pub(super) fn take(&mut self, compute: u64) {
        self.in_use += compute;
    }

    /// So much less is in use.
    pub(super) fn give_back(&mut self, compute: u64) {
        self.in_use -= compute;
    }

    /// What was in use in each slice, in ten-thousandths of so much compute.
    pub(super) fn use_curve(&self, compute: u64) -> Vec<u64> {
        let slice = |at: usize| {
            let seconds = self.begins(at + 1) - self.begins(at);
            portion(self.slices[at], u128::from(seconds) * u128::from(compute))
        };
        (0..SLICES).map(slice).collect()
    }

    /// What was in use in the window, in ten-thousandths of so much compute.
    pub(super) fn in_use(&self, compute: u64) -> u64 {
        let seconds = self.window.1 - self.window.0;
        portion(self.slices.iter().sum(), u128::from(seconds) * u128::from(compute))
    }

    /// When a slice begins.
    fn begins(&self, at: usize) -> u64 {
        let (from, to) = self.window;
        from + (to - from) * at as u64 / SLICES as u64
    }

    /// A slice that begins at the time or before it, with none but empty ones between.
    fn slice_of(&self, time_s: u64) -> usize {
        let (from, to) = self.window;
        let seconds = time_s.saturating_sub(from) * SLICES as u64;
        (seconds / (to - from).max(1)).min(SLICES as u64) as usize
    }
}

fn portion(part: u128, whole: u128) -> u64 {
    (part * 10_000 / whole.max(1)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_counted_slice_by_slice_within_the_window() {
        for length in [1, 7, 100, 150, 1000] {
            let mut tally = Tally::new((10, 10 + length));
            tally.take(500);
            tally.advance(10 + length / 2, 2);
            tally.take(500);
            tally.advance(5000, 2);
            let half = u128::from(length / 2) * 500 + u128::from(length - length / 2) * 1000;
            assert_eq!(tally.slices.iter().sum::<u128>(), half, "{length}");
            assert_eq!(tally.in_use(1000), (half * 10_000 / u128::from(length * 1000)) as u64);
        }
        let mut tally = Tally::new((0, 100));
        tally.take(250);
        tally.advance(50, 2);
        tally.give_back(250);
        tally.advance(100, 2);
        let curve = tally.use_curve(1000);
        assert_eq!((curve[0], curve[49], curve[50], curve[99]), (2500, 2500, 0, 0));
        assert_eq!(tally.waited_s, 200);
    }
}
