//! Rerankers: two texts as one, and adapters with a head as peft writes them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{
    Adapter, AdapterLayout, Cpu, Encoder, EncoderConfig, Forward, LayerChoice, LoraSpec,
    ModelError, ModelFolder, Module, Packed, Pooling, Precision, Scratch, Start, Text, TextIds,
    Tokenizer, export_merged,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::adapter::{matrices, peft_config, write};
use crate::fixture::{HIDDEN, Tensor, Tiny, check_error, config, shape, tokenizer};

fn load(change: impl FnOnce(&mut Value), types: usize) -> Tokenizer {
    let tiny = Tiny::new();
    let (mut tokenizer, mut config) = (tokenizer(), config());
    change(&mut tokenizer);
    config["type_vocab_size"] = json!(types);
    tiny.json("tokenizer.json", &tokenizer);
    tiny.json("config.json", &config);
    ModelFolder::open(tiny.path()).unwrap().tokenizer().unwrap()
}

fn join(tokenizer: &Tokenizer, texts: [&str; 2], tokens_max: usize) -> TextIds {
    let [query, document] = texts.map(|text| tokenizer.encode(text, 64).unwrap());
    tokenizer.join(&query, &document, tokens_max).unwrap()
}

#[test]
fn two_texts_become_one_with_types_and_the_document_is_cut_first() {
    let tokenizer = load(|_| (), 2);
    assert_eq!(tokenizer.special_tokens_of_pair(), 3);
    let check = |texts: [&str; 2], tokens_max: usize, ids: &[u32], first: usize| {
        let pair = join(&tokenizer, texts, tokens_max);
        assert_eq!((pair.ids.as_slice(), pair.first), (ids, first), "{texts:?} in {tokens_max}");
        assert_eq!(pair.as_text(), Text { tokens: &pair.ids, first });
    };
    check(["the cat", "sat on"], 16, &[2, 5, 6, 3, 7, 8, 3], 4);
    check(["the cat", ""], 16, &[2, 5, 6, 3, 3], 4);
    check(["", "sat"], 16, &[2, 3, 7, 3], 2);
    check(["the cat", "sat on the mats"], 8, &[2, 5, 6, 3, 7, 8, 5, 3], 4);
    // The query keeps three quarters of the room, and loses its end only beyond them.
    check(["the cat sat on", "sat on the mats"], 8, &[2, 5, 6, 7, 8, 3, 7, 3], 6);
    check(["the cat sat on mat a hello", "sat on"], 11, &[2, 5, 6, 7, 8, 9, 11, 3, 7, 8, 3], 8);
    check(["the cat", "sat"], 3, &[2, 3, 3], 2);
    let two = |text| tokenizer.encode(text, 64).unwrap();
    let refused = tokenizer.join(&two("the"), &two("cat"), 2);
    check_error(refused, &["2 tokens do not hold the 3 special ones"]);
}

#[test]
fn the_second_text_of_a_model_without_types_has_none() {
    let one_type = load(|_| (), 1);
    assert_eq!(join(&one_type, ["the cat", "sat"], 16).first, 6);
    let roberta = load(
        |tokenizer| {
            let special = |piece: &str| json!({ "SpecialToken": { "id": piece, "type_id": 0 } });
            let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
            tokenizer["post_processor"]["pair"] = json!([
                special("[CLS]"),
                text("A"),
                special("[SEP]"),
                special("[SEP]"),
                text("B"),
                special("[SEP]"),
            ]);
        },
        2,
    );
    let pair = join(&roberta, ["the cat", "sat"], 16);
    assert_eq!((pair.ids, pair.first), (vec![2, 5, 6, 3, 3, 7, 3], 7));
}

#[test]
fn templates_that_no_model_has_are_refused_when_they_are_used() {
    let text = |id: &str, kind: u32| json!({ "Sequence": { "id": id, "type_id": kind } });
    for pair in [
        json!([text("A", 1), text("B", 0)]),
        json!([text("B", 0), text("A", 1)]),
        json!([text("A", 0), text("B", 2)]),
        json!([text("A", 1), text("B", 1)]),
    ] {
        let tokenizer = load(|json| json["post_processor"]["pair"] = pair.clone(), 2);
        let alone = tokenizer.encode("the cat", 16).unwrap();
        assert_eq!(alone, [2, 5, 6, 3], "a text alone is read all the same");
        check_error(tokenizer.join(&alone, &alone, 16), &["template for two texts", "hint: "]);
        assert_eq!(tokenizer.special_tokens_of_pair(), 0);
    }
}

fn roberta() -> EncoderConfig {
    EncoderConfig { position_offset: 2, ..shape() }
}

/// A reranker whose every value is drawn.
fn reranker(config: &EncoderConfig) -> Adapter {
    let targets = vec![Module::Query, Module::Output];
    let spec = LoraSpec { rank: 4, alpha: 8.0, rslora: false, targets, layers: LayerChoice::All };
    let layout = AdapterLayout::from_spec(&spec, config).unwrap().with_head(config);
    let values = (0..layout.len()).map(|at| unit(mix(&[9, at as u64])) - 0.5).collect();
    Adapter { layout: Arc::new(layout), values }
}

#[test]
fn a_reranker_is_written_as_peft_would_and_read_back() {
    let cases = [
        (
            shape(),
            json!(["pooler", "classifier"]),
            "bert.encoder.layer.0",
            "bert.pooler.dense.bias",
        ),
        (roberta(), json!(["classifier"]), "roberta.encoder.layer.0", "classifier.dense.bias"),
    ];
    for (config, saved, encoder, dense) in cases {
        let folder = TempDir::new().unwrap();
        let adapter = reranker(&config);
        adapter.save_peft(folder.path(), "org/base").unwrap();
        assert_eq!(Adapter::load_peft(folder.path(), &config).unwrap(), adapter);
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        let json: Value = serde_json::from_slice(&read("adapter_config.json")).unwrap();
        assert_eq!((&json["task_type"], &json["modules_to_save"]), (&json!("SEQ_CLS"), &saved));
        let bytes = read("adapter_model.safetensors");
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let shape = |name: &str| tensors.tensor(&format!("base_model.model.{name}")).unwrap();
        let query = format!("{encoder}.attention.self.query.lora_A.weight");
        assert_eq!(shape(&query).shape(), [4, HIDDEN]);
        assert_eq!(shape(dense).shape(), [HIDDEN]);
        let readme = String::from_utf8(read("README.md")).unwrap();
        assert!(readme.contains("AutoModelForSequenceClassification.from_pretrained"), "{readme}");
    }
}

/// Rows of first tokens, as a model without adapters gives them or with one.
fn rows(folder: &ModelFolder, adapter: Option<&Adapter>) -> Vec<f32> {
    let (cpu, config) = (Cpu::new(Precision::F32).unwrap(), folder.config().clone());
    let encoder = Encoder::new(cpu, config, folder.weights().unwrap(), Pooling::Cls, false);
    let tokenizer = folder.tokenizer().unwrap();
    let pairs = [["the cat", "sat on the mat"], ["hello", "world"]];
    let pairs = pairs.map(|texts| join(&tokenizer, texts, 16));
    let mut batch = Packed::default();
    batch.push(pairs.iter().map(TextIds::as_text), adapter.map(|_| 0), None);
    let adapters: Vec<&Adapter> = adapter.into_iter().collect();
    let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
    let mut out = vec![0.0; 2 * HIDDEN];
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    out
}

#[test]
fn a_merged_reranker_is_a_model_for_sequence_classification() {
    let tiny = Tiny::new();
    let base = ModelFolder::open(tiny.path()).unwrap();
    let adapter = reranker(base.config());
    let to = TempDir::new().unwrap();
    export_merged(&base, &adapter, to.path()).unwrap();
    let merged = ModelFolder::open(to.path()).unwrap();
    let (expected, found) = (rows(&base, Some(&adapter)), rows(&merged, None));
    let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Sums are taken in another order.
    assert!(apart < 5e-5, "{apart}");
    let read = |name: &str| fs::read(to.path().join(name)).unwrap();
    let config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    assert_eq!(config["id2label"], json!({ "0": "LABEL_0" }));
    let bytes = read("model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let head = adapter.layout.head().unwrap();
    let classifier = tensors.tensor("classifier.weight").unwrap();
    let values = classifier.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    assert!(values.eq(adapter.values[head.out.clone()].iter().copied()));
    assert_eq!(tensors.tensor("bert.pooler.dense.weight").unwrap().shape(), [HIDDEN, HIDDEN]);
    assert!(!to.path().join("modules.json").exists());
}

#[test]
fn a_head_begins_as_it_says() {
    let adapter = Adapter::initial(reranker(&shape()).layout, 3);
    let head = adapter.layout.head().unwrap();
    let dense = &adapter.values[head.dense.clone()];
    assert!(
        (0..HIDDEN * HIDDEN).all(|at| dense[at] == f32::from(u8::from(at % (HIDDEN + 1) == 0)))
    );
    let rest = &adapter.values[head.dense_bias.start..];
    assert!(rest.iter().all(|value| *value == 0.0), "each score begins with 0");
}

/// The head's tensors as peft writes those of a BERT.
fn head() -> Vec<Tensor> {
    let named = |name: &str, shape: &[usize]| Tensor {
        name: format!("base_model.model.{name}"),
        ..Tensor::random(name, shape)
    };
    vec![
        named("bert.pooler.dense.weight", &[HIDDEN, HIDDEN]),
        named("bert.pooler.dense.bias", &[HIDDEN]),
        named("classifier.weight", &[1, HIDDEN]),
        named("classifier.bias", &[1]),
    ]
}

fn loaded(saved: &Value, change: impl FnOnce(&mut Vec<Tensor>)) -> Result<Adapter, ModelError> {
    let folder = TempDir::new().unwrap();
    let (mut config, mut tensors) = (peft_config(), matrices("bert."));
    config["modules_to_save"] = saved.clone();
    tensors.extend(head());
    change(&mut tensors);
    write(folder.path(), &config, &tensors);
    Adapter::load_peft(folder.path(), &shape())
}

#[test]
fn heads_that_do_not_fit_are_refused_with_reasons() {
    // As peft writes the list: it adds its own two names.
    let saved = json!(["pooler", "classifier", "classifier", "score"]);
    let good = loaded(&saved, |_| ()).unwrap();
    assert!(good.layout.head().is_some());
    let at = |tensors: &mut Vec<Tensor>, name: &str| {
        tensors.iter().position(|tensor| tensor.name.ends_with(name)).unwrap()
    };
    let missing = loaded(&saved, |tensors| {
        let place = at(tensors, "pooler.dense.weight");
        tensors.remove(place);
    });
    check_error(missing, &["bert.pooler.dense.weight", "no such tensor", "modules_to_save="]);
    // What peft saves where pooler is not among the modules to save.
    let classifier_alone = loaded(&json!(["classifier", "score"]), |tensors| {
        tensors.retain(|tensor| !tensor.name.contains("pooler"));
    });
    let parts = ["pooler.dense.weight", "the classifier without the pooler", "train it again with"];
    check_error(classifier_alone, &parts);
    let no_classifier = loaded(&saved, |tensors| {
        tensors.retain(|tensor| !tensor.name.ends_with("classifier.bias"));
    });
    check_error(no_classifier, &["classifier.bias", "no such tensor", "is saved whole"]);
    let labels = loaded(&saved, |tensors| {
        let place = at(tensors, "classifier.weight");
        let name = tensors[place].name.clone();
        tensors[place] = Tensor { name, ..Tensor::random("two", &[2, HIDDEN]) };
    });
    check_error(labels, &["classifier.weight", "shape [1, 32]", "shape [2, 32]", "num_labels=1"]);
    let infinite = loaded(&saved, |tensors| {
        let place = at(tensors, "classifier.bias");
        tensors[place] = Tensor::f32(&tensors[place].name.clone(), &[1], &[f32::NAN]);
    });
    check_error(infinite, &["classifier.bias", "finite values", "NaN"]);
    check_error(loaded(&Value::Null, |_| ()), &["modules_to_save names none", "hint: "]);
    check_error(loaded(&json!("pooler"), |_| ()), &["modules_to_save", "a list of names"]);
    let roberta = {
        let folder = TempDir::new().unwrap();
        reranker(&roberta()).save_peft(folder.path(), "org/base").unwrap();
        Adapter::load_peft(Path::new(folder.path()), &shape())
    };
    check_error(roberta, &["classifier.dense.weight", "head of a reranker"]);
}
