//! The tables that say what each block of a launch does.

use crate::cuda::launch::PlanError;
use crate::cuda::record::record;

/// Bytes of shared memory that a product's tiles take: 16 steps of both factors' sides, each one
/// longer than needed.
pub(super) const fn product_bytes(rows: usize, columns: usize) -> usize {
    4 * 16 * (rows + 1 + columns + 1)
}

/// The same of a product by tensor cores: 64 steps of both factors, whose lines along memory are a
/// vector of 8 longer than needed, whichever way they lie.
pub(super) const fn tensor_product_bytes(rows: usize, columns: usize) -> usize {
    const fn factor(outer: usize) -> usize {
        let (inner, across) = (outer * (64 + 8), 64 * (outer + 8));
        if inner > across { inner } else { across }
    }
    2 * (factor(rows) + factor(columns))
}

record! {
    /// One block's share of a launch.
    #[derive(PartialEq, Eq)]
    Tile {
        /// What it works on: a text, a pair, a tenant.
        subject: u32,
        /// What it does with it, where a launch does several things.
        kind: u32,
        /// Where its part of the output begins.
        row: u32,
        column: u32,
    }
}

/// A side of an output and how much of it one tile covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub len: usize,
    pub step: usize,
}

/// The tiles of an output, the columns of its first rows first.
pub(super) fn tiles(
    subject: u32,
    kind: u32,
    rows: Side,
    columns: Side,
) -> impl Iterator<Item = Tile> {
    (0..rows.len as u32).step_by(rows.step).flat_map(move |row| {
        let columns = (0..columns.len as u32).step_by(columns.step);
        columns.map(move |column| Tile { subject, kind, row, column })
    })
}

/// A count as kernels hold it.
pub(super) fn count(what: &'static str, count: usize) -> Result<u32, PlanError> {
    let max = u32::MAX as usize;
    u32::try_from(count).map_err(|_| PlanError::Count { what, count, max })
}

/// That something has the length it must have.
pub(super) fn expect_len(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), PlanError> {
    if found == expected { Ok(()) } else { Err(PlanError::Length { what, found, expected }) }
}
