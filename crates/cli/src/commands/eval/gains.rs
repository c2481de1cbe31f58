//! Means and gains as tables.

use cotenant_rag::measures::{Gain, Mean};

use crate::table::{chance, score, table};

/// Rows of means below the names of their files or runs.
pub(super) fn means_table(kind: &str, named: &[(String, &[Mean])]) -> String {
    let header = [kind, "metric", "mean", "95 % from", "to"];
    let rows = named.iter().flat_map(|(name, means)| {
        means.iter().map(move |mean| {
            let numbers = [mean.mean, mean.low, mean.high].map(|value| score(Some(value)));
            [vec![name.clone(), mean.metric.clone()], numbers.to_vec()].concat()
        })
    });
    table(&header, &rows.collect::<Vec<_>>())
}

/// Rows of what the second gains over the first.
pub(super) fn gains_table(gains: &[Gain]) -> String {
    let header = [
        "second less first",
        "difference",
        "95 % from",
        "to",
        "p (randomisation)",
        "p (t-test)",
        "effect",
    ];
    let row = |gain: &Gain| {
        let signed = |value: f64| format!("{value:+.4}");
        vec![
            gain.metric.clone(),
            signed(gain.difference),
            signed(gain.low),
            signed(gain.high),
            chance(Some(gain.randomisation_p)),
            chance(gain.student_p),
            gain.effect.map_or_else(|| score(None), signed),
        ]
    };
    table(&header, &gains.iter().map(row).collect::<Vec<_>>())
}
