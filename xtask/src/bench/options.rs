//! What a person may choose of a benchmark.

use std::path::PathBuf;
use std::str::FromStr;

use crate::bench::USAGE;

/// How to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Make the Python environment if it is not there.
    pub(super) makes_venv: bool,
    /// A BEIR folder; `None` is the default one.
    pub(super) data: Option<PathBuf>,
    /// A model folder; `None` is the default one.
    pub(super) model: Option<PathBuf>,
    /// Numbers of threads, each measured apart.
    pub(super) threads: Vec<usize>,
    /// How often each contender runs.
    pub(super) rounds: usize,
    /// Timed training steps of one run.
    pub(super) steps: usize,
    /// A word in the names of the contenders that run; empty is in all.
    pub(super) only: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            makes_venv: false,
            data: None,
            model: None,
            threads: vec![1, 2],
            rounds: 3,
            steps: 12,
            only: String::new(),
        }
    }
}

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut left = arguments.iter().copied();
        while let Some(flag) = left.next() {
            if flag == "--venv" {
                options.makes_venv = true;
                continue;
            }
            let value = left.next().ok_or_else(|| format!("'{flag}' wants a value\n\n{USAGE}"))?;
            match flag {
                "--data" => options.data = Some(absolute(value)?),
                "--model" => options.model = Some(absolute(value)?),
                "--threads" => {
                    options.threads =
                        value.split(',').map(|part| count(flag, part)).collect::<Result<_, _>>()?;
                }
                "--rounds" => options.rounds = count(flag, value)?,
                "--steps" => options.steps = count(flag, value)?,
                "--only" => options.only = value.to_owned(),
                _ => return Err(format!("unknown option '{flag}'\n\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

/// The contenders run in the root folder, wherever the person is.
fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("failed to find '{path}': {error}"))
}

fn count(flag: &str, value: &str) -> Result<usize, String> {
    match usize::from_str(value) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("'{flag} {value}' is not a number from 1 up")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        assert_eq!(Options::parse(&[]), Ok(Options::default()));
        let options =
            Options::parse(&["--venv", "--threads", "1,4", "--steps", "3", "--only", "f32"]);
        let expected = Options {
            makes_venv: true,
            threads: vec![1, 4],
            steps: 3,
            only: "f32".to_owned(),
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn bad_options_are_refused() {
        let check = |arguments: &[&str], expected: &str| {
            let error = Options::parse(arguments).unwrap_err();
            assert!(error.starts_with(expected), "{arguments:?}: {error}");
        };
        check(&["--threads", "1,0"], "'--threads 0' is not a number from 1 up");
        check(&["--rounds"], "'--rounds' wants a value");
        check(&["--speed", "9"], "unknown option '--speed'");
    }
}
