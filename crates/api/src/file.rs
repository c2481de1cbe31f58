//! Job files: one request in TOML.

use thiserror::Error;

use crate::request::JobRequest;

/// Largest job file.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// Why a text is no job file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FileError {
    /// Too much of it.
    #[error("has {0} bytes, more than {FILE_BYTES_MAX}")]
    TooLarge(usize),
    /// Not TOML, a key that nobody knows, or a value of the wrong kind.
    #[error("{0}")]
    Form(String),
}

/// Reads a job file; an unknown key is refused with a guess.
pub fn parse_job(text: &str) -> Result<JobRequest, FileError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge(text.len()));
    }
    toml::from_str(text).map_err(|error| FileError::Form(with_guess(&error, &[])))
}

/// The parser's words, which name the place, and the key that was probably meant: one that the
/// parser lists, or one of `more`.
pub(crate) fn with_guess(error: &toml::de::Error, more: &[&str]) -> String {
    let text = error.to_string().trim_end().to_owned();
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(given) = quoted.next().filter(|_| message.starts_with("unknown field")) else {
        return text;
    };
    let near =
        quoted.chain(more.iter().copied()).map(|key| (strsim::jaro_winkler(given, key), key));
    match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((likeness, key)) if likeness > 0.8 => format!("{text}\ndid you mean `{key}`?"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use cotenant_types::Moment;
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = parse_job(&text);
        }

        #[test]
        fn any_amounts_are_made_exact_or_refused(
            memory in "[0-9]{0,21}(MiB|GiB|%|‰|x)?",
            limit in "[0-9]{0,21}(MiB|GiB|%|‰|x)?",
            compute in "[0-9]{0,4}(\\.[0-9]{0,2})?(%|‰)?",
            cards in 0u32..100,
            is_total in proptest::prelude::any::<bool>(),
        ) {
            let total = if is_total { "_total" } else { "" };
            let text = format!(
                "command = ['x']\ncards = {cards}\nmemory{total} = '{memory}'\n\
                 memory_limit = '{limit}'\ncompute{total} = '{compute}'\npolicy = 'burst'"
            );
            let job = parse_job(&text).unwrap();
            if let Ok(job) = job.resolve(Some(&"a".parse().unwrap()), Moment(0)) {
                prop_assert!((1..=64).contains(&job.terms.ask.cards));
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_a_guess() {
        let error = parse_job("comand = [\"true\"]").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
        assert!(error.ends_with("did you mean `command`?"), "{error}");
    }
}
