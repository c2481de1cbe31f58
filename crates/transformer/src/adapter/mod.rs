//! LoRA adapters: what is adapted ([`LoraSpec`]), where each matrix lies in one flat buffer
//! ([`AdapterLayout`]), the values ([`Adapter`]), and what reads scores where there are some
//! ([`Head`]).

pub(crate) mod head;
mod layout;
mod peft;

pub use head::{Head, HeadNames, HeadSlopes, HeadTape};
pub use layout::{Adapter, AdapterLayout, Entry, LayerChoice, LoraSpec, Module, Site, SpecError};
