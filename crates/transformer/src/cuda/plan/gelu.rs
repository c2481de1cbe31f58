//! Activation, value by value.

use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};

record! {
    /// Of [`gelu_forward`].
    GeluArgs {
        x: Address,
        y: Address,
        count: u32,
    }
}

record! {
    /// Of [`gelu_backward`].
    GeluBackwardArgs {
        x: Address,
        dy: Address,
        count: u32,
    }
}

/// `y = gelu(x)`.
pub(in crate::cuda) fn gelu_forward(args: GeluArgs) -> Result<Option<Launch>, PlanError> {
    let cost = Cost::reals([args.count, 1], 2);
    Launch::worth(Launch::each(Kernel::GeluForward, args.count.into(), args), cost)
}

/// `dy *= gelu'(x)`, in place.
pub(in crate::cuda) fn gelu_backward(args: GeluBackwardArgs) -> Result<Option<Launch>, PlanError> {
    let cost = Cost::reals([args.count, 1], 3);
    Launch::worth(Launch::each(Kernel::GeluBackward, args.count.into(), args), cost)
}
