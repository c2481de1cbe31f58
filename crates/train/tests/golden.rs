//! Golden tests: losses, schedules and a training run against PyTorch and peft.
//!
//! `cargo xtask golden` writes the files; `golden/README.md` lists their tensors. Each check prints
//! the tensor and its largest error (`cargo test -p cotenant-train --test golden -- --nocapture`).
//! The run of ten steps is taken twice: by the public parts (encoder, loss, clipping, optimizer) at
//! the rates that PyTorch used, and by the trainer with its own schedule.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper of a test fails by panicking, and measured errors are worth reading"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cotenant_train::{
    AdamW, Base, CoSent, Decay, Embedded, Event, Example, Length, Limits, Loss, LossBuffers, Mnrl,
    Ranking, Schedule, Scored, Settings, TenantSpec, TextError, Texts, Trainer, clip,
};
use cotenant_transformer::{
    Adapter, Cpu, Encoder, Forward, ModelFolder, Packed, Pooling, Precision, Scratch, Start, Tape,
    TapeMode,
};
use safetensors::SafeTensors;

/// Largest errors allowed, relative to the tensor's largest value. All were measured, and leave a
/// factor of two or three for processors that sum in another order.
mod tolerance {
    /// A loss and its gradient: the scale of 20 magnifies the last digits of a cosine, and PyTorch
    /// in f32 is itself as far from f64. Measured 1.1e-6.
    pub(super) const LOSS: f64 = 2e-6;
    /// The peak and the rate are each rounded to f32 once: half a last digit twice.
    pub(super) const RATE: f64 = 1.2e-7;
    /// Losses and gradient norms of a run, each step on what the steps before left. Measured 1.1e-6.
    pub(super) const CURVE: f64 = 3e-6;
    /// Weights after 10 steps: where a gradient is nearly 0, AdamW makes a step of its sign.
    /// Measured 1.1e-6.
    pub(super) const WEIGHTS: f64 = 3e-6;
    /// Weights after the first step: a twentieth of what weight decay changes. Measured 1.7e-7.
    pub(super) const WEIGHTS_ONCE: f64 = 5e-7;
}

const SCALE: f32 = 20.0;
const MODELS: [&str; 2] = ["bert-tiny", "roberta-tiny"];
const STEPS: usize = 10;
const PEAK: f32 = 1e-3;
const WEIGHT_DECAY: f32 = 0.01;
const CLIP: Option<f32> = Some(1.0);

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/encoder").join(path)
}

/// A golden file.
struct Case {
    name: String,
    bytes: Vec<u8>,
}

impl Case {
    fn open(name: &str) -> Self {
        let path = golden(&format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { name: name.to_owned(), bytes }
    }

    fn bits<const N: usize, T>(&self, name: &str, read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a golden file is safetensors");
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no tensor {name}"));
        assert_eq!(tensor.dtype().bitsize(), 8 * N, "{name}");
        tensor.data().chunks_exact(N).map(|bytes| read(bytes.try_into().unwrap())).collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bits(name, f32::from_le_bytes)
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        self.bits(name, f64::from_le_bytes)
    }

    fn texts(&self) -> Vec<Arc<[u32]>> {
        let tokens = self.bits("tokens", u32::from_le_bytes);
        let offsets = self.bits("offsets", u32::from_le_bytes);
        offsets.windows(2).map(|ends| tokens[ends[0] as usize..ends[1] as usize].into()).collect()
    }

    #[track_caller]
    fn check(&self, name: &str, actual: &[f32], tolerance: f64) {
        let expected: Vec<f64> = self.floats(name).into_iter().map(f64::from).collect();
        self.compare(name, &expected, actual, tolerance);
    }

    #[track_caller]
    fn compare(&self, name: &str, expected: &[f64], actual: &[f32], tolerance: f64) {
        assert_eq!(expected.len(), actual.len(), "{name}");
        let largest = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let errors = expected.iter().zip(actual).map(|(e, a)| (e - f64::from(*a)).abs());
        let error = errors.fold(0.0_f64, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) });
        let relative = error / largest.max(1e-30);
        println!("{} {name}: error {relative:.1e} of {largest:.2e}", self.name);
        assert!(
            error <= tolerance * largest,
            "{} {name}: error {error:e} of {largest:e}\n  torch {:?}\n  ours  {:?}",
            self.name,
            &expected[..expected.len().min(6)],
            &actual[..actual.len().min(6)]
        );
    }

    /// Every low-rank matrix after so many steps.
    #[track_caller]
    fn check_weights(&self, step: usize, adapter: &Adapter) {
        let tolerance = if step == 1 { tolerance::WEIGHTS_ONCE } else { tolerance::WEIGHTS };
        for entry in adapter.layout.entries() {
            let (layer, module) = (entry.site.layer, entry.site.module.path());
            let key = format!("trained.{step}.base_model.model.encoder.layer.{layer}.{module}");
            for (matrix, range) in [("lora_A", &entry.a), ("lora_B", &entry.b)] {
                let actual = &adapter.values[range.clone()];
                self.check(&format!("{key}.{matrix}.weight"), actual, tolerance);
            }
        }
    }
}

#[test]
fn ranking_losses_are_pytorchs() {
    let case = Case::open("losses");
    let read = |part| case.floats(&format!("mnrl.{part}"));
    let rows = [read("anchors"), read("positives"), read("negatives")].concat();
    let cases = [
        ("plain", 10, false),
        ("symmetric", 10, true),
        ("negative", 15, false),
        ("symmetric_negative", 15, true),
        ("ragged", 13, false),
    ];
    for (variant, columns_end, symmetric) in cases {
        let ranking =
            Ranking { anchors: (0..5).collect(), columns: (5..columns_end).collect(), ..empty() };
        let (loss, gradient) = ranking_loss(symmetric, &ranking, &rows, 16);
        case.check(&format!("mnrl.{variant}.loss"), &[loss], tolerance::LOSS);
        let parts = ["anchors", "positives", "negatives"];
        for (part, gradient) in parts.iter().zip(gradient.chunks_exact(5 * 16)) {
            if *part == "negatives" && columns_end == 10 {
                assert!(gradient.iter().all(|slope| *slope == 0.0), "{variant} reads no negatives");
            } else {
                let name = format!("mnrl.{variant}.d_{part}");
                check_slopes(&case, &name, &read(part), gradient);
            }
        }
    }
}

#[test]
fn cosent_is_pytorchs() {
    let case = Case::open("losses");
    let (left, right) = (case.floats("cosent.left"), case.floats("cosent.right"));
    let scored = Scored {
        left: (0..8).collect(),
        right: (8..16).collect(),
        scores: case.floats("cosent.scores"),
    };
    let (loss, gradient) = scored_loss(&scored, &[&left[..], &right[..]].concat(), 16);
    case.check("cosent.loss", &[loss], tolerance::LOSS);
    let (left_slopes, right_slopes) = gradient.split_at(8 * 16);
    check_slopes(&case, "cosent.d_left", &left, left_slopes);
    check_slopes(&case, "cosent.d_right", &right, right_slopes);
}

#[test]
fn losses_of_embeddings_are_pytorchs() {
    let rankings = [
        ("mnrl", 3, 3, false),
        ("mnrl_symmetric", 3, 3, true),
        ("mnrl_negative", 2, 2, false), // The last two texts are hard negatives.
    ];
    for model in MODELS {
        let case = Case::open(&format!("{model}.case"));
        let rows = case.floats("adapted.mean_normalized");
        let hidden = rows.len() / 6;
        let of_model = if model == "bert-tiny" { &rankings[..] } else { &rankings[..1] };
        for &(name, anchors, columns, symmetric) in of_model {
            let ranking = Ranking {
                anchors: (0..anchors).collect(),
                columns: (columns..6).collect(),
                ..empty()
            };
            let (loss, gradient) = ranking_loss(symmetric, &ranking, &rows, hidden);
            case.check(&format!("{name}.loss"), &[loss], tolerance::LOSS);
            case.check(&format!("{name}.d_out"), &gradient, tolerance::LOSS);
        }
        let scores = case.floats("cosent.scores");
        let scored = Scored { left: (0..3).collect(), right: (3..6).collect(), scores };
        let (loss, gradient) = scored_loss(&scored, &rows, hidden);
        case.check("cosent.loss", &[loss], tolerance::LOSS);
        case.check("cosent.d_out", &gradient, tolerance::LOSS);
    }
}

#[test]
fn rates_are_the_golden_ones() {
    let case = Case::open("losses");
    for (shape, decay) in [("linear", Decay::Linear), ("cosine", Decay::Cosine)] {
        for steps in [1, 10, 37] {
            let name = format!("schedule.{shape}.{steps}");
            let expected = case.doubles(&name);
            let warmup = (steps / 10).max(1);
            let (warmup_steps, steps_total) = (warmup as u64, steps as u64);
            let schedule = Schedule { peak: 1.0, warmup_steps, steps_total, decay };
            let rates: Vec<f32> = (0..steps_total).map(|step| schedule.rate(step)).collect();
            case.compare(&name, &expected, &rates, tolerance::RATE);
        }
    }
}

#[test]
fn ten_steps_by_the_public_parts_are_pytorchs() {
    for model in MODELS {
        let (case, mut run) = (Case::open(&format!("{model}.case")), Run::new(model));
        for (step, rate) in case.doubles("curve.learning_rate").into_iter().enumerate() {
            run.step(rate as f32);
            if [1, STEPS].contains(&(step + 1)) {
                case.check_weights(step + 1, &run.adapter);
            }
        }
        check_curve(&case, &run.curve);
    }
}

#[test]
fn the_trainer_takes_pytorchs_steps() {
    for model in MODELS {
        let case = Case::open(&format!("{model}.case"));
        let (adapters, curve) = train(model, settings(), STEPS);
        check_curve(&case, &curve);
        case.check_weights(1, &adapters[0]);
        case.check_weights(STEPS, &adapters[STEPS - 1]);
    }
}

fn empty() -> Ranking {
    Ranking::default()
}

/// The loss and its gradient by all rows.
fn ranking_loss(
    symmetric: bool,
    ranking: &Ranking,
    rows: &[f32],
    hidden: usize,
) -> (f32, Vec<f32>) {
    let mut gradient = vec![0.0; rows.len()];
    let (embedded, mut buffers) = (Embedded { rows, hidden }, LossBuffers::default());
    let mnrl = Mnrl { scale: SCALE, symmetric };
    let loss = mnrl.evaluate(ranking, embedded, &mut gradient, &mut buffers);
    (loss, gradient)
}

/// The loss and its gradient by all rows.
fn scored_loss(scored: &Scored, rows: &[f32], hidden: usize) -> (f32, Vec<f32>) {
    let mut gradient = vec![0.0; rows.len()];
    let (embedded, mut buffers) = (Embedded { rows, hidden }, LossBuffers::default());
    let cosent = CoSent { scale: SCALE };
    let loss = cosent.evaluate(scored, embedded, &mut gradient, &mut buffers);
    (loss, gradient)
}

/// Our gradient is by cosine: PyTorch's by cosine, and its gradient by dot product without the part
/// along each (unit) vector.
#[track_caller]
fn check_slopes(case: &Case, name: &str, vectors: &[f32], actual: &[f32]) {
    case.check(&format!("{name}_cosine"), actual, tolerance::LOSS);
    let by_dot = case.floats(&format!("{name}_dot"));
    let mut expected: Vec<f64> = by_dot.into_iter().map(f64::from).collect();
    for (slopes, vector) in expected.chunks_exact_mut(16).zip(vectors.chunks_exact(16)) {
        let along: f64 = slopes.iter().zip(vector).map(|(s, v)| s * f64::from(*v)).sum();
        slopes.iter_mut().zip(vector).for_each(|(s, v)| *s -= along * f64::from(*v));
    }
    case.compare(&format!("{name}_dot"), &expected, actual, tolerance::LOSS);
}

/// What each step saw.
#[derive(Default)]
struct Curve {
    losses: Vec<f32>,
    gradient_norms: Vec<f32>,
    learning_rates: Vec<f32>,
}

impl Curve {
    fn columns(&self) -> [(&'static str, &[f32]); 3] {
        [
            ("loss", &self.losses),
            ("gradient_norm", &self.gradient_norms),
            ("learning_rate", &self.learning_rates),
        ]
    }
}

/// Compares losses, norms and rates of all steps.
#[track_caller]
fn check_curve(case: &Case, curve: &Curve) {
    for (name, actual) in curve.columns() {
        let expected = case.doubles(&format!("curve.{name}"));
        let tolerance = if name == "learning_rate" { tolerance::RATE } else { tolerance::CURVE };
        case.compare(&format!("curve.{name}"), &expected, actual, tolerance);
    }
}

fn encoder(model: &str) -> Encoder<Cpu> {
    let folder = ModelFolder::open(&golden(model)).expect("a golden model");
    let weights = folder.weights().expect("golden weights");
    let cpu = Cpu::new(Precision::F32).expect("every processor has f32");
    Encoder::new(cpu, folder.config().clone(), weights, Pooling::Mean, true)
}

fn adapter(encoder: &Encoder<Cpu>, model: &str) -> Adapter {
    let folder = golden(&format!("{model}-adapter"));
    Adapter::load_peft(&folder, encoder.config()).expect("a golden adapter")
}

/// A training run by the public parts.
struct Run {
    encoder: Encoder<Cpu>,
    batch: Packed,
    adapter: Adapter,
    optimizer: AdamW,
    curve: Curve,
}

impl Run {
    fn new(model: &str) -> Self {
        let encoder = encoder(model);
        let adapter = adapter(&encoder, model);
        let texts = Case::open(&format!("{model}.case")).texts();
        let mut batch = Packed::default();
        batch.push(texts.iter().map(|text| &**text), Some(0), None);
        let optimizer = AdamW::new(adapter.values.len());
        Self { encoder, batch, adapter, optimizer, curve: Curve::default() }
    }

    fn step(&mut self, rate: f32) {
        let hidden = self.encoder.config().hidden;
        let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
        let mut out = vec![0.0; self.batch.texts() * hidden];
        let mut gradients = vec![Vec::new()];
        let adapters = [&self.adapter];
        let forward = Forward { batch: &self.batch, adapters: &adapters, start: Start::Tokens };
        self.encoder.forward(&forward, TapeMode::Full, &mut scratch, &mut tape, &mut out);
        let ranking = Ranking { anchors: vec![0, 1, 2], columns: vec![3, 4, 5], ..empty() };
        let (loss, d_out) = ranking_loss(false, &ranking, &out, hidden);
        self.encoder.backward(&forward, &mut scratch, &mut tape, &d_out, &mut gradients);
        let gradient = &mut gradients[0];
        self.curve.losses.push(loss);
        self.curve.gradient_norms.push(clip(gradient, CLIP));
        self.curve.learning_rates.push(rate);
        self.optimizer.step(&mut self.adapter.values, gradient, rate, WEIGHT_DECAY);
    }
}

/// The golden texts as a tenant's.
struct SixTexts(Vec<Arc<[u32]>>);

impl Texts for SixTexts {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        Ok(Arc::clone(&self.0[text as usize]))
    }

    fn key(&self, text: u32) -> u64 {
        text.into()
    }
}

fn settings() -> Settings {
    Settings {
        loss: Loss::Mnrl { scale: SCALE, symmetric: false },
        batch: 3,
        length: Length::Steps(STEPS as u64),
        learning_rate: PEAK,
        weight_decay: WEIGHT_DECAY,
        warmup_per_mille: 100,
        decay: Decay::Linear,
        clip_norm: CLIP,
        ..Settings::default()
    }
}

/// The adapter after each of the first steps of a trainer whose only batch is the golden one.
fn train(model: &str, settings: Settings, steps: usize) -> (Vec<Adapter>, Curve) {
    let encoder = Arc::new(encoder(model));
    let adapter = Some(adapter(&encoder, model));
    let mut trainer = Trainer::new(Base { encoder, fingerprint: 1 }, Limits::default()).unwrap();
    let pair = |i| Example::Pair { anchor: i, positive: 3 + i, negatives: Vec::new() };
    let texts = Arc::new(SixTexts(Case::open(&format!("{model}.case")).texts()));
    let examples = (0..3).map(pair).collect();
    let tenant = TenantSpec { name: model.into(), examples, texts, settings, adapter };
    let id = trainer.add(tenant).unwrap();
    let (mut adapters, mut curve) = (Vec::new(), Curve::default());
    while adapters.len() < steps {
        for event in trainer.run_round() {
            match event {
                Event::StepFinished { loss, gradient_norm, learning_rate, .. } => {
                    curve.losses.push(loss);
                    curve.gradient_norms.push(gradient_norm);
                    curve.learning_rates.push(learning_rate);
                    adapters.push(Arc::unwrap_or_clone(trainer.adapter(id).unwrap()));
                }
                Event::TenantFinished { reason, .. } => {
                    assert_eq!(adapters.len(), STEPS, "{reason}");
                }
                Event::EvaluationDue { .. } | Event::ScoreCompared { .. } => {
                    panic!("no evaluation was asked for")
                }
            }
        }
    }
    (adapters, curve)
}
