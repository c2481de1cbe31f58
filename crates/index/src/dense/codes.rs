//! One bit for each dimension: the sign after a random rotation.
//!
//! The estimate is RaBitQ's (Gao and Long 2024): the product of the query with the signs, divided by
//! the product of the vector itself with its signs, which is kept. It is right on average, and off
//! by about the length over the root of the dimensions, so that the best few by it are compared
//! again. The query stays in 8 bits; the paper's 4 save nothing with the instructions used here.

use std::io;

use super::error::DamagedError;
use super::flat::{Flat, Precision, map_of, to_int8};
use super::kernels::{Table, kernels};
use super::rotation::Rotation;
use super::saved::{Reader, Writer};
use super::search::{Best, Found, SearchArgs, SearchCost};
use super::slots::SlotMap;
use super::spec::{Codes, DenseSpec, Rescoring};
use crate::hit::{Hit, Slot};

/// Dimensions in a word of bits; the last word is filled with zeros.
const WORD: usize = 64;
/// Rows that are compared in one call.
const AT_ONCE: usize = 64;

/// The signs of all vectors.
pub(super) struct Signs {
    settings: Codes,
    rotation: Rotation,
    /// `[vectors, dimensions / 8]`, the lowest bit first.
    bits: Table<u8>,
    /// What a row's product with a query is to be multiplied by.
    scales: Vec<f32>,
    slot_of: Vec<u32>,
    map: SlotMap,
    fine: Option<Flat>,
}

impl Signs {
    pub(super) fn new(spec: &DenseSpec, settings: Codes) -> Self {
        let fine = || Flat::new(spec.dimensions, Precision::Int8);
        Self {
            settings,
            rotation: Rotation::new(spec.dimensions, spec.seed),
            bits: Table::new(spec.dimensions.div_ceil(WORD) * WORD / 8),
            scales: Vec::new(),
            slot_of: Vec::new(),
            map: SlotMap::default(),
            fine: (settings.rescoring == Rescoring::Int8).then(fine),
        }
    }

    pub(super) fn map(&self) -> &SlotMap {
        &self.map
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let rows = self.bits.memory_bytes() + 4 * self.scales.capacity();
        let slots = 4 * self.slot_of.capacity() + self.map.memory_bytes();
        let fine = self.fine.as_ref().map_or(0, Flat::memory_bytes);
        rows + slots + fine + self.rotation.memory_bytes()
    }

    pub(super) fn insert(&mut self, slot: u32, mut vector: Vec<f32>) {
        if let Some(fine) = &mut self.fine {
            fine.insert(slot, &vector);
        }
        self.rotation.apply(&mut vector);
        let mut row = vec![0u8; self.bits.width()];
        let (mut own, mut product) = (0.0f32, 0.0f32);
        for (at, &value) in vector.iter().enumerate() {
            row[at / 8] |= u8::from(value >= 0.0) << (at % 8);
            own += value * value;
            product += value.abs();
        }
        self.bits.push(&row);
        self.scales.push(if product > 0.0 { own / product } else { 0.0 });
        self.map.insert(slot, self.slot_of.len() as u32);
        self.slot_of.push(slot);
    }

    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let Some(row) = self.map.remove(slot) else { return false };
        let row = row as usize;
        self.bits.swap_remove(row);
        self.scales.swap_remove(row);
        self.slot_of.swap_remove(row);
        if let Some(&moved) = self.slot_of.get(row) {
            self.map.insert(moved, row as u32);
        }
        if let Some(fine) = &mut self.fine {
            fine.remove(slot);
        }
        true
    }

    pub(super) fn search(&self, args: &SearchArgs<'_>) -> Found {
        let candidates = args.effort.unwrap_or(self.settings.candidates) as usize;
        let mut best = Best::new(candidates.max(args.k));
        let mut cost = SearchCost::default();
        let mut query = args.query.to_vec();
        self.rotation.apply(&mut query);
        let mut bytes = Vec::new();
        let scale = to_int8(&query, &mut bytes);
        bytes.resize(self.bits.width() * 8, 0);
        // A set bit stands for 1 and another for -1: twice the sum over set bits, less the sum.
        let sum: i32 = bytes.iter().map(|&byte| i32::from(byte)).sum();
        let mut sums = [0; AT_ONCE];
        for (chunk, slots) in self.slot_of.chunks(AT_ONCE).enumerate() {
            let first = chunk * AT_ONCE;
            let width = self.bits.width();
            let rows = &self.bits.elements()[first * width..][..slots.len() * width];
            kernels().dot_bits(&bytes, rows, &mut sums[..slots.len()]);
            cost.coarse += slots.len() as u64;
            let rows = slots.iter().zip(&self.scales[first..]).zip(&sums);
            for ((&slot, &row_scale), &chosen) in rows {
                let score = scale * row_scale * (2 * chosen - sum) as f32;
                if best.wants(score) && args.allows(Slot(slot)) {
                    best.offer(Hit { slot: Slot(slot), score });
                }
            }
        }
        let mut hits = best.into_hits();
        if let Some(fine) = &self.fine {
            fine.rescore(args.query, &mut hits, &mut cost);
            hits.truncate(args.kept());
        }
        Found { hits, cost }
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.table(&self.bits)?;
        out.counted(&self.scales)?;
        out.counted(&self.slot_of)?;
        self.fine.as_ref().map_or(Ok(()), |fine| fine.save(out))
    }

    pub(super) fn open(
        bytes: &mut Reader<'_>,
        spec: &DenseSpec,
        settings: Codes,
    ) -> Result<Self, DamagedError> {
        let mut signs = Self::new(spec, settings);
        signs.bits = bytes.table(signs.bits.width())?;
        signs.scales = bytes.counted()?;
        signs.slot_of = bytes.counted()?;
        signs.map = map_of(&signs.slot_of)?;
        if signs.fine.is_some() {
            let fine = Flat::open(bytes, spec.dimensions, Precision::Int8)?;
            if !fine.map().slots().eq(signs.map.slots()) {
                return Err(DamagedError { reason: "codes and 8-bit vectors are of other slots" });
            }
            signs.fine = Some(fine);
        }
        let rows = signs.slot_of.len();
        let are_finite = signs.scales.iter().all(|scale| scale.is_finite());
        if signs.bits.rows() != rows || signs.scales.len() != rows || !are_finite {
            return Err(DamagedError { reason: "codes do not fit their slots" });
        }
        Ok(signs)
    }
}
