//! `config.json`: one field changed at a time.

use std::path::Path;

use cotenant_transformer::{EncoderConfig, ModelError};
use serde_json::{Value, json};

use crate::fixture::{check_error, config};

fn read(changes: &Value) -> Result<EncoderConfig, ModelError> {
    let mut config = config();
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    EncoderConfig::from_json(config.to_string().as_bytes(), Path::new("some/config.json"))
}

#[test]
fn families_differ_in_their_first_position() {
    let cases = [
        (json!({}), 0, 24),
        (json!({ "pad_token_id": 5 }), 0, 24),
        (json!({ "model_type": "roberta", "pad_token_id": 1 }), 2, 22),
        (json!({ "model_type": "xlm-roberta", "pad_token_id": null }), 2, 22),
        (json!({ "model_type": "xlm-roberta", "pad_token_id": 0 }), 1, 23),
    ];
    for (changes, offset, tokens_max) in cases {
        let config = read(&changes).unwrap();
        assert_eq!(
            (config.position_offset, config.tokens_max()),
            (offset, tokens_max),
            "{changes}"
        );
    }
}

#[test]
fn harmless_fields_and_defaults_are_accepted() {
    let cases = [
        json!({ "hidden_act": null, "position_embedding_type": null, "type_vocab_size": null }),
        json!({ "is_decoder": false, "add_cross_attention": false, "auto_map": null }),
        json!({ "hidden_act": "gelu_python", "pruned_heads": {}, "quantization_config": null }),
        json!({ "hidden_dropout_prob": 0.5, "use_cache": true, "torch_dtype": "float16" }),
        json!({ "layer_norm_eps": 1e-5, "some_new_field": { "x": [1, 2] } }),
    ];
    for changes in cases {
        let config = read(&changes).unwrap();
        assert_eq!((config.hidden, config.head(), config.token_types), (32, 8, 2), "{changes}");
    }
}

#[test]
fn other_mathematics_is_refused_by_name() {
    let cases = [
        (json!({ "hidden_act": "gelu_new" }), "hidden_act is \"gelu_new\""),
        (json!({ "hidden_act": "relu" }), "hidden_act is \"relu\""),
        (json!({ "position_embedding_type": "relative_key" }), "position_embedding_type is"),
        (json!({ "position_embedding_type": "alibi" }), "position_embedding_type is"),
        (json!({ "model_type": "distilbert" }), "model_type is \"distilbert\""),
        (json!({ "model_type": "mpnet" }), "model_type is \"mpnet\""),
        (json!({ "model_type": "modernbert" }), "model_type is \"modernbert\""),
        (json!({ "model_type": "llama" }), "model_type is \"llama\""),
        (json!({ "is_decoder": true }), "is_decoder is true"),
        (json!({ "add_cross_attention": true }), "add_cross_attention is true"),
        (json!({ "auto_map": { "AutoModel": "x--y" } }), "auto_map is {\"AutoModel\""),
        (json!({ "quantization_config": { "bits": 4 } }), "quantization_config is"),
        (json!({ "pruned_heads": { "0": [1] } }), "pruned_heads is"),
    ];
    for (changes, part) in cases {
        check_error(read(&changes), &["failed to use some/config.json", part, "hint: "]);
    }
}

#[test]
fn absurd_numbers_are_refused_by_name() {
    let cases = [
        (json!({ "model_type": null }), "model_type is null, expected bert, roberta"),
        (json!({ "hidden_size": 30, "num_attention_heads": 4 }), "num_attention_heads is 4"),
        (json!({ "hidden_size": 0 }), "hidden_size is 0, expected an integer from 1 to"),
        (json!({ "hidden_size": -32 }), "hidden_size is -32"),
        (json!({ "hidden_size": 32.5 }), "hidden_size is 32.5"),
        (json!({ "hidden_size": "32" }), "hidden_size is \"32\""),
        (json!({ "hidden_size": 1u64 << 60 }), "hidden_size is 1152921504606846976"),
        (json!({ "num_attention_heads": 64 }), "num_attention_heads is 64"),
        (json!({ "num_hidden_layers": 1_000_000 }), "num_hidden_layers is 1000000"),
        (json!({ "num_hidden_layers": 0 }), "num_hidden_layers is 0"),
        (json!({ "intermediate_size": u64::MAX }), "intermediate_size is 18446744073709551615"),
        (json!({ "vocab_size": 1u64 << 40 }), "vocab_size is"),
        (json!({ "max_position_embeddings": 0 }), "max_position_embeddings is 0"),
        (json!({ "type_vocab_size": 0 }), "type_vocab_size is 0"),
        (json!({ "layer_norm_eps": 0.0 }), "layer_norm_eps is 0.0"),
        (json!({ "layer_norm_eps": -1e-5 }), "layer_norm_eps is"),
        (json!({ "layer_norm_eps": "tiny" }), "layer_norm_eps is \"tiny\", expected a number"),
        (json!({ "model_type": "roberta", "pad_token_id": 100 }), "pad_token_id is 100"),
        (
            json!({ "model_type": "roberta", "max_position_embeddings": 1 }),
            "max_position_embeddings is 1, expected more than",
        ),
        (json!({ "is_decoder": "no" }), "is_decoder is \"no\", expected true or false"),
    ];
    for (changes, part) in cases {
        check_error(read(&changes), &["failed to read some/config.json", part]);
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "{", "[]", "null", "{\"hidden_size\":", "{} {}", "\u{0}"] {
        let result = EncoderConfig::from_json(text.as_bytes(), Path::new("some/config.json"));
        check_error(result, &["failed to parse some/config.json as JSON"]);
    }
    let deep = "[".repeat(100_000);
    let result = EncoderConfig::from_json(deep.as_bytes(), Path::new("some/config.json"));
    check_error(result, &["failed to parse"]);
}

#[test]
fn long_values_are_cut_in_messages() {
    let long = "é".repeat(100_000);
    let Err(error) = read(&json!({ "hidden_act": long })) else { panic!("no error") };
    assert!(error.to_string().len() < 1000, "{error}");
}
