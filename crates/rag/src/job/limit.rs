//! What a run is refused for once its data is read, before anything that takes long.

use super::error::JobError;
use super::estimate::{self, Estimate, Part};
use super::prepare::Read;
use super::workshop::Workshop;
use crate::workspace::Workspace;

/// Parts that a message names.
const PARTS_NAMED: usize = 3;

/// Refuses a run in which nobody has anything to train on.
pub(super) fn check_examples(read: &[Read<'_>]) -> Result<(), JobError> {
    if read.iter().any(|tenant| !tenant.dataset.train.is_empty()) {
        return Ok(());
    }
    let names: Vec<&str> = read.iter().map(|tenant| tenant.config.name.as_str()).collect();
    Err(JobError::NothingToTrain { tenants: names.join(", ") })
}

/// Refuses a run that would need more memory than the workspace allows. Mined negatives are not
/// known yet; as many as the workspace asks for stand in for them.
pub(super) fn check_memory(
    workspace: &Workspace,
    workshop: &Workshop<'_>,
    read: &[Read<'_>],
) -> Result<(), JobError> {
    let Some(limit) = workspace.limits.memory_mib else { return Ok(()) };
    for tenant in read {
        workshop.wait_for_tokens(&tenant.dataset, &*tenant.texts)?;
    }
    let needed = estimate::of_read(&workspace.limits, workshop, read)?;
    if needed.peak_mib() <= limit.0 {
        return Ok(());
    }
    Err(refusal(limit.0, &needed))
}

fn refusal(limit_mib: u64, needed: &Estimate) -> JobError {
    let mut parts: Vec<&Part> = needed.parts.iter().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    let named = parts.iter().take(PARTS_NAMED);
    let named = named.map(|part| format!("{} ({} MiB)", part.name, part.bytes.div_ceil(1 << 20)));
    JobError::Memory {
        limit_mib,
        needed_mib: needed.peak_mib(),
        largest: named.collect::<Vec<_>>().join(", "),
        advice: parts.iter().find_map(|part| advice(&part.name)).unwrap_or("train fewer tenants"),
    }
}

/// What makes a part of the memory smaller; `None` where nothing that a user sets does.
fn advice(part: &str) -> Option<&'static str> {
    Some(match part {
        "base model" => "take a smaller base model, or precision = \"bf16\"",
        "texts" | "embeddings" => "lower passages_max, or give part of the data to another run",
        "adapters" | "optimizers" | "gradients" => "lower rank, or name fewer targets or layers",
        "activations kept" => "lower batch or document_tokens_max",
        "activations at work" => "lower threads or chunk_tokens",
        "batches" => "lower batch or negatives",
        "prefix cache" => "lower prefix_cache_mib",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[(&str, u64)], expected: &[&str]) {
        let part = |&(name, mib): &(&str, u64)| Part { name: name.to_owned(), bytes: mib << 20 };
        let needed = Estimate { parts: parts.iter().map(part).collect(), wall_s: None };
        let message = refusal(9, &needed).to_string();
        for expected in expected {
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_refusal_names_the_largest_parts_and_what_makes_them_smaller() {
        check(
            &[("process", 40), ("texts", 300), ("base model", 100), ("adapters", 1)],
            &[
                "limits.memory_mib = 9: this workspace needs about 441 MiB",
                "texts (300 MiB), base model (100 MiB), process (40 MiB)\n",
                "hint: lower passages_max",
            ],
        );
        check(&[("process", 40)], &["hint: train fewer tenants, or raise the limit"]);
        check(&[("process", 40), ("prefix cache", 30)], &["hint: lower prefix_cache_mib"]);
    }
}
