//! Softmax from scores in f32 to weights in bf16, for [`attention16`](super::attention16).
//!
//! Weights are left unscaled, since scaling the products they go into is less work: a row's largest
//! weight is 1, and its share is what its product is to be multiplied by (as in FlashAttention,
//! arXiv:2205.14135). Shares are of the weights before rounding.

use super::bf16::Avx512Bf16;
use super::lanes::LANES;

/// One head's scores, `[n, columns]`, where `columns` is `n` rounded up to a vector.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a> {
    pub values: &'a [f32],
    pub n: usize,
    /// What every score is multiplied by.
    pub scale: f32,
}

/// Writes `weights: [n, columns]` as pairs, zeros from column `n` on, and `shares: [n]`.
pub(super) fn softmax(
    isa: Avx512Bf16,
    scores: Scores<'_>,
    weights: &mut Vec<u32>,
    shares: &mut Vec<f32>,
) {
    let columns = scores.n.next_multiple_of(LANES);
    assert_eq!(scores.values.len(), scores.n * columns);
    weights.resize(scores.n * columns / 2, 0);
    shares.resize(scores.n, 0.0);
    let rows = scores.values.chunks_exact(columns).zip(weights.chunks_exact_mut(columns / 2));
    for ((row, weights), share) in rows.zip(shares) {
        // SAFETY: `isa` proves the instructions, and `n` scores need all of the row's blocks.
        *share = unsafe { avx512::row(isa, row, (scores.n, scores.scale), weights) };
    }
}

mod avx512 {
    use std::arch::x86_64::{
        __m256bh, __m256i, __m512, _mm256_storeu_si256, _mm512_add_ps, _mm512_cvtneps_pbh,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps, _mm512_max_ps, _mm512_reduce_add_ps,
        _mm512_reduce_max_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_sub_ps,
    };

    use super::super::transpose::avx512::mask;
    use super::{Avx512Bf16, LANES};

    /// Weights of one row, and one over their sum.
    ///
    /// # Safety
    /// The isa is proof of the instructions; `scores` holds `n` rounded up to a vector, and `weights`
    /// half as many.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn row(
        _: Avx512Bf16,
        scores: &[f32],
        (n, scale): (usize, f32),
        weights: &mut [u32],
    ) -> f32 {
        let beyond = _mm512_set1_ps(f32::NEG_INFINITY);
        let load = |at: usize| {
            // SAFETY: `at` is one of the row's blocks.
            let block = unsafe { _mm512_loadu_ps(scores.as_ptr().add(at)) };
            _mm512_mask_mov_ps(beyond, mask(n - at), block)
        };
        let mut largest = beyond;
        for at in (0..n).step_by(LANES) {
            largest = _mm512_max_ps(largest, load(at));
        }
        let factor = scale * std::f32::consts::LOG2_E;
        let shift = _mm512_set1_ps(-_mm512_reduce_max_ps(largest) * factor);
        let factor = _mm512_set1_ps(factor);
        let mut sum = _mm512_setzero_ps();
        for at in (0..n).step_by(LANES) {
            let weight = exp2(_mm512_fmadd_ps(load(at), factor, shift));
            sum = _mm512_add_ps(sum, weight);
            let rounded = _mm512_cvtneps_pbh(weight);
            // SAFETY: sixteen values of 16 bits fill the block's eight pairs.
            unsafe {
                let to = weights.as_mut_ptr().add(at / 2).cast();
                _mm256_storeu_si256(to, std::mem::transmute::<__m256bh, __m256i>(rounded));
            }
        }
        1.0 / _mm512_reduce_add_ps(sum)
    }

    /// `2^x` to within 3e-6 of itself: Taylor's polynomial around the nearest whole number. bf16 keeps
    /// 4e-3.
    #[target_feature(enable = "avx512f")]
    fn exp2(x: __m512) -> __m512 {
        let whole = _mm512_roundscale_ps::<0>(x);
        let rest = _mm512_sub_ps(x, whole);
        // ln(2)^i / i!, from the fifth down; the zeroth is 1.
        let mut value = _mm512_set1_ps(1.333_355_8e-3);
        for term in [9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
            value = _mm512_fmadd_ps(value, rest, _mm512_set1_ps(term));
        }
        _mm512_scalef_ps(value, whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{mix, unit};

    #[test]
    fn weights_and_shares_are_those_of_an_exact_softmax() {
        let Some(isa) = Avx512Bf16::detect() else {
            eprintln!("skipped: this processor has no AVX512-BF16");
            return;
        };
        let (mut weights, mut shares) = (Vec::new(), Vec::new());
        for n in [70usize, 64, 33, 17, 16, 15, 1] {
            let columns = n.next_multiple_of(LANES);
            // What stands beyond the columns must not matter.
            let value = |at: usize| match at % columns < n {
                true => 60.0 * unit(mix(&[n as u64, at as u64])) - 30.0,
                false => f32::NAN,
            };
            let values: Vec<f32> = (0..n * columns).map(value).collect();
            softmax(isa, Scores { values: &values, n, scale: 0.5 }, &mut weights, &mut shares);
            for (i, row) in values.chunks_exact(columns).enumerate() {
                let row: Vec<f64> = row[..n].iter().map(|x| f64::from(*x) * 0.5).collect();
                let largest = row.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
                assert!((f64::from(shares[i]) * sum - 1.0).abs() < 1e-5, "share {i} of {n}");
                for j in 0..columns {
                    let pair = weights[i * columns / 2 + j / 2];
                    let found =
                        f32::from_bits(if j % 2 == 0 { pair << 16 } else { pair & 0xFFFF_0000 });
                    let expected = row.get(j).map_or(0.0, |x| (x - largest).exp());
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error <= 0.004 * expected + 1e-30,
                        "{i},{j} of {n}: {found}, {expected}"
                    );
                }
            }
        }
    }
}
