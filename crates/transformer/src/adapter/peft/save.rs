//! Writing an adapter folder.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::scale;
use super::keys::{Half, head_key, key};
use super::{CONFIG_FILE, WEIGHTS_FILE};
use crate::adapter::head::HeadPart;
use crate::adapter::{Adapter, AdapterLayout, Entry, HeadNames, Module};
use crate::model::ModelError;
use crate::model::folder_writer::FolderWriter;
use crate::model::names::site_name;
use crate::model::tensor_writer::TensorWriter;

const README_FILE: &str = "README.md";

impl Adapter {
    /// Writes the adapter as `peft` would, so that `PeftModel.from_pretrained` adapts exactly the
    /// same linear layers of a bare encoder (`AutoModel`), with the same values and scales; one with
    /// a head is written for `AutoModelForSequenceClassification` with one label.
    /// `base_model_name` is the name or path of the base model that readers of the folder will
    /// look for.
    ///
    /// The folder appears complete or not at all; an adapter that it holds is replaced, any other
    /// file in it makes this fail. Fails also if a value is not finite or nothing is adapted.
    pub fn save_peft(&self, folder: &Path, base_model_name: &str) -> Result<(), ModelError> {
        self.check_writable(folder)?;
        let writer = FolderWriter::new(folder, &[CONFIG_FILE, WEIGHTS_FILE, README_FILE])?;
        let config = configuration(&self.layout, base_model_name);
        writer.bytes(CONFIG_FILE, format!("{config:#}\n").as_bytes())?;
        let tensors: Vec<Tensor> = tensors(&self.layout).collect();
        let header = tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone()));
        writer.file(WEIGHTS_FILE, |file| {
            let mut out = TensorWriter::new(file, header.collect())?;
            for tensor in &tensors {
                out.write(&self.values[tensor.range.clone()])?;
            }
            out.finish()
        })?;
        writer.bytes(README_FILE, readme(&self.layout, base_model_name).as_bytes())?;
        writer.commit()
    }

    fn check_writable(&self, folder: &Path) -> Result<(), ModelError> {
        let wrong = |tensor: String, expected: &str, found: String| ModelError::Tensor {
            path: folder.join(WEIGHTS_FILE),
            tensor,
            expected: expected.to_owned(),
            found,
            hint: "the adapter was not written; train it again, with a lower learning rate if \
                   its loss grew without bound",
        };
        if self.layout.entries().is_empty() {
            return Err(wrong("lora_A".to_owned(), "at least one pair", "none".to_owned()));
        }
        for entry in self.layout.entries() {
            if !entry.scale.is_finite() {
                let (key, scale) = (key("", entry.site, Half::A), entry.scale.to_string());
                return Err(wrong(key, "a finite scale", scale));
            }
        }
        for Tensor { name, range, .. } in tensors(&self.layout) {
            if let Some(value) = self.values[range].iter().find(|value| !value.is_finite()) {
                return Err(wrong(name, "finite values", value.to_string()));
            }
        }
        Ok(())
    }
}

/// A tensor of the file.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    /// Where its values are.
    range: Range<usize>,
}

/// All tensors of an adapter, pair by pair and then the head.
fn tensors(layout: &AdapterLayout) -> impl Iterator<Item = Tensor> {
    let prefix = layout.head().map_or("", |head| head.names.encoder_prefix());
    let pairs = layout.entries().iter().flat_map(move |entry| {
        let half = |half, shape: [usize; 2], range: &Range<usize>| Tensor {
            name: key(prefix, entry.site, half),
            shape: shape.to_vec(),
            range: range.clone(),
        };
        [
            half(Half::A, [entry.rank, entry.inputs], &entry.a),
            half(Half::B, [entry.outputs, entry.rank], &entry.b),
        ]
    });
    let head = layout.head().into_iter().flat_map(|head| {
        HeadPart::ALL.into_iter().map(|part| Tensor {
            name: head_key(head.names, part),
            shape: part.shape(head),
            range: part.range(head),
        })
    });
    pairs.chain(head)
}

/// Modules that are saved as a whole.
fn modules_to_save(layout: &AdapterLayout) -> Option<Vec<&'static str>> {
    Some(match layout.head()?.names {
        HeadNames::Bert => vec!["pooler", "classifier"],
        HeadNames::Roberta => vec!["classifier"],
    })
}

/// `adapter_config.json`, with every field that older versions of peft cannot do without.
fn configuration(layout: &AdapterLayout, base_model_name: &str) -> Value {
    let scaling = Scaling::of(layout.entries());
    let targets = Targets::of(layout);
    json!({
        "peft_type": "LORA",
        "task_type": if layout.head().is_some() { "SEQ_CLS" } else { "FEATURE_EXTRACTION" },
        "base_model_name_or_path": base_model_name,
        "revision": null,
        "auto_mapping": null,
        "inference_mode": true,
        "r": scaling.rank,
        "lora_alpha": number(scaling.alpha),
        "use_rslora": scaling.rslora,
        "rank_pattern": scaling.rank_pattern,
        "alpha_pattern": scaling.alpha_pattern,
        "target_modules": targets.modules,
        "exclude_modules": null,
        "layers_to_transform": targets.layers,
        "layers_pattern": null,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "modules_to_save": modules_to_save(layout),
        "use_dora": false,
    })
}

/// The modules that peft is to adapt.
///
/// `peft` compares the ends of names, and `output.dense` is also the end of
/// `attention.output.dense`. So short names are used only where they select what the layout holds,
/// and otherwise every module is listed by its whole name.
struct Targets {
    modules: Vec<String>,
    layers: Option<Vec<usize>>,
}

impl Targets {
    fn of(layout: &AdapterLayout) -> Self {
        let mut by_layer: BTreeMap<usize, Vec<Module>> = BTreeMap::new();
        for entry in layout.entries() {
            by_layer.entry(entry.site.layer).or_default().push(entry.site.module);
        }
        let modules = by_layer.values().next().cloned().unwrap_or_default();
        let alike = by_layer.values().all(|other| *other == modules);
        let ambiguous =
            modules.contains(&Module::Output) && !modules.contains(&Module::AttentionOutput);
        if alike && !ambiguous {
            let modules = modules.iter().map(|module| short_name(*module).to_owned()).collect();
            return Self { modules, layers: Some(by_layer.into_keys().collect()) };
        }
        let modules = layout.entries().iter().map(|entry| site_name(entry.site)).collect();
        Self { modules, layers: None }
    }
}

/// The shortest end of a module's path that no other of the encoder's modules shares, except for
/// [`Module::Output`], which has none.
fn short_name(module: Module) -> &'static str {
    match module {
        Module::Query => "query",
        Module::Key => "key",
        Module::Value => "value",
        Module::AttentionOutput => "attention.output.dense",
        Module::Intermediate => "intermediate.dense",
        Module::Output => "output.dense",
    }
}

/// Ranks and scales in peft's terms: the commonest for all, and patterns for the others.
struct Scaling {
    rank: usize,
    alpha: f64,
    rslora: bool,
    rank_pattern: Map<String, Value>,
    alpha_pattern: Map<String, Value>,
}

impl Scaling {
    fn of(entries: &[Entry]) -> Self {
        let rank = commonest(entries.iter().map(|entry| entry.rank as u64)) as usize;
        if let Some(alpha) = rslora_alpha(entries) {
            let (rank_pattern, alpha_pattern) = (Map::new(), Map::new());
            return Self { rank, alpha, rslora: true, rank_pattern, alpha_pattern };
        }
        let alpha =
            f64::from_bits(commonest(entries.iter().map(|entry| plain_alpha(entry).to_bits())));
        let patterns = |differs: fn(&Entry, usize, f64) -> Option<Value>| -> Map<String, Value> {
            entries
                .iter()
                .filter_map(|entry| Some((site_name(entry.site), differs(entry, rank, alpha)?)))
                .collect()
        };
        let rank_pattern =
            patterns(|entry, rank, _| (entry.rank != rank).then(|| json!(entry.rank)));
        let alpha_pattern = patterns(|entry, _, alpha| {
            let own = plain_alpha(entry);
            (own != alpha).then(|| number(own))
        });
        Self { rank, alpha, rslora: false, rank_pattern, alpha_pattern }
    }
}

/// The numerator that gives an entry's scale exactly: the product of 24 and 14 bits fits in 53.
fn plain_alpha(entry: &Entry) -> f64 {
    f64::from(entry.scale) * entry.rank as f64
}

/// The one whole numerator that gives every scale over the root of one common rank, where there is
/// one and the plain form has none: the adapter was made with rsLoRA, and may say so.
fn rslora_alpha(entries: &[Entry]) -> Option<f64> {
    let first = entries.first()?;
    let alpha = (f64::from(first.scale) * (first.rank as f64).sqrt()).round();
    let same =
        |entry: &Entry| entry.rank == first.rank && entry.scale == scale(alpha, entry.rank, true);
    let plain = plain_alpha(first).fract() == 0.0;
    (!plain && entries.iter().all(same)).then_some(alpha)
}

/// The value that most have; the smallest of several such.
fn commonest(values: impl Iterator<Item = u64>) -> u64 {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(value, count)| (*count, std::cmp::Reverse(*value)));
    most.map_or(0, |(value, _)| value)
}

/// Whole numbers without a point, as people write them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

fn readme(layout: &AdapterLayout, base_model_name: &str) -> String {
    let entries = layout.entries();
    // JSON's strings are YAML's, so that a name can hold whatever it likes.
    let base = Value::from(base_model_name);
    let (tag, what, class, labels) = match layout.head() {
        None => ("feature-extraction", "a text encoder", "AutoModel", ""),
        Some(_) => {
            ("text-ranking", "a reranker", "AutoModelForSequenceClassification", ", num_labels=1")
        }
    };
    format!(
        "---\nbase_model: {base}\nlibrary_name: peft\ntags:\n- lora\n- {tag}\n---\n\n\
         # A LoRA adapter for {what}\n\n\
         {} low-rank pairs with {} values, trained by Cotenant on the frozen base model \
         `{base_model_name}`.\n\n\
         ```python\n\
         from peft import PeftModel\n\
         from transformers import {class}\n\n\
         base = {class}.from_pretrained({base}{labels})\n\
         model = PeftModel.from_pretrained(base, \"path/to/this/folder\")\n\
         ```\n",
        entries.len(),
        layout.len(),
    )
}
