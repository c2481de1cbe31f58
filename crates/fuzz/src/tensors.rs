//! Safetensors files: an adapter's and a whole encoder's.

use cotenant_transformer::{Adapter, EncoderConfig, ModelFolder};
use safetensors::{Dtype, SafeTensors};

use crate::Verdict;
use crate::memory;
use crate::message;
use crate::scratch::Scratch;

const ADAPTER_FILE: &str = "adapter_model.safetensors";
const MODEL_FILE: &str = "model.safetensors";

/// An adapter whose tensors alone say what is adapted.
const ADAPTER_CONFIG: &str =
    r#"{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":".*","bias":"none"}"#;

/// The smallest encoder.
const MODEL_CONFIG: &str = r#"{"model_type":"bert","hidden_size":2,"num_attention_heads":1,
    "num_hidden_layers":1,"intermediate_size":2,"vocab_size":2,"max_position_embeddings":2,
    "type_vocab_size":1}"#;

/// A safetensors file, read as an adapter's matrices and as an encoder's weights: what is read is
/// what the format's own library reads. An input that is no such file is taken for a header and
/// data, parted by a zero byte, since lengths are hard to guess.
pub fn safetensors_header(bytes: &[u8]) -> Verdict {
    match check(bytes) {
        Verdict::Accepted => Verdict::Accepted,
        Verdict::Refused => check(&assemble(bytes)),
    }
}

fn assemble(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (header, data) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    [&(end as u64).to_le_bytes(), header, data].concat()
}

fn check(file: &[u8]) -> Verdict {
    let scratch = Scratch::new(&[
        ("adapter_config.json", ADAPTER_CONFIG.as_bytes()),
        (ADAPTER_FILE, file),
        ("config.json", MODEL_CONFIG.as_bytes()),
        (MODEL_FILE, file),
    ]);
    let folder = ModelFolder::open(scratch.path()).expect("the configuration is good");
    let adapter =
        memory::bounded(file.len(), || Adapter::load_peft(scratch.path(), folder.config()));
    let weights = memory::bounded(file.len(), || folder.weights());
    for error in [adapter.as_ref().err(), weights.as_ref().err()].into_iter().flatten() {
        message::check(error, scratch.path());
    }
    if let Ok(adapter) = &adapter {
        check_adapter(adapter, file);
    }
    if let Ok(weights) = &weights {
        let found = [
            ("word_embeddings.weight", &weights.words),
            ("position_embeddings.weight", &weights.positions),
            ("embeddings.LayerNorm.bias", &weights.norm.bias),
            ("0.intermediate.dense.weight", &weights.layers[0].intermediate.weight),
        ];
        found.iter().for_each(|(name, values)| check_values(file, name, values));
    }
    match adapter.is_ok() || weights.is_ok() {
        true => Verdict::Accepted,
        false => Verdict::Refused,
    }
}

fn check_adapter(adapter: &Adapter, file: &[u8]) {
    let tensors = SafeTensors::deserialize(file).expect("what is read here is read there");
    let entries = adapter.layout.entries();
    // A head has two matrices and two biases.
    let of_head = if adapter.layout.head().is_some() { 4 } else { 0 };
    assert_eq!(tensors.len(), 2 * entries.len() + of_head, "every tensor has its place");
    for entry in entries {
        let site = format!("layer.{}.{}", entry.site.layer, entry.site.module.path());
        for (half, range) in [("lora_A", &entry.a), ("lora_B", &entry.b)] {
            let name = format!("{site}.{half}.weight");
            check_values(file, &name, &adapter.values[range.clone()]);
        }
    }
}

/// Checks the values of the tensor whose name ends so.
fn check_values(file: &[u8], name: &str, values: &[f32]) {
    let tensors = SafeTensors::deserialize(file).expect("what is read here is read there");
    let all = tensors.tensors();
    let (_, tensor) = all.iter().find(|(full, _)| full.ends_with(name)).expect("it was read");
    let expected: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => tensor
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        Dtype::BF16 => tensor
            .data()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes([0, 0, bytes[0], bytes[1]]))
            .collect(),
        // Converted by code of our own, which has a table of its own to agree with.
        other => {
            assert_eq!((other, tensor.data().len()), (Dtype::F16, values.len() * 2));
            return;
        }
    };
    assert!(expected.iter().all(|value| value.is_finite()));
    assert_eq!(values, expected, "{name}");
}

/// The shape that [`safetensors_header`] and [`crate::adapter_config`] have tensors of.
pub(crate) fn tiny(layers: usize) -> EncoderConfig {
    let config = MODEL_CONFIG.as_bytes();
    let config = EncoderConfig::from_json(config, "config.json".as_ref()).expect("it is good");
    EncoderConfig { layers, ..config }
}
