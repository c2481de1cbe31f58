//! Copies between formats, and sums of rows in a given order.

use super::tile::count;
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};

record! {
    /// Of [`widen`].
    WidenArgs {
        from: Address,
        to: Address,
        count: u64,
    }
}

record! {
    /// Of [`narrow`].
    NarrowArgs {
        from: Address,
        to: Address,
        count: u64,
    }
}

record! {
    /// Of [`sum_rows`].
    SumRowsArgs {
        from: Address,
        starts: Address,
        sources: Address,
        to: Address,
        rows: u32,
        width: u32,
    }
}

/// f32 from reals.
pub(in crate::cuda) fn widen(args: WidenArgs) -> Result<Option<Launch>, PlanError> {
    let cost = Cost::numbers(args.count).and(Cost::floats(args.count));
    Launch::worth(Launch::eights(Kernel::Widen, args.count, args), cost)
}

/// Reals from f32.
pub(in crate::cuda) fn narrow(args: NarrowArgs) -> Result<Option<Launch>, PlanError> {
    let cost = Cost::numbers(args.count).and(Cost::floats(args.count));
    Launch::worth(Launch::eights(Kernel::Narrow, args.count, args), cost)
}

/// Each row the sum of others in the order of a [`Gather`] of so many terms.
pub(in crate::cuda) fn sum_rows(
    args: SumRowsArgs,
    terms: usize,
) -> Result<Option<Launch>, PlanError> {
    let (rows, width) = (u64::from(args.rows), u64::from(args.width));
    let cost = Cost::floats((rows + terms as u64) * width);
    Launch::worth(Launch::each(Kernel::SumRows, rows * width, args), cost)
}

/// Which rows are summed into which, and in what order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cuda) struct Gather {
    /// `[rows + 1]`
    pub starts: Vec<u32>,
    /// `[terms]`
    pub sources: Vec<u32>,
}

impl Gather {
    /// Term `i` goes to row `targets[i] < rows`, in the order of the terms.
    pub(in crate::cuda) fn new(rows: usize, targets: &[u32]) -> Result<Self, PlanError> {
        count("the terms of a sum", targets.len())?;
        let mut starts = vec![0; rows + 1];
        for &target in targets {
            let place = starts.get_mut(target as usize + 1);
            *place.ok_or(PlanError::NoRow {
                subject: "a sum",
                what: "target",
                found: target as usize,
                rows,
            })? += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut sources = vec![0; targets.len()];
        for (term, &target) in targets.iter().enumerate() {
            sources[next[target as usize] as usize] = term as u32;
            next[target as usize] += 1;
        }
        Ok(Self { starts, sources })
    }
}
