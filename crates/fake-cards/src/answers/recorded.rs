//! A text that says what a card answered.
//!
//! A line is a kind and `key=value` behind it; what follows `#` is for people:
//!
//! ```text
//! mig mode=on
//! profile index=0 id=19 name=1g.10gb slices=1 count=7 memory_mib=9984 sms=16 width=1 starts=0/1/2
//! ecc mode=on corrected=3
//! power limit_mw=700000
//! ```

use thiserror::Error;

use super::facts::{CardAnswers, PROFILE_NAME_BYTES, PROFILES_MAX, Profile};

/// What a card answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub(crate) told: CardAnswers,
    pub(crate) profiles: [Profile; PROFILES_MAX],
}

/// A text that records nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("read line {line} of recorded answers, '{text}'\nhint: {wanted}")]
pub struct RecordError {
    /// The line, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// What it may say.
    pub wanted: &'static str,
}

const KINDS: &str = "a line begins with mig, profile, ecc, rows, pages, power, temperature, \
                     clocks, energy or pcie";
const PAIRS: &str = "behind the kind stand known keys, each as key=value";
const VALUES: &str = "values are whole numbers, on or off, yes or no; starts are numbers with / \
                      between them, and an index is below 17";

impl Recorded {
    /// Reads a text.
    ///
    /// # Errors
    /// If a line is not understood.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mut recorded =
            Self { told: CardAnswers::default(), profiles: [Profile::default(); PROFILES_MAX] };
        for (at, line) in text.lines().enumerate() {
            let words = line.split('#').next().unwrap_or_default();
            let failed = |wanted| RecordError { line: at + 1, text: line.to_owned(), wanted };
            let mut words = words.split_whitespace();
            let Some(kind) = words.next() else { continue };
            let pairs: Option<Vec<(&str, &str)>> = words.map(|word| word.split_once('=')).collect();
            recorded.line(kind, &pairs.ok_or_else(|| failed(PAIRS))?).map_err(failed)?;
        }
        Ok(recorded)
    }

    fn line(&mut self, kind: &str, pairs: &[(&str, &str)]) -> Result<(), &'static str> {
        if kind == "profile" {
            return self.profile(pairs);
        }
        let told = &mut self.told;
        match kind {
            "rows" => told.rows_told = 1,
            "pcie" => told.replays_told = 1,
            "mig" | "ecc" | "pages" | "power" | "temperature" | "clocks" | "energy" => {}
            _ => return Err(KINDS),
        }
        for &(key, value) in pairs {
            let field = match (kind, key) {
                ("mig", "mode") => &mut told.mig_mode,
                ("mig", "pending") => &mut told.mig_mode_pending,
                ("ecc", "mode") => {
                    told.ecc_mode = 1 + number(value)?;
                    continue;
                }
                ("ecc", "corrected") => &mut told.ecc_corrected,
                ("ecc", "uncorrected") => &mut told.ecc_uncorrected,
                ("rows", "corrected") => &mut told.rows_corrected,
                ("rows", "uncorrected") => &mut told.rows_uncorrected,
                ("rows", "pending") => &mut told.rows_pending,
                ("rows", "failed") => &mut told.rows_failed,
                ("pages", "pending") => {
                    told.pages = 1 + number(value)?;
                    continue;
                }
                ("power", "limit_mw") => &mut told.power_limit_mw,
                ("temperature", "slowdown_c") => &mut told.slowdown_c,
                ("temperature", "shutdown_c") => &mut told.shutdown_c,
                ("clocks", "sm_mhz") => &mut told.sm_mhz,
                ("clocks", "memory_mhz") => &mut told.memory_mhz,
                ("energy", "mj") => &mut told.energy_mj,
                ("pcie", "replays") => &mut told.replays,
                _ => return Err(PAIRS),
            };
            *field = number(value)?;
        }
        Ok(())
    }

    fn profile(&mut self, pairs: &[(&str, &str)]) -> Result<(), &'static str> {
        let mut profile = Profile { is_offered: 1, ..Profile::default() };
        let mut index = None;
        for &(key, value) in pairs {
            let field = match key {
                "index" => {
                    index = Some(number(value)?);
                    continue;
                }
                "name" if value.len() < PROFILE_NAME_BYTES => {
                    profile.name[..value.len()].copy_from_slice(value.as_bytes());
                    continue;
                }
                "starts" => {
                    for start in value.split('/') {
                        let start = number(start)?;
                        profile.starts |= if start < 32 { 1 << start } else { return Err(VALUES) };
                    }
                    continue;
                }
                "id" => &mut profile.id,
                "slices" => &mut profile.slices,
                "count" => &mut profile.count,
                "memory_mib" => &mut profile.memory_mib,
                "sms" => &mut profile.sms,
                "width" => &mut profile.width,
                _ => return Err(PAIRS),
            };
            *field = number(value)?;
        }
        let place = index.and_then(|index| self.profiles.get_mut(index as usize));
        *place.ok_or(VALUES)? = profile;
        Ok(())
    }
}

fn number(value: &str) -> Result<u64, &'static str> {
    match value {
        "on" | "yes" => Ok(1),
        "off" | "no" => Ok(0),
        digits => digits.parse().map_err(|_| VALUES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read() {
        let text = "# a card\nmig mode=on pending=off\n\necc mode=off corrected=3 # few\n\
                    profile index=9 id=15 name=1g.20gb slices=1 count=4 memory_mib=20096 sms=26 \
                    width=2 starts=0/2/4/6\nrows pending=yes\n";
        let recorded = Recorded::parse(text).unwrap();
        assert_eq!((recorded.told.mig_mode, recorded.told.mig_mode_pending), (1, 0));
        assert_eq!((recorded.told.ecc_mode, recorded.told.ecc_corrected), (1, 3));
        assert_eq!((recorded.told.rows_told, recorded.told.rows_pending), (1, 1));
        let profile = recorded.profiles[9];
        assert_eq!((profile.name().as_str(), profile.id, profile.width), ("1g.20gb", 15, 2));
        assert!(profile.may_begin_at(6) && !profile.may_begin_at(1) && !profile.may_begin_at(99));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let check = |text: &str, expected: &str| {
            let error = Recorded::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        };
        check(
            "mig mode=on\nfan speed=1",
            "line 2 of recorded answers, 'fan speed=1'\nhint: a line",
        );
        check("mig mode", "line 1 of recorded answers, 'mig mode'\nhint: behind the kind");
        check("ecc color=1", "known keys");
        check("power limit_mw=much", "whole numbers");
        check("profile id=3", "an index is below 17");
        check("profile index=17", "an index is below 17");
        check("profile index=0 starts=40", "whole numbers");
    }
}
