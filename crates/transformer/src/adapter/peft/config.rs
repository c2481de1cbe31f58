//! `adapter_config.json`: the fields of peft's `LoraConfig` that decide what the matrices mean.

use std::path::Path;

use serde_json::Value;

use super::CONFIG_FILE;
use super::pattern::{Pattern, Selected, Selection};
use crate::model::ModelError;
use crate::model::json::JsonFile;

/// Largest rank; matrices of a larger one would not be low-rank in any encoder.
const RANK_MAX: usize = 1 << 14;

/// Largest number of an encoder layer.
const LAYER_MAX: usize = 1 << 10;

/// Fields that say where an adapter comes from or how it was trained, and never what it computes.
const HARMLESS: [&str; 10] = [
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "lora_dropout",
    "eva_config",
    // Settings of methods that are off unless another field switches them on.
    "megatron_core",
    "qalora_group_size",
];

/// Fields that are read below.
const READ: [&str; 14] = [
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "bias",
    "init_lora_weights",
    "fan_in_fan_out",
    "modules_to_save",
];

/// Modules that are trained as a whole in an adapter that scores. `peft` adds the last two by itself
/// to every adapter of task type SEQ_CLS, whichever of them the model has.
const SAVED: [&str; 3] = ["pooler", "classifier", "score"];

/// What the matrices mean.
#[derive(Clone, Debug)]
pub(super) struct PeftConfig {
    rank: usize,
    alpha: f64,
    rslora: bool,
    rank_patterns: Vec<(Pattern, usize)>,
    alpha_patterns: Vec<(Pattern, f64)>,
    targets: Selection,
    excluded: Selection,
    layers: Option<Vec<usize>>,
    saves_head: bool,
}

impl PeftConfig {
    /// Reads the configuration in an adapter's folder. Refuses every field that would change the
    /// mathematics in a way that is not implemented, and every unknown one that is set.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(CONFIG_FILE);
        let hint = "an adapter folder holds adapter_config.json and adapter_model.safetensors";
        let json = JsonFile::required(&path, hint)?;
        if json.text("peft_type")? != Some("LORA") {
            return Err(json.unsupported("peft_type", "only LORA adapters run"));
        }
        refuse_other_methods(&json)?;
        let alpha = json.number("lora_alpha")?.unwrap_or(8.0);
        Ok(Self {
            rank: if json.get("r").is_some() { json.count("r", RANK_MAX)? } else { 8 },
            alpha,
            rslora: json.flag("use_rslora")?,
            rank_patterns: patterns(&json, "rank_pattern", |value| {
                let rank = usize::try_from(value.as_u64()?).ok()?;
                (1..=RANK_MAX).contains(&rank).then_some(rank)
            })?,
            alpha_patterns: patterns(&json, "alpha_pattern", Value::as_f64)?,
            targets: selection(&json, "target_modules")?.unwrap_or(Selection::Expression),
            excluded: selection(&json, "exclude_modules")?.unwrap_or(Selection::Names(Vec::new())),
            layers: layers(&json)?,
            saves_head: saves_head(&json)?,
        })
    }

    /// Whether a head is to be among the tensors.
    pub(super) fn saves_head(&self) -> bool {
        self.saves_head
    }

    /// The rank that a module's matrices must have.
    pub(super) fn rank(&self, module: &str) -> usize {
        let special = self.rank_patterns.iter().find(|(pattern, _)| pattern.matches(module));
        special.map_or(self.rank, |(_, rank)| *rank)
    }

    /// The factor on a module's product.
    pub(super) fn scale(&self, module: &str) -> f32 {
        let special = self.alpha_patterns.iter().find(|(pattern, _)| pattern.matches(module));
        let alpha = special.map_or(self.alpha, |(_, alpha)| *alpha);
        scale(alpha, self.rank(module), self.rslora)
    }

    /// Whether a module is adapted, where the configuration alone can tell.
    pub(super) fn adapts(&self, module: &str, layer: usize) -> Option<bool> {
        let excluded = self.excluded.select(module)?;
        let chosen = match self.targets.select(module)? {
            Selected::Whole => true,
            Selected::End => self.layers.as_ref().is_none_or(|layers| layers.contains(&layer)),
            Selected::Not => false,
        };
        Some(chosen && excluded == Selected::Not)
    }
}

/// `alpha / rank`, or `alpha / sqrt(rank)` for rsLoRA, rounded as [`AdapterLayout::from_spec`]
/// rounds it, so that what is written and read again is the same to the bit.
///
/// [`AdapterLayout::from_spec`]: crate::AdapterLayout::from_spec
pub(super) fn scale(alpha: f64, rank: usize, rslora: bool) -> f32 {
    if rslora { alpha as f32 / (rank as f32).sqrt() } else { (alpha / rank as f64) as f32 }
}

fn refuse_other_methods(json: &JsonFile) -> Result<(), ModelError> {
    if !matches!(json.text("bias")?, None | Some("none")) {
        return Err(json.unsupported("bias", "only bias=\"none\" runs: train without biases"));
    }
    if json.flag("fan_in_fan_out")? {
        let hint = "it is for Conv1D layers, which encoders do not have: set it to false";
        return Err(json.unsupported("fan_in_fan_out", hint));
    }
    let keeps_base = match json.get("init_lora_weights") {
        None | Some(Value::Bool(_)) => true,
        Some(Value::String(name)) => matches!(name.as_str(), "gaussian" | "eva" | "orthogonal"),
        Some(_) => false,
    };
    if !keeps_base {
        let hint = "it may change the base weights too; save with peft's \
                    path_initial_model_for_weight_conversion, which writes a plain adapter";
        return Err(json.unsupported("init_lora_weights", hint));
    }
    let pattern = json.get("layers_pattern");
    let names: Option<Vec<_>> = match pattern {
        None => Some(Vec::new()),
        Some(Value::Array(names)) => names.iter().map(Value::as_str).collect(),
        Some(value) => value.as_str().map(|name| vec![name]),
    };
    let known = |name: &&str| matches!(*name, "" | "layer" | "encoder.layer");
    if !names.is_some_and(|names| names.iter().all(known)) {
        return Err(json.unsupported("layers_pattern", "encoders have their layers in `layer`"));
    }
    for (field, value) in json.fields() {
        let known = HARMLESS.contains(&field.as_str()) || READ.contains(&field.as_str());
        if !known && !is_unset(value) {
            let hint = "it may change what the adapter computes; only plain LoRA runs: \
                        train without it, or merge the adapter with peft's merge_and_unload";
            return Err(json.unsupported(field, hint));
        }
    }
    Ok(())
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn patterns<T>(
    json: &JsonFile,
    field: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(Pattern, T)>, ModelError> {
    let fields = match json.get(field) {
        None => return Ok(Vec::new()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(json.malformed(field, "an object of names and numbers")),
    };
    fields
        .iter()
        .map(|(text, value)| {
            let pattern = Pattern::parse(text).ok_or_else(|| {
                let hint = format!(
                    "{text:?} is a regular expression; write out the modules' names, or the ends \
                     of their names"
                );
                json.unsupported(field, hint)
            })?;
            let value = read(value)
                .ok_or_else(|| json.malformed(field, format!("a legal number for {text:?}")))?;
            Ok((pattern, value))
        })
        .collect()
}

fn selection(json: &JsonFile, field: &str) -> Result<Option<Selection>, ModelError> {
    match json.get(field) {
        None => Ok(None),
        Some(Value::String(_)) => Ok(Some(Selection::Expression)),
        Some(Value::Array(names)) => {
            let names: Option<Vec<String>> =
                names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
            let names = names.ok_or_else(|| json.malformed(field, "a list of names"))?;
            Ok(Some(Selection::Names(names)))
        }
        Some(_) => Err(json.malformed(field, "a list of names, or one expression")),
    }
}

fn saves_head(json: &JsonFile) -> Result<bool, ModelError> {
    let field = "modules_to_save";
    let Some(value) = json.get(field) else { return Ok(false) };
    let names: Option<Vec<&str>> =
        value.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
    let names = names.ok_or_else(|| json.malformed(field, "a list of names"))?;
    if names.iter().any(|name| !SAVED.contains(name)) {
        let hint = "only the head of a reranker is trained as a whole: pooler and classifier";
        return Err(json.unsupported(field, hint));
    }
    Ok(!names.is_empty())
}

fn layers(json: &JsonFile) -> Result<Option<Vec<usize>>, ModelError> {
    let expected = "an encoder layer, from 0, or a list of them";
    let layer = |value: &Value| {
        let layer = usize::try_from(value.as_u64()?).ok()?;
        (layer <= LAYER_MAX).then_some(layer)
    };
    let field = "layers_to_transform";
    let layers: Option<Vec<usize>> = match json.get(field) {
        None => return Ok(None),
        Some(Value::Array(list)) if list.is_empty() => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(layer).collect(),
        Some(value) => layer(value).map(|layer| vec![layer]),
    };
    layers.map(Some).ok_or_else(|| json.malformed(field, expected))
}
