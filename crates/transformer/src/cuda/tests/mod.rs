//! Kernels on the processor against the CPU backend.
//!
//! Each subject has three checks: its results are those of the CPU within a stated bound; what
//! belongs together (a row, a text, a segment, a tenant) has the same bits alone, among others and
//! in another order; and, by `memory`, under every order of threads and blocks.

mod attention;
mod compiles;
mod coverage;
mod encoder;
mod gelu;
mod keeper;
mod linear;
mod lora;
mod loss;
mod memory;
mod norm;
mod optimizer;
mod pool;
mod rig;
mod rows;
mod tensor;
mod waits;

use self::memory::Memory;
use super::emulated::Host;
use super::source::Real;
use crate::packed::Packed;
use crate::random::{mix, unit};

/// Largest error in f32, relative to the largest value of the result: sums in another order than
/// the CPU's.
const TOLERANCE_FLOAT: f32 = 1e-5;
/// The same where rows are bf16: a result is rounded to 8 bits, by at most 2^-9 of itself, and twice
/// or three times where it is added to what is rounded.
const TOLERANCE_BF16: f32 = 1.0 / 128.0;

/// Runs a check for each format of rows, or says why not.
fn on_host(check: impl Fn(&Memory)) {
    for real in Real::ALL {
        match Host::open(real) {
            Ok(host) => check(&Memory::new(host)),
            Err(reason) => eprintln!("skipped: {reason}"),
        }
    }
}

/// Random values in ±1.
fn random(len: usize, seed: u64) -> Vec<f32> {
    (0..len).map(|i| unit(mix(&[seed, i as u64])) * 2.0 - 1.0).collect()
}

/// Random values of texts, `width` a token, end to end; a text's are those of its number.
fn random_texts(lengths: &[usize], order: &[usize], width: usize, seed: u64) -> Vec<f32> {
    order
        .iter()
        .flat_map(|&text| random(lengths[text] * width, mix(&[seed, text as u64])))
        .collect()
}

/// Texts of these lengths in this order, as one segment.
fn batch_of(lengths: &[usize], order: &[usize]) -> Packed {
    let texts: Vec<Vec<u32>> = order.iter().map(|&text| vec![0; lengths[text]]).collect();
    let mut batch = Packed::default();
    batch.push(texts.iter().map(Vec::as_slice), None, None);
    batch
}

/// Cuts a batch's values by text: `width` a token.
fn cut(lengths: &[usize], order: &[usize], width: usize, values: &[u32]) -> Vec<Vec<u32>> {
    let mut rest = values;
    let mut take = |&text: &usize| {
        let (first, behind) = rest.split_at(lengths[text] * width);
        rest = behind;
        first.to_vec()
    };
    order.iter().map(&mut take).collect()
}

/// That what `run` gives for each of `count` things, in the order that it is told, are the same bits
/// whether a thing is alone, among the others, or among them in another order.
#[track_caller]
fn assert_alone_is_together(count: usize, run: impl Fn(&[usize]) -> Vec<Vec<u32>>) {
    let order: Vec<usize> = (0..count).collect();
    let together = run(&order);
    let backwards: Vec<usize> = order.iter().rev().copied().collect();
    for (&thing, found) in backwards.iter().zip(run(&backwards)) {
        assert!(found == together[thing], "{thing} in another order");
    }
    for thing in order {
        assert!(run(&[thing])[0] == together[thing], "{thing} alone");
    }
}

/// That rows which a kernel wrote are what was expected, within the format's tolerance.
#[track_caller]
fn assert_near(memory: &Memory, what: &str, found: &[f32], expected: &[f32]) {
    let tolerance = match memory.real() {
        Real::Float => TOLERANCE_FLOAT,
        Real::Bf16 => TOLERANCE_BF16,
    };
    assert_within(tolerance, what, found, expected);
}

/// That each value is what was expected, within a part of the largest.
#[track_caller]
fn assert_within(tolerance: f32, what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= tolerance * largest, "{what}[{at}]: {found}, not {expected}");
    }
}
