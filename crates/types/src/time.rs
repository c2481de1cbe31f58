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

    /// Its day and time to the second, for people: `2026-11-28 16:15:38 UTC`.
    pub fn to_utc(self) -> String {
        let seconds = self.0 / 1000 % 86_400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{} {hour:02}:{minute:02}:{second:02} UTC", self.to_utc_day())
    }

    /// Its day, by Howard Hinnant's `civil_from_days`: `2026-11-28`.
    pub fn to_utc_day(self) -> String {
        let days = (self.0 / 86_400_000) as i64 + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        format!("{:04}-{month:02}-{day:02}", year_of_era + era * 400 + carry)
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
    fn moments_are_days_and_times() {
        assert_eq!(Moment(0).to_utc(), "1970-01-01 00:00:00 UTC");
        assert_eq!(Moment(951_827_696_789).to_utc(), "2000-02-29 12:34:56 UTC");
        assert_eq!(Moment(4_107_542_399_000).to_utc_day(), "2100-02-28");
        assert!(Moment::NEVER.to_utc().ends_with("UTC"));
    }

    #[test]
    fn moments_never_wrap() {
        assert_eq!(Moment(5) - Moment(9), 0);
        assert_eq!(Moment::NEVER.after(Seconds(1)), Moment::NEVER);
        assert_eq!(Moment(10).after(Seconds(2)), Moment(2_010));
    }
}
