//! Base and adapter merged into one folder.

use std::fs;

use cotenant_transformer::{
    Adapter, AdapterLayout, Cpu, Encoder, EncoderConfig, Forward, LayerChoice, LoraSpec,
    ModelFolder, Module, Packed, Pooling, Precision, Scratch, Start, export_merged,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{Tensor, Tiny, check_error, safetensors, shape, tensors};
use crate::round_trip::filled;

fn adapter(config: &EncoderConfig) -> Adapter {
    let spec = LoraSpec {
        rank: 4,
        alpha: 20.0,
        rslora: false,
        targets: Module::ALL.to_vec(),
        layers: LayerChoice::Top(1),
    };
    filled(AdapterLayout::from_spec(&spec, config).unwrap(), 5)
}

fn embed(folder: &ModelFolder, adapter: Option<&Adapter>) -> Vec<f32> {
    let encoder = Encoder::new(
        Cpu::new(Precision::F32).unwrap(),
        folder.config().clone(),
        folder.weights().unwrap(),
        folder.pooling(),
        folder.normalize(),
    );
    let tokenizer = folder.tokenizer().unwrap();
    let texts: Vec<Vec<u32>> = ["the cat sat on the mats.", "hello world", ""]
        .iter()
        .map(|text| tokenizer.encode(text, folder.tokens_max()).unwrap())
        .collect();
    let mut batch = Packed::default();
    batch.push(texts.iter().map(Vec::as_slice), adapter.map(|_| 0), None);
    let adapters: Vec<&Adapter> = adapter.into_iter().collect();
    let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
    let mut out = vec![0.0; texts.len() * folder.config().hidden];
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    out
}

#[test]
fn the_merged_model_embeds_as_base_and_adapter_do() {
    let tiny = Tiny::new();
    let base = ModelFolder::open(tiny.path()).unwrap();
    let adapter = adapter(base.config());
    let to = TempDir::new().unwrap();
    export_merged(&base, &adapter, to.path()).unwrap();
    let merged = ModelFolder::open(to.path()).unwrap();
    let (expected, plain) = (embed(&base, Some(&adapter)), embed(&base, None));
    let found = embed(&merged, None);
    let distance = |other: &[f32]| -> f32 {
        found.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    // Sums are taken in another order; f32 leaves about 1e-7 of numbers below 1.
    assert!(distance(&expected) < 5e-6, "{}", distance(&expected));
    assert!(distance(&plain) > 1e-2, "the adapter does something: {}", distance(&plain));
}

#[test]
fn an_empty_adapter_exports_the_base_itself() {
    let tiny = Tiny::new();
    let mut list = tensors("bert.");
    list.push(Tensor::random("bert.pooler.dense.weight", &[32, 32]));
    list.push(Tensor::random("bert.pooler.dense.bias", &[32]));
    list.push(Tensor::random("cls.predictions.bias", &[16]));
    tiny.bytes("model.safetensors", &safetensors(&list));
    let base = ModelFolder::open(tiny.path()).unwrap();
    let to = TempDir::new().unwrap();
    let empty = Adapter { layout: AdapterLayout::default().into(), values: Vec::new() };
    export_merged(&base, &empty, to.path()).unwrap();
    let copy = ModelFolder::open(to.path()).unwrap();
    assert_eq!(copy.weights().unwrap(), base.weights().unwrap());
    assert_eq!((copy.pooling(), copy.normalize()), (base.pooling(), base.normalize()));
    assert_eq!(copy.tokens_max(), base.tokens_max());
    assert_eq!(copy.config(), base.config());
    let file = fs::read(to.path().join("model.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&file[8..2000]).into_owned();
    assert!(header.contains("{\"format\":\"pt\"}"), "{header}");
    let text = String::from_utf8_lossy(&file).into_owned();
    assert!(text.contains("\"pooler.dense.weight\"") && !text.contains("cls.predictions"));
}

#[test]
fn the_folder_is_written_in_the_legacy_spelling() {
    let tiny = Tiny::new();
    let mut config = crate::fixture::config();
    config["torch_dtype"] = json!("float16");
    config["architectures"] = json!(["BertForMaskedLM"]);
    tiny.json("config.json", &config);
    tiny.json("1_Pooling/config.json", &json!({ "pooling_mode": "cls" }));
    tiny.json("config_sentence_transformers.json", &json!({ "prompts": { "query": "q: " } }));
    tiny.bytes("vocab.txt", b"[PAD]\n");
    let base = ModelFolder::open(tiny.path()).unwrap();
    let to = TempDir::new().unwrap();
    export_merged(&base, &adapter(base.config()), to.path()).unwrap();
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(to.path().join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("config.json")["architectures"], json!(["BertModel"]));
    assert_eq!(read("config.json")["torch_dtype"], json!("float32"));
    assert_eq!(read("modules.json")[1]["type"], json!("sentence_transformers.models.Pooling"));
    assert_eq!(read("modules.json")[2]["path"], json!("2_Normalize"));
    assert_eq!(read("1_Pooling/config.json")["pooling_mode_cls_token"], json!(true));
    assert_eq!(read("1_Pooling/config.json")["pooling_mode_mean_tokens"], json!(false));
    assert_eq!(read("sentence_bert_config.json")["max_seq_length"], json!(16));
    assert_eq!(fs::read(to.path().join("vocab.txt")).unwrap(), b"[PAD]\n");
    let merged = ModelFolder::open(to.path()).unwrap();
    assert_eq!(merged.pooling(), Pooling::Cls);
    assert_eq!(merged.prompts()["query"], "q: ");
}

#[test]
fn an_export_replaces_an_export_and_nothing_else() {
    let tiny = Tiny::new();
    let base = ModelFolder::open(tiny.path()).unwrap();
    let adapter = adapter(base.config());
    let to = TempDir::new().unwrap();
    export_merged(&base, &adapter, to.path()).unwrap();
    export_merged(&base, &adapter, to.path()).unwrap();
    fs::create_dir(to.path().join("2_Dense")).unwrap();
    check_error(export_merged(&base, &adapter, to.path()), &["it already holds 2_Dense"]);
    fs::remove_dir(to.path().join("2_Dense")).unwrap();
    fs::write(to.path().join("1_Pooling/notes.txt"), b"").unwrap();
    let parts = ["it already holds 1_Pooling", "notes.txt"];
    check_error(export_merged(&base, &adapter, to.path()), &parts);
    let result = export_merged(&base, &adapter, tiny.path());
    check_error(result, &["it already holds the base model", "hint: choose another folder"]);
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let tiny = Tiny::new();
    let base = ModelFolder::open(tiny.path()).unwrap();
    let to = TempDir::new().unwrap();
    let deeper = EncoderConfig { layers: 5, ..shape() };
    let result = export_merged(&base, &adapter(&deeper), to.path());
    check_error(result, &["encoder.layer.4.attention.self.query", "since it has 2 layers"]);
    let wider = EncoderConfig { hidden: 48, heads: 4, ..shape() };
    let result = export_merged(&base, &adapter(&wider), to.path());
    check_error(result, &["encoder.layer.1.attention.self.query is [48, 48]", "is [32, 32]"]);
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn a_base_that_cannot_be_read_leaves_no_half_folder() {
    let tiny = Tiny::new();
    let mut list = tensors("");
    list.last_mut().unwrap().bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    tiny.bytes("model.safetensors", &safetensors(&list));
    let base = ModelFolder::open(tiny.path()).unwrap();
    let parent = TempDir::new().unwrap();
    let result = export_merged(&base, &adapter(base.config()), &parent.path().join("to"));
    check_error(result, &["failed to read tensor", "found NaN at index 0"]);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
