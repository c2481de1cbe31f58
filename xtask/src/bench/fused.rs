//! What fusing, the prefix cache and GradCache cost and save: our trainer against itself, and against
//! a process of torch for each tenant.

use std::ffi::OsString;
use std::fmt::Write as _;

use serde_json::Value;

use crate::command;
use crate::project::Project;

/// A way to run the trainer, and what it is held against.
struct Scenario {
    words: &'static str,
    ours: &'static [&'static str],
    against: Against,
    figure: Figure,
    promise: &'static str,
}

/// The other side of a comparison.
enum Against {
    /// Our trainer, run in another way.
    Ourselves(&'static [&'static str]),
    /// torch and peft on padded batches, one tenant.
    Torch,
}

/// What of the two runs is compared.
enum Figure {
    /// Pairs per CPU second, ours by theirs.
    Speed,
    /// Pairs per CPU second of the last epoch, ours by theirs.
    LastEpochSpeed,
    /// Processor time for the same pairs, ours by theirs.
    Cost,
    /// Peak memory, ours by theirs.
    Memory,
    /// Peak memory of eight processes of theirs by one of ours; what processes share counts once.
    MemoryOfEight,
}

/// The words that run each side, the program first.
pub(super) struct Commands {
    /// Our trainer.
    pub(super) ours: Vec<OsString>,
    /// torch and peft on padded batches.
    pub(super) torch: Vec<OsString>,
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        words: "eight tenants fused against one, pairs per CPU second",
        ours: &["--tenants", "8"],
        against: Against::Ourselves(&[]),
        figure: Figure::Speed,
        promise: "at least 0.98",
    },
    Scenario {
        words: "eight tenants fused against one, peak memory",
        ours: &["--tenants", "8"],
        against: Against::Ourselves(&[]),
        figure: Figure::Memory,
        promise: "at most 1.3",
    },
    Scenario {
        words: "eight processes of torch padded, one tenant each, against eight fused, peak memory",
        ours: &["--tenants", "8"],
        against: Against::Torch,
        figure: Figure::MemoryOfEight,
        promise: "at least 10",
    },
    Scenario {
        words: "eight processes of ours, one tenant each, against eight fused, peak memory",
        ours: &["--tenants", "8"],
        against: Against::Ourselves(&[]),
        figure: Figure::MemoryOfEight,
        promise: "below 8 by what eight tenants take more than one",
    },
    Scenario {
        words: "top 2 layers against all, second epoch, pairs per CPU second",
        ours: &["--top-layers", "2", "--epochs", "2"],
        against: Against::Ourselves(&["--epochs", "2"]),
        figure: Figure::LastEpochSpeed,
        promise: "at least 2",
    },
    Scenario {
        words: "batch of 128 pairs in 320 MiB of tapes against enough for all, CPU seconds a pair",
        ours: &["--batch", "128", "--warmup", "0"],
        against: Against::Ourselves(&["--batch", "128", "--warmup", "0", "--tape-mib", "8192"]),
        figure: Figure::Cost,
        promise: "at most 1.25",
    },
];

/// Runs each scenario and what it is held against in turn, and prints median ratios.
pub(super) fn report(
    project: &Project,
    commands: &Commands,
    precision: &str,
    rounds: usize,
) -> Result<String, String> {
    let mut text = format!("\nMany tenants, {precision}, 1 thread\n\n");
    for scenario in &SCENARIOS {
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let one = sample(project, &commands.ours, scenario.ours)?;
            let other = match scenario.against {
                Against::Ourselves(more) => sample(project, &commands.ours, more)?,
                Against::Torch => sample(project, &commands.torch, &[])?,
            };
            ratios.push(scenario.figure.ratio(&one, &other)?);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        writeln!(text, "- {}: {median:.2} (promised: {})", scenario.words, scenario.promise)
            .expect("a string takes any text");
    }
    Ok(text)
}

fn sample(project: &Project, words: &[OsString], more: &[&str]) -> Result<Value, String> {
    let mut command = project.program(&words[0]);
    command.args(&words[1..]).args(more);
    let output = command::capture(&mut command)?;
    let line = output.lines().last().ok_or("the trainer printed nothing")?;
    serde_json::from_str(line).map_err(|error| format!("'{line}' is no JSON: {error}"))
}

impl Figure {
    fn ratio(&self, ours: &Value, theirs: &Value) -> Result<f64, String> {
        let of = |sample: &Value, key: &str| {
            sample[key].as_f64().ok_or_else(|| format!("the trainer did not say '{key}'"))
        };
        let by = |key: &str| Ok::<_, String>(of(ours, key)? / of(theirs, key)?);
        let last = |sample: &Value| {
            let epochs = sample["epochs_pairs_per_cpu_s"].as_array().cloned().unwrap_or_default();
            epochs.last().and_then(Value::as_f64).ok_or("the trainer did not say its epochs")
        };
        Ok(match self {
            Figure::Speed => by("pairs_per_cpu_s")?,
            Figure::LastEpochSpeed => last(ours)? / last(theirs)?,
            Figure::Cost => 1.0 / by("pairs_per_cpu_s")?,
            Figure::Memory => by("peak_rss_mib")?,
            Figure::MemoryOfEight => {
                let shared = of(theirs, "shared_mib")?;
                let own = of(theirs, "peak_rss_mib")? - shared;
                (8.0 * own + shared) / of(ours, "peak_rss_mib")?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ratios_put_ours_over_theirs() {
        let ours = json!({
            "pairs_per_cpu_s": 30.0, "peak_rss_mib": 200, "epochs_pairs_per_cpu_s": [10.0, 40.0]
        });
        let theirs = json!({
            "pairs_per_cpu_s": 20.0, "peak_rss_mib": 100, "shared_mib": 20, "epochs_pairs_per_cpu_s": [10.0, 20.0]
        });
        for (figure, expected) in [
            (Figure::Speed, 1.5),
            (Figure::LastEpochSpeed, 2.0),
            (Figure::Cost, 20.0 / 30.0),
            (Figure::Memory, 2.0),
            (Figure::MemoryOfEight, 3.3),
        ] {
            assert_eq!(figure.ratio(&ours, &theirs), Ok(expected));
        }
        assert!(Figure::Speed.ratio(&json!({}), &theirs).is_err());
    }
}
