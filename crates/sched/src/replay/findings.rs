//! What came of a replay: how much of the cluster was allocated when how much had arrived.

use std::collections::BTreeMap;

use crate::policy::SizeClass;

/// Arrivals are followed up to so many per cent of the cluster's compute.
pub const PERCENT_MAX: usize = 130;

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Compute that is allocated when 0, 1, … 130 % of the cluster's have arrived, in per cent of
    /// it: the mean over the arrivals that round to it. Where none does, that of the per cent before.
    pub allocation_percent: Vec<f64>,
    /// Free compute that the expected jobs cannot use, in the same way.
    pub fragmentation_percent: Vec<f64>,
    /// Jobs by kind.
    pub classes: BTreeMap<SizeClass, Counts>,
}

/// Jobs of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That found room.
    pub placed: u64,
    /// That found none when they came, and are gone.
    pub rejected: u64,
}

impl Findings {
    /// All jobs that found room.
    pub fn placed(&self) -> u64 {
        self.classes.values().map(|counts| counts.placed).sum()
    }
}

/// Means by per cent of what has arrived.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    sums: Vec<(i64, i64)>,
}

impl Curve {
    pub(super) fn new() -> Self {
        Self { sums: vec![(0, 0); PERCENT_MAX + 1] }
    }

    /// Adds a value in hundredths of a per cent.
    pub(super) fn add(&mut self, percent: usize, hundredths: i64) {
        if let Some((sum, count)) = self.sums.get_mut(percent) {
            *sum += hundredths;
            *count += 1;
        }
    }

    /// The mean of each per cent.
    pub(super) fn means(&self) -> Vec<f64> {
        let mut last = 0.0;
        let mean = |(sum, count): &(i64, i64)| {
            if *count > 0 {
                last = *sum as f64 / *count as f64 / 100.0;
            }
            last
        };
        self.sums.iter().map(mean).collect()
    }
}

/// The nearest whole number to a fraction; of two as near, the even one.
pub(super) fn round_half_even(numerator: u128, denominator: u128) -> u128 {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    match (2 * rest).cmp(&denominator) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Equal => whole + whole % 2,
        std::cmp::Ordering::Greater => whole + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_number() {
        let check = |fraction: (u128, u128), expected| {
            assert_eq!(round_half_even(fraction.0, fraction.1), expected, "{fraction:?}");
        };
        check((1, 2), 0);
        check((3, 2), 2);
        check((5, 2), 2);
        check((7, 3), 2);
        check((8, 3), 3);
        check((0, 7), 0);
    }

    #[test]
    fn where_nothing_arrives_the_curve_stays() {
        let mut curve = Curve::new();
        curve.add(1, 100);
        curve.add(1, 200);
        curve.add(3, 300);
        curve.add(PERCENT_MAX + 1, 900);
        let means = curve.means();
        assert_eq!(means.len(), PERCENT_MAX + 1);
        assert_eq!((means[0], means[1], means[2], means[130]), (0.0, 1.5, 1.5, 3.0));
    }
}
