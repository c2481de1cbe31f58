//! Frozen linear layers without tensor cores.

use super::tile::product_bytes;
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};

/// Rows and columns of a block's tile.
pub(in crate::cuda) const LINEAR_TILE: usize = 64;

record! {
    /// Of both directions.
    LinearArgs {
        x: Address,
        weight: Address,
        bias: Address,
        y: Address,
        rows: u32,
        inner: u32,
        columns: u32,
        is_added: u32,
    }
}

/// `y = x · weightᵀ + bias`, or added.
pub(in crate::cuda) fn linear_forward(args: LinearArgs) -> Result<Option<Launch>, PlanError> {
    launch(Kernel::LinearForward, args)
}

/// `y = x · weight`, or added.
pub(in crate::cuda) fn linear_backward(args: LinearArgs) -> Result<Option<Launch>, PlanError> {
    launch(Kernel::LinearBackward, args)
}

/// What a product of rows with weights costs, whoever computes it.
pub(in crate::cuda) fn linear_cost([rows, inner, columns]: [u32; 3], is_added: bool) -> Cost {
    let results = if is_added { 2 } else { 1 };
    Cost::reals([rows, inner], 1)
        .and(Cost::reals([inner, columns], 1))
        .and(Cost::reals([rows, columns], results))
        .computing(2 * u64::from(rows) * u64::from(inner) * u64::from(columns))
}

fn launch(kernel: Kernel, args: LinearArgs) -> Result<Option<Launch>, PlanError> {
    let blocks = |len: u32| u64::from(len).div_ceil(LINEAR_TILE as u64);
    let grid = (blocks(args.rows), blocks(args.columns));
    let launch = Launch::new(kernel, grid, product_bytes(LINEAR_TILE, LINEAR_TILE), args);
    Launch::worth(launch, linear_cost([args.rows, args.inner, args.columns], args.is_added != 0))
}
