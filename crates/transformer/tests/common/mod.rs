//! A small random encoder, and texts for it.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{
    Adapter, AdapterLayout, Cpu, Dropout, Encoder, EncoderConfig, EncoderWeights, LayerWeights,
    Linear, LoraSpec, Norm, Packed, Pooling, Precision,
};

pub fn config() -> EncoderConfig {
    EncoderConfig {
        hidden: 40,
        layers: 3,
        heads: 4,
        intermediate: 56,
        vocab: 50,
        positions: 64,
        token_types: 2,
        norm_eps: 1e-12,
        position_offset: 0,
    }
}

/// Values in `±range`, from a counter.
pub fn random(len: usize, seed: u64, range: f32) -> Vec<f32> {
    (0..len).map(|i| (unit(mix(&[seed, i as u64])) * 2.0 - 1.0) * range).collect()
}

pub fn weights(config: &EncoderConfig, seed: u64) -> EncoderWeights {
    let mut next = seed * 1000;
    let mut draw = |len: usize, range: f32| {
        next += 1;
        random(len, next, range)
    };
    let (h, i) = (config.hidden, config.intermediate);
    let mut linear = |inputs: usize, outputs: usize| Linear {
        weight: draw(inputs * outputs, 0.3),
        bias: draw(outputs, 0.2),
        inputs,
        outputs,
    };
    let layers: Vec<_> = (0..config.layers)
        .map(|_| {
            [linear(h, h), linear(h, h), linear(h, h), linear(h, h), linear(h, i), linear(i, h)]
        })
        .collect();
    let mut norm =
        || Norm { gain: draw(h, 0.5).iter().map(|v| v + 1.0).collect(), bias: draw(h, 0.3) };
    let layers = layers
        .into_iter()
        .map(|[query, key, value, attention_output, intermediate, output]| LayerWeights {
            query,
            key,
            value,
            attention_output,
            attention_norm: norm(),
            intermediate,
            output,
            output_norm: norm(),
        })
        .collect();
    let norm = norm();
    EncoderWeights {
        words: draw(config.vocab * h, 1.0),
        positions: draw(config.positions * h, 0.3),
        token_types: draw(config.token_types * h, 0.3),
        norm,
        layers,
    }
}

pub fn encoder(pooling: Pooling) -> Encoder<Cpu> {
    let cpu = Cpu::new(Precision::F32).expect("every processor has f32");
    Encoder::new(cpu, config(), weights(&config(), 1), pooling, true)
}

/// An adapter whose `B` is not zero, so that every gradient flows.
pub fn adapter(spec: &LoraSpec, seed: u64) -> Adapter {
    let layout = Arc::new(AdapterLayout::from_spec(spec, &config()).expect("a fitting spec"));
    let values = random(layout.len(), seed, 0.3);
    Adapter { layout, values }
}

pub fn texts(lengths: &[usize], seed: u64) -> Vec<Vec<u32>> {
    let draw = |i: usize, j: usize| (mix(&[seed, i as u64, j as u64]) % 50) as u32;
    lengths.iter().enumerate().map(|(i, &len)| (0..len).map(|j| draw(i, j)).collect()).collect()
}

pub fn dropout(key: u64, texts: usize) -> Option<Dropout> {
    Some(Dropout { key, text_keys: (0..texts as u64).collect(), rate_per_mille: 300 })
}

pub fn push(
    batch: &mut Packed,
    texts: &[Vec<u32>],
    adapter: Option<usize>,
    dropout: Option<Dropout>,
) {
    batch.push(texts.iter().map(Vec::as_slice), adapter, dropout);
}
