//! The kernels with AVX2 and FMA, 32 bytes a step.

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_add_epi32, _mm_add_ps, _mm_cvtsi128_si32, _mm_cvtss_f32,
    _mm_loadu_si128, _mm_movehl_ps, _mm_prefetch, _mm_shuffle_epi32, _mm_shuffle_ps,
    _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_castps256_ps128, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_cvtepi8_epi16, _mm256_cvtepu16_epi32,
    _mm256_extractf128_ps, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi64x,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32,
    _mm256_srli_epi16,
};

#[target_feature(enable = "avx2,fma")]
fn sum_f32(values: __m256) -> f32 {
    let half = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ps(pair, _mm_shuffle_ps::<1>(pair, pair)))
}

#[target_feature(enable = "avx2,fma")]
fn sum_i32(values: __m256i) -> i32 {
    let half = _mm_add_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values));
    let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b1110>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<1>(pair)))
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let (a_whole, a_rest) = a.as_chunks::<16>();
    let (b_whole, b_rest) = b.as_chunks::<16>();
    let mut sums = [_mm256_setzero_ps(); 2];
    for (a, b) in a_whole.iter().zip(b_whole) {
        for (half, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both chunks have 16 floats, of which eight from 0 or 8 on are read.
            let (a, b) = unsafe {
                (
                    _mm256_loadu_ps(a.as_ptr().add(8 * half)),
                    _mm256_loadu_ps(b.as_ptr().add(8 * half)),
                )
            };
            *sum = _mm256_fmadd_ps(a, b, *sum);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sum_f32(_mm256_add_ps(sums[0], sums[1])) + rest
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_bf16(query: &[f32], row: &[u16]) -> f32 {
    let (query_whole, query_rest) = query.as_chunks::<8>();
    let (row_whole, row_rest) = row.as_chunks::<8>();
    let mut sum = _mm256_setzero_ps();
    for (query, row) in query_whole.iter().zip(row_whole) {
        // SAFETY: the chunks have eight floats and eight half-width numbers.
        let (query, row) =
            unsafe { (_mm256_loadu_ps(query.as_ptr()), _mm_loadu_si128(row.as_ptr().cast())) };
        let wide = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(row));
        sum = _mm256_fmadd_ps(query, _mm256_castsi256_ps(wide), sum);
    }
    sum_f32(sum) + super::plain::dot_bf16(query_rest, row_rest)
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let (a_whole, a_rest) = a.as_chunks::<16>();
    let (b_whole, b_rest) = b.as_chunks::<16>();
    let mut sum = _mm256_setzero_si256();
    for (a, b) in a_whole.iter().zip(b_whole) {
        // SAFETY: both chunks have sixteen bytes.
        let (a, b) =
            unsafe { (_mm_loadu_si128(a.as_ptr().cast()), _mm_loadu_si128(b.as_ptr().cast())) };
        let product = _mm256_madd_epi16(_mm256_cvtepi8_epi16(a), _mm256_cvtepi8_epi16(b));
        sum = _mm256_add_epi32(sum, product);
    }
    sum_i32(sum) + super::plain::dot_i8(a_rest, b_rest)
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_u4(query: &[i8], row: &[u8]) -> i32 {
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sum = _mm256_setzero_si256();
    for (query, row) in query.as_chunks::<128>().0.iter().zip(row.as_chunks::<64>().0) {
        for half in [0, 32] {
            // SAFETY: 32 bytes from 0 or 32 on of a row's 64, and of the query's 128 the same and
            // those 64 further.
            let (row, first, second) = unsafe {
                let query = query.as_ptr().add(half);
                (
                    _mm256_loadu_si256(row.as_ptr().add(half).cast()),
                    _mm256_loadu_si256(query.cast()),
                    _mm256_loadu_si256(query.add(64).cast()),
                )
            };
            // Products of half bytes: the sum of two is at most 2 * 15 * 128, far from 32767.
            let a = _mm256_maddubs_epi16(_mm256_and_si256(row, low), first);
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(row), low);
            let b = _mm256_maddubs_epi16(upper, second);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, ones));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(b, ones));
        }
    }
    sum_i32(sum)
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_u4_rows(query: &[i8], table: &[u8], ids: &[u32], sums: &mut [i32]) {
    let width = query.len() / 2;
    for (&id, sum) in ids.iter().zip(sums) {
        *sum = dot_u4(query, &table[id as usize * width..][..width]);
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dot_bits(query: &[i8], rows: &[u8], sums: &mut [i32]) {
    // Lane `i` of a register gets the byte that holds bit `i`, and keeps of it that bit alone.
    let spread =
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let (one_bytes, ones) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
    for (row, total) in rows.chunks_exact(query.len() / 8).zip(sums) {
        let mut sum = _mm256_setzero_si256();
        for (query, bits) in query.as_chunks::<32>().0.iter().zip(row.as_chunks::<4>().0) {
            let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes(*bits)), spread);
            let mask = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
            // SAFETY: the chunk has 32 bytes.
            let query = unsafe { _mm256_loadu_si256(query.as_ptr().cast()) };
            let pairs = _mm256_maddubs_epi16(one_bytes, _mm256_and_si256(query, mask));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
        *total = sum_i32(sum);
    }
}

/// Asks for the cache lines of `bytes`; each x86-64 processor can.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        // SAFETY: the address is that of a byte in the slice, and nothing is read into the program.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}
