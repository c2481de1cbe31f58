//! Clusters of vectors, and within them product-quantised codes (Jégou, Douze and Schmid 2011).
//!
//! ```text
//! waits (8-bit vectors, all compared) --as many vectors as training takes--> trained (codes)
//! ```
//!
//! Training is a function of the seed and of the vectors that were there. It happens once: what
//! comes later is put among the clusters that there are.

mod kmeans;
mod trained;

use std::io;

use self::trained::Trained;
use super::error::DamagedError;
use super::flat::{Flat, Precision};
use super::saved::{Reader, Writer};
use super::search::{Found, SearchArgs, SearchCost};
use super::slots::SlotMap;
use super::spec::{DenseSpec, IvfPq};

/// The vectors, before and after training.
pub(super) struct Clusters {
    spec: DenseSpec,
    settings: IvfPq,
    stage: Stage,
}

enum Stage {
    Waits(Flat),
    Trained(Box<Trained>),
}

impl Clusters {
    pub(super) fn new(spec: &DenseSpec, settings: IvfPq) -> Self {
        let stage = Stage::Waits(Flat::new(spec.dimensions, Precision::Int8));
        Self { spec: *spec, settings, stage }
    }

    pub(super) fn map(&self) -> &SlotMap {
        match &self.stage {
            Stage::Waits(flat) => flat.map(),
            Stage::Trained(trained) => trained.map(),
        }
    }

    pub(super) fn is_trained(&self) -> bool {
        matches!(self.stage, Stage::Trained(_))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match &self.stage {
            Stage::Waits(flat) => flat.memory_bytes(),
            Stage::Trained(trained) => trained.memory_bytes(),
        }
    }

    pub(super) fn insert(&mut self, slot: u32, vector: Vec<f32>) {
        match &mut self.stage {
            Stage::Waits(flat) => {
                flat.insert(slot, &vector);
                if flat.map().len() >= self.settings.train_from as usize {
                    let (slots, vectors) = flat.all();
                    let mut trained = Trained::learn(&self.spec, self.settings, &vectors);
                    let rows = vectors.chunks_exact(self.spec.dimensions);
                    for (&slot, row) in slots.iter().zip(rows) {
                        trained.insert(slot, row.to_vec());
                    }
                    self.stage = Stage::Trained(Box::new(trained));
                }
            }
            Stage::Trained(trained) => trained.insert(slot, vector),
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> bool {
        match &mut self.stage {
            Stage::Waits(flat) => flat.remove(slot),
            Stage::Trained(trained) => trained.remove(slot),
        }
    }

    pub(super) fn search(&self, args: &SearchArgs<'_>) -> Found {
        match &self.stage {
            Stage::Waits(flat) => flat.search(args),
            Stage::Trained(trained) => {
                let probes = args.effort.unwrap_or(self.settings.probes) as usize;
                let candidates = (self.settings.candidates as usize).max(args.k);
                let wanted = if args.originals.is_some() { candidates } else { args.k };
                let mut cost = SearchCost::default();
                let hits = trained.search(args, probes, wanted, &mut cost);
                Found { hits, cost }
            }
        }
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.number(u32::from(self.is_trained()))?;
        match &self.stage {
            Stage::Waits(flat) => flat.save(out),
            Stage::Trained(trained) => trained.save(out),
        }
    }

    pub(super) fn open(
        bytes: &mut Reader<'_>,
        spec: &DenseSpec,
        settings: IvfPq,
    ) -> Result<Self, DamagedError> {
        let stage = match bytes.number::<u32>()? {
            0 => Stage::Waits(Flat::open(bytes, spec.dimensions, Precision::Int8)?),
            1 => Stage::Trained(Box::new(Trained::open(bytes, spec, settings)?)),
            _ => return Err(DamagedError { reason: "it is neither trained nor not" }),
        };
        Ok(Self { spec: *spec, settings, stage })
    }
}
