//! What must hold for every file that a stranger may hand in, as functions over bytes.
//!
//! Each function takes the bytes of one file (or of a few, parted by zero bytes), reads them as the
//! program would, and panics if what the reader promises does not hold. The fuzzer feeds it from
//! `fuzz/fuzz_targets`, and `tests/replay.rs` from `fuzz/corpus`; `fuzz/README.md` says how. It
//! never knows what the fuzzer is, and nothing that a user gets depends on it.
//!
//! Begin with [`TARGETS`].
//!
//! # Invariants
//! - A function looks at nothing but its bytes, and leaves nothing behind.
//! - Reading takes memory in proportion to the bytes that are there, whatever they claim.
//! - An error names the file, in few words, and a line of it that exists.

mod adapter;
mod checkpoint;
mod dataset;
mod index;
mod memory;
mod message;
mod pages;
mod scratch;
mod serve;
mod tables;
mod target;
mod tensors;
mod trec;
mod workspace;

pub use adapter::adapter_config;
pub use checkpoint::{checkpoint, checkpoint_seed};
pub use index::{filter, log_record, manifest, segment};
pub use pages::{html, markdown, plain};
pub use serve::{experiment, http_body};
pub use tables::{beir, jsonl};
pub use target::{TARGETS, Target, Verdict};
pub use tensors::safetensors_header;
pub use trec::trec;
pub use workspace::workspace;
