//! Codes of 8 bits a dimension whose upper half bytes are codes of 4 bits on their own.
//!
//! The halves lie apart. A walk through the graph reads only the upper ones, half the cache lines,
//! and is off by about six thousandths of a vector's length; the few that are left are then compared
//! with both halves, without a third copy of anything.

use std::io;

use crate::dense::error::DamagedError;
use crate::dense::kernels::{BLOCK, Table, kernels};
use crate::dense::saved::{Reader, Writer};

/// A byte `u` stands for `u - 128`.
const FINE_ZERO: f32 = 128.0;
/// An upper half `h` stands for the middle of `16 h ..= 16 h + 15`, in sixteenths.
const COARSE_ZERO: f32 = 8.0 - 7.5 / 16.0;

/// The codes of all nodes.
pub(super) struct NestedCodes {
    /// `[nodes, dimensions / 2]`, padded to whole blocks; as the kernel `dot_u4` reads them.
    upper: Table<u8>,
    /// As `upper`.
    lower: Table<u8>,
    /// What a node's sums over upper halves are to be multiplied by.
    coarse_scales: Table<f32>,
    /// What a node's sums over whole bytes are to be multiplied by.
    fine_scales: Table<f32>,
    dimensions: usize,
}

/// A vector in signed bytes, to compare codes with.
#[derive(Default)]
pub(super) struct NestedQuery {
    values: Vec<i8>,
    scale: f32,
    sum: f32,
    /// Room for the sums of a batch.
    sums: Vec<i32>,
}

impl NestedQuery {
    /// Takes on a vector.
    pub(super) fn set(&mut self, vector: &[f32]) {
        let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        self.values.clear();
        self.values.extend(vector.iter().map(|value| (value * inverse).round() as i8));
        self.values.resize(vector.len().next_multiple_of(BLOCK), 0);
        self.scale = largest / 127.0;
        self.count();
    }

    fn count(&mut self) {
        self.sum = self.values.iter().map(|&value| i32::from(value)).sum::<i32>() as f32;
    }
}

impl NestedCodes {
    pub(super) fn new(dimensions: usize) -> Self {
        let width = dimensions.next_multiple_of(BLOCK) / 2;
        Self {
            upper: Table::new(width),
            lower: Table::new(width),
            coarse_scales: Table::new(1),
            fine_scales: Table::new(1),
            dimensions,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.upper.rows()
    }

    pub(super) fn resize(&mut self, nodes: usize) {
        self.upper.resize(nodes);
        self.lower.resize(nodes);
        self.coarse_scales.resize(nodes);
        self.fine_scales.resize(nodes);
    }

    /// Sets a node's vector.
    ///
    /// Each scale is such that the code's product with the vector itself is right, as RaBitQ has it:
    /// a code is a little shorter than what it stands for, and products would be too.
    pub(super) fn set(&mut self, node: u32, vector: &[f32]) {
        let node = node as usize;
        let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let (upper, lower) = (self.upper.row_mut(node), self.lower.row_mut(node));
        upper.fill(0);
        lower.fill(0);
        let (mut own, mut coarse, mut fine) = (0.0f32, 0.0f32, 0.0f32);
        for (at, &value) in vector.iter().enumerate() {
            let byte = ((value * inverse).round() + FINE_ZERO) as u8;
            let place = at / BLOCK * (BLOCK / 2) + at % (BLOCK / 2);
            let shift = if at % BLOCK < BLOCK / 2 { 0 } else { 4 };
            upper[place] |= (byte >> 4) << shift;
            lower[place] |= (byte & 15) << shift;
            own += value * value;
            coarse += value * (f32::from(byte >> 4) - COARSE_ZERO);
            fine += value * (f32::from(byte) - FINE_ZERO);
        }
        let ratio = |product: f32| if product > 0.0 { own / product } else { 0.0 };
        self.coarse_scales.row_mut(node)[0] = ratio(coarse);
        self.fine_scales.row_mut(node)[0] = ratio(fine);
    }

    /// Makes a node's vector zero.
    pub(super) fn clear(&mut self, node: u32) {
        self.upper.row_mut(node as usize).fill(0);
        self.lower.row_mut(node as usize).fill(0);
        self.coarse_scales.row_mut(node as usize)[0] = 0.0;
        self.fine_scales.row_mut(node as usize)[0] = 0.0;
    }

    /// Makes a query of a node's own vector.
    pub(super) fn expand(&self, node: u32, query: &mut NestedQuery) {
        let node = node as usize;
        query.values.clear();
        let halves = self.upper.row(node).as_chunks::<64>().0.iter();
        for (upper, lower) in halves.zip(self.lower.row(node).as_chunks::<64>().0) {
            let byte = |upper: u8, lower: u8| (upper << 4 | lower).wrapping_sub(128) as i8;
            let first = |at: usize| byte(upper[at] & 15, lower[at] & 15);
            let second = |at: usize| byte(upper[at] >> 4, lower[at] >> 4);
            query.values.extend((0..64).map(first));
            query.values.extend((0..64).map(second));
        }
        // What pads a row is zero bits, which stand for -128.
        query.values[self.dimensions..].fill(0);
        query.scale = self.fine_scales.row(node)[0];
        query.count();
    }

    /// Asks for what [`NestedCodes::coarse`] reads of a node.
    #[inline(always)]
    pub(super) fn prefetch_coarse(&self, node: u32) {
        self.upper.prefetch(node as usize);
        self.coarse_scales.prefetch(node as usize);
    }

    /// Asks for what [`NestedCodes::fine`] reads of a node beyond its upper halves.
    #[inline(always)]
    pub(super) fn prefetch_fine(&self, node: u32) {
        self.lower.prefetch(node as usize);
        self.fine_scales.prefetch(node as usize);
    }

    /// About the dot product of the query with each node's vector.
    #[inline]
    pub(super) fn coarse(
        &self,
        query: &mut NestedQuery,
        nodes: &[u32],
        mut each: impl FnMut(u32, f32),
    ) {
        query.sums.resize(nodes.len(), 0);
        kernels().dot_u4_rows(&query.values, &self.upper, nodes, &mut query.sums);
        let zero = COARSE_ZERO * query.sum;
        for (&node, &sum) in nodes.iter().zip(&query.sums) {
            let scale = query.scale * self.coarse_scales.row(node as usize)[0];
            each(node, scale * (sum as f32 - zero));
        }
    }

    /// The dot product of the query with a node's vector, as well as 8 bits have it.
    pub(super) fn fine(&self, query: &NestedQuery, node: u32) -> f32 {
        let node = node as usize;
        let upper = kernels().dot_u4(&query.values, self.upper.row(node));
        let lower = kernels().dot_u4(&query.values, self.lower.row(node));
        let sum = (16 * upper + lower) as f32 - FINE_ZERO * query.sum;
        query.scale * self.fine_scales.row(node)[0] * sum
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.upper.memory_bytes()
            + self.lower.memory_bytes()
            + self.coarse_scales.memory_bytes()
            + self.fine_scales.memory_bytes()
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.table(&self.upper)?;
        out.table(&self.lower)?;
        out.table(&self.coarse_scales)?;
        out.table(&self.fine_scales)
    }

    pub(super) fn open(bytes: &mut Reader<'_>, dimensions: usize) -> Result<Self, DamagedError> {
        let width = dimensions.next_multiple_of(BLOCK) / 2;
        let codes = Self {
            upper: bytes.table(width)?,
            lower: bytes.table(width)?,
            coarse_scales: bytes.table(1)?,
            fine_scales: bytes.table(1)?,
            dimensions,
        };
        let rows = codes.upper.rows();
        let others = [codes.lower.rows(), codes.coarse_scales.rows(), codes.fine_scales.rows()];
        let scales = codes.coarse_scales.elements().iter().chain(codes.fine_scales.elements());
        if others != [rows; 3] || scales.clone().any(|scale| !scale.is_finite()) {
            return Err(DamagedError { reason: "codes do not fit together" });
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::{NestedCodes, NestedQuery};
    use crate::dense::random::uniform;
    use crate::dense::rotation::Rotation;

    fn unit(dimensions: usize, seed: u64) -> Vec<f32> {
        let mut vector: Vec<f32> =
            (0..dimensions).map(|at| uniform(seed, at as u64) as f32 - 0.5).collect();
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
        Rotation::new(dimensions, 3).apply(&mut vector);
        vector
    }

    /// Both precisions against exact products, over vectors that are alike and that are not.
    #[test]
    fn products_are_close() {
        for dimensions in [40, 128, 384, 500] {
            let mut codes = NestedCodes::new(dimensions);
            codes.resize(50);
            let mut vectors = vec![unit(dimensions, 1)];
            for seed in 1..50 {
                let mut vector = unit(dimensions, seed + 1);
                for (value, first) in vector.iter_mut().zip(&vectors[0]) {
                    *value += first * seed as f32 / 25.0;
                }
                vectors.push(vector);
            }
            let (mut query, mut expanded) = (NestedQuery::default(), NestedQuery::default());
            query.set(&vectors[0]);
            for (node, vector) in vectors.iter().enumerate() {
                codes.set(node as u32, vector);
            }
            codes.expand(0, &mut expanded);
            let nodes: Vec<u32> = (0..50).collect();
            for query in [&mut query, &mut expanded] {
                let mut coarse = Vec::new();
                codes.coarse(query, &nodes, |_, score| coarse.push(score));
                for (node, vector) in vectors.iter().enumerate() {
                    let exact: f32 = vector.iter().zip(&vectors[0]).map(|(a, b)| a * b).sum();
                    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                    let fine = codes.fine(query, node as u32);
                    let (fine_off, coarse_off) = (fine - exact, coarse[node] - exact);
                    let bound = length / (dimensions as f32).sqrt();
                    assert!(fine_off.abs() < 0.05 * bound, "{dimensions} {node} {fine_off}");
                    assert!(coarse_off.abs() < 0.7 * bound, "{dimensions} {node} {coarse_off}");
                }
            }
        }
    }
}
