//! Frozen linear layers without tensor cores.

use super::tile::product_bytes;
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Launch, PlanError};
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

fn launch(kernel: Kernel, args: LinearArgs) -> Result<Option<Launch>, PlanError> {
    let blocks = |len: u32| u64::from(len).div_ceil(LINEAR_TILE as u64);
    let grid = (blocks(args.rows), blocks(args.columns));
    Launch::new(kernel, grid, product_bytes(LINEAR_TILE, LINEAR_TILE), args)
}
