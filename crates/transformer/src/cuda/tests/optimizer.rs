//! Clipping and AdamW, against the paper in f64.

use super::memory::Buffer;
use super::{Memory, assert_alone_is_together, assert_within, on_host, random};
use crate::cuda::plan::optimizer::{
    Slab, Step, StepArgs, Sum, SumArgs, adamw_step, gradient_norm, gradient_squares, norm_tiles,
    parts, step_tiles, sum_gradients,
};
use crate::keeper::AdamStep;
use crate::random::mix;

/// The last in three parts.
const COUNTS: [usize; 4] = [1, 255, 513, 20_000];
const STEPS: u64 = 3;

fn settings(tenant: usize, steps: u64) -> AdamStep {
    AdamStep {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        learning_rate: 1e-2,
        weight_decay: 0.1,
        // The second is always clipped, the third never.
        norm_max: [None, Some(1.0), Some(1e6), Some(5.0)][tenant],
        steps,
    }
}

fn gradient(tenant: usize, step: u64) -> Vec<f32> {
    random(COUNTS[tenant], mix(&[step, tenant as u64]))
}

fn start(tenant: usize) -> Vec<f32> {
    random(COUNTS[tenant], mix(&[99, tenant as u64]))
}

/// Each tenant's values after some steps, and the norm of each step's gradient.
fn run(memory: &Memory, order: &[usize]) -> Vec<(Vec<f32>, Vec<f32>)> {
    let memory = memory.fresh();
    let zeros = |at: usize| memory.floats(&vec![0.0; COUNTS[at]]);
    let states: Vec<[Buffer; 3]> =
        order.iter().map(|&at| [memory.floats(&start(at)), zeros(at), zeros(at)]).collect();
    let counts: Vec<u32> = order.iter().map(|&at| COUNTS[at] as u32).collect();
    let tiles = step_tiles(&counts);
    let table = memory.table(&tiles).address();
    let of_norms = norm_tiles(&counts);
    let norm_table = memory.table(&of_norms).address();
    let norms = memory.blank_floats(order.len());
    let mut of_tenants = vec![Vec::new(); order.len()];
    for number in 1..=STEPS {
        let of = |(place, (&at, [values, mean, square])): (usize, (&usize, &[Buffer; 3]))| {
            let slab = Slab {
                values: values.address(),
                gradient: memory.floats(&gradient(at, number)).address(),
                mean: mean.address(),
                square: square.address(),
                squares: memory.blank_keys(parts(COUNTS[at])).address(),
                norm: norms.at(place),
                loss: memory.floats(&[1.0]).address(),
                count: counts[place],
            };
            Step::new(slab, settings(at, number))
        };
        let steps: Vec<Step> = order.iter().zip(&states).enumerate().map(of).collect();
        let args = StepArgs { steps: memory.table(&steps).address(), tiles: table };
        let of_parts = StepArgs { tiles: norm_table, ..args };
        memory.run(gradient_squares(of_parts, &steps, of_norms.len()));
        memory.run(gradient_norm(args, &steps));
        memory.run(adamw_step(args, &steps, tiles.len()));
        of_tenants.iter_mut().zip(norms.values()).for_each(|(own, norm)| own.push(norm));
    }
    let values = states.iter().map(|[values, ..]| values.values());
    values.zip(of_tenants).collect()
}

/// AdamW as the paper writes it (arXiv:1711.05101, algorithm 2), behind clipping as PyTorch does it.
fn paper(tenant: usize) -> (Vec<f32>, Vec<f32>) {
    let mut values: Vec<f64> = start(tenant).iter().map(|&value| f64::from(value)).collect();
    let (mut means, mut squares) = (vec![0.0; values.len()], vec![0.0; values.len()]);
    let mut norms = Vec::new();
    for number in 1..=STEPS {
        let AdamStep { learning_rate, weight_decay, norm_max, .. } = settings(tenant, number);
        let (rate, decay) = (f64::from(learning_rate), f64::from(weight_decay));
        let slopes = gradient(tenant, number);
        let norm = slopes.iter().map(|&slope| f64::from(slope).powi(2)).sum::<f64>().sqrt();
        norms.push(norm as f32);
        let limit = norm_max.map_or(f64::INFINITY, f64::from);
        let factor = (limit / (norm + 1e-6)).min(1.0);
        for (i, slope) in slopes.iter().enumerate() {
            let slope = f64::from(*slope) * factor;
            means[i] = 0.9 * means[i] + 0.1 * slope;
            squares[i] = 0.999 * squares[i] + 0.001 * slope * slope;
            let corrected = means[i] / (1.0 - 0.9_f64.powi(number as i32));
            let spread = (squares[i] / (1.0 - 0.999_f64.powi(number as i32))).sqrt();
            values[i] -= rate * decay * values[i] + rate * corrected / (spread + 1e-8);
        }
    }
    (values.iter().map(|&value| value as f32).collect(), norms)
}

/// The trainer's own arithmetic in f32, operation by operation, after clipping by these norms.
fn trainer(tenant: usize, norms: &[f32]) -> Vec<f32> {
    let mut values = start(tenant);
    let (mut means, mut squares) = (vec![0.0_f32; values.len()], vec![0.0_f32; values.len()]);
    for (number, norm) in (1..=STEPS).zip(norms) {
        let AdamStep { learning_rate, weight_decay, norm_max, .. } = settings(tenant, number);
        let power = |beta: f64| 1.0 - beta.powi(number as i32);
        let rate = f64::from(learning_rate);
        let (size, root) = ((rate / power(0.9)) as f32, power(0.999).sqrt() as f32);
        let kept = (1.0 - rate * f64::from(weight_decay)) as f32;
        let (mean_part, square_part) = ((1.0_f64 - 0.9) as f32, (1.0_f64 - 0.999) as f32);
        let factor = norm_max.map_or(f32::INFINITY, |norm_max| norm_max / (norm + 1e-6));
        for (i, slope) in gradient(tenant, number).into_iter().enumerate() {
            let slope = if factor < 1.0 { slope * factor } else { slope };
            means[i] += mean_part * (slope - means[i]);
            squares[i] = squares[i] * 0.999 + square_part * slope * slope;
            values[i] *= kept;
            values[i] -= size * (means[i] / (squares[i].sqrt() / root + 1e-8));
        }
    }
    values
}

#[test]
fn steps_are_those_of_the_paper_and_to_the_bit_those_of_the_trainer() {
    on_host(|memory| {
        let order: Vec<usize> = (0..COUNTS.len()).collect();
        for (tenant, (values, norms)) in run(memory, &order).iter().enumerate() {
            let (expected, expected_norms) = paper(tenant);
            assert_within(1e-5, &format!("tenant {tenant}"), values, &expected);
            assert_within(1e-6, "norms", norms, &expected_norms);
            assert_eq!(*values, trainer(tenant, norms), "tenant {tenant}");
        }
    });
}

#[test]
fn a_tenant_has_the_same_bits_alone_and_among_others() {
    on_host(|memory| {
        assert_alone_is_together(COUNTS.len(), |order| {
            let found = run(memory, order);
            let all = found.iter().map(|(values, norms)| [values.as_slice(), norms].concat());
            all.map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
        });
    });
}

/// A step with one value of a loss and one of a gradient; whether anything came of it.
fn moves(memory: &Memory, loss: f32, slope: f32) -> bool {
    let [values, mean, square] = [(); 3].map(|()| memory.floats(&[0.5; 2]));
    let norm = memory.blank_floats(1);
    let slab = Slab {
        values: values.address(),
        gradient: memory.floats(&[slope, 1.0]).address(),
        mean: mean.address(),
        square: square.address(),
        squares: memory.blank_keys(1).address(),
        norm: norm.address(),
        loss: memory.floats(&[loss]).address(),
        count: 2,
    };
    let step = Step::new(slab, settings(1, 1));
    let tiles = memory.table(&step_tiles(&[2]));
    let args = StepArgs { steps: memory.table(&[step]).address(), tiles: tiles.address() };
    memory.run(gradient_squares(args, &[step], 1));
    memory.run(gradient_norm(args, &[step]));
    memory.run(adamw_step(args, &[step], 1));
    assert_eq!(norm.values()[0].is_finite(), slope.is_finite(), "the norm says so");
    [values, mean, square].iter().any(|state| state.values() != [0.5; 2])
}

#[test]
fn with_a_loss_or_gradient_that_is_not_finite_an_adapter_stays_as_it_is() {
    on_host(|memory| {
        assert!(moves(memory, 2.0, 1.0));
        for wild in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            assert!(!moves(memory, wild, 1.0), "a loss of {wild}");
            assert!(!moves(memory, 2.0, wild), "a slope of {wild}");
        }
    });
}

#[test]
fn gradients_are_added_in_their_order_each_to_its_sum() {
    on_host(|memory| {
        let counts = [1_usize, 700, 300];
        let terms: [&[u64]; 3] = [&[1, 2, 3], &[], &[4, 5]];
        let (mut sums, mut places, mut to) = (Vec::new(), Vec::new(), Vec::new());
        for ((count, terms), is_added) in counts.into_iter().zip(terms).zip([1, 1, 0]) {
            let first_term = places.len() as u32;
            places
                .extend(terms.iter().map(|&seed| memory.floats(&random(count, seed)).address().0));
            to.push(memory.floats(&vec![0.25; count]));
            let (term_count, to) = (terms.len() as u32, to[to.len() - 1].address());
            sums.push(Sum { to, count: count as u32, first_term, term_count, is_added });
        }
        let tiles = step_tiles(&sums.iter().map(|sum| sum.count).collect::<Vec<_>>());
        let args = SumArgs {
            sums: memory.table(&sums).address(),
            terms: memory.keys(&places).address(),
            tiles: memory.table(&tiles).address(),
        };
        memory.run(sum_gradients(args, &sums, tiles.len()));
        for ((to, terms), (count, sum)) in to.iter().zip(terms).zip(counts.into_iter().zip(&sums)) {
            let mut expected = vec![if sum.is_added == 1 { 0.25 } else { 0.0 }; count];
            for &seed in terms {
                expected.iter_mut().zip(random(count, seed)).for_each(|(sum, term)| *sum += term);
            }
            assert_eq!(to.values(), expected);
        }
    });
}
