//! What a dense structure is made for: dimensions, likeness, kind.

use std::io;

use super::error::{DamagedError, DenseError};
use super::saved::{Reader, Writer};

/// Dimensions that a vector may have at most.
pub const DIMENSIONS_MAX: usize = 8192;

/// How alike two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The cosine of their angle: vectors are made of unit length as they come in.
    Cosine,
    /// Their dot product, as they are.
    Dot,
}

/// How vectors are kept and found. The page `docs/index-dense.md` has each kind's memory and recall
/// as measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Compares with every vector in f32, as the store has it; holds nothing but slots.
    ExactF32,
    /// Compares with every vector, kept in bf16: 2 bytes a dimension.
    ExactBf16,
    /// Compares with every vector, kept in 8 bits with a scale for each: 1 byte a dimension.
    ExactInt8,
    /// Compares with every vector's signs after a random rotation, and then those few that seem
    /// best with more precision.
    Codes(Codes),
    /// Compares with product-quantised vectors of the nearest clusters.
    IvfPq(IvfPq),
    /// Walks a graph of neighbours.
    Hnsw(Hnsw),
}

/// What the best of a coarse stage are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescoring {
    /// 8-bit vectors that are kept beside: 1 byte a dimension.
    Int8,
    /// The originals, in f32, where the caller gives them.
    Originals,
}

/// One bit for each dimension, after a random rotation, and an unbiased estimate from it (Gao and
/// Long 2024, RaBitQ).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// How the best are compared again.
    pub rescoring: Rescoring,
    /// Vectors that are compared again, unless a search says otherwise.
    pub candidates: u32,
}

impl Default for Codes {
    fn default() -> Self {
        Self { rescoring: Rescoring::Int8, candidates: 200 }
    }
}

/// Clusters, and within them product quantisation of what is left (Jégou, Douze and Schmid 2011).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvfPq {
    /// Clusters; 0 for four times the root of the number of vectors at learning.
    pub lists: u32,
    /// Bytes of a code. Each stands for as many dimensions as the others, so it divides them.
    pub code_bytes: u32,
    /// Vectors from which on it wants to learn; until it has, all are kept, and compared, in 8 bits.
    pub train_from: u32,
    /// Clusters that are looked through, unless a search says otherwise.
    pub probes: u32,
    /// Vectors that are compared again with their originals, where the caller gives them.
    pub candidates: u32,
}

impl IvfPq {
    /// Values of a code's byte, each of which stands for a centroid.
    pub(super) const CENTROIDS: usize = 256;
}

impl Default for IvfPq {
    fn default() -> Self {
        Self { lists: 0, code_bytes: 96, train_from: 20_000, probes: 64, candidates: 200 }
    }
}

/// A hierarchy of graphs of neighbours (Malkov and Yashunin 2018), over 8-bit codes of which walking
/// reads the upper halves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hnsw {
    /// Neighbours that a new vector is joined to; on the lowest level twice as many may join it.
    pub links: u32,
    /// Candidates from which a new vector's neighbours are chosen.
    pub construction: u32,
    /// Candidates that a search keeps, unless it says otherwise.
    pub candidates: u32,
}

impl Default for Hnsw {
    fn default() -> Self {
        Self { links: 16, construction: 128, candidates: 64 }
    }
}

/// What a dense structure is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseSpec {
    /// Numbers in a vector, from 1 to [`DIMENSIONS_MAX`].
    pub dimensions: usize,
    /// How alike two vectors are.
    pub metric: Metric,
    /// How vectors are kept and found.
    pub kind: Kind,
    /// Decides the rotation, the levels of a graph and where clusters begin.
    pub seed: u64,
}

/// Links, candidates or clusters that can be asked for at most.
const SETTING_MAX: usize = 1 << 16;
/// Links that can be asked for at most.
const LINKS_MAX: usize = 256;

impl DenseSpec {
    /// Whether each setting can be worked with.
    pub(super) fn check(&self) -> Result<(), DenseError> {
        let within = |setting, found: usize, most: usize, allowed| {
            let is_allowed = (1..=most).contains(&found);
            if is_allowed { Ok(()) } else { Err(DenseError::Setting { setting, found, allowed }) }
        };
        within("dimensions", self.dimensions, DIMENSIONS_MAX, "from 1 to 8192")?;
        let setting =
            |name, value: u32| within(name, value as usize, SETTING_MAX, "from 1 to 65536");
        match self.kind {
            Kind::ExactF32 | Kind::ExactBf16 | Kind::ExactInt8 => Ok(()),
            Kind::Codes(codes) => setting("candidates", codes.candidates),
            Kind::IvfPq(ivf) => {
                setting("lists", ivf.lists.max(1))?;
                setting("probes", ivf.probes)?;
                setting("candidates", ivf.candidates)?;
                let bytes = ivf.code_bytes as usize;
                if bytes == 0 || !self.dimensions.is_multiple_of(bytes) {
                    let allowed = "a divisor of the dimensions";
                    return Err(DenseError::Setting {
                        setting: "code bytes",
                        found: bytes,
                        allowed,
                    });
                }
                let from = ivf.train_from as usize;
                if from < IvfPq::CENTROIDS {
                    let allowed = "256 or more";
                    return Err(DenseError::Setting {
                        setting: "train from",
                        found: from,
                        allowed,
                    });
                }
                Ok(())
            }
            Kind::Hnsw(hnsw) => {
                let links = hnsw.links as usize;
                if !(2..=LINKS_MAX).contains(&links) {
                    let allowed = "from 2 to 256";
                    return Err(DenseError::Setting { setting: "links", found: links, allowed });
                }
                setting("construction", hnsw.construction)?;
                setting("candidates", hnsw.candidates)
            }
        }
    }

    /// Writes it in eight numbers.
    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        let (kind, settings) = match self.kind {
            Kind::ExactF32 => (0, [0; 5]),
            Kind::ExactBf16 => (1, [0; 5]),
            Kind::ExactInt8 => (2, [0; 5]),
            Kind::Codes(codes) => {
                let rescoring = match codes.rescoring {
                    Rescoring::Int8 => 0,
                    Rescoring::Originals => 1,
                };
                (3, [rescoring, codes.candidates, 0, 0, 0])
            }
            Kind::IvfPq(ivf) => {
                (4, [ivf.lists, ivf.code_bytes, ivf.train_from, ivf.probes, ivf.candidates])
            }
            Kind::Hnsw(hnsw) => (5, [hnsw.links, hnsw.construction, hnsw.candidates, 0, 0]),
        };
        let metric = match self.metric {
            Metric::Cosine => 0,
            Metric::Dot => 1,
        };
        out.number(self.seed)?;
        out.numbers(&[self.dimensions as u32, metric, kind])?;
        out.numbers(&settings)
    }

    /// Reads and checks it.
    pub(super) fn open(bytes: &mut Reader<'_>) -> Result<Self, DamagedError> {
        let seed = bytes.number()?;
        let mut numbers = [0u32; 8];
        for number in &mut numbers {
            *number = bytes.number()?;
        }
        let [dimensions, metric, kind, a, b, c, d, e] = numbers;
        let unknown = DamagedError { reason: "it is of no kind that is known" };
        let kind = match kind {
            0 => Kind::ExactF32,
            1 => Kind::ExactBf16,
            2 => Kind::ExactInt8,
            3 => {
                let rescoring = match a {
                    0 => Rescoring::Int8,
                    1 => Rescoring::Originals,
                    _ => return Err(unknown),
                };
                Kind::Codes(Codes { rescoring, candidates: b })
            }
            4 => Kind::IvfPq(IvfPq {
                lists: a,
                code_bytes: b,
                train_from: c,
                probes: d,
                candidates: e,
            }),
            5 => Kind::Hnsw(Hnsw { links: a, construction: b, candidates: c }),
            _ => return Err(unknown),
        };
        let metric = match metric {
            0 => Metric::Cosine,
            1 => Metric::Dot,
            _ => return Err(unknown),
        };
        let spec = Self { dimensions: dimensions as usize, metric, kind, seed };
        spec.check().map_err(|_| DamagedError { reason: "its settings cannot be worked with" })?;
        Ok(spec)
    }
}

/// Vectors up to which comparing with all of them, in f32, takes about a seventh of a millisecond.
const EXACT_F32_MAX: usize = 2_000;
/// Vectors up to which comparing with all of them in 8 bits takes about an eighth of a millisecond,
/// three times a walk through a graph, which misses some and has to be built.
const EXACT_INT8_MAX: usize = 10_000;

/// The kind that suits `len` vectors, within `memory_bytes_max` of memory.
///
/// All are compared where they are few. A graph is the quickest for many; where memory is too small
/// for it, codes with the originals on disk take its place, and where that is too much, clusters.
pub fn kind_for(len: usize, dimensions: usize, memory_bytes_max: usize) -> Kind {
    let fits = |vector_bytes: usize| len.saturating_mul(vector_bytes) <= memory_bytes_max;
    if len <= EXACT_F32_MAX {
        return Kind::ExactF32;
    }
    if len <= EXACT_INT8_MAX && fits(dimensions + 16) {
        return Kind::ExactInt8;
    }
    let hnsw = Hnsw::default();
    // Codes, the links of the lowest level, and what is kept about each node.
    if fits(dimensions.next_multiple_of(128) + 8 * hnsw.links as usize + 40) {
        return Kind::Hnsw(hnsw);
    }
    let codes = Codes { rescoring: Rescoring::Originals, ..Codes::default() };
    if fits(dimensions.div_ceil(64) * 8 + 16) {
        return Kind::Codes(codes);
    }
    let wanted = dimensions / 16;
    let divides = |bytes: &usize| dimensions.is_multiple_of(*bytes);
    let code_bytes = (1..=wanted).rev().find(divides).unwrap_or(1);
    Kind::IvfPq(IvfPq { code_bytes: code_bytes as u32, ..IvfPq::default() })
}

impl Kind {
    /// A word for people and files: `exact-f32`, `exact-bf16`, `exact-int8`, `codes`, `ivf-pq`, `hnsw`.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::ExactF32 => "exact-f32",
            Kind::ExactBf16 => "exact-bf16",
            Kind::ExactInt8 => "exact-int8",
            Kind::Codes(_) => "codes",
            Kind::IvfPq(_) => "ivf-pq",
            Kind::Hnsw(_) => "hnsw",
        }
    }
}
