//! Amounts as people write them: MiB or per cent, on one card or over several.

use cotenant_types::{Mebibytes, MemoryAsk, Share};
use thiserror::Error;

/// Why a text is no amount that a job can have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AmountError {
    /// Neither memory nor a share.
    #[error("{0}")]
    Form(String),
    /// Nothing is asked for.
    #[error("{0:?} is nothing; leave it out for whole cards, or ask for more than 0")]
    Zero(String),
    /// The total does not come out even.
    #[error("{total} over {cards} cards is not a whole number of {unit} on each; {below} is")]
    Uneven {
        /// What was asked for.
        total: String,
        /// Cards that share it.
        cards: u32,
        /// What does not come out whole.
        unit: &'static str,
        /// The next total below that does.
        below: String,
    },
    /// A total that each of the cards cannot give.
    #[error("{total} over {cards} cards is more than 100% of each; ask for more cards")]
    TooMuch {
        /// What was asked for.
        total: String,
        /// Cards that share it.
        cards: u32,
    },
}

/// Reads `6GiB`, `512` (MiB) or `25%`.
pub(crate) fn parse_memory(text: &str) -> Result<MemoryAsk, AmountError> {
    if is_share(text) {
        return parse_share(text).map(MemoryAsk::Part);
    }
    let amount: Mebibytes = text.parse().map_err(form)?;
    if amount.0 == 0 {
        return Err(AmountError::Zero(text.to_owned()));
    }
    Ok(MemoryAsk::Mib(amount))
}

/// Reads `30%`, `12.5%` or `125‰`.
pub(crate) fn parse_share(text: &str) -> Result<Share, AmountError> {
    let share: Share = text.parse().map_err(form)?;
    if share == Share::ZERO {
        return Err(AmountError::Zero(text.to_owned()));
    }
    Ok(share)
}

/// Each card's part of a total such as `18GiB` or `150%`.
pub(crate) fn split_memory(text: &str, cards: u32) -> Result<MemoryAsk, AmountError> {
    if is_share(text) {
        return split_share(text, cards).map(MemoryAsk::Part);
    }
    let Mebibytes(total) = text.parse().map_err(form)?;
    let each = even(text, total, cards, "MiB")?;
    Ok(MemoryAsk::Mib(Mebibytes(each)))
}

/// Each card's part of a total such as `240%`.
pub(crate) fn split_share(text: &str, cards: u32) -> Result<Share, AmountError> {
    let each = even(text, parse_total_share(text)?, cards, "‰")?;
    let too_much = || AmountError::TooMuch { total: text.to_owned(), cards };
    let each = u32::try_from(each).map_err(|_| too_much())?;
    Share::from_per_mille(each).map_err(|_| too_much())
}

/// Thousandths of a card in a share that may be more than one card.
pub(crate) fn parse_total_share(text: &str) -> Result<u64, AmountError> {
    let bad = || {
        let problem = format!("{text:?} is no share of cards; write for example 250%");
        AmountError::Form(problem)
    };
    let trimmed = text.trim();
    let digits = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().map_err(|_| bad()),
        false => Err(bad()),
    };
    if let Some(number) = trimmed.strip_suffix('‰') {
        return digits(number.trim_end());
    }
    let number = trimmed.strip_suffix('%').ok_or_else(bad)?.trim_end();
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    if tenth.len() != 1 {
        return Err(bad());
    }
    Ok(digits(whole)?.saturating_mul(10).saturating_add(digits(tenth)?))
}

fn even(text: &str, total: u64, cards: u32, unit: &'static str) -> Result<u64, AmountError> {
    let cards_wide = u64::from(cards);
    if total == 0 {
        return Err(AmountError::Zero(text.to_owned()));
    }
    if !total.is_multiple_of(cards_wide) {
        let below = format!("{}{unit}", total - total % cards_wide);
        return Err(AmountError::Uneven { total: text.to_owned(), cards, unit, below });
    }
    Ok(total / cards_wide)
}

fn is_share(text: &str) -> bool {
    text.trim_end().ends_with(['%', '‰'])
}

fn form(error: impl ToString) -> AmountError {
    AmountError::Form(error.to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn totals_are_split_exactly_or_not_at_all() {
        let check = |total: &str, cards: u32, expected: expect_test::Expect| {
            let text = match (split_memory(total, cards), split_share(total, cards)) {
                (Ok(MemoryAsk::Mib(each)), _) => each.to_string(),
                (_, Ok(each)) => each.to_string(),
                (Err(error), _) => error.to_string(),
                (Ok(MemoryAsk::Part(_)), Err(error)) => error.to_string(),
            };
            expected.assert_eq(&text);
        };
        check("18GiB", 3, expect!["6144MiB"]);
        check("240%", 3, expect!["80%"]);
        check("0.3%", 3, expect!["0.1%"]);
        check(
            "10GiB",
            3,
            expect!["10GiB over 3 cards is not a whole number of MiB on each; 10239MiB is"],
        );
        check("100%", 3, expect!["100% over 3 cards is not a whole number of ‰ on each; 999‰ is"]);
        check("400%", 3, expect!["400% over 3 cards is not a whole number of ‰ on each; 3999‰ is"]);
        check(
            "600%",
            3,
            expect!["600% over 3 cards is more than 100% of each; ask for more cards"],
        );
        check(
            "0%",
            3,
            expect![[r#""0%" is nothing; leave it out for whole cards, or ask for more than 0"#]],
        );
        check(
            "18446744073709551615%",
            1,
            expect![
                "18446744073709551615% over 1 cards is more than 100% of each; ask for more cards"
            ],
        );
    }

    #[test]
    fn memory_is_read_in_mib_and_in_parts() {
        let check = |text: &str, expected: Option<MemoryAsk>| {
            assert_eq!(parse_memory(text).ok(), expected, "{text:?}");
        };
        check("6GiB", Some(MemoryAsk::Mib(Mebibytes(6144))));
        check("512", Some(MemoryAsk::Mib(Mebibytes(512))));
        check("25%", Some(MemoryAsk::Part(Share::from_per_mille(250).unwrap())));
        check("0", None);
        check("101%", None);
        check("a lot", None);
    }
}
