//! Two pipelines beside each other online, and when to stop comparing them.
//!
//! A person looks at a running experiment every day and would stop it as soon as it looks good; a
//! test that is made for one look is wrong then most of the time. Here every look is allowed: the
//! interval of the difference holds at all moments at once, so the chance to ever stop for a
//! difference that is not there stays below what was agreed on.
//!
//! ```text
//! Continue ── record ──> Continue
//!     └──── record ──> Stop(reason), for good
//! ```

mod effect;
mod sequence;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::error::Error;
use std::fmt;

use crate::random::{Draws, Stream};

use effect::EffectSequence;
pub use settings::{Settings, UNITS_MAX, UnusableSettings};

/// Which of two pipelines serves a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// What is in use already.
    Control,
    /// What is tried.
    Treatment,
}

/// What came of serving a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What is to be improved, in `[0, 1]`; larger is better.
    pub quality: f64,
    /// What must not get worse, in `[0, 1]`; larger is better. Not read without a guardrail.
    pub guardrail: f64,
}

/// What became of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It counts.
    Counted,
    /// The unit has an outcome already, and only its first counts: outcomes of one unit are
    /// alike, and counting each of them would claim more than is known.
    Repeated,
    /// The experiment had stopped before.
    TooLate,
}

/// An outcome that is not a number in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnusableOutcome {
    /// The number.
    pub value: f64,
}

/// How both arms did, and the interval of the treatment's mean less the control's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Units that had the control.
    pub control_units: u64,
    /// Units that had the treatment.
    pub treatment_units: u64,
    /// Mean of the control; nothing before its first unit.
    pub control: Option<f64>,
    /// Mean of the treatment; nothing before its first unit.
    pub treatment: Option<f64>,
    /// Lower end of the difference.
    pub low: f64,
    /// Upper end of the difference.
    pub high: f64,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Nothing is sure yet.
    Continue,
    /// It is over, and why.
    Stop(Reason),
}

/// Why an experiment is over, with the effect at that moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// The treatment is surely better.
    Better(Effect),
    /// The treatment is surely worse.
    Worse(Effect),
    /// The treatment surely makes the guardrail worse than is tolerated; the effect is the
    /// guardrail's.
    GuardrailBroken(Effect),
    /// Whatever difference there is, it is surely smaller than anybody cares for.
    NoRelevantDifference(Effect),
    /// There were as many units as were allowed, and nothing is sure.
    UnitsSpent(Effect),
}

/// An online experiment between two pipelines.
///
/// Its state follows from the settings and the outcomes in their order, so whoever keeps those can
/// make it again after a restart.
#[derive(Clone, Debug)]
pub struct Experiment {
    settings: Settings,
    assignment: Draws,
    /// Hashes of the units that have an outcome.
    seen: HashSet<u64>,
    quality: EffectSequence,
    guardrail: EffectSequence,
    decision: Decision,
}

impl Experiment {
    /// An experiment without outcomes.
    ///
    /// # Errors
    /// [`UnusableSettings`] if a setting is out of its range.
    pub fn new(settings: Settings) -> Result<Self, UnusableSettings> {
        settings.check()?;
        let all = f64::from(settings.false_stops_per_mille) / 1000.0;
        let alpha = if settings.guardrail_tolerance.is_some() { all / 2.0 } else { all };
        let sequence = EffectSequence::new(settings.treatment_per_mille, alpha);
        let salt = Draws::new(0, Stream::Assignment).bits_of(&settings.name);
        Ok(Self {
            assignment: Draws::new(salt, Stream::Assignment),
            seen: HashSet::new(),
            quality: sequence.clone(),
            guardrail: sequence,
            decision: Decision::Continue,
            settings,
        })
    }

    /// The arm of a unit (a user, a session, a query): always the same for the same name, whatever
    /// was recorded and on every machine.
    pub fn assign(&self, unit: &str) -> Arm {
        self.arm_of(self.assignment.bits_of(unit))
    }

    /// Takes the first outcome of a unit, which had the arm that [`Self::assign`] says.
    ///
    /// # Errors
    /// [`UnusableOutcome`] if a number is not in `[0, 1]`; nothing is changed then.
    pub fn record(&mut self, unit: &str, outcome: Outcome) -> Result<Recorded, UnusableOutcome> {
        let has_guardrail = self.settings.guardrail_tolerance.is_some();
        let numbers = [Some(outcome.quality), has_guardrail.then_some(outcome.guardrail)];
        let mut numbers = numbers.into_iter().flatten();
        if let Some(value) = numbers.find(|value| !(0.0..=1.0).contains(value)) {
            return Err(UnusableOutcome { value });
        }
        if matches!(self.decision, Decision::Stop(_)) {
            return Ok(Recorded::TooLate);
        }
        let bits = self.assignment.bits_of(unit);
        if !self.seen.insert(bits) {
            return Ok(Recorded::Repeated);
        }
        let arm = self.arm_of(bits);
        self.quality.push(arm, outcome.quality);
        if has_guardrail {
            self.guardrail.push(arm, outcome.guardrail);
        }
        self.decision = self.decide();
        Ok(Recorded::Counted)
    }

    /// Whether to go on. A stop stays, whatever comes after it.
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// How both arms do so far.
    pub fn effect(&self) -> Effect {
        self.quality.effect()
    }

    /// How the guardrail does so far, if there is one.
    pub fn guardrail(&self) -> Option<Effect> {
        self.settings.guardrail_tolerance.map(|_| self.guardrail.effect())
    }

    fn arm_of(&self, bits: u64) -> Arm {
        // The high word of a product, as everywhere that bits become a number below a bound.
        match (u128::from(bits) * 1000) >> 64 < u128::from(self.settings.treatment_per_mille) {
            true => Arm::Treatment,
            false => Arm::Control,
        }
    }

    fn decide(&self) -> Decision {
        let effect = self.effect();
        let relevant = self.settings.relevant_difference;
        // A broken guardrail comes first: whatever is won, it costs more than was agreed on.
        if let (Some(tolerance), Some(guardrail)) =
            (self.settings.guardrail_tolerance, self.guardrail())
            && guardrail.high < -tolerance
        {
            return Decision::Stop(Reason::GuardrailBroken(guardrail));
        }
        let reason = match effect {
            Effect { low, .. } if low > 0.0 => Reason::Better(effect),
            Effect { high, .. } if high < 0.0 => Reason::Worse(effect),
            Effect { low, high, .. } if low > -relevant && high < relevant => {
                Reason::NoRelevantDifference(effect)
            }
            _ if self.seen.len() >= self.settings.units_max => Reason::UnitsSpent(effect),
            _ => return Decision::Continue,
        };
        Decision::Stop(reason)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = |mean: Option<f64>| mean.map_or("–".to_owned(), |mean| format!("{mean:.4}"));
        write!(
            formatter,
            "{} with the treatment against {}, difference between {:+.4} and {:+.4}, {} units",
            mean(self.treatment),
            mean(self.control),
            self.low,
            self.high,
            self.control_units + self.treatment_units
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Better(effect) => write!(formatter, "the treatment is better: {effect}"),
            Self::Worse(effect) => write!(formatter, "the treatment is worse: {effect}"),
            Self::GuardrailBroken(effect) => {
                write!(
                    formatter,
                    "the treatment makes the guardrail worse than tolerated: {effect}"
                )
            }
            Self::NoRelevantDifference(effect) => {
                write!(formatter, "no difference that matters: {effect}")
            }
            Self::UnitsSpent(effect) => {
                write!(formatter, "all units are spent without an answer: {effect}")
            }
        }
    }
}

impl fmt::Display for UnusableOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is no outcome\nhint: outcomes lie between 0 and 1", self.value)
    }
}

impl Error for UnusableOutcome {}
