//! How much better one arm does than the other, unit by unit.

use super::sequence::MeanSequence;
use super::{Arm, Effect};

/// A confidence sequence of the mean difference between treatment and control.
///
/// Each unit gives one number whose mean, given all before, is the difference: the outcome over the
/// chance of its arm, with what both arms were expected to give taken out (the doubly robust form,
/// which keeps its variance near that of two samples). It needs no model: arms are drawn by a
/// chance that is known, and that is why it is right even if outcomes drift over the day.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EffectSequence {
    /// The chance of the treatment.
    treatment: f64,
    sequence: MeanSequence,
    control: Tally,
    treated: Tally,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    units: u64,
    sum: f64,
}

impl EffectSequence {
    pub(super) fn new(treatment_per_mille: u32, alpha: f64) -> Self {
        let treatment = f64::from(treatment_per_mille) / 1000.0;
        let (control, treated) = (Tally::default(), Tally::default());
        Self { treatment, sequence: MeanSequence::new(alpha), control, treated }
    }

    /// Takes an outcome in `[0, 1]` of the next unit.
    pub(super) fn push(&mut self, arm: Arm, outcome: f64) {
        let (control, treated) = (self.control.expected(), self.treated.expected());
        let difference = treated - control
            + match arm {
                Arm::Treatment => (outcome - treated) / self.treatment,
                Arm::Control => -(outcome - control) / (1.0 - self.treatment),
            };
        self.sequence.push((difference / self.bound() + 1.0) / 2.0);
        let tally = match arm {
            Arm::Treatment => &mut self.treated,
            Arm::Control => &mut self.control,
        };
        tally.units += 1;
        tally.sum += outcome;
    }

    pub(super) fn effect(&self) -> Effect {
        let (low, high) = self.sequence.interval();
        let unscaled = |share: f64| ((share * 2.0 - 1.0) * self.bound()).clamp(-1.0, 1.0);
        Effect {
            control_units: self.control.units,
            treatment_units: self.treated.units,
            control: self.control.mean(),
            treatment: self.treated.mean(),
            low: unscaled(low),
            high: unscaled(high),
        }
    }

    /// No unit's number is farther from zero: with outcomes and expectations in `[0, 1]`, one over
    /// the smaller chance.
    fn bound(&self) -> f64 {
        1.0 / self.treatment.min(1.0 - self.treatment)
    }
}

impl Tally {
    /// What the next unit is expected to give; half a unit of 1/2 stands for what is not known.
    fn expected(self) -> f64 {
        (0.5 + self.sum) / (self.units as f64 + 1.0)
    }

    fn mean(self) -> Option<f64> {
        (self.units > 0).then(|| self.sum / self.units as f64)
    }
}
