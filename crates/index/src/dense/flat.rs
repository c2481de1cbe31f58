//! Vectors side by side, each of which is compared with the query.

use std::io;

use super::error::DamagedError;
use super::kernels::{Table, kernels};
use super::saved::{Reader, Writer};
use super::search::{Best, Found, SearchArgs, SearchCost};
use super::slots::SlotMap;
use crate::hit::{Hit, Slot};

/// Rows in the order in which they came, but that the last one fills a gap.
pub(super) struct Flat {
    rows: Rows,
    slot_of: Vec<u32>,
    map: SlotMap,
}

/// A vector a row.
enum Rows {
    Bf16(Table<u16>),
    /// With what each row is to be multiplied by.
    Int8(Table<i8>, Vec<f32>),
}

/// How rows are kept.
#[derive(Clone, Copy)]
pub(super) enum Precision {
    Bf16,
    Int8,
}

impl Flat {
    pub(super) fn new(dimensions: usize, precision: Precision) -> Self {
        let rows = match precision {
            Precision::Bf16 => Rows::Bf16(Table::new(dimensions)),
            Precision::Int8 => Rows::Int8(Table::new(dimensions), Vec::new()),
        };
        Self { rows, slot_of: Vec::new(), map: SlotMap::default() }
    }

    pub(super) fn map(&self) -> &SlotMap {
        &self.map
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let rows = match &self.rows {
            Rows::Bf16(rows) => rows.memory_bytes(),
            Rows::Int8(rows, scales) => rows.memory_bytes() + scales.capacity() * 4,
        };
        rows + self.slot_of.capacity() * 4 + self.map.memory_bytes()
    }

    pub(super) fn insert(&mut self, slot: u32, vector: &[f32]) {
        match &mut self.rows {
            Rows::Bf16(rows) => {
                let row: Vec<u16> = vector.iter().map(|&value| to_bf16(value)).collect();
                rows.push(&row);
            }
            Rows::Int8(rows, scales) => {
                let mut row = Vec::new();
                scales.push(to_int8(vector, &mut row));
                rows.push(&row);
            }
        }
        self.map.insert(slot, self.slot_of.len() as u32);
        self.slot_of.push(slot);
    }

    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let Some(row) = self.map.remove(slot) else { return false };
        let row = row as usize;
        match &mut self.rows {
            Rows::Bf16(rows) => rows.swap_remove(row),
            Rows::Int8(rows, scales) => {
                rows.swap_remove(row);
                scales.swap_remove(row);
            }
        }
        self.slot_of.swap_remove(row);
        if let Some(&moved) = self.slot_of.get(row) {
            self.map.insert(moved, row as u32);
        }
        true
    }

    pub(super) fn search(&self, args: &SearchArgs<'_>) -> Found {
        let mut best = Best::new(args.kept());
        let mut cost = SearchCost::default();
        let query = Query::new(args.query);
        for (row, &slot) in self.slot_of.iter().enumerate() {
            if args.allows(Slot(slot)) {
                best.offer(Hit { slot: Slot(slot), score: self.score(&query, row) });
                cost.fine += 1;
            }
        }
        Found { hits: best.into_hits(), cost }
    }

    /// Compares with the vectors of these slots alone, which are there.
    pub(super) fn rescore(&self, vector: &[f32], hits: &mut [Hit], cost: &mut SearchCost) {
        let query = Query::new(vector);
        for hit in hits.iter_mut() {
            let row = self.map.get(hit.slot.0).expect("what was found has a row");
            hit.score = self.score(&query, row as usize);
        }
        cost.fine += hits.len() as u64;
        hits.sort_unstable_by(Hit::best_first);
    }

    fn score(&self, query: &Query<'_>, row: usize) -> f32 {
        match &self.rows {
            Rows::Bf16(rows) => kernels().dot_bf16(query.vector, rows.row(row)),
            Rows::Int8(rows, scales) => {
                let sum = kernels().dot_i8(&query.bytes, rows.row(row));
                query.scale * scales[row] * sum as f32
            }
        }
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.counted(&self.slot_of)?;
        match &self.rows {
            Rows::Bf16(rows) => out.table(rows),
            Rows::Int8(rows, scales) => {
                out.table(rows)?;
                out.counted(scales)
            }
        }
    }

    pub(super) fn open(
        bytes: &mut Reader<'_>,
        dimensions: usize,
        precision: Precision,
    ) -> Result<Self, DamagedError> {
        let slot_of: Vec<u32> = bytes.counted()?;
        let (rows, count, are_finite) = match precision {
            Precision::Bf16 => {
                let rows: Table<u16> = bytes.table(dimensions)?;
                let is_finite = |bits: &u16| f32::from_bits(u32::from(*bits) << 16).is_finite();
                let (count, are_finite) = (rows.rows(), rows.elements().iter().all(is_finite));
                (Rows::Bf16(rows), count, are_finite)
            }
            Precision::Int8 => {
                let rows: Table<i8> = bytes.table(dimensions)?;
                let scales: Vec<f32> = bytes.counted()?;
                let are_finite = scales.iter().all(|scale| scale.is_finite());
                let count = if scales.len() == rows.rows() { rows.rows() } else { usize::MAX };
                (Rows::Int8(rows, scales), count, are_finite)
            }
        };
        if count != slot_of.len() || !are_finite {
            return Err(DamagedError { reason: "rows do not fit their slots" });
        }
        let map = map_of(&slot_of)?;
        Ok(Self { rows, slot_of, map })
    }
}

/// The places of slots in a row of them.
pub(super) fn map_of(slot_of: &[u32]) -> Result<SlotMap, DamagedError> {
    let mut map = SlotMap::default();
    for (row, &slot) in slot_of.iter().enumerate() {
        if map.insert(slot, row as u32).is_some() {
            return Err(DamagedError { reason: "a slot is there twice" });
        }
    }
    Ok(map)
}

/// A query in both forms that rows are compared with.
struct Query<'a> {
    vector: &'a [f32],
    bytes: Vec<i8>,
    scale: f32,
}

impl<'a> Query<'a> {
    fn new(vector: &'a [f32]) -> Self {
        let mut bytes = Vec::new();
        let scale = to_int8(vector, &mut bytes);
        Self { vector, bytes, scale }
    }
}

/// Rounds to signed bytes, and says what they are to be multiplied by.
pub(super) fn to_int8(vector: &[f32], bytes: &mut Vec<i8>) -> f32 {
    let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    bytes.clear();
    bytes.extend(vector.iter().map(|value| (value * inverse).round() as i8));
    largest / 127.0
}

/// Rounds to the nearest bf16, to the even one of two; the value is finite and stays so.
fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16;
    let is_finite = f32::from_bits(rounded << 16).is_finite();
    (if is_finite { rounded } else { bits >> 16 }) as u16
}
