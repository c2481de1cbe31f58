//! Activation, value by value.

use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Launch, PlanError};
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
    Launch::each(Kernel::GeluForward, args.count.into(), args)
}

/// `dy *= gelu'(x)`, in place.
pub(in crate::cuda) fn gelu_backward(args: GeluBackwardArgs) -> Result<Option<Launch>, PlanError> {
    Launch::each(Kernel::GeluBackward, args.count.into(), args)
}
