//! Many small tables in one buffer, so that one copy brings them all.

use crate::backend::Fault;
use crate::cuda::machine::Machine;
use crate::cuda::record::{Address, Field, Record, write_numbers, write_records};

/// Where tables begin: at whole cache lines of a card.
const ALIGN_BYTES: usize = 128;

/// Tables on the way to a machine.
pub(super) struct Tables<'a> {
    bytes: &'a mut Vec<u8>,
}

/// Where a table will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

/// Tables on a machine.
pub(super) struct Placed<M: Machine> {
    memory: M::Buffer,
}

impl<'a> Tables<'a> {
    /// No tables yet, to be laid out in memory that may be used again and again: what is new each time
    /// is slow.
    pub(super) fn on(room: &'a mut Vec<u8>) -> Self {
        room.clear();
        Self { bytes: room }
    }

    pub(super) fn records<R: Record>(&mut self, records: &[R]) -> Place {
        let (place, room) = self.room(R::BYTES * records.len());
        write_records(records, room);
        place
    }

    pub(super) fn numbers<F: Field>(&mut self, numbers: &[F]) -> Place {
        let (place, room) = self.room(F::BYTES * numbers.len());
        write_numbers(numbers, room);
        place
    }

    /// So many zeros for a table.
    fn room(&mut self, bytes: usize) -> (Place, &mut [u8]) {
        let begin = self.bytes.len().next_multiple_of(ALIGN_BYTES);
        self.bytes.resize(begin + bytes, 0);
        (Place(begin), &mut self.bytes[begin..])
    }

    pub(super) fn upload<M: Machine>(self, machine: &M) -> Result<Placed<M>, Fault> {
        Ok(Placed { memory: machine.upload(self.bytes)? })
    }
}

impl<M: Machine> Placed<M> {
    pub(super) fn at(&self, machine: &M, place: Place) -> Address {
        Address(machine.address(&self.memory).0 + place.0 as u64)
    }
}
