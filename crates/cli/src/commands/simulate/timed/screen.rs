//! What replays in time found, as a table and as JSON.

use cotenant_sched::replay::timed::Stream;
use serde_json::{Value, json};

use super::way::{Outcome, Way};
use crate::args::simulate::SimulateArgs;
use crate::table::table;

/// One object for programs.
pub(super) fn json(stream: &Stream, ways: &[Way]) -> Value {
    let seed = |Outcome { seed, findings, fewest_cards }: &Outcome| {
        json!({
            "seed": seed,
            "jobs": findings.waits.jobs,
            "wait_mean_ms": findings.waits.mean_ms,
            "wait_percentiles_s": findings.waits.percentiles_s,
            "slowdown_milli": findings.slowdown_milli,
            "use_ten_thousandths": findings.use_ten_thousandths,
            "use_curve_ten_thousandths": findings.use_curve,
            "queue_peak": findings.queue_peak,
            "unplaceable": findings.unplaceable,
            "moves": findings.moves,
            "lost_card_s": findings.lost_card_s,
            "fewest_cards": fewest_cards,
        })
    };
    let way = |way: &Way| {
        let against = ways.first().and_then(|first| way.against(first)).map(|against| {
            json!({
                "difference_s": against.comparison.difference,
                "low_s": against.comparison.low,
                "high_s": against.comparison.high,
                "p_value": against.comparison.p_value,
                "seeds_less": against.seeds_less,
            })
        });
        json!({
            "policy": way.policy.as_str(),
            "beyond": way.beyond.to_string(),
            "wait_against_first": against,
            "seeds": way.seeds.iter().map(seed).collect::<Vec<_>>(),
        })
    };
    json!({
        "never_scheduled": stream.never_scheduled(),
        "without_times": stream.without_times(),
        "ways": ways.iter().map(way).collect::<Vec<_>>(),
    })
}

/// A table for people.
pub(super) fn text(arguments: &SimulateArgs, ways: &[Way]) -> String {
    let mut header = vec![
        "policy",
        "beyond",
        "wait s",
        "against first",
        "median",
        "p95",
        "p99",
        "slowdown",
        "use %",
        "queue",
        "unplaceable",
        "moves",
        "lost card-s",
    ];
    header.extend(arguments.wait_s.map(|_| "fewest cards"));
    let rows: Vec<Vec<String>> = ways.iter().map(|way| row(arguments, way, &ways[0])).collect();
    table(&header, &rows)
}

fn row(arguments: &SimulateArgs, way: &Way, first: &Way) -> Vec<String> {
    let percentile = |at| format!("{:.1}", way.mean(|it| it.waits.percentile_s(at)));
    let mut row = vec![
        way.policy.as_str().to_owned(),
        way.beyond.to_string(),
        format!("{:.1}", way.wait_s()),
        against(way, first),
        percentile(50),
        percentile(95),
        percentile(99),
        format!("{:.2}", way.mean(|it| it.slowdown_milli) / 1000.0),
        format!("{:.2}", way.mean(|it| it.use_ten_thousandths) / 100.0),
        format!("{:.1}", way.mean(|it| it.queue_peak)),
        format!("{:.1}", way.mean(|it| it.unplaceable)),
        format!("{:.1}", way.mean(|it| it.moves)),
        format!("{:.0}", way.mean(|it| it.lost_card_s)),
    ];
    if arguments.wait_s.is_some() {
        let cards = way.fewest_cards();
        row.push(cards.map_or("none".to_owned(), |cards| format!("{cards:.1}")));
    }
    row
}

/// How a way waits against the first: in per cent, and in how many seeds it waits less.
pub(super) fn against(way: &Way, first: &Way) -> String {
    let is_first = (way.policy, way.beyond) == (first.policy, first.beyond);
    match way.against(first).filter(|it| !is_first && it.comparison.before > 0.0) {
        None => "-".to_owned(),
        Some(against) => {
            let percent = against.comparison.difference / against.comparison.before * 100.0;
            format!("{percent:+.1} %, less in {} of {}", against.seeds_less, way.seeds.len())
        }
    }
}
