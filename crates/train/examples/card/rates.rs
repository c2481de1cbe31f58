//! What work there is in a pass, and how fast a card could do it.

use cotenant_transformer::{Adapter, EncoderConfig, Packed};

/// A card's rates, as its maker states them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Products in bf16 by tensor cores, without sparsity, in operations a second.
    pub(crate) operations: f64,
    /// Bytes to and from memory a second.
    pub(crate) bytes: f64,
}

/// Words in a card's name, 10^12 operations and 10^9 bytes a second: NVIDIA's data sheets of the
/// A100 (2021), H100 (2023), H200 (2024) and L4 (2023), where figures with sparsity are halved. The
/// first that fits is taken.
const CARDS: [(&[&str], f64, f64); 10] = [
    (&["A100", "PCI", "80GB"], 312.0, 1935.0),
    (&["A100", "80GB"], 312.0, 2039.0),
    (&["A100"], 312.0, 1555.0),
    (&["H100", "NVL"], 835.5, 3900.0),
    (&["H100", "PCI"], 756.0, 2000.0),
    (&["H100"], 989.0, 3350.0),
    (&["H200", "NVL"], 835.5, 4800.0),
    (&["GH200"], 989.0, 4000.0),
    (&["H200"], 989.0, 4800.0),
    (&["L4"], 121.0, 300.0),
];

/// The rates of a card of this name, if they are known; a part of a card (MIG) has its own.
pub(crate) fn rates_of(name: &str) -> Option<Rates> {
    let words: Vec<&str> = name.split([' ', '-']).collect();
    let has = |part: &&str| words.iter().any(|word| word.starts_with(part));
    let is_l4 = |parts: &[&str]| parts != ["L4"] || words.contains(&"L4");
    if has(&"MIG") {
        return None;
    }
    let (_, operations, bytes) =
        CARDS.iter().find(|(parts, ..)| parts.iter().all(has) && is_l4(parts))?;
    Some(Rates { operations: operations * 1e12, bytes: bytes * 1e9 })
}

/// Operations of a pass over a batch, forward and backward; a multiplication and an addition are
/// two.
///
/// Counted are the products of a training with a frozen base, each once: 2 a weight and token
/// forward and 2 backward (but not for query, key and value of the lowest adapted layer, below which
/// no gradient goes); `4 n hidden` a token and layer for attention over `n` tokens forward, and
/// twice that backward; 2 a value of an adapter and token forward, and 4 backward. What is computed
/// a second time to save memory is not counted.
pub(crate) fn operations(
    config: &EncoderConfig,
    batch: &Packed,
    adapters: &[&Adapter],
) -> (f64, f64) {
    let (hidden, inner) = (config.hidden as f64, config.intermediate as f64);
    let (layers, tokens) = (config.layers as f64, batch.tokens().len() as f64);
    let layer = 4.0 * hidden * hidden + 2.0 * hidden * inner;
    let firsts = adapters.iter().filter_map(|adapter| adapter.layout.first_layer());
    let adapted = layers - firsts.min().unwrap_or(config.layers) as f64;
    let lengths = batch.offsets().windows(2).map(|ends| (ends[1] - ends[0]) as f64);
    let attention = 4.0 * hidden * lengths.map(|length| length * length).sum::<f64>();
    let segments = batch.segments().iter().filter_map(|segment| {
        let values = adapters[segment.adapter?].layout.len();
        Some(values as f64 * batch.rows(segment).len() as f64)
    });
    let low_rank: f64 = 2.0 * segments.sum::<f64>();
    let forward = layers * (2.0 * layer * tokens + attention) + low_rank;
    let ended = 2.0 * tokens * 3.0 * hidden * hidden;
    let backward = adapted * (2.0 * layer * tokens + 2.0 * attention) - ended + 2.0 * low_rank;
    (forward, backward)
}

/// Milliseconds that a card takes at least for so many operations and bytes.
pub(crate) fn floor_ms(rates: Rates, operations: f64, bytes: f64) -> f64 {
    (operations / rates.operations).max(bytes / rates.bytes) * 1000.0
}
