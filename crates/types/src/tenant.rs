//! The name of a tenant: what a user types, and the name of its folder and of its adapter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A tenant's name: 1 to 63 of `a-z`, `0-9`, `-` and `_`, beginning with a letter or digit.
///
/// Narrow on purpose: it names folders (on file systems that ignore case too), adapters in an
/// OpenAI `model` field, metrics labels and TOML tables without quoting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(String);

/// Why a text is not a [`TenantName`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TenantNameError {
    /// There is no character.
    #[error(
        "a tenant's name is empty; write 1 to {} of a-z, 0-9, '-' and '_'",
        TenantName::LEN_MAX
    )]
    Empty,
    /// There are too many characters.
    #[error("the tenant name {name:?} has {len} characters, more than {}", TenantName::LEN_MAX)]
    TooLong {
        /// The text that was given.
        name: String,
        /// Its characters.
        len: usize,
    },
    /// A character that is not allowed where it stands.
    #[error(
        "the tenant name {name:?} has {character:?} at character {at}; use a-z, 0-9, '-' and '_', \
         and begin with a letter or digit"
    )]
    Character {
        /// The text that was given.
        name: String,
        /// The first bad character.
        character: char,
        /// Its place, counted from 1.
        at: usize,
    },
}

impl TenantName {
    /// Most characters of a name.
    pub const LEN_MAX: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = TenantNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let len = name.chars().count();
        if len == 0 {
            return Err(TenantNameError::Empty);
        }
        if len > Self::LEN_MAX {
            let name = name.chars().take(Self::LEN_MAX).collect();
            return Err(TenantNameError::TooLong { name, len });
        }
        let bad = name.chars().enumerate().find(|&(at, character)| {
            let plain = character.is_ascii_lowercase() || character.is_ascii_digit();
            !(plain || at > 0 && matches!(character, '-' | '_'))
        });
        match bad {
            None => Ok(Self(name.to_owned())),
            Some((at, character)) => {
                Err(TenantNameError::Character { name: name.to_owned(), character, at: at + 1 })
            }
        }
    }
}

impl TryFrom<String> for TenantName {
    type Error = TenantNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<TenantName> for String {
    fn from(name: TenantName) -> Self {
        name.0
    }
}

impl AsRef<str> for TenantName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        let check = |name: &str, expected: Result<(), &str>| {
            let parsed = name.parse::<TenantName>();
            match expected {
                Ok(()) => assert_eq!(parsed.unwrap().as_str(), name),
                Err(part) => {
                    let message = parsed.unwrap_err().to_string();
                    assert!(message.contains(part), "{name:?} gave {message:?}");
                }
            }
        };
        check("science", Ok(()));
        check("7b-code_2", Ok(()));
        check(&"a".repeat(63), Ok(()));
        check("", Err("is empty"));
        check(&"a".repeat(64), Err("64 characters"));
        check("Science", Err("'S' at character 1"));
        check("-x", Err("'-' at character 1"));
        check("../etc", Err("'.' at character 1"));
        check("a/b", Err("'/' at character 2"));
        check("法律", Err("'法' at character 1"));
    }

    #[test]
    fn serde_checks_the_name() {
        let name: TenantName = serde_json::from_str("\"code\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"code\"");
        assert!(serde_json::from_str::<TenantName>("\"Code!\"").is_err());
    }
}
