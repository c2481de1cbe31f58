//! Attention, forward and backward.

use super::{Memory, assert_alone_is_together, assert_near, batch_of, cut, on_host, random_texts};
use crate::backend::{Attention, Backend, Precision};
use crate::cpu::{Cpu, CpuWorkspace};
use crate::cuda::launch::PlanError;
use crate::cuda::plan::attention::{
    AttentionArgs, AttentionBackwardArgs, AttentionSize, attention, attention_keys,
    attention_queries, attention_tiles, softmax_values,
};
use crate::cuda::plan::batch::BatchTables;
use crate::cuda::source::Real;
use crate::packed::Packed;

/// Around every size of block, slice and chunk.
const LENGTHS: [usize; 9] = [1, 2, 9, 31, 33, 64, 65, 100, 200];

struct Heads {
    count: usize,
    width: usize,
}

impl Heads {
    fn hidden(&self) -> usize {
        self.count * self.width
    }
}

/// A batch's results, with the values that the kernels read.
struct Found {
    qkv: Vec<f32>,
    d_context: Vec<f32>,
    context: Vec<f32>,
    d_qkv: Vec<f32>,
}

fn run(memory: &Memory, heads: &Heads, batch: &Packed, qkv: &[f32], slopes: &[f32]) -> Found {
    let memory = memory.fresh();
    let tables = BatchTables::new(batch).unwrap();
    let real = memory.real();
    let tiles = attention_tiles(&tables.offsets, real, heads.width).unwrap();
    let size = AttentionSize::new(&tables.offsets, tiles.len());
    let (offsets, tiles) = (memory.numbers(&tables.offsets), memory.table(&tiles));
    let (qkv, held) = memory.reals(qkv);
    let context = memory.blank_reals(slopes.len());
    let (width, scale) = (heads.width as u32, 1.0 / (heads.width as f32).sqrt());
    let args = AttentionArgs {
        qkv: qkv.address(),
        context: context.address(),
        offsets: offsets.address(),
        tiles: tiles.address(),
        heads: heads.count as u32,
        width,
        scale,
    };
    memory.run(attention(real, args, size));

    let (d_context, held_slopes) = memory.reals(slopes);
    let d_qkv = memory.blank_reals(held.len());
    let softmax = memory.blank_floats(softmax_values(batch.tokens().len(), heads.count));
    let args = AttentionBackwardArgs {
        qkv: qkv.address(),
        d_context: d_context.address(),
        d_qkv: d_qkv.address(),
        softmax: softmax.address(),
        offsets: offsets.address(),
        tiles: tiles.address(),
        heads: heads.count as u32,
        width,
        scale,
    };
    memory.run(attention_queries(real, args, size));
    softmax.values();
    memory.run(attention_keys(real, args, size));
    let (context, d_qkv) = (context.values(), d_qkv.values());
    Found { qkv: held, d_context: held_slopes, context, d_qkv }
}

fn check(memory: &Memory, heads: &Heads, lengths: &[usize]) {
    let order: Vec<usize> = (0..lengths.len()).collect();
    let batch = batch_of(lengths, &order);
    // Four times as wide, so that some weights are far from equal.
    let qkv = random_texts(lengths, &order, 3 * heads.hidden(), 1);
    let qkv: Vec<f32> = qkv.iter().map(|value| value * 4.0).collect();
    let slopes = random_texts(lengths, &order, heads.hidden(), 2);
    let found = run(memory, heads, &batch, &qkv, &slopes);

    let cpu = Cpu::new(Precision::F32).unwrap();
    let workspace = &mut CpuWorkspace::default();
    let scope = Attention { batch: &batch, heads: heads.count, width: heads.width };
    let mut context = vec![0.0; slopes.len()];
    cpu.attention(workspace, scope, &found.qkv, &mut context);
    assert_near(memory, "context", &found.context, &context);
    let mut d_qkv = vec![0.0; qkv.len()];
    cpu.attention_backward(workspace, scope, &found.qkv, &found.d_context, &mut d_qkv);
    assert_near(memory, "d_qkv", &found.d_qkv, &d_qkv);
}

#[test]
fn contexts_and_slopes_are_those_of_the_cpu() {
    on_host(|memory| {
        for width in [8, 32, 40, 64, 72, 128] {
            check(memory, &Heads { count: 2, width }, &LENGTHS);
        }
    });
}

#[test]
fn long_texts_are_those_of_the_cpu() {
    on_host(|memory| check(memory, &Heads { count: 1, width: 32 }, &[512, 1030]));
}

#[test]
fn a_text_has_the_same_bits_alone_and_among_others() {
    on_host(|memory| {
        for width in [32, 64, 128] {
            let heads = Heads { count: 2, width };
            assert_alone_is_together(LENGTHS.len(), |order| {
                let batch = batch_of(&LENGTHS, order);
                let qkv = random_texts(&LENGTHS, order, 3 * heads.hidden(), 1);
                let slopes = random_texts(&LENGTHS, order, heads.hidden(), 2);
                let found = run(memory, &heads, &batch, &qkv, &slopes);
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let contexts = cut(&LENGTHS, order, heads.hidden(), &bits(&found.context));
                let d_qkv = cut(&LENGTHS, order, 3 * heads.hidden(), &bits(&found.d_qkv));
                contexts.into_iter().zip(d_qkv).map(|(a, b)| [a, b].concat()).collect()
            });
        }
    });
}

#[test]
fn heads_and_texts_that_no_kernel_takes_are_refused() {
    for width in [0, 12, 136] {
        let refused = PlanError::HeadWidth { width, max: 128 };
        assert_eq!(attention_tiles(&[0, 3], Real::Bf16, width), Err(refused));
    }
    let refused = attention_tiles(&[0, 3, 8196], Real::Bf16, 32).unwrap_err();
    let what = "a text's tokens";
    assert_eq!(refused, PlanError::Count { what, count: 8193, max: 8192 });
}
