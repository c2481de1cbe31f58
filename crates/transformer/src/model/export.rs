//! A base model and an adapter merged into one model folder that needs neither.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::folder::CONFIG_FILE;
use super::folder_writer::FolderWriter;
use super::json::JsonFile;
use super::names::{EncoderTensors, parameters, site_name};
use super::tensor_writer::TensorWriter;
use super::weights::WEIGHTS_FILE;
use super::{ModelError, ModelFolder, Tokenizer};
use crate::adapter::{Adapter, Entry};
use crate::encoder::Pooling;

/// Files of the tokenizer and of sentence-transformers that are taken over as they are.
const COPIED: [&str; 9] = [
    Tokenizer::FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    PROMPTS_FILE,
];

/// Files that are written anew.
const WRITTEN: [&str; 6] =
    [CONFIG_FILE, WEIGHTS_FILE, MODULES_FILE, POOLING_FILE, LENGTH_FILE, README_FILE];

const PROMPTS_FILE: &str = "config_sentence_transformers.json";
const MODULES_FILE: &str = "modules.json";
const POOLING_FILE: &str = "1_Pooling/config.json";
const LENGTH_FILE: &str = "sentence_bert_config.json";
const README_FILE: &str = "README.md";

/// Longest file that is copied.
const COPY_BYTES_MAX: u64 = 256 << 20;

/// Writes the base model with the adapter's products added to its weights (`W + scale · B · A`) as
/// a sentence-transformers folder, in f32 and in the legacy spelling that old and new versions of
/// sentence-transformers and other servers read. An empty adapter gives a copy of the base model.
///
/// The folder appears complete or not at all; one that exists is replaced only if it holds nothing
/// else. Fails if the adapter was made for a model of another shape.
pub fn export_merged(folder: &ModelFolder, adapter: &Adapter, to: &Path) -> Result<(), ModelError> {
    for entry in adapter.layout.entries() {
        check_fit(entry, folder)?;
    }
    for base in [folder.path(), folder.transformer()] {
        if let (Ok(base), Ok(to)) = (base.canonicalize(), to.canonicalize())
            && base == to
        {
            return Err(ModelError::Occupied { path: to, found: "the base model".to_owned() });
        }
    }
    let known: Vec<&str> = COPIED.into_iter().chain(WRITTEN).collect();
    let writer = FolderWriter::new(to, &known)?;
    let mut tensors = folder.tensors()?;
    write_weights(&writer, folder, adapter, &mut tensors)?;
    let hint = "it was there when the folder was opened; fetch the model again";
    let config = JsonFile::required(&folder.transformer().join(CONFIG_FILE), hint)?;
    write_json(&writer, CONFIG_FILE, &describe_encoder(config.into_fields()))?;
    write_json(&writer, MODULES_FILE, &modules(folder))?;
    write_json(&writer, POOLING_FILE, &pooling(folder))?;
    let length =
        json!({ "max_seq_length": folder.tokens_max(), "do_lower_case": folder.lowercase() });
    write_json(&writer, LENGTH_FILE, &length)?;
    for name in COPIED {
        let from = if name == PROMPTS_FILE { folder.path() } else { folder.transformer() };
        writer.copy(&from.join(name), name, COPY_BYTES_MAX)?;
    }
    writer.bytes(README_FILE, readme(folder, adapter).as_bytes())?;
    writer.commit()
}

fn check_fit(entry: &Entry, folder: &ModelFolder) -> Result<(), ModelError> {
    let config = folder.config();
    let exists = entry.site.layer < config.layers;
    let (inputs, outputs) = entry.site.module.shape(config);
    if exists && (entry.inputs, entry.outputs) == (inputs, outputs) {
        return Ok(());
    }
    Err(ModelError::Misfit {
        site: site_name(entry.site),
        adapter: format!("[{}, {}]", entry.outputs, entry.inputs),
        model: if exists {
            format!("[{outputs}, {inputs}]")
        } else {
            format!("missing, since it has {} layers", config.layers)
        },
    })
}

/// Writes the encoder's tensors under their plain names, one at a time, and the pooler that
/// transformers would otherwise invent; heads are left out, since embeddings do not use them.
fn write_weights(
    writer: &FolderWriter,
    folder: &ModelFolder,
    adapter: &Adapter,
    tensors: &mut EncoderTensors,
) -> Result<(), ModelError> {
    let hidden = folder.config().hidden;
    let pooler =
        [("pooler.dense.weight", vec![hidden, hidden]), ("pooler.dense.bias", vec![hidden])];
    let mut listed: Vec<_> = parameters(folder.config())
        .into_iter()
        .map(|parameter| (parameter.name, parameter.shape, parameter.site))
        .collect();
    let poolers = pooler.into_iter().filter(|(name, _)| tensors.has(name));
    listed.extend(poolers.map(|(name, shape)| (name.to_owned(), shape, None)));
    let header = listed.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
    let mut read_error = None;
    let written = writer.file(WEIGHTS_FILE, |file| {
        let mut out = TensorWriter::new(file, header)?;
        for (name, shape, site) in &listed {
            let mut values = match tensors.read(name, shape) {
                Ok(values) => values,
                Err(error) => {
                    read_error = Some(error);
                    return Err(io::Error::other("the base model cannot be read"));
                }
            };
            if let Some(entry) = site.and_then(|site| adapter.layout.entry(site)) {
                merge(&mut values, entry, &adapter.values);
            }
            out.write(&values)?;
        }
        out.finish()
    });
    match read_error {
        Some(error) => Err(error),
        None => written,
    }
}

/// `weight [outputs, inputs] += scale · B [outputs, rank] · A [rank, inputs]`, row by row.
fn merge(weight: &mut [f32], entry: &Entry, values: &[f32]) {
    let (a, b) = (&values[entry.a.clone()], &values[entry.b.clone()]);
    let mut sum = vec![0.0; entry.inputs];
    for (row, b) in weight.chunks_exact_mut(entry.inputs).zip(b.chunks_exact(entry.rank)) {
        sum.fill(0.0);
        for (factor, a) in b.iter().zip(a.chunks_exact(entry.inputs)) {
            for (sum, a) in sum.iter_mut().zip(a) {
                *sum += factor * a;
            }
        }
        for (weight, sum) in row.iter_mut().zip(&sum) {
            *weight += entry.scale * sum;
        }
    }
}

/// Says in `config.json` what the new file holds: the bare encoder, in f32.
fn describe_encoder(mut config: Map<String, Value>) -> Value {
    let class = match config.get("model_type").and_then(Value::as_str) {
        Some("roberta") => "RobertaModel",
        Some("xlm-roberta") => "XLMRobertaModel",
        _ => "BertModel",
    };
    config.insert("architectures".to_owned(), json!([class]));
    for field in ["torch_dtype", "dtype"] {
        if config.contains_key(field) {
            config.insert(field.to_owned(), json!("float32"));
        }
    }
    Value::Object(config)
}

fn modules(folder: &ModelFolder) -> Value {
    let module = |index: usize, path: &str, class: &str| {
        json!({
            "idx": index,
            "name": index.to_string(),
            "path": path,
            "type": format!("sentence_transformers.models.{class}"),
        })
    };
    let mut list = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
    if folder.normalize() {
        list.push(module(2, "2_Normalize", "Normalize"));
    }
    Value::Array(list)
}

fn pooling(folder: &ModelFolder) -> Value {
    json!({
        "word_embedding_dimension": folder.config().hidden,
        "pooling_mode_cls_token": folder.pooling() == Pooling::Cls,
        "pooling_mode_mean_tokens": folder.pooling() == Pooling::Mean,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false,
        "pooling_mode_lasttoken": false,
        "include_prompt": true,
    })
}

fn readme(folder: &ModelFolder, adapter: &Adapter) -> String {
    let name = folder.path().file_name().unwrap_or(folder.path().as_os_str()).to_string_lossy();
    format!(
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n---\n\n\
         # A text encoder, tuned\n\n\
         The base model `{name}` with a LoRA adapter of {} low-rank pairs merged into its \
         weights by Cotenant.\n\n\
         ```python\n\
         from sentence_transformers import SentenceTransformer\n\n\
         model = SentenceTransformer(\"path/to/this/folder\")\n\
         vectors = model.encode([\"a text\", \"another text\"])\n\
         ```\n",
        adapter.layout.entries().len()
    )
}

fn write_json(writer: &FolderWriter, name: &str, value: &Value) -> Result<(), ModelError> {
    writer.bytes(name, format!("{value:#}\n").as_bytes())
}
