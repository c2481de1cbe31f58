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
mod share;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::error::Error;
use std::fmt;

use crate::random::{Draws, Stream};

use effect::EffectSequence;
pub use settings::{GUARDRAILS_MAX, Guardrail, Settings, UNITS_MAX, UnusableSettings};
use share::ShareTest;

/// Which of two pipelines serves a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// What is in use already.
    Control,
    /// What is tried.
    Treatment,
}

/// What came of serving a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What is to be improved, in `[0, 1]`; larger is better.
    pub quality: f64,
    /// What must not get worse, one number in `[0, 1]` for each guardrail; larger is better.
    pub guardrails: Vec<f64>,
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

/// An outcome that no unit can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnusableOutcome {
    /// A number is not in `[0, 1]`.
    Value {
        /// The number.
        value: f64,
    },
    /// There is not one number for each guardrail.
    Guardrails {
        /// Numbers that were given.
        given: usize,
        /// Guardrails that there are.
        wanted: usize,
    },
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
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing is sure yet.
    Continue,
    /// It is over, and why.
    Stop(Reason),
}

/// Why an experiment is over, with the effect at that moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The treatment is surely better.
    Better(Effect),
    /// The treatment is surely worse.
    Worse(Effect),
    /// The treatment surely makes a guardrail worse than is tolerated.
    GuardrailBroken {
        /// The guardrail's name.
        name: String,
        /// Its effect.
        effect: Effect,
    },
    /// Outcomes of one arm are missing more often than those of the other, so that the arms cannot
    /// be compared.
    SampleMismatch(Effect),
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
    share: ShareTest,
    quality: EffectSequence,
    /// One for each guardrail.
    guardrails: Vec<EffectSequence>,
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
        let count = settings.guardrails.len();
        let alpha = if count > 0 { all / 2.0 } else { all };
        let sequence = |alpha| EffectSequence::new(settings.treatment_per_mille, alpha);
        let salt = Draws::new(0, Stream::Assignment).bits_of(&settings.name);
        Ok(Self {
            assignment: Draws::new(salt, Stream::Assignment),
            seen: HashSet::new(),
            share: ShareTest::new(settings.treatment_per_mille),
            quality: sequence(alpha),
            guardrails: vec![sequence(alpha / count.max(1) as f64); count],
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
    /// [`UnusableOutcome`] if a number is not in `[0, 1]`, or there is not one for each guardrail;
    /// nothing is changed then.
    pub fn record(&mut self, unit: &str, outcome: &Outcome) -> Result<Recorded, UnusableOutcome> {
        let (given, wanted) = (outcome.guardrails.len(), self.guardrails.len());
        if given != wanted {
            return Err(UnusableOutcome::Guardrails { given, wanted });
        }
        let mut numbers = [&outcome.quality].into_iter().chain(&outcome.guardrails);
        if let Some(&value) = numbers.find(|value| !(0.0..=1.0).contains(*value)) {
            return Err(UnusableOutcome::Value { value });
        }
        if matches!(self.decision, Decision::Stop(_)) {
            return Ok(Recorded::TooLate);
        }
        let bits = self.assignment.bits_of(unit);
        if !self.seen.insert(bits) {
            return Ok(Recorded::Repeated);
        }
        let arm = self.arm_of(bits);
        self.share.push(arm);
        self.quality.push(arm, outcome.quality);
        for (sequence, &value) in self.guardrails.iter_mut().zip(&outcome.guardrails) {
            sequence.push(arm, value);
        }
        self.decision = self.decide();
        Ok(Recorded::Counted)
    }

    /// Whether a unit has an outcome already.
    pub fn has_outcome(&self, unit: &str) -> bool {
        self.seen.contains(&self.assignment.bits_of(unit))
    }

    /// Whether to go on. A stop stays, whatever comes after it.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// How both arms do so far.
    pub fn effect(&self) -> Effect {
        self.quality.effect()
    }

    /// How each guardrail does so far, in the order of the settings.
    pub fn guardrails(&self) -> impl Iterator<Item = (&Guardrail, Effect)> {
        self.settings.guardrails.iter().zip(self.guardrails.iter().map(EffectSequence::effect))
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
        let mut guardrails = self.guardrails();
        let broken = guardrails.find(|(guardrail, effect)| effect.high < -guardrail.tolerance);
        if let Some((guardrail, effect)) = broken {
            let name = guardrail.name.clone();
            return Decision::Stop(Reason::GuardrailBroken { name, effect });
        }
        let reason = match effect {
            // Whatever the means say then, they are of other units than they should be.
            _ if self.share.is_broken() => Reason::SampleMismatch(effect),
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

impl Reason {
    /// Which arm is to serve all units from then on: the treatment only where it is surely better.
    pub fn winner(&self) -> Arm {
        match self {
            Self::Better(_) => Arm::Treatment,
            Self::Worse(_)
            | Self::GuardrailBroken { .. }
            | Self::SampleMismatch(_)
            | Self::NoRelevantDifference(_)
            | Self::UnitsSpent(_) => Arm::Control,
        }
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
            Self::GuardrailBroken { name, effect } => {
                write!(
                    formatter,
                    "the treatment makes the guardrail {name} worse than tolerated: {effect}"
                )
            }
            Self::SampleMismatch(effect) => {
                write!(
                    formatter,
                    "outcomes of one variant are missing: {} units had the treatment and {} the \
                     control, which chance does not explain",
                    effect.treatment_units, effect.control_units
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
        match self {
            Self::Value { value } => {
                write!(formatter, "{value} is no outcome\nhint: outcomes lie between 0 and 1")
            }
            Self::Guardrails { given, wanted } => write!(
                formatter,
                "{given} numbers are no outcome of {wanted} guardrails\nhint: give one for each"
            ),
        }
    }
}

impl Error for UnusableOutcome {}
