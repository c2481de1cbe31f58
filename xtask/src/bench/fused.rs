//! What fusing, the prefix cache and GradCache cost and save: our trainer against itself.

use std::ffi::OsString;
use std::fmt::Write as _;

use serde_json::Value;

use crate::command;
use crate::project::Project;

/// A way to run the trainer, and the one it is held against.
struct Scenario {
    words: &'static str,
    ours: &'static [&'static str],
    against: &'static [&'static str],
    figure: Figure,
    promise: &'static str,
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
    /// Peak memory of eight of theirs by one of ours.
    MemoryOfEight,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        words: "eight tenants fused against one, pairs per CPU second",
        ours: &["--tenants", "8"],
        against: &[],
        figure: Figure::Speed,
        promise: "at least 0.98",
    },
    Scenario {
        words: "eight tenants fused against one, peak memory",
        ours: &["--tenants", "8"],
        against: &[],
        figure: Figure::Memory,
        promise: "at most 1.3",
    },
    Scenario {
        words: "eight processes of one tenant against eight fused, peak memory",
        ours: &["--tenants", "8"],
        against: &[],
        figure: Figure::MemoryOfEight,
        promise: "at least 10",
    },
    Scenario {
        words: "top 2 layers against all, second epoch, pairs per CPU second",
        ours: &["--top-layers", "2", "--epochs", "2"],
        against: &["--epochs", "2"],
        figure: Figure::LastEpochSpeed,
        promise: "at least 2",
    },
    Scenario {
        words: "batch of 128 pairs in 320 MiB of tapes against enough for all, CPU seconds a pair",
        ours: &["--batch", "128", "--warmup", "0"],
        against: &["--batch", "128", "--warmup", "0", "--tape-mib", "8192"],
        figure: Figure::Cost,
        promise: "at most 1.25",
    },
];

/// Runs each scenario and what it is held against in turn, and prints median ratios.
pub(super) fn report(
    project: &Project,
    ours: &[OsString],
    precision: &str,
    rounds: usize,
) -> Result<String, String> {
    let mut text = format!("\nThe trainer against itself, {precision}, 1 thread\n\n");
    for scenario in &SCENARIOS {
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let one = sample(project, ours, scenario.ours)?;
            let other = sample(project, ours, scenario.against)?;
            ratios.push(scenario.figure.ratio(&one, &other)?);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        writeln!(text, "- {}: {median:.2} (promised: {})", scenario.words, scenario.promise)
            .expect("a string takes any text");
    }
    Ok(text)
}

fn sample(project: &Project, ours: &[OsString], more: &[&str]) -> Result<Value, String> {
    let mut command = project.program(&ours[0]);
    command.args(&ours[1..]).args(more);
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
            Figure::MemoryOfEight => 8.0 / by("peak_rss_mib")?,
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
            "pairs_per_cpu_s": 20.0, "peak_rss_mib": 100, "epochs_pairs_per_cpu_s": [10.0, 20.0]
        });
        for (figure, expected) in [
            (Figure::Speed, 1.5),
            (Figure::LastEpochSpeed, 2.0),
            (Figure::Cost, 20.0 / 30.0),
            (Figure::Memory, 2.0),
            (Figure::MemoryOfEight, 4.0),
        ] {
            assert_eq!(figure.ratio(&ours, &theirs), Ok(expected));
        }
        assert!(Figure::Speed.ratio(&json!({}), &theirs).is_err());
    }
}
