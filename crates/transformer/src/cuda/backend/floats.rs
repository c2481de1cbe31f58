//! Buffers of rows.

use crate::cuda::machine::Machine;
use crate::cuda::record::Address;

/// A flat buffer of a machine's numbers.
pub struct Floats<M: Machine> {
    memory: Option<M::Buffer>,
    /// Numbers.
    len: usize,
}

impl<M: Machine> Default for Floats<M> {
    fn default() -> Self {
        Self { memory: None, len: 0 }
    }
}

impl<M: Machine> Floats<M> {
    pub(super) fn new(memory: M::Buffer, len: usize) -> Self {
        Self { memory: Some(memory), len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where it is; nowhere if the machine could not hold it, and then it does nothing any more.
    pub(super) fn address(&self, machine: &M) -> Address {
        self.memory.as_ref().map_or(Address::NONE, |memory| machine.address(memory))
    }

    pub(super) fn memory(&self) -> Option<&M::Buffer> {
        self.memory.as_ref()
    }

    pub(super) fn memory_mut(&mut self) -> Option<&mut M::Buffer> {
        self.memory.as_mut()
    }
}
