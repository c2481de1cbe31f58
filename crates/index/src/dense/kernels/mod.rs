//! Dot products in each precision, with the vector instructions that the processor has, and the
//! memory that they read.
//!
//! [`Kernels`] is a table of functions which is filled once. Every one has a twin in `plain`; those
//! over integers give the same number, those over floats sum in another order.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod plain;
mod table;

#[cfg(test)]
mod tests;

pub(super) use table::{Plain, Table};

use std::sync::OnceLock;

/// A query's half-byte elements in one block of a row: 64 bytes.
pub(super) const BLOCK: usize = 128;

type DotRows = unsafe fn(&[i8], &[u8], &[u32], &mut [i32]);

/// The functions for this processor.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    dot_f32: unsafe fn(&[f32], &[f32]) -> f32,
    dot_bf16: unsafe fn(&[f32], &[u16]) -> f32,
    dot_i8: unsafe fn(&[i8], &[i8]) -> i32,
    dot_u4: unsafe fn(&[i8], &[u8]) -> i32,
    dot_u4_rows: DotRows,
    dot_bits: unsafe fn(&[i8], &[u8], &mut [i32]),
}

const PLAIN: Kernels = Kernels {
    dot_f32: plain::dot_f32,
    dot_bf16: plain::dot_bf16,
    dot_i8: plain::dot_i8,
    dot_u4: plain::dot_u4,
    dot_u4_rows: plain::dot_u4_rows,
    dot_bits: plain::dot_bits,
};

/// The best functions of this processor.
pub(super) fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| candidates().pop().expect("the plain kernels are always there"))
}

/// What this processor can run, the best last.
fn candidates() -> Vec<Kernels> {
    let mut found = vec![PLAIN];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(Kernels {
                dot_f32: avx2::dot_f32,
                dot_bf16: avx2::dot_bf16,
                dot_i8: avx2::dot_i8,
                dot_u4: avx2::dot_u4,
                dot_u4_rows: avx2::dot_u4_rows,
                dot_bits: avx2::dot_bits,
            });
        }
        if is_x86_feature_detected!("avx512f") {
            let below = found.last().copied().unwrap_or(PLAIN);
            found.push(Kernels { dot_f32: avx512::dot_f32, dot_bf16: avx512::dot_bf16, ..below });
            if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
                found.push(Kernels {
                    dot_f32: avx512::dot_f32,
                    dot_bf16: avx512::dot_bf16,
                    dot_i8: avx512::dot_i8,
                    dot_u4: avx512::dot_u4,
                    dot_u4_rows: avx512::dot_u4_rows,
                    dot_bits: avx512::dot_bits,
                });
            }
        }
    }
    found
}

impl Kernels {
    /// `sum(a[i] * b[i])`.
    pub(super) fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "two vectors of one length");
        // SAFETY: a table holds functions whose instructions the processor was asked for, here and
        // in the methods below; this one reads as many floats of both as the shorter has.
        unsafe { (self.dot_f32)(a, b) }
    }

    /// `sum(query[i] * row[i])`, the row in bf16.
    pub(super) fn dot_bf16(&self, query: &[f32], row: &[u16]) -> f32 {
        assert_eq!(query.len(), row.len(), "two vectors of one length");
        // SAFETY: as above.
        unsafe { (self.dot_bf16)(query, row) }
    }

    /// `sum(a[i] * b[i])` of signed bytes.
    pub(super) fn dot_i8(&self, a: &[i8], b: &[i8]) -> i32 {
        assert_eq!(a.len(), b.len(), "two vectors of one length");
        // SAFETY: as above.
        unsafe { (self.dot_i8)(a, b) }
    }

    /// `sum(query[i] * row[i])`, the row in half bytes as `plain::dot_u4` lays them out.
    pub(super) fn dot_u4(&self, query: &[i8], row: &[u8]) -> i32 {
        assert_eq!(query.len(), 2 * row.len(), "two elements in a byte");
        assert_eq!(query.len() % BLOCK, 0, "whole blocks");
        // SAFETY: as above.
        unsafe { (self.dot_u4)(query, row) }
    }

    /// [`Kernels::dot_u4`] with the rows `ids` of a table.
    pub(super) fn dot_u4_rows(
        &self,
        query: &[i8],
        table: &Table<u8>,
        ids: &[u32],
        sums: &mut [i32],
    ) {
        assert_eq!(query.len(), 2 * table.width(), "two elements in a byte");
        assert_eq!(query.len() % BLOCK, 0, "whole blocks");
        assert_eq!(ids.len(), sums.len(), "one sum for each row");
        // SAFETY: as above; the rows' bounds are checked where they are read.
        unsafe { (self.dot_u4_rows)(query, table.elements(), ids, sums) }
    }

    /// For each row of bits the sum of `query[i]` where bit `i`, the lowest of a byte first, is set.
    pub(super) fn dot_bits(&self, query: &[i8], rows: &[u8], sums: &mut [i32]) {
        assert_eq!(query.len() % 64, 0, "whole words");
        assert_eq!(query.len() * sums.len(), 8 * rows.len(), "eight elements in a byte");
        // SAFETY: as above.
        unsafe { (self.dot_bits)(query, rows, sums) }
    }
}

/// Asks the processor to bring these bytes near, which changes nothing but time.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    avx2::prefetch(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
