//! What an experiment is told before it begins.

use std::error::Error;
use std::fmt;

/// Least and most thousandths of the units that may be treated: an arm that gets fewer learns
/// nothing in any time that anybody waits.
const TREATMENT_PER_MILLE: (u32, u32) = (10, 990);

/// Most units that an experiment remembers, at about 16 bytes each.
pub const UNITS_MAX: usize = 10_000_000;

/// Most guardrails of an experiment: each gets its part of the chance to stop wrongly.
pub const GUARDRAILS_MAX: usize = 8;

/// Something that the treatment must not make worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Guardrail {
    /// What people call it.
    pub name: String,
    /// How much worse it may surely get, in `[0, 1]`.
    pub tolerance: f64,
}

/// What an experiment is told before it begins; nothing of it may change while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its name; experiments with other names assign independently of it.
    pub name: String,
    /// How many thousandths of the units get the treatment: 10 to 990.
    pub treatment_per_mille: u32,
    /// In how many of a thousand experiments without any difference it may stop as if there were
    /// one: 1 to 500. With guardrails, half of that is kept for them, in equal parts.
    pub false_stops_per_mille: u32,
    /// The smallest difference that anybody cares for, in `[0, 1]`; once the true one is surely
    /// smaller, the experiment ends. With 0 it never ends so.
    pub relevant_difference: f64,
    /// What must not get worse: at most [`GUARDRAILS_MAX`].
    pub guardrails: Vec<Guardrail>,
    /// After so many units the experiment ends without an answer: 1 to [`UNITS_MAX`].
    pub units_max: usize,
}

/// A setting that no experiment can have.
#[derive(Clone, Debug, PartialEq)]
pub enum UnusableSettings {
    /// The share of the treatment is out of range.
    Treatment {
        /// In thousandths.
        per_mille: u32,
    },
    /// The share of false stops is out of range.
    FalseStops {
        /// In thousandths.
        per_mille: u32,
    },
    /// A difference is not in `[0, 1]`.
    Difference {
        /// The difference.
        difference: f64,
    },
    /// The number of units is out of range.
    Units {
        /// The number.
        units: usize,
    },
    /// There are too many guardrails.
    Guardrails {
        /// Their number.
        guardrails: usize,
    },
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), UnusableSettings> {
        let (least, most) = TREATMENT_PER_MILLE;
        if !(least..=most).contains(&self.treatment_per_mille) {
            return Err(UnusableSettings::Treatment { per_mille: self.treatment_per_mille });
        }
        if !(1..=500).contains(&self.false_stops_per_mille) {
            return Err(UnusableSettings::FalseStops { per_mille: self.false_stops_per_mille });
        }
        if self.guardrails.len() > GUARDRAILS_MAX {
            return Err(UnusableSettings::Guardrails { guardrails: self.guardrails.len() });
        }
        let tolerances = self.guardrails.iter().map(|guardrail| guardrail.tolerance);
        let mut differences = [self.relevant_difference].into_iter().chain(tolerances);
        if let Some(difference) = differences.find(|value| !(0.0..=1.0).contains(value)) {
            return Err(UnusableSettings::Difference { difference });
        }
        if !(1..=UNITS_MAX).contains(&self.units_max) {
            return Err(UnusableSettings::Units { units: self.units_max });
        }
        Ok(())
    }
}

impl fmt::Display for UnusableSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = TREATMENT_PER_MILLE;
        match self {
            Self::Treatment { per_mille } => write!(
                formatter,
                "{per_mille} ‰ of the units cannot be treated\nhint: treat {least} to {most} ‰"
            ),
            Self::FalseStops { per_mille } => write!(
                formatter,
                "{per_mille} ‰ false stops say nothing\nhint: allow 1 to 500 ‰, usually 50"
            ),
            Self::Difference { difference } => write!(
                formatter,
                "no difference of outcomes is {difference}\nhint: outcomes lie between 0 and 1"
            ),
            Self::Units { units } => write!(
                formatter,
                "an experiment cannot remember {units} units\nhint: allow 1 to {UNITS_MAX}"
            ),
            Self::Guardrails { guardrails } => write!(
                formatter,
                "{guardrails} guardrails are too many\nhint: name at most {GUARDRAILS_MAX}"
            ),
        }
    }
}

impl Error for UnusableSettings {}
