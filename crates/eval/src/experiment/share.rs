//! Whether as many units had each arm as were to have it.

use super::Arm;

/// In how many experiments of which all is well the test may find a mismatch: one in a thousand.
const FALSE_ALARM: f64 = 0.001;
/// How many units the share is believed in before the first: with more, larger experiments are
/// needed to see a gross mismatch, with fewer, to see a slight one.
const PRIOR_UNITS: f64 = 100.0;

/// A test of the share of treated units that may be looked at after each of them.
///
/// Where outcomes of one arm get lost (its answers break what reports them, or its users leave), the
/// others are no fair sample, and their mean says nothing. The evidence is the chance of what came
/// under a share that was learnt from the units before, over that under the share that was meant: a
/// martingale while all is well, so that it passes `1 / FALSE_ALARM` no more often than that (M.
/// Lindon and A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShareTest {
    /// The chance of the treatment.
    treatment: f64,
    units: f64,
    treated: f64,
    /// The logarithm of the evidence.
    evidence: f64,
}

impl ShareTest {
    pub(super) fn new(treatment_per_mille: u32) -> Self {
        let treatment = f64::from(treatment_per_mille) / 1000.0;
        Self { treatment, units: 0.0, treated: 0.0, evidence: 0.0 }
    }

    /// Takes the arm of the next unit.
    pub(super) fn push(&mut self, arm: Arm) {
        let learnt = (PRIOR_UNITS * self.treatment + self.treated) / (PRIOR_UNITS + self.units);
        self.evidence += match arm {
            Arm::Treatment => (learnt / self.treatment).ln(),
            Arm::Control => ((1.0 - learnt) / (1.0 - self.treatment)).ln(),
        };
        self.units += 1.0;
        self.treated += f64::from(u8::from(arm == Arm::Treatment));
    }

    /// Whether the share is surely another one than was meant.
    pub(super) fn is_broken(&self) -> bool {
        self.evidence >= -FALSE_ALARM.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Draws, Stream};

    const SEED: u64 = 77;

    /// After how many units of at most so many a mismatch is found, for a true chance of the
    /// treatment and one that was meant.
    fn found(stream: u64, chance: f64, meant: u32, units: u64) -> Option<u64> {
        let draws = Draws::new(SEED + stream, Stream::Bootstrap);
        let mut test = ShareTest::new(meant);
        (0..units).find(|&place| {
            let is_treated = draws.share(0, place) < chance;
            test.push(if is_treated { Arm::Treatment } else { Arm::Control });
            test.is_broken()
        })
    }

    #[test]
    fn a_share_that_is_as_meant_is_hardly_ever_doubted() {
        for meant in [500, 100] {
            let chance = f64::from(meant) / 1000.0;
            let alarms = (0..2000).filter(|&it| found(it, chance, meant, 3000).is_some()).count();
            // 2 of 2000 are allowed; more than 8 would come by chance once in 4000 times.
            assert!(alarms <= 8, "{alarms} of 2000 at {meant}, seed {SEED}");
        }
    }

    #[test]
    fn lost_outcomes_are_found() {
        // A tenth of the outcomes of the treatment is lost.
        let (chance, meant) = (0.9 / 1.9, 500);
        let all: Vec<_> = (0..100).filter_map(|it| found(it, chance, meant, 20_000)).collect();
        assert!(all.len() >= 99, "{} of 100 found, seed {SEED}", all.len());
        // A third of them.
        let gross = (0..100).filter_map(|it| found(it, 0.4, meant, 1500)).count();
        assert!(gross >= 95, "{gross} of 100 found, seed {SEED}");
    }
}
