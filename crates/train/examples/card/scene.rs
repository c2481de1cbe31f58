//! Models, texts and tenants, each made from a seed.

use std::ops::RangeInclusive;
use std::sync::Arc;

use cotenant_train::{Decay, Example, Length, Settings, TenantSpec, TextError, Texts};
use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{
    Backend, Encoder, EncoderConfig, EncoderWeights, LayerChoice, LayerWeights, Linear, LoraSpec,
    Module, Norm, Pooling,
};

/// The shape of all-MiniLM-L6-v2.
pub(crate) fn mini_lm() -> EncoderConfig {
    EncoderConfig {
        hidden: 384,
        layers: 6,
        heads: 12,
        intermediate: 1536,
        vocab: 30_522,
        positions: 512,
        token_types: 2,
        norm_eps: 1e-12,
        position_offset: 0,
    }
}

/// A shape with heads as wide, that the processor trains in seconds.
pub(crate) fn small() -> EncoderConfig {
    EncoderConfig {
        hidden: 64,
        layers: 3,
        heads: 2,
        intermediate: 256,
        vocab: 2000,
        positions: 128,
        ..mini_lm()
    }
}

/// A model with random weights, as wide as keeps rows of one size from layer to layer.
pub(crate) fn encoder<B: Backend>(device: B, config: EncoderConfig, seed: u64) -> Arc<Encoder<B>> {
    let mut matrix = 0;
    let mut draw = |len: usize, deviation: f32| -> Vec<f32> {
        matrix += 1;
        let range = deviation * 3.0_f32.sqrt();
        (0..len).map(|i| (unit(mix(&[seed, matrix, i as u64])) * 2.0 - 1.0) * range).collect()
    };
    let (h, wide) = (config.hidden, config.intermediate);
    let norm = || Norm { gain: vec![1.0; h], bias: vec![0.0; h] };
    let mut layers = Vec::new();
    for _ in 0..config.layers {
        let mut linear = |inputs: usize, outputs: usize| Linear {
            weight: draw(inputs * outputs, 1.0 / (inputs as f32).sqrt()),
            bias: draw(outputs, 0.1),
            inputs,
            outputs,
        };
        layers.push(LayerWeights {
            query: linear(h, h),
            key: linear(h, h),
            value: linear(h, h),
            attention_output: linear(h, h),
            attention_norm: norm(),
            intermediate: linear(h, wide),
            output: linear(wide, h),
            output_norm: norm(),
        });
    }
    let weights = EncoderWeights {
        words: draw(config.vocab * h, 0.05),
        positions: draw(config.positions * h, 0.01),
        token_types: draw(config.token_types * h, 0.01),
        norm: norm(),
        layers,
    };
    Arc::new(Encoder::new(device, config, weights, Pooling::Mean, true))
}

/// Pairs of a short text and a longer one that share a third of their words: text `2 i` and the
/// one after it.
pub(crate) struct Pairs {
    texts: Vec<Arc<[u32]>>,
}

/// Words that the two texts of a pair have in common.
const SHARED_WORDS: u64 = 8;
/// Ids below it are special ones in vocabularies of BERT.
const FIRST_WORD: u64 = 1000;

impl Pairs {
    /// Texts of about 26 and 52 tokens, as questions and passages have them, all lengths from half
    /// of that to as much again.
    pub(crate) fn new(count: usize, vocab: usize, seed: u64) -> Self {
        let words = vocab as u64 - FIRST_WORD;
        let text = |number: u64| {
            let (pair, lengths) = (number / 2, [13..=39, 26..=78][number as usize % 2].clone());
            let lengths: RangeInclusive<u64> = lengths;
            let length =
                lengths.start() + mix(&[seed, number]) % (lengths.end() - lengths.start() + 1);
            let word = |at: u64| {
                let draw = mix(&[seed, number, at]);
                let word = match draw.is_multiple_of(3) {
                    true => mix(&[seed, 1, pair, (draw >> 8) % SHARED_WORDS]),
                    false => draw >> 8,
                };
                (FIRST_WORD + word % words) as u32
            };
            (0..length).map(word).collect()
        };
        Self { texts: (0..2 * count as u64).map(text).collect() }
    }

    /// How many pairs there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len() / 2
    }

    /// The token ids of all texts.
    pub(crate) fn texts(&self) -> &[Arc<[u32]>] {
        &self.texts
    }

    /// One example a pair.
    fn examples(&self) -> Vec<Example> {
        let example =
            |at: u32| Example::Pair { anchor: 2 * at, positive: 2 * at + 1, negatives: Vec::new() };
        (0..self.len() as u32).map(example).collect()
    }
}

impl Texts for Pairs {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        Ok(Arc::clone(&self.texts[text as usize]))
    }

    fn key(&self, text: u32) -> u64 {
        self.texts[text as usize].iter().fold(1, |key, &token| mix(&[key, token.into()]))
    }
}

/// How much a tenant trains.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) pairs: usize,
    pub(crate) batch: usize,
    pub(crate) steps: u64,
}

/// The adapter of a tenant's number: ranks, modules and layers differ from one to the next.
pub(crate) fn lora(number: u64) -> LoraSpec {
    let modules = [
        vec![Module::Query, Module::Value],
        Module::ALL.to_vec(),
        vec![Module::Query, Module::Key, Module::Value, Module::AttentionOutput],
    ];
    let at = number as usize % 3;
    let rank = [8, 4, 13][at];
    LoraSpec {
        rank,
        alpha: 2.0 * rank as f32,
        rslora: false,
        targets: modules[at].clone(),
        layers: [LayerChoice::All, LayerChoice::Top(2), LayerChoice::All][at].clone(),
    }
}

/// Every second tenant drops a tenth of what its adapter reads.
pub(crate) fn dropout_per_mille(number: u64) -> u32 {
    [0, 100][number as usize % 2]
}

/// A tenant unlike its neighbours.
pub(crate) fn ragged_tenant(number: u64, vocab: usize, amount: Amount, seed: u64) -> TenantSpec {
    let tenant = plain_tenant(number, vocab, amount, seed);
    let (lora, dropout_per_mille) = (lora(number), dropout_per_mille(number));
    TenantSpec { settings: Settings { lora, dropout_per_mille, ..tenant.settings }, ..tenant }
}

/// A tenant as all the others are: rank 8 on query and value of every layer, no dropout.
pub(crate) fn plain_tenant(number: u64, vocab: usize, amount: Amount, seed: u64) -> TenantSpec {
    let pairs = Pairs::new(amount.pairs, vocab, mix(&[seed, number]));
    let settings = Settings {
        lora: lora(0),
        batch: amount.batch,
        length: Length::Steps(amount.steps),
        learning_rate: 1e-3,
        decay: Decay::Linear,
        seed: mix(&[seed, number, 1]),
        ..Settings::default()
    };
    TenantSpec {
        name: format!("tenant {number}"),
        examples: pairs.examples(),
        texts: Arc::new(pairs),
        settings,
        adapter: None,
    }
}
