//! Gradients against differences of a loss between two adapters that are close to each other.

use cotenant_transformer::{Backend, Encoder, Precision, TapeMode};

use super::super::place::{Place, Stage};
use super::super::report::{Bar, Figure, Rows};
use super::super::work::{Batch, Buffers, embed, pass};
use super::same::{ragged_batch, slopes};

/// How far an adapter's value goes either way: far enough that the rounding of embeddings is little
/// beside what changes, near enough that the loss is almost straight.
const STEP: f32 = 0.01;
/// What may differ, as a part of the tenant's largest slope.
const TOLERANCE: f64 = 0.01;
/// Values of each tenant: those of the largest slopes, which stand out of the rounding most.
const VALUES: usize = 4;
const SEED: u64 = 12;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let config = stage.shape();
    let open = |seed| stage.open(Precision::F32, (config.clone(), seed));
    let (subject, other) = match (open(SEED), open(SEED + stage.spoilt())) {
        (Ok(subject), Ok(other)) => (subject.encoder, other.encoder),
        (Err(fault), _) | (_, Err(fault)) => {
            rows.cannot("f32", &stage.missing(fault)?);
            return Ok(());
        }
    };
    let mut batch = ragged_batch(&config, 2)?;
    let slopes = slopes(&batch.packed, config.hidden);
    let mut buffers = Buffers::default();
    let gradients = pass(&other, (&batch, &slopes), (TapeMode::Full, &mut buffers))?.gradients;
    for (tenant, gradient) in gradients.iter().enumerate() {
        let mut places: Vec<usize> = (0..gradient.len()).collect();
        places.sort_by(|&a, &b| gradient[b].abs().total_cmp(&gradient[a].abs()));
        let largest = f64::from(gradient[places[0]].abs());
        let mut worst = 0.0_f64;
        for &place in &places[..VALUES] {
            let found = difference(&subject, (&mut batch, &slopes), (tenant, place))?;
            worst = worst.max((found - f64::from(gradient[place])).abs() / largest);
        }
        rows.add(Figure {
            what: &format!("f32: gradients of tenant {tenant} are those of differences"),
            value: worst,
            unit: "of the largest slope",
            bar: Bar::AtMost(TOLERANCE),
            detail: format!("{VALUES} values, {STEP} either way, largest slope {largest:.3}"),
        });
    }
    Ok(())
}

/// How steep the loss `slopes · embeddings` is by one value of one adapter.
fn difference<B: Backend>(
    encoder: &Encoder<B>,
    (batch, slopes): (&mut Batch, &[f32]),
    (tenant, place): (usize, usize),
) -> Result<f64, String> {
    let before = batch.adapters[tenant].values[place];
    let ends = [before + STEP, before - STEP];
    let mut losses = [0.0_f64; 2];
    for (loss, end) in losses.iter_mut().zip(ends) {
        batch.adapters[tenant].values[place] = end;
        let embeddings = embed(encoder, batch)?;
        let products = embeddings.iter().zip(slopes).map(|(a, b)| f64::from(*a) * f64::from(*b));
        *loss = products.sum();
    }
    batch.adapters[tenant].values[place] = before;
    Ok((losses[0] - losses[1]) / f64::from(ends[0] - ends[1]))
}
