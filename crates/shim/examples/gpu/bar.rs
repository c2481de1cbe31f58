//! What a figure is held against, and what came of it.

use std::fmt;

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// A claim that must hold; the figure is 1 if it does.
    Holds,
    /// The figure or less.
    AtMost(f64),
    /// The figure or more.
    AtLeast(f64),
    /// From the first to the second.
    Between(f64, f64),
    /// Nothing: it stands beside what others measured.
    Measured,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The figure is what it must be.
    Passed,
    /// It is not.
    Failed,
    /// There is no bar.
    Measured,
    /// The check could not run.
    CouldNotRun,
}

impl Bar {
    /// So far from a figure on either side.
    pub(crate) fn around(wanted: f64, off: f64) -> Self {
        Self::Between(wanted - off, wanted + off)
    }

    /// The verdict on a figure; one that could not be had fails.
    pub(crate) fn judge(self, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|value| value.is_finite()) else { return Verdict::Failed };
        let is_met = match self {
            Self::Holds => value == 1.0,
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Between(least, most) => (least..=most).contains(&value),
            Self::Measured => return Verdict::Measured,
        };
        if is_met { Verdict::Passed } else { Verdict::Failed }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => write!(formatter, "holds"),
            Self::AtMost(most) => write!(formatter, "at most {}", short(*most)),
            Self::AtLeast(least) => write!(formatter, "at least {}", short(*least)),
            Self::Between(least, most) => {
                write!(formatter, "{} to {}", short(*least), short(*most))
            }
            Self::Measured => write!(formatter, "none"),
        }
    }
}

impl Verdict {
    /// The word for it, in both reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Measured => "measured",
            Self::CouldNotRun => "could not run",
        }
    }
}

/// A figure with as many digits as say something.
pub(crate) fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
