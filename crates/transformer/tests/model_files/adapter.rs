//! Adapter folders as peft writes them, and every way for them not to fit.

use std::path::Path;

use cotenant_transformer::{Adapter, ModelError, ModelFolder, Module, Site};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{Tensor, check_error, safetensors, shape};

/// `adapter_config.json` as peft 0.21 writes it for rank 4 on query and value.
pub(crate) fn peft_config() -> Value {
    json!({
        "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null,
        "auto_mapping": null, "base_model_name_or_path": "org/base", "bias": "none",
        "corda_config": null, "ensure_weight_tying": false, "eva_config": null,
        "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true,
        "init_lora_weights": true, "kasa_config": null, "layer_replication": null,
        "layers_pattern": null, "layers_to_transform": null, "loftq_config": {},
        "lora_alpha": 8, "lora_bias": false, "lora_dropout": 0.1, "lora_ga_config": null,
        "megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": null,
        "monteclora_config": null, "peft_type": "LORA", "peft_version": "0.21.2",
        "qalora_group_size": 16, "r": 4, "rank_pattern": {}, "revision": null,
        "target_modules": ["query", "value"], "target_parameters": null,
        "task_type": "FEATURE_EXTRACTION", "trainable_token_indices": null, "use_bdlora": null,
        "use_dora": false, "use_qalora": false, "use_rslora": false, "velora_config": null,
    })
}

/// The matrices of a pair under peft's names, behind the prefix of a wrapped class.
pub(crate) fn pair(prefix: &str, layer: usize, module: Module, rank: usize) -> [Tensor; 2] {
    let (inputs, outputs) = module.shape(&shape());
    let name = format!("base_model.model.{prefix}encoder.layer.{layer}.{}", module.path());
    let [mut a, mut b] = [
        Tensor::random(&format!("{layer}{module:?}A"), &[rank, inputs]),
        Tensor::random(&format!("{layer}{module:?}B"), &[outputs, rank]),
    ];
    a.name = format!("{name}.lora_A.weight");
    b.name = format!("{name}.lora_B.weight");
    [a, b]
}

/// Query and value of both layers, at rank 4.
pub(crate) fn matrices(prefix: &str) -> Vec<Tensor> {
    [0, 1]
        .into_iter()
        .flat_map(|layer| [Module::Query, Module::Value].map(|module| (layer, module)))
        .flat_map(|(layer, module)| pair(prefix, layer, module, 4))
        .collect()
}

/// Writes an adapter folder.
pub(crate) fn write(folder: &Path, config: &Value, tensors: &[Tensor]) {
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("adapter_model.safetensors"), safetensors(tensors)).unwrap();
}

fn load(change: impl FnOnce(&mut Value, &mut Vec<Tensor>)) -> Result<Adapter, ModelError> {
    let folder = TempDir::new().unwrap();
    let (mut config, mut tensors) = (peft_config(), matrices(""));
    change(&mut config, &mut tensors);
    write(folder.path(), &config, &tensors);
    Adapter::load_peft(folder.path(), &shape())
}

fn with(field: &str, value: Value) -> Result<Adapter, ModelError> {
    load(|config, _| config[field] = value)
}

#[test]
fn what_peft_writes_is_read() {
    let adapter = load(|_, _| {}).unwrap();
    let layout = &adapter.layout;
    assert_eq!(layout.entries().len(), 4);
    assert_eq!(adapter.values.len(), 4 * (4 * 32 + 32 * 4));
    for (layer, module) in [(0, Module::Query), (1, Module::Value)] {
        let entry = layout.entry(Site { layer, module }).unwrap();
        assert_eq!((entry.rank, entry.scale), (4, 2.0));
        let [a, b] = pair("", layer, module, 4);
        for (range, tensor) in [(&entry.a, a), (&entry.b, b)] {
            let found: Vec<u8> = adapter.values[range.clone()]
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            assert_eq!(found, tensor.bytes, "{}", tensor.name);
        }
    }
}

#[test]
fn folders_that_peft_itself_wrote_are_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/encoder");
    let pair = |layer, module, rank, scale| (Site { layer, module }, rank, scale);
    let all = |layer| Module::ALL.map(|module| pair(layer, module, 4, 2.0));
    let root = 5.0 / 3f32.sqrt();
    let cases = [
        ("adapter", [all(0), all(1)].concat()),
        ("last-layer", all(1).to_vec()),
        (
            "rslora",
            [0, 1]
                .map(|layer| [Module::Query, Module::Value].map(|m| pair(layer, m, 3, root)))
                .concat(),
        ),
        (
            "patterns",
            vec![
                pair(0, Module::Query, 2, 4.0),
                pair(0, Module::Value, 4, 2.0),
                pair(0, Module::Intermediate, 6, 1.5),
                pair(1, Module::Query, 4, 2.0),
                pair(1, Module::Value, 4, 0.75),
                pair(1, Module::Intermediate, 6, 1.5),
            ],
        ),
    ];
    let base = ModelFolder::open(&golden.join("bert-tiny")).unwrap();
    for (name, expected) in cases {
        let folder = golden.join(format!("bert-tiny-{name}"));
        let adapter = Adapter::load_peft(&folder, base.config()).unwrap();
        let entries = adapter.layout.entries().iter();
        let found: Vec<_> = entries.map(|entry| (entry.site, entry.rank, entry.scale)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_class_that_was_wrapped_does_not_matter() {
    let plain = load(|_, _| {}).unwrap();
    for prefix in ["bert.", "roberta.", "0.auto_model.", "model.", "0.auto_model.bert."] {
        assert_eq!(load(|_, tensors| *tensors = matrices(prefix)).unwrap(), plain, "{prefix}");
    }
    let bare = load(|_, tensors| {
        for tensor in tensors {
            tensor.name = tensor.name.replace("base_model.model.", "");
        }
    });
    assert_eq!(bare.unwrap(), plain);
}

#[test]
fn scales_follow_alpha_rank_and_patterns() {
    let deep = "encoder.layer.1.attention.self.value";
    let cases = [
        (json!({}), 2.0, 2.0),
        (json!({ "lora_alpha": null }), 2.0, 2.0),
        (json!({ "lora_alpha": 6.0 }), 1.5, 1.5),
        (json!({ "lora_alpha": 0 }), 0.0, 0.0),
        (json!({ "use_rslora": true }), 4.0, 4.0),
        (json!({ "alpha_pattern": { "value": 16 } }), 2.0, 4.0),
        (json!({ "alpha_pattern": { "self.value": 16, "value": 4 } }), 2.0, 4.0),
        (json!({ "alpha_pattern": { deep: 2.0 } }), 2.0, 0.5),
        (json!({ "alpha_pattern": { format!("^{deep}"): 2 } }), 2.0, 0.5),
        (json!({ "alpha_pattern": { format!("^bert.{deep}"): 2 } }), 2.0, 2.0),
        (json!({ "alpha_pattern": { "layer.0.attention.self.query": 4 } }), 1.0, 2.0),
        (json!({ "alpha_pattern": { "lue": 4 } }), 2.0, 2.0),
        (json!({ "rank_pattern": { "query": 4 }, "lora_alpha": 4 }), 1.0, 1.0),
        (json!({ "rank_pattern": { "query": 4, "value": 4 }, "r": 64 }), 2.0, 2.0),
    ];
    for (changes, first, last) in cases {
        let adapter = load(|config, _| {
            for (field, value) in changes.as_object().unwrap() {
                config[field] = value.clone();
            }
        })
        .unwrap();
        let scale = |layer, module| adapter.layout.entry(Site { layer, module }).unwrap().scale;
        let found = (scale(0, Module::Query), scale(1, Module::Value));
        assert_eq!(found, (first, last), "{changes}");
    }
}

#[test]
fn ranks_may_differ_by_pattern() {
    let adapter = load(|config, tensors| {
        config["rank_pattern"] = json!({ "layer.1.attention.self.value": 2 });
        tensors.truncate(6);
        tensors.extend(pair("", 1, Module::Value, 2));
    })
    .unwrap();
    let ranks: Vec<usize> = adapter.layout.entries().iter().map(|entry| entry.rank).collect();
    assert_eq!(ranks, [4, 4, 4, 2]);
    assert_eq!(adapter.layout.entries()[3].scale, 4.0);
}

#[test]
fn targets_may_be_named_in_every_way_of_peft() {
    let upper = |tensors: &mut Vec<Tensor>| drop(tensors.drain(..4));
    for targets in [
        json!(["query", "value"]),
        json!(["self.query", "attention.self.value"]),
        json!(".*\\.(query|value)"),
        json!(null),
    ] {
        with("target_modules", targets).unwrap();
    }
    for (field, value) in [
        ("layers_to_transform", json!([1])),
        ("layers_to_transform", json!(1)),
        ("exclude_modules", json!(["layer.0.attention.self.query", "0.attention.self.value"])),
        ("exclude_modules", json!("encoder\\.layer\\.0\\..*")),
        ("target_modules", json!(["layer.1.attention.self.query", "1.attention.self.value"])),
        ("target_modules", json!("encoder\\.layer\\.1\\..*")),
    ] {
        let adapter = load(|config, tensors| {
            config[field] = value.clone();
            config["layers_pattern"] = json!(if field.starts_with('l') { "layer" } else { "" });
            upper(tensors);
        })
        .unwrap();
        assert_eq!(adapter.layout.first_layer(), Some(1), "{field} {value}");
    }
    let whole = load(|config, tensors| {
        // A name that is given in full is adapted whatever layers_to_transform says.
        config["target_modules"] = json!(["encoder.layer.1.attention.self.query"]);
        config["layers_to_transform"] = json!([0]);
        *tensors = pair("", 1, Module::Query, 4).into();
    });
    assert_eq!(whole.unwrap().layout.entries().len(), 1);
}

#[test]
fn fields_that_change_the_mathematics_are_refused_by_name() {
    let cases = [
        ("peft_type", json!("IA3")),
        ("peft_type", json!(null)),
        ("bias", json!("all")),
        ("bias", json!("lora_only")),
        ("lora_bias", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("use_dora", json!(true)),
        ("use_qalora", json!(true)),
        ("modules_to_save", json!(["embeddings"])),
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!("loftq")),
        ("init_lora_weights", json!(3)),
        ("trainable_token_indices", json!([1, 2])),
        ("target_parameters", json!(["x"])),
        ("layer_replication", json!([[0, 1]])),
        ("loftq_config", json!({ "bits": 4 })),
        ("megatron_config", json!({ "x": 1 })),
        ("alora_invocation_tokens", json!([7])),
        ("layers_pattern", json!("blocks")),
        ("layers_pattern", json!(["layer", "blocks"])),
        ("a_field_of_next_year", json!(true)),
        ("a_number_of_next_year", json!(0)),
        ("rank_pattern", json!({ "layer.[01].*": 4 })),
        ("alpha_pattern", json!({ ".*value": 4 })),
    ];
    for (field, value) in cases {
        let shown = format!("{field} is ");
        let parts = ["failed to use", "adapter_config.json", shown.as_str(), "hint: "];
        check_error(with(field, value), &parts);
    }
}

#[test]
fn fields_of_the_wrong_type_are_named() {
    let cases = [
        ("r", json!(0)),
        ("r", json!("4")),
        ("r", json!(1u64 << 40)),
        ("lora_alpha", json!("16")),
        ("use_rslora", json!("yes")),
        ("rank_pattern", json!([4])),
        ("rank_pattern", json!({ "query": 0 })),
        ("alpha_pattern", json!({ "query": "4" })),
        ("target_modules", json!([1])),
        ("target_modules", json!(7)),
        ("layers_to_transform", json!("last")),
        ("layers_to_transform", json!([-1])),
        ("bias", json!(7)),
    ];
    for (field, value) in cases {
        check_error(with(field, value), &["failed to read", "adapter_config.json", field]);
    }
}

#[test]
fn fields_that_are_off_or_harmless_are_accepted() {
    for (field, value) in [
        ("modules_to_save", json!([])),
        ("a_field_of_next_year", json!(false)),
        ("another", json!({})),
        ("inference_mode", json!(false)),
        ("lora_dropout", json!(0.5)),
        ("init_lora_weights", json!("gaussian")),
        ("init_lora_weights", json!(false)),
        ("eva_config", json!({ "rho": 2.0 })),
        ("task_type", json!(null)),
        ("auto_mapping", json!({ "base_model_class": "BertModel" })),
    ] {
        with(field, value).unwrap();
    }
}

#[test]
fn every_key_that_matches_nothing_is_listed() {
    let foreign = |name: &str, shape: &[usize]| {
        let mut tensor = Tensor::random(name, shape);
        tensor.name = format!("base_model.model.{name}");
        tensor
    };
    let result = load(|_, tensors| {
        tensors.push(foreign("pooler.dense.lora_A.weight", &[4, 32]));
        tensors.push(foreign("embeddings.word_embeddings.lora_embedding_A", &[4, 16]));
        tensors.push(foreign("encoder.layer.0.attention.self.query.lora_magnitude_vector", &[32]));
        tensors.push(foreign("encoder.layer.5.attention.self.query.lora_B.weight", &[32, 4]));
        tensors.push(foreign("gpt.encoder.layer.0.output.dense.lora_B.weight", &[32, 4]));
    });
    check_error(
        result,
        &[
            "failed to match 5 names",
            "base_model.model.pooler.dense.lora_A.weight",
            "word_embeddings.lora_embedding_A",
            "lora_magnitude_vector",
            "encoder.layer.5.attention.self.query.lora_B.weight (the model has 2 layers)",
            "gpt.encoder.layer.0.output.dense.lora_B.weight",
            "hint: ",
        ],
    );
    let twice = load(|_, tensors| tensors.extend(pair("bert.", 0, Module::Query, 4)));
    check_error(twice, &["failed to match 2 names", "(the same place as "]);
    check_error(load(|_, tensors| tensors.clear()), &["the file has no tensors"]);
    let many = load(|_, tensors| {
        tensors.extend((0..100).map(|i| foreign(&format!("x{i}"), &[1])));
    });
    check_error(many, &["failed to match 100 names", "and 80 more"]);
}

#[test]
fn matrices_that_do_not_fit_are_named_with_both_shapes() {
    type Change = fn(&mut Value, &mut Vec<Tensor>);
    let cases: [(Change, &[&str]); 9] = [
        // Nothing is allocated for a rank that costs the file nothing.
        (
            |config, tensors| {
                config["r"] = json!(16384);
                tensors[0].shape = vec![16384, 0];
                tensors[0].bytes.clear();
            },
            &["expected shape [16384, 32]", "found shape [16384, 0]"],
        ),
        (|_, tensors| drop(tensors.remove(0)), &["query.lora_A.weight", "only the other"]),
        (|_, tensors| drop(tensors.remove(1)), &["query.lora_B.weight", "only the other"]),
        (
            |config, _| config["r"] = json!(8),
            &["expected shape [8, 32], with r or rank_pattern", "found shape [4, 32]"],
        ),
        (
            |_, tensors| tensors[1].shape = vec![4, 32],
            &["query.lora_B.weight", "expected shape [32, 4], with r", "found shape [4, 32]"],
        ),
        (|_, tensors| tensors[0].shape = vec![128], &["found shape [128]"]),
        (|_, tensors| tensors[0].dtype = "U32", &["F32, F16 or BF16, found U32"]),
        (
            |_, tensors| tensors[0].bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()),
            &["expected finite values, found inf at index 0"],
        ),
        (|config, _| config["lora_alpha"] = json!(1e300), &["expected a finite scale"]),
    ];
    for (change, parts) in cases {
        check_error(load(change), parts);
    }
}

#[test]
fn the_two_files_must_be_of_one_adapter() {
    let missing = load(|_, tensors| drop(tensors.drain(2..4)));
    check_error(missing, &["layer.0.attention.self.value (named, but without tensors)", "hint: "]);
    let extra = load(|_, tensors| tensors.extend(pair("", 1, Module::Key, 4)));
    check_error(extra, &["layer.1.attention.self.key (has tensors, but is not named)"]);
    let layer = with("layers_to_transform", json!([0]));
    check_error(layer, &["failed to match 2 names", "layer.1.attention.self.query (has tensors"]);
}

#[test]
fn folders_without_an_adapter_are_explained() {
    let load = |folder: &Path| Adapter::load_peft(folder, &shape());
    let folder = TempDir::new().unwrap();
    check_error(load(folder.path()), &["failed to find", "adapter_config.json", "hint: "]);
    std::fs::write(folder.path().join("adapter_config.json"), peft_config().to_string()).unwrap();
    check_error(load(folder.path()), &["failed to find", "adapter_model.safetensors"]);
    std::fs::write(folder.path().join("adapter_model.bin"), b"PK").unwrap();
    let parts = ["adapter_model.bin: pickled weights are refused", "PeftModel.from_pretrained"];
    check_error(load(folder.path()), &parts);
}
