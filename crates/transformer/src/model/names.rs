//! What the tensors of a BERT-family checkpoint are called, and in which shapes.

use std::collections::HashSet;

use super::json::abridged;
use super::tensor_file::TensorFile;
use super::{EncoderConfig, ModelError};
use crate::adapter::{Module, Site};

/// What the classes that people save put in front of the encoder's own names: nothing
/// (`BertModel`), the base of a model with a head (`BertForMaskedLM`), or the place in a
/// sentence-transformers pipeline saved as a whole.
const PREFIXES: [&str; 8] = [
    "",
    "bert.",
    "roberta.",
    "model.",
    "0.auto_model.",
    "0.auto_model.bert.",
    "0.auto_model.roberta.",
    "0.model.",
];

/// The name that every encoder has exactly once.
const WORDS: &str = "embeddings.word_embeddings.weight";

/// Buffers that old versions of transformers saved among the parameters.
const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];

/// A tensor of the encoder, without prefix.
pub(crate) struct Parameter {
    /// For example `encoder.layer.0.output.dense.weight`.
    pub(crate) name: String,
    /// Row-major.
    pub(crate) shape: Vec<usize>,
    /// The linear layer, if this is the weight of one that an adapter can change.
    pub(crate) site: Option<Site>,
}

/// Every tensor that an encoder of this configuration has, bottom to top.
pub(crate) fn parameters(config: &EncoderConfig) -> Vec<Parameter> {
    let hidden = config.hidden;
    let plain = |name: String, shape: Vec<usize>| Parameter { name, shape, site: None };
    let norm = |name: String| {
        [("weight", hidden), ("bias", hidden)]
            .map(|(part, width)| plain(format!("{name}.LayerNorm.{part}"), vec![width]))
    };
    let mut all = vec![
        plain(WORDS.to_owned(), vec![config.vocab, hidden]),
        plain("embeddings.position_embeddings.weight".to_owned(), vec![config.positions, hidden]),
        plain(
            "embeddings.token_type_embeddings.weight".to_owned(),
            vec![config.token_types, hidden],
        ),
    ];
    all.extend(norm("embeddings".to_owned()));
    for layer in 0..config.layers {
        for module in Module::ALL {
            let site = Site { layer, module };
            let (inputs, outputs) = module.shape(config);
            let name = site_name(site);
            all.push(Parameter {
                name: format!("{name}.weight"),
                shape: vec![outputs, inputs],
                site: Some(site),
            });
            all.push(plain(format!("{name}.bias"), vec![outputs]));
        }
        all.extend(norm(format!("encoder.layer.{layer}.attention.output")));
        all.extend(norm(format!("encoder.layer.{layer}.output")));
    }
    all
}

/// Name of a linear layer within the encoder.
pub(crate) fn site_name(site: Site) -> String {
    format!("encoder.layer.{}.{}", site.layer, site.module.path())
}

/// The encoder's tensors in an open file, found under any of the names that are in use.
pub(crate) struct EncoderTensors {
    file: TensorFile,
    prefix: String,
}

impl EncoderTensors {
    /// Finds the prefix, and refuses a file with tensors of the encoder that the configuration
    /// does not have: it describes another architecture or another depth.
    pub(crate) fn new(file: TensorFile, config: &EncoderConfig) -> Result<Self, ModelError> {
        let names = file.names();
        let prefix = find_prefix(&names, &file)?;
        let tensors = Self { file, prefix };
        let known: HashSet<String> =
            parameters(config).into_iter().map(|parameter| parameter.name).collect();
        let unmatched: Vec<String> =
            names.into_iter().filter(|name| tensors.is_foreign(name, &known)).collect();
        if unmatched.is_empty() {
            return Ok(tensors);
        }
        Err(ModelError::Unmatched {
            path: tensors.file.path().to_owned(),
            names: unmatched,
            hint: "config.json does not describe these weights; take both from the same model",
        })
    }

    /// Reads a tensor of the encoder by its name without prefix.
    pub(crate) fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let mut full = format!("{}{name}", self.prefix);
        if self.file.shape(&full).is_none() {
            // The names of TensorFlow's checkpoints, which the first BERTs still carry.
            let old = full
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            if self.file.shape(&old).is_some() {
                full = old;
            }
        }
        self.file.read(&full, shape)
    }

    /// Whether the file has a tensor of this name without prefix.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.shape(&format!("{}{name}", self.prefix)).is_some()
    }

    /// Heads and poolers are no part of the encoder; whatever else lies in it must be known.
    fn is_foreign(&self, name: &str, known: &HashSet<String>) -> bool {
        let Some(name) = name.strip_prefix(&self.prefix) else { return false };
        let inside = name.starts_with("embeddings.") || name.starts_with("encoder.");
        let name = name
            .replace("LayerNorm.gamma", "LayerNorm.weight")
            .replace("LayerNorm.beta", "LayerNorm.bias");
        inside && !BUFFERS.contains(&name.as_str()) && !known.contains(&name)
    }
}

fn find_prefix(names: &[String], file: &TensorFile) -> Result<String, ModelError> {
    let mut found = names.iter().filter_map(|name| name.strip_suffix(WORDS));
    let prefixes = || PREFIXES.map(|prefix| format!("`{prefix}`")).join(", ");
    match (found.next(), found.next()) {
        (Some(prefix), None) if PREFIXES.contains(&prefix) => Ok(prefix.to_owned()),
        (Some(prefix), None) => Err(ModelError::Tensor {
            path: file.path().to_owned(),
            tensor: format!("{}{WORDS}", abridged(prefix)),
            expected: format!("one of the prefixes {}", prefixes()),
            found: format!("`{}`", abridged(prefix)),
            hint: "save the bare encoder with transformers: AutoModel...save_pretrained(FOLDER)",
        }),
        (first, _) => Err(ModelError::Tensor {
            path: file.path().to_owned(),
            tensor: WORDS.to_owned(),
            expected: format!("exactly one, behind one of the prefixes {}", prefixes()),
            found: if first.is_some() { "several" } else { "none" }.to_owned(),
            hint: "the file must hold one BERT-family encoder",
        }),
    }
}
