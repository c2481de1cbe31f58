//! What an experiment is told before it begins.

use std::error::Error;
use std::fmt;

/// Least and most thousandths of the units that may be treated: an arm that gets fewer learns
/// nothing in any time that anybody waits.
const TREATMENT_PER_MILLE: (u32, u32) = (10, 990);

/// Most units that an experiment remembers, at about 16 bytes each.
pub const UNITS_MAX: usize = 10_000_000;

/// What an experiment is told before it begins; nothing of it may change while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its name; experiments with other names assign independently of it.
    pub name: String,
    /// How many thousandths of the units get the treatment: 10 to 990.
    pub treatment_per_mille: u32,
    /// In how many of a thousand experiments without any difference it may stop as if there were
    /// one: 1 to 500. With a guardrail, half of that is kept for it.
    pub false_stops_per_mille: u32,
    /// The smallest difference that anybody cares for, in `[0, 1]`; once the true one is surely
    /// smaller, the experiment ends. With 0 it never ends so.
    pub relevant_difference: f64,
    /// How much worse the guardrail may surely get, in `[0, 1]`; without one it is not looked at.
    pub guardrail_tolerance: Option<f64>,
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
        let differences = [Some(self.relevant_difference), self.guardrail_tolerance];
        let mut differences = differences.into_iter().flatten();
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
        }
    }
}

impl Error for UnusableSettings {}
