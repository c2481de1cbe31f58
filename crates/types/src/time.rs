//! Moments and durations, as whole milliseconds and seconds that somebody else has read.

use std::fmt;
use std::ops::Sub;

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01 UTC. This crate never asks which one it is now.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub u64);

/// A duration in whole seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(pub u32);

impl Moment {
    /// After all that has an end.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The moment so much later; never, if that is beyond what a number holds.
    pub fn after(self, wait: Seconds) -> Self {
        self.after_ms(wait.to_ms())
    }

    /// The moment so many milliseconds later.
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Sub for Moment {
    type Output = u64;

    /// Milliseconds since an earlier moment; 0 if it is later, as after a clock that jumped.
    fn sub(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Seconds {
    /// The same in milliseconds.
    pub fn to_ms(self) -> u64 {
        u64::from(self.0) * 1000
    }
}

impl fmt::Display for Seconds {
    /// In the two largest units: `45s`, `3m 20s`, `2h 5m`, `3d 4h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
        let first = units.iter().position(|&(size, _)| self.0 >= size).unwrap_or(3);
        let (size, unit) = units[first];
        let mut text = format!("{}{unit}", self.0 / size);
        if let Some((below, unit)) = units.get(first + 1)
            && self.0 % size / below > 0
        {
            text.push_str(&format!(" {}{unit}", self.0 % size / below));
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_two_units() {
        let check = |seconds: u32, expected: &str| {
            assert_eq!(Seconds(seconds).to_string(), expected);
        };
        check(0, "0s");
        check(59, "59s");
        check(60, "1m");
        check(200, "3m 20s");
        check(7_500, "2h 5m");
        check(7_201, "2h");
        check(273_600, "3d 4h");
    }

    #[test]
    fn moments_never_wrap() {
        assert_eq!(Moment(5) - Moment(9), 0);
        assert_eq!(Moment::NEVER.after(Seconds(1)), Moment::NEVER);
        assert_eq!(Moment(10).after(Seconds(2)), Moment(2_010));
    }
}
