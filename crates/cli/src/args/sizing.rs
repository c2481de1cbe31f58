//! Arguments of `simulate` for jobs that come and go.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use cotenant_device::CardsSpec;
use cotenant_types::Seconds;

/// The tables of a trace. A requirement that they are in conflict with says nothing, so that each
/// argument names them itself.
const TRACE: [&str; 2] = ["nodes", "pods"];

/// Arguments of `simulate --jobs`.
#[derive(Debug, Args)]
#[command(next_help_heading = "How many cards jobs need")]
pub(crate) struct SizingArgs {
    /// Jobs that come and go: find the fewest cards on which they wait no longer than wished
    #[arg(
        long,
        value_name = "JOBS.toml",
        conflicts_with_all = [
            "nodes", "pods", "policy", "arrival", "load", "keep", "beyond", "move_s", "wait_s", "mix",
            "html"
        ]
    )]
    pub jobs: Option<PathBuf>,
    /// Cards like those that are thought of: auto, nvidia, cpu, sim:8xH100 (8 in a node) or sim:FILE
    #[arg(long, default_value = "auto", requires = "jobs", conflicts_with_all = TRACE)]
    pub cards: CardsSpec,
    /// How long 95 of 100 offline jobs of each kind may wait at most, such as 90s, 5m, 2h or 1d
    #[arg(long, value_name = "TIME", default_value = "5m", requires = "jobs", conflicts_with_all = TRACE)]
    pub target_wait: Wait,
    /// The same of online jobs; 0s for those that must start as they come
    #[arg(long, value_name = "TIME", default_value = "0s", requires = "jobs", conflicts_with_all = TRACE)]
    pub target_wait_online: Wait,
    /// Hours to simulate with each seed, at most 8760; in the first tenth the pool fills
    #[arg(
        long,
        default_value_t = 24,
        requires = "jobs", conflicts_with_all = TRACE,
        value_parser = clap::value_parser!(u32).range(1..=8760)
    )]
    pub hours: u32,
    /// Most cards that are tried, at most 4096
    #[arg(
        long,
        value_name = "CARDS",
        default_value_t = 1024,
        requires = "jobs", conflicts_with_all = TRACE,
        value_parser = clap::value_parser!(u32).range(1..=4096)
    )]
    pub cards_max: u32,
    /// What a card costs an hour, such as 2.49: shows what pools cost a month of 730 hours
    #[arg(long, requires = "jobs", conflicts_with_all = TRACE)]
    pub price: Option<Price>,
    /// What that is in, such as EUR
    #[arg(long, value_name = "TEXT", requires = "price", value_parser = currency)]
    pub currency: Option<String>,
}

/// A time to wait, at most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait(pub Seconds);

/// What a card costs an hour, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price(u64);

const YEAR_S: u64 = 31_536_000;
const MILLION: u64 = 1_000_000;
const HOURS_A_MONTH: u128 = 730;
const CURRENCY_CHARACTERS_MAX: usize = 16;

fn currency(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=CURRENCY_CHARACTERS_MAX => Ok(text.to_owned()),
        count => Err(format!("{count} characters are not within 1 and {CURRENCY_CHARACTERS_MAX}")),
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |letter: char| letter.is_ascii_digit();
        let (number, unit) = text.split_at(text.find(|c| !is_digit(c)).unwrap_or(text.len()));
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err("a time is a whole number and s, m, h or d, such as 5m".to_owned()),
        };
        let number: u64 = number.parse().map_err(|_| format!("{number:?} is no whole number"))?;
        match number.saturating_mul(seconds) {
            time @ 0..=YEAR_S => Ok(Self(Seconds(time as u32))),
            _ => Err(format!("{text} is more than a year")),
        }
    }
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "a price is a number such as 2.49, of up to 6 decimals".to_owned();
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit()) && !text.is_empty();
        if !is_number(whole) || !is_number(part) || part.len() > 6 {
            return Err(wrong());
        }
        let whole = whole.parse().ok().filter(|&whole: &u64| whole < MILLION);
        let whole = whole.ok_or_else(|| format!("{text} is not below {MILLION}"))?;
        let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
        Ok(Self(whole * MILLION + part))
    }
}

impl Price {
    /// Millionths an hour.
    pub(crate) fn millionths(self) -> u64 {
        self.0
    }

    /// What so many cards cost a month, in hundredths, rounded.
    pub(crate) fn month_hundredths(self, cards: u32) -> u64 {
        let millionths = u128::from(self.0) * u128::from(cards) * HOURS_A_MONTH;
        u64::try_from((millionths + 5_000) / 10_000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("5m", 300), ("2h", 7200), ("365d", 31_536_000)]
        {
            assert_eq!(text.parse(), Ok(Wait(Seconds(seconds))), "{text}");
        }
        let form = "a time is a whole number and s, m, h or d, such as 5m";
        for (text, error) in [
            ("", form),
            ("5", form),
            ("5 m", form),
            ("5min", form),
            ("-5m", form),
            ("1.5h", form),
            ("m", "\"\" is no whole number"),
            ("366d", "366d is more than a year"),
            ("18446744073709551615d", "18446744073709551615d is more than a year"),
            ("18446744073709551616s", "\"18446744073709551616\" is no whole number"),
        ] {
            assert_eq!(text.parse::<Wait>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn prices_are_exact() {
        for (text, millionths, month) in [
            ("2.49", 2_490_000, 181_770),
            ("0", 0, 0),
            ("3", 3_000_000, 219_000),
            ("0.000007", 7, 1),
            ("999999.999999", 999_999_999_999, 73_000_000_000),
        ] {
            let price: Price = text.parse().unwrap();
            assert_eq!((price.millionths(), price.month_hundredths(1)), (millionths, month));
        }
        let form = "a price is a number such as 2.49, of up to 6 decimals";
        for (text, error) in [
            ("", form),
            ("-1", form),
            ("1.", form),
            (".5", form),
            ("1e3", form),
            ("1.0000001", form),
            ("1000000", "1000000 is not below 1000000"),
            ("99999999999999999999", "99999999999999999999 is not below 1000000"),
        ] {
            assert_eq!(text.parse::<Price>().unwrap_err(), error, "{text}");
        }
        assert!(
            currency("EUR").is_ok() && currency("").is_err() && currency(&"x".repeat(17)).is_err()
        );
    }
}
