//! Each kind against a plain map of vectors, through insertions, removals, searches and saving.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::random::{mix, uniform};
use super::{
    Allowed, Codes, DamagedError, Dense, DenseError, DenseSpec, Hnsw, IvfPq, Kind, Metric,
    Originals, Rescoring, SearchArgs, kind_for,
};
use crate::hit::{Hit, Slot};

/// The plain map, which is also the store of originals.
#[derive(Default)]
struct Model(BTreeMap<u32, Vec<f32>>);

impl Originals for Model {
    fn vector(&self, slot: Slot) -> Option<Cow<'_, [f32]>> {
        self.0.get(&slot.0).map(|vector| Cow::Borrowed(&vector[..]))
    }
}

impl Model {
    fn best(&self, metric: Metric, args: &SearchArgs<'_>) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self
            .0
            .iter()
            .map(|(&slot, vector)| Hit {
                slot: Slot(slot),
                score: exact(metric, args.query, vector),
            })
            .filter(|hit| args.allowed.is_none_or(|allowed| (allowed.test)(hit.slot)))
            .collect();
        hits.sort_by(Hit::best_first);
        hits.truncate(args.k);
        hits
    }
}

fn exact(metric: Metric, query: &[f32], vector: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    match metric {
        Metric::Dot => dot(query, vector) as f32,
        Metric::Cosine => {
            (dot(query, vector) / (dot(query, query) * dot(vector, vector)).sqrt()) as f32
        }
    }
}

/// A vector near one of a few centres, as texts lie near their subjects.
fn vector(dimensions: usize, seed: u64, number: u64) -> Vec<f32> {
    let centre = mix(seed, number) % 12;
    let part = |purpose: u64, at: usize| uniform(mix(seed, purpose), at as u64) as f32 - 0.5;
    (0..dimensions).map(|at| part(1000 + centre, at) + 0.8 * part(5000 + number, at)).collect()
}

fn kinds() -> Vec<Kind> {
    let codes = |rescoring| Kind::Codes(Codes { rescoring, candidates: 100 });
    vec![
        Kind::ExactF32,
        Kind::ExactBf16,
        Kind::ExactInt8,
        codes(Rescoring::Int8),
        codes(Rescoring::Originals),
        Kind::IvfPq(IvfPq { code_bytes: 24, train_from: 400, probes: 16, ..IvfPq::default() }),
        Kind::Hnsw(Hnsw { links: 8, construction: 80, candidates: 64 }),
    ]
}

fn spec(kind: Kind, metric: Metric) -> DenseSpec {
    DenseSpec { dimensions: 48, metric, kind, seed: 11 }
}

fn args<'a>(query: &'a [f32], k: usize, originals: &'a Model) -> SearchArgs<'a> {
    SearchArgs { query, k, effort: None, allowed: None, originals: Some(originals) }
}

/// A structure and the map beside it, changed alike.
struct Pair {
    dense: Dense,
    model: Model,
    next: u32,
    seed: u64,
}

impl Pair {
    fn new(spec: DenseSpec, seed: u64) -> Self {
        let dense = Dense::new(spec).expect("settings of a test are allowed");
        Self { dense, model: Model::default(), next: 0, seed }
    }

    fn insert(&mut self, count: u32) {
        for _ in 0..count {
            let vector = vector(self.dense.spec().dimensions, self.seed, u64::from(self.next));
            self.dense.insert(Slot(self.next), &vector).expect("a new slot with a fit vector");
            self.model.0.insert(self.next, vector);
            self.next += 1;
        }
        if self.dense.wants_learning() {
            self.learn();
        }
    }

    fn learn(&mut self) {
        let count = self.model.0.len();
        let step = count.div_ceil(Dense::sample_len(self.dense.spec(), count).max(1));
        let sample: Vec<f32> = self.model.0.values().step_by(step).flatten().copied().collect();
        let mut learnt = Dense::learnt(*self.dense.spec(), count, &sample).unwrap();
        for (&slot, vector) in &self.model.0 {
            learnt.insert(Slot(slot), vector).unwrap();
        }
        self.dense = learnt;
    }

    /// Removes a share of all slots, in no order.
    fn remove(&mut self, share: f64) {
        let drawn = |&slot: &u32| uniform(self.seed ^ 77, u64::from(slot)) < share;
        let chosen: Vec<u32> = self.model.0.keys().copied().filter(drawn).collect();
        for slot in chosen {
            assert!(self.dense.remove(Slot(slot)), "{slot} was there");
            assert!(!self.dense.remove(Slot(slot)), "{slot} is gone");
            self.model.0.remove(&slot);
        }
    }

    /// Checks what must hold for each kind, and gives the recall at 10.
    fn check(&self, dense: &Dense) -> f64 {
        assert_eq!(dense.len(), self.model.0.len());
        assert!(dense.slots().map(|slot| slot.0).eq(self.model.0.keys().copied()));
        let (mut found, mut wanted) = (0, 0);
        for number in 0..40 {
            let query = vector(dense.spec().dimensions, self.seed, 1_000_000 + number);
            let args = args(&query, 10, &self.model);
            let answer = dense.search(&args).expect("a fit query").hits;
            let best = self.model.best(dense.spec().metric, &args);
            assert_eq!(answer.len(), best.len(), "as many hits as there are vectors, or ten");
            assert!(answer.is_sorted_by(|a, b| a.best_first(b).is_lt()));
            for hit in &answer {
                let vector = self.model.0.get(&hit.slot.0).expect("only living slots are found");
                let score = exact(dense.spec().metric, &query, vector);
                assert!((hit.score - score).abs() < 1e-4 * score.abs().max(1.0));
            }
            found += best.iter().filter(|hit| answer.iter().any(|it| it.slot == hit.slot)).count();
            wanted += best.len();
        }
        if wanted == 0 { 1.0 } else { f64::from(found as u32) / f64::from(wanted as u32) }
    }
}

/// The recall that each kind must keep on these small worlds.
fn recall_min(kind: &Kind) -> f64 {
    match kind {
        Kind::ExactF32 => 1.0,
        Kind::ExactBf16 | Kind::ExactInt8 => 0.99,
        Kind::Codes(_) | Kind::IvfPq(_) => 0.9,
        Kind::Hnsw(_) => 0.97,
    }
}

#[test]
fn each_kind_finds_what_is_there_through_changes_and_saving() {
    for metric in [Metric::Cosine, Metric::Dot] {
        for kind in kinds() {
            let mut pair = Pair::new(spec(kind, metric), 3);
            assert_eq!(pair.check(&pair.dense), 1.0, "nothing is found in nothing");
            for (count, share) in [(3, 0.0), (300, 0.5), (2500, 0.3), (1500, 0.2), (10, 0.97)] {
                pair.insert(count);
                pair.remove(share);
                let recall = pair.check(&pair.dense);
                assert!(recall >= recall_min(&kind), "{metric:?} {kind:?}: recall {recall}");
                let mut saved = Vec::new();
                pair.dense.save(&mut saved).unwrap();
                let opened = Dense::open(&saved).unwrap();
                assert_eq!(opened.spec(), pair.dense.spec());
                assert_eq!(pair.check(&opened), recall, "{kind:?}: the same after saving");
                // What was opened is as good to go on with.
                pair.dense = opened;
            }
            pair.remove(1.1);
            assert!(pair.dense.is_empty());
            pair.insert(50);
            assert_eq!(pair.check(&pair.dense), 1.0, "{kind:?}: fifty of fifty");
        }
    }
}

/// Vectors around other centres take the place of those that clusters were learnt from: it is told,
/// and what learns anew finds as much as before.
#[test]
fn clusters_that_no_longer_suit_want_to_be_learnt_anew() {
    let settings = IvfPq { code_bytes: 12, train_from: 400, probes: 8, ..IvfPq::default() };
    let mut pair = Pair::new(spec(Kind::IvfPq(settings), Metric::Cosine), 21);
    pair.insert(3000);
    assert!(pair.dense.stats().is_trained && !pair.dense.wants_learning());
    let without = |pair: &Pair| {
        let (mut found, mut wanted) = (0, 0);
        for number in 0..60 {
            let query = vector(48, pair.seed, 2_000_000 + number);
            let args = args(&query, 10, &pair.model);
            let best = pair.model.best(Metric::Cosine, &args);
            let answer = pair.dense.search(&SearchArgs { originals: None, ..args }).unwrap().hits;
            found += best.iter().filter(|hit| answer.iter().any(|it| it.slot == hit.slot)).count();
            wanted += best.len();
        }
        f64::from(found as u32) / f64::from(wanted as u32)
    };
    let before = without(&pair);
    // Other centres, as another seed has them; learning is put off to see what it is good for.
    pair.seed = 22;
    let gone: Vec<u32> = pair.model.0.keys().copied().collect();
    for slot in gone {
        let vector = vector(48, pair.seed, u64::from(pair.next));
        pair.dense.insert(Slot(pair.next), &vector).unwrap();
        pair.model.0.insert(pair.next, vector);
        pair.next += 1;
        pair.dense.remove(Slot(slot));
        pair.model.0.remove(&slot);
    }
    let drifted = without(&pair);
    assert!(pair.dense.wants_learning(), "{before} {drifted}");
    pair.learn();
    let after = without(&pair);
    assert!(!pair.dense.wants_learning());
    assert!(after > before - 0.03 && after > drifted + 0.03, "{before} {drifted} {after}");
}

#[test]
fn filters_are_kept_however_few_pass() {
    for kind in kinds() {
        let mut pair = Pair::new(spec(kind, Metric::Cosine), 9);
        pair.insert(4000);
        for step in [2, 3, 10, 100, 1999, 5000] {
            let test = |slot: Slot| slot.0 % step == 1;
            for about in [None, Some(4000 / step as usize)] {
                let (mut found, mut wanted) = (0, 0);
                for number in 0..20 {
                    let query = vector(48, 9, 1_000_000 + number);
                    let allowed = Some(Allowed { test: &test, about });
                    let args = SearchArgs { allowed, ..args(&query, 10, &pair.model) };
                    let answer = pair.dense.search(&args).unwrap().hits;
                    let best = pair.model.best(Metric::Cosine, &args);
                    assert!(answer.iter().all(|hit| test(hit.slot)));
                    assert_eq!(answer.len(), best.len(), "{kind:?} {step}");
                    let is_found = |hit: &&Hit| answer.iter().any(|it| it.slot == hit.slot);
                    found += best.iter().filter(is_found).count();
                    wanted += best.len();
                }
                let recall = f64::from(found as u32) / f64::from(wanted as u32);
                assert!(recall >= recall_min(&kind), "{kind:?} one of {step}: recall {recall}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = Model::default();
    for kind in kinds() {
        let mut dense = Dense::new(spec(kind, Metric::Dot)).unwrap();
        let mut check = |vector: &[f32], expected: DenseError| {
            assert_eq!(dense.insert(Slot(1), vector), Err(expected.clone()));
            assert_eq!(dense.search(&args(vector, 3, &model)), Err(expected));
        };
        check(&[1.0; 47], DenseError::Dimensions { expected: 48, found: 47 });
        check(&[], DenseError::Dimensions { expected: 48, found: 0 });
        let mut vector = [0.5; 48];
        vector[5] = f32::NAN;
        check(&vector, DenseError::NotFinite { at: 5 });
        vector[5] = f32::INFINITY;
        check(&vector, DenseError::NotFinite { at: 5 });
        check(&[f32::MAX; 48], DenseError::NotFinite { at: 47 });
        dense.insert(Slot(1), &[0.0; 48]).unwrap();
        let again = dense.insert(Slot(1), &[1.0; 48]);
        assert_eq!(again, Err(DenseError::Duplicate { slot: Slot(1) }));
        let full = dense.insert(Slot(u32::MAX), &[1.0; 48]);
        assert_eq!(full, Err(DenseError::Full { len: 1 }));
        dense.insert(Slot(2), &[f32::MIN_POSITIVE / 4.0; 48]).unwrap();
        dense.insert(Slot(3), &[1e18; 48]).unwrap();
        let mut model = Model::default();
        model.0.insert(1, vec![0.0; 48]);
        model.0.insert(2, vec![f32::MIN_POSITIVE / 4.0; 48]);
        model.0.insert(3, vec![1e18; 48]);
        for query in [[1.0; 48], [0.0; 48], [1e18; 48]] {
            let hits = dense.search(&args(&query, 9, &model)).unwrap().hits;
            assert_eq!(hits.len(), 3, "{kind:?}");
            assert!(hits.iter().all(|hit| hit.score.is_finite()), "{kind:?} {hits:?}");
        }
    }
    let dense = Dense::new(spec(Kind::ExactF32, Metric::Dot)).unwrap();
    let without = SearchArgs { originals: None, ..args(&[1.0; 48], 1, &model) };
    assert_eq!(dense.search(&without), Err(DenseError::NoOriginals { kind: "exact-f32" }));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let ivf = IvfPq::default();
    let cases = [
        (0, Kind::ExactF32, "dimensions"),
        (8193, Kind::ExactInt8, "dimensions"),
        (48, Kind::Hnsw(Hnsw { links: 1, ..Hnsw::default() }), "links"),
        (48, Kind::Hnsw(Hnsw { construction: 0, ..Hnsw::default() }), "construction"),
        (48, Kind::Codes(Codes { candidates: 0, ..Codes::default() }), "candidates"),
        (48, Kind::IvfPq(IvfPq { code_bytes: 7, ..ivf }), "code bytes"),
        (48, Kind::IvfPq(IvfPq { code_bytes: 0, ..ivf }), "code bytes"),
        (48, Kind::IvfPq(IvfPq { code_bytes: 24, train_from: 255, ..ivf }), "train from"),
    ];
    for (dimensions, kind, expected) in cases {
        let refused = Dense::new(DenseSpec { dimensions, kind, metric: Metric::Dot, seed: 0 });
        match refused.err() {
            Some(DenseError::Setting { setting, .. }) => assert_eq!(setting, expected),
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

/// Every kind, saved, with each byte of a short file and many of a long one changed or cut off.
#[test]
fn damage_is_found() {
    for kind in kinds() {
        let mut pair = Pair::new(spec(kind, Metric::Cosine), 5);
        pair.insert(450);
        pair.remove(0.1);
        let mut saved = Vec::new();
        pair.dense.save(&mut saved).unwrap();
        for draw in 0..400 {
            let at = (mix(draw, 1) % saved.len() as u64) as usize;
            let before = saved[at];
            saved[at] ^= (mix(draw, 2) % 255 + 1) as u8;
            assert!(Dense::open(&saved).is_err(), "{kind:?}: byte {at} changed");
            saved[at] = before;
            assert!(Dense::open(&saved[..at]).is_err(), "{kind:?}: cut at {at}");
        }
        for at in (0..64).chain(saved.len() - 16..saved.len()) {
            saved[at] ^= 1;
            assert!(Dense::open(&saved).is_err(), "{kind:?}: byte {at} changed");
            saved[at] ^= 1;
        }
        saved.push(0);
        assert!(Dense::open(&saved).is_err());
        saved.pop();
        assert!(Dense::open(&saved).is_ok());
    }
}

/// A forged file, whose checksum is right, may say anything: it is refused or opened, and what was
/// opened can be searched and changed, without a panic.
#[test]
fn forged_files_never_panic() {
    for kind in kinds() {
        let mut pair = Pair::new(spec(kind, Metric::Cosine), 6);
        pair.insert(420);
        let mut saved = Vec::new();
        pair.dense.save(&mut saved).unwrap();
        for draw in 0..300 {
            let mut forged = saved.clone();
            let body = forged.len() - 12;
            for change in 0..1 + draw % 3 {
                let place = mix(draw, change);
                // Half of the changes near the front, where the settings and counts lie.
                let at = 8 + place % if place & 1 == 0 { 120 } else { body as u64 - 8 };
                forged[at as usize] = mix(draw, 100 + change) as u8;
            }
            let checksum = crc32fast::hash(&forged[..body + 8]);
            forged[body + 8..].copy_from_slice(&checksum.to_le_bytes());
            let opened: Result<Dense, DamagedError> = Dense::open(&forged);
            if let Ok(mut dense) = opened {
                let query = vec![0.5; dense.spec().dimensions];
                dense.search(&args(&query, 5, &pair.model)).unwrap();
                for slot in 0..30 {
                    dense.remove(Slot(slot));
                    _ = dense.insert(Slot(10_000 + slot), &query);
                }
                dense.settle();
            }
        }
    }
}

#[test]
fn the_kind_follows_size_and_memory() {
    let gib = 1 << 30;
    let name = |len, memory| kind_for(len, 384, memory).name();
    assert_eq!(name(0, 0), "exact-f32");
    assert_eq!(name(8_000, gib), "exact-int8");
    assert_eq!(name(1_000_000, gib), "hnsw");
    assert_eq!(name(1_000_000, gib / 8), "codes");
    assert_eq!(name(1_000_000, gib / 32), "ivf-pq");
    for dimensions in [1, 7, 384, 1000, 8192] {
        for memory in [0, 1 << 20, gib] {
            let kind = kind_for(1_000_000, dimensions, memory);
            let spec = DenseSpec { dimensions, metric: Metric::Dot, kind, seed: 0 };
            assert!(Dense::new(spec).is_ok(), "{kind:?} for {dimensions} dimensions");
        }
    }
}
