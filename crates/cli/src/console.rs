//! The two streams: data to stdout, talk to stderr.

use std::error::Error;
use std::io::{self, Write};

use serde::Serialize;

use crate::words::{plain_json, printable};

/// How the user wants to be talked to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// Data as JSON.
    pub json: bool,
    /// No talk but errors.
    pub quiet: bool,
}

/// Whoever stdout goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// It took what was written.
    Reads,
    /// It wants no more.
    IsGone,
}

impl Console {
    /// Prints data: one JSON object, or the text for people. Control characters in it are spelt
    /// out. A reader that has gone away, as `head` does, has what it wanted.
    pub(crate) fn data(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), String> {
        self.more_data(value, text).map(|_| ())
    }

    /// Prints a part of data that goes on, and says whether anybody still reads.
    pub(crate) fn more_data(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<Reader, String> {
        let data = if self.json {
            let json = serde_json::to_string(value).expect("results have string keys");
            plain_json(&json).into_owned()
        } else {
            printable(&text()).into_owned()
        };
        self.raw(format!("{data}\n").as_bytes())
    }

    /// Writes bytes to stdout as they are, and says whether anybody still reads.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<Reader, String> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(Reader::Reads),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::IsGone),
            Err(error) => {
                Err(format!("write to stdout: {error}\nhint: check where stdout is sent to"))
            }
        }
    }

    /// Says something that is not data.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            to_stderr(text);
        }
    }

    /// Says why a command failed, with every cause and, last, what to try.
    pub(crate) fn failed(&self, error: &(dyn Error + 'static)) {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        let messages: Vec<String> = chain.map(ToString::to_string).collect();
        to_stderr(&explained(&messages));
        if self.json {
            // A reader that has gone away was told on stderr.
            let _ = self.data(&serde_json::json!({ "error": messages }), String::new);
        }
    }
}

/// Writes lines to stderr, control characters spelt out; where that fails there is nobody to tell.
fn to_stderr(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// An error and its causes as a person reads them: what failed, why, what to try.
fn explained(messages: &[String]) -> String {
    let (mut lines, mut hints) = (Vec::new(), Vec::new());
    for (depth, message) in messages.iter().enumerate() {
        let mut is_hint = false;
        for (at, line) in message.lines().enumerate() {
            is_hint |= line.trim_start().starts_with("hint: ");
            match (is_hint, at, depth) {
                (true, ..) => hints.push(line.to_owned()),
                (false, 0, 0) => lines.push(format!("error: failed to {line}")),
                (false, 0, _) => lines.push(format!("  because: {line}")),
                (false, ..) => lines.push(format!("  {line}")),
            }
        }
    }
    lines.dedup();
    lines.extend(hints);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_from_what_to_why_to_what_to_try() {
        let check = |messages: &[&str], expected: &str| {
            let messages: Vec<String> = messages.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(explained(&messages), expected);
        };
        check(&["read x"], "error: failed to read x");
        check(
            &["read x", "it is gone\n  since noon\nhint: look\n  everywhere", "no disk"],
            "error: failed to read x\n  because: it is gone\n    since noon\n  because: no disk\n\
             hint: look\n  everywhere",
        );
    }
}
