//! The encoder against itself: finite differences, kept against recomputed, alone against together.
//!
//! Agreement with PyTorch is the subject of `golden.rs`.

mod common;

use common::{adapter, dropout, encoder, push, random, texts};
use cotenant_transformer::{
    Adapter, Cpu, Encoder, Forward, HeadSlopes, HeadTape, LayerChoice, LoraSpec, Module, Packed,
    Pooling, Scratch, Start, Tape, TapeMode, Text,
};

fn spec(rank: usize, targets: &[Module], layers: LayerChoice) -> LoraSpec {
    LoraSpec { rank, alpha: 8.0, rslora: false, targets: targets.to_vec(), layers }
}

/// Embeddings and, by `d_out`, each segment's gradient.
fn pass(
    encoder: &Encoder<Cpu>,
    forward: &Forward<'_>,
    mode: TapeMode,
    d_out: &[f32],
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; d_out.len()];
    let mut gradients = vec![Vec::new(); forward.batch.segments().len()];
    encoder.forward(forward, mode, &mut scratch, &mut tape, &mut out);
    encoder.backward(forward, &mut scratch, &mut tape, d_out, &mut gradients);
    (out, gradients)
}

fn loss(encoder: &Encoder<Cpu>, batch: &Packed, adapter: &Adapter, d_out: &[f32]) -> f64 {
    let mut out = vec![0.0; d_out.len()];
    let forward = Forward { batch, adapters: &[adapter], start: Start::Tokens };
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    out.iter().zip(d_out).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Central differences in random directions: each direction tests every value at once.
fn check_gradient(pooling: Pooling, spec: &LoraSpec, rate: bool) {
    let encoder = encoder(pooling);
    let adapter = adapter(spec, 5);
    let texts = texts(&[3, 17, 2, 9], 6);
    let mut batch = Packed::default();
    push(&mut batch, &texts, Some(0), if rate { dropout(4, texts.len()) } else { None });
    let d_out = random(texts.len() * encoder.config().hidden, 7, 1.0);
    let forward = Forward { batch: &batch, adapters: &[&adapter], start: Start::Tokens };
    let (_, gradients) = pass(&encoder, &forward, TapeMode::Full, &d_out);
    for direction in 0..8 {
        let step = 1e-3;
        let by = random(adapter.values.len(), 100 + direction, 1.0);
        let moved = |sign: f32| {
            let values = adapter.values.iter().zip(&by).map(|(v, by)| v + sign * step * by);
            let moved = Adapter { values: values.collect(), ..adapter.clone() };
            loss(&encoder, &batch, &moved, &d_out)
        };
        let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * f64::from(step));
        let analytic: f64 =
            gradients[0].iter().zip(&by).map(|(g, by)| f64::from(*g) * f64::from(*by)).sum();
        let norm: f64 = gradients[0].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-3, "the gradient of {spec:?} vanishes");
        let error = (numeric - analytic).abs() / norm;
        assert!(error < 5e-3, "{spec:?} {pooling:?}: numeric {numeric}, analytic {analytic}");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let all = spec(5, &Module::ALL, LayerChoice::All);
    for module in Module::ALL {
        check_gradient(Pooling::Mean, &spec(3, &[module], LayerChoice::All), false);
    }
    check_gradient(Pooling::Mean, &all, false);
    check_gradient(Pooling::Cls, &all, false);
    check_gradient(Pooling::Mean, &all, true);
    check_gradient(Pooling::Mean, &spec(20, &Module::ALL, LayerChoice::Top(1)), false);
    check_gradient(
        Pooling::Mean,
        &spec(1, &[Module::Query, Module::Value], LayerChoice::Only(vec![1])),
        false,
    );
}

#[test]
fn every_tape_gives_the_same_bits() {
    let encoder = encoder(Pooling::Mean);
    let adapter = adapter(&spec(4, &Module::ALL, LayerChoice::All), 5);
    let texts = texts(&[3, 17, 2, 9, 31], 6);
    let mut batch = Packed::default();
    push(&mut batch, &texts, Some(0), dropout(4, texts.len()));
    let d_out = random(texts.len() * encoder.config().hidden, 7, 1.0);
    let forward = Forward { batch: &batch, adapters: &[&adapter], start: Start::Tokens };
    let full = pass(&encoder, &forward, TapeMode::Full, &d_out);
    for mode in [TapeMode::Light, TapeMode::Lean] {
        assert_eq!(full, pass(&encoder, &forward, mode, &d_out), "{mode:?}");
    }
    let mut out = vec![0.0; d_out.len()];
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    assert_eq!(full.0, out);
}

/// The ground of "alone = fused": a segment among others, in any place, with adapters of other
/// shapes, equals the segment alone.
#[test]
fn a_segment_does_not_depend_on_its_neighbours() {
    let encoder = encoder(Pooling::Mean);
    let hidden = encoder.config().hidden;
    let adapters = [
        adapter(&spec(4, &Module::ALL, LayerChoice::All), 1),
        adapter(&spec(16, &[Module::Query, Module::Value], LayerChoice::Top(2)), 2),
        adapter(&spec(1, &[Module::Output], LayerChoice::Only(vec![1])), 3),
    ];
    let segments: Vec<_> = [vec![2], vec![7, 3, 21], vec![40, 2], vec![1]]
        .iter()
        .enumerate()
        .map(|(i, lengths)| texts(lengths, 10 + i as u64))
        .collect();
    let slots = [Some(1), Some(0), None, Some(2)];
    let mut together = Packed::default();
    for ((texts, slot), key) in segments.iter().zip(slots).zip(0..) {
        push(&mut together, texts, slot, slot.and_then(|_| dropout(key, texts.len())));
    }
    let adapters: Vec<_> = adapters.iter().collect();
    let d_out = random(together.texts() * hidden, 7, 1.0);
    let forward = Forward { batch: &together, adapters: &adapters, start: Start::Tokens };
    let (out, gradients) = pass(&encoder, &forward, TapeMode::Full, &d_out);
    for (at, segment) in together.segments().iter().enumerate() {
        let mut alone = Packed::default();
        let keys = slots[at].and_then(|_| dropout(at as u64, segments[at].len()));
        push(&mut alone, &segments[at], slots[at], keys);
        let range = segment.texts.start * hidden..segment.texts.end * hidden;
        let forward = Forward { batch: &alone, adapters: &adapters, start: Start::Tokens };
        let (one, gradient) = pass(&encoder, &forward, TapeMode::Lean, &d_out[range.clone()]);
        assert_eq!(one, out[range], "embeddings of segment {at}");
        assert_eq!(gradient[0], gradients[at], "gradient of segment {at}");
    }
}

#[test]
fn a_pass_from_the_prefix_gives_the_same_bits() {
    let encoder = encoder(Pooling::Mean);
    let adapter = adapter(&spec(4, &Module::ALL, LayerChoice::Top(1)), 5);
    let texts = texts(&[3, 17, 2, 9], 6);
    let mut batch = Packed::default();
    push(&mut batch, &texts, Some(0), None);
    let hidden = encoder.config().hidden;
    let d_out = random(texts.len() * hidden, 7, 1.0);
    let mut rows = vec![0.0; batch.tokens().len() * hidden];
    encoder.prefix(&batch, 2, &mut Scratch::default(), &mut rows);
    let whole = Forward { batch: &batch, adapters: &[&adapter], start: Start::Tokens };
    let start = Start::Hidden { layer: 2, rows: &rows };
    let partial = Forward { batch: &batch, adapters: &[&adapter], start };
    assert_eq!(
        pass(&encoder, &whole, TapeMode::Full, &d_out),
        pass(&encoder, &partial, TapeMode::Full, &d_out)
    );
}

/// Texts that are read together: the second begins where its number says, or there is none.
fn pairs(texts: &[Vec<u32>]) -> Vec<Text<'_>> {
    let texts = texts.iter().enumerate();
    texts.map(|(at, tokens)| Text { tokens, first: 1 + at % tokens.len() }).collect()
}

/// A reranker: every value of its pairs and its head is drawn.
fn reranker(layers: LayerChoice, seed: u64) -> Adapter {
    let layout = adapter(&spec(3, &Module::ALL, layers), seed).layout.as_ref().clone();
    let layout = std::sync::Arc::new(layout.with_head(&common::config()));
    let values = random(layout.len(), seed, 0.3);
    Adapter { layout, values }
}

/// Scores of texts.
fn scores(encoder: &Encoder<Cpu>, batch: &Packed, adapter: &Adapter) -> Vec<f32> {
    let (mut rows, mut scores) =
        (vec![0.0; batch.texts() * encoder.config().hidden], vec![0.0; batch.texts()]);
    let forward = Forward { batch, adapters: &[adapter], start: Start::Tokens };
    encoder.embed(&forward, &mut Scratch::default(), &mut rows);
    let head = adapter.layout.head().expect("a reranker");
    head.scores(&adapter.values, &rows, &mut HeadTape::default(), &mut scores);
    scores
}

/// Through head and adapter, by central differences in random directions.
#[test]
fn gradients_of_scores_agree_with_finite_differences() {
    let encoder = encoder(Pooling::Mean);
    let hidden = encoder.config().hidden;
    for layers in [LayerChoice::All, LayerChoice::Top(1)] {
        let adapter = reranker(layers, 5);
        let head = adapter.layout.head().expect("a reranker");
        let texts = texts(&[3, 17, 2, 9], 6);
        let mut batch = Packed::default();
        batch.push(pairs(&texts), Some(0), None);
        let d_scores = random(texts.len(), 7, 1.0);
        let forward = Forward { batch: &batch, adapters: &[&adapter], start: Start::Tokens };
        let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
        let mut rows = vec![0.0; texts.len() * hidden];
        encoder.forward(&forward, TapeMode::Lean, &mut scratch, &mut tape, &mut rows);
        let (mut head_tape, mut found) = (HeadTape::default(), vec![0.0; texts.len()]);
        head.scores(&adapter.values, &rows, &mut head_tape, &mut found);
        assert_eq!(found, scores(&encoder, &batch, &adapter));
        let (mut d_rows, mut of_head) = (vec![0.0; rows.len()], vec![0.0; adapter.values.len()]);
        let slopes = HeadSlopes {
            rows: &rows,
            d_scores: &d_scores,
            d_rows: &mut d_rows,
            gradient: &mut of_head,
        };
        head.backward(&adapter.values, &mut head_tape, slopes);
        let mut gradients = vec![Vec::new()];
        encoder.backward(&forward, &mut scratch, &mut tape, &d_rows, &mut gradients);
        let sum = gradients[0].iter().zip(&of_head).map(|(a, b)| a + b);
        let gradient: Vec<f32> = sum.collect();
        let norm: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        for direction in 0..8 {
            let (step, by) = (1e-3, random(adapter.values.len(), 100 + direction, 1.0));
            let moved = |sign: f32| -> f64 {
                let values = adapter.values.iter().zip(&by).map(|(v, by)| v + sign * step * by);
                let moved = Adapter { values: values.collect(), ..adapter.clone() };
                let scores = scores(&encoder, &batch, &moved);
                scores.iter().zip(&d_scores).map(|(s, d)| f64::from(*s) * f64::from(*d)).sum()
            };
            let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * f64::from(step));
            let analytic: f64 =
                gradient.iter().zip(&by).map(|(g, by)| f64::from(*g) * f64::from(*by)).sum();
            let error = (numeric - analytic).abs() / norm;
            assert!(error < 5e-3, "numeric {numeric}, analytic {analytic}, norm {norm}");
        }
    }
}

/// What is embedded and what is scored go through one batch, and neither sees the other.
#[test]
fn rerankers_and_embeddings_share_a_batch() {
    let encoder = encoder(Pooling::Mean);
    let hidden = encoder.config().hidden;
    let embeds = adapter(&spec(4, &Module::ALL, LayerChoice::All), 1);
    let reranks = reranker(LayerChoice::All, 2);
    let adapters = [&embeds, &reranks];
    let segments = [texts(&[7, 3], 10), texts(&[5, 9, 2], 11), texts(&[4], 12)];
    let mut together = Packed::default();
    push(&mut together, &segments[0], Some(0), None);
    together.push(pairs(&segments[1]), Some(1), None);
    push(&mut together, &segments[2], None, None);
    let d_out = random(together.texts() * hidden, 7, 1.0);
    let forward = Forward { batch: &together, adapters: &adapters, start: Start::Tokens };
    let (out, gradients) = pass(&encoder, &forward, TapeMode::Full, &d_out);
    for (at, segment) in together.segments().iter().enumerate() {
        let mut alone = Packed::default();
        alone.push(segment.texts.clone().map(|at| together.text(at)), segment.adapter, None);
        let range = segment.texts.start * hidden..segment.texts.end * hidden;
        let forward = Forward { batch: &alone, adapters: &adapters, start: Start::Tokens };
        let (one, gradient) = pass(&encoder, &forward, TapeMode::Light, &d_out[range.clone()]);
        assert_eq!(one, out[range], "rows of segment {at}");
        assert_eq!(gradient[0], gradients[at], "gradient of segment {at}");
    }
    let length = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
    assert!((length(&out[..hidden]) - 1.0).abs() < 1e-5, "embeddings have length 1");
    assert!(
        (length(&out[2 * hidden..3 * hidden]) - 1.0).abs() > 1e-2,
        "a head reads rows as they are"
    );
}

/// Token types count, from the place where the second text begins.
#[test]
fn the_second_text_has_its_own_token_type() {
    let encoder = encoder(Pooling::Cls);
    let tokens = &texts(&[6], 3)[0];
    let embed = |first: usize, layer: Option<usize>| {
        let mut batch = Packed::default();
        batch.push([Text { tokens, first }], None, None);
        let mut out = vec![0.0; encoder.config().hidden];
        let mut rows = vec![0.0; tokens.len() * out.len()];
        let start = match layer {
            Some(layer) => {
                encoder.prefix(&batch, layer, &mut Scratch::default(), &mut rows);
                Start::Hidden { layer, rows: &rows }
            }
            None => Start::Tokens,
        };
        let forward = Forward { batch: &batch, adapters: &[], start };
        encoder.embed(&forward, &mut Scratch::default(), &mut out);
        out
    };
    for first in 0..=6 {
        assert_eq!(embed(first, None), embed(first, Some(2)), "the prefix keeps types");
        for other in 0..first {
            assert_ne!(embed(first, None), embed(other, None), "{first} and {other}");
        }
    }
}
