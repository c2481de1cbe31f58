//! A tiny base model: 2 layers of width 32 with seeded weights, and a tokenizer of whole words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};

use super::data::words;

/// Width of the model.
pub(crate) const HIDDEN: usize = 32;
const INTERMEDIATE: usize = 64;
const POSITIONS: usize = 66;
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Writes a sentence-transformers folder.
pub(crate) fn write(folder: &Path) {
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    let json = |name: &str, value: Value| fs::write(folder.join(name), value.to_string()).unwrap();
    json("config.json", config());
    json("tokenizer.json", tokenizer());
    json("modules.json", modules());
    json(
        "1_Pooling/config.json",
        json!({ "word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": true }),
    );
    json("sentence_bert_config.json", json!({ "max_seq_length": 64 }));
    weights(&folder.join("model.safetensors"));
}

/// A word whose embedding is finite and so large that a text with it embeds as no number.
pub(crate) const POISON: &str = "poison";

/// The pieces of the tokenizer, by id.
fn pieces() -> Vec<String> {
    let special = SPECIAL.iter().map(|&piece| piece.to_owned());
    special.chain(words()).chain([POISON.to_owned()]).collect()
}

fn config() -> Value {
    json!({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_attention_heads": 4,
        "num_hidden_layers": 2, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "vocab_size": pieces().len(), "pad_token_id": 0, "layer_norm_eps": 1e-12,
        "position_embedding_type": "absolute",
    })
}

fn modules() -> Value {
    let module = |(index, class): (usize, &str)| {
        let path = if index == 0 { String::new() } else { format!("{index}_{class}") };
        json!({ "idx": index, "name": index.to_string(), "path": path,
                "type": format!("sentence_transformers.models.{class}") })
    };
    ["Transformer", "Pooling", "Normalize"].into_iter().enumerate().map(module).collect()
}

fn tokenizer() -> Value {
    let pieces = pieces();
    let vocab: serde_json::Map<String, Value> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), json!(id))).collect();
    let added = |id: usize| {
        json!({ "id": id, "special": true, "content": SPECIAL[id], "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false })
    };
    let special = |piece: &str, id: usize| json!({ "id": piece, "ids": [id], "tokens": [piece] });
    let token = |piece: &str| json!({ "SpecialToken": { "id": piece, "type_id": 0 } });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..SPECIAL.len()).map(added).collect::<Vec<_>>(),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, token("[SEP]")],
            "pair": [token("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, token("[SEP]"),
                     { "Sequence": { "id": "B", "type_id": 1 } },
                     { "SpecialToken": { "id": "[SEP]", "type_id": 1 } }],
            "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocab },
    })
}

/// Names and shapes of every tensor of the encoder.
fn shapes() -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::from([
        ("embeddings.word_embeddings.weight".to_owned(), vec![pieces().len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
        ("embeddings.LayerNorm.weight".to_owned(), vec![HIDDEN]),
        ("embeddings.LayerNorm.bias".to_owned(), vec![HIDDEN]),
    ]);
    for layer in 0..2 {
        for (name, inputs, outputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", HIDDEN, INTERMEDIATE),
            ("output.dense", INTERMEDIATE, HIDDEN),
        ] {
            let name = format!("encoder.layer.{layer}.{name}");
            shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
            shapes.insert(format!("{name}.bias"), vec![outputs]);
        }
        for name in ["attention.output", "output"] {
            let name = format!("encoder.layer.{layer}.{name}.LayerNorm");
            shapes.insert(format!("{name}.weight"), vec![HIDDEN]);
            shapes.insert(format!("{name}.bias"), vec![HIDDEN]);
        }
    }
    shapes
}

/// Words are far apart and layers add little, so that texts of the same words are near from the
/// start; positions hardly matter.
fn weights(path: &Path) {
    let mut state = 7_u64;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut bytes = BTreeMap::new();
    for (name, shape) in shapes() {
        let size = shape.iter().product::<usize>();
        let (middle, spread) = match name.as_str() {
            name if name.ends_with("LayerNorm.weight") => (1.0, 0.1),
            name if name.contains("word_embeddings") => (0.0, 2.0),
            name if name.contains("embeddings") => (0.0, 0.02),
            _ => (0.0, 0.2),
        };
        let mut values: Vec<f32> = (0..size).map(|_| middle + spread * uniform()).collect();
        if name.contains("word_embeddings") {
            values[size - HIDDEN..].fill(3e38);
        }
        let values = values.iter().flat_map(|value| value.to_le_bytes());
        bytes.insert(name, (shape, values.collect::<Vec<u8>>()));
    }
    let views: Vec<(String, TensorView<'_>)> = bytes
        .iter()
        .map(|(name, (shape, bytes))| {
            (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    serialize_to_file(views, None, path).unwrap();
}

/// Writes an adapter for the tiny model: its value matrices of both layers, by a seed.
pub(crate) fn write_adapter(folder: &Path, seed: u64) {
    let config = json!({ "task_type": "FEATURE_EXTRACTION" });
    write_peft(folder, seed, (config, "encoder", &[]));
}

/// The same with the head of a reranker.
pub(crate) fn write_reranker(folder: &Path, seed: u64) {
    let config = json!({ "task_type": "SEQ_CLS", "modules_to_save": ["pooler", "classifier"] });
    let head: [(&str, &[usize]); 4] = [
        ("bert.pooler.dense.weight", &[HIDDEN, HIDDEN]),
        ("bert.pooler.dense.bias", &[HIDDEN]),
        ("classifier.weight", &[1, HIDDEN]),
        ("classifier.bias", &[1]),
    ];
    write_peft(folder, seed, (config, "bert.encoder", &head));
}

fn write_peft(folder: &Path, seed: u64, (more, encoder, head): (Value, &str, &[(&str, &[usize])])) {
    fs::create_dir_all(folder).unwrap();
    let mut config = json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["value"], "bias": "none",
        "lora_dropout": 0.0, "base_model_name_or_path": "model",
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let mut state = seed;
    let mut bytes = |len: usize| -> Vec<u8> {
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5).to_le_bytes()
        };
        (0..len).flat_map(|_| draw()).collect()
    };
    let mut tensors = Vec::new();
    for layer in 0..2 {
        for (half, shape) in [("A", vec![4, HIDDEN]), ("B", vec![HIDDEN, 4])] {
            let name = format!("{encoder}.layer.{layer}.attention.self.value.lora_{half}.weight");
            tensors.push((name, shape, bytes(4 * HIDDEN)));
        }
    }
    for (name, shape) in head {
        tensors.push(((*name).to_owned(), shape.to_vec(), bytes(shape.iter().product())));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (format!("base_model.model.{name}"), view)
    });
    serialize_to_file(views, None, &folder.join("adapter_model.safetensors")).unwrap();
}
