//! The plain twin of each kernel: what the vector versions are compared with, and what runs where
//! the processor has none of their instructions.

/// `sum(a[i] * b[i])`.
pub(super) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_whole, a_rest) = a.as_chunks::<8>();
    let (b_whole, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// `sum(query[i] * row[i])`, the row in bf16.
pub(super) fn dot_bf16(query: &[f32], row: &[u16]) -> f32 {
    query.iter().zip(row).map(|(&a, &b)| a * f32::from_bits(u32::from(b) << 16)).sum()
}

/// `sum(a[i] * b[i])` of signed bytes.
pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

/// `sum(query[i] * row[i])`, the row in unsigned half bytes.
///
/// Byte `64 b + j` of a row holds element `128 b + j` in its lower half and `128 b + 64 + j` in its
/// upper one, so that a register of bytes splits into two registers of neighbours.
pub(super) fn dot_u4(query: &[i8], row: &[u8]) -> i32 {
    let mut sum = 0;
    for (query, row) in query.as_chunks::<128>().0.iter().zip(row.as_chunks::<64>().0) {
        for (j, &byte) in row.iter().enumerate() {
            sum += i32::from(query[j]) * i32::from(byte & 15);
            sum += i32::from(query[64 + j]) * i32::from(byte >> 4);
        }
    }
    sum
}

/// [`dot_u4`] with the rows `ids` of a table whose rows are half as many bytes as the query.
pub(super) fn dot_u4_rows(query: &[i8], table: &[u8], ids: &[u32], sums: &mut [i32]) {
    let width = query.len() / 2;
    for (&id, sum) in ids.iter().zip(sums) {
        *sum = dot_u4(query, &table[id as usize * width..][..width]);
    }
}

/// For each row of bits the sum of `query[i]` where bit `i`, the lowest of a byte first, is set.
pub(super) fn dot_bits(query: &[i8], rows: &[u8], sums: &mut [i32]) {
    for (row, sum) in rows.chunks_exact(query.len() / 8).zip(sums) {
        *sum = query
            .as_chunks::<8>()
            .0
            .iter()
            .zip(row)
            .map(|(query, &byte)| {
                (0..8).map(|bit| i32::from(query[bit]) * i32::from(byte >> bit & 1)).sum::<i32>()
            })
            .sum();
    }
}
