//! Clusters of vectors, and within them product-quantised codes (Jégou, Douze and Schmid 2011).
//!
//! ```text
//! waits (8-bit vectors, all compared)      trained (codes) <---- another one, learnt from a sample
//!   |                                         |                                ^
//!   +-- as many vectors as training takes ----+-- many more, or far ones ------+
//! ```
//!
//! Learning is a function of the seed and of a sample of the vectors. It takes long, so whoever has
//! the originals makes another structure and puts them into it; nothing is learnt in passing.

mod drift;
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

/// What a saved form begins with; 1 was a trained one that did not say how far vectors lie.
const WAITS: u32 = 0;
const TRAINED: u32 = 2;

/// The vectors, before and after training.
pub(super) struct Clusters {
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
        Self { settings, stage }
    }

    /// How many vectors learning from `count` looks at.
    pub(super) fn sample_len(settings: IvfPq, count: usize) -> usize {
        match count < settings.train_from as usize {
            true => 0,
            false => Trained::sample_len(settings, count),
        }
    }

    /// One that has learnt from a sample, `[vectors, dimensions]`, of so many vectors; one that
    /// waits where these are too few.
    pub(super) fn learnt(spec: &DenseSpec, settings: IvfPq, count: usize, sample: &[f32]) -> Self {
        let mut clusters = Self::new(spec, settings);
        if sample.len() / spec.dimensions >= IvfPq::CENTROIDS {
            let trained = Trained::learn(spec, settings, count, sample);
            clusters.stage = Stage::Trained(Box::new(trained));
        }
        clusters
    }

    /// Whether another one that learns anew would find more.
    pub(super) fn wants_learning(&self) -> bool {
        match &self.stage {
            Stage::Waits(flat) => flat.map().len() >= self.settings.train_from as usize,
            Stage::Trained(trained) => trained.is_due(),
        }
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
            Stage::Waits(flat) => flat.insert(slot, &vector),
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
        out.number(if self.is_trained() { TRAINED } else { WAITS })?;
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
            WAITS => Stage::Waits(Flat::open(bytes, spec.dimensions, Precision::Int8)?),
            TRAINED => Stage::Trained(Box::new(Trained::open(bytes, spec, settings)?)),
            _ => return Err(DamagedError { reason: "it is neither trained nor not" }),
        };
        Ok(Self { settings, stage })
    }
}
