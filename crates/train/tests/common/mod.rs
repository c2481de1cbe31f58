//! A small random encoder, and tenants of every kind for it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod frail;

use std::collections::BTreeMap;
use std::sync::Arc;

use cotenant_train::{
    Base, Candidate, Decay, Evaluation, Event, Example, Length, Limits, Loss, Outcome,
    PrefixLimits, Settings, TenantId, TenantSpec, TextError, Texts, Tokens, Trainer,
};
use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{
    Adapter, Backend, Cpu, Encoder, EncoderConfig, EncoderWeights, LayerChoice, LayerWeights,
    Linear, LoraSpec, Module, Norm, Pooling, Precision,
};

pub const FINGERPRINT: u64 = 99;

pub fn config() -> EncoderConfig {
    EncoderConfig {
        hidden: 32,
        layers: 2,
        heads: 4,
        intermediate: 48,
        vocab: 60,
        positions: 64,
        token_types: 2,
        norm_eps: 1e-12,
        position_offset: 0,
    }
}

/// A tiny encoder with random weights.
pub fn encoder() -> Arc<Encoder<Cpu>> {
    encoder_of(config())
}

/// An encoder of any shape with random weights.
pub fn encoder_of(config: EncoderConfig) -> Arc<Encoder<Cpu>> {
    encoder_on(Cpu::new(Precision::F32).expect("every processor has f32"), config)
}

/// The same on any device.
pub fn encoder_on<B: Backend>(device: B, config: EncoderConfig) -> Arc<Encoder<B>> {
    let mut next = 0;
    let mut draw = |len: usize, range: f32| -> Vec<f32> {
        next += 1;
        (0..len).map(|i| (unit(mix(&[next, i as u64])) * 2.0 - 1.0) * range).collect()
    };
    let (h, wide) = (config.hidden, config.intermediate);
    let mut layers = Vec::new();
    for _ in 0..config.layers {
        let mut linear = |inputs: usize, outputs: usize| Linear {
            weight: draw(inputs * outputs, 0.3),
            bias: draw(outputs, 0.2),
            inputs,
            outputs,
        };
        layers.push(LayerWeights {
            query: linear(h, h),
            key: linear(h, h),
            value: linear(h, h),
            attention_output: linear(h, h),
            attention_norm: Norm { gain: vec![1.0; h], bias: vec![0.1; h] },
            intermediate: linear(h, wide),
            output: linear(wide, h),
            output_norm: Norm { gain: vec![1.0; h], bias: vec![-0.1; h] },
        });
    }
    let weights = EncoderWeights {
        words: draw(config.vocab * h, 1.0),
        positions: draw(config.positions * h, 0.3),
        token_types: draw(config.token_types * h, 0.3),
        norm: Norm { gain: vec![1.0; h], bias: vec![0.0; h] },
        layers,
    };
    Arc::new(Encoder::new(device, config, weights, Pooling::Mean, true))
}

/// Texts of very unequal length.
pub struct TestTexts {
    pub texts: Vec<Arc<[u32]>>,
    /// Whether each is two texts that are read together, cut where its number says.
    pub are_pairs: bool,
    /// This text cannot be had.
    pub bad: Option<u32>,
}

impl TestTexts {
    pub fn random(count: u32, seed: u64) -> Self {
        let text = |text: u32| {
            let draw = |i: u64| mix(&[seed, text.into(), i]);
            let longest = [4, 12, 63][(draw(0) % 3) as usize];
            let tokens = 1 + draw(1) % longest;
            (0..tokens).map(|i| (draw(2 + i) % 60) as u32).collect()
        };
        Self { texts: (0..count).map(text).collect(), are_pairs: false, bad: None }
    }
}

impl Texts for TestTexts {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        if self.bad == Some(text) {
            return Err(TextError { reason: "line 7 of train.jsonl is not UTF-8".into() });
        }
        Ok(Arc::clone(&self.texts[text as usize]))
    }

    fn read(&self, text: u32) -> Result<Tokens, TextError> {
        let ids = self.tokens(text)?;
        let first = if self.are_pairs { text as usize % (ids.len() + 1) } else { ids.len() };
        Ok(Tokens { ids, first })
    }

    fn key(&self, text: u32) -> u64 {
        self.texts[text as usize].iter().fold(1, |key, &token| mix(&[key, token.into()]))
    }
}

/// A tenant whose every property is drawn from a seed.
pub fn tenant(seed: u64) -> TenantSpec {
    let draw = |what: u64, below: u64| mix(&[seed, 77, what]) % below;
    let scored = draw(0, 4) == 0;
    let reranks = draw(20, 4) == 0;
    let count = 6 + draw(1, 20);
    let scale = [1.0, 20.0][draw(2, 2) as usize];
    let modules = [
        vec![Module::Query, Module::Value],
        vec![Module::Query, Module::Key, Module::Value, Module::AttentionOutput],
        Module::ALL.to_vec(),
    ];
    let settings = Settings {
        lora: LoraSpec {
            rank: 1 + draw(3, 5) as usize,
            alpha: 8.0,
            rslora: draw(4, 2) == 0,
            targets: modules[draw(5, 3) as usize].clone(),
            layers: [LayerChoice::All, LayerChoice::Top(1)][draw(6, 2) as usize].clone(),
        },
        dropout_per_mille: [0, 0, 200][draw(7, 3) as usize],
        loss: if reranks {
            Loss::Lce
        } else if scored {
            Loss::CoSent { scale }
        } else {
            Loss::Mnrl { scale, symmetric: draw(8, 2) == 0 }
        },
        batch: 2 + draw(9, 7) as usize,
        negatives_max: draw(10, 3) as usize + usize::from(reranks),
        length: [Length::Epochs(2), Length::Steps(5)][draw(11, 2) as usize],
        accumulate: [1, 1, 2, 3][draw(12, 4) as usize],
        learning_rate: 0.01,
        weight_decay: [0.0, 0.1][draw(13, 2) as usize],
        warmup_per_mille: [0, 200][draw(14, 2) as usize],
        decay: [Decay::Linear, Decay::Cosine, Decay::Constant][draw(15, 3) as usize],
        clip_norm: [None, Some(0.1)][draw(16, 2) as usize],
        seed,
        weight: 1 + draw(17, 3) as u32,
        evaluation: [None, Some(Evaluation { every_steps: 2, patience: Some(2) })]
            [draw(18, 2) as usize],
        tokens_chunk: [40, 64, 256][draw(19, 3) as usize],
    };
    let texts = TestTexts { are_pairs: reranks, ..TestTexts::random(40, seed) };
    let text = |what: u64, i: u64| (mix(&[seed, 78, what, i]) % 40) as u32;
    let example = |i: u64| {
        if reranks {
            // At least one, so that there is something to compare also without a draw.
            let candidate = |n| Candidate { text: text(n, i), prior: draw(300 + i + n, 5) as f32 };
            let wrong = (0..1 + draw(200 + i, 4)).map(|n| candidate(3 + n)).collect();
            Example::Choice { right: candidate(0), wrong }
        } else if scored {
            Example::Scored { left: text(0, i), right: text(1, i), score: draw(100 + i, 5) as f32 }
        } else {
            let negatives = (0..draw(200 + i, 4)).map(|n| text(3 + n, i)).collect();
            Example::Pair { anchor: text(0, i), positive: text(1, i), negatives }
        }
    };
    TenantSpec {
        name: format!("tenant {seed}"),
        examples: (0..count).map(example).collect(),
        texts: Arc::new(texts),
        settings,
        adapter: None,
    }
}

/// Room for everything, on one thread.
pub fn limits() -> Limits {
    Limits { tokens_chunk: 64, ..Limits::default() }
}

pub fn prefix_in_memory(bytes: usize) -> PrefixLimits {
    PrefixLimits { memory_bytes_max: bytes, ..PrefixLimits::default() }
}

pub fn trainer(encoder: &Arc<Encoder<Cpu>>, limits: Limits) -> Trainer<Cpu> {
    let base = Base { encoder: Arc::clone(encoder), fingerprint: FINGERPRINT };
    Trainer::new(base, limits).unwrap()
}

/// Lets tenants join, in their order.
pub fn join<B: Backend>(
    trainer: &mut Trainer<B>,
    tenants: impl IntoIterator<Item = TenantSpec>,
) -> Vec<TenantId> {
    tenants.into_iter().map(|tenant| trainer.add(tenant).unwrap()).collect()
}

/// A stand-in for retrieval quality: any pure function of the adapter will do.
pub fn score(adapter: &Adapter) -> f64 {
    let bits = adapter.values.iter().fold(5, |key, value| mix(&[key, value.to_bits().into()]));
    f64::from(unit(bits))
}

/// One round, with every score that it asks for. Returns all events.
pub fn round<B: Backend>(trainer: &mut Trainer<B>) -> Vec<Event> {
    let mut events = trainer.run_round();
    for (id, _) in trainer.awaiting_score() {
        let score = score(&trainer.adapter(id).unwrap());
        events.extend(trainer.report_score(id, score).unwrap());
    }
    events
}

/// What a tenant ends with, in bits.
#[derive(Debug, PartialEq)]
pub struct Ended {
    pub adapter: Vec<u32>,
    pub losses: Vec<u32>,
    pub scores: Vec<(u64, u64)>,
    pub best: Option<(u64, u64)>,
    pub reason: String,
}

pub fn ended(outcome: &Outcome) -> Ended {
    Ended {
        adapter: outcome.adapter.values.iter().map(|value| value.to_bits()).collect(),
        losses: outcome.progress.losses.iter().map(|loss| loss.to_bits()).collect(),
        scores: outcome
            .progress
            .scores
            .iter()
            .map(|(step, score)| (*step, score.to_bits()))
            .collect(),
        best: outcome.progress.best.map(|(step, score)| (step, score.to_bits())),
        reason: outcome.reason.to_string(),
    }
}

/// Runs to the end and takes every tenant out, by name.
pub fn finish<B: Backend>(trainer: &mut Trainer<B>) -> BTreeMap<String, Ended> {
    while !trainer.is_done() {
        round(trainer);
        assert_eq!(trainer.fault(), None, "the device goes on");
    }
    let outcomes = trainer.tenants().into_iter().map(|id| trainer.remove(id).unwrap());
    outcomes.map(|outcome| (outcome.progress.name.clone(), ended(&outcome))).collect()
}

/// Trains tenants together from the start.
pub fn fused(
    encoder: &Arc<Encoder<Cpu>>,
    limits: Limits,
    tenants: Vec<TenantSpec>,
) -> BTreeMap<String, Ended> {
    let mut trainer = trainer(encoder, limits);
    join(&mut trainer, tenants);
    finish(&mut trainer)
}

/// Trains one tenant with nobody else, on one thread.
pub fn alone(encoder: &Arc<Encoder<Cpu>>, tenant: TenantSpec) -> Ended {
    let name = tenant.name.clone();
    fused(encoder, limits(), vec![tenant]).remove(&name).unwrap()
}
