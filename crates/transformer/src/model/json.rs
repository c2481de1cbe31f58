//! JSON files of a model folder, read with limits and with errors that name file and field.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ModelError;

/// Longest configuration file that is read; real ones have a few KiB.
const JSON_BYTES_MAX: u64 = 4 << 20;

/// Longest value or name that an error message shows, in characters.
const SHOWN_CHARACTERS_MAX: usize = 160;

/// A JSON object and the file it came from.
#[derive(Clone, Debug)]
pub(crate) struct JsonFile {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl JsonFile {
    /// Reads a file that must hold an object; `None` if there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, ModelError> {
        match read_bytes(path, JSON_BYTES_MAX)? {
            Some(bytes) => Self::parse(&bytes, path).map(Some),
            None => Ok(None),
        }
    }

    /// Reads a file that must exist.
    pub(crate) fn required(path: &Path, hint: &str) -> Result<Self, ModelError> {
        Self::read(path)?
            .ok_or_else(|| ModelError::Missing { path: path.to_owned(), hint: hint.to_owned() })
    }

    /// Parses an object; `path` is only named in errors.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        let fields = serde_json::from_slice(bytes)
            .map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), fields })
    }

    /// An object inside another file, for example one entry of a list.
    pub(crate) fn part(path: &Path, fields: Map<String, Value>) -> Self {
        Self { path: path.to_owned(), fields }
    }

    /// The file's name, for errors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All fields, in the order of the file.
    pub(crate) fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// All fields, to write them changed.
    pub(crate) fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    /// A field's value; `null` counts as absent.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A required integer in `1..=max`.
    pub(crate) fn count(&self, field: &str, max: usize) -> Result<usize, ModelError> {
        let value = self.get(field).and_then(Value::as_u64).unwrap_or(0);
        match usize::try_from(value) {
            Ok(count) if (1..=max).contains(&count) => Ok(count),
            _ => Err(self.malformed(field, format!("an integer from 1 to {max}"))),
        }
    }

    /// An optional integer in `0..=max`.
    pub(crate) fn index(&self, field: &str, max: usize) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_u64().map(usize::try_from) {
            Some(Ok(index)) if index <= max => Ok(Some(index)),
            _ => Err(self.malformed(field, format!("an integer from 0 to {max}"))),
        }
    }

    /// An optional number.
    pub(crate) fn number(&self, field: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.malformed(field, "a number"))
    }

    /// An optional string.
    pub(crate) fn text(&self, field: &str) -> Result<Option<&str>, ModelError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.malformed(field, "a string"))
    }

    /// A flag; absent means false.
    pub(crate) fn flag(&self, field: &str) -> Result<bool, ModelError> {
        let Some(value) = self.get(field) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.malformed(field, "true or false"))
    }

    /// The error of a field with an illegal value.
    pub(crate) fn malformed(&self, field: &str, expected: impl Into<String>) -> ModelError {
        ModelError::Field {
            path: self.path.clone(),
            field: abridged(field),
            found: self.shown(field),
            expected: expected.into(),
        }
    }

    /// The error of a field whose value is legal but not for us.
    pub(crate) fn unsupported(&self, field: &str, hint: impl Into<String>) -> ModelError {
        ModelError::Unsupported {
            path: self.path.clone(),
            field: abridged(field),
            found: self.shown(field),
            hint: hint.into(),
        }
    }

    fn shown(&self, field: &str) -> String {
        self.fields.get(field).map_or_else(|| "missing".to_owned(), shown)
    }
}

/// A value as an error message shows it: JSON, cut where it is long.
pub(crate) fn shown(value: &Value) -> String {
    abridged(&value.to_string())
}

/// A text from a file as an error message shows it, cut where it is long.
pub(crate) fn abridged(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A file's bytes, if there is such a file and it is not longer than `bytes_max`.
pub(crate) fn read_bytes(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, ModelError> {
    let failed = |source| ModelError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > bytes_max {
        return Err(ModelError::TooLarge { path: path.to_owned(), bytes, bytes_max });
    }
    let mut content = Vec::new();
    // The limit again, since a pipe or a growing file has no honest length.
    file.take(bytes_max).read_to_end(&mut content).map_err(failed)?;
    Ok(Some(content))
}
