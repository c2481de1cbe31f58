//! What the control program answers, read as text that may be anything.

use super::command::Say;
use super::error::MpsError;

/// Most processes that an answer may name; a server of today has at most 60 clients.
const PIDS_MAX: usize = 4096;

/// Most characters of an answer that a message repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// Words that an answer has only if something was not done.
const REFUSALS: [&str; 9] = [
    "fail",
    "error",
    "invalid",
    "denied",
    "cannot",
    "unknown",
    "unrecognized",
    "not permitted",
    "unable",
];

/// Process numbers, one on each line.
pub(super) fn pids(say: Say, answer: &str) -> Result<Vec<u32>, MpsError> {
    check(say, answer)?;
    let lines = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    let pids: Option<Vec<u32>> = lines.take(PIDS_MAX + 1).map(pid).collect();
    pids.filter(|pids| pids.len() <= PIDS_MAX).ok_or_else(|| unclear(say, answer))
}

/// A percentage such as `50` or `33.3`, in thousandths of a card.
pub(super) fn per_mille(say: Say, answer: &str) -> Result<u32, MpsError> {
    check(say, answer)?;
    let text = answer.trim();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let tenth = part.bytes().next().map_or(0, |digit| u32::from(digit.wrapping_sub(b'0')));
    let whole: Option<u32> = whole.parse::<u32>().ok().filter(|&it| it <= 100 && is_number(whole));
    let whole = whole.filter(|_| is_number(part)).ok_or_else(|| unclear(say, answer))?;
    Ok(whole * 10 + tenth)
}

/// Whether the answer says that something was not done. What is done is answered by nothing, or by
/// the new value.
pub(super) fn check(say: Say, answer: &str) -> Result<(), MpsError> {
    let lower = answer.to_lowercase();
    if lower.contains("cannot find mps control daemon") {
        return Err(MpsError::NotRunning);
    }
    match REFUSALS.iter().any(|word| lower.contains(word)) {
        true => Err(MpsError::Refused { command: say.to_string(), answer: shown(answer) }),
        false => Ok(()),
    }
}

/// The beginning of a text from outside, on one line and without anything a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = words
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|it| if it.is_control() { '?' } else { it })
        .collect();
    if words.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn pid(line: &str) -> Option<u32> {
    let is_number = line.bytes().all(|byte| byte.is_ascii_digit());
    line.parse::<u32>().ok().filter(|&pid| is_number && pid > 0)
}

fn unclear(say: Say, answer: &str) -> MpsError {
    MpsError::Unclear { command: say.to_string(), answer: shown(answer) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_processes_are_read_whole_or_not_at_all() {
        let check = |answer: &str, expected: &[u32]| {
            assert_eq!(pids(Say::ServerList, answer).unwrap(), expected, "{answer:?}");
        };
        check("", &[]);
        check("\n \n", &[]);
        check("12\n", &[12]);
        check(" 12\r\n7\n\n", &[12, 7]);
        for bad in ["0", "-1", "+1", "1 2", "4294967296", "12\nx", "１", "1.0"] {
            let error = pids(Say::ServerList, bad).unwrap_err();
            assert!(matches!(error, MpsError::Unclear { .. }), "{bad:?}: {error}");
        }
        let many = "1\n".repeat(PIDS_MAX);
        assert_eq!(pids(Say::ServerList, &many).unwrap().len(), PIDS_MAX);
        assert!(pids(Say::ServerList, &(many + "1")).is_err());
    }

    #[test]
    fn percentages_are_read_to_the_tenth() {
        let check = |answer: &str, expected: Option<u32>| {
            assert_eq!(per_mille(Say::DefaultPercent, answer).ok(), expected, "{answer:?}");
        };
        check("100.0\n", Some(1000));
        check("50", Some(500));
        check("33.37", Some(333));
        check("0.5", Some(5));
        for bad in ["", ".", "5.", ".5", "101", "1e1", "-5", "5.x", "5.0 6", "99999999999"] {
            check(bad, None);
        }
    }

    #[test]
    fn refusals_are_told_apart_from_values() {
        let of = |answer: &str| check(Say::Quit, answer);
        assert!(of("").is_ok() && of("50.0\n").is_ok() && of("2G").is_ok());
        assert!(matches!(of("Cannot find MPS control daemon process"), Err(MpsError::NotRunning)));
        assert!(matches!(of("Permission denied"), Err(MpsError::Refused { .. })));
        let evil = of("\u{1b}[2J ERROR\r\n\0 no").unwrap_err().to_string();
        assert!(evil.contains("?[2J ERROR ? no"), "{evil:?}");
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in "\\PC{0,80}|[0-9\\n. ]{0,80}|.{0,80}") {
            let _ = pids(Say::ServerList, &answer);
            let _ = per_mille(Say::DefaultPercent, &answer);
            prop_assert!(shown(&answer).chars().count() <= SHOWN_CHARS_MAX + 1);
        }

        #[test]
        fn lists_come_back_as_they_were(list in prop::collection::vec(1u32.., 0..50)) {
            let lines: Vec<String> = list.iter().map(u32::to_string).collect();
            prop_assert_eq!(pids(Say::ServerList, &lines.join("\n")).unwrap(), list);
        }
    }
}
