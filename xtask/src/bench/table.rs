//! Samples as tables of Markdown, and the promises that they keep or break.
//!
//! A ratio is the median of the ratios of single rounds, since what else the machine does slows
//! neighbours in time alike.

use std::fmt::Write as _;

use crate::bench::contender::{Precision, Sample, System};

/// All runs of one system at one number of threads; `None` where a run failed or was left out.
pub(super) struct Runs {
    pub(super) system: System,
    pub(super) rounds: Vec<Option<Sample>>,
}

/// A number of a sample.
type Column = fn(&Sample) -> f64;

/// How one system must stand to another.
struct Promise {
    words: &'static str,
    ours: System,
    /// The best of these counts.
    theirs: &'static [System],
    column: Column,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const PER_CPU_SECOND: Column = |sample| sample.pairs_per_cpu_s;
const MEMORY: Column = |sample| sample.peak_rss_mib;

const PADDED: System = System::Padded(Precision::F32);

const PROMISES: [Promise; 5] = [
    Promise {
        words: "f32 against torch padded f32, pairs per CPU second",
        ours: System::Cotenant(Precision::F32),
        theirs: &[PADDED],
        column: PER_CPU_SECOND,
        bound: Bound::AtLeast(2.0),
    },
    Promise {
        words: "f32 against torch bucketed f32, pairs per CPU second",
        ours: System::Cotenant(Precision::F32),
        theirs: &[System::Bucketed(Precision::F32)],
        column: PER_CPU_SECOND,
        bound: Bound::AtLeast(1.2),
    },
    Promise {
        words: "bf16 against torch padded f32, pairs per CPU second",
        ours: System::Cotenant(Precision::Bf16),
        theirs: &[PADDED],
        column: PER_CPU_SECOND,
        bound: Bound::AtLeast(4.0),
    },
    Promise {
        words: "bf16 against the best torch bucketed, pairs per CPU second",
        ours: System::Cotenant(Precision::Bf16),
        theirs: &[System::Bucketed(Precision::F32), System::Bucketed(Precision::Bf16)],
        column: PER_CPU_SECOND,
        bound: Bound::AtLeast(2.5),
    },
    Promise {
        words: "f32 against torch padded f32, peak memory",
        ours: System::Cotenant(Precision::F32),
        theirs: &[PADDED],
        column: MEMORY,
        bound: Bound::AtMost(0.25),
    },
];

/// The table and the promises of one number of threads.
pub(super) fn report(threads: usize, all: &[Runs]) -> String {
    let mut text = format!(
        "\nThreads: {threads}\n\n\
        | contender | pairs/s | pairs per CPU s, median (lowest to highest) | x torch padded f32 \
        | peak MiB | first loss |\n| --- | --- | --- | --- | --- | --- |\n"
    );
    for runs in all {
        let row = row(runs, find(all, PADDED)).unwrap_or_else(|| "- | - | - | - | -".to_owned());
        writeln!(text, "| {} | {row} |", runs.system).expect("a string takes any text");
    }
    text.push('\n');
    for promise in &PROMISES {
        writeln!(text, "- {}: {}", promise.words, kept(promise, all))
            .expect("a string takes any text");
    }
    text
}

fn row(runs: &Runs, baseline: Option<&Runs>) -> Option<String> {
    let column = |column: Column| runs.rounds.iter().flatten().map(column).collect::<Vec<_>>();
    let per_cpu_second = column(PER_CPU_SECOND);
    let low = per_cpu_second.iter().copied().min_by(f64::total_cmp)?;
    let high = per_cpu_second.iter().copied().max_by(f64::total_cmp)?;
    let ratio = baseline.and_then(|baseline| ratio(runs, baseline, PER_CPU_SECOND));
    Some(format!(
        "{:.1} | {:.1} ({low:.1} to {high:.1}) | {} | {:.0} | {:.4}",
        median(column(|sample| sample.pairs_per_s))?,
        median(per_cpu_second)?,
        ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        median(column(MEMORY))?,
        median(column(|sample| sample.loss_first))?,
    ))
}

fn kept(promise: &Promise, all: &[Runs]) -> String {
    let ratios = promise
        .theirs
        .iter()
        .filter_map(|theirs| ratio(find(all, promise.ours)?, find(all, *theirs)?, promise.column));
    // The smallest lead is the one over the best of them.
    let Some(ratio) = ratios.min_by(f64::total_cmp) else { return "not measured".to_owned() };
    let (is_kept, wanted) = match promise.bound {
        Bound::AtLeast(bound) => (ratio >= bound, format!("at least {bound}")),
        Bound::AtMost(bound) => (ratio <= bound, format!("at most {bound}")),
    };
    let verdict = if is_kept { "kept" } else { "not kept" };
    format!("{ratio:.2}, promised {wanted}: {verdict}")
}

fn find(all: &[Runs], system: System) -> Option<&Runs> {
    all.iter().find(|runs| runs.system == system)
}

/// The median over the rounds in which both ran.
fn ratio(ours: &Runs, theirs: &Runs, column: Column) -> Option<f64> {
    let rounds = ours.rounds.iter().zip(&theirs.rounds);
    median(
        rounds
            .filter_map(|(ours, theirs)| Some(column(ours.as_ref()?) / column(theirs.as_ref()?)))
            .collect(),
    )
}

/// The middle of the values, or the mean of the two in the middle; `None` of none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pairs_per_cpu_s: f64, peak_rss_mib: f64) -> Option<Sample> {
        let pairs_per_s = 2.0 * pairs_per_cpu_s;
        Some(Sample { pairs_per_s, pairs_per_cpu_s, peak_rss_mib, loss_first: 0.5 })
    }

    #[test]
    fn medians_are_middles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn ratios_are_of_rounds_and_promises_are_weighed() {
        // The second round ran on a machine half as fast, the third lacks the baseline.
        let runs = [
            Runs { system: PADDED, rounds: vec![sample(10.0, 1000.0), sample(5.0, 1000.0), None] },
            Runs {
                system: System::Cotenant(Precision::F32),
                rounds: vec![sample(25.0, 200.0), sample(12.5, 200.0), sample(99.0, 200.0)],
            },
            Runs { system: System::Bucketed(Precision::Bf16), rounds: vec![None, None, None] },
        ];
        let report = report(1, &runs);
        let lines: Vec<&str> = report.lines().collect();
        assert!(
            lines.contains(
                &"| torch padded f32 | 15.0 | 7.5 (5.0 to 10.0) | 1.00 | 1000 | 0.5000 |"
            )
        );
        assert!(
            lines.contains(&"| cotenant f32 | 50.0 | 25.0 (12.5 to 99.0) | 2.50 | 200 | 0.5000 |")
        );
        assert!(lines.contains(&"| torch bucketed bf16 | - | - | - | - | - |"), "{report}");
        assert!(report.contains("peak memory: 0.20, promised at most 0.25: kept"), "{report}");
        assert!(
            report.contains("padded f32, pairs per CPU second: 2.50, promised at least 2: kept")
        );
        assert!(report.contains("bucketed f32, pairs per CPU second: not measured"), "{report}");
    }

    #[test]
    fn the_best_of_several_counts() {
        let runs = [
            Runs { system: System::Cotenant(Precision::Bf16), rounds: vec![sample(20.0, 1.0)] },
            Runs { system: System::Bucketed(Precision::F32), rounds: vec![sample(5.0, 1.0)] },
            Runs { system: System::Bucketed(Precision::Bf16), rounds: vec![sample(10.0, 1.0)] },
        ];
        let report = report(2, &runs);
        assert!(report.contains(
            "best torch bucketed, pairs per CPU second: 2.00, promised at least 2.5: not kept"
        ));
    }
}
