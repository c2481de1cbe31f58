//! The files around an encoder, in the spellings that are in use.

use std::path::Path;

use cotenant_transformer::{ModelError, ModelFolder, Pooling};
use serde_json::{Value, json};

use crate::fixture::{HIDDEN, Tiny, check_error, config, modules};

fn open(change: impl FnOnce(&Tiny)) -> Result<ModelFolder, ModelError> {
    let tiny = Tiny::new();
    change(&tiny);
    ModelFolder::open(tiny.path())
}

#[test]
fn a_legacy_folder_is_read() {
    let folder = open(|_| {}).unwrap();
    assert_eq!(folder.pooling(), Pooling::Mean);
    assert!(folder.normalize());
    assert_eq!(folder.tokens_max(), 16);
    assert!(folder.prompts().is_empty());
    assert_eq!(folder.default_prompt_name(), None);
}

#[test]
fn a_folder_of_version_6_is_read() {
    let folder = open(|tiny| {
        let class = |at: usize, path: &str, class: &str| {
            json!({ "idx": at, "name": at.to_string(), "path": path,
                    "type": format!("sentence_transformers.{class}") })
        };
        tiny.json(
            "modules.json",
            &json!([
                class(0, "", "base.modules.transformer.Transformer"),
                class(1, "1_Pooling", "sentence_transformer.modules.pooling.Pooling"),
                class(2, "2_Normalize", "base.modules.normalize.Normalize"),
            ]),
        );
        tiny.json(
            "1_Pooling/config.json",
            &json!({ "embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": true }),
        );
        tiny.json(
            "sentence_bert_config.json",
            &json!({ "transformer_task": "feature-extraction", "modality_config": {} }),
        );
        tiny.json("tokenizer_config.json", &json!({ "model_max_length": 12 }));
        tiny.json(
            "config_sentence_transformers.json",
            &json!({ "prompts": { "query": "query: ", "document": "" },
                     "default_prompt_name": "query" }),
        );
    })
    .unwrap();
    assert_eq!(folder.pooling(), Pooling::Cls);
    assert_eq!(folder.tokens_max(), 12);
    assert_eq!(folder.prompts()["query"], "query: ");
    assert_eq!(folder.default_prompt_name(), Some("query"));
}

#[test]
fn a_plain_folder_is_averaged_and_normalised() {
    let folder = open(|tiny| {
        tiny.remove("modules.json");
        tiny.remove("sentence_bert_config.json");
    })
    .unwrap();
    assert_eq!((folder.pooling(), folder.normalize()), (Pooling::Mean, true));
    assert_eq!(folder.tokens_max(), 24);
}

#[test]
fn the_encoder_may_lie_in_a_folder_of_its_own() {
    let tiny = Tiny::new();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "sentence_bert_config.json"]
    {
        tiny.bytes(&format!("0_Transformer/{name}"), &std::fs::read(tiny.at(name)).unwrap());
        tiny.remove(name);
    }
    let mut list = modules(&["Transformer", "Pooling"]);
    list[0]["path"] = json!("0_Transformer");
    tiny.json("modules.json", &list);
    let folder = ModelFolder::open(tiny.path()).unwrap();
    assert!(!folder.normalize());
    assert_eq!(folder.weights().unwrap().layers.len(), 2);
    folder.tokenizer().unwrap();
}

#[test]
fn the_longest_text_is_bounded_by_the_position_table() {
    let roberta = {
        let mut roberta = config();
        roberta["model_type"] = json!("xlm-roberta");
        roberta["pad_token_id"] = json!(1);
        roberta
    };
    let huge = json!({ "model_max_length": 1e30 });
    let cases = [
        (config(), json!({ "max_seq_length": 16 }), json!({ "model_max_length": 8 }), 16),
        (config(), json!({ "max_seq_length": 100 }), json!({}), 24),
        (config(), json!({ "max_seq_length": null }), json!({ "model_max_length": 8 }), 8),
        (config(), json!({}), huge.clone(), 24),
        (roberta, json!({}), huge, 22),
    ];
    for (config, sentence, tokenizer, expected) in cases {
        let folder = open(|tiny| {
            tiny.json("config.json", &config);
            tiny.json("sentence_bert_config.json", &sentence);
            tiny.json("tokenizer_config.json", &tokenizer);
        });
        assert_eq!(folder.unwrap().tokens_max(), expected, "{sentence} {tokenizer}");
    }
}

#[test]
fn pooling_is_read_in_both_spellings_and_others_are_refused_by_name() {
    let legacy = |fields: &[(&str, bool)]| -> Value {
        fields.iter().map(|(name, on)| (format!("pooling_mode_{name}"), json!(on))).collect()
    };
    let good = [
        (legacy(&[("cls_token", true), ("mean_tokens", false)]), Pooling::Cls),
        (legacy(&[("cls_token", false), ("mean_tokens", true)]), Pooling::Mean),
        (legacy(&[("cls_token", false)]), Pooling::Mean),
        (json!({ "pooling_mode": ["mean"] }), Pooling::Mean),
        (json!({ "pooling_mode": "cls", "pooling_mode_mean_tokens": true }), Pooling::Cls),
    ];
    for (pooling, expected) in good {
        let folder = open(|tiny| tiny.json("1_Pooling/config.json", &pooling));
        assert_eq!(folder.unwrap().pooling(), expected, "{pooling}");
    }
    let bad = [
        (legacy(&[("max_tokens", true)]), "the pooling is max"),
        (legacy(&[("mean_sqrt_len_tokens", true)]), "the pooling is mean_sqrt_len"),
        (legacy(&[("lasttoken", true)]), "the pooling is lasttoken"),
        (legacy(&[("new_kind", true)]), "the pooling is new_kind"),
        (legacy(&[("cls_token", true), ("mean_tokens", true)]), "the pooling is cls + mean"),
        (json!({ "pooling_mode": "weightedmean" }), "the pooling is weightedmean"),
        (json!({ "pooling_mode": ["cls", "max"] }), "the pooling is cls + max"),
        (json!({ "pooling_mode": 3 }), "pooling_mode is 3"),
        (json!({ "word_embedding_dimension": HIDDEN + 1 }), "word_embedding_dimension is 33"),
        (json!({ "pooling_mode": "mean", "include_prompt": false }), "include_prompt is false"),
    ];
    for (pooling, part) in bad {
        let folder = open(|tiny| tiny.json("1_Pooling/config.json", &pooling));
        check_error(folder, &["1_Pooling", part]);
    }
}

#[test]
fn modules_that_do_not_run_are_refused_by_name() {
    let with = |class: &str| {
        let mut list = modules(&["Transformer", "Pooling", "Normalize"]);
        list[2]["type"] = json!(class);
        list
    };
    let outside = |path: &str| {
        let mut list = modules(&["Transformer", "Pooling"]);
        list[1]["path"] = json!(path);
        list
    };
    let cases = [
        (
            with("sentence_transformers.models.Dense"),
            "type is \"sentence_transformers.models.Dense",
        ),
        (with("sentence_transformers.models.LSTM"), "models.LSTM"),
        (with("my_package.Normalize"), "type is \"my_package.Normalize\""),
        (modules(&["Transformer"]), "the sequence of modules is [Transformer]"),
        (modules(&["Pooling", "Transformer"]), "[Pooling, Transformer]"),
        (modules(&["Transformer", "Normalize", "Pooling"]), "[Transformer, Normalize, Pooling]"),
        (json!([]), "the sequence of modules is []"),
        (json!([1]), "a module is 1"),
        (json!([{ "path": "" }]), "type is missing"),
        (json!([{ "type": 7 }]), "type is 7"),
        (json!({ "type": 7 }), "as JSON"),
        (outside("../1_Pooling"), "path is \"../1_Pooling\""),
        (outside("/etc"), "path is \"/etc\""),
    ];
    for (list, part) in cases {
        check_error(open(|tiny| tiny.json("modules.json", &list)), &["modules.json", part]);
    }
}

#[test]
fn settings_that_change_a_text_are_refused_by_name() {
    type Change = fn(&Tiny);
    let cases: [(Change, &str); 6] = [
        (
            |tiny| tiny.json("tokenizer_config.json", &json!({ "truncation_side": "left" })),
            "truncation_side is \"left\"",
        ),
        (
            |tiny| {
                let task = json!({ "transformer_task": "fill-mask" });
                tiny.json("sentence_bert_config.json", &task);
            },
            "transformer_task is \"fill-mask\"",
        ),
        (
            |tiny| tiny.json("sentence_bert_config.json", &json!({ "max_seq_length": 0 })),
            "max_seq_length is 0",
        ),
        (
            |tiny| {
                let prompts = json!({ "prompts": { "query": 3 } });
                tiny.json("config_sentence_transformers.json", &prompts);
            },
            "a text for every name",
        ),
        (
            |tiny| {
                let prompts = json!({ "prompts": {}, "default_prompt_name": "query" });
                tiny.json("config_sentence_transformers.json", &prompts);
            },
            "default_prompt_name is \"query\"",
        ),
        (|tiny| tiny.remove("1_Pooling/config.json"), "failed to find"),
    ];
    for (change, part) in cases {
        check_error(open(change), &[part]);
    }
}

#[test]
fn folders_without_a_model_are_explained() {
    let nowhere = ModelFolder::open(Path::new("no/such/folder"));
    check_error(nowhere, &["failed to find no/such/folder", "hint: there is no such folder"]);
    let empty = open(|tiny| tiny.remove("config.json"));
    check_error(empty, &["config.json", "a model folder holds config.json"]);
    let adapter = open(|tiny| {
        tiny.remove("config.json");
        tiny.json("adapter_config.json", &json!({ "base_model_name_or_path": "org/base" }));
    });
    check_error(adapter, &["the folder holds an adapter", "org/base"]);
}

#[test]
fn a_configuration_of_absurd_length_is_not_read() {
    let long = open(|tiny| tiny.bytes("config.json", &vec![b' '; (4 << 20) + 1]));
    check_error(long, &["config.json", "it has 4194305 bytes, and at most 4194304 are read"]);
}

#[test]
fn the_fingerprint_follows_what_decides_an_embedding() {
    let tiny = Tiny::new();
    let fingerprint = || ModelFolder::open(tiny.path()).unwrap().fingerprint().unwrap();
    let first = fingerprint();
    assert_eq!(first, fingerprint());
    assert_eq!(first.to_string().len(), 64);
    tiny.bytes("README.md", b"words");
    assert_eq!(first, fingerprint());
    let mut seen = vec![first];
    let mut weights = std::fs::read(tiny.at("model.safetensors")).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    tiny.bytes("model.safetensors", &weights);
    seen.push(fingerprint());
    tiny.json("sentence_bert_config.json", &json!({ "max_seq_length": 15 }));
    seen.push(fingerprint());
    tiny.json("1_Pooling/config.json", &json!({ "pooling_mode": "cls" }));
    seen.push(fingerprint());
    tiny.json("modules.json", &modules(&["Transformer", "Pooling"]));
    seen.push(fingerprint());
    tiny.bytes("tokenizer.json", b"{}");
    seen.push(fingerprint());
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[test]
fn the_weights_digest_is_the_published_sha256() {
    let tiny = Tiny::new();
    let folder = ModelFolder::open(tiny.path()).unwrap();
    // The example of FIPS 180-2, appendix B.1.
    tiny.bytes("model.safetensors", b"abc");
    let digest = folder.weights_digest().unwrap();
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest.to_string(), expected);
    assert_eq!(digest.short(), 0xba78_16bf_8f01_cfea);
}
