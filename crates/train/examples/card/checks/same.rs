//! Embeddings and gradients on the device, against the processor's in f32.

use std::sync::Arc;

use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{
    Adapter, AdapterLayout, Cpu, Dropout, Encoder, EncoderConfig, Packed, Precision, TapeMode,
};

use super::super::place::{Place, Stage};
use super::super::report::{Bar, Figure, Rows};
use super::super::scene::{self, Pairs};
use super::super::work::{Batch, Buffers, Passed, apart, in_each_format, pass};

/// What may differ, as a part of the largest value: sums in another order in f32; rows that are
/// rounded to bf16 after each operation of all layers, forward and back. Emulated kernels are off by
/// 6.1e-7 and 7.7e-7 in f32, and 0.0068 and 0.0092 in bf16.
const TOLERANCES: [(&str, f64, f64); 2] = [("f32", 1e-5, 2e-5), ("bf16", 0.02, 0.03)];

const SEED: u64 = 11;
const TENANTS: u64 = 4;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let config = stage.shape();
    let batch = ragged_batch(&config, stage.pick(8, 3))?;
    let slopes = slopes(&batch.packed, config.hidden);
    let expected = by_processor(&config, &batch, &slopes)?;
    in_each_format((stage, rows), SEED + stage.spoilt(), |rows, format, opened| {
        let mut found: Vec<Passed> = Vec::new();
        for mode in [TapeMode::Full, TapeMode::Light, TapeMode::Lean] {
            let buffers = &mut Buffers::default();
            found.push(pass(&opened.encoder, (&batch, &slopes), (mode, buffers))?);
        }
        compare(rows, format, (&found[0], &expected));
        let bits = |passed: &Passed| {
            let gradients = passed.gradients.iter().flatten();
            let all = passed.embeddings.iter().chain(gradients);
            all.map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let first = bits(&found[0]);
        let differ = found.iter().filter(|passed| bits(passed) != first).count();
        let truth = if differ == 0 { Ok(()) } else { Err(format!("{differ} of 3 tapes differ")) };
        rows.claim(&format!("{format}: every tape gives the same bits"), truth);
        Ok(())
    })
}

fn compare(rows: &mut Rows, format: &str, (found, expected): (&Passed, &Passed)) {
    let (_, of_embeddings, of_gradients) =
        *TOLERANCES.iter().find(|(name, ..)| *name == format).expect("the table has every format");
    rows.add(Figure {
        what: &format!("{format}: embeddings are the processor's in f32"),
        value: apart(&found.embeddings, &expected.embeddings),
        unit: "of the largest value",
        bar: Bar::AtMost(of_embeddings),
        detail: format!("{} values", expected.embeddings.len()),
    });
    for (tenant, (found, expected)) in found.gradients.iter().zip(&expected.gradients).enumerate() {
        let tenant = tenant as u64;
        rows.add(Figure {
            what: &format!("{format}: gradients of tenant {tenant} are the processor's in f32"),
            value: apart(found, expected),
            unit: "of the largest value",
            bar: Bar::AtMost(of_gradients),
            detail: format!(
                "rank {}, dropout of {} in a thousand, {} values",
                scene::lora(tenant).rank,
                scene::dropout_per_mille(tenant),
                expected.len()
            ),
        });
    }
}

fn by_processor(config: &EncoderConfig, batch: &Batch, slopes: &[f32]) -> Result<Passed, String> {
    let device = Cpu::new(Precision::F32).map_err(|error| error.to_string())?;
    let encoder: Arc<Encoder<Cpu>> = scene::encoder(device, config.clone(), SEED);
    pass(&encoder, (batch, slopes), (TapeMode::Full, &mut Buffers::default()))
}

/// Some pairs of each tenant, with adapters whose values all do something.
pub(super) fn ragged_batch(config: &EncoderConfig, pairs: usize) -> Result<Batch, String> {
    let (mut packed, mut adapters) = (Packed::default(), Vec::new());
    for tenant in 0..TENANTS {
        let layout = AdapterLayout::from_spec(&scene::lora(tenant), config);
        let layout = layout.map_err(|error| error.to_string())?;
        let value = |at: usize| (unit(mix(&[SEED, tenant, at as u64])) - 0.5) * 0.1;
        let values = (0..layout.len()).map(value).collect();
        adapters.push(Adapter { layout: layout.into(), values });
        let texts = Pairs::new(pairs + tenant as usize, config.vocab, mix(&[SEED, tenant]));
        let rate_per_mille = scene::dropout_per_mille(tenant);
        let text_keys = (0..texts.texts().len() as u64).collect();
        let dropout = Dropout { key: tenant, text_keys, rate_per_mille };
        let dropout = (rate_per_mille > 0).then_some(dropout);
        packed.push(texts.texts().iter().map(|text| &text[..]), Some(tenant as usize), dropout);
    }
    Ok(Batch { packed, adapters })
}

/// About so many tokens of one tenant, whose adapter has just begun.
pub(super) fn large_batch(config: &EncoderConfig, tokens: usize) -> Result<Batch, String> {
    let layout = AdapterLayout::from_spec(&scene::lora(0), config);
    let adapter = Adapter::initial(layout.map_err(|error| error.to_string())?.into(), SEED);
    let texts = Pairs::new(tokens / 64, config.vocab, SEED);
    let mut held = 0;
    let fits = texts.texts().iter().take_while(|text| {
        held += text.len();
        held <= tokens
    });
    let mut packed = Packed::default();
    packed.push(fits.map(|text| &text[..]), Some(0), None);
    Ok(Batch { packed, adapters: vec![adapter] })
}

/// A gradient of the embeddings, `[texts, hidden]`.
pub(super) fn slopes(batch: &Packed, hidden: usize) -> Vec<f32> {
    let slope = |at: usize| unit(mix(&[SEED, 5, at as u64])) * 2.0 - 1.0;
    (0..batch.texts() * hidden).map(slope).collect()
}
