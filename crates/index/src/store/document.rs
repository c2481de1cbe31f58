//! Documents as they come and go, and what is checked of them.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::error::{DamagedFile, IndexError, check_limit};
use super::limits::{
    DIMENSIONS_MAX, ID_BYTES_MAX, METADATA_BYTES_MAX, METADATA_DEPTH_MAX, NAME_BYTES_MAX,
    TEXT_BYTES_MAX,
};
use super::record::Stored;
use super::spec::EmbeddingSpec;
use crate::dense::{Dense, Metric};

/// A document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What its owner calls it; one document of a namespace has an id.
    pub id: String,
    /// What is searched.
    pub text: String,
    /// What filters look at.
    pub metadata: Map<String, Value>,
    /// Its vector under the active embedding: `[dimensions]`.
    pub vector: Option<Vec<f32>>,
}

/// A change of a document that is there; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Which document.
    pub id: String,
    /// Another text. The vectors of the old one go.
    pub text: Option<String>,
    /// Other metadata, in place of all that was there.
    pub metadata: Option<Map<String, Value>>,
    /// Another vector under the active embedding.
    pub vector: Option<Vec<f32>>,
}

/// Longest vector: the product of two such is far from the largest f32.
pub(crate) const LENGTH_MAX: f64 = 1e18;

/// How far a vector's length may be from 1 and count as 1, so that a vector that was made of unit
/// length once keeps its bits.
const UNIT_TOLERANCE: f64 = 1e-6;

/// Checks a document without its vector, and makes it ready to be kept.
pub(crate) fn stored(
    id: &str,
    text: &str,
    metadata: &Map<String, Value>,
) -> Result<Stored, IndexError> {
    check_id(id)?;
    let what = || format!("the text of document {id:?}");
    check_limit(what, (text.len(), TEXT_BYTES_MAX), "bytes")?;
    if depth(metadata.values()) > METADATA_DEPTH_MAX {
        return Err(IndexError::invalid(
            format!("the metadata of document {id:?}"),
            format!("is nested deeper than {METADATA_DEPTH_MAX}"),
        ));
    }
    let metadata = serde_json::to_string(metadata).expect("JSON values can be written");
    check_limit(
        || format!("the metadata of document {id:?}"),
        (metadata.len(), METADATA_BYTES_MAX),
        "bytes",
    )?;
    Ok(Stored { id: id.to_owned(), text: text.to_owned(), metadata })
}

/// Checks the id of a document.
pub(crate) fn check_id(id: &str) -> Result<(), IndexError> {
    if id.is_empty() {
        return Err(IndexError::invalid("the id of a document", "is empty"));
    }
    check_limit(|| "the id of a document".to_owned(), (id.len(), ID_BYTES_MAX), "bytes")
}

/// Checks the name of a namespace or an embedding.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), IndexError> {
    let reason = match name {
        "" => "is empty",
        _ if name.chars().any(char::is_control) => "has control characters",
        _ => return check_limit(|| what.to_owned(), (name.len(), NAME_BYTES_MAX), "bytes"),
    };
    Err(IndexError::invalid(what, reason))
}

/// Checks what an embedding is to be.
pub(crate) fn check_spec(spec: &EmbeddingSpec) -> Result<(), IndexError> {
    check_name("the name of an embedding", &spec.name)?;
    let what = format!("the embedding {:?}", spec.name);
    if spec.dimensions == 0 {
        return Err(IndexError::invalid(what, "has no dimensions"));
    }
    check_limit(|| what.clone(), (spec.dimensions, DIMENSIONS_MAX), "dimensions")?;
    let unsearchable = |error| IndexError::invalid(&what, format!("cannot be searched: {error}"));
    Dense::new(spec.dense(0, 0)).map(|_| ()).map_err(unsearchable)
}

/// Checks a vector, and makes it what will be kept.
pub(crate) fn vector(
    what: &dyn Display,
    values: &[f32],
    spec: &EmbeddingSpec,
) -> Result<Vec<f32>, IndexError> {
    let invalid = |reason: String| IndexError::invalid(format!("the vector of {what}"), reason);
    if values.len() != spec.dimensions {
        let (given, expected) = (values.len(), spec.dimensions);
        return Err(invalid(format!(
            "has {given} dimensions; the embedding {:?} has {expected}",
            spec.name
        )));
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err(invalid("has a value that is not finite".to_owned()));
    }
    let mut values = values.to_vec();
    let length = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    if length > LENGTH_MAX {
        return Err(invalid(format!("has length {length:e}, more than {LENGTH_MAX:e}")));
    }
    if spec.metric == Metric::Cosine {
        if length == 0.0 {
            return Err(invalid("has length 0, and no direction to compare".to_owned()));
        }
        if (length - 1.0).abs() > UNIT_TOLERANCE {
            values.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
    }
    spec.storage.round(&mut values);
    Ok(values)
}

/// The metadata of a document that is kept in a file.
pub(crate) fn metadata(
    json: &str,
    path: &std::path::Path,
) -> Result<Map<String, Value>, DamagedFile> {
    serde_json::from_str(json).map_err(|error| {
        DamagedFile::new(path, format!("the metadata of a document is no JSON object: {error}"))
    })
}

/// How deep an object of these values is.
fn depth<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    let below = values.map(|value| match value {
        Value::Object(map) => depth(map.values()),
        Value::Array(values) => depth(values.iter()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    });
    1 + below.max().unwrap_or_default()
}
