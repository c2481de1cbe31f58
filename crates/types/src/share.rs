//! A part of a whole, in thousandths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A part of a card, of the machine or of a run, from 0 to 1000 thousandths.
///
/// Shares are integers so that they add up exactly; shown in per cent with at most one decimal.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u32", into = "u32")]
pub struct Share(u32);

/// Why a value is not a [`Share`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseShareError {
    /// Not a number of one of the accepted forms.
    #[error("{0:?} is not a share; write for example 25%, 12.5% or 125‰")]
    Form(String),
    /// More than the whole.
    #[error("{0} is more than the whole; a share is at most 100% (1000‰)")]
    TooLarge(String),
}

impl Share {
    /// Nothing.
    pub const ZERO: Share = Share(0);
    /// The whole.
    pub const WHOLE: Share = Share(1000);

    /// A share of that many thousandths, at most 1000.
    pub fn from_per_mille(per_mille: u32) -> Result<Self, ParseShareError> {
        if per_mille > Self::WHOLE.0 {
            return Err(ParseShareError::TooLarge(format!("{per_mille}‰")));
        }
        Ok(Self(per_mille))
    }

    /// Thousandths of the whole.
    pub fn per_mille(self) -> u32 {
        self.0
    }

    /// The sum, or nothing if it is more than the whole.
    pub fn checked_add(self, other: Share) -> Option<Share> {
        Self::from_per_mille(self.0 + other.0).ok()
    }
}

impl TryFrom<u32> for Share {
    type Error = ParseShareError;

    fn try_from(per_mille: u32) -> Result<Self, Self::Error> {
        Self::from_per_mille(per_mille)
    }
}

impl From<Share> for u32 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (percent, 0) => f.pad(&format!("{percent}%")),
            (percent, tenth) => f.pad(&format!("{percent}.{tenth}%")),
        }
    }
}

impl FromStr for Share {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseShareError::Form(text.to_owned());
        let trimmed = text.trim();
        let per_mille = if let Some(number) = trimmed.strip_suffix('‰') {
            digits(number.trim_end()).ok_or_else(form)?
        } else {
            let number = trimmed.strip_suffix('%').ok_or_else(form)?.trim_end();
            let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
            if tenth.len() != 1 {
                return Err(form());
            }
            let tenth = digits(tenth).ok_or_else(form)?;
            digits(whole).ok_or_else(form)?.saturating_mul(10).saturating_add(tenth)
        };
        Self::from_per_mille(per_mille).map_err(|_| ParseShareError::TooLarge(trimmed.to_owned()))
    }
}

/// A run of ASCII digits as a number; a number too large to hold becomes the largest.
fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn shares_are_read_in_per_cent_and_per_mille() {
        let check =
            |text: &str, expected: Result<u32, bool>| match (text.parse::<Share>(), expected) {
                (Ok(share), Ok(per_mille)) => assert_eq!(share, Share(per_mille), "{text:?}"),
                (Err(ParseShareError::TooLarge(_)), Err(true)) => {}
                (Err(ParseShareError::Form(_)), Err(false)) => {}
                (parsed, _) => panic!("{text:?} gave {parsed:?}, not {expected:?}"),
            };
        check("25%", Ok(250));
        check("12.5%", Ok(125));
        check(" 100 % ", Ok(1000));
        check("7‰", Ok(7));
        check("100.1%", Err(true));
        check("99999999999%", Err(true));
        check("1001‰", Err(true));
        check("12.55%", Err(false));
        check("0.25", Err(false));
        check("-5%", Err(false));
        check("+5%", Err(false));
        check("%", Err(false));
    }

    #[test]
    fn shares_add_up_to_the_whole() {
        let half = Share::from_per_mille(500).unwrap();
        assert_eq!(half.checked_add(half), Some(Share::WHOLE));
        assert_eq!(Share::WHOLE.checked_add(Share(1)), None);
        assert!(serde_json::from_str::<Share>("1001").is_err());
    }

    proptest! {
        #[test]
        fn shown_shares_parse_back(per_mille in 0u32..=1000) {
            let share = Share(per_mille);
            prop_assert_eq!(share.to_string().parse(), Ok(share));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,16}") {
            let _ = text.parse::<Share>();
        }
    }
}
