//! Pooling, and vectors of length 1.

use std::sync::Arc;

use super::{
    Memory, assert_alone_is_together, assert_near, assert_within, batch_of, on_host, random,
    random_texts,
};
use crate::adapter::{Adapter, AdapterLayout};
use crate::backend::{Backend, Pools, Precision};
use crate::cpu::{Cpu, CpuWorkspace};
use crate::cuda::plan::batch::BatchTables;
use crate::cuda::plan::pool::{
    PoolArgs, PoolBackwardArgs, UnitArgs, UnitBackwardArgs, modes, pool_backward, pool_forward,
    unit_backward, unit_forward,
};
use crate::encoder::{Pooling, scale_to_unit};
use crate::model::EncoderConfig;
use crate::packed::Packed;

const HIDDEN: usize = 40;
const LENGTHS: [usize; 6] = [1, 3, 32, 100, 512, 7];
const CONFIG: EncoderConfig = EncoderConfig {
    hidden: HIDDEN,
    layers: 0,
    heads: 1,
    intermediate: 1,
    vocab: 1,
    positions: 1,
    token_types: 1,
    norm_eps: 1e-12,
    position_offset: 0,
};

/// What the kernels give for these texts, and the rows that they read.
struct Found {
    x: Vec<f32>,
    pooled: Vec<f32>,
    units: Vec<f32>,
    lengths: Vec<f32>,
    slopes: Vec<f32>,
    dx: Vec<f32>,
}

fn run(memory: &Memory, pools: Pools<'_>, x: &[f32], slopes: &[f32]) -> Found {
    let memory = memory.fresh();
    let tables = BatchTables::new(pools.batch).unwrap();
    let (texts, hidden) = (pools.batch.texts(), HIDDEN as u32);
    let offsets = memory.numbers(&tables.offsets).address();
    let modes = memory.numbers(&modes(pools)).address();
    let (x, held) = memory.reals(x);
    let out = memory.blank_floats(texts * HIDDEN);
    let args = PoolArgs {
        x: x.address(),
        offsets,
        modes,
        out: out.address(),
        texts: texts as u32,
        hidden,
    };
    memory.run(pool_forward(args, pools.batch.tokens().len()));
    let pooled = out.values();
    let lengths = memory.blank_floats(texts);
    memory.run(unit_forward(UnitArgs {
        rows: out.address(),
        lengths: lengths.address(),
        modes,
        texts: texts as u32,
        hidden,
    }));
    let slopes = memory.floats(slopes);
    memory.run(unit_backward(UnitBackwardArgs {
        rows: out.address(),
        lengths: lengths.address(),
        modes,
        slopes: slopes.address(),
        texts: texts as u32,
        hidden,
    }));
    let dx = memory.blank_reals(held.len());
    let args = PoolBackwardArgs {
        d_out: slopes.address(),
        texts: memory.numbers(&tables.texts).address(),
        offsets,
        modes,
        dx: dx.address(),
        rows: pools.batch.tokens().len() as u32,
        hidden,
    };
    memory.run(pool_backward(args, texts));
    Found {
        x: held,
        pooled,
        units: out.values(),
        lengths: lengths.values(),
        slopes: slopes.values(),
        dx: dx.values(),
    }
}

/// The gradient by a vector before it was scaled, as the encoder computes it.
fn unit_slope(unit: &[f32], length: f32, slope: &[f32]) -> Vec<f32> {
    let along: f32 = slope.iter().zip(unit).map(|(slope, v)| slope * v).sum();
    slope.iter().zip(unit).map(|(slope, v)| (slope - v * along) / length).collect()
}

/// A segment without an adapter and one that a head reads.
fn check(memory: &Memory, pooling: Pooling) {
    let order: Vec<usize> = (0..LENGTHS.len()).collect();
    let mut batch = batch_of(&LENGTHS, &order);
    batch.push([[0; 5].as_slice(), [0; 2].as_slice()], Some(0), None);
    let layout = Arc::new(AdapterLayout::default().with_head(&CONFIG));
    let adapter = Adapter::initial(layout, 1);
    let pools = Pools { batch: &batch, adapters: &[&adapter], pooling };
    let x = random(batch.tokens().len() * HIDDEN, 1);
    let slopes = random(batch.texts() * HIDDEN, 2);
    let found = run(memory, pools, &x, &slopes);

    let cpu = Cpu::new(Precision::F32).unwrap();
    let mut pooled = vec![0.0; slopes.len()];
    cpu.pool(&mut CpuWorkspace::default(), pools, &found.x, &mut pooled);
    assert_eq!(found.pooled, pooled, "rows are summed in one order");
    let (mut units, mut expected) = (pooled.clone(), Vec::new());
    let rows = units.chunks_mut(HIDDEN).zip(slopes.chunks(HIDDEN)).enumerate();
    for (text, (row, slope)) in rows {
        let is_scored = text >= LENGTHS.len();
        let length = if is_scored { 1.0 } else { scale_to_unit(row) };
        assert_within(1e-5, "length", &found.lengths[text..=text], &[length]);
        let slope = if is_scored { slope.to_vec() } else { unit_slope(row, length, slope) };
        expected.extend(slope);
    }
    assert_within(1e-5, "units", &found.units, &units);
    assert_within(1e-5, "slopes", &found.slopes, &expected);
    let mut dx = vec![0.0; x.len()];
    cpu.pool_backward(&mut CpuWorkspace::default(), pools, &found.slopes, &mut dx);
    assert_near(memory, "dx", &found.dx, &dx);
}

#[test]
fn pooled_vectors_and_slopes_are_those_of_the_cpu() {
    on_host(|memory| [Pooling::Mean, Pooling::Cls].into_iter().for_each(|p| check(memory, p)));
}

#[test]
fn a_text_has_the_same_bits_alone_and_among_others() {
    on_host(|memory| {
        assert_alone_is_together(LENGTHS.len(), |order| {
            let batch = batch_of(&LENGTHS, order);
            let pools = Pools { batch: &batch, adapters: &[], pooling: Pooling::Mean };
            let x = random_texts(&LENGTHS, order, HIDDEN, 1);
            let slopes: Vec<f32> =
                order.iter().flat_map(|&text| random(HIDDEN, text as u64)).collect();
            let found = run(memory, pools, &x, &slopes);
            let of = |text: usize| {
                let own = text * HIDDEN..(text + 1) * HIDDEN;
                let rows = row_range(&batch, text);
                let all = [&found.units[own.clone()], &found.slopes[own], &found.dx[rows]].concat();
                all.iter().map(|value| value.to_bits()).collect()
            };
            (0..order.len()).map(of).collect()
        });
    });
}

fn row_range(batch: &Packed, text: usize) -> std::ops::Range<usize> {
    batch.offsets()[text] * HIDDEN..batch.offsets()[text + 1] * HIDDEN
}
