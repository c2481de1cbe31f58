//! Many small tables in one buffer, so that one copy brings them all.

use crate::backend::Fault;
use crate::cuda::machine::Machine;
use crate::cuda::record::{Address, Record, align, bytes_of, table};

/// Where tables begin: at whole cache lines of a card.
const ALIGN_BYTES: usize = 128;

/// Tables on the way to a machine.
#[derive(Default)]
pub(super) struct Tables {
    bytes: Vec<u8>,
}

/// Where a table will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

/// Tables on a machine.
pub(super) struct Placed<M: Machine> {
    memory: M::Buffer,
}

impl Tables {
    pub(super) fn records<R: Record>(&mut self, records: &[R]) -> Place {
        self.put(&table(records))
    }

    pub(super) fn numbers(&mut self, numbers: &[u32]) -> Place {
        self.put(&bytes_of(numbers))
    }

    pub(super) fn keys(&mut self, keys: &[u64]) -> Place {
        self.put(&bytes_of(keys))
    }

    pub(super) fn floats(&mut self, values: &[f32]) -> Place {
        self.put(&bytes_of(values))
    }

    fn put(&mut self, bytes: &[u8]) -> Place {
        align(&mut self.bytes, ALIGN_BYTES);
        let place = Place(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        place
    }

    pub(super) fn upload<M: Machine>(self, machine: &M) -> Result<Placed<M>, Fault> {
        Ok(Placed { memory: machine.upload(&self.bytes)? })
    }
}

impl<M: Machine> Placed<M> {
    pub(super) fn at(&self, machine: &M, place: Place) -> Address {
        Address(machine.address(&self.memory).0 + place.0 as u64)
    }
}
