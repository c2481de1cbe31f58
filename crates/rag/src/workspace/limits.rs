//! The keys of `[limits]`.

use cotenant_types::Mebibytes;

use super::config::{DeviceChoice, Limits, PrecisionChoice};
use super::keys::{Key, Kind, word};

const PRECISIONS: [PrecisionChoice; 3] =
    [PrecisionChoice::Auto, PrecisionChoice::F32, PrecisionChoice::Bf16];
const PRECISION_WORDS: &[&str] = &["auto", "f32", "bf16"];
const DEVICES: [DeviceChoice; 2] = [DeviceChoice::Cpu, DeviceChoice::Cuda];
const DEVICE_WORDS: &[&str] = &["cpu", "cuda"];

/// The keys of `[limits]`.
pub(super) const LIMITS: &[Key<Limits>] = &[
    Key {
        name: "memory_mib",
        kind: Kind::Integer {
            min: 0,
            max: 1 << 24,
            set: |limits, mib| limits.memory_mib = (mib > 0).then_some(Mebibytes(mib)),
        },
        default: |limits| limits.memory_mib.map_or(0, |mib| mib.0).to_string(),
        doc: "Most memory of the process, in MiB; a workspace that needs more is refused before it \
              starts. 0 sets no limit.",
    },
    Key {
        name: "threads",
        kind: Kind::Integer {
            min: 0,
            max: 1024,
            set: |limits, threads| limits.threads = (threads > 0).then_some(threads as usize),
        },
        default: |limits| limits.threads.unwrap_or(0).to_string(),
        doc: "Threads that compute. 0 takes one a core.",
    },
    Key {
        name: "precision",
        kind: Kind::Word {
            words: PRECISION_WORDS,
            set: |limits, at| limits.precision = PRECISIONS[at],
        },
        default: |limits| word(PRECISION_WORDS, &PRECISIONS, limits.precision),
        doc: "Arithmetic of the matrix products. `auto` is bf16 where the processor has \
              instructions for it; `f32` gives the same bits on every run.",
    },
    Key {
        name: "device",
        kind: Kind::Word { words: DEVICE_WORDS, set: |limits, at| limits.device = DEVICES[at] },
        default: |limits| word(DEVICE_WORDS, &DEVICES, limits.device),
        doc: "What adapters are trained and texts are embedded on: `cpu`, or `cuda`, the first \
              NVIDIA cards that the process sees, in bf16 unless `precision` is `f32`.",
    },
    Key {
        name: "cards",
        kind: Kind::Integer { min: 1, max: 64, set: |limits, cards| limits.cards = cards as usize },
        default: |limits| limits.cards.to_string(),
        doc: "NVIDIA cards that are used where `device` is `cuda`; they must be of one kind. \
              Adapters do not depend on how many there are.",
    },
    Key {
        name: "chunk_tokens",
        kind: Kind::Integer {
            min: 16,
            max: 65_536,
            set: |limits, tokens| limits.chunk_tokens = tokens as usize,
        },
        default: |limits| limits.chunk_tokens.to_string(),
        doc: "Tokens of one forward and backward pass of one thread: more is a little faster and \
              takes more memory.",
    },
    Key {
        name: "prefix_cache_mib",
        kind: Kind::Integer {
            min: 0,
            max: 1 << 24,
            set: |limits, mib| limits.prefix_cache_mib = Mebibytes(mib),
        },
        default: |limits| limits.prefix_cache_mib.0.to_string(),
        doc: "Most memory for the output of frozen lower layers, in MiB; used by tenants with \
              `top_layers`.",
    },
    Key {
        name: "checkpoint_every_steps",
        kind: Kind::Integer {
            min: 0,
            max: 1 << 32,
            set: |limits, steps| limits.checkpoint_every_steps = steps,
        },
        default: |limits| limits.checkpoint_every_steps.to_string(),
        doc: "Optimizer steps of a tenant between two checkpoints. 0 writes none before the end.",
    },
];
