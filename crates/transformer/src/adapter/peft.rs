//! Adapters as `peft` saves them: a folder of `adapter_config.json` and
//! `adapter_model.safetensors`.
//!
//! The class that a trainer wrapped shows in the keys (`BertModel` or `BertForMaskedLM`), so keys
//! are matched by suffix; but every key must match, since a skipped one is an adapter that works
//! less well than it should and never says why.

mod config;
mod keys;
mod load;
mod pattern;
mod save;

/// The file with the fields of peft's `LoraConfig`.
const CONFIG_FILE: &str = "adapter_config.json";

/// The file with the matrices.
const WEIGHTS_FILE: &str = "adapter_model.safetensors";
