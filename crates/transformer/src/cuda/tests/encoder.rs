//! The whole encoder on the kernels: tenants fused in one batch, forward and backward.

use std::sync::Arc;

use super::device::Device;
use super::host::Host;
use super::{assert_alone_is_together, assert_within, random};
use crate::adapter::{Adapter, AdapterLayout, Module, Site};
use crate::backend::{Backend, Precision};
use crate::cpu::Cpu;
use crate::cuda::source::Real;
use crate::encoder::{Encoder, Forward, Pooling, Scratch, Start, Tape, TapeMode};
use crate::model::{EncoderConfig, EncoderWeights, LayerWeights, Linear, Norm};
use crate::packed::{Dropout, Packed};
use crate::random::mix;

/// Largest difference to the CPU, relative to the tensor's largest value: two layers of weights ten
/// times as large as trained ones, through which errors in the last bit grow.
const TOLERANCE: f32 = 1e-4;

const CONFIG: EncoderConfig = EncoderConfig {
    hidden: 48,
    layers: 2,
    heads: 2,
    intermediate: 72,
    vocab: 30,
    positions: 90,
    token_types: 2,
    norm_eps: 1e-12,
    position_offset: 2,
};

fn norm(seed: u64) -> Norm {
    let gain = random(CONFIG.hidden, seed).iter().map(|value| 1.0 + value / 2.0).collect();
    Norm { gain, bias: random(CONFIG.hidden, seed + 1) }
}

fn weights() -> EncoderWeights {
    let layer = |at: usize| {
        let linear = |module: Module| {
            let seed = 100 * at as u64 + module as u64;
            let (inputs, outputs) = module.shape(&CONFIG);
            let weight = random(inputs * outputs, seed).iter().map(|value| value / 4.0).collect();
            Linear { weight, bias: random(outputs, seed + 50), inputs, outputs }
        };
        LayerWeights {
            query: linear(Module::Query),
            key: linear(Module::Key),
            value: linear(Module::Value),
            attention_output: linear(Module::AttentionOutput),
            attention_norm: norm(100 * at as u64 + 20),
            intermediate: linear(Module::Intermediate),
            output: linear(Module::Output),
            output_norm: norm(100 * at as u64 + 30),
        }
    };
    let table = |rows: usize, seed: u64| random(rows * CONFIG.hidden, seed);
    EncoderWeights {
        words: table(CONFIG.vocab, 1000),
        positions: table(CONFIG.positions, 1001),
        token_types: table(CONFIG.token_types, 1002),
        norm: norm(1003),
        layers: (0..CONFIG.layers).map(layer).collect(),
    }
}

/// Lengths of a tenant's texts, the sites that it adapts with their ranks, and dropout.
struct Tenant {
    lengths: &'static [usize],
    pairs: &'static [(usize, Module, usize)],
    rate_per_mille: Option<u32>,
}

const TENANTS: [Tenant; 3] = [
    Tenant {
        lengths: &[5, 70, 1],
        pairs: &[(0, Module::Query, 8), (1, Module::Value, 3), (1, Module::Output, 17)],
        rate_per_mille: Some(100),
    },
    Tenant {
        lengths: &[33],
        pairs: &[(1, Module::Intermediate, 1), (1, Module::Key, 16)],
        rate_per_mille: None,
    },
    Tenant {
        lengths: &[12, 64],
        pairs: &[
            (0, Module::Query, 4),
            (0, Module::Key, 4),
            (0, Module::Value, 4),
            (0, Module::AttentionOutput, 4),
            (0, Module::Intermediate, 4),
            (0, Module::Output, 4),
        ],
        rate_per_mille: Some(300),
    },
];

fn adapter(at: usize) -> Adapter {
    let pairs = TENANTS[at].pairs.iter();
    let pairs = pairs.map(|&(layer, module, rank)| (Site { layer, module }, rank, 0.5));
    let layout = Arc::new(AdapterLayout::from_pairs(pairs.collect(), &CONFIG));
    let values = random(layout.len(), mix(&[8, at as u64]));
    Adapter { layout, values: values.iter().map(|value| value / 2.0).collect() }
}

fn push(batch: &mut Packed, at: usize, adapter: usize) {
    let tenant = &TENANTS[at];
    let token = |text: usize, i: usize| mix(&[at as u64, text as u64, i as u64]) as u32 % 30;
    let texts = tenant.lengths.iter().enumerate();
    let texts: Vec<Vec<u32>> =
        texts.map(|(text, &len)| (0..len).map(|i| token(text, i)).collect()).collect();
    let dropout = tenant.rate_per_mille.map(|rate_per_mille| Dropout {
        key: mix(&[5, at as u64]),
        text_keys: (0..texts.len() as u64).collect(),
        rate_per_mille,
    });
    batch.push(texts.iter().map(Vec::as_slice), Some(adapter), dropout);
}

/// Embeddings and gradient of each of these tenants.
fn pass<B: Backend>(
    encoder: &Encoder<B>,
    order: &[usize],
    mode: TapeMode,
) -> Vec<(Vec<f32>, Vec<f32>)> {
    let adapters: Vec<Adapter> = order.iter().map(|&at| adapter(at)).collect();
    let adapters: Vec<&Adapter> = adapters.iter().collect();
    let mut batch = Packed::default();
    order.iter().enumerate().for_each(|(place, &at)| push(&mut batch, at, place));
    let slopes = |&at: &usize| random(TENANTS[at].lengths.len() * CONFIG.hidden, at as u64);
    let d_out: Vec<f32> = order.iter().flat_map(slopes).collect();
    let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; d_out.len()];
    let mut gradients = vec![Vec::new(); order.len()];
    encoder.forward(&forward, mode, &mut scratch, &mut tape, &mut out);
    encoder.backward(&forward, &mut scratch, &mut tape, &d_out, &mut gradients);
    let of = |(segment, gradient): (&crate::packed::Segment, Vec<f32>)| {
        let texts = segment.texts.start * CONFIG.hidden..segment.texts.end * CONFIG.hidden;
        (out[texts].to_vec(), gradient)
    };
    batch.segments().iter().zip(gradients).map(of).collect()
}

fn device() -> Result<Encoder<Device>, &'static str> {
    let device = Device(Host::open(Real::Float)?);
    Ok(Encoder::new(device, CONFIG, weights(), Pooling::Mean, true))
}

#[test]
fn embeddings_and_gradients_are_those_of_the_cpu_with_every_tape() {
    let device = match device() {
        Ok(device) => device,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let cpu = Cpu::new(Precision::F32).unwrap();
    let cpu = Encoder::new(cpu, CONFIG, weights(), Pooling::Mean, true);
    let order = [0, 1, 2];
    let expected = pass(&cpu, &order, TapeMode::Full);
    let found = pass(&device, &order, TapeMode::Full);
    for (tenant, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_within(TOLERANCE, &format!("embeddings of {tenant}"), &found.0, &expected.0);
        assert_within(TOLERANCE, &format!("gradient of {tenant}"), &found.1, &expected.1);
    }
    for mode in [TapeMode::Light, TapeMode::Lean] {
        assert!(pass(&device, &order, mode) == found, "{mode:?} has other bits");
    }
}

#[test]
fn a_tenant_has_the_same_bits_alone_and_fused_with_others() {
    let device = match device() {
        Ok(device) => device,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    assert_alone_is_together(TENANTS.len(), |order| {
        let found = pass(&device, order, TapeMode::Full);
        let all = found.iter().map(|(out, gradient)| [out.as_slice(), gradient].concat());
        all.map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
    });
}
