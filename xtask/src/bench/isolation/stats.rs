//! Ratios of neighbours in time.

/// The middle half of some ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) pairs: usize,
}

/// What each odd slot got done by what the slots around it did, so that a machine that becomes
/// slower or faster does so to both.
pub(super) fn beside(counts: &[u64]) -> Vec<f64> {
    let odd = (1..counts.len().saturating_sub(1)).step_by(2);
    let ratio = |at: usize| {
        let around = counts[at - 1] + counts[at + 1];
        (around > 0).then(|| 2.0 * counts[at] as f64 / around as f64)
    };
    odd.filter_map(ratio).collect()
}

impl Spread {
    /// The quartiles; none of nothing.
    pub(super) fn of(mut ratios: Vec<f64>) -> Option<Self> {
        ratios.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (ratios.len().checked_sub(1)?) as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            Some(ratios[below] + (ratios[above] - ratios[below]) * place.fract())
        };
        Some(Self { median: at(0.5)?, low: at(0.25)?, high: at(0.75)?, pairs: ratios.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_slots_are_held_against_those_around_them() {
        assert_eq!(beside(&[10, 9, 20, 30, 20]), [0.6, 1.5]);
        assert_eq!(beside(&[10, 9]), [0.0; 0]);
        assert_eq!(beside(&[]), [0.0; 0]);
        assert_eq!(beside(&[0, 9, 0]), [0.0; 0]);
    }

    #[test]
    fn quartiles_lie_between() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high, spread.pairs), (2.0, 3.0, 4.0, 5));
        let spread = Spread::of(vec![2.0, 1.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (1.25, 1.5, 1.75));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
