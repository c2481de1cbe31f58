//! `model.safetensors`: names, types, and every way to be broken.

use std::path::Path;

use cotenant_transformer::{EncoderWeights, ModelError, ModelFolder};

use crate::fixture::{Tensor, Tiny, assemble, check_error, safetensors, tensors};

fn read(path: &Path) -> Result<EncoderWeights, ModelError> {
    ModelFolder::open(path)?.weights()
}

/// The weights after a change to the list of tensors.
fn changed(change: impl FnOnce(&mut Vec<Tensor>)) -> Result<EncoderWeights, ModelError> {
    let tiny = Tiny::new();
    let mut list = tensors("");
    change(&mut list);
    tiny.bytes("model.safetensors", &safetensors(&list));
    read(tiny.path())
}

fn find<'a>(list: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    list.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn every_value_is_where_the_file_has_it() {
    let weights = changed(|_| {}).unwrap();
    let list = tensors("");
    let value = |name: &str, at: usize| {
        let tensor = list.iter().find(|tensor| tensor.name == name).unwrap();
        f32::from_le_bytes(tensor.bytes[4 * at..4 * at + 4].try_into().unwrap())
    };
    assert_eq!(weights.layers.len(), 2);
    assert_eq!(weights.words[77], value("embeddings.word_embeddings.weight", 77));
    assert_eq!(weights.positions[700], value("embeddings.position_embeddings.weight", 700));
    assert_eq!(weights.token_types[63], value("embeddings.token_type_embeddings.weight", 63));
    assert_eq!(weights.norm.gain[3], value("embeddings.LayerNorm.weight", 3));
    assert_eq!(weights.norm.bias[3], value("embeddings.LayerNorm.bias", 3));
    let layer = &weights.layers[1];
    for (linear, name, shape) in [
        (&layer.query, "attention.self.query", (32, 32)),
        (&layer.key, "attention.self.key", (32, 32)),
        (&layer.value, "attention.self.value", (32, 32)),
        (&layer.attention_output, "attention.output.dense", (32, 32)),
        (&layer.intermediate, "intermediate.dense", (32, 64)),
        (&layer.output, "output.dense", (64, 32)),
    ] {
        assert_eq!((linear.inputs, linear.outputs), shape, "{name}");
        assert_eq!(linear.weight[999], value(&format!("encoder.layer.1.{name}.weight"), 999));
        assert_eq!(linear.bias[31], value(&format!("encoder.layer.1.{name}.bias"), 31));
    }
    let name = "encoder.layer.1.attention.output.LayerNorm.weight";
    assert_eq!(layer.attention_norm.gain[9], value(name, 9));
    assert_eq!(layer.output_norm.bias[9], value("encoder.layer.1.output.LayerNorm.bias", 9));
}

#[test]
fn names_may_stand_behind_the_prefixes_in_use() {
    let plain = changed(|_| {}).unwrap();
    for prefix in ["bert.", "roberta.", "0.auto_model.", "0.auto_model.bert."] {
        let prefixed = changed(|list| {
            *list = tensors(prefix);
            list.push(Tensor::random("cls.predictions.bias", &[16]));
        });
        assert_eq!(prefixed.unwrap(), plain, "{prefix}");
    }
    let result = changed(|list| *list = tensors("electra."));
    check_error(result, &["`electra.`", "one of the prefixes ``, `bert.`", "hint: "]);
}

#[test]
fn names_of_the_first_berts_are_read() {
    let old = changed(|list| {
        for tensor in list.iter_mut() {
            tensor.name = tensor
                .name
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
        }
    });
    assert_eq!(old.unwrap(), changed(|_| {}).unwrap());
}

#[test]
fn buffers_poolers_and_heads_are_passed_over() {
    let result = changed(|list| {
        list.push(Tensor {
            name: "embeddings.position_ids".into(),
            dtype: "I64",
            shape: vec![1, 24],
            bytes: vec![0; 24 * 8],
        });
        list.push(Tensor::random("pooler.dense.weight", &[32, 32]));
        list.push(Tensor::random("cls.predictions.transform.dense.weight", &[32, 32]));
        list.push(Tensor::random("lm_head.bias", &[16]));
    });
    assert_eq!(result.unwrap(), changed(|_| {}).unwrap());
}

#[test]
fn halves_are_widened() {
    // Values that both 16-bit formats hold exactly: multiples of 1/64 below 1.
    let exact: Vec<f32> = (0..1024).map(|i| (i % 64) as f32 / 64.0).collect();
    let name = "encoder.layer.0.attention.self.query.weight";
    let bf16 = |value: f32| (value.to_bits() >> 16) as u16;
    let f16 = |value: f32| {
        if value == 0.0 {
            return 0;
        }
        let bits = value.to_bits();
        ((((bits >> 23) as i32 - 127 + 15) as u16) << 10) | (bits >> 13 & 0x3FF) as u16
    };
    let encodings: [(&str, &dyn Fn(f32) -> u16); 2] = [("F16", &f16), ("BF16", &bf16)];
    for (dtype, encode) in encodings {
        let weights = changed(|list| {
            let tensor = find(list, name);
            tensor.dtype = dtype;
            tensor.bytes = exact.iter().flat_map(|value| encode(*value).to_le_bytes()).collect();
        });
        assert_eq!(weights.unwrap().layers[0].query.weight, exact, "{dtype}");
    }
}

#[test]
fn wrong_tensors_are_named_with_both_shapes() {
    let name = "encoder.layer.1.intermediate.dense.weight";
    type Change = fn(&mut Vec<Tensor>);
    let cases: [(Change, &[&str]); 8] = [
        (
            |list| list.retain(|tensor| !tensor.name.contains("1.intermediate.dense.weight")),
            &[name, "expected shape [64, 32]", "found no such tensor"],
        ),
        (
            |list| find(list, "encoder.layer.1.intermediate.dense.weight").shape = vec![32, 64],
            &[name, "expected shape [64, 32], found shape [32, 64]", "model.safetensors"],
        ),
        (
            |list| find(list, "encoder.layer.1.intermediate.dense.weight").shape = vec![2048],
            &[name, "expected shape [64, 32], found shape [2048]"],
        ),
        (
            |list| find(list, "encoder.layer.1.intermediate.dense.weight").dtype = "I32",
            &[name, "expected values of type F32, F16 or BF16, found I32"],
        ),
        (
            |list| {
                let tensor = find(list, "encoder.layer.1.intermediate.dense.weight");
                tensor.bytes[16..20].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            &[name, "expected finite values, found NaN at index 4"],
        ),
        (
            |list| {
                *find(list, "embeddings.word_embeddings.weight") =
                    Tensor::random("embeddings.word_embeddings.weight", &[15, 32]);
            },
            &["embeddings.word_embeddings.weight", "expected shape [16, 32], found shape [15, 32]"],
        ),
        (
            |list| {
                let name = "encoder.layer.0.attention.self.distance_embedding.weight";
                list.push(Tensor::random(name, &[47, 8]));
            },
            &["failed to match 1 names", "distance_embedding", "hint: config.json"],
        ),
        (
            |list| list.push(Tensor::random("encoder.layer.2.output.dense.bias", &[32])),
            &["failed to match 1 names", "encoder.layer.2.output.dense.bias"],
        ),
    ];
    for (change, parts) in cases {
        check_error(changed(change), parts);
    }
}

#[test]
fn files_without_one_encoder_are_refused() {
    let none = changed(|list| *list = vec![Tensor::random("x", &[4])]);
    check_error(none, &["embeddings.word_embeddings.weight", "exactly one", "found none"]);
    let two = changed(|list| list.extend(tensors("bert.")));
    check_error(two, &["exactly one", "found several"]);
    check_error(changed(Vec::clear), &["found none"]);
}

#[test]
fn damaged_files_are_told_from_wrong_ones() {
    let whole = safetensors(&tensors(""));
    let header_end = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header = |text: &str| assemble(text.as_bytes(), &[0; 8]);
    let one = |fields: &str| header(&format!("{{\"x\":{{{fields}}}}}"));
    let hint = "hint: the file is damaged or was cut short";
    let cases: [(Vec<u8>, &str); 20] = [
        (vec![], "it has 0 bytes, too few for a header"),
        (vec![0; 7], "it has 7 bytes, too few"),
        (vec![0; 8], "its header is broken"),
        (u64::MAX.to_le_bytes().to_vec(), "its header claims 18446744073709551615 bytes"),
        (100_000_000u64.to_le_bytes().to_vec(), "its header claims 100000000 bytes"),
        (whole[..header_end - 1].to_vec(), "bytes, but the file only"),
        (whole[..header_end].to_vec(), "its tensors end at byte"),
        (whole[..whole.len() - 1].to_vec(), "its tensors end at byte"),
        ([whole.as_slice(), &[0]].concat(), "its tensors end at byte"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "is it a safetensors file?"),
        (header("[]"), "its header is broken"),
        (header("{\"x\":3}"), "its header is broken"),
        (one("\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]"), "unknown variant `F31`"),
        (one("\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"), "its header is broken"),
        (one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]"), "invalid offset"),
        (one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,1e999]"), "its header is broken"),
        (one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0.5,8]"), "its header is broken"),
        (one("\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]"), "invalid shape"),
        (
            one("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]"),
            "overflow",
        ),
        (
            one("\"dtype\":\"F32\",\"shape\":[2305843009213693951],\
                 \"data_offsets\":[0,9223372036854775804]"),
            "its header is broken",
        ),
    ];
    for (bytes, part) in cases {
        let tiny = Tiny::new();
        tiny.bytes("model.safetensors", &bytes);
        check_error(read(tiny.path()), &["model.safetensors", part, hint]);
    }
}

#[test]
fn missing_weights_are_explained_by_what_lies_there() {
    let tiny = Tiny::new();
    tiny.remove("model.safetensors");
    check_error(read(tiny.path()), &["failed to find", "model.safetensors", "hint: the folder"]);
    tiny.bytes("model.safetensors.index.json", b"{}");
    check_error(read(tiny.path()), &["hint: the weights are split into shards"]);
    tiny.bytes("pytorch_model.bin", b"PK");
    let parts = ["pytorch_model.bin: pickled weights are refused", "safe_serialization=True"];
    check_error(read(tiny.path()), &parts);
}
