//! Why a model folder or an adapter folder cannot be read or written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::json::abridged;

/// Why a model or an adapter cannot be read or written; every message names the file and what to
/// do about it.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The system refused to read or write.
    #[error("failed to {action} {}\nhint: check that the path is right, that you may use it and that the disk has room", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file that must be there is not.
    #[error("failed to find {}\nhint: {hint}", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// A file is larger than any honest file of its kind.
    #[error("failed to read {}: it has {bytes} bytes, and at most {bytes_max} are read\nhint: this is no such file of a model; check the path, or fetch the model again", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The longest we read.
        bytes_max: u64,
    },
    /// A file that must be JSON is not.
    #[error("failed to parse {} as JSON\nhint: the file is damaged or another one; fetch or save it again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A field is missing, has the wrong type, or a value outside its limits.
    #[error("failed to read {}: {field} is {found}, expected {expected}\nhint: set the field to that, or fetch or save the folder again with the library that made it", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Name of the field.
        field: String,
        /// Its value, shortened, or `missing`.
        found: String,
        /// The legal values.
        expected: String,
    },
    /// A field asks for mathematics that the encoder does not do.
    #[error("failed to use {}: {field} is {found}, which is not supported\nhint: {hint}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Name of the field.
        field: String,
        /// Its value, shortened.
        found: String,
        /// The legal values, or what to do.
        hint: String,
    },
    /// A safetensors file is truncated or its header is broken.
    #[error("failed to read {}: {reason}\nhint: the file is damaged or was cut short; fetch or save it again", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing, or has the wrong shape, type or values.
    #[error("failed to read tensor {tensor} of {}: expected {expected}, found {found}\nhint: {hint}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor in the file.
        tensor: String,
        /// Shape, type or values that it should have.
        expected: String,
        /// What it has.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// Tensors or adapter keys that nothing in the model corresponds to.
    #[error("failed to match {} names of {} with the model:\n  {}\nhint: {hint}", names.len(), path.display(), shorten(names))]
    Unmatched {
        /// The file.
        path: PathBuf,
        /// Every name without a counterpart, with the reason where there is a special one.
        names: Vec<String>,
        /// What to do.
        hint: &'static str,
    },
    /// The weights are pickled, and loading a pickle runs the code in it.
    #[error("failed to read {}: pickled weights are refused, since loading them can run any code\nhint: {hint}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// How to convert it.
        hint: &'static str,
    },
    /// The tokenizer cannot be loaded, or does not belong to the model.
    #[error("failed to load tokenizer {}: {reason}\nhint: take the tokenizer.json that belongs to the weights; fetch or save the model again", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A text cannot be tokenised.
    #[error(
        "failed to tokenise a text of {bytes} bytes: {reason}\nhint: allow more tokens, or use the tokenizer that belongs to the model"
    )]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What is wrong.
        reason: String,
    },
    /// Two texts cannot be read together.
    #[error(
        "failed to read two texts together: {reason}\nhint: allow more tokens, or use a tokenizer whose template for two texts is the model's"
    )]
    Join {
        /// What is wrong.
        reason: String,
    },
    /// An adapter was made for a model of another shape.
    #[error(
        "failed to merge the adapter: its {site} is {adapter}, the model's is {model}\nhint: merge it into the base model that it was trained on"
    )]
    Misfit {
        /// The adapted linear layer.
        site: String,
        /// Its shape in the adapter.
        adapter: String,
        /// Its shape in the model.
        model: String,
    },
    /// A folder to be written exists and holds something else.
    #[error("failed to write {}: it already holds {found}, which would be lost\nhint: choose another folder, or empty this one", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
}

/// How many names a message lists before it only counts.
const NAMES_SHOWN: usize = 20;

fn shorten(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| abridged(name)).collect();
    let mut text = shown.join("\n  ");
    if names.len() > NAMES_SHOWN {
        text.push_str(&format!("\n  and {} more", names.len() - NAMES_SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SpecError, UnsupportedPrecision};

    /// One of each; a new case does not compile in `name` until it stands here too.
    fn every() -> Vec<ModelError> {
        let (path, text) = (PathBuf::from("model/config.json"), || "text".to_owned());
        let io = || io::Error::from(io::ErrorKind::PermissionDenied);
        let (field, found, expected) = (text(), text(), text());
        let names = vec![text()];
        let source = serde_json::from_str::<bool>("x").unwrap_err();
        vec![
            ModelError::Io { action: "read", path: path.clone(), source: io() },
            ModelError::Missing { path: path.clone(), hint: text() },
            ModelError::TooLarge { path: path.clone(), bytes: 2, bytes_max: 1 },
            ModelError::Json { path: path.clone(), source },
            ModelError::Field { path: path.clone(), field, found, expected },
            ModelError::Unsupported {
                path: path.clone(),
                field: text(),
                found: text(),
                hint: text(),
            },
            ModelError::Header { path: path.clone(), reason: text() },
            ModelError::Tensor {
                path: path.clone(),
                tensor: text(),
                expected: text(),
                found: text(),
                hint: "do it",
            },
            ModelError::Unmatched { path: path.clone(), names, hint: "do it" },
            ModelError::Pickle { path: path.clone(), hint: "do it" },
            ModelError::Tokenizer { path: path.clone(), reason: text() },
            ModelError::Encode { bytes: 1, reason: text() },
            ModelError::Join { reason: text() },
            ModelError::Misfit { site: text(), adapter: text(), model: text() },
            ModelError::Occupied { path, found: text() },
        ]
    }

    fn name(error: &ModelError) -> &'static str {
        match error {
            ModelError::Io { .. } => "Io",
            ModelError::Missing { .. } => "Missing",
            ModelError::TooLarge { .. } => "TooLarge",
            ModelError::Json { .. } => "Json",
            ModelError::Field { .. } => "Field",
            ModelError::Unsupported { .. } => "Unsupported",
            ModelError::Header { .. } => "Header",
            ModelError::Tensor { .. } => "Tensor",
            ModelError::Unmatched { .. } => "Unmatched",
            ModelError::Pickle { .. } => "Pickle",
            ModelError::Tokenizer { .. } => "Tokenizer",
            ModelError::Encode { .. } => "Encode",
            ModelError::Join { .. } => "Join",
            ModelError::Misfit { .. } => "Misfit",
            ModelError::Occupied { .. } => "Occupied",
        }
    }

    #[track_caller]
    fn check(error: &dyn std::error::Error) {
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default();
        assert!(last.strip_prefix("hint: ").is_some_and(|hint| !hint.is_empty()), "{message}");
    }

    #[test]
    fn every_error_ends_with_what_to_do() {
        let errors = every();
        errors.iter().for_each(|error| check(error));
        let names: std::collections::BTreeSet<_> = errors.iter().map(name).collect();
        assert_eq!(names.len(), errors.len(), "one of each: {names:?}");
        check(&SpecError::Rank { rank: 0, max: 32 });
        check(&SpecError::NoTargets);
        check(&SpecError::Layer { layer: 7, layers: 6 });
        check(&UnsupportedPrecision);
    }
}
