//! Buffers that kernels read and write, between guards.
//!
//! Each launch runs under several orders of threads and blocks from the same state, and must leave
//! the same bits in all buffers.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use super::Host;
use crate::cuda::launch::{Launch, PlanError};
use crate::cuda::record::{Address, Record, bytes_of, write_records};
use crate::cuda::source::Real;

/// Words in front of a buffer and behind it, which nothing may write: as many as the floats of a
/// block whose threads do not look where the buffer ends.
const GUARD_WORDS: usize = 1024;
/// Not a number, in either format: what is read from there shows as well.
const GUARD: u64 = 0xFFB1_FFB1_FFB1_FFB1;
/// What a buffer holds that nothing was written to: not a number, in either format.
const BLANK: u16 = 0xFFBA;
/// Orders of threads and blocks under which each launch runs.
const SEEDS: [u64; 2] = [1, 0x51DE];

type Words = Rc<[Cell<u64>]>;

/// The memory of a test.
pub(super) struct Memory {
    host: &'static Host,
    buffers: RefCell<Vec<Words>>,
}

/// What a buffer's values are.
#[derive(Clone, Copy)]
enum Kind {
    Float,
    Bf16,
    Bytes,
}

/// A buffer of a [`Memory`], which keeps it alive.
pub(super) struct Buffer {
    words: Words,
    len: usize,
    kind: Kind,
}

impl Memory {
    pub(super) fn new(host: &'static Host) -> Self {
        Self { host, buffers: RefCell::default() }
    }

    /// Another, empty one for the same kernels.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.host)
    }

    pub(super) fn real(&self) -> Real {
        self.host.real
    }

    fn buffer(&self, bytes: &[u8], len: usize, kind: Kind) -> Buffer {
        // The last word is filled up with the guard's bytes, so that they are guarded as well.
        let guard = GUARD.to_ne_bytes();
        let mut bytes = bytes.to_vec();
        while !bytes.len().is_multiple_of(8) {
            bytes.push(guard[bytes.len() % 8]);
        }
        let (inner, _) = bytes.as_chunks();
        let mut words = vec![GUARD; GUARD_WORDS];
        words.extend(inner.iter().map(|&word| u64::from_ne_bytes(word)));
        words.extend([GUARD; GUARD_WORDS]);
        let words: Words = words.into_iter().map(Cell::new).collect();
        self.buffers.borrow_mut().push(words.clone());
        Buffer { words, len, kind }
    }

    fn real_kind(&self) -> Kind {
        match self.real() {
            Real::Float => Kind::Float,
            Real::Bf16 => Kind::Bf16,
        }
    }

    /// A buffer of f32, whatever rows are.
    pub(super) fn floats(&self, values: &[f32]) -> Buffer {
        let bytes = bytes_of(values);
        self.buffer(&bytes, values.len(), Kind::Float)
    }

    /// A buffer of rows, and the values that it holds of these: in bf16 they are rounded.
    pub(super) fn reals(&self, values: &[f32]) -> (Buffer, Vec<f32>) {
        let buffer = match self.real() {
            Real::Float => self.floats(values),
            Real::Bf16 => {
                let bytes = values.iter().flat_map(|&value| round(value).to_ne_bytes());
                self.buffer(&bytes.collect::<Vec<u8>>(), values.len(), Kind::Bf16)
            }
        };
        let held = buffer.values();
        (buffer, held)
    }

    /// A table of whole numbers.
    pub(super) fn numbers(&self, values: &[u32]) -> Buffer {
        let bytes = bytes_of(values);
        self.buffer(&bytes, bytes.len(), Kind::Bytes)
    }

    /// A table of keys.
    pub(super) fn keys(&self, values: &[u64]) -> Buffer {
        let bytes = bytes_of(values);
        self.buffer(&bytes, bytes.len(), Kind::Bytes)
    }

    /// A table of records.
    pub(super) fn table<R: Record>(&self, records: &[R]) -> Buffer {
        let mut bytes = vec![0; R::BYTES * records.len()];
        write_records(records, &mut bytes);
        self.buffer(&bytes, bytes.len(), Kind::Bytes)
    }

    /// Rows of which each value must be written before it is read.
    pub(super) fn blank_reals(&self, len: usize) -> Buffer {
        self.blank(len, self.real_kind())
    }

    /// As [`Memory::blank_reals`], of f32.
    pub(super) fn blank_floats(&self, len: usize) -> Buffer {
        self.blank(len, Kind::Float)
    }

    /// As [`Memory::blank_reals`], of keys.
    pub(super) fn blank_keys(&self, len: usize) -> Buffer {
        self.blank_bytes(8 * len)
    }

    /// As [`Memory::blank_reals`], of bytes.
    pub(super) fn blank_bytes(&self, len: usize) -> Buffer {
        let mut bytes = BLANK.to_ne_bytes().repeat(len.div_ceil(2));
        bytes.truncate(len);
        self.buffer(&bytes, len, Kind::Bytes)
    }

    fn blank(&self, len: usize, kind: Kind) -> Buffer {
        let halves = match kind {
            Kind::Float => 2 * len,
            Kind::Bf16 | Kind::Bytes => len,
        };
        self.buffer(&BLANK.to_ne_bytes().repeat(halves), len, kind)
    }

    /// Carries out a plan.
    #[track_caller]
    pub(super) fn run(&self, launch: Result<Option<Launch>, PlanError>) {
        let launch = launch.unwrap().expect("there is something to do");
        let before = self.state();
        let mut found: Option<Vec<Vec<u64>>> = None;
        for seed in SEEDS {
            for (buffer, words) in self.buffers.borrow().iter().zip(&before) {
                buffer.iter().zip(words).for_each(|(cell, &word)| cell.set(word));
            }
            self.host.run(&launch, seed).unwrap_or_else(|message| panic!("{message}"));
            let after = self.state();
            self.check_guards(launch.kernel.name());
            let first = found.get_or_insert_with(|| after.clone());
            assert!(*first == after, "{} leans on an order of threads", launch.kernel.name());
        }
    }

    fn state(&self) -> Vec<Vec<u64>> {
        let buffers = self.buffers.borrow();
        buffers.iter().map(|buffer| buffer.iter().map(Cell::get).collect()).collect()
    }

    fn check_guards(&self, kernel: &str) {
        for buffer in self.buffers.borrow().iter() {
            let inner = GUARD_WORDS..buffer.len() - GUARD_WORDS;
            let guards = (0..buffer.len()).filter(|at| !inner.contains(at));
            for at in guards {
                assert_eq!(buffer[at].get(), GUARD, "{kernel} writes outside of a buffer");
            }
        }
    }
}

impl Buffer {
    pub(super) fn address(&self) -> Address {
        Address(self.words[GUARD_WORDS].as_ptr().expose_provenance() as u64)
    }

    /// The address of a value.
    pub(super) fn at(&self, value: usize) -> Address {
        let bytes = match self.kind {
            Kind::Float => 4,
            Kind::Bf16 => 2,
            Kind::Bytes => 1,
        };
        Address(self.address().0 + (bytes * value) as u64)
    }

    /// The values, each of which was written.
    #[track_caller]
    pub(super) fn values(&self) -> Vec<f32> {
        self.part(0..self.len)
    }

    /// A part of them; others may be left out.
    #[track_caller]
    pub(super) fn part(&self, range: Range<usize>) -> Vec<f32> {
        let words = &self.words[GUARD_WORDS..self.words.len() - GUARD_WORDS];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.get().to_ne_bytes()).collect();
        let (kind, blank) = (self.kind, u32::from(BLANK) << 16 | u32::from(BLANK));
        let bits: Vec<u32> = match kind {
            Kind::Float => bytes.as_chunks().0.iter().map(|&b| u32::from_ne_bytes(b)).collect(),
            Kind::Bf16 | Kind::Bytes => {
                let halves = bytes.as_chunks().0.iter().map(|&b| u16::from_ne_bytes(b));
                halves.map(|half| u32::from(half) << 16).collect()
            }
        };
        let is_blank = |bits: u32| match kind {
            Kind::Float => bits == blank,
            Kind::Bf16 | Kind::Bytes => bits == u32::from(BLANK) << 16,
        };
        let bits = &bits[range];
        let unwritten = bits.iter().position(|&bits| is_blank(bits));
        assert_eq!(unwritten, None, "this value of {} was never written", bits.len());
        bits.iter().map(|&bits| f32::from_bits(bits)).collect()
    }

    /// The values' bits, which are equal where values compared as numbers could differ.
    #[track_caller]
    pub(super) fn bits(&self) -> Vec<u32> {
        self.values().into_iter().map(f32::to_bits).collect()
    }
}

/// The upper half of the nearest f32 that has no lower half, ties to even.
fn round(value: f32) -> u16 {
    let (low, high) = (value.to_bits() & 0xFFFF, (value.to_bits() >> 16) as u16);
    assert!(value.is_finite());
    match low.cmp(&0x8000) {
        std::cmp::Ordering::Less => high,
        std::cmp::Ordering::Equal => high + (high & 1),
        std::cmp::Ordering::Greater => high + 1,
    }
}
