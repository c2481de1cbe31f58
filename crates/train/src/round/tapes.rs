//! Which chunks keep their tape between forward and backward, and the pool of tapes.
//!
//! What fits in the limit is kept, first in the lean form, then in fuller ones as far as bytes
//! last. A chunk that keeps nothing is run forward a second time just before its backward
//! (GradCache, arXiv:2101.06983). No choice changes any bit of the result.

use cotenant_transformer::{Backend, Tape, TapeMode};

/// What is kept of the chunks of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TapePlan {
    /// One entry a chunk; `None` keeps nothing.
    pub(crate) keeps: Vec<Option<TapeMode>>,
    /// How the others are run the second time.
    pub(crate) recompute: TapeMode,
    /// Bytes of the largest tape used for that, one such tape a thread; 0 if all are kept.
    pub(crate) recompute_bytes: usize,
    /// Bytes of each tape that is kept, in the order of the chunks.
    kept_bytes: Vec<usize>,
}

impl TapePlan {
    fn new(costs: &[TapeCost], keeps: Vec<Option<TapeMode>>, again: (TapeMode, usize)) -> Self {
        let kept = keeps.iter().zip(costs).filter_map(|(keep, cost)| Some(cost.of((*keep)?)));
        let kept_bytes = kept.collect();
        let (recompute, recompute_bytes) = again;
        Self { keeps, recompute, recompute_bytes, kept_bytes }
    }

    /// Chunks that are run a second time.
    pub(crate) fn recomputed(&self) -> usize {
        self.keeps.len() - self.kept_bytes.len()
    }

    /// Bytes of every tape of the round on so many threads: those that are kept, then those that
    /// threads run chunks again with.
    pub(crate) fn uses(&self, threads: usize) -> Vec<usize> {
        let again = std::iter::repeat_n(self.recompute_bytes, self.recomputed().min(threads));
        self.kept_bytes.iter().copied().chain(again).collect()
    }
}

/// Bytes of a chunk's tape in each form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TapeCost {
    /// With everything that backward needs.
    pub(crate) full: usize,
    /// With a part of it, the rest computed again.
    pub(crate) light: usize,
    /// With the least of it.
    pub(crate) lean: usize,
}

impl TapeCost {
    /// Bytes in one form.
    pub(crate) fn of(&self, mode: TapeMode) -> usize {
        match mode {
            TapeMode::Full => self.full,
            TapeMode::Light => self.light,
            TapeMode::Lean => self.lean,
        }
    }
}

/// Chooses under a limit in bytes. Where not everything fits, a tape for each thread is set aside
/// first; that much is used even if the limit is smaller.
pub(crate) fn choose(costs: &[TapeCost], bytes_max: usize, threads: usize) -> TapePlan {
    let lean: usize = costs.iter().map(|cost| cost.lean).sum();
    if lean <= bytes_max {
        let mut left = bytes_max - lean;
        let mut keeps = vec![TapeMode::Lean; costs.len()];
        for more in [TapeMode::Light, TapeMode::Full] {
            for (keep, cost) in keeps.iter_mut().zip(costs) {
                let bytes = cost.of(more).saturating_sub(cost.of(*keep));
                if bytes <= left {
                    left -= bytes;
                    *keep = more;
                }
            }
        }
        let keeps = keeps.into_iter().map(Some).collect();
        return TapePlan::new(costs, keeps, (TapeMode::Full, 0));
    }
    let threads = threads.min(costs.len());
    let largest = |mode| costs.iter().map(|cost| cost.of(mode)).max().unwrap_or(0);
    let fits_full = largest(TapeMode::Full).saturating_mul(threads) <= bytes_max;
    let recompute = if fits_full { TapeMode::Full } else { TapeMode::Lean };
    let recompute_bytes = largest(recompute);
    let mut left = bytes_max.saturating_sub(recompute_bytes.saturating_mul(threads));
    let mut keep = |cost: &TapeCost| {
        let fits = cost.lean <= left;
        left -= if fits { cost.lean } else { 0 };
        fits.then_some(TapeMode::Lean)
    };
    let keeps = costs.iter().map(&mut keep).collect();
    TapePlan::new(costs, keeps, (recompute, recompute_bytes))
}

/// Tapes that are used again from round to round.
pub(crate) struct TapePool<B: Backend> {
    bytes_max: usize,
    idle: Vec<PooledTape<B>>,
}

/// A tape and the bytes that it may grow to.
pub(crate) struct PooledTape<B: Backend> {
    /// The tape.
    pub(crate) tape: Tape<B>,
    bytes: usize,
}

impl<B: Backend> TapePool<B> {
    /// Keeps idle tapes up to a number of bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, idle: Vec::new() }
    }

    /// A tape for each use of so many bytes, in that order: an idle one of that size, else the next
    /// larger one, else a fresh one. Before more than the limit is held, idle tapes are let go, and
    /// then larger ones than a use needs.
    pub(crate) fn take(&mut self, uses: &[usize]) -> Vec<PooledTape<B>> {
        self.idle.sort_by_key(|tape| tape.bytes);
        let mut taken: Vec<Option<PooledTape<B>>> =
            uses.iter().map(|&bytes| self.idle_where(|idle| idle == bytes)).collect();
        for (tape, &bytes) in taken.iter_mut().zip(uses) {
            *tape = tape.take().or_else(|| self.idle_where(|idle| idle >= bytes));
        }
        let size = |(tape, &bytes): (&Option<PooledTape<B>>, &usize)| {
            tape.as_ref().map_or(bytes, |tape| tape.bytes)
        };
        let mut held: usize = taken.iter().zip(uses).map(size).sum();
        held += self.idle.iter().map(|tape| tape.bytes).sum::<usize>();
        while held > self.bytes_max
            && let Some(largest) = self.idle.pop()
        {
            held -= largest.bytes;
        }
        for (tape, &bytes) in taken.iter_mut().zip(uses) {
            let is_larger = |tape: &mut PooledTape<B>| tape.bytes > bytes;
            if held > self.bytes_max
                && let Some(larger) = tape.take_if(is_larger)
            {
                held -= larger.bytes - bytes;
            }
        }
        let fresh = |bytes| PooledTape { tape: Tape::default(), bytes };
        taken
            .into_iter()
            .zip(uses)
            .map(|(tape, &bytes)| tape.unwrap_or_else(|| fresh(bytes)))
            .collect()
    }

    /// Takes out the first idle tape of such a size.
    fn idle_where(&mut self, is_wanted: impl Fn(usize) -> bool) -> Option<PooledTape<B>> {
        let at = self.idle.iter().position(|tape| is_wanted(tape.bytes))?;
        Some(self.idle.remove(at))
    }

    /// Takes back tapes for later rounds.
    pub(crate) fn give_back(&mut self, tapes: impl IntoIterator<Item = PooledTape<B>>) {
        self.idle.extend(tapes);
    }
}

#[cfg(test)]
mod tests {
    use cotenant_transformer::{Cpu, TapeMode};

    use super::{TapeCost, TapePlan, TapePool, choose};

    fn check(full: &[usize], bytes_max: usize, expected: &str, recompute_bytes: usize) {
        let costs: Vec<TapeCost> =
            full.iter().map(|&full| TapeCost { full, light: full / 2, lean: full / 4 }).collect();
        let TapePlan { keeps, recompute_bytes: found, .. } = choose(&costs, bytes_max, 2);
        let letter = |keep: &Option<TapeMode>| match keep {
            Some(TapeMode::Full) => 'F',
            Some(TapeMode::Light) => 'L',
            Some(TapeMode::Lean) => 'l',
            None => '-',
        };
        assert_eq!(
            keeps.iter().map(letter).collect::<String>(),
            expected,
            "{full:?} in {bytes_max}"
        );
        assert_eq!(found, recompute_bytes, "{full:?} in {bytes_max}");
    }

    #[test]
    fn what_fits_is_kept_and_the_rest_runs_twice() {
        check(&[], 0, "", 0);
        check(&[100, 100, 100], 300, "FFF", 0);
        check(&[100, 100, 100], 299, "FFL", 0);
        check(&[100, 100, 100], 125, "LLl", 0);
        check(&[100, 100, 100], 75, "lll", 0);
        check(&[100; 12], 250, "ll----------", 100);
        check(&[100; 12], 74, "------------", 25);
        check(&[100; 12], 0, "------------", 25);
        check(&[400, 40, 40, 40], 190, "lFLL", 0);
        check(&[400, 40, 40, 40], 129, "----", 100);
    }

    #[test]
    fn the_pool_reuses_tapes_and_never_holds_more_than_its_bytes() {
        let mut pool = TapePool::<Cpu>::new(100);
        let sizes = |pool: &TapePool<Cpu>| {
            let mut sizes: Vec<usize> = pool.idle.iter().map(|tape| tape.bytes).collect();
            sizes.sort_unstable();
            sizes
        };
        for (uses, held) in [
            (&[30, 20][..], &[20, 30][..]),
            (&[25], &[20, 30]),
            (&[20, 30, 40], &[20, 30, 40]),
            (&[90], &[90]),
            (&[20, 20], &[20, 20]),
            (&[50, 20], &[20, 20, 50]),
            (&[40, 20, 20], &[20, 20, 50]),
            (&[20, 20, 20], &[20, 20, 50]),
            (&[20, 20, 20, 20, 20], &[20, 20, 20, 20, 20]),
        ] {
            let tapes = pool.take(uses);
            assert_eq!(tapes.len(), uses.len());
            assert!(tapes.iter().zip(uses).all(|(tape, &bytes)| tape.bytes >= bytes));
            pool.give_back(tapes);
            assert_eq!(sizes(&pool), held, "after {uses:?}");
        }
    }
}
