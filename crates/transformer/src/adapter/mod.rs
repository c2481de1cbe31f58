//! LoRA adapters: what is adapted ([`LoraSpec`]), where each matrix lies in one flat buffer
//! ([`AdapterLayout`]), and the values ([`Adapter`]).

mod layout;
mod peft;

pub use layout::{Adapter, AdapterLayout, Entry, LayerChoice, LoraSpec, Module, Site, SpecError};
