//! Low-rank pairs with ragged ranks.

use std::sync::Arc;

use super::coverage::{Output, assert_covers};
use super::memory::Buffer;
use super::{Memory, assert_alone_is_together, assert_near, on_host, random};
use crate::adapter::{Adapter, AdapterLayout, Module, Site};
use crate::backend::{AdaptSlopes, Backend, Group, Pairs, Precision};
use crate::cpu::{Cpu, CpuWorkspace};
use crate::cuda::launch::PlanError;
use crate::cuda::plan::batch::BatchTables;
use crate::cuda::plan::lora::{
    LoraArgs, LoraPair, LoraPlaces, LoraTables, RANKS, SUMMED, Scratch, WIDE, lora_input_slopes,
    lora_low, lora_low_slopes, lora_pair_slopes, lora_up,
};
use crate::cuda::plan::tile::Tile;
use crate::cuda::record::Address;
use crate::cuda::source::Real;
use crate::model::EncoderConfig;
use crate::packed::{Dropout, Packed};
use crate::random::mix;

const CONFIG: EncoderConfig = EncoderConfig {
    hidden: 72,
    layers: 2,
    heads: 1,
    // Odd, as no vector is.
    intermediate: 131,
    vocab: 1,
    positions: 600,
    token_types: 1,
    norm_eps: 1e-12,
    position_offset: 0,
};
const LAYER: usize = 1;

/// A segment of the tests' batches.
struct Tenant {
    lengths: &'static [usize],
    /// Ranks of query, key and value; 0 where there is no pair. All 0: no adapter.
    ranks: [usize; 3],
    /// Of dropout, if there is any.
    rate_per_mille: Option<u32>,
}

const TENANTS: [Tenant; 7] = [
    Tenant { lengths: &[5, 70, 1], ranks: [8, 0, 8], rate_per_mille: Some(100) },
    Tenant { lengths: &[12], ranks: [0, 0, 0], rate_per_mille: None },
    Tenant { lengths: &[200, 3], ranks: [16, 1, 3], rate_per_mille: None },
    Tenant { lengths: &[1], ranks: [64, 17, 0], rate_per_mille: Some(500) },
    Tenant { lengths: &[], ranks: [3, 3, 3], rate_per_mille: None },
    Tenant { lengths: &[33, 64], ranks: [0, 64, 1], rate_per_mille: Some(0) },
    // On rows of bf16 its gradients are in three slabs, of which none is a whole number of steps.
    Tenant { lengths: &[512, 300], ranks: [3, 8, 16], rate_per_mille: Some(50) },
];

/// The layers that a group's pairs stand between.
fn widths(group: Group) -> (usize, usize) {
    let (inputs, outputs) = group.modules()[0].shape(&CONFIG);
    (inputs, outputs * group.modules().len())
}

fn adapter_of(tenant: usize, group: Group) -> Adapter {
    let modules = group.modules().iter().zip(TENANTS[tenant].ranks);
    let pairs = modules
        .filter(|(_, rank)| *rank > 0)
        .map(|(&module, rank)| (Site { layer: LAYER, module }, rank, 2.0 / rank as f32));
    let layout = Arc::new(AdapterLayout::from_pairs(pairs.collect(), &CONFIG));
    let values = random(layout.len(), mix(&[7, tenant as u64]));
    Adapter { layout, values }
}

/// The tenants of a batch, in this order, with all that their pairs read.
struct Scene {
    batch: Packed,
    adapters: Vec<Adapter>,
    x: Vec<f32>,
    y: Vec<f32>,
    dy: Vec<f32>,
    dx: Vec<f32>,
}

impl Scene {
    fn new(order: &[usize], group: Group) -> Self {
        let (inputs, y_width) = widths(group);
        let (mut batch, mut adapters) = (Packed::default(), Vec::new());
        for &at in order {
            let tenant = &TENANTS[at];
            let texts: Vec<Vec<u32>> = tenant.lengths.iter().map(|&len| vec![0; len]).collect();
            let dropout = tenant.rate_per_mille.map(|rate_per_mille| Dropout {
                key: mix(&[5, at as u64]),
                text_keys: (0..texts.len() as u64).map(|text| 100 * text + 3).collect(),
                rate_per_mille,
            });
            let is_adapted = tenant.ranks != [0; 3];
            let adapter = is_adapted.then_some(adapters.len());
            adapters.extend(is_adapted.then(|| adapter_of(at, group)));
            batch.push(texts.iter().map(Vec::as_slice), adapter, dropout);
        }
        let rows = |width: usize, seed: u64| {
            let of = |&at: &usize| {
                let tokens: usize = TENANTS[at].lengths.iter().sum();
                random(tokens * width, mix(&[seed, at as u64]))
            };
            order.iter().flat_map(of).collect::<Vec<f32>>()
        };
        let (x, y) = (rows(inputs, 1), rows(y_width, 2));
        Self { batch, adapters, x, y, dy: rows(y_width, 3), dx: rows(inputs, 4) }
    }

    fn adapters(&self) -> Vec<&Adapter> {
        self.adapters.iter().collect()
    }
}

/// What the kernels wrote: y, dx, and the gradients of each segment.
struct Found {
    y: Vec<f32>,
    dx: Vec<f32>,
    gradients: Vec<Vec<f32>>,
}

/// Runs all five kernels; the scene's rows become what the kernels read.
fn run(memory: &Memory, scene: &mut Scene, group: Group) -> Found {
    let (memory, real) = (memory.fresh(), memory.real());
    let adapters: Vec<&Adapter> = scene.adapters.iter().collect();
    let pairs = Pairs { batch: &scene.batch, adapters: &adapters, layer: LAYER, group };
    let tables = BatchTables::new(&scene.batch).unwrap();
    let values: Vec<Buffer> = adapters.iter().map(|a| memory.floats(&a.values)).collect();
    let values: Vec<Address> = values.iter().map(Buffer::address).collect();
    let lens = scene.batch.segments().iter().map(|segment| match segment.adapter {
        Some(at) if !segment.texts.is_empty() => adapters[at].layout.len(),
        _ => 0,
    });
    let gradients: Vec<Buffer> = lens.map(|len| memory.blank_floats(len)).collect();
    let scratch = Scratch::of(pairs, real);
    let (low, d_low) =
        (memory.blank_floats(scratch.low_values), memory.blank_floats(scratch.low_values));
    let places = LoraPlaces {
        adapters: &values,
        gradients: &gradients.iter().map(Buffer::address).collect::<Vec<_>>(),
        low: low.address(),
        d_low: d_low.address(),
        partial: memory.blank_floats(scratch.partial_values).address(),
        masks: memory.blank_bytes(scratch.mask_bytes).address(),
    };
    let lora = LoraTables::new((pairs, real), &places, (None, true)).unwrap();
    let (x, held_x) = memory.reals(&scene.x);
    let (y, held_y) = memory.reals(&scene.y);
    let (dy, held_dy) = memory.reals(&scene.dy);
    let (dx, held_dx) = memory.reals(&scene.dx);
    let args = LoraArgs {
        pairs: memory.table(&lora.pairs).address(),
        tiles: Address::NONE,
        x: x.address(),
        y: y.address(),
        dy: dy.address(),
        dx: dx.address(),
        texts: memory.numbers(&tables.texts).address(),
        offsets: memory.numbers(&tables.offsets).address(),
        text_keys: memory.keys(&tables.text_keys).address(),
        y_width: widths(group).1 as u32,
    };
    if !pairs.iter().any(|pair| !scene.batch.rows(pair.segment).is_empty()) {
        assert_eq!(lora_low(real, args, &lora), Ok(None), "nothing is adapted");
    } else {
        let with = |tiles| LoraArgs { tiles: memory.table(tiles).address(), ..args };
        memory.run(lora_low(real, with(&lora.tiles.low), &lora));
        memory.run(lora_up(real, with(&lora.tiles.up), &lora));
        memory.run(lora_low_slopes(real, with(&lora.tiles.low_slopes), &lora));
        memory.run(lora_pair_slopes(real, with(&lora.tiles.pair_slopes), &lora));
        memory.run(lora_input_slopes(real, with(&lora.tiles.input_slopes), &lora));
        for pair in &lora.pairs {
            let first = (pair.low.0 - low.address().0) as usize / 4;
            assert_eq!(pair.low.0 % 16, low.address().0 % 16, "pairs begin at whole vectors");
            let own = first..first + (pair.rows * pair.rank) as usize;
            low.part(own.clone());
            d_low.part(own);
        }
    }
    (scene.x, scene.y, scene.dy, scene.dx) = (held_x, held_y, held_dy, held_dx);
    let gradients = gradients.iter().map(Buffer::values).collect();
    Found { y: y.values(), dx: dx.values(), gradients }
}

fn check(memory: &Memory, group: Group) {
    let order: Vec<usize> = (0..TENANTS.len()).collect();
    let mut scene = Scene::new(&order, group);
    let found = run(memory, &mut scene, group);

    let cpu = Cpu::new(Precision::F32).unwrap();
    let workspace = &mut CpuWorkspace::default();
    let adapters = scene.adapters();
    let pairs = Pairs { batch: &scene.batch, adapters: &adapters, layer: LAYER, group };
    let mut y = scene.y.clone();
    cpu.adapt(workspace, pairs, &scene.x, &mut y);
    let mut dx = scene.dx.clone();
    let lens = found.gradients.iter().map(Vec::len);
    let mut gradients: Vec<Vec<f32>> = lens.map(|len| vec![0.0; len]).collect();
    let slopes = AdaptSlopes { x: &scene.x, dy: &scene.dy, dx: Some(&mut dx) };
    cpu.adapt_backward(workspace, pairs, slopes, &mut gradients);

    assert_near(memory, "y", &found.y, &y);
    assert_near(memory, "dx", &found.dx, &dx);
    for (found, expected) in found.gradients.iter().zip(&gradients) {
        assert_near(memory, "gradients", found, expected);
    }
    if memory.real() == Real::Float {
        let found = (found.y, found.dx, found.gradients);
        assert_eq!(found, (y, dx, gradients), "both sum in one order");
    }
}

#[test]
fn products_and_slopes_are_those_of_the_cpu_and_so_is_every_mask() {
    on_host(|memory| {
        [Group::QueryKeyValue, Group::Intermediate, Group::Output]
            .into_iter()
            .for_each(|group| check(memory, group));
    });
}

#[test]
fn a_segment_has_the_same_bits_alone_and_among_others() {
    on_host(|memory| {
        let group = Group::QueryKeyValue;
        assert_alone_is_together(TENANTS.len(), |order| {
            let mut scene = Scene::new(order, group);
            let found = run(memory, &mut scene, group);
            let segments = scene.batch.segments().iter().zip(&found.gradients);
            let (inputs, y_width) = widths(group);
            let of = |(segment, gradient): (_, &Vec<f32>)| {
                let rows = scene.batch.rows(segment);
                let y = &found.y[rows.start * y_width..rows.end * y_width];
                let dx = &found.dx[rows.start * inputs..rows.end * inputs];
                let all = [y, dx, gradient.as_slice()].concat();
                all.iter().map(|value| value.to_bits()).collect()
            };
            segments.map(of).collect()
        });
    });
}

#[test]
fn sites_are_counted_as_the_cpu_counts_them() {
    assert_eq!(Module::ALL.map(|module| module as u64), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn every_launch_takes_every_element_once() {
    Real::ALL.into_iter().for_each(check_coverage);
}

fn check_coverage(real: Real) {
    let group = Group::QueryKeyValue;
    let order: Vec<usize> = (0..TENANTS.len()).collect();
    let scene = Scene::new(&order, group);
    let adapters = scene.adapters();
    let pairs = Pairs { batch: &scene.batch, adapters: &adapters, layer: LAYER, group };
    let addresses = vec![Address::NONE; adapters.len()];
    let places = LoraPlaces { adapters: &addresses, ..LoraPlaces::default() };
    let tables = LoraTables::new((pairs, real), &places, (None, true)).unwrap();
    let outputs = |kind: u32, size: &dyn Fn(&LoraPair) -> [u32; 2]| {
        let sizes = tables.pairs.iter().map(|pair| size(pair).map(|len| len as usize));
        (0..).zip(sizes).map(|(at, size)| ((at, kind), size)).collect::<Vec<Output>>()
    };
    let low = |kind| outputs(kind, &|pair| [pair.rows, pair.rank]);
    assert_covers(&tables.tiles.low, [WIDE, RANKS], &low(0));
    assert_covers(&tables.tiles.low_slopes, [WIDE, RANKS], &[low(0), low(1)].concat());
    assert_covers(&tables.tiles.up, [WIDE; 2], &outputs(0, &|pair| [pair.rows, pair.outputs]));
    let (of_a, of_b): (Vec<Tile>, Vec<Tile>) =
        tables.tiles.pair_slopes.iter().partition(|tile| tile.kind % 2 == 0);
    let by_slabs = |matrix: u32, size: &dyn Fn(&LoraPair) -> [u32; 2]| {
        let of = |(at, pair): (u32, &LoraPair)| {
            let size = size(pair).map(|len| len as usize);
            let slabs = pair.rows.div_ceil(pair.slab_rows);
            (0..slabs).map(|slab| ((at, 2 * slab + matrix), size)).collect::<Vec<_>>()
        };
        (0..).zip(&tables.pairs).flat_map(of).collect::<Vec<Output>>()
    };
    assert_covers(&of_a, [RANKS, WIDE], &by_slabs(0, &|pair| [pair.rank, pair.inputs]));
    assert_covers(&of_b, [WIDE, RANKS], &by_slabs(1, &|pair| [pair.outputs, pair.rank]));

    // The pairs of a segment are the consecutive ones that begin at one row.
    let segments = tables.pairs.chunk_by(|one, next| one.first_row == next.first_row);
    let inputs = segments.scan(0, |first, pairs| {
        let subject = *first;
        *first += pairs.len() as u32;
        let size = [pairs[0].rows, pairs[0].inputs].map(|len| len as usize);
        Some(((subject, pairs.len() as u32), size))
    });
    let (sums, of_inputs) = tables.tiles.input_slopes.split_at(tables.tiles.sums);
    assert_covers(of_inputs, [WIDE; 2], &inputs.collect::<Vec<_>>());

    // Slabs are added of the pairs that have several, whether the input's gradient is wanted or not.
    let in_slabs = (0..).zip(&tables.pairs).filter(|(_, pair)| pair.rows > pair.slab_rows);
    let values = |pair: &LoraPair| (pair.rank * (pair.inputs + pair.outputs)) as usize;
    let in_slabs: Vec<Output> = in_slabs.map(|(at, pair)| ((at, 0), [values(pair), 1])).collect();
    assert_eq!(in_slabs.is_empty(), real == Real::Float);
    assert_covers(sums, [SUMMED, 1], &in_slabs);
    let [pairs, tiles, x, y, dy, dx, texts, offsets, text_keys] = [Address::NONE; 9];
    let args = LoraArgs { pairs, tiles, x, y, dy, dx, texts, offsets, text_keys, y_width: 0 };
    let launched = lora_input_slopes(real, args, &tables).unwrap();
    assert_eq!(launched.map_or(0, |launch| launch.grid[0] as usize), sums.len());
}

#[test]
fn pairs_of_the_same_shapes_share_their_tiles_and_no_others_do() {
    let none = Address::NONE;
    let tables_of = |order: &[usize], group, like: Option<&LoraTables>| {
        let scene = Scene::new(order, group);
        let adapters = scene.adapters();
        let pairs = Pairs { batch: &scene.batch, adapters: &adapters, layer: LAYER, group };
        let addresses = vec![none; adapters.len()];
        let (adapters, gradients) = (&addresses[..], &[][..]);
        let places = LoraPlaces { adapters, gradients, ..LoraPlaces::default() };
        LoraTables::new((pairs, Real::Bf16), &places, (like, true)).unwrap()
    };
    let (group, order) = (Group::QueryKeyValue, [0, 2, 3]);
    let first = tables_of(&order, group, None);
    let same = tables_of(&order, group, Some(&first));
    assert!(Arc::ptr_eq(&same.tiles, &first.tiles));
    // Other rows, other ranks and rows, fewer pairs, other widths.
    for (order, group) in
        [([2, 0, 3], group), ([0, 6, 3], group), ([0, 2, 4], group), (order, Group::Output)]
    {
        let other = tables_of(&order, group, Some(&first));
        assert!(!Arc::ptr_eq(&other.tiles, &first.tiles), "{order:?} {group:?}");
        assert_eq!(other.tiles, tables_of(&order, group, None).tiles);
    }
}

#[test]
fn lists_of_addresses_that_do_not_fit_the_batch_are_refused() {
    let group = Group::QueryKeyValue;
    let scene = Scene::new(&[0, 2], group);
    let adapters = scene.adapters();
    let pairs = Pairs { batch: &scene.batch, adapters: &adapters, layer: LAYER, group };
    let none = Address::NONE;
    let refused = |adapters: &[Address], gradients: &[Address]| {
        let places = LoraPlaces { adapters, gradients, ..LoraPlaces::default() };
        LoraTables::new((pairs, Real::Float), &places, (None, true)).unwrap_err()
    };
    let length = |what, found| PlanError::Length { what, found, expected: 2 };
    assert_eq!(refused(&[none], &[]), length("the list of adapters", 1));
    assert_eq!(refused(&[none; 2], &[none; 3]), length("the list of gradients", 3));
}
