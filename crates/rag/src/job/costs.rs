//! What a run cost, by phases, and what the same tenants would have cost apart.

use super::estimate::Estimate;
use super::finish::Trained;
use super::results::RunResults;
use crate::report::{Apart, Cost, Part, Phase, Separate};

/// The run's phases, and the memory that was foretold.
pub(super) fn cost(results: &RunResults, trained: &Trained, load_s: f64) -> Cost {
    let counters = &trained.counters;
    let training = [
        ("planning", counters.planning),
        ("forward", counters.forward),
        ("loss", counters.loss),
        ("backward", counters.backward),
        ("optimizer", counters.optimizer),
    ];
    let mut phases = vec![Phase { name: "loading the base model".into(), seconds: load_s }];
    let training =
        training.map(|(name, time)| Phase { name: name.into(), seconds: time.as_secs_f64() });
    let busy: f64 = training.iter().map(|phase| phase.seconds).sum();
    phases.extend(training);
    let dev = (trained.wall_s - busy).max(0.0);
    phases.push(Phase { name: "judging on dev queries".into(), seconds: dev });
    let around = (results.wall_s - load_s - trained.wall_s).max(0.0);
    phases.push(Phase { name: "reading, embedding, mining, saving".into(), seconds: around });
    let parts = trained.predicted.parts.iter();
    Cost {
        wall_s: results.wall_s,
        cpu_s: results.cpu_s,
        peak_rss_mib: results.peak_rss_mib as f64,
        tokens: results.tokens,
        pairs_per_s: results.pairs_per_s,
        data_stall_pct: results.data_stall_pct,
        phases,
        memory: parts
            .map(|part| Part {
                name: part.name.clone(),
                mib: part.bytes as f64 / f64::from(1 << 20),
            })
            .collect(),
        predicted_peak_mib: trained.predicted.peak_mib() as f64,
    }
}

/// How long a run took that trained tenants together.
pub(super) struct Together {
    /// Those that were trained.
    pub tenants: usize,
    /// Seconds of the run, but for tenants that were not trained.
    pub wall_s: f64,
    /// Seconds of loading the base model, a part of them.
    pub load_s: f64,
}

/// What as many processes of one tenant each would have cost. Each would hold the base model, its
/// activations and the process itself again, so memory is where they differ. The arithmetic is the
/// same, so their time is that of this run, in which all tenants' own work took its turn, and
/// loading the base model once more for every process but one.
pub(super) fn apart(predicted: &Estimate, time: Together) -> Apart {
    let Together { tenants, wall_s, load_s } = time;
    let mib = |name: &str| {
        let parts = predicted.parts.iter().filter(|part| part.name == name);
        parts.map(|part| part.bytes as f64 / f64::from(1 << 20)).sum::<f64>()
    };
    let own: f64 = ["texts", "adapters", "optimizers"].iter().map(|name| mib(name)).sum();
    let shared = predicted.peak_mib() as f64 - own;
    let each = shared + own / tenants.max(1) as f64;
    let estimated = Separate {
        wall_s: wall_s + load_s * tenants.saturating_sub(1) as f64,
        peak_rss_mib_each: vec![each; tenants],
        peak_rss_mib_together: each * tenants as f64,
        tenants,
    };
    Apart { estimated, measured: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_apart_load_the_base_once_each() {
        let check = |tenants: usize, expected: f64| {
            let time = Together { tenants, wall_s: 100.0, load_s: 2.0 };
            let estimated = apart(&Estimate::default(), time).estimated;
            assert_eq!((estimated.wall_s, estimated.tenants), (expected, tenants));
        };
        check(1, 100.0);
        check(3, 104.0);
    }
}
