//! BERT-family encoders on packed batches: no padding, adapters as slots, forward and backward.
//!
//! The crate turns token ids into embeddings and gradients of embeddings into gradients of LoRA
//! adapters, over one frozen base model that any number of adapters share. It never knows tenants,
//! data sets or HTTP.
//!
//! Begin with [`Packed`] (what a batch is), [`Adapter`] (what a slot holds) and
//! [`Encoder`] (what is done with both). [`ModelFolder`] reads a published model from disk,
//! [`Backend`] is all that a device must be able to do.
//!
//! # Invariants
//! - A text's embedding, and a segment's gradient, depend only on that text or segment and its
//!   adapter: never on what else is in the batch, on the batch's order, or on a thread count.
//! - Nothing is allocated per step once every buffer has seen its largest batch.
//! - Model files and adapters are hostile until parsed: a bad one is an error, never a panic.

mod adapter;
mod backend;
mod cpu;
#[cfg(target_os = "linux")]
#[cfg_attr(not(test), expect(dead_code, reason = "graphs on the card come next"))]
mod cuda;
mod encoder;
mod keeper;
mod model;
mod packed;
pub mod random;

pub use adapter::{
    Adapter, AdapterLayout, Entry, Head, HeadNames, HeadSlopes, HeadTape, LayerChoice, LoraSpec,
    Module, Site, SpecError,
};
pub use backend::{
    AdaptSlopes, Attention, Backend, Course, Fault, Group, NormTape, Pair, Pairs, Pools, Precision,
    Target,
};
pub use cpu::{Cpu, CpuLinear, CpuWorkspace, UnsupportedPrecision, keep_memory_flat};
#[cfg(target_os = "linux")]
pub use cuda::{CudaDevice, CudaNotes, KernelUse, open as open_cuda};
#[cfg(all(target_os = "linux", feature = "emulation"))]
pub use cuda::{EmulatedDevice, open_emulated};
pub use encoder::{
    Encoder, Forward, Pooling, Round, Scratch, Start, Tape, TapeMode, scale_to_unit,
};
pub use keeper::{
    AdamStep, Ending, Judging, Keeper, Member, NoKeeper, RoundRanking, SlabState, Verdict,
};
pub use model::{
    Digest, EncoderConfig, EncoderWeights, LayerWeights, Linear, ModelError, ModelFolder, Norm,
    PlacedToken, TextIds, Tokenizer, export_merged,
};
pub use packed::{Dropout, Packed, Segment, Text};
