//! Amounts of memory, exact to the byte.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// An amount of memory in bytes; shown in the largest binary unit that keeps it exact.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// An amount of memory in whole MiB, as limits and job files give it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mebibytes(pub u64);

/// Why a text is not an amount of memory.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseBytesError {
    /// No whole number at the front.
    #[error("{0:?} does not begin with a whole number; write for example 512MiB or 10GiB")]
    Number(String),
    /// Something other than a unit after the number.
    #[error("{0:?} does not end in a unit; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB")]
    Unit(String),
    /// More than 64 bits hold.
    #[error("{0:?} is more than 2^64 - 1 bytes")]
    TooLarge(String),
    /// Not a multiple of a MiB where whole MiB are asked for.
    #[error("{0:?} is not a whole number of MiB")]
    NotWhole(String),
}

impl Bytes {
    /// Whole MiB that hold this amount, rounded up.
    pub fn to_mebibytes_ceil(self) -> Mebibytes {
        Mebibytes(self.0.div_ceil(MIB))
    }

    /// The sum, or the largest amount if it does not fit.
    pub fn saturating_add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }
}

impl Mebibytes {
    /// The amount in bytes, or the largest amount if it does not fit.
    pub fn to_bytes(self) -> Bytes {
        Bytes(self.0.saturating_mul(MIB))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        match units.iter().find(|(size, _)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((size, unit)) => f.pad(&format!("{}{unit}", self.0 / size)),
            None => f.pad(&format!("{}B", self.0)),
        }
    }
}

impl FromStr for Bytes {
    type Err = ParseBytesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = split(text)?;
        let size = match unit {
            "" | "B" => 1,
            "KiB" => KIB,
            "MiB" => MIB,
            "GiB" => GIB,
            "TiB" => TIB,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(ParseBytesError::Unit(text.to_owned())),
        };
        let bytes = number.checked_mul(size);
        bytes.map(Bytes).ok_or_else(|| ParseBytesError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}MiB", self.0))
    }
}

impl FromStr for Mebibytes {
    type Err = ParseBytesError;

    /// Reads `512MiB`, `10GiB` and the like; a bare number is MiB.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match split(text)? {
            (number, "" | "MiB") => Ok(Mebibytes(number)),
            _ => {
                let Bytes(bytes) = text.parse()?;
                if bytes.is_multiple_of(MIB) {
                    Ok(Mebibytes(bytes / MIB))
                } else {
                    Err(ParseBytesError::NotWhole(text.to_owned()))
                }
            }
        }
    }
}

/// The whole number at the front and the unit behind it, spaces around both removed.
fn split(text: &str) -> Result<(u64, &str), ParseBytesError> {
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    if end == 0 {
        return Err(ParseBytesError::Number(text.to_owned()));
    }
    let number = trimmed[..end].parse().map_err(|_| ParseBytesError::TooLarge(text.to_owned()))?;
    Ok((number, trimmed[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn bytes_are_read_with_any_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse::<Bytes>().ok(), expected.map(Bytes), "{text:?}");
        };
        check("0", Some(0));
        check("7B", Some(7));
        check(" 10 GiB ", Some(10 << 30));
        check("3MB", Some(3_000_000));
        check("16777216TiB", None);
        check("99999999999999999999", None);
        check("1.5GiB", None);
        check("GiB", None);
        check("-1", None);
        check("5 miles", None);
    }

    #[test]
    fn mebibytes_are_whole() {
        assert_eq!("2GiB".parse(), Ok(Mebibytes(2048)));
        assert_eq!("512".parse(), Ok(Mebibytes(512)));
        assert_eq!("1KiB".parse::<Mebibytes>(), Err(ParseBytesError::NotWhole("1KiB".into())));
        assert_eq!(Bytes(MIB + 1).to_mebibytes_ceil(), Mebibytes(2));
        assert_eq!(Mebibytes(u64::MAX).to_bytes(), Bytes(u64::MAX));
    }

    proptest! {
        #[test]
        fn shown_bytes_parse_back(bytes in any::<u64>(), shift in 0u32..64) {
            let bytes = Bytes(bytes >> shift << (shift / 2));
            prop_assert_eq!(bytes.to_string().parse(), Ok(bytes));
        }

        #[test]
        fn shown_mebibytes_parse_back(mebibytes in any::<u64>()) {
            let mebibytes = Mebibytes(mebibytes);
            prop_assert_eq!(mebibytes.to_string().parse(), Ok(mebibytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,24}") {
            let _ = text.parse::<Bytes>().map(|bytes| bytes.to_string());
            let _ = text.parse::<Mebibytes>().map(|amount| amount.to_string());
        }
    }
}
