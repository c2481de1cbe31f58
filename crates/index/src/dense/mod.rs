//! Vectors of one namespace: they come, go and are searched.
//!
//! [`Dense`] is the one face of six kinds ([`Kind`]). It keeps no files; the store saves it as bytes
//! now and then, and builds it again from the original vectors where the bytes are damaged or of an
//! older version. Slots stay as they are when the store merges its segments, so there is one
//! structure over all of them, changed in place.
//!
//! Whatever the kind: a slot that was removed is in no answer from then on, and `len` does not count
//! it; a search that allows few slots finds the best of those.

mod codes;
mod error;
mod flat;
mod hnsw;
mod ivf;
mod kernels;
mod random;
mod rotation;
mod saved;
mod search;
mod slots;
mod spec;

#[cfg(test)]
mod tests;

pub use error::{DamagedError, DenseError};
#[cfg(feature = "fuzzing")]
pub(crate) use saved::of_body;
pub use search::{Allowed, Found, Originals, SearchArgs, SearchCost, Stats};
pub use spec::{Codes, DIMENSIONS_MAX, DenseSpec, Hnsw, IvfPq, Kind, Metric, Rescoring, kind_for};

use std::borrow::Cow;
use std::io::{self, Write};

use codes::Signs;
use flat::{Flat, Precision};
use hnsw::Graph;
use ivf::Clusters;
use kernels::kernels;
use saved::{Reader, Writer};
use search::Best;
use slots::SlotMap;

use crate::hit::{Hit, Slot};

/// A slot that no vector can have: it marks an empty place.
const SLOT_NONE: u32 = u32::MAX;

/// The vectors of a namespace.
pub struct Dense {
    spec: DenseSpec,
    body: Body,
}

enum Body {
    /// Slots alone; the place of each is of no meaning.
    Slots(SlotMap),
    Flat(Flat),
    Signs(Box<Signs>),
    Clusters(Box<Clusters>),
    Graph(Box<Graph>),
}

impl Dense {
    /// An empty structure. Fails where a setting cannot be worked with.
    pub fn new(spec: DenseSpec) -> Result<Self, DenseError> {
        spec.check()?;
        let flat = |precision| Body::Flat(Flat::new(spec.dimensions, precision));
        let body = match spec.kind {
            Kind::ExactF32 => Body::Slots(SlotMap::default()),
            Kind::ExactBf16 => flat(Precision::Bf16),
            Kind::ExactInt8 => flat(Precision::Int8),
            Kind::Codes(settings) => Body::Signs(Box::new(Signs::new(&spec, settings))),
            Kind::IvfPq(settings) => Body::Clusters(Box::new(Clusters::new(&spec, settings))),
            Kind::Hnsw(settings) => Body::Graph(Box::new(Graph::new(&spec, settings))),
        };
        Ok(Self { spec, body })
    }

    /// How many vectors [`Dense::learnt`] is best given to learn from; none where the kind learns
    /// nothing, or so many are too few.
    pub fn sample_len(spec: &DenseSpec, count: usize) -> usize {
        match spec.kind {
            Kind::IvfPq(settings) => Clusters::sample_len(settings, count),
            Kind::ExactF32 | Kind::ExactBf16 | Kind::ExactInt8 | Kind::Codes(_) | Kind::Hnsw(_) => {
                0
            }
        }
    }

    /// An empty structure that has learnt from a sample, `[vectors, dimensions]`, how `count` vectors
    /// like these are kept best. Learning takes seconds to minutes. A kind that learns nothing, or
    /// from so few, is as [`Dense::new`] makes it.
    ///
    /// # Errors
    /// As for [`Dense::new`], and for a sample with a vector that could not be inserted.
    pub fn learnt(spec: DenseSpec, count: usize, sample: &[f32]) -> Result<Self, DenseError> {
        let mut dense = Self::new(spec)?;
        if let Kind::IvfPq(settings) = spec.kind {
            let mut prepared = Vec::with_capacity(sample.len());
            for vector in sample.chunks(spec.dimensions) {
                prepared.extend_from_slice(&dense.prepare(vector)?);
            }
            let clusters = Clusters::learnt(&spec, settings, count, &prepared);
            dense.body = Body::Clusters(Box::new(clusters));
        }
        Ok(dense)
    }

    /// Whether a structure that learns anew from the vectors that there are would find more.
    pub fn wants_learning(&self) -> bool {
        matches!(&self.body, Body::Clusters(clusters) if clusters.wants_learning())
    }

    /// What it was made for.
    pub fn spec(&self) -> &DenseSpec {
        &self.spec
    }

    /// Adds a slot's vector. Refused and without effect where the vector does not fit, is not
    /// finite, or the slot is there already.
    pub fn insert(&mut self, slot: Slot, vector: &[f32]) -> Result<(), DenseError> {
        let vector = self.prepare(vector)?;
        if self.contains(slot) {
            return Err(DenseError::Duplicate { slot });
        }
        let is_full = matches!(&self.body, Body::Graph(graph) if graph.is_full());
        if is_full || slot.0 == SLOT_NONE {
            return Err(DenseError::Full { len: self.len() });
        }
        match &mut self.body {
            Body::Slots(slots) => _ = slots.insert(slot.0, 0),
            Body::Flat(flat) => flat.insert(slot.0, &vector),
            Body::Signs(signs) => signs.insert(slot.0, vector.into_owned()),
            Body::Clusters(clusters) => clusters.insert(slot.0, vector.into_owned()),
            Body::Graph(graph) => graph.insert(slot.0, vector.into_owned()),
        }
        Ok(())
    }

    /// Removes a slot's vector, and says whether it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        match &mut self.body {
            Body::Slots(slots) => slots.remove(slot.0).is_some(),
            Body::Flat(flat) => flat.remove(slot.0),
            Body::Signs(signs) => signs.remove(slot.0),
            Body::Clusters(clusters) => clusters.remove(slot.0),
            Body::Graph(graph) => graph.remove(slot.0),
        }
    }

    /// Does now what changes have left for later: a graph replaces its last links to vectors that
    /// are gone and joins what cannot be reached. Takes time in proportion to the number of vectors.
    pub fn settle(&mut self) {
        if let Body::Graph(graph) = &mut self.body {
            graph.settle();
        }
    }

    /// Finds the best slots. Fails where the query does not fit or is not finite, or where the kind
    /// needs originals and has none. A query of zeros is as near to each vector as to any other.
    pub fn search(&self, args: &SearchArgs<'_>) -> Result<Found, DenseError> {
        let query = self.prepare(args.query)?;
        let args = SearchArgs { query: &query, ..*args };
        if args.k == 0 {
            return Ok(Found::default());
        }
        let mut found = match &self.body {
            Body::Slots(slots) => self.originals_of_all(slots, &args)?,
            Body::Flat(flat) => flat.search(&args),
            Body::Signs(signs) => signs.search(&args),
            Body::Clusters(clusters) => clusters.search(&args),
            Body::Graph(graph) => graph.search(&args),
        };
        if let (false, Some(originals)) = (matches!(self.body, Body::Slots(_)), args.originals) {
            for hit in &mut found.hits {
                if let Some(vector) = originals.vector(hit.slot) {
                    hit.score = self.likeness(args.query, &vector);
                    found.cost.full += 1;
                }
            }
            found.hits.sort_unstable_by(Hit::best_first);
        }
        found.hits.truncate(args.k);
        Ok(found)
    }

    /// Finds the best slots by comparing each vector's original, whatever the kind. Fails where
    /// [`Dense::search`] does, and where there are no originals.
    pub fn search_originals(&self, args: &SearchArgs<'_>) -> Result<Found, DenseError> {
        let query = self.prepare(args.query)?;
        let args = SearchArgs { query: &query, ..*args };
        match args.k {
            0 => Ok(Found::default()),
            _ => self.originals_of_all(self.map(), &args),
        }
    }

    /// Puts slots that it does not have among those that a search of it found, by their originals.
    ///
    /// # Errors
    /// As for [`Dense::search`], of the query.
    pub(crate) fn compare_too(
        &self,
        found: &mut Found,
        args: &SearchArgs<'_>,
        slots: impl Iterator<Item = Slot>,
    ) -> Result<(), DenseError> {
        let (query, Some(originals)) = (self.prepare(args.query)?, args.originals) else {
            return Ok(());
        };
        let mut best = Best::new(args.k);
        found.hits.drain(..).for_each(|hit| best.offer(hit));
        for slot in slots.filter(|&slot| args.allows(slot)) {
            if let Some(vector) = originals.vector(slot) {
                best.offer(Hit { slot, score: self.likeness(&query, &vector) });
                found.cost.full += 1;
            }
        }
        found.hits = best.into_hits();
        Ok(())
    }

    /// Whether the slot has a vector.
    pub fn contains(&self, slot: Slot) -> bool {
        self.map().get(slot.0).is_some()
    }

    /// All slots that have a vector, the lowest first.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.map().slots().map(Slot)
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.map().len()
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How it stands.
    pub fn stats(&self) -> Stats {
        let memory_bytes = match &self.body {
            Body::Slots(slots) => slots.memory_bytes(),
            Body::Flat(flat) => flat.memory_bytes(),
            Body::Signs(signs) => signs.memory_bytes(),
            Body::Clusters(clusters) => clusters.memory_bytes(),
            Body::Graph(graph) => graph.memory_bytes(),
        };
        Stats {
            vectors: self.len(),
            memory_bytes,
            unswept: if let Body::Graph(graph) = &self.body { graph.gone() } else { 0 },
            is_trained: !matches!(&self.body, Body::Clusters(clusters) if !clusters.is_trained()),
        }
    }

    /// Writes it, so that [`Dense::open`] can tell later whether it is whole.
    pub fn save(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Writer::begin(out)?;
        self.spec.save(&mut out)?;
        match &self.body {
            Body::Slots(slots) => out.counted(&slots.slots().collect::<Vec<u32>>())?,
            Body::Flat(flat) => flat.save(&mut out)?,
            Body::Signs(signs) => signs.save(&mut out)?,
            Body::Clusters(clusters) => clusters.save(&mut out)?,
            Body::Graph(graph) => graph.save(&mut out)?,
        }
        out.end()
    }

    /// Reads what [`Dense::save`] wrote. A single changed byte is found out.
    pub fn open(bytes: &[u8]) -> Result<Self, DamagedError> {
        let mut bytes = Reader::begin(bytes)?;
        let spec = DenseSpec::open(&mut bytes)?;
        let flat = |bytes: &mut Reader<'_>, precision| {
            Flat::open(bytes, spec.dimensions, precision).map(Body::Flat)
        };
        let body = match spec.kind {
            Kind::ExactF32 => Body::Slots(flat::map_of(&bytes.counted::<u32>()?)?),
            Kind::ExactBf16 => flat(&mut bytes, Precision::Bf16)?,
            Kind::ExactInt8 => flat(&mut bytes, Precision::Int8)?,
            Kind::Codes(settings) => {
                Body::Signs(Box::new(Signs::open(&mut bytes, &spec, settings)?))
            }
            Kind::IvfPq(settings) => {
                Body::Clusters(Box::new(Clusters::open(&mut bytes, &spec, settings)?))
            }
            Kind::Hnsw(settings) => {
                Body::Graph(Box::new(Graph::open(&mut bytes, &spec, settings)?))
            }
        };
        bytes.end()?;
        Ok(Self { spec, body })
    }

    fn map(&self) -> &SlotMap {
        match &self.body {
            Body::Slots(slots) => slots,
            Body::Flat(flat) => flat.map(),
            Body::Signs(signs) => signs.map(),
            Body::Clusters(clusters) => clusters.map(),
            Body::Graph(graph) => graph.map(),
        }
    }

    /// Checks a vector, and makes it of unit length where only its direction counts.
    fn prepare<'a>(&self, vector: &'a [f32]) -> Result<Cow<'a, [f32]>, DenseError> {
        let (expected, found) = (self.spec.dimensions, vector.len());
        if found != expected {
            return Err(DenseError::Dimensions { expected, found });
        }
        if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
            return Err(DenseError::NotFinite { at });
        }
        let square = kernels().dot_f32(vector, vector);
        if !square.is_finite() {
            return Err(DenseError::NotFinite { at: expected - 1 });
        }
        match self.spec.metric {
            Metric::Cosine if square > 0.0 => {
                let inverse = 1.0 / square.sqrt();
                Ok(vector.iter().map(|value| value * inverse).collect())
            }
            Metric::Cosine | Metric::Dot => Ok(Cow::Borrowed(vector)),
        }
    }

    /// The score of an original; of one that should not have got in it is the lowest.
    fn likeness(&self, query: &[f32], original: &[f32]) -> f32 {
        if original.len() != query.len() {
            return f32::MIN;
        }
        let product = kernels().dot_f32(query, original);
        let score = match self.spec.metric {
            Metric::Dot => product,
            Metric::Cosine => {
                let square = kernels().dot_f32(original, original);
                if square > 0.0 { product / square.sqrt() } else { 0.0 }
            }
        };
        if score.is_finite() { score } else { f32::MIN }
    }

    fn originals_of_all(
        &self,
        slots: &SlotMap,
        args: &SearchArgs<'_>,
    ) -> Result<Found, DenseError> {
        let kind = self.spec.kind.name();
        let originals = args.originals.ok_or(DenseError::NoOriginals { kind })?;
        let mut best = Best::new(args.k);
        let mut found = Found::default();
        for slot in slots.slots().map(Slot).filter(|&slot| args.allows(slot)) {
            if let Some(vector) = originals.vector(slot) {
                best.offer(Hit { slot, score: self.likeness(args.query, &vector) });
                found.cost.full += 1;
            }
        }
        found.hits = best.into_hits();
        Ok(found)
    }
}
