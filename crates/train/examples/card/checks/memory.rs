//! A round that is larger than the card's memory goes on with fewer tokens at a time.

use cotenant_train::{Limits, TenantSpec};
use cotenant_transformer::{Backend, Precision};

use super::super::place::{Opened, Place, Stage};
use super::super::report::{Bar, Figure, Rows};
use super::super::scene::{self, Amount, ragged_tenant};
use super::super::work::{Run, train};
use super::alone::same;

const SEED: u64 = 14;
/// Bytes of the card that are left to the training.
const LEFT_BYTES: u64 = 768 << 20;
/// Numbers of one buffer that is in the way.
const BALLAST_NUMBERS: usize = 64 << 20;
/// Bytes of tapes that are asked for: more than is left, so that all would be kept.
const TAPE_BYTES: usize = 64 << 30;
/// Tokens of a chunk that are asked for: more than both tenants' batches have.
const CHUNK_TOKENS: usize = 1 << 17;
/// Of 26 and 52 tokens each, whose tapes are some gigabytes.
const AMOUNT: Amount = Amount { pairs: 1024, batch: 512, steps: 2 };

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    const WHAT: &str = "a round that does not fit";
    if !P::IS_CARD {
        rows.cannot(WHAT, "this place does not run out of memory");
        return Ok(());
    }
    let open = || stage.open(Precision::F32, (scene::mini_lm(), SEED));
    let opened = open().map_err(|fault| fault.to_string())?;
    let vocab = scene::mini_lm().vocab;
    let tenants = |seed: u64| -> Vec<TenantSpec> {
        (0..2).map(|number| ragged_tenant(number, vocab, AMOUNT, seed)).collect()
    };
    let expected = train(&opened.encoder, &opened.limits, &tenants(SEED))?;
    // What the first training has kept for itself is given back before the card is filled.
    drop(opened);
    let opened = open().map_err(|fault| fault.to_string())?;
    let ballast = match fill(&opened) {
        Ok(ballast) => ballast,
        Err(why) => {
            rows.cannot(WHAT, &why);
            return Ok(());
        }
    };
    let limits = Limits {
        tokens_chunk: CHUNK_TOKENS,
        round_tokens_max: CHUNK_TOKENS,
        tape_bytes_max: TAPE_BYTES,
        ..opened.limits.clone()
    };
    let mut run = Run::new(&opened.encoder, &limits)?;
    tenants(SEED + stage.spoilt()).into_iter().try_for_each(|tenant| run.add(tenant))?;
    let found = run.finish();
    rows.claim("it goes on", found.as_ref().map(drop).map_err(Clone::clone));
    let counters = run.counters();
    drop(ballast);
    if let Ok(found) = found {
        rows.claim("with the same bits", same(&found, &expected));
        rows.add(Figure {
            what: "with fewer tokens at a time",
            value: counters.chunks as f64 / counters.rounds as f64,
            unit: "chunks a round",
            // The two tenants adapt other layers, and so have a chunk each where all fits.
            bar: Bar::AtLeast(3.0),
            detail: format!("{} rounds, {} tokens", counters.rounds, counters.tokens),
        });
    }
    Ok(())
}

/// Buffers that leave little of the card.
fn fill<B: Backend>(opened: &Opened<B>) -> Result<Vec<B::Floats>, String> {
    let device = opened.encoder.backend();
    let bytes = opened.notes.free_bytes.saturating_sub(LEFT_BYTES);
    let mut ballast = Vec::new();
    for _ in 0..bytes / (4 * BALLAST_NUMBERS as u64) {
        let mut buffer = B::Floats::default();
        device.resize(&mut buffer, BALLAST_NUMBERS);
        if let Some(fault) = device.take_fault() {
            return Err(format!("the card could not be filled: {fault}"));
        }
        ballast.push(buffer);
    }
    Ok(ballast)
}
