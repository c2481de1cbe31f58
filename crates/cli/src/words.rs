//! Names, amounts and times as people read them.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use cotenant_types::{Moment, Seconds};

/// Text that can do nothing to a terminal: control characters, and those that turn the direction of
/// writing, are spelt out; line ends and tabs stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_harmful = |letter: char| is_harmful(letter) && !matches!(letter, '\n' | '\t');
    escaped(text, is_harmful, |letter| letter.escape_default().to_string())
}

/// The same on one line: what a name of somebody else's may be.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmful, |letter| letter.escape_default().to_string())
}

/// JSON that can do nothing to a terminal, with the same meaning.
pub(crate) fn plain_json(json: &str) -> Cow<'_, str> {
    // The writer has escaped what ASCII has of them, and what is left stands within strings.
    escaped(json, is_harmful, |letter| format!("\\u{:04x}", u32::from(letter)))
}

fn is_harmful(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns
}

fn escaped(
    text: &str,
    is_harmful: impl Fn(char) -> bool,
    escape: impl Fn(char) -> String,
) -> Cow<'_, str> {
    if !text.contains(&is_harmful) {
        return Cow::Borrowed(text);
    }
    let letters = text.chars().map(|letter| match is_harmful(letter) {
        true => escape(letter),
        false => letter.to_string(),
    });
    Cow::Owned(letters.collect())
}

/// The first so many characters, and a sign that there are more.
pub(crate) fn shortened(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// Memory in the unit that suits it: `512MiB`, `6GiB`, `79.6GiB`.
pub(crate) fn memory(mib: u64) -> String {
    if mib < 1024 {
        return format!("{mib}MiB");
    }
    format!("{}GiB", gib(mib))
}

/// Memory in GiB, to one decimal where it is not whole.
pub(crate) fn gib(mib: u64) -> String {
    match mib.is_multiple_of(1024) {
        true => (mib / 1024).to_string(),
        false => format!("{:.1}", mib as f64 / 1024.0),
    }
}

/// Thousandths as per cent, to one decimal where they are not whole.
pub(crate) fn percent(per_mille: impl Into<u64>) -> String {
    let per_mille = per_mille.into();
    match per_mille % 10 {
        0 => format!("{}%", per_mille / 10),
        tenth => format!("{}.{tenth}%", per_mille / 10),
    }
}

/// So many of something whose plural takes an s.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// A duration in its two largest units.
pub(crate) fn duration(ms: u64) -> String {
    Seconds(u32::try_from(ms / 1000).unwrap_or(u32::MAX)).to_string()
}

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A moment to the second, in UTC.
pub(crate) fn moment(ms: u64) -> String {
    Moment(ms).to_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_raw() {
        let check = |text: &str, line: &str, lines: &str| {
            assert_eq!((&*plain(text), &*printable(text)), (line, lines), "{text:?}");
        };
        check("法律 job", "法律 job", "法律 job");
        check("\x1b[2Jx\n", "\\u{1b}[2Jx\\n", "\\u{1b}[2Jx\n");
        check("\u{9b}31m\t\r", "\\u{9b}31m\\t\\r", "\\u{9b}31m\t\\r");
        check("\u{202e}law", "\\u{202e}law", "\\u{202e}law");
        let json = serde_json::to_string("\x1b\u{9b}\u{7f}\n é").unwrap();
        let shown = plain_json(&json);
        assert_eq!(shown, "\"\\u001b\\u009b\\u007f\\n é\"");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), "\x1b\u{9b}\u{7f}\n é");
    }

    #[test]
    fn amounts_are_short() {
        let sizes = [0, 512, 1024, 6144, 81_559].map(memory);
        assert_eq!(sizes, ["0MiB", "512MiB", "1GiB", "6GiB", "79.6GiB"]);
        assert_eq!([250_u64, 125, 2500, 3].map(percent), ["25%", "12.5%", "250%", "0.3%"]);
        assert_eq!([0, 1, 2].map(|number| count(number, "job")), ["0 jobs", "1 job", "2 jobs"]);
        assert_eq!(shortened("法律法律", 3), "法律法…");
        assert_eq!(duration(7_500_000), "2h 5m");
    }
}
