//! A base model and an adapter merged into one model folder that needs neither.

use std::io;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::folder::CONFIG_FILE;
use super::folder_writer::FolderWriter;
use super::json::JsonFile;
use super::names::{EncoderTensors, parameters, site_name};
use super::tensor_writer::TensorWriter;
use super::weights::WEIGHTS_FILE;
use super::{ModelError, ModelFolder, Tokenizer};
use crate::adapter::head::HeadPart;
use crate::adapter::{Adapter, Entry, Head, Site};
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
/// One with a head gives a model for sequence classification with one label, which is what
/// `CrossEncoder` of sentence-transformers reads.
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
    let head = adapter.layout.head();
    write_json(&writer, CONFIG_FILE, &describe_encoder(config.into_fields(), head))?;
    if head.is_none() {
        write_json(&writer, MODULES_FILE, &modules(folder))?;
        write_json(&writer, POOLING_FILE, &pooling(folder))?;
        let length =
            json!({ "max_seq_length": folder.tokens_max(), "do_lower_case": folder.lowercase() });
        write_json(&writer, LENGTH_FILE, &length)?;
    }
    for name in COPIED.into_iter().filter(|name| head.is_none() || *name != PROMPTS_FILE) {
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

/// A tensor that is written.
struct Output {
    name: String,
    shape: Vec<usize>,
    source: Source,
}

/// Where its values come from.
enum Source {
    /// The base model's tensor of this name, with the adapter's product if it is a linear layer's.
    Base { name: String, site: Option<Site> },
    /// A part of the adapter's head.
    Head(Range<usize>),
}

/// What is written: the encoder's tensors under their plain names, and the pooler that transformers
/// would otherwise invent; heads of the base are left out, since embeddings do not use them. An
/// adapter's own head takes the pooler's place, and the encoder the name that it then has.
fn outputs(folder: &ModelFolder, adapter: &Adapter, tensors: &EncoderTensors) -> Vec<Output> {
    let hidden = folder.config().hidden;
    let head = adapter.layout.head();
    let prefix = head.map_or("", |head| head.names.encoder_prefix());
    let base = |name: String, shape, site| Output {
        name: format!("{prefix}{name}"),
        shape,
        source: Source::Base { name, site },
    };
    let mut listed: Vec<Output> = parameters(folder.config())
        .into_iter()
        .map(|parameter| base(parameter.name, parameter.shape, parameter.site))
        .collect();
    match head {
        None => {
            let pooler = [
                ("pooler.dense.weight", vec![hidden, hidden]),
                ("pooler.dense.bias", vec![hidden]),
            ];
            let poolers = pooler.into_iter().filter(|(name, _)| tensors.has(name));
            listed.extend(poolers.map(|(name, shape)| base(name.to_owned(), shape, None)));
        }
        Some(head) => listed.extend(HeadPart::ALL.into_iter().map(|part| Output {
            name: part.name(head.names).to_owned(),
            shape: part.shape(head),
            source: Source::Head(part.range(head)),
        })),
    }
    listed
}

/// Writes the weights one tensor at a time.
fn write_weights(
    writer: &FolderWriter,
    folder: &ModelFolder,
    adapter: &Adapter,
    tensors: &mut EncoderTensors,
) -> Result<(), ModelError> {
    let listed = outputs(folder, adapter, tensors);
    let header = listed.iter().map(|output| (output.name.clone(), output.shape.clone())).collect();
    let mut read_error = None;
    let written = writer.file(WEIGHTS_FILE, |file| {
        let mut out = TensorWriter::new(file, header)?;
        for Output { shape, source, .. } in &listed {
            let (name, site) = match source {
                Source::Base { name, site } => (name, site),
                Source::Head(range) => {
                    out.write(&adapter.values[range.clone()])?;
                    continue;
                }
            };
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

/// Says in `config.json` what the new file holds: the bare encoder or the one with a head, in f32.
fn describe_encoder(mut config: Map<String, Value>, head: Option<&Head>) -> Value {
    let family = match config.get("model_type").and_then(Value::as_str) {
        Some("roberta") => "Roberta",
        Some("xlm-roberta") => "XLMRoberta",
        _ => "Bert",
    };
    let class = if head.is_some() { "ForSequenceClassification" } else { "Model" };
    config.insert("architectures".to_owned(), json!([format!("{family}{class}")]));
    if head.is_some() {
        // One label, for which transformers and sentence-transformers give one score.
        config.insert("id2label".to_owned(), json!({ "0": "LABEL_0" }));
        config.insert("label2id".to_owned(), json!({ "LABEL_0": 0 }));
    }
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
    let pairs = adapter.layout.entries().len();
    if adapter.layout.head().is_some() {
        return format!(
            "---\nlibrary_name: sentence-transformers\npipeline_tag: text-ranking\n---\n\n\
             # A reranker\n\n\
             The base model `{name}` with a LoRA adapter of {pairs} low-rank pairs merged into its \
             weights and the adapter's head, by Cotenant.\n\n\
             ```python\n\
             from sentence_transformers import CrossEncoder\n\n\
             model = CrossEncoder(\"path/to/this/folder\")\n\
             scores = model.predict([(\"a query\", \"a text\"), (\"a query\", \"another text\")])\n\
             ```\n"
        );
    }
    format!(
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n---\n\n\
         # A text encoder, tuned\n\n\
         The base model `{name}` with a LoRA adapter of {pairs} low-rank pairs merged into its \
         weights by Cotenant.\n\n\
         ```python\n\
         from sentence_transformers import SentenceTransformer\n\n\
         model = SentenceTransformer(\"path/to/this/folder\")\n\
         vectors = model.encode([\"a text\", \"another text\"])\n\
         ```\n"
    )
}

fn write_json(writer: &FolderWriter, name: &str, value: &Value) -> Result<(), ModelError> {
    writer.bytes(name, format!("{value:#}\n").as_bytes())
}
