//! Adapters after many steps, against the processor's in f32.

use cotenant_train::TenantSpec;
use cotenant_transformer::{Cpu, Precision};

use super::super::place::{Place, Stage, processor_limits};
use super::super::report::{Bar, Figure, Rows};
use super::super::scene::{self, Amount, ragged_tenant};
use super::super::work::{Ended, PRECISIONS, train};

/// The least cosine between the changes of two adapters, and the most that a loss may be off as a
/// part of the first loss. AdamW makes steps of one size of slopes of any, so that a slope near zero
/// that is rounded to the other side goes the other way.
const BARS: [(&str, f64, f64); 2] = [("f32", 0.999, 0.01), ("bf16", 0.95, 0.05)];

const SEED: u64 = 15;
/// So high that losses fall far in so few steps.
const LEARNING_RATE: f32 = 4e-3;
const TENANTS: u64 = 3;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let amount = stage.pick(
        Amount { pairs: 320, batch: 16, steps: 100 },
        Amount { pairs: 80, batch: 8, steps: 25 },
    );
    let config = scene::small();
    let tenant = |number: u64, seed: u64| {
        let mut tenant = ragged_tenant(number, config.vocab, amount, seed);
        tenant.settings.learning_rate = LEARNING_RATE;
        tenant
    };
    let tenants = |seed: u64| -> Vec<TenantSpec> {
        (0..TENANTS).map(|number| tenant(number, seed)).collect()
    };
    let device = Cpu::new(Precision::F32).map_err(|error| error.to_string())?;
    let processor = scene::encoder(device, config.clone(), SEED);
    let expected = train(&processor, &processor_limits(), &tenants(SEED))?;
    for (name, ended) in &expected {
        let (first, last) = ends(&ended.losses);
        rows.add(Figure {
            what: &format!("{name} learns, on the processor"),
            value: last / first,
            unit: "of the first losses",
            bar: Bar::AtMost(0.9),
            detail: format!("{first:.3} to {last:.3}, {} steps", amount.steps),
        });
    }
    for ((precision, format), (_, cosine, loss)) in PRECISIONS.into_iter().zip(BARS) {
        let opened = match stage.open(precision, (config.clone(), SEED)) {
            Ok(opened) => opened,
            Err(fault) => {
                rows.cannot(format, &stage.missing(fault)?);
                continue;
            }
        };
        let tenants = tenants(SEED + stage.spoilt());
        let found = train(&opened.encoder, &opened.limits, &tenants)?;
        for (name, expected) in &expected {
            compare(rows, &format!("{format}: {name}"), (&found[name], expected, cosine, loss));
        }
    }
    Ok(())
}

fn compare(rows: &mut Rows, who: &str, held: (&Ended, &Ended, f64, f64)) {
    let (found, expected, cosine_min, loss_max) = held;
    rows.add(Figure {
        what: &format!("{who} changes as on the processor in f32"),
        value: cosine(&change(found), &change(expected)),
        unit: "cosine",
        bar: Bar::AtLeast(cosine_min),
        detail: format!("{} values, {} steps", expected.adapter.len(), expected.losses.len()),
    });
    let first = f64::from(expected.losses[0]);
    let off = found.losses.iter().zip(&expected.losses).map(|(a, b)| f64::from((a - b).abs()));
    rows.add(Figure {
        what: &format!("{who} has the losses of the processor in f32"),
        value: off.fold(0.0, f64::max) / first,
        unit: "of the first loss",
        bar: Bar::AtMost(loss_max),
        detail: format!("first {first:.4}, last {:.4}", ends(&expected.losses).1),
    });
}

/// The mean of the first and of the last fifth of losses.
fn ends(losses: &[f32]) -> (f64, f64) {
    let count = (losses.len() / 5).max(1);
    let mean = |part: &[f32]| part.iter().map(|loss| f64::from(*loss)).sum::<f64>() / count as f64;
    (mean(&losses[..count]), mean(&losses[losses.len() - count..]))
}

/// What training has added to an adapter.
fn change(ended: &Ended) -> Vec<f64> {
    let pairs = ended.adapter.iter().zip(&ended.initial);
    pairs.map(|(after, before)| f64::from(*after) - f64::from(*before)).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
