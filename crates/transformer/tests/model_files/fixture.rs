//! A tiny model folder: 2 layers of width 32, random weights, a WordPiece tokenizer.

use std::fs;
use std::path::{Path, PathBuf};

use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{EncoderConfig, ModelError, Module};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const HIDDEN: usize = 32;
pub(crate) const INTERMEDIATE: usize = 64;
pub(crate) const LAYERS: usize = 2;

/// Pieces of the tokenizer, by id.
pub(crate) const PIECES: [&str; 16] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "##s", "a",
    "##a", ".", "hello", "world",
];

/// A folder that is removed in the end, with a model in it.
pub(crate) struct Tiny {
    pub(crate) folder: TempDir,
}

impl Tiny {
    /// A complete sentence-transformers folder in the legacy spelling.
    pub(crate) fn new() -> Self {
        let tiny = Self { folder: TempDir::new().unwrap() };
        tiny.json("config.json", &config());
        tiny.json("tokenizer.json", &tokenizer());
        tiny.json("modules.json", &modules(&["Transformer", "Pooling", "Normalize"]));
        tiny.json(
            "1_Pooling/config.json",
            &json!({ "word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": true }),
        );
        tiny.json("sentence_bert_config.json", &json!({ "max_seq_length": 16 }));
        tiny.bytes("model.safetensors", &safetensors(&tensors("")));
        tiny
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn json(&self, name: &str, value: &Value) {
        self.bytes(name, value.to_string().as_bytes());
    }

    pub(crate) fn bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.at(name)).unwrap();
    }
}

/// `config.json` of the tiny model.
pub(crate) fn config() -> Value {
    json!({
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 24,
        "model_type": "bert",
        "num_attention_heads": 4,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": PIECES.len(),
    })
}

/// The same, read.
pub(crate) fn shape() -> EncoderConfig {
    EncoderConfig::from_json(config().to_string().as_bytes(), Path::new("config.json")).unwrap()
}

/// `modules.json` in the legacy spelling.
pub(crate) fn modules(classes: &[&str]) -> Value {
    classes
        .iter()
        .enumerate()
        .map(|(index, class)| {
            let path = if index == 0 { String::new() } else { format!("{index}_{class}") };
            json!({ "idx": index, "name": index.to_string(), "path": path,
                    "type": format!("sentence_transformers.models.{class}") })
        })
        .collect()
}

/// A WordPiece tokenizer with padding and truncation baked in, as published ones have.
pub(crate) fn tokenizer() -> Value {
    let vocab: serde_json::Map<String, Value> =
        PIECES.iter().enumerate().map(|(id, piece)| ((*piece).to_owned(), json!(id))).collect();
    let added: Vec<Value> = (0..5)
        .map(|id| {
            json!({ "id": id, "special": true, "content": PIECES[id], "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false })
        })
        .collect();
    let special = |piece: &str, id: usize| json!({ "id": piece, "ids": [id], "tokens": [piece] });
    json!({
        "version": "1.0",
        "truncation": { "max_length": 5, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 8 }, "direction": "Right", "pad_to_multiple_of": null,
                     "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]" },
        "added_tokens": added,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [ { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                        { "Sequence": { "id": "A", "type_id": 0 } },
                        { "SpecialToken": { "id": "[SEP]", "type_id": 0 } } ],
            "pair": [ { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                      { "Sequence": { "id": "A", "type_id": 0 } },
                      { "SpecialToken": { "id": "[SEP]", "type_id": 0 } },
                      { "Sequence": { "id": "B", "type_id": 1 } },
                      { "SpecialToken": { "id": "[SEP]", "type_id": 1 } } ],
            "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocab },
    })
}

/// A tensor as it lies in a file.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    /// Random values in ±0.1, a function of name and place.
    pub(crate) fn random(name: &str, shape: &[usize]) -> Self {
        let seed = name.bytes().fold(7, |seed, byte| mix(&[seed, u64::from(byte)]));
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|i: usize| (unit(mix(&[seed, i as u64])) - 0.5) * 0.2)
            .collect();
        Self::f32(name, shape, &values)
    }

    pub(crate) fn f32(name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: name.to_owned(), dtype: "F32", shape: shape.to_vec(), bytes }
    }
}

/// Every tensor of the tiny encoder, names behind a prefix.
pub(crate) fn tensors(prefix: &str) -> Vec<Tensor> {
    let mut list: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![PIECES.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".into(), vec![24, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, HIDDEN]),
        ("embeddings.LayerNorm.weight".into(), vec![HIDDEN]),
        ("embeddings.LayerNorm.bias".into(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for module in Module::ALL {
            let (inputs, outputs) = module.shape(&shape());
            let name = format!("encoder.layer.{layer}.{}", module.path());
            list.push((format!("{name}.weight"), vec![outputs, inputs]));
            list.push((format!("{name}.bias"), vec![outputs]));
        }
        for place in ["attention.output", "output"] {
            for part in ["weight", "bias"] {
                list.push((
                    format!("encoder.layer.{layer}.{place}.LayerNorm.{part}"),
                    vec![HIDDEN],
                ));
            }
        }
    }
    list.into_iter()
        .map(|(name, shape)| {
            let mut tensor = Tensor::random(&name, &shape);
            tensor.name = format!("{prefix}{name}");
            tensor
        })
        .collect()
}

/// A safetensors file written by hand, so that it can be wrong where a test wants it.
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut data = Vec::new();
    for tensor in tensors {
        let begin = data.len();
        data.extend_from_slice(&tensor.bytes);
        header.insert(
            tensor.name.clone(),
            json!({ "dtype": tensor.dtype, "shape": tensor.shape,
                    "data_offsets": [begin, data.len()] }),
        );
    }
    assemble(Value::Object(header).to_string().as_bytes(), &data)
}

/// Length, header, data.
pub(crate) fn assemble(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.extend_from_slice(data);
    file
}

/// An error with its causes, as a person would read it.
pub(crate) fn told(error: &ModelError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Checks that something failed, and that the message has every one of these parts.
#[track_caller]
pub(crate) fn check_error<T>(result: Result<T, ModelError>, parts: &[&str]) {
    let Err(error) = result else { panic!("no error, expected one with {parts:?}") };
    let text = told(&error);
    for part in parts {
        assert!(text.contains(part), "the message lacks {part:?}:\n{text}");
    }
}
