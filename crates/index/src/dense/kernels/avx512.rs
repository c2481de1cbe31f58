//! The kernels with AVX-512, 64 bytes a step; those over integers need its dot-product
//! instructions (VNNI).

use std::arch::x86_64::{
    __m512i, _mm256_loadu_si256, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_loadu_ps, _mm512_maskz_mov_epi8,
    _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi16, _mm512_sub_epi32, _mm512_xor_si512,
};

#[target_feature(enable = "avx512f")]
pub(super) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let (a_whole, a_rest) = a.as_chunks::<64>();
    let (b_whole, b_rest) = b.as_chunks::<64>();
    let mut sums = [_mm512_setzero_ps(); 4];
    for (a, b) in a_whole.iter().zip(b_whole) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both chunks have 64 floats, of which sixteen from 0, 16, 32 or 48 on are read.
            let (a, b) = unsafe {
                let at = 16 * part;
                (_mm512_loadu_ps(a.as_ptr().add(at)), _mm512_loadu_ps(b.as_ptr().add(at)))
            };
            *sum = _mm512_fmadd_ps(a, b, *sum);
        }
    }
    for (a, b) in a_rest.chunks(16).zip(b_rest.chunks(16)) {
        let mask = (0xFFFF_u32 >> (16 - a.len())) as u16;
        // SAFETY: the mask has as many bits as the chunks have floats, and the rest is not read.
        let (a, b) = unsafe {
            (_mm512_maskz_loadu_ps(mask, a.as_ptr()), _mm512_maskz_loadu_ps(mask, b.as_ptr()))
        };
        sums[0] = _mm512_fmadd_ps(a, b, sums[0]);
    }
    let pairs = [_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])];
    _mm512_reduce_add_ps(_mm512_add_ps(pairs[0], pairs[1]))
}

#[target_feature(enable = "avx512f")]
pub(super) fn dot_bf16(query: &[f32], row: &[u16]) -> f32 {
    let (query_whole, query_rest) = query.as_chunks::<32>();
    let (row_whole, row_rest) = row.as_chunks::<32>();
    let mut sums = [_mm512_setzero_ps(); 2];
    for (query, row) in query_whole.iter().zip(row_whole) {
        for (half, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both chunks have 32 numbers, of which sixteen from 0 or 16 on are read.
            let (query, row) = unsafe {
                let at = 16 * half;
                (
                    _mm512_loadu_ps(query.as_ptr().add(at)),
                    _mm256_loadu_si256(row.as_ptr().add(at).cast()),
                )
            };
            let wide = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(row));
            *sum = _mm512_fmadd_ps(query, _mm512_castsi512_ps(wide), *sum);
        }
    }
    let sum = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
    sum + super::plain::dot_bf16(query_rest, row_rest)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let (a_whole, a_rest) = a.as_chunks::<64>();
    let (b_whole, b_rest) = b.as_chunks::<64>();
    // The instruction multiplies unsigned by signed bytes: `a + 128` is unsigned, and 128 times the
    // sum of `b` is taken off again.
    let flip = _mm512_set1_epi8(-128);
    let (mut sum, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (a, b) in a_whole.iter().zip(b_whole) {
        // SAFETY: both chunks have 64 bytes.
        let (a, b) = unsafe {
            (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()))
        };
        sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(a, flip), b);
        excess = _mm512_dpbusd_epi32(excess, flip, b);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, excess)) + super::plain::dot_i8(a_rest, b_rest)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sums_u4(query: &[i8], row: &[u8]) -> __m512i {
    let low = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_si512(); 2];
    for (query, row) in query.as_chunks::<128>().0.iter().zip(row.as_chunks::<64>().0) {
        // SAFETY: a row's chunk has 64 bytes, the query's twice as many.
        let (row, first, second) = unsafe {
            (
                _mm512_loadu_si512(row.as_ptr().cast()),
                _mm512_loadu_si512(query.as_ptr().cast()),
                _mm512_loadu_si512(query.as_ptr().add(64).cast()),
            )
        };
        let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(row), low);
        sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_and_si512(row, low), first);
        sums[1] = _mm512_dpbusd_epi32(sums[1], upper, second);
    }
    _mm512_add_epi32(sums[0], sums[1])
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_u4(query: &[i8], row: &[u8]) -> i32 {
    _mm512_reduce_add_epi32(sums_u4(query, row))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_u4_rows(query: &[i8], table: &[u8], ids: &[u32], sums: &mut [i32]) {
    let width = query.len() / 2;
    for (&id, sum) in ids.iter().zip(sums) {
        *sum = _mm512_reduce_add_epi32(sums_u4(query, &table[id as usize * width..][..width]));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_bits(query: &[i8], rows: &[u8], sums: &mut [i32]) {
    let ones = _mm512_set1_epi8(1);
    for (row, total) in rows.chunks_exact(query.len() / 8).zip(sums) {
        let mut sum = _mm512_setzero_si512();
        for (query, bits) in query.as_chunks::<64>().0.iter().zip(row.as_chunks::<8>().0) {
            // SAFETY: the chunk has 64 bytes.
            let query = unsafe { _mm512_loadu_si512(query.as_ptr().cast()) };
            let chosen = _mm512_maskz_mov_epi8(u64::from_le_bytes(*bits), ones);
            sum = _mm512_dpbusd_epi32(sum, chosen, query);
        }
        *total = _mm512_reduce_add_epi32(sum);
    }
}
