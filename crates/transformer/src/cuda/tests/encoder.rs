//! The whole encoder on kernels, forward and backward, against the encoder on the processor.

use std::path::Path;

use super::random;
use crate::adapter::{Adapter, AdapterLayout, LayerChoice, LoraSpec, Module};
use crate::backend::{Backend, Fault, Precision};
use crate::cpu::Cpu;
use crate::cuda::backend::Cuda;
use crate::cuda::emulated::{EmulatedDevice, Host, HostMachine};
use crate::cuda::machine::Machine;
use crate::cuda::rig;
use crate::cuda::source::Real;
use crate::encoder::{Encoder, Forward, Pooling, Scratch, Start, Tape, TapeMode};
use crate::model::{EncoderConfig, ModelFolder};
use crate::packed::{Dropout, Packed, Text};
use crate::random::mix;

const MODELS: [&str; 2] = ["bert-tiny", "roberta-tiny"];
/// Errors of f32 through all layers, relative to the largest value.
const TOLERANCE_FLOAT: f32 = 2e-5;
/// Rows are rounded to bf16 at every step through two layers, with weights ten times as large as
/// trained ones.
const TOLERANCE_BF16: f32 = 0.06;

fn on<B: Backend>(backend: B, model: &str) -> Encoder<B> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/encoder").join(model);
    let folder = ModelFolder::open(&path).unwrap();
    let weights = folder.weights().unwrap();
    Encoder::new(backend, folder.config().clone(), weights, Pooling::Mean, true)
}

pub(super) fn on_kernels(host: &'static Host, model: &str) -> Encoder<EmulatedDevice> {
    on(Cuda::new(HostMachine::new(host), host.real), model)
}

pub(super) fn on_cpu(model: &str) -> Encoder<Cpu> {
    on(Cpu::new(Precision::F32).unwrap(), model)
}

/// An adapter whose pairs all do something.
pub(super) fn adapter(config: &EncoderConfig, rank: usize, seed: u64) -> Adapter {
    let spec = LoraSpec {
        rank,
        alpha: 2.0 * rank as f32,
        rslora: false,
        targets: Module::ALL.to_vec(),
        layers: if seed.is_multiple_of(2) { LayerChoice::All } else { LayerChoice::Top(1) },
    };
    let layout = AdapterLayout::from_spec(&spec, config).unwrap();
    let values = random(layout.len(), seed).iter().map(|value| value * 0.05).collect();
    Adapter { layout: layout.into(), values }
}

/// Texts of tenants with adapters of several ranks, one with dropout, and of the bare model.
pub(super) fn batch(config: &EncoderConfig, order: &[usize]) -> Packed {
    let texts: Vec<Vec<u32>> = [3, 17, 1, 8, 12, 5]
        .iter()
        .zip(0..)
        .map(|(&len, text)| {
            (0..len).map(|i| (mix(&[text, i]) % config.vocab as u64) as u32).collect()
        })
        .collect();
    let mut batch = Packed::default();
    for &segment in order {
        let own = &texts[2 * segment..2 * segment + 2];
        let dropout = Dropout {
            key: 7,
            text_keys: vec![2 * segment as u64, 2 * segment as u64 + 1],
            rate_per_mille: 200,
        };
        let own = own.iter().map(|tokens| Text::from(tokens.as_slice()));
        let adapter = (segment < 2).then_some(segment);
        batch.push(own, adapter, (segment == 1).then_some(dropout));
    }
    batch
}

/// Embeddings, and the gradients of each segment.
type Found = (Vec<f32>, Vec<Vec<f32>>);

fn run<B: Backend>(
    encoder: &Encoder<B>,
    (batch, adapters): (&Packed, &[&Adapter]),
    mode: TapeMode,
) -> Found {
    let hidden = encoder.config().hidden;
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; batch.texts() * hidden];
    let forward = Forward { batch, adapters, start: Start::Tokens };
    encoder.forward(&forward, mode, &mut scratch, &mut tape, &mut out);
    let mut alone = vec![0.0; out.len()];
    encoder.embed(&forward, &mut scratch, &mut alone);
    assert!(out == alone || encoder.backend().has_failed(), "with a tape and without");
    let slopes: Vec<f32> = (0..batch.texts())
        .flat_map(|at| random(hidden, mix(&[9, batch.text(at).tokens[0].into()])))
        .collect();
    let mut gradients = vec![Vec::new(); batch.segments().len()];
    encoder.backward(&forward, &mut scratch, &mut tape, &slopes, &mut gradients);
    (out, gradients)
}

#[track_caller]
pub(super) fn check(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-6_f32, |most, value| most.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / largest;
        assert!(error <= tolerance, "{what} {i}: {found}, not {expected}: {error:e}");
    }
}

/// The host for a format, or the reason that there is none, aloud.
pub(super) fn host(real: Real) -> Option<&'static Host> {
    Host::open(real).inspect_err(|reason| eprintln!("skipped: {reason}")).ok()
}

/// Compares an encoder on kernels with one on the processor.
fn compare<M: Machine>(kernels: &Encoder<Cuda<M>>, model: &str, real: Real) {
    let tolerance = match real {
        Real::Float => TOLERANCE_FLOAT,
        Real::Bf16 => TOLERANCE_BF16,
    };
    let cpu = on_cpu(model);
    let adapters = [adapter(cpu.config(), 4, 2), adapter(cpu.config(), 3, 5)];
    let adapters: Vec<&Adapter> = adapters.iter().collect();
    let batch = batch(cpu.config(), &[0, 1, 2]);
    let scene = (&batch, &adapters[..]);
    let found = run(kernels, scene, TapeMode::Full);
    let expected = run(&cpu, scene, TapeMode::Full);
    assert_eq!(kernels.backend().take_fault(), None);
    check(&format!("{model} {real:?} embeddings"), &found.0, &expected.0, tolerance);
    for (at, (found, expected)) in found.1.iter().zip(&expected.1).enumerate() {
        let what = format!("{model} {real:?} gradient of segment {at}");
        check(&what, found, expected, tolerance);
    }
    for mode in [TapeMode::Light, TapeMode::Lean] {
        assert!(run(kernels, scene, mode) == found, "{model} {real:?} {mode:?}");
    }
}

#[test]
fn embeddings_and_gradients_are_those_of_the_processor() {
    for real in Real::ALL {
        let Some(host) = host(real) else { return };
        MODELS.iter().for_each(|model| compare(&on_kernels(host, model), model, real));
    }
}

/// The same on a real card, where there is one.
#[test]
fn embeddings_and_gradients_on_a_card_are_those_of_the_processor() {
    for (real, precision) in [(Real::Float, Precision::F32), (Real::Bf16, Precision::Bf16)] {
        for model in MODELS {
            match rig::open(0, precision, None) {
                Ok((card, _)) => compare(&on(card, model), model, real),
                Err(reason) => return eprintln!("skipped: {reason}"),
            }
        }
    }
}

/// The project's promise, on kernels: what a tenant gets has the same bits alone and fused.
#[test]
fn a_segment_has_the_same_bits_alone_among_others_and_in_another_order() {
    for real in Real::ALL {
        let Some(host) = host(real) else { return };
        let encoder = on_kernels(host, "bert-tiny");
        let adapters = [adapter(encoder.config(), 4, 2), adapter(encoder.config(), 3, 5)];
        let adapters: Vec<&Adapter> = adapters.iter().collect();
        let hidden = encoder.config().hidden;
        let found = |order: &[usize]| {
            let batch = batch(encoder.config(), order);
            let (embeddings, gradients) = run(&encoder, (&batch, &adapters), TapeMode::Full);
            let texts = embeddings.chunks_exact(2 * hidden).map(<[f32]>::to_vec);
            let mut of_segment: Vec<_> = order.iter().zip(texts.zip(gradients)).collect();
            of_segment.sort_by_key(|(segment, _)| **segment);
            of_segment.into_iter().map(|(_, found)| found).collect::<Vec<_>>()
        };
        let together = found(&[0, 1, 2]);
        assert!(together == found(&[2, 1, 0]), "{real:?}: in another order");
        for (segment, together) in together.iter().enumerate() {
            assert!(found(&[segment])[0] == *together, "{real:?}: segment {segment} alone");
        }
    }
}

/// A device that failed does nothing more until somebody has taken note, and goes on then.
#[test]
fn out_of_memory_is_told_once_and_gone_on_from() {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let machine = encoder.backend().machine();
    let adapters = [adapter(encoder.config(), 4, 2), adapter(encoder.config(), 3, 5)];
    let adapters: Vec<&Adapter> = adapters.iter().collect();
    let batch = batch(encoder.config(), &[0, 1]);
    let before = run(&encoder, (&batch, &adapters), TapeMode::Full);
    for left in [0, 1, 5, 20, 40] {
        machine.leave(left);
        let _ = run(&encoder, (&batch, &adapters), TapeMode::Full);
        let launches = machine.launches();
        let _ = run(&encoder, (&batch, &adapters), TapeMode::Full);
        assert_eq!(machine.launches(), launches, "with {left}: nothing runs any more");
        let fault = encoder.backend().take_fault();
        assert!(matches!(fault, Some(Fault::OutOfMemory(_))), "with {left}: {fault:?}");
        machine.leave(usize::MAX);
        assert!(run(&encoder, (&batch, &adapters), TapeMode::Full) == before, "with {left}");
        assert_eq!(encoder.backend().take_fault(), None);
    }
}

#[test]
fn tokens_that_the_model_does_not_know_are_refused() {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let mut batch = Packed::default();
    batch.push([&[encoder.config().vocab as u32][..]], None, None);
    let _ = encoder_embeds(&encoder, &batch);
    let fault = encoder.backend().take_fault();
    assert!(matches!(&fault, Some(Fault::Refused(why)) if why.contains("token")), "{fault:?}");
}

fn encoder_embeds(encoder: &Encoder<EmulatedDevice>, batch: &Packed) -> Vec<f32> {
    let mut out = vec![0.0; batch.texts() * encoder.config().hidden];
    let forward = Forward { batch, adapters: &[], start: Start::Tokens };
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    out
}

/// What the plans count are the products that the model's shape asks for, by their definition.
#[test]
fn operations_are_those_of_the_products() {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let machine = encoder.backend().machine();
    let config = encoder.config().clone();
    // All layers of both are adapted at every site.
    let adapters = [adapter(&config, 4, 2), adapter(&config, 3, 4)];
    let adapters: Vec<&Adapter> = adapters.iter().collect();
    let batch = batch(&config, &[0, 1, 2]);
    let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; batch.texts() * config.hidden];
    machine.take_operations();
    encoder.forward(&forward, TapeMode::Full, &mut scratch, &mut tape, &mut out);
    let forward_found = machine.take_operations();
    let mut gradients = vec![Vec::new(); 3];
    encoder.backward(&forward, &mut scratch, &mut tape, &out, &mut gradients);
    let backward_found = machine.take_operations();
    assert_eq!(encoder.backend().take_fault(), None);

    let (hidden, inner) = (config.hidden, config.intermediate);
    let (tokens, layers) = (batch.tokens().len(), config.layers);
    let squares: usize = batch.offsets().windows(2).map(|ends| (ends[1] - ends[0]).pow(2)).sum();
    let weights = 4 * hidden * hidden + 2 * hidden * inner;
    let segments = || batch.segments().iter().filter_map(|it| Some((it, it.adapter?)));
    let pairs = |count: &dyn Fn(&crate::adapter::Entry) -> usize| -> usize {
        let of = |(segment, at): (_, usize)| {
            let entries = adapters[at].layout.entries();
            batch.rows(segment).len()
                * entries.iter().map(|entry| entry.rank * count(entry)).sum::<usize>()
        };
        segments().map(of).sum()
    };
    let both = pairs(&|entry| entry.inputs + entry.outputs);
    let expected = layers * (2 * tokens * weights + 4 * hidden * squares) + 2 * both;
    assert_eq!(forward_found, expected as u64, "forward");

    // Of the lowest layer's queries, keys and values no gradient goes further down.
    let is_lowest = |entry: &crate::adapter::Entry| {
        let projections = [Module::Query, Module::Key, Module::Value];
        entry.site.layer == 0 && projections.contains(&entry.site.module)
    };
    let down = pairs(&|entry| if is_lowest(entry) { 0 } else { entry.inputs });
    // Seven products of pairs of rows where the definition has four, since none is kept, and the two
    // of the context once more, which the projection behind it is adapted to.
    let attention = layers * (14 + 4) * hidden * squares;
    let linear = 2 * tokens * (layers * weights - 3 * hidden * hidden);
    let expected = linear + attention + 4 * both + 2 * down;
    assert_eq!(backward_found, expected as u64, "backward");
}
