//! Activation, value by value.

use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};

record! {
    /// Of [`gelu_forward`].
    GeluArgs {
        x: Address,
        y: Address,
        count: u64,
    }
}

record! {
    /// Of [`gelu_backward`].
    GeluBackwardArgs {
        x: Address,
        dy: Address,
        count: u64,
    }
}

/// `y = gelu(x)`.
pub(in crate::cuda) fn gelu_forward(args: GeluArgs) -> Result<Option<Launch>, PlanError> {
    Launch::worth(
        Launch::eights(Kernel::GeluForward, args.count, args),
        Cost::numbers(2 * args.count),
    )
}

/// `dy *= gelu'(x)`, in place.
pub(in crate::cuda) fn gelu_backward(args: GeluBackwardArgs) -> Result<Option<Launch>, PlanError> {
    Launch::worth(
        Launch::eights(Kernel::GeluBackward, args.count, args),
        Cost::numbers(3 * args.count),
    )
}
