//! What a job holds of a card, and what a tenant may have, in words.

use cotenant_api::{AmountView, SliceView};

use crate::words::{memory, percent};

/// A slice's share: `whole card`, or `30%, 6GiB to 8GiB`.
pub(super) fn share(slice: &SliceView) -> String {
    if slice.whole {
        return "whole card".to_owned();
    }
    let span = |kept: String, most: String| match kept == most {
        true => kept,
        false => format!("{kept} to {most}"),
    };
    let compute = span(percent(slice.compute_per_mille), percent(slice.compute_limit_per_mille));
    let memory = span(memory(slice.memory_mib), memory(slice.memory_limit_mib));
    match &slice.mig {
        Some(partition) => format!("{compute}, {memory}, {partition}"),
        None => format!("{compute}, {memory}"),
    }
}

/// Compute and memory of cards: `250% 40GiB`; an amount without end is a dash.
pub(super) fn amount(amount: &AmountView) -> String {
    let AmountView { compute_milli, memory_mib } = *amount;
    let or_dash =
        |number: u64, text: String| if number == u64::MAX { "–".to_owned() } else { text };
    let compute = or_dash(compute_milli, percent(compute_milli));
    format!("{compute} {}", or_dash(memory_mib, memory(memory_mib)))
}
