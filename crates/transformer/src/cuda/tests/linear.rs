//! Frozen linear layers without tensor cores.

use super::{Memory, assert_alone_is_together, assert_near, on_host, random};
use crate::backend::{Backend, Precision, Target};
use crate::cpu::{Cpu, CpuWorkspace};
use crate::cuda::plan::linear::{LinearArgs, linear_backward, linear_forward};
use crate::cuda::record::Address;
use crate::cuda::source::Real;
use crate::model::Linear;
use crate::random::mix;

/// Inputs and outputs: below, at and above the tile and the step.
const SHAPES: [(usize, usize); 4] = [(1, 1), (16, 64), (50, 130), (130, 65)];

/// What a direction computes for rows with these numbers, and the values that it read.
struct Found {
    x: Vec<f32>,
    weight: Vec<f32>,
    y_before: Vec<f32>,
    y: Vec<f32>,
}

fn run(
    memory: &Memory,
    (inputs, outputs): (usize, usize),
    order: &[usize],
    target: Option<Target>,
) -> Found {
    let memory = memory.fresh();
    let (inner, columns) = if target.is_none() { (inputs, outputs) } else { (outputs, inputs) };
    let row = |width: usize, seed: u64| {
        let rows = order.iter().flat_map(move |&row| random(width, mix(&[seed, row as u64])));
        rows.collect::<Vec<f32>>()
    };
    let (x, held_x) = memory.reals(&row(inner, 1));
    let (weight, held_weight) = memory.reals(&random(inputs * outputs, 2));
    let bias = memory.floats(&random(outputs, 3));
    let (y, y_before) = match target {
        Some(Target::Add) => memory.reals(&row(columns, 4)),
        Some(Target::Replace) | None => {
            (memory.blank_reals(order.len() * columns), vec![0.0; order.len() * columns])
        }
    };
    let args = LinearArgs {
        x: x.address(),
        weight: weight.address(),
        bias: if target.is_none() { bias.address() } else { Address::NONE },
        y: y.address(),
        rows: order.len() as u32,
        inner: inner as u32,
        columns: columns as u32,
        is_added: u32::from(target == Some(Target::Add)),
    };
    memory.run(if target.is_none() { linear_forward(args) } else { linear_backward(args) });
    Found { x: held_x, weight: held_weight, y_before, y: y.values() }
}

fn check(memory: &Memory, shape: (usize, usize), rows: usize, target: Option<Target>) {
    let order: Vec<usize> = (0..rows).collect();
    let found = run(memory, shape, &order, target);
    let (inputs, outputs) = shape;
    let layer = Linear { weight: found.weight, bias: random(outputs, 3), inputs, outputs };
    let cpu = Cpu::new(Precision::F32).unwrap();
    let linear = cpu.linear_from(&[&layer]);
    let workspace = &mut CpuWorkspace::default();
    let mut y = found.y_before;
    match target {
        None => cpu.linear(workspace, &linear, &found.x, &mut y),
        Some(target) => cpu.linear_backward(workspace, &linear, &found.x, &mut y, target),
    }
    assert_near(memory, "y", &found.y, &y);
    if memory.real() == Real::Float {
        assert_eq!(found.y, y, "both sum in one order");
    }
}

#[test]
fn products_are_those_of_the_cpu() {
    on_host(|memory| {
        for shape in SHAPES {
            for rows in [1, 64, 67] {
                for target in [None, Some(Target::Replace), Some(Target::Add)] {
                    check(memory, shape, rows, target);
                }
            }
        }
    });
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    on_host(|memory| {
        for target in [None, Some(Target::Add)] {
            assert_alone_is_together(70, |order| {
                let found = run(memory, (24, 40), order, target);
                let width = found.y.len() / order.len();
                let rows = found.y.chunks(width);
                rows.map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
            });
        }
    });
}
