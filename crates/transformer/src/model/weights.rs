//! The frozen weights of an encoder, as published: f32, row-major, linear layers `[outputs, inputs]`.

use std::path::Path;

use super::names::{EncoderTensors, site_name};
use super::tensor_file::TensorFile;
use super::{EncoderConfig, ModelError};
use crate::adapter::{Module, Site};

/// The file that holds the weights in a model folder.
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";

/// `y = x · weightᵀ + bias`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// `[outputs, inputs]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Vec<f32>,
    /// Width of `x`.
    pub inputs: usize,
    /// Width of `y`.
    pub outputs: usize,
}

/// Gain and bias of a layer norm, `[hidden]` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Norm {
    /// Multiplied with the normalised vector.
    pub gain: Vec<f32>,
    /// Added to it.
    pub bias: Vec<f32>,
}

/// One encoder layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerWeights {
    /// `attention.self.query`
    pub query: Linear,
    /// `attention.self.key`
    pub key: Linear,
    /// `attention.self.value`
    pub value: Linear,
    /// `attention.output.dense`
    pub attention_output: Linear,
    /// `attention.output.LayerNorm`
    pub attention_norm: Norm,
    /// `intermediate.dense`
    pub intermediate: Linear,
    /// `output.dense`
    pub output: Linear,
    /// `output.LayerNorm`
    pub output_norm: Norm,
}

/// The whole encoder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncoderWeights {
    /// `[vocab, hidden]`
    pub words: Vec<f32>,
    /// `[positions, hidden]`
    pub positions: Vec<f32>,
    /// `[token_types, hidden]`
    pub token_types: Vec<f32>,
    /// `embeddings.LayerNorm`
    pub norm: Norm,
    /// Bottom to top.
    pub layers: Vec<LayerWeights>,
}

/// Opens the weights in a folder, `model.safetensors`; names what else lies there if it does not.
pub(crate) fn open_weights(
    folder: &Path,
    config: &EncoderConfig,
) -> Result<EncoderTensors, ModelError> {
    let path = folder.join(WEIGHTS_FILE);
    if let Some(file) = TensorFile::open(&path)? {
        return EncoderTensors::new(file, config);
    }
    let pickle = folder.join("pytorch_model.bin");
    if pickle.exists() {
        let hint = "convert it where you trust it: AutoModel.from_pretrained(FOLDER)\
                    .save_pretrained(FOLDER, safe_serialization=True)";
        return Err(ModelError::Pickle { path: pickle, hint });
    }
    let hint = if folder.join("model.safetensors.index.json").exists() {
        "the weights are split into shards; save them with transformers' \
         save_pretrained(FOLDER, max_shard_size=\"100GB\")"
    } else {
        "the folder must hold the weights of a BERT-family encoder as model.safetensors"
    };
    Err(ModelError::Missing { path, hint: hint.to_owned() })
}

/// Reads every tensor of the encoder; at most one copy of the weights is in memory.
pub(crate) fn read_weights(
    folder: &Path,
    config: &EncoderConfig,
) -> Result<EncoderWeights, ModelError> {
    let mut tensors = open_weights(folder, config)?;
    let hidden = config.hidden;
    let mut table = |name: &str, rows: usize| {
        tensors.read(&format!("embeddings.{name}_embeddings.weight"), &[rows, hidden])
    };
    let words = table("word", config.vocab)?;
    let positions = table("position", config.positions)?;
    let token_types = table("token_type", config.token_types)?;
    let norm = read_norm(&mut tensors, "embeddings", hidden)?;
    let layers = (0..config.layers)
        .map(|layer| read_layer(&mut tensors, layer, config))
        .collect::<Result<_, _>>()?;
    Ok(EncoderWeights { words, positions, token_types, norm, layers })
}

fn read_layer(
    tensors: &mut EncoderTensors,
    layer: usize,
    config: &EncoderConfig,
) -> Result<LayerWeights, ModelError> {
    let mut linear = |module: Module| {
        let name = site_name(Site { layer, module });
        let (inputs, outputs) = module.shape(config);
        let weight = tensors.read(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = tensors.read(&format!("{name}.bias"), &[outputs])?;
        Ok::<_, ModelError>(Linear { weight, bias, inputs, outputs })
    };
    let query = linear(Module::Query)?;
    let key = linear(Module::Key)?;
    let value = linear(Module::Value)?;
    let attention_output = linear(Module::AttentionOutput)?;
    let intermediate = linear(Module::Intermediate)?;
    let output = linear(Module::Output)?;
    let mut norm =
        |place: &str| read_norm(tensors, &format!("encoder.layer.{layer}.{place}"), config.hidden);
    let attention_norm = norm("attention.output")?;
    let output_norm = norm("output")?;
    Ok(LayerWeights {
        query,
        key,
        value,
        attention_output,
        attention_norm,
        intermediate,
        output,
        output_norm,
    })
}

fn read_norm(tensors: &mut EncoderTensors, place: &str, hidden: usize) -> Result<Norm, ModelError> {
    let gain = tensors.read(&format!("{place}.LayerNorm.weight"), &[hidden])?;
    let bias = tensors.read(&format!("{place}.LayerNorm.bias"), &[hidden])?;
    Ok(Norm { gain, bias })
}
