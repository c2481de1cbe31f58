//! The real all-MiniLM-L6-v2 against sentence-transformers: token ids and embeddings of the 64 lines
//! of `golden/sentences.txt`, each compared with what `golden/minilm.safetensors` holds for it.
//!
//! The model comes from the user's cache, and is fetched into it where there is a network; a test
//! that cannot have it says so and why. All lines are embedded as one batch here, where
//! sentence-transformers had each alone, because neighbours must not matter.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the helpers are tests too, and say what is skipped and what was measured"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cotenant_rag::models::Store;
use cotenant_transformer::{Cpu, Encoder, Forward, ModelFolder, Packed, Precision, Scratch, Start};
use safetensors::SafeTensors;

const MODEL: &str = "all-MiniLM-L6-v2";
/// Where sentence-transformers cuts a text.
const TOKENS_MAX: usize = 256;
const TEXTS: usize = 64;
const HIDDEN: usize = 384;

/// Least cosine of a text's embedding with sentence-transformers'.
///
/// f32: sums in another order, which measures 3e-12 from 1; what is promised is 0.99999.
const COSINE_F32: f64 = 1.0 - 1e-9;
/// bf16: factors of 8 bits, which measures 5e-5 from 1.
const COSINE_BF16: f64 = 0.999;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(path)
}

fn sentences() -> Vec<String> {
    let text = fs::read_to_string(golden("sentences.txt")).unwrap();
    // Only a line feed ends a line, so `str::lines` would take carriage returns away.
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!((last.as_str(), lines.len()), ("", TEXTS));
    lines.to_vec()
}

/// Token ids of each line, and the embeddings `[texts, hidden]`.
fn expected() -> (Vec<Vec<u32>>, Vec<f32>) {
    let bytes = fs::read(golden("minilm.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> {
        let tensor = tensors.tensor(name).unwrap();
        tensor.data().chunks_exact(4).map(|word| word.try_into().unwrap()).collect()
    };
    let integers =
        |name: &str| -> Vec<u32> { words(name).into_iter().map(u32::from_le_bytes).collect() };
    let (tokens, offsets) = (integers("tokens"), integers("offsets"));
    let texts = offsets.windows(2).map(|ends| tokens[ends[0] as usize..ends[1] as usize].to_vec());
    let embeddings: Vec<f32> = words("embeddings").into_iter().map(f32::from_le_bytes).collect();
    assert_eq!(embeddings.len(), TEXTS * HIDDEN);
    (texts.collect(), embeddings)
}

/// The model, fetched once for all tests; `None`, said aloud, where it cannot be had.
fn model() -> Option<ModelFolder> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let pull = || {
        let store = Store::open().map_err(|error| error.to_string())?;
        store.pull(MODEL, &mut |_| {}).map_err(|error| error.to_string())
    };
    match FOLDER.get_or_init(pull) {
        Ok(folder) => Some(ModelFolder::open(folder).unwrap()),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

#[test]
fn token_ids_are_the_tokenizers_of_the_model() {
    let Some(model) = model() else { return };
    assert_eq!(model.tokens_max(), TOKENS_MAX);
    let tokenizer = model.tokenizer().unwrap();
    let (expected, _) = expected();
    let mut longest = 0;
    for (line, (text, expected)) in sentences().iter().zip(&expected).enumerate() {
        let found = tokenizer.encode(text, TOKENS_MAX).unwrap();
        assert_eq!(&found, expected, "line {}: {text:?}", line + 1);
        longest = longest.max(found.len());
    }
    assert_eq!(longest, TOKENS_MAX, "one line has to be cut");
}

#[test]
fn embeddings_in_f32_are_those_of_sentence_transformers() {
    check(Precision::F32, COSINE_F32);
}

#[test]
fn embeddings_in_bf16_are_near_those_of_sentence_transformers() {
    if Cpu::new(Precision::Bf16).is_err() {
        eprintln!("skipped: this processor has no bf16 products");
        return;
    }
    check(Precision::Bf16, COSINE_BF16);
}

#[track_caller]
fn check(precision: Precision, cosine_min: f64) {
    let Some(model) = model() else { return };
    let (tokens, expected) = expected();
    let found = embed(&model, precision, &tokens);
    assert_eq!(found.len(), expected.len());
    let pairs = found.chunks_exact(HIDDEN).zip(expected.chunks_exact(HIDDEN));
    let cosines: Vec<f64> = pairs.map(|(found, expected)| cosine(found, expected)).collect();
    let lowest = cosines.iter().copied().fold(f64::INFINITY, f64::min);
    eprintln!("{precision:?}: lowest cosine 1 - {:.1e}", 1.0 - lowest);
    for (line, (text, cosine)) in sentences().iter().zip(&cosines).enumerate() {
        // Not `<`, which would let a NaN pass.
        assert!(*cosine >= cosine_min, "line {}: {cosine} of {text:?}", line + 1);
    }
    for (line, row) in found.chunks_exact(HIDDEN).enumerate() {
        let length = dot(row, row).sqrt();
        assert!((length - 1.0).abs() < 1e-5, "line {} has length {length}", line + 1);
    }
}

fn embed(model: &ModelFolder, precision: Precision, tokens: &[Vec<u32>]) -> Vec<f32> {
    let weights = model.weights().unwrap();
    let cpu = Cpu::new(precision).unwrap();
    let config = model.config().clone();
    let encoder = Encoder::new(cpu, config, weights, model.pooling(), model.normalize());
    let mut batch = Packed::default();
    batch.push(tokens.iter().map(Vec::as_slice), None, None);
    let forward = Forward { batch: &batch, adapters: &[], start: Start::Tokens };
    let mut out = vec![0.0; TEXTS * HIDDEN];
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    out
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
}
