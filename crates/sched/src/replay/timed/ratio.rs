//! Who is tried first of those that wait: highest response ratio next (Brinch Hansen, 1971).
//!
//! Short jobs go before long ones, which shortens the mean wait; but whoever waits rises, however long
//! it runs, so that nobody waits for ever behind others. How long jobs run is what those of their kind
//! that have ended say.

use crate::replay::timed::engine::Timed;

/// What [`Timed::rank`] says of a job that has not waited yet.
pub(super) const FRESH: u64 = 1 << 20;

impl Timed<'_> {
    /// Where a job stands among those that wait, the lowest first: the part of its time for which it
    /// will have run if it starts now. All are equal where their order is that in which they came.
    pub(super) fn rank(&self, number: u32) -> u64 {
        if !self.setting.beyond.ratio {
            return FRESH;
        }
        let runs_s = u128::from(self.lifetimes.left(self.kind(number), 0));
        let waited_s = u128::from(self.now_s - self.job(number).arrives_s);
        (u128::from(FRESH) * runs_s / (waited_s + runs_s)) as u64
    }
}
