//! Words of a request that stand for a choice.

use cotenant_types::{Class, Near, Place, Policy, Rung, Signal};

use super::{RequestError, wrong};

pub(super) const CLASSES: [(&str, Class); 2] =
    [("offline", Class::Offline), ("online", Class::Online)];
pub(super) const POLICIES: [(&str, Policy); 3] =
    [("fixed", Policy::Fixed), ("burst", Policy::Burst), ("contend", Policy::Contend)];
pub(super) const PLACES: [(&str, Place); 2] =
    [("binpack", Place::Binpack), ("spread", Place::Spread)];
pub(super) const NEARS: [(&str, Near); 3] =
    [("nvlink", Near::Nvlink), ("numa", Near::Numa), ("rack", Near::Rack)];
pub(super) const SIGNALS: [(&str, Signal); 4] = [
    ("SIGTERM", Signal::Term),
    ("SIGINT", Signal::Int),
    ("SIGUSR1", Signal::Usr1),
    ("SIGUSR2", Signal::Usr2),
];

/// The value that a word stands for; the type's default if there is no word.
pub(super) fn word<T: Copy + Default>(
    key: &'static str,
    given: &Option<String>,
    words: &[(&str, T)],
) -> Result<T, RequestError> {
    Ok(optional(key, given, words)?.unwrap_or_default())
}

pub(super) fn optional<T: Copy>(
    key: &'static str,
    given: &Option<String>,
    words: &[(&str, T)],
) -> Result<Option<T>, RequestError> {
    let Some(given) = given else { return Ok(None) };
    match words.iter().find(|(word, _)| word == given) {
        Some(&(_, value)) => Ok(Some(value)),
        None => {
            let legal: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            Err(wrong(key, unknown(given, &legal)))
        }
    }
}

pub(super) fn rung(name: &str) -> Result<Rung, RequestError> {
    let found = Rung::ALL.into_iter().find(|rung| rung.name() == name);
    let legal = Rung::ALL.map(Rung::name);
    found.ok_or_else(|| wrong("enforced_by", unknown(name, &legal)))
}

/// What to say of a word that is none of the legal ones.
fn unknown(given: &str, legal: &[&str]) -> String {
    let near = legal
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(given, a).total_cmp(&strsim::jaro_winkler(given, b)));
    let guess = match near {
        Some(word) if strsim::jaro_winkler(given, word) > 0.8 => format!("; did you mean {word}?"),
        _ => String::new(),
    };
    let given: String = given.chars().take(64).collect();
    format!("{given:?} is not one of {}{guess}", legal.join(", "))
}
