//! When what was learnt no longer suits the vectors that there are.

use std::io;

use crate::dense::error::DamagedError;
use crate::dense::saved::{Reader, Writer};

/// There are as many times more vectors: twice as many clusters would be made of them.
const GROWTH: usize = 4;
/// A part of all vectors, those that came last, is looked at as one,
const PART: usize = 4;
/// if it has at least so many of them,
const PART_MIN: usize = 1000;
/// and on average lies as much further from its codes than what was learnt from.
const FURTHER: f32 = 1.2;

/// A distance that is not known yet, in the saved form.
const UNKNOWN: f32 = -1.0;

/// What is counted to know that.
///
/// Clusters are to be learnt anew once there are four times as many vectors as when they were, or
/// once the last that came, a quarter as many as there are, lie on average a fifth further from
/// their codes (by squared distance) than those did that there were then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drift {
    /// Vectors that there were when clusters were learnt, and that came first.
    learnt_of: usize,
    /// The mean squared distance of these to their codes, once they have come.
    distance: Option<f32>,
    /// Vectors of the part that is coming, and the sum of their distances.
    part: usize,
    part_sum: f32,
    /// Whether a part lay too far.
    is_far: bool,
}

impl Drift {
    pub(super) fn new(learnt_of: usize) -> Self {
        Self { learnt_of, distance: None, part: 0, part_sum: 0.0, is_far: false }
    }

    /// A vector came, at a distance from its code; there are so many now.
    pub(super) fn on_vector(&mut self, distance: f32, count: usize) {
        self.part = self.part.saturating_add(1);
        self.part_sum += distance;
        let mean = self.part_sum / self.part as f32;
        match self.distance {
            None if self.part < self.learnt_of => return,
            None => self.distance = Some(mean),
            Some(_) if self.part < (count / PART).max(PART_MIN) => return,
            Some(before) => self.is_far |= mean > FURTHER * before,
        }
        (self.part, self.part_sum) = (0, 0.0);
    }

    /// Whether clusters of so many vectors are to be learnt anew.
    pub(super) fn is_due(&self, count: usize) -> bool {
        self.is_far || count >= self.learnt_of.saturating_mul(GROWTH)
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.numbers(&[self.learnt_of as u64, self.part as u64])?;
        out.numbers(&[self.distance.unwrap_or(UNKNOWN), self.part_sum])?;
        out.number(u32::from(self.is_far))
    }

    pub(super) fn open(bytes: &mut Reader<'_>) -> Result<Self, DamagedError> {
        let (learnt_of, part) = (bytes.number::<u64>()?, bytes.number::<u64>()?);
        let (distance, part_sum) = (bytes.number::<f32>()?, bytes.number::<f32>()?);
        let is_far = bytes.number::<u32>()? != 0;
        let is_right = |sum: f32| sum >= 0.0 && sum.is_finite();
        if !(is_right(part_sum) && (is_right(distance) || distance == UNKNOWN)) {
            return Err(DamagedError { reason: "distances to codes cannot be these" });
        }
        if part > u64::from(u32::MAX) {
            return Err(DamagedError { reason: "more vectors came than there can be" });
        }
        let (learnt_of, part) = (learnt_of as usize, part as usize);
        let distance = (distance != UNKNOWN).then_some(distance);
        Ok(Self { learnt_of, distance, part, part_sum, is_far })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_distance_call_for_learning_and_churn_alone_does_not() {
        let come = |drift: &mut Drift, vectors: usize, distance: f32, count: usize| {
            (0..vectors).for_each(|_| drift.on_vector(distance, count));
        };
        let mut drift = Drift::new(10_000);
        come(&mut drift, 5_000, 1.0, 5_000);
        come(&mut drift, 5_000, 3.0, 10_000);
        assert!(!drift.is_due(10_000), "they lie as they lay when they were learnt from");
        come(&mut drift, 99_000, 2.2, 12_000);
        assert!(!drift.is_due(12_000), "all came anew, as far as before");
        assert!(!drift.is_due(39_999) && drift.is_due(40_000));
        come(&mut drift, 2_999, 2.5, 12_000);
        assert!(!drift.is_due(12_000), "too few to tell");
        come(&mut drift, 3_001, 2.5, 12_000);
        assert!(drift.is_due(12_000));
    }
}
