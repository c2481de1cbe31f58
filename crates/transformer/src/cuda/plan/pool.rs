//! From token rows to one vector a text and back, and vectors of length 1.

use crate::backend::{Pools, reads_head};
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};
use crate::encoder::Pooling;

/// A text is pooled by its first row.
const FIRST: u32 = 1;
/// A text's vector keeps its length, since a head reads it.
pub(in crate::cuda) const AS_IS: u32 = 2;

record! {
    /// Of [`pool_forward`].
    PoolArgs {
        x: Address,
        offsets: Address,
        modes: Address,
        out: Address,
        texts: u32,
        hidden: u32,
    }
}

record! {
    /// Of [`pool_backward`].
    PoolBackwardArgs {
        d_out: Address,
        texts: Address,
        offsets: Address,
        modes: Address,
        dx: Address,
        rows: u32,
        hidden: u32,
    }
}

record! {
    /// Of [`unit_forward`].
    UnitArgs {
        rows: Address,
        lengths: Address,
        modes: Address,
        texts: u32,
        hidden: u32,
    }
}

record! {
    /// Of [`unit_backward`].
    UnitBackwardArgs {
        rows: Address,
        lengths: Address,
        modes: Address,
        slopes: Address,
        texts: u32,
        hidden: u32,
    }
}

/// `[texts]`: how each is pooled, and whether it is scaled.
pub(in crate::cuda) fn modes(pools: Pools<'_>) -> Vec<u32> {
    let segments = pools.batch.segments().iter();
    let scored = segments.flat_map(|segment| {
        let is_scored = reads_head(segment, pools.adapters);
        segment.texts.clone().map(move |_| if is_scored { AS_IS } else { 0 })
    });
    let pooled = pools.iter().map(|(_, pooling)| match pooling {
        Pooling::Mean => 0,
        Pooling::Cls => FIRST,
    });
    pooled.zip(scored).map(|(pooled, scored)| pooled | scored).collect()
}

/// One vector a text, from so many rows in all.
pub(in crate::cuda) fn pool_forward(
    args: PoolArgs,
    rows: usize,
) -> Result<Option<Launch>, PlanError> {
    let values = u64::from(args.texts) * u64::from(args.hidden);
    let reals = rows as u64 * u64::from(args.hidden);
    let cost = Cost { reals, ..Cost::floats(values) };
    Launch::worth(Launch::each(Kernel::PoolForward, values, args), cost)
}

/// The gradient by token rows, from so many texts.
pub(in crate::cuda) fn pool_backward(
    args: PoolBackwardArgs,
    texts: usize,
) -> Result<Option<Launch>, PlanError> {
    let slopes = texts as u64 * u64::from(args.hidden);
    let cost = Cost::reals([args.rows, args.hidden], 1).and(Cost::floats(slopes));
    Launch::worth(Launch::warps(Kernel::PoolBackward, args.rows.into(), args), cost)
}

/// Vectors of length 1, in place.
pub(in crate::cuda) fn unit_forward(args: UnitArgs) -> Result<Option<Launch>, PlanError> {
    let cost = Cost::floats(2 * u64::from(args.texts) * u64::from(args.hidden));
    Launch::worth(Launch::warps(Kernel::UnitForward, args.texts.into(), args), cost)
}

/// The gradient by vectors before they had length 1, in place.
pub(in crate::cuda) fn unit_backward(args: UnitBackwardArgs) -> Result<Option<Launch>, PlanError> {
    let cost = Cost::floats(3 * u64::from(args.texts) * u64::from(args.hidden));
    Launch::worth(Launch::warps(Kernel::UnitBackward, args.texts.into(), args), cost)
}
