//! Lines of a script and what comes of them.

use std::fmt;
use std::str::FromStr;

/// What an action gives: what stands behind `ok`.
pub(super) type Answer = Result<String, Failure>;

/// An action failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver returned a code.
    Driver { code: i32, name: String, function: String },
    /// The script makes no sense here.
    Script(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver { code, name, function } => {
                write!(formatter, "error {code} {name} in {function}")
            }
            Self::Script(text) => write!(formatter, "error: {text}"),
        }
    }
}

/// One line: a verb, words, and `key=value` anywhere.
pub(super) struct Line<'a> {
    pub(super) verb: &'a str,
    words: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    pub(super) fn new(words: &[&'a str]) -> Self {
        let (verb, rest) = words.split_first().map_or(("", &[][..]), |(verb, rest)| (*verb, rest));
        let options = rest.iter().filter_map(|word| word.split_once('=')).collect();
        let words = rest.iter().copied().filter(|word| !word.contains('=')).collect();
        Self { verb, words, options }
    }

    /// How many words there are behind the verb.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn word(&self, at: usize) -> Result<&'a str, Failure> {
        let missing = || Failure::Script(format!("{} lacks a word", self.verb));
        self.words.get(at).copied().ok_or_else(missing)
    }

    pub(super) fn number<T: FromStr>(&self, at: usize) -> Result<T, Failure> {
        parse(self.word(at)?)
    }

    pub(super) fn option(&self, key: &str) -> Option<&'a str> {
        self.options.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    pub(super) fn option_number<T: FromStr>(&self, key: &str, default: T) -> Result<T, Failure> {
        self.option(key).map_or(Ok(default), parse)
    }
}

fn parse<T: FromStr>(word: &str) -> Result<T, Failure> {
    word.parse().map_err(|_| Failure::Script(format!("'{word}' is no number that fits")))
}
