//! Passes that are asked for at once, as CUDA graphs: the same bits, and how much faster they are.

use std::time::Duration;

use cotenant_transformer::Precision;

use super::super::place::{Place, Stage};
use super::super::report::{Bar, Figure, Rows, short};
use super::super::scene::{self, Amount, ragged_tenant};
use super::super::work::{PRECISIONS, train, train_for};
use super::speed::{self, start};

const SEED: u64 = 18;
/// Few and many kernels' worth of tokens in a round.
const TENANTS: [u64; 2] = [1, 8];

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let config = scene::small();
    let amount = Amount { pairs: 24, batch: 4, steps: 20 };
    let tenants: Vec<_> =
        (0..3).map(|number| ragged_tenant(number, config.vocab, amount, SEED)).collect();
    for (precision, format) in PRECISIONS {
        let with = stage.open_changed(P::with_graphs, precision, (config.clone(), SEED));
        let Some(with) = with.map_err(|fault| fault.to_string())? else {
            rows.cannot("graphs", "the processor has none");
            return Ok(());
        };
        let without = stage.open(precision, (config.clone(), SEED));
        let without = without.map_err(|fault| fault.to_string())?;
        let ended = train(&with.encoder, &with.limits, &tenants)?;
        let expected = train(&without.encoder, &without.limits, &tenants)?;
        let is_same = expected.iter().all(|(name, expected)| {
            ended.get(name).is_some_and(|found| {
                found.adapter == expected.adapter && found.losses == expected.losses
            })
        });
        let truth = if is_same { Ok(()) } else { Err("adapters or losses differ".to_owned()) };
        rows.claim(&format!("{format}, graphs change no bit of three tenants in 20 steps"), truth);
    }
    faster(stage, rows)
}

/// Trains with graphs and without, in turn.
fn faster<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let model = (stage.shape(), speed::SEED);
    let without = stage.open(Precision::Bf16, model.clone()).map_err(|fault| fault.to_string())?;
    let with = stage
        .open_changed(P::with_graphs, Precision::Bf16, model)
        .map_err(|fault| fault.to_string())?;
    let Some(with) = with else { return Ok(()) };
    let span = Duration::from_millis(stage.pick(3_000, 100));
    for tenants in TENANTS {
        let mut runs = [start(stage, &without, tenants)?, start(stage, &with, tenants)?];
        let mut rates = [0.0, 0.0];
        for _ in 0..3 {
            for (run, rate) in runs.iter_mut().zip(&mut rates) {
                *rate += train_for(run, span)?.rate(|now| now.pairs) / 3.0;
            }
        }
        let [without, with] = rates;
        let what = format!("bf16, {tenants} tenants, graphs over none");
        let detail = format!("{} and {} pairs/s", short(with), short(without));
        let (value, unit) = (with / without, "times");
        rows.add(Figure { what: &what, value, unit, bar: Bar::Measured, detail });
    }
    Ok(())
}
