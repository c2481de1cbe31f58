//! What holds buffers and carries launches out: a card, or in tests the processor.

use super::launch::Launch;
use super::record::Address;
use crate::backend::Fault;

/// Which way a frozen linear layer is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `y = x · weightᵀ + bias`
    Forward,
    /// `y = x · weight`, or added.
    Backward,
}

/// A product with a frozen layer's weights.
pub struct Layer<'a, B> {
    /// Rows of `x` and `y`.
    pub rows: usize,
    /// Numbers of a row of `x`.
    pub inner: usize,
    /// Numbers of a row of `y`.
    pub columns: usize,
    /// `[rows, inner]`
    pub x: &'a B,
    /// `[outputs, inputs]`, whichever way it is multiplied.
    pub weight: &'a B,
    /// `[columns]`, in the format of rows.
    pub bias: Option<&'a B>,
    /// `[rows, columns]`
    pub y: &'a mut B,
    /// Whether the product is added to what `y` holds.
    pub adds: bool,
}

/// A machine. What it is asked to do is done in the order in which it is asked, though not always by
/// the time that the call returns; what was written is read by whatever is asked for later.
pub trait Machine: Send + Sync {
    /// Memory of the machine.
    type Buffer: Send + Sync;
    /// Memory of the host from which and to which copies run beside the computation.
    type Page: Send + Sync;
    /// A copy of a page that runs.
    type Arriving: Send + Sync;

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
    /// New memory of the host with a copy of these bytes.
    fn page(&self, from: &[u8]) -> Result<Self::Page, Fault>;
    /// Begins to copy a page to new memory of the machine, ahead of what was asked for before.
    fn bring(&self, page: &mut Self::Page) -> Result<Self::Arriving, Fault>;
    /// The memory, for what is asked for from now on, which comes after the copy.
    fn arrive(&self, arriving: Self::Arriving) -> Result<Self::Buffer, Fault>;
    /// Begins to copy to a page of its length what a buffer holds after all that was asked for. Its
    /// memory is free for what is brought later.
    ///
    /// # Errors
    /// The buffer comes back if nothing was begun.
    fn put_aside(
        &self,
        from: Self::Buffer,
        to: &mut Self::Page,
    ) -> Result<(), (Option<Self::Buffer>, Fault)>;
    /// Copies what a page holds after all copies to it.
    fn read_page(&self, from: &Self::Page, to: &mut [u8]) -> Result<(), Fault>;
    /// Sets all bytes to 0.
    fn clear(&self, buffer: &mut Self::Buffer) -> Result<(), Fault>;
    /// Runs a kernel.
    ///
    /// # Safety
    /// The addresses among its arguments are those of buffers of this machine that live until this
    /// returns, and that are as long as the kernel's shapes say.
    unsafe fn launch(&self, launch: &Launch) -> Result<(), Fault>;
    /// Asks for everything that `work` asks for at once, if that is faster, or for nothing of it if it
    /// fails. Work of one kind asks for the same operations in the same order each time, and neither
    /// uploads nor downloads.
    fn as_one(
        &self,
        kind: &dyn Fn() -> u64,
        work: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<(), Fault>;
    /// Multiplies by what is faster than the kernels for linear layers, if the machine has that and
    /// it may be used; false where it has nothing or must not.
    fn multiply(&self, way: Way, layer: Layer<'_, Self::Buffer>) -> Result<bool, Fault>;
}
