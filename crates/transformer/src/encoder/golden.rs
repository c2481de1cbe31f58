//! Golden tests: every tensor of tiny encoders against PyTorch and peft.
//!
//! `cargo xtask golden` writes the cases; `golden/README.md` lists their tensors. A mismatch prints
//! the tensor, its largest error and its first values on both sides.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::{Encoder, Forward, Pooling, Scratch, Start, Tape, TapeMode};
use crate::adapter::{Adapter, Site};
use crate::backend::{Backend, Precision};
use crate::cpu::{Cpu, CpuWorkspace};
use crate::model::ModelFolder;
use crate::packed::Packed;

/// Largest error allowed, relative to the tensor's largest value.
///
/// f32: sums of up to 64 products in another order than PyTorch's, through two layers of random
/// weights ten times larger than trained ones.
const TOLERANCE_F32: f32 = 2e-5;
/// Gradients pass through every layer twice.
const TOLERANCE_GRADIENT: f32 = 1e-4;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(path)
}

struct Case {
    bytes: Vec<u8>,
}

impl Case {
    fn open(name: &str) -> Self {
        let path = golden(name);
        Self { bytes: std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) }
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a golden file is safetensors");
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no tensor {name}"));
        let words = tensor.data().chunks_exact(4);
        words.map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect()
    }

    fn integers(&self, name: &str) -> Vec<u32> {
        self.floats(name).into_iter().map(f32::to_bits).collect()
    }

    fn batch(&self, adapter: Option<usize>) -> Packed {
        let (tokens, offsets) = (self.integers("tokens"), self.integers("offsets"));
        let mut batch = Packed::default();
        let texts = offsets.windows(2).map(|t| &tokens[t[0] as usize..t[1] as usize]);
        batch.push(texts, adapter, None);
        batch
    }

    fn check(&self, name: &str, actual: &[f32], tolerance: f32) {
        let expected = self.floats(name);
        assert_eq!(expected.len(), actual.len(), "{name}");
        let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let errors = expected.iter().zip(actual).map(|(e, a)| (e - a).abs());
        let error = errors.fold(0.0_f32, |m, v| if v.is_nan() { f32::INFINITY } else { m.max(v) });
        assert!(
            error <= tolerance * largest.max(1e-6),
            "{name}: error {error:e} of {largest:e}\n  torch {:?}\n  ours  {:?}",
            &expected[..expected.len().min(6)],
            &actual[..actual.len().min(6)]
        );
    }
}

fn encoder(model: &str, pooling: Pooling, normalize: bool) -> Encoder<Cpu> {
    let cpu = Cpu::new(Precision::F32).expect("every processor has f32");
    encoder_on(cpu, model, pooling, normalize)
}

fn encoder_on(cpu: Cpu, model: &str, pooling: Pooling, normalize: bool) -> Encoder<Cpu> {
    let folder = ModelFolder::open(&golden(&format!("encoder/{model}"))).expect("a golden model");
    let weights = folder.weights().expect("golden weights");
    Encoder::new(cpu, folder.config().clone(), weights, pooling, normalize)
}

fn adapter(encoder: &Encoder<Cpu>, name: &str) -> Adapter {
    let folder = golden(&format!("encoder/{name}"));
    Adapter::load_peft(&folder, encoder.config()).expect("a golden adapter")
}

fn embed(encoder: &Encoder<Cpu>, case: &Case, adapter: Option<&Adapter>) -> Vec<f32> {
    let batch = case.batch(adapter.map(|_| 0));
    let mut out = vec![0.0; batch.texts() * encoder.config().hidden];
    let adapters: Vec<&Adapter> = adapter.into_iter().collect();
    let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    out
}

/// Every tensor of a base model's forward pass, from the tape of an adapter that changes nothing.
fn check_forward(model: &str) {
    let case = Case::open(&format!("encoder/{model}.case.safetensors"));
    let encoder = encoder(model, Pooling::Mean, true);
    let mut idle = adapter(&encoder, &format!("{model}-adapter"));
    idle.values.fill(0.0);
    let batch = case.batch(Some(0));
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let hidden = encoder.config().hidden;
    let mut out = vec![0.0; batch.texts() * hidden];
    let forward = Forward { batch: &batch, adapters: &[&idle], start: Start::Tokens };
    encoder.forward(&forward, TapeMode::Full, &mut scratch, &mut tape, &mut out);
    case.check("forward.embedding", &tape.input, TOLERANCE_F32);
    let rows = batch.tokens().len();
    for (at, (kept, layer)) in tape.layers.iter().zip(&encoder.layers).enumerate() {
        let check = |name: &str, actual: &[f32]| {
            case.check(&format!("forward.layer.{at}.{name}"), actual, TOLERANCE_F32);
        };
        for (part, name) in ["query", "key", "value"].iter().enumerate() {
            let columns = part * hidden..(part + 1) * hidden;
            let of_row = |row: &'_ [f32]| row[columns.clone()].to_vec();
            let rows: Vec<f32> = kept.qkv.chunks_exact(3 * hidden).flat_map(of_row).collect();
            check(name, &rows);
        }
        let (backend, mut workspace) = (&encoder.backend, CpuWorkspace::default());
        let (mut narrow, mut delta) = (vec![0.0; rows * hidden], vec![0.0; rows * hidden]);
        backend.attention(&mut workspace, encoder.attention(&batch), &kept.qkv, &mut narrow);
        check("context", &narrow);
        backend.linear(&mut workspace, &layer.attention_output, &narrow, &mut delta);
        check("attention_output", &delta);
        backend.norm_again(&layer.attention_norm, &kept.attention_norm, &mut narrow);
        check("attention_norm", &narrow);
        check("intermediate", &kept.inner);
        let mut activated = vec![0.0; kept.inner.len()];
        backend.gelu(&kept.inner, &mut activated);
        check("gelu", &activated);
        backend.linear(&mut workspace, &layer.output, &activated, &mut delta);
        check("output", &delta);
        backend.norm_again(&layer.output_norm, &kept.output_norm, &mut narrow);
        check("output_norm", &narrow);
    }
    case.check("forward.mean_normalized", &out, TOLERANCE_F32);
}

#[test]
fn every_tensor_of_the_forward_pass_is_pytorchs() {
    for model in ["bert-tiny", "roberta-tiny"] {
        check_forward(model);
    }
}

#[test]
fn pooling_and_adapters_are_pefts() {
    for model in ["bert-tiny", "roberta-tiny"] {
        let case = Case::open(&format!("encoder/{model}.case.safetensors"));
        let poolings = [("mean", Pooling::Mean), ("cls", Pooling::Cls)];
        for ((name, pooling), normalize) in poolings.iter().flat_map(|p| [(p, false), (p, true)]) {
            let suffix = if normalize { "_normalized" } else { "" };
            let encoder = encoder(model, *pooling, normalize);
            let adapter = adapter(&encoder, &format!("{model}-adapter"));
            let bare = embed(&encoder, &case, None);
            case.check(&format!("forward.{name}{suffix}"), &bare, TOLERANCE_F32);
            let adapted = embed(&encoder, &case, Some(&adapter));
            case.check(&format!("adapted.{name}{suffix}"), &adapted, TOLERANCE_F32);
        }
    }
    let case = Case::open("encoder/bert-tiny.case.safetensors");
    for kind in ["rslora", "patterns", "last-layer"] {
        let encoder = encoder("bert-tiny", Pooling::Mean, true);
        let adapter = adapter(&encoder, &format!("bert-tiny-{kind}"));
        let adapted = embed(&encoder, &case, Some(&adapter));
        case.check(&format!("adapted.bert-tiny-{kind}"), &adapted, TOLERANCE_F32);
    }
}

/// Passes the gradient of every low-rank matrix under the loss `prefix` of the case to `check`, with
/// its name.
fn gradients(
    encoder: &Encoder<Cpu>,
    model: &str,
    prefix: &str,
    d_out: &str,
    check: impl Fn(&Case, &str, &[f32]),
) {
    let case = Case::open(&format!("encoder/{model}.case.safetensors"));
    let adapter = adapter(encoder, &format!("{model}-adapter"));
    let batch = case.batch(Some(0));
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; batch.texts() * encoder.config().hidden];
    let mut gradients = vec![Vec::new()];
    let forward = Forward { batch: &batch, adapters: &[&adapter], start: Start::Tokens };
    encoder.forward(&forward, TapeMode::Full, &mut scratch, &mut tape, &mut out);
    encoder.backward(&forward, &mut scratch, &mut tape, &case.floats(d_out), &mut gradients);
    for entry in adapter.layout.entries() {
        let Site { layer, module } = entry.site;
        let key = format!("{prefix}.base_model.model.encoder.layer.{layer}.{}", module.path());
        for (matrix, range) in [("lora_A", &entry.a), ("lora_B", &entry.b)] {
            check(&case, &format!("{key}.{matrix}.weight"), &gradients[0][range.clone()]);
        }
    }
}

fn check_gradients(model: &str, prefix: &str, d_out: &str) {
    let (pooling, normalize) =
        if prefix == "sum_cls" { (Pooling::Cls, false) } else { (Pooling::Mean, true) };
    let encoder = encoder(model, pooling, normalize);
    gradients(&encoder, model, prefix, d_out, |case, name, actual| {
        case.check(name, actual, TOLERANCE_GRADIENT);
    });
}

#[test]
fn every_gradient_is_pytorchs() {
    for model in ["bert-tiny", "roberta-tiny"] {
        check_gradients(model, "sum", "d_out");
        check_gradients(model, "mnrl", "mnrl.d_out");
    }
    check_gradients("bert-tiny", "sum_cls", "d_out");
    check_gradients("bert-tiny", "mnrl_negative", "mnrl_negative.d_out");
    check_gradients("bert-tiny", "mnrl_symmetric", "mnrl_symmetric.d_out");
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Every kind of bf16 product that this machine has or emulates.
#[test]
fn embeddings_and_gradients_in_bf16_are_near_pytorchs() {
    for (cpu, model) in
        Cpu::every_bf16().flat_map(|cpu| ["bert-tiny", "roberta-tiny"].map(|model| (cpu, model)))
    {
        let case = Case::open(&format!("encoder/{model}.case.safetensors"));
        let encoder = encoder_on(cpu, model, Pooling::Mean, true);
        let adapter = adapter(&encoder, &format!("{model}-adapter"));
        let hidden = encoder.config().hidden;
        for (name, adapter) in [("forward", None), ("adapted", Some(&adapter))] {
            let expected = case.floats(&format!("{name}.mean_normalized"));
            let actual = embed(&encoder, &case, adapter);
            let texts = expected.chunks_exact(hidden).zip(actual.chunks_exact(hidden));
            for (at, (expected, actual)) in texts.enumerate() {
                let cosine = cosine(expected, actual);
                assert!(cosine >= 0.999, "{cpu:?}: {model} {name} of text {at}: {cosine}");
            }
        }
        gradients(&encoder, model, "mnrl", "mnrl.d_out", |case, name, actual| {
            let cosine = cosine(&case.floats(name), actual);
            assert!(cosine >= 0.999, "{cpu:?}: {model} {name}: {cosine}");
        });
    }
}
