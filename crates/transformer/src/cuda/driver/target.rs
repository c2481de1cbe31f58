//! Versions, and what a program is compiled for.

use std::fmt;

/// A version of CUDA, or a card's compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version {
    /// The first number.
    pub(crate) major: u32,
    /// The second number.
    pub(crate) minor: u32,
}

/// The oldest CUDA whose drivers have all that is used here.
pub(super) const DRIVER_MIN: Version = Version { major: 12, minor: 0 };
/// The lowest compute capability with products in bf16.
pub(super) const CAPABILITY_MIN: Version = Version { major: 8, minor: 0 };

impl Version {
    /// Of a number as the driver tells it, such as 12040.
    pub(super) fn of_number(number: i32) -> Self {
        let number = number.max(0).unsigned_abs();
        Self { major: number / 1000, minor: number % 1000 / 10 }
    }

    /// The Python package that has one of CUDA's libraries for drivers of this version.
    pub(super) fn package(self, library: &str) -> String {
        match self.major {
            ..=12 => format!("{library}-cu12"),
            _ => library.to_owned(),
        }
    }

    /// As compilers write architectures: 90 for 9.0, 120 for 12.0.
    pub(super) fn architecture(self) -> u32 {
        self.major * 10 + self.minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}.{}", self.major, self.minor)
    }
}

/// What a program is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Machine code for one architecture, which the driver takes as it is.
    Machine(u32),
    /// Text for an architecture, of which the driver makes machine code for its card.
    Text(u32),
}

impl Target {
    /// The best for a card among the architectures that a compiler knows: its own machine code, or
    /// else text for the newest architecture that is not newer than the card.
    pub(super) fn choose(capability: Version, known: &[u32]) -> Option<Self> {
        let own = capability.architecture();
        if known.contains(&own) {
            return Some(Self::Machine(own));
        }
        known.iter().copied().filter(|&one| one < own).max().map(Self::Text)
    }

    /// The same as text, for a driver that refuses the machine code.
    pub(super) fn as_text(self) -> Self {
        match self {
            Self::Machine(one) | Self::Text(one) => Self::Text(one),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(one) => write!(to, "sm_{one}"),
            Self::Text(one) => write!(to, "compute_{one}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, Version};

    fn check(capability: (u32, u32), known: &[u32], expected: Option<&str>) {
        let (major, minor) = capability;
        let chosen = Target::choose(Version { major, minor }, known);
        assert_eq!(chosen.map(|target| target.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_card_gets_its_machine_code_or_the_newest_text_before_it() {
        let known = [75, 80, 86, 89, 90, 100, 120];
        check((9, 0), &known, Some("sm_90"));
        check((12, 0), &known, Some("sm_120"));
        check((8, 7), &known, Some("compute_86"));
        check((13, 0), &known, Some("compute_120"));
        check((7, 0), &known, None);
        check((9, 0), &[], None);
    }

    #[test]
    fn numbers_of_the_driver_are_versions() {
        assert_eq!(Version::of_number(12_040).to_string(), "12.4");
        assert_eq!(Version::of_number(13_000), Version { major: 13, minor: 0 });
        assert_eq!(Version::of_number(-1).to_string(), "0.0");
        assert!(Version::of_number(12_090) < Version::of_number(13_000));
    }
}
