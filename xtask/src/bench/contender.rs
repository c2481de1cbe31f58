//! One system that takes part: a command that trains and ends with one line of JSON.

use std::ffi::OsString;
use std::fmt;

use serde_json::Value;

use crate::command;
use crate::project::Project;

/// The format of the numbers in matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    F32,
    Bf16,
}

/// Who trains, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// This project.
    Cotenant(Precision),
    /// torch and peft as sentence-transformers runs them: anchors padded to the longest anchor,
    /// positives to the longest positive.
    Padded(Precision),
    /// torch and peft as an expert would: sorted by length and run in groups, the same loss.
    Bucketed(Precision),
}

/// A system and the words of its command, the program first.
pub(super) struct Contender {
    pub(super) system: System,
    pub(super) command: Vec<OsString>,
}

/// What a run prints of itself as its last line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) pairs_per_s: f64,
    pub(super) pairs_per_cpu_s: f64,
    pub(super) peak_rss_mib: f64,
    /// Loss of the first step: the same everywhere, or the systems do not do the same work.
    pub(super) loss_first: f64,
}

impl Precision {
    /// The name on every command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl System {
    /// Every system, the baseline first.
    pub(super) const ALL: [Self; 6] = [
        Self::Padded(Precision::F32),
        Self::Bucketed(Precision::F32),
        Self::Cotenant(Precision::F32),
        Self::Padded(Precision::Bf16),
        Self::Bucketed(Precision::Bf16),
        Self::Cotenant(Precision::Bf16),
    ];
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (system, precision) = match self {
            Self::Cotenant(precision) => ("cotenant", precision),
            Self::Padded(precision) => ("torch padded", precision),
            Self::Bucketed(precision) => ("torch bucketed", precision),
        };
        formatter.pad(&format!("{system} {}", precision.name()))
    }
}

impl Contender {
    /// Runs once.
    pub(super) fn run(&self, project: &Project) -> Result<Sample, String> {
        let mut command = project.program(&self.command[0]);
        command.args(&self.command[1..]);
        let output = command::capture(&mut command)?;
        Sample::parse(&output).map_err(|reason| format!("{}: {reason}", command::name(&command)))
    }
}

impl Sample {
    fn parse(output: &str) -> Result<Self, String> {
        let line = output.lines().last().ok_or("it printed nothing")?;
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("'{line}' is no JSON: {error}"))?;
        let number = |key: &str| {
            let number = value.get(key).and_then(Value::as_f64).filter(|number| *number > 0.0);
            number.ok_or_else(|| format!("'{line}' has no number above 0 called '{key}'"))
        };
        Ok(Self {
            pairs_per_s: number("pairs_per_s")?,
            pairs_per_cpu_s: number("pairs_per_cpu_s")?,
            peak_rss_mib: number("peak_rss_mib")?,
            loss_first: number("loss_first")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sample() {
        let line = "{\"name\":\"x\",\"pairs_per_s\":10,\"pairs_per_cpu_s\":9.5,\"peak_rss_mib\":100,\
            \"loss_first\":0.5}";
        let sample = Sample::parse(&format!("step 1\n{line}\n")).unwrap();
        assert_eq!((sample.pairs_per_s, sample.pairs_per_cpu_s), (10.0, 9.5));
        assert_eq!((sample.peak_rss_mib, sample.loss_first), (100.0, 0.5));

        let check = |output: &str, expected: &str| {
            let error = Sample::parse(output).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("", "printed nothing");
        check("done", "'done' is no JSON");
        check("{\"pairs_per_s\":0}", "no number above 0 called 'pairs_per_s'");
    }
}
