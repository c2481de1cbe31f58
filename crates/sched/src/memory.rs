//! How much memory a job will need, from what was foretold and what earlier runs of it took.

use cotenant_types::Mebibytes;

/// Most earlier runs that count, the newest.
pub const RUNS_COUNTED_MAX: usize = 5;
/// Room that is left above what is expected, in thousandths of it: estimates are promised to be so
/// near.
const ROOM_PER_MILLE: u64 = 100;
/// What a run that ended at its limit would have needed is not known; half as much again is tried.
const CUT_PER_MILLE: u64 = 1_500;

/// What an earlier run of a job took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// The most memory that it had on a card.
    pub peak: Mebibytes,
    /// What had been foretold for it, if anything had.
    pub estimate: Option<Mebibytes>,
    /// Whether its limit ended it.
    pub is_cut: bool,
}

/// Memory to keep for a job on each card; none if nothing is known of it.
///
/// What earlier runs took counts before what is foretold now. Where both were foretold, a run
/// stands for as much more as is foretold now: a workspace that doubled is expected to need double
/// of what was measured, not of what was guessed.
pub fn expected_memory(estimate: Option<Mebibytes>, past: &[PastRun]) -> Option<Mebibytes> {
    let past = past.iter().take(RUNS_COUNTED_MAX).map(|run| {
        let cut = if run.is_cut { per_mille(run.peak.0, CUT_PER_MILLE) } else { run.peak.0 };
        match (estimate, run.estimate) {
            (Some(now), Some(then)) if then.0 > 0 => scaled(cut, (now.0, then.0)),
            _ => cut,
        }
    });
    let expected = past.max().or(estimate.map(|estimate| estimate.0))?;
    Some(Mebibytes(per_mille(expected, 1000 + ROOM_PER_MILLE).max(1)))
}

fn per_mille(amount: u64, part: u64) -> u64 {
    scaled(amount, (part, 1000))
}

/// An amount times a ratio, rounded up; the most that a number holds, if it would be more.
fn scaled(amount: u64, (now, then): (u64, u64)) -> u64 {
    let scaled = (u128::from(amount) * u128::from(now)).div_ceil(u128::from(then));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_counts_before_what_was_foretold() {
        let check = |estimate: u64, past: &[(u64, u64, bool)], expected: u64| {
            let known = |mib: u64| (mib > 0).then_some(Mebibytes(mib));
            let run = |&(peak, estimate, is_cut): &(u64, u64, bool)| PastRun {
                peak: Mebibytes(peak),
                estimate: known(estimate),
                is_cut,
            };
            let past: Vec<PastRun> = past.iter().map(run).collect();
            assert_eq!(expected_memory(known(estimate), &past), known(expected), "{past:?}");
        };
        check(0, &[], 0);
        check(1000, &[], 1100);
        check(0, &[(500, 0, false), (700, 0, false)], 770);
        // It was foretold 1000 and took 800: twice as much foretold is twice what it took.
        check(2000, &[(800, 1000, false)], 1760);
        check(1000, &[(800, 0, false)], 880);
        check(0, &[(1000, 0, true)], 1650);
        check(u64::MAX, &[], u64::MAX);
        // Older runs than the newest five are forgotten.
        let mut past = vec![(100, 0, false); RUNS_COUNTED_MAX];
        past.push((9000, 0, false));
        check(0, &past, 110);
    }
}
