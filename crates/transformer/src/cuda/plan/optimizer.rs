//! Sums of gradients, clipping and AdamW, over the adapters of many tenants.

use super::tile::{Side, Tile, tiles};
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};
use crate::keeper::AdamStep;

/// Values of a tile.
const CHUNK: usize = 256;
/// Values of a gradient whose squares one block sums.
const PART: usize = 8192;
/// Bytes of the tree in which a block's sums meet.
const TREE_BYTES: usize = 8 * 256;

record! {
    /// One adapter's gradients, added up in their order.
    Sum {
        to: Address,
        count: u32,
        first_term: u32,
        term_count: u32,
        is_added: u32,
    }
}

record! {
    /// Of [`sum_gradients`].
    SumArgs {
        sums: Address,
        terms: Address,
        tiles: Address,
    }
}

record! {
    /// One tenant's step.
    Step {
        values: Address,
        gradient: Address,
        mean: Address,
        square: Address,
        squares: Address,
        norm: Address,
        loss: Address,
        count: u32,
        norm_max: f32,
        size: f32,
        root: f32,
        kept: f32,
        mean_part: f32,
        square_kept: f32,
        square_part: f32,
        epsilon: f32,
    }
}

record! {
    /// Of all three kernels.
    StepArgs {
        steps: Address,
        tiles: Address,
    }
}

/// Where a tenant's adapter and its optimizer's state lie, f32 all.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct Slab {
    pub values: Address,
    pub gradient: Address,
    pub mean: Address,
    pub square: Address,
    /// `[parts]` f64, see [`parts`].
    pub squares: Address,
    /// `[1]`, where the gradient's norm goes.
    pub norm: Address,
    /// `[1]`, what the gradient is of.
    pub loss: Address,
    /// Values of the adapter.
    pub count: u32,
}

impl Step {
    /// What the kernels read of a step; the factors are those of the trainer's own AdamW.
    pub(in crate::cuda) fn new(slab: Slab, settings: AdamStep) -> Self {
        let AdamStep { beta1, beta2, epsilon, norm_max, steps, .. } = settings;
        let power = |beta: f64| 1.0 - beta.powi(steps.min(i32::MAX as u64) as i32);
        let rate = f64::from(settings.learning_rate);
        let Slab { values, gradient, mean, square, squares, norm, loss, count } = slab;
        Self {
            values,
            gradient,
            mean,
            square,
            squares,
            norm,
            loss,
            count,
            norm_max: norm_max.unwrap_or(f32::INFINITY),
            size: (rate / power(beta1)) as f32,
            root: power(beta2).sqrt() as f32,
            kept: (1.0 - rate * f64::from(settings.weight_decay)) as f32,
            mean_part: (1.0 - beta1) as f32,
            square_kept: beta2 as f32,
            square_part: (1.0 - beta2) as f32,
            epsilon,
        }
    }
}

/// The parts into which a gradient of so many values is cut for its norm.
pub(in crate::cuda) fn parts(count: usize) -> usize {
    count.div_ceil(PART)
}

/// The tiles of adapters of so many values each.
pub(in crate::cuda) fn step_tiles(counts: &[u32]) -> Vec<Tile> {
    tiles_of(counts, CHUNK)
}

/// The same for their norms.
pub(in crate::cuda) fn norm_tiles(counts: &[u32]) -> Vec<Tile> {
    tiles_of(counts, PART)
}

fn tiles_of(counts: &[u32], step: usize) -> Vec<Tile> {
    let one = Side { len: 1, step: 1 };
    let of = |(subject, &count)| tiles(subject, 0, Side { len: count as usize, step }, one);
    (0..).zip(counts).flat_map(of).collect()
}

/// The sums, in so many tiles.
pub(in crate::cuda) fn sum_gradients(
    args: SumArgs,
    sums: &[Sum],
    tiles: usize,
) -> Result<Option<Launch>, PlanError> {
    let values = |sum: &Sum| u64::from(sum.count) * u64::from(1 + sum.term_count + sum.is_added);
    let cost = Cost::floats(sums.iter().map(values).sum());
    Launch::worth(Launch::new(Kernel::SumGradients, (tiles as u64, 1), 0, args), cost)
}

/// First: the squares of the gradients, in so many tiles.
pub(in crate::cuda) fn gradient_squares(
    args: StepArgs,
    steps: &[Step],
    tiles: usize,
) -> Result<Option<Launch>, PlanError> {
    let launch = Launch::new(Kernel::GradientSquares, (tiles as u64, 1), TREE_BYTES, args);
    Launch::worth(launch, Cost::floats(values_of(steps)))
}

/// Second: their norms.
pub(in crate::cuda) fn gradient_norm(
    args: StepArgs,
    steps: &[Step],
) -> Result<Option<Launch>, PlanError> {
    let launch = Launch::new(Kernel::GradientNorm, (steps.len() as u64, 1), TREE_BYTES, args);
    let parts: usize = steps.iter().map(|step| parts(step.count as usize)).sum();
    Launch::worth(launch, Cost::floats(2 * parts as u64))
}

/// Third: clip and step, in so many tiles.
pub(in crate::cuda) fn adamw_step(
    args: StepArgs,
    steps: &[Step],
    tiles: usize,
) -> Result<Option<Launch>, PlanError> {
    let launch = Launch::new(Kernel::AdamwStep, (tiles as u64, 1), 0, args);
    // The gradient is read; values and both means are read and written.
    Launch::worth(launch, Cost::floats(7 * values_of(steps)))
}

fn values_of(steps: &[Step]) -> u64 {
    steps.iter().map(|step| u64::from(step.count)).sum()
}
