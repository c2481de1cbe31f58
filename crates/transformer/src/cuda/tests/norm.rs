//! Embedding tables and layer norms.

use super::{Memory, assert_near, assert_within, on_host, random};
use crate::backend::{Backend, NormTape, Precision};
use crate::cpu::{Cpu, CpuWorkspace};
use crate::cuda::launch::PlanError;
use crate::cuda::plan::batch::BatchTables;
use crate::cuda::plan::norm::{
    AddNormArgs, EmbedArgs, NormAgainArgs, NormBackwardArgs, TableRows, add_norm, embed,
    norm_again, norm_backward,
};
use crate::cuda::record::Address;
use crate::model::{EncoderConfig, EncoderWeights, Norm};
use crate::packed::{Packed, Text};
use crate::random::mix;

const EPS: f32 = 1e-12;
const WIDTHS: [usize; 6] = [1, 20, 32, 100, 384, 1100];

fn cpu() -> Cpu {
    Cpu::new(Precision::F32).unwrap()
}

fn norm_of(hidden: usize) -> Norm {
    Norm { gain: random(hidden, 10), bias: random(hidden, 11) }
}

/// `y`, the tape and `y` again, and the gradient, of rows with these numbers.
struct Found {
    y: Vec<f32>,
    normalised: Vec<f32>,
    scales: Vec<f32>,
    again: Vec<f32>,
    dx: Vec<f32>,
}

/// What the kernels read.
struct Held {
    x: Vec<f32>,
    delta: Vec<f32>,
    dy: Vec<f32>,
}

fn rows_of(order: &[usize], hidden: usize, seed: u64) -> Vec<f32> {
    order.iter().flat_map(|&row| random(hidden, mix(&[seed, row as u64]))).collect()
}

fn run(memory: &Memory, order: &[usize], hidden: usize) -> (Held, Found) {
    let memory = memory.fresh();
    let (norm, len) = (norm_of(hidden), order.len() * hidden);
    let (gain, bias) = (memory.floats(&norm.gain), memory.floats(&norm.bias));
    let (x, held_x) = memory.reals(&rows_of(order, hidden, 1));
    let (delta, held_delta) = memory.reals(&rows_of(order, hidden, 2));
    let (normalised, scales) = (memory.blank_reals(len), memory.blank_floats(order.len()));
    let (y, alone, again) =
        (memory.blank_reals(len), memory.blank_reals(len), memory.blank_reals(len));
    let args = AddNormArgs {
        x: x.address(),
        delta: delta.address(),
        gain: gain.address(),
        bias: bias.address(),
        normalised: normalised.address(),
        scales: scales.address(),
        y: y.address(),
        rows: order.len() as u32,
        hidden: hidden as u32,
        eps: EPS,
    };
    memory.run(add_norm(args));
    let none = Address::NONE;
    let untaped = AddNormArgs { normalised: none, scales: none, y: alone.address(), ..args };
    memory.run(add_norm(untaped));
    memory.run(norm_again(NormAgainArgs {
        normalised: normalised.address(),
        gain: gain.address(),
        bias: bias.address(),
        y: again.address(),
        rows: args.rows,
        hidden: args.hidden,
    }));
    assert_eq!(y.bits(), alone.bits(), "with a tape or without");
    assert_eq!(y.bits(), again.bits(), "from the tape");
    let (dy, held_dy) = memory.reals(&rows_of(order, hidden, 3));
    memory.run(norm_backward(NormBackwardArgs {
        normalised: normalised.address(),
        scales: scales.address(),
        gain: gain.address(),
        dy: dy.address(),
        rows: args.rows,
        hidden: args.hidden,
    }));
    let found = Found {
        y: y.values(),
        normalised: normalised.values(),
        scales: scales.values(),
        again: again.values(),
        dx: dy.values(),
    };
    (Held { x: held_x, delta: held_delta, dy: held_dy }, found)
}

fn check(memory: &Memory, rows: usize, hidden: usize) {
    let order: Vec<usize> = (0..rows).collect();
    let (held, found) = run(memory, &order, hidden);
    let (cpu, norm) = (cpu(), (norm_of(hidden), EPS));
    let mut y = vec![0.0; held.x.len()];
    let mut tape = NormTape { rows: y.clone(), scales: vec![0.0; rows] };
    cpu.add_norm(&norm, &held.x, &held.delta, Some(&mut tape), &mut y);
    assert_near(memory, "y", &found.y, &y);
    assert_near(memory, "again", &found.again, &y);
    assert_near(memory, "normalised", &found.normalised, &tape.rows);
    assert_within(1e-5, "scales", &found.scales, &tape.scales);

    // Backward starts from the tape that the kernel left.
    let tape = NormTape { rows: found.normalised, scales: found.scales };
    let mut dx = held.dy;
    cpu.norm_backward(&norm, &tape, &mut dx);
    assert_near(memory, "dx", &found.dx, &dx);
}

#[test]
fn norms_and_slopes_are_those_of_the_cpu() {
    // A row of one feature has no variance, and its gradient is rounding alone.
    on_host(|memory| WIDTHS[1..].iter().for_each(|&hidden| check(memory, 37, hidden)));
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    on_host(|memory| {
        for hidden in WIDTHS {
            super::assert_alone_is_together(19, |order| {
                let (_, found) = run(memory, order, hidden);
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let rows = found.y.chunks(hidden).zip(found.dx.chunks(hidden));
                rows.map(|(y, dx)| [bits(y), bits(dx)].concat()).collect()
            });
        }
    });
}

const CONFIG: EncoderConfig = EncoderConfig {
    hidden: 48,
    layers: 0,
    heads: 1,
    intermediate: 8,
    vocab: 30,
    positions: 21,
    token_types: 2,
    norm_eps: EPS,
    position_offset: 2,
};

/// Texts alone and read together.
fn tokens_batch() -> Packed {
    let mut batch = Packed::default();
    let texts: [(&[u32], usize); 4] =
        [(&[3, 29, 0], 3), (&[7], 1), (&[5, 5, 6, 1, 2], 2), (&[9; 19], 0)];
    batch.push(texts.map(|(tokens, first)| Text { tokens, first }), None, None);
    batch
}

fn embed_args(memory: &Memory, batch: &Packed) -> (EmbedArgs, super::memory::Buffer) {
    let tables = BatchTables::new(batch).unwrap();
    let hidden = CONFIG.hidden;
    let norm = norm_of(hidden);
    let x = memory.blank_reals(batch.tokens().len() * hidden);
    let args = EmbedArgs {
        words: memory.reals(&random(CONFIG.vocab * hidden, 20)).0.address(),
        positions: memory.reals(&random(CONFIG.positions * hidden, 21)).0.address(),
        kinds: memory.reals(&random(2 * hidden, 22)).0.address(),
        gain: memory.floats(&norm.gain).address(),
        bias: memory.floats(&norm.bias).address(),
        tokens: memory.numbers(batch.tokens()).address(),
        texts: memory.numbers(&tables.texts).address(),
        offsets: memory.numbers(&tables.offsets).address(),
        firsts: memory.numbers(&tables.firsts).address(),
        x: x.address(),
        rows: batch.tokens().len() as u32,
        hidden: hidden as u32,
        position_offset: CONFIG.position_offset as u32,
        eps: EPS,
    };
    (args, x)
}

const TABLES: TableRows =
    TableRows { words: CONFIG.vocab, positions: CONFIG.positions, kinds: CONFIG.token_types };

#[test]
fn embedded_tokens_are_those_of_the_cpu() {
    on_host(|memory| {
        let (batch, hidden) = (tokens_batch(), CONFIG.hidden);
        let (args, x) = embed_args(memory, &batch);
        memory.run(embed(args, &batch, TABLES));
        let held = |len: usize, seed: u64| memory.reals(&random(len * hidden, seed)).1;
        let mut weights = EncoderWeights {
            words: held(CONFIG.vocab, 20),
            positions: held(CONFIG.positions, 21),
            token_types: held(2, 22),
            norm: norm_of(hidden),
            layers: Vec::new(),
        };
        let tables = cpu().tables_from(&mut weights, &CONFIG);
        let mut expected = vec![0.0; batch.tokens().len() * hidden];
        cpu().embed(&mut CpuWorkspace::default(), &tables, &batch, &mut expected);
        assert_near(memory, "x", &x.values(), &expected);
    });
}

#[test]
fn a_batch_that_reads_beyond_the_tables_is_refused() {
    on_host(|memory| {
        let batch = tokens_batch();
        let (args, _) = embed_args(memory, &batch);
        let refused = |tables| embed(args, &batch, tables).unwrap_err();
        let no_row = |what, found, rows| PlanError::NoRow { subject: "a text", what, found, rows };
        for (tables, expected) in [
            (TableRows { words: 29, ..TABLES }, no_row("token", 29, 29)),
            (TableRows { positions: 20, ..TABLES }, no_row("position", 20, 20)),
            (TableRows { kinds: 1, ..TABLES }, no_row("token type", 1, 1)),
        ] {
            assert_eq!(refused(tables), expected);
        }
    });
}
