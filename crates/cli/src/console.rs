//! The two streams: data to stdout, talk to stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;

use serde::Serialize;

/// How the user wants to be talked to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// Data as JSON.
    pub json: bool,
    /// No talk but errors.
    pub quiet: bool,
}

impl Console {
    /// Prints data: one JSON object, or the text for people.
    pub(crate) fn data(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            println!("{}", serde_json::to_string(value).expect("results have string keys"));
        } else {
            println!("{}", text());
        }
    }

    /// Says something that is not data.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says why a command failed, with every cause and, last, what to try.
    pub(crate) fn failed(&self, error: &(dyn Error + 'static)) {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        let messages: Vec<String> = chain.map(ToString::to_string).collect();
        let mut hints = Vec::new();
        let mut lines = Vec::new();
        for (depth, message) in messages.iter().enumerate() {
            for (at, line) in message.lines().enumerate() {
                match line.trim_start().strip_prefix("hint: ") {
                    Some(hint) => hints.push(hint.to_owned()),
                    None if at == 0 && depth == 0 => lines.push(format!("error: failed to {line}")),
                    None if at == 0 => lines.push(format!("  because: {line}")),
                    None => lines.push(format!("  {line}")),
                }
            }
        }
        lines.dedup();
        lines.extend(hints.into_iter().map(|hint| format!("hint: {hint}")));
        eprintln!("{}", lines.join("\n"));
        if self.json {
            println!("{}", serde_json::json!({ "error": messages }));
        }
    }
}
