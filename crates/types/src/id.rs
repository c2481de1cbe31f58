//! Names of what the pool holds: jobs, their runs, cards and nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A job's number, given in the order of submission and never used twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct JobId(pub u64);

/// Which start of a job is meant, counted from 1.
///
/// Whoever runs a job carries the generation that it was told to start; news of an older one
/// changes nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl Generation {
    /// The one after this.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The name of a card, such as `GPU-4d1c…`, `cpu-0` or `sim-n3-2`; unique in a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CardId(String);

/// The name of a machine of the pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// Why a text names no card or node.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is no name of a card or node; write 1 to {LABEL_LEN_MAX} of a-z, A-Z, 0-9, '-', '_', '.', \
     ':' and '/'"
)]
pub struct LabelError(String);

const LABEL_LEN_MAX: usize = 96;

fn checked_label(text: &str) -> Result<String, LabelError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    let fits = (1..=LABEL_LEN_MAX).contains(&text.len());
    if fits && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(LabelError(text.chars().take(LABEL_LEN_MAX).collect()))
}

/// What both kinds of label do.
macro_rules! label {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = LabelError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                checked_label(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = LabelError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

label!(CardId);
label!(NodeName);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_hold_what_drivers_and_hosts_are_called() {
        let check = |text: &str, is_good: bool| {
            assert_eq!(text.parse::<CardId>().is_ok(), is_good, "{text:?}");
            assert_eq!(text.parse::<NodeName>().is_ok(), is_good, "{text:?}");
        };
        check("GPU-8d6b3a2e-9d6f-5a3c-0d0b-1f2e3d4c5b6a", true);
        check("MIG-GPU-8d6b/1/0", true);
        check("node-7.rack_2:a", true);
        check("", false);
        check("a b", false);
        check("a\n", false);
        check("卡", false);
        check(&"a".repeat(97), false);
    }
}
