//! What a checkpoint file holds.
//!
//! ```text
//! "COTCKPT\0"  format: u32
//! section: the description, as JSON (`Meta`)
//! sections of each tenant, in the description's order:
//!     adapter values, optimizer mean, optimizer square, best values, gradient, losses   (f32)
//! ```
//! A section is its length in bytes (u64), its bytes, and a hash over its number, its length and
//! its bytes. Everything is little-endian. Sums in f64 are in the description as their bits.

use std::io::{self, Read, Write};

use cotenant_transformer::{AdapterLayout, Module};
use serde::{Deserialize, Serialize};

use crate::event::Counters;
use crate::hash::Hasher;
use crate::plan::Cursor;
use crate::spec::Settings;
use crate::tenant::Phase;

/// First bytes of every checkpoint.
pub(super) const MAGIC: &[u8; 8] = b"COTCKPT\0";
/// Changes whenever the meaning of the bytes does.
pub(super) const FORMAT: u32 = 2;
/// Sections of numbers of a tenant.
pub(super) const SECTIONS: usize = 6;
const HASH_SEED: u64 = 0x636B_7074;

/// The description.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Of base model and precision.
    pub(super) fingerprint: u64,
    /// Of the trainer.
    pub(super) counters: Counters,
    /// In the order of joining.
    pub(super) tenants: Vec<TenantMeta>,
}

/// All of a tenant but its long lists of numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TenantMeta {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) data_hash: u64,
    pub(super) layout: Vec<PairMeta>,
    pub(super) phase: Phase,
    pub(super) cursor: Cursor,
    pub(super) step: u64,
    pub(super) adapter_step: u64,
    pub(super) optimizer_steps: u64,
    pub(super) loss_bits: u64,
    pub(super) step_tokens: u64,
    pub(super) step_pairs: u64,
    pub(super) tokens: u64,
    pub(super) pairs: u64,
    /// Steps and bits of every score.
    pub(super) scores: Vec<(u64, u64)>,
    pub(super) best: Option<BestMeta>,
    pub(super) evaluations_in_vain: u32,
    pub(super) counter: Option<u64>,
}

/// One low-rank pair of the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PairMeta {
    layer: usize,
    module: Module,
    rank: usize,
    scale_bits: u32,
}

/// The best adapter but for its values.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct BestMeta {
    pub(super) step: u64,
    pub(super) score_bits: u64,
}

/// An adapter's layout in a form that can be compared and written.
pub(super) fn pairs(layout: &AdapterLayout) -> Vec<PairMeta> {
    let pair = |entry: &cotenant_transformer::Entry| PairMeta {
        layer: entry.site.layer,
        module: entry.site.module,
        rank: entry.rank,
        scale_bits: entry.scale.to_bits(),
    };
    layout.entries().iter().map(pair).collect()
}

/// Writes sections one after the other.
pub(super) struct SectionWriter<'a> {
    to: &'a mut dyn Write,
    number: u64,
}

impl<'a> SectionWriter<'a> {
    /// Begins a file.
    pub(super) fn begin(to: &'a mut dyn Write) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        to.write_all(&FORMAT.to_le_bytes())?;
        Ok(Self { to, number: 0 })
    }

    /// Appends a section.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.to.write_all(bytes)?;
        self.to.write_all(&hash(self.number, bytes).to_le_bytes())?;
        self.number += 1;
        Ok(())
    }

    /// Appends a section of numbers.
    pub(super) fn floats(&mut self, values: &[f32]) -> io::Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(&bytes)
    }
}

/// Reads sections one after the other; an error says what is wrong with the file.
pub(super) struct SectionReader<R: Read> {
    from: R,
    /// Bytes left in the file, so that a damaged length asks for no more memory than that.
    left: u64,
    number: u64,
}

impl<R: Read> SectionReader<R> {
    /// Goes on after magic and format; `left` bytes follow.
    pub(super) fn new(from: R, left: u64) -> Self {
        Self { from, left, number: 0 }
    }

    /// The next section.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let len = u64::from_le_bytes(self.exactly()?);
        if len > self.left {
            return Err(format!("section {} is cut short", self.number));
        }
        self.left -= len;
        let mut bytes = vec![0; len as usize];
        self.from.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        if u64::from_le_bytes(self.exactly()?) != hash(self.number, &bytes) {
            return Err(format!(
                "section {} does not have the hash it was written with",
                self.number
            ));
        }
        self.number += 1;
        Ok(bytes)
    }

    /// The next section, of numbers.
    pub(super) fn floats(&mut self) -> Result<Vec<f32>, String> {
        let bytes = self.bytes()?;
        let values = bytes.chunks_exact(4);
        if !values.remainder().is_empty() {
            return Err(format!("section {} is not a list of numbers", self.number - 1));
        }
        let value = |bytes: &[u8]| {
            f32::from_le_bytes(bytes.try_into().expect("chunks_exact gives 4 bytes"))
        };
        Ok(values.map(value).collect())
    }

    /// Refuses bytes after the last section.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.left {
            0 => Ok(()),
            left => Err(format!("{left} bytes follow its end")),
        }
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        if (N as u64) > self.left {
            return Err(format!("section {} is cut short", self.number));
        }
        self.left -= N as u64;
        self.from.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

fn hash(number: u64, bytes: &[u8]) -> u64 {
    let mut hasher = Hasher::new(HASH_SEED);
    hasher.word(number);
    hasher.bytes(bytes);
    hasher.finish()
}
