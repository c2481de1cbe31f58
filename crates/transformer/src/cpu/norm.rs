//! Layer norm over a row's features, its derivative, and the rows it starts from.

use super::lanes::{LANES, Lanes, kernel};
use crate::model::Norm;

/// `[rows, hidden]` normalised rows and one reciprocal deviation a row: all that backward needs.
pub(super) struct Normalised<'a> {
    pub rows: &'a mut [f32],
    pub scales: &'a mut [f32],
}

/// Sums `f` over whole blocks and a last partial one, whose missing lanes are zero after `f`.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(Lanes) -> Lanes) -> f32 {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut sum = Lanes::splat(0.0);
    for block in blocks {
        sum = sum + f(Lanes::load(block));
    }
    if !rest.is_empty() {
        sum = sum + f(Lanes::load_part(rest, 0.0)).keep(rest.len());
    }
    sum.sum()
}

kernel! {
    /// `y = norm(x + delta)`, with what backward reads in `saved`.
    pub(super) fn add_norm(
        x: &[f32],
        delta: &[f32],
        norm: (&Norm, f32),
        saved: Normalised<'_>,
        y: &mut [f32],
    ) {
        let (norm, eps) = norm;
        let hidden = norm.gain.len();
        let rows = x.chunks_exact(hidden).zip(delta.chunks_exact(hidden));
        let outs = saved.rows.chunks_exact_mut(hidden).zip(saved.scales).zip(y.chunks_exact_mut(hidden));
        for (rows, ((normalised, scale), y)) in rows.zip(outs) {
            *scale = normalise(rows, eps, normalised);
            for (((y, v), gain), bias) in y.iter_mut().zip(normalised).zip(&norm.gain).zip(&norm.bias) {
                *y = v.mul_add(*gain, *bias);
            }
        }
    }
}

kernel! {
    /// As [`add_norm`], the same bits, where nothing is saved.
    pub(super) fn add_norm_alone(x: &[f32], delta: &[f32], norm: (&Norm, f32), y: &mut [f32]) {
        let (norm, eps) = norm;
        let hidden = norm.gain.len();
        let rows = x.chunks_exact(hidden).zip(delta.chunks_exact(hidden));
        for (rows, y) in rows.zip(y.chunks_exact_mut(hidden)) {
            normalise(rows, eps, y);
            for ((y, gain), bias) in y.iter_mut().zip(&norm.gain).zip(&norm.bias) {
                *y = y.mul_add(*gain, *bias);
            }
        }
    }
}

/// Writes the sum of two rows with mean 0 and variance 1; returns the reciprocal deviation.
#[inline(always)]
fn normalise((x, delta): (&[f32], &[f32]), eps: f32, normalised: &mut [f32]) -> f32 {
    let hidden = normalised.len() as f32;
    for ((to, x), delta) in normalised.iter_mut().zip(x).zip(delta) {
        *to = x + delta;
    }
    let mean = sum(normalised, |v| v) / hidden;
    let centre = Lanes::splat(mean);
    let variance = sum(normalised, |v| (v - centre) * (v - centre)) / hidden;
    let scale = 1.0 / (variance + eps).sqrt();
    for v in normalised.iter_mut() {
        *v = (*v - mean) * scale;
    }
    scale
}

kernel! {
    /// `y = normalised * gain + bias`: the output that [`add_norm`] wrote, again.
    pub(super) fn scale_shift(normalised: &[f32], norm: &Norm, y: &mut [f32]) {
        let hidden = norm.gain.len();
        for (row, y) in normalised.chunks_exact(hidden).zip(y.chunks_exact_mut(hidden)) {
            for (((y, v), gain), bias) in y.iter_mut().zip(row).zip(&norm.gain).zip(&norm.bias) {
                *y = v.mul_add(*gain, *bias);
            }
        }
    }
}

kernel! {
    /// `dy` becomes the gradient of the norm's input, in place.
    pub(super) fn norm_backward(normalised: &[f32], scales: &[f32], norm: &Norm, dy: &mut [f32]) {
        let hidden = norm.gain.len();
        let rows = normalised.chunks_exact(hidden).zip(scales);
        for ((row, &scale), dy) in rows.zip(dy.chunks_exact_mut(hidden)) {
            for (dy, gain) in dy.iter_mut().zip(&norm.gain) {
                *dy *= gain;
            }
            let mean = sum(dy, |v| v) / hidden as f32;
            let along = product(dy, row) / hidden as f32;
            for (dy, v) in dy.iter_mut().zip(row) {
                *dy = (*dy - mean - v * along) * scale;
            }
        }
    }
}

/// The inner product of two rows, in a fixed order.
#[inline(always)]
pub(super) fn product(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sum = Lanes::splat(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = Lanes::load(a).mul_add(Lanes::load(b), sum);
    }
    let (a, b) = (Lanes::load_part(a_rest, 0.0), Lanes::load_part(b_rest, 0.0));
    a.mul_add(b, sum).sum()
}
