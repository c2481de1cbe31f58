//! What sentence-transformers adds around an encoder: which modules follow it, how token vectors
//! become one vector, how long a text may be, and prompts.
//!
//! Two spellings are in use for module types and pooling, from before and after version 6; both
//! are read.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::ModelError;
use super::json::{JsonFile, read_bytes, shown};
use crate::encoder::Pooling;

/// Longest `modules.json` that is read.
const MODULES_BYTES_MAX: u64 = 1 << 20;

/// Names that `sentence_bert_config.json` has had, after the model it was first saved with.
const LENGTH_FILES: [&str; 4] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_camembert_config.json",
];

/// Pooling as the legacy booleans of `1_Pooling/config.json` name it.
const POOLING_FLAG: &str = "pooling_mode_";

/// The modules of a sentence-transformers folder.
pub(crate) struct Modules {
    /// Where `config.json`, weights and tokenizer lie.
    pub(crate) transformer: PathBuf,
    /// Where the pooling's `config.json` lies.
    pub(crate) pooling: PathBuf,
    /// Whether a Normalize module follows.
    pub(crate) normalize: bool,
}

/// Reads `modules.json`; `None` if the folder has none and so is a plain model.
pub(crate) fn read_modules(folder: &Path) -> Result<Option<Modules>, ModelError> {
    let path = folder.join("modules.json");
    let Some(bytes) = read_bytes(&path, MODULES_BYTES_MAX)? else { return Ok(None) };
    let list: Vec<Value> = serde_json::from_slice(&bytes)
        .map_err(|source| ModelError::Json { path: path.clone(), source })?;
    let modules = list
        .into_iter()
        .map(|module| read_module(folder, &path, module))
        .collect::<Result<Vec<_>, _>>()?;
    match modules.as_slice() {
        [(Kind::Transformer, transformer), (Kind::Pooling, pooling), rest @ ..]
            if matches!(rest, [] | [(Kind::Normalize, _)]) =>
        {
            Ok(Some(Modules {
                transformer: transformer.clone(),
                pooling: pooling.clone(),
                normalize: !rest.is_empty(),
            }))
        }
        other => Err(ModelError::Unsupported {
            path,
            field: "the sequence of modules".to_owned(),
            found: format!("{:?}", other.iter().map(|(kind, _)| kind).collect::<Vec<_>>()),
            hint: "use a model of Transformer, Pooling and, if any, Normalize".to_owned(),
        }),
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Transformer,
    Pooling,
    Normalize,
}

fn read_module(folder: &Path, path: &Path, module: Value) -> Result<(Kind, PathBuf), ModelError> {
    let Value::Object(fields) = module else {
        return Err(ModelError::Field {
            path: path.to_owned(),
            field: "a module".to_owned(),
            found: shown(&module),
            expected: "an object with type and path".to_owned(),
        });
    };
    let json = JsonFile::part(path, fields);
    let hint = "only sentence-transformers' Transformer, Pooling and Normalize run";
    let class =
        json.text("type")?.ok_or_else(|| json.malformed("type", "the name of a module's class"))?;
    let kind = match class.strip_prefix("sentence_transformers.").map(last_segment) {
        Some("Transformer") => Kind::Transformer,
        Some("Pooling") => Kind::Pooling,
        Some("Normalize") => Kind::Normalize,
        Some(_) | None => return Err(json.unsupported("type", hint)),
    };
    let below = Path::new(json.text("path")?.unwrap_or(""));
    let inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    if !below.components().all(inside) {
        return Err(json.malformed("path", "a folder inside the model's folder"));
    }
    Ok((kind, folder.join(below)))
}

fn last_segment(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

/// Reads the pooling's `config.json` in either spelling.
pub(crate) fn read_pooling(folder: &Path, hidden: usize) -> Result<Pooling, ModelError> {
    let hint = "the folder is incomplete; fetch the model again";
    let json = JsonFile::required(&folder.join("config.json"), hint)?;
    for field in ["embedding_dimension", "word_embedding_dimension"] {
        if json.get(field).is_some_and(|width| width.as_u64() != Some(hidden as u64)) {
            return Err(json.malformed(field, format!("the model's hidden_size, {hidden}")));
        }
    }
    if json.get("include_prompt").is_some_and(|include| include.as_bool() != Some(true)) {
        let hint = "only pooling over all tokens, the prompt's too, is computed";
        return Err(json.unsupported("include_prompt", hint));
    }
    let modes = match json.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode.as_str()],
        Some(Value::Array(modes)) => modes.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(json.malformed("pooling_mode", "a name or a list of names")),
        None => legacy_modes(&json),
    };
    match modes.as_slice() {
        ["mean"] => Ok(Pooling::Mean),
        ["cls"] => Ok(Pooling::Cls),
        other => Err(ModelError::Unsupported {
            path: json.path().to_owned(),
            field: "the pooling".to_owned(),
            found: other.join(" + "),
            hint: "use a model with mean or cls pooling alone".to_owned(),
        }),
    }
}

/// The modes whose boolean is set; none at all means the mean, as in sentence-transformers.
fn legacy_modes(json: &JsonFile) -> Vec<&str> {
    let modes: Vec<&str> = json
        .fields()
        .iter()
        .filter(|(_, value)| !matches!(value, Value::Bool(false) | Value::Null))
        .filter_map(|(field, _)| field.strip_prefix(POOLING_FLAG))
        .map(|mode| mode.strip_suffix("_tokens").or(mode.strip_suffix("_token")).unwrap_or(mode))
        .collect();
    if modes.is_empty() { vec!["mean"] } else { modes }
}

/// How a text becomes tokens, apart from the tokenizer itself.
pub(crate) struct Reading {
    /// Longest text in tokens with the special ones, if any file says so.
    pub(crate) tokens_max: Option<usize>,
    /// Whether the text is lower-cased first.
    pub(crate) lowercase: bool,
}

/// Reads the longest text from `sentence_bert_config.json`, or else from `tokenizer_config.json`,
/// where version 6 of sentence-transformers writes it.
pub(crate) fn read_reading(transformer: &Path) -> Result<Reading, ModelError> {
    let mut reading = Reading { tokens_max: None, lowercase: false };
    for name in LENGTH_FILES {
        let Some(json) = JsonFile::read(&transformer.join(name))? else { continue };
        if !matches!(json.text("transformer_task")?, None | Some("feature-extraction")) {
            let hint = "only the task feature-extraction runs";
            return Err(json.unsupported("transformer_task", hint));
        }
        if json.get("max_seq_length").is_some() {
            reading.tokens_max = Some(json.count("max_seq_length", u32::MAX as usize)?);
        }
        reading.lowercase = json.flag("do_lower_case")?;
        break;
    }
    let Some(json) = JsonFile::read(&transformer.join("tokenizer_config.json"))? else {
        return Ok(reading);
    };
    if !matches!(json.text("truncation_side")?, None | Some("right")) {
        let hint = "only the end of a long text is cut";
        return Err(json.unsupported("truncation_side", hint));
    }
    // Written as 10^30 where the tokenizer knows no limit.
    let limit = json.number("model_max_length")?.filter(|limit| *limit < f64::from(u32::MAX));
    if let (None, Some(limit)) = (reading.tokens_max, limit) {
        if limit < 1.0 {
            return Err(json.malformed("model_max_length", "a number of tokens, at least 1"));
        }
        reading.tokens_max = Some(limit as usize);
    }
    Ok(reading)
}

/// Texts to put in front of others, by name, and which of them is used when none is named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompts {
    pub(crate) by_name: BTreeMap<String, String>,
    pub(crate) default_name: Option<String>,
}

/// Reads the prompts of `config_sentence_transformers.json`, if the folder has one.
pub(crate) fn read_prompts(folder: &Path) -> Result<Prompts, ModelError> {
    let path = folder.join("config_sentence_transformers.json");
    let Some(json) = JsonFile::read(&path)? else { return Ok(Prompts::default()) };
    let mut by_name = BTreeMap::new();
    match json.get("prompts") {
        None => {}
        Some(Value::Object(prompts)) => {
            for (name, prompt) in prompts {
                let Value::String(prompt) = prompt else {
                    return Err(json.malformed("prompts", "a text for every name"));
                };
                by_name.insert(name.clone(), prompt.clone());
            }
        }
        Some(_) => return Err(json.malformed("prompts", "an object of names and texts")),
    }
    let default_name = json.text("default_prompt_name")?.map(str::to_owned);
    if default_name.as_ref().is_some_and(|name| !by_name.contains_key(name)) {
        return Err(json.malformed("default_prompt_name", "one of the names in prompts"));
    }
    Ok(Prompts { by_name, default_name })
}
