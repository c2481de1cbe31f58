//! What is done beside asking a policy.

use std::fmt;
use std::str::FromStr;

use crate::policy::PolicyName;

/// What is done beside asking a policy; nothing, or several at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beyond {
    /// A job goes where the cards' other jobs are expected to stay as long as it.
    pub departures: bool,
    /// Of those that wait, the one with the highest response ratio is tried first: that is how many
    /// times as long as it runs it takes, with the time for which it has waited.
    pub ratio: bool,
    /// Offline jobs are moved to make room for jobs that wait, once their wait is worth it.
    pub moves: bool,
}

/// What may stand beside a policy, by its name.
const NAMES: [&str; 3] = ["departures", "ratio", "moves"];

/// The name of nothing.
const NOTHING: &str = "nothing";

impl Beyond {
    /// Each way to combine them, nothing first and all last.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..1 << NAMES.len()).map(|bits| Self::of([0, 1, 2].map(|at| bits >> at & 1 == 1)))
    }

    /// Whether it can stand beside a policy: departures are priced in what cards are worth to bid
    /// price, and costs of other policies do not compare with that.
    pub fn goes_with(self, policy: PolicyName) -> bool {
        !self.departures || policy == PolicyName::BidPrice
    }

    fn of([departures, ratio, moves]: [bool; 3]) -> Self {
        Self { departures, ratio, moves }
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_done = [self.departures, self.ratio, self.moves];
        let done = NAMES.iter().zip(is_done).filter_map(|(name, is_done)| is_done.then_some(*name));
        match done.collect::<Vec<_>>().join("+") {
            none if none.is_empty() => formatter.pad(NOTHING),
            names => formatter.pad(&names),
        }
    }
}

/// A word is not the name of what may stand beside a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{word:?} is none of nothing, departures, ratio, moves, or several of them as in ratio+moves"
)]
pub struct UnknownBeyond {
    word: String,
}

impl FromStr for Beyond {
    type Err = UnknownBeyond;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NOTHING {
            return Ok(Self::default());
        }
        let mut is_done = [false; NAMES.len()];
        for word in text.split('+') {
            let at = NAMES.iter().position(|name| *name == word);
            is_done[at.ok_or_else(|| UnknownBeyond { word: word.to_owned() })?] = true;
        }
        Ok(Self::of(is_done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all: Vec<Beyond> = Beyond::all().collect();
        assert_eq!((all.len(), all[0]), (8, Beyond::default()));
        for beyond in all {
            assert_eq!(beyond.to_string().parse(), Ok(beyond));
        }
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = text.parse::<Beyond>();
            let found = found.map(|it| it.to_string()).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(|it| it.split(" is").next().unwrap()), expected);
        };
        check("moves+ratio", Ok("ratio+moves"));
        check("both", Err("\"both\""));
        check("", Err("\"\""));
        check("nothing+moves", Err("\"nothing\""));
    }
}
