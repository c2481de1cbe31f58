//! Clusters and codes, once they have been learnt.

use std::io;

use super::drift::Drift;
use super::kmeans::{Centroids, cluster};
use crate::dense::error::DamagedError;
use crate::dense::random::mix;
use crate::dense::saved::{Reader, Writer};
use crate::dense::search::{Best, SearchArgs, SearchCost};
use crate::dense::slots::SlotMap;
use crate::dense::spec::{DenseSpec, IvfPq};
use crate::hit::{Hit, Slot};

/// Vectors for each centroid that learning looks at; more make it slower and hardly better.
const POINTS_PER_CENTROID: usize = 40;

/// Clusters, codebooks and the vectors in them.
pub(super) struct Trained {
    clusters: Centroids,
    /// For each byte of a code its part of a vector's remainder, 256 centroids of it.
    codebooks: Vec<Centroids>,
    lists: Vec<List>,
    /// Which list a slot is in.
    map: SlotMap,
    drift: Drift,
}

/// Longest distance that is counted: the sum over a part of the vectors stays finite.
const DISTANCE_MAX: f32 = 1e25;

/// Where a vector goes.
struct Encoded {
    list: usize,
    code: Vec<u8>,
    /// The squared distance of the vector to what its code stands for.
    distance: f32,
}

/// Clusters that are made of so many vectors.
fn lists_of(settings: IvfPq, count: usize) -> usize {
    match settings.lists {
        0 => (4 * count.isqrt()).max(1),
        lists => lists as usize,
    }
}

/// The vectors of a cluster.
#[derive(Default)]
struct List {
    slots: Vec<u32>,
    /// `[vectors, code bytes]`.
    codes: Vec<u8>,
}

impl Trained {
    /// How many vectors learning from `count` looks at.
    pub(super) fn sample_len(settings: IvfPq, count: usize) -> usize {
        count.min(POINTS_PER_CENTROID * lists_of(settings, count).max(IvfPq::CENTROIDS))
    }

    /// Learns from a sample, `[vectors, dimensions]`, of so many vectors; none of them is in it yet.
    pub(super) fn learn(spec: &DenseSpec, settings: IvfPq, count: usize, vectors: &[f32]) -> Self {
        let dimensions = spec.dimensions;
        let lists = lists_of(settings, count).min(vectors.len() / dimensions);
        let sample = sample(vectors, dimensions, POINTS_PER_CENTROID * lists, spec.seed);
        let clusters = cluster(&sample, dimensions, lists, mix(spec.seed, 0));
        let points = POINTS_PER_CENTROID * IvfPq::CENTROIDS;
        let mut rests = self::sample(vectors, dimensions, points, mix(spec.seed, 1));
        let mut products = Vec::new();
        for rest in rests.chunks_exact_mut(dimensions) {
            let nearest = clusters.nearest(rest, &mut products);
            subtract(rest, clusters.row(nearest));
        }
        let part = dimensions / settings.code_bytes as usize;
        let codebook = |at: usize| {
            let rows = rests.chunks_exact(dimensions);
            let points: Vec<f32> =
                rows.flat_map(|rest| rest[at * part..][..part].iter().copied()).collect();
            cluster(&points, part, IvfPq::CENTROIDS, mix(spec.seed, 2 + at as u64))
        };
        let codebooks = (0..settings.code_bytes as usize).map(codebook).collect();
        let lists = (0..lists).map(|_| List::default()).collect();
        Self { clusters, codebooks, lists, map: SlotMap::default(), drift: Drift::new(count) }
    }

    /// Whether another one would find more.
    pub(super) fn is_due(&self) -> bool {
        self.drift.is_due(self.map.len())
    }

    pub(super) fn map(&self) -> &SlotMap {
        &self.map
    }

    pub(super) fn insert(&mut self, slot: u32, vector: Vec<f32>) {
        let Encoded { list, code, distance } = self.encode(vector);
        self.lists[list].slots.push(slot);
        self.lists[list].codes.extend(code);
        self.map.insert(slot, list as u32);
        self.drift.on_vector(distance, self.map.len());
    }

    fn encode(&self, mut vector: Vec<f32>) -> Encoded {
        let mut products = Vec::new();
        let list = self.clusters.nearest(&vector, &mut products);
        subtract(&mut vector, self.clusters.row(list));
        let part = vector.len() / self.codebooks.len();
        let mut code = Vec::with_capacity(self.codebooks.len());
        for (rest, codebook) in vector.chunks_exact_mut(part).zip(&self.codebooks) {
            let byte = codebook.nearest(rest, &mut products);
            subtract(rest, codebook.row(byte));
            code.push(byte as u8);
        }
        let distance = vector.iter().map(|value| value * value).sum::<f32>();
        // What is far beyond all others is as far as can be counted.
        Encoded { list, code, distance: distance.min(DISTANCE_MAX) }
    }

    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let Some(list) = self.map.remove(slot) else { return false };
        let list = &mut self.lists[list as usize];
        let at = list.slots.iter().position(|&other| other == slot);
        let at = at.expect("the map says which list a slot is in");
        let (width, last) = (self.codebooks.len(), list.slots.len() - 1);
        list.slots.swap_remove(at);
        list.codes.copy_within(last * width.., at * width);
        list.codes.truncate(last * width);
        true
    }

    /// The best `wanted` in the `probes` clusters whose means are the best.
    pub(super) fn search(
        &self,
        args: &SearchArgs<'_>,
        probes: usize,
        wanted: usize,
        cost: &mut SearchCost,
    ) -> Vec<Hit> {
        let mut products = Vec::new();
        self.clusters.products(args.query, &mut products);
        let mut order: Vec<usize> = (0..products.len()).collect();
        order.sort_unstable_by(|&a, &b| products[b].total_cmp(&products[a]).then(a.cmp(&b)));
        cost.full += products.len() as u64;
        let tables = self.tables(args.query);
        let mut best = Best::new(wanted);
        for (looked, at) in order.into_iter().enumerate() {
            // Few may be allowed: go on past the probes until as many as are wanted were seen.
            if looked >= probes && best.is_full() {
                break;
            }
            let list = &self.lists[at];
            cost.coarse += list.slots.len() as u64;
            let codes = list.codes.chunks_exact(self.codebooks.len());
            for (&slot, code) in list.slots.iter().zip(codes) {
                let rest: f32 =
                    tables.iter().zip(code).map(|(table, &byte)| table[usize::from(byte)]).sum();
                let score = products[at] + rest;
                if best.wants(score) && args.allows(Slot(slot)) {
                    best.offer(Hit { slot: Slot(slot), score });
                }
            }
        }
        best.into_hits()
    }

    /// For each byte of a code, what each of its values adds to the product with the query.
    fn tables(&self, query: &[f32]) -> Vec<[f32; IvfPq::CENTROIDS]> {
        let mut products = Vec::new();
        let parts = query.chunks_exact(query.len() / self.codebooks.len());
        let table = |(part, codebook): (&[f32], &Centroids)| {
            codebook.products(part, &mut products);
            std::array::from_fn(|value| products[value])
        };
        parts.zip(&self.codebooks).map(table).collect()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let codebooks: usize = self.codebooks.iter().map(Centroids::memory_bytes).sum();
        let list = |list: &List| 4 * list.slots.capacity() + list.codes.capacity();
        let lists: usize = self.lists.iter().map(|each| size_of::<List>() + list(each)).sum();
        self.clusters.memory_bytes() + codebooks + lists + self.map.memory_bytes()
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.counted(self.clusters.values())?;
        for codebook in &self.codebooks {
            out.counted(codebook.values())?;
        }
        for list in &self.lists {
            out.counted(&list.slots)?;
            out.counted(&list.codes)?;
        }
        self.drift.save(out)
    }

    pub(super) fn open(
        bytes: &mut Reader<'_>,
        spec: &DenseSpec,
        settings: IvfPq,
    ) -> Result<Self, DamagedError> {
        let damaged = |reason| DamagedError { reason };
        let mut centroids = |dimensions: usize, count: Option<usize>| {
            let values: Vec<f32> = bytes.counted()?;
            let found = values.len() / dimensions;
            let is_whole = values.len().is_multiple_of(dimensions) && found > 0;
            let is_finite = values.iter().all(|value| value.is_finite());
            if !is_whole || !is_finite || count.is_some_and(|count| count != found) {
                return Err(damaged("centroids do not fit"));
            }
            Ok(Centroids::new(values, dimensions))
        };
        let clusters = centroids(spec.dimensions, None)?;
        let width = settings.code_bytes as usize;
        let part = spec.dimensions / width;
        let codebooks: Vec<Centroids> = (0..width)
            .map(|_| centroids(part, Some(IvfPq::CENTROIDS)))
            .collect::<Result<_, _>>()?;
        let mut map = SlotMap::default();
        let mut lists = Vec::new();
        for at in 0..clusters.len() {
            let list = List { slots: bytes.counted()?, codes: bytes.counted()? };
            if list.codes.len() != list.slots.len() * width {
                return Err(damaged("codes do not fit their slots"));
            }
            for &slot in &list.slots {
                if map.insert(slot, at as u32).is_some() {
                    return Err(damaged("a slot is there twice"));
                }
            }
            lists.push(list);
        }
        let drift = Drift::open(bytes)?;
        Ok(Self { clusters, codebooks, lists, map, drift })
    }
}

fn subtract(vector: &mut [f32], other: &[f32]) {
    for (value, other) in vector.iter_mut().zip(other) {
        *value -= other;
    }
}

/// At most this many of the vectors, drawn from all of them.
fn sample(vectors: &[f32], dimensions: usize, count_max: usize, seed: u64) -> Vec<f32> {
    let count = vectors.len() / dimensions;
    if count <= count_max {
        return vectors.to_vec();
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&row| (mix(seed, row as u64), row));
    order.truncate(count_max);
    let rows = order.iter().map(|&row| &vectors[row * dimensions..][..dimensions]);
    rows.flat_map(|row| row.iter().copied()).collect()
}
