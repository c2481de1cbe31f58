//! What holds buffers and carries launches out: a card, or in tests the processor.

use super::launch::Launch;
use super::plan::linear::LinearArgs;
use super::record::Address;
use crate::backend::Fault;

/// Which way a frozen linear layer is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `y = x · weightᵀ + bias`
    Forward,
    /// `y = x · weight`, or added.
    Backward,
}

/// A machine. What it is asked to do is done in the order in which it is asked, though not always by
/// the time that the call returns; what was written is read by whatever is asked for later.
pub(crate) trait Machine: Send + Sync {
    /// Memory of the machine.
    type Buffer: Send + Sync;

    /// Memory of so many bytes, which hold anything.
    fn buffer(&self, bytes: usize) -> Result<Self::Buffer, Fault>;
    /// Where kernels find it.
    fn address(&self, buffer: &Self::Buffer) -> Address;
    /// New memory that holds these bytes.
    fn upload(&self, from: &[u8]) -> Result<Self::Buffer, Fault>;
    /// Copies the first bytes of a buffer, and waits until they are there.
    fn download(&self, from: &Self::Buffer, to: &mut [u8]) -> Result<(), Fault>;
    /// Copies one buffer to another of its length.
    fn copy(&self, from: &Self::Buffer, to: &mut Self::Buffer) -> Result<(), Fault>;
    /// Sets all bytes to 0.
    fn clear(&self, buffer: &mut Self::Buffer) -> Result<(), Fault>;
    /// Runs a kernel.
    fn launch(&self, launch: &Launch) -> Result<(), Fault>;
    /// Multiplies by what is faster than the kernels for linear layers, if the machine has that and
    /// it may be used; false where it has nothing or must not.
    fn multiply(&self, way: Way, args: &LinearArgs) -> Result<bool, Fault>;
}
