//! Memory of a card, and of the host for copies.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use cudarc::driver::{CudaEvent, CudaStream, DriverError};

use super::card::Card;
use super::code::{Meaning, meaning};
use super::error::CudaError;
use super::pool::{FreeList, size_class};
use super::raw;

/// Memory that is not in use, and events.
///
/// A block that is given back may still be used by work that was submitted. Whoever takes it next
/// comes after that work: on the compute stream by the stream's order, and on the streams of copies
/// by the block's event, which is recorded behind all that used it.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Addresses for the compute stream.
    blocks: FreeList<u64>,
    /// Addresses for uploads.
    landings: FreeList<(u64, CudaEvent)>,
    /// Memory of the host that no copy uses.
    pinned: FreeList<HostBlock>,
    /// Memory of the host from which copies may still run.
    leaving: Vec<(CudaEvent, u64, HostBlock)>,
    events: Vec<CudaEvent>,
    /// What was given back while a graph is captured, which the graph keeps.
    captured: Option<FreeList<u64>>,
}

/// Memory of the host that the driver pinned.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostBlock(NonNull<u8>);

// SAFETY: the memory is any thread's, and whoever has the block has it alone.
unsafe impl Send for HostBlock {}

impl Store {
    pub(super) fn is_capturing(&self) -> bool {
        self.captured.is_some()
    }

    /// Begins a capture.
    pub(super) fn begin_capture(&mut self) {
        self.captured = Some(FreeList::default());
    }

    /// Ends a capture; gives what its graph keeps.
    pub(super) fn end_capture(&mut self) -> FreeList<u64> {
        self.captured.take().unwrap_or_default()
    }

    /// Keeps blocks that come after all work on the compute stream.
    pub(super) fn give_blocks(&mut self, blocks: &mut FreeList<u64>) {
        for (class, address) in blocks.drain() {
            self.blocks.give(class, address);
        }
    }

    /// Keeps an event that nobody waits for any more.
    pub(super) fn give_event(&mut self, event: CudaEvent) {
        self.events.push(event);
    }

    /// Keeps memory of the host from which a copy runs until the event.
    pub(super) fn give_leaving(&mut self, event: CudaEvent, pinned: Pinned) {
        let (class, block) = pinned.into_block();
        self.leaving.push((event, class, block));
    }

    /// Keeps an event that the compute stream waits for, and memory from which the copy before it runs.
    pub(super) fn give_arrived(&mut self, event: CudaEvent, pinned: Option<Pinned>) {
        match pinned {
            Some(pinned) => self.give_leaving(event, pinned),
            None => self.give_event(event),
        }
    }

    /// Moves to the free ones what copies have left.
    fn collect_left(&mut self) {
        let left = self.leaving.extract_if(.., |(event, ..)| event.is_complete());
        for (event, class, block) in left {
            self.events.push(event);
            self.pinned.give(class, block);
        }
    }

    /// Gives everything back to the driver. All work that was submitted is done, and the context is
    /// the thread's.
    pub(super) fn free_all(&mut self) {
        self.collect_left();
        let landings = self.landings.drain().map(|(_, (address, _))| address);
        for address in self.blocks.drain().map(|(_, address)| address).chain(landings) {
            // SAFETY: the address stood in one list, which means that no buffer has it; and no work
            // is left. An error is that of a context which is gone, and the memory with it.
            let _ = unsafe { raw::free(address) };
        }
        for (_, block) in self.pinned.drain() {
            // SAFETY: as above; copies have left it.
            let _ = unsafe { raw::free_host(block.0) };
        }
    }
}

/// Where a buffer's memory goes when it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// To whatever is computed next.
    Compute,
    /// To uploads, which run ahead of the computation.
    Landing,
}

/// Memory of a card. It is given back when it is dropped, and taken again only by what comes after
/// all work that was submitted until then. A graph that uses it must keep it.
#[derive(Debug)]
pub struct Buffer {
    address: u64,
    len: usize,
    lane: Lane,
    card: Card,
}

impl Buffer {
    /// Where it is on the card.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives it to uploads, which come after this event.
    pub(super) fn give_to_uploads(self, left: CudaEvent) {
        let kept = std::mem::ManuallyDrop::new(self);
        kept.card.store().landings.give(size_class(kept.len), (kept.address, left));
        // SAFETY: the card's count of users is given back once; what held it is never dropped.
        drop(unsafe { std::ptr::read(&kept.card) });
    }

    /// An event after all that the compute stream does with it now.
    fn released(&self) -> Option<CudaEvent> {
        let event = self.card.event().ok()?;
        event.record(self.card.compute()).ok()?;
        Some(event)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let class = size_class(self.len);
        let is_capturing = self.card.store().is_capturing();
        let released = match self.lane {
            Lane::Landing if !is_capturing => self.released(),
            Lane::Landing | Lane::Compute => None,
        };
        let mut store = self.card.store();
        match (released, &mut store.captured) {
            (Some(event), _) => store.landings.give(class, (self.address, event)),
            // What is dropped within has been waited for by the compute stream.
            (None, Some(captured)) => captured.give(class, self.address),
            (None, None) if self.lane == Lane::Compute => store.blocks.give(class, self.address),
            // Without an event nobody knows when a copy has left it: it is never taken again.
            (None, None) => {}
        }
    }
}

/// Values whose bytes may be anything, without gaps.
///
/// # Safety
/// Every pattern of bytes is a value, and no byte of a value is unset.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: plain numbers.
unsafe impl Plain for u8 {}
// SAFETY: plain numbers.
unsafe impl Plain for u16 {}
// SAFETY: plain numbers.
unsafe impl Plain for u32 {}
// SAFETY: plain numbers.
unsafe impl Plain for u64 {}
// SAFETY: plain numbers.
unsafe impl Plain for f32 {}

/// Bytes of the host that are copied beside the computation: they are pinned, and so never swapped.
#[derive(Debug)]
pub(crate) struct Pinned {
    block: HostBlock,
    len: usize,
    card: Card,
}

// SAFETY: through a shared reference it is only read.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// As values of a kind; a rest that is none is left out.
    pub(crate) fn values<T: Plain>(&self) -> &[T] {
        // SAFETY: the memory is ours alone, so long, aligned to a page and never unset, and each
        // pattern of bytes is a value.
        unsafe { slice::from_raw_parts(self.block.0.as_ptr().cast(), self.len / size_of::<T>()) }
    }

    /// As values of a kind; a rest that is none is left out.
    pub(crate) fn values_mut<T: Plain>(&mut self) -> &mut [T] {
        // SAFETY: as above, and the bytes of each value are set.
        unsafe {
            slice::from_raw_parts_mut(self.block.0.as_ptr().cast(), self.len / size_of::<T>())
        }
    }

    /// Its class and its memory, which it then does not give back itself.
    fn into_block(self) -> (u64, HostBlock) {
        let parts = (size_class(self.len), self.block);
        // The card's count of users is given back; the memory is not.
        let kept = std::mem::ManuallyDrop::new(self);
        // SAFETY: the field is read once, and what held it is never dropped.
        let _ = unsafe { std::ptr::read(&kept.card) };
        parts
    }
}

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.values()
    }
}

impl DerefMut for Pinned {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.values_mut()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.card.store().pinned.give(size_class(self.len), self.block);
    }
}

impl Card {
    /// Memory of so many bytes, which hold anything.
    pub(crate) fn buffer(&self, len: usize) -> Result<Buffer, CudaError> {
        let class = size_class(len);
        let kept = {
            let mut store = self.store();
            let captured = store.captured.as_mut().and_then(|captured| captured.take(class));
            captured.or_else(|| store.blocks.take(class))
        };
        let address = kept.map_or_else(|| self.take_block(class), Ok)?;
        Ok(Buffer { address, len, lane: Lane::Compute, card: self.clone() })
    }

    /// Memory that a stream of copies may write once it did all that was submitted to it: that which
    /// was given back first, and so is most likely free already.
    pub(super) fn landing(&self, len: usize, stream: &CudaStream) -> Result<Buffer, CudaError> {
        let class = size_class(len);
        let kept = self.store().landings.take_oldest(class);
        let address = match kept {
            None => self.take_block(class)?,
            Some((address, released)) => {
                let ordered = stream.wait(&released);
                self.store().give_event(released);
                self.check("ordering an upload", ordered)?;
                address
            }
        };
        Ok(Buffer { address, len, lane: Lane::Landing, card: self.clone() })
    }

    /// Pinned memory of so many bytes, which hold anything.
    pub(crate) fn pinned(&self, len: usize) -> Result<Pinned, CudaError> {
        let class = size_class(len);
        self.bind()?;
        let kept = {
            let mut store = self.store();
            store.collect_left();
            store.pinned.take(class)
        };
        let block = match kept {
            Some(block) => block,
            None => {
                let taken = self.take(|| raw::allocate_host(class))?;
                HostBlock(taken.ok_or(CudaError::OutOfHostMemory { asked: class })?)
            }
        };
        Ok(Pinned { block, len, card: self.clone() })
    }

    /// Gives what is kept back to the driver, for other processes; waits for all work before.
    pub(crate) fn trim(&self) -> Result<(), CudaError> {
        self.synchronize()?;
        self.store().free_all();
        Ok(())
    }

    /// An event that nobody waits for.
    pub(super) fn event(&self) -> Result<CudaEvent, CudaError> {
        let kept = self.store().events.pop();
        kept.map_or_else(|| self.check("making an event", self.context().new_event(None)), Ok)
    }

    fn take_block(&self, class: u64) -> Result<u64, CudaError> {
        if let Some(address) = self.take(|| raw::allocate(class))? {
            return Ok(address);
        }
        let (ordinal, memory) = (self.facts().ordinal, self.memory()?);
        let (free, total) = (memory.free, memory.total);
        Err(CudaError::OutOfMemory { ordinal, asked: class, free, total })
    }

    /// Asks the driver for memory, and again without what is kept if it is short; `None` if it still
    /// is.
    fn take<T>(&self, ask: impl Fn() -> Result<T, DriverError>) -> Result<Option<T>, CudaError> {
        self.bind()?;
        let mut answer = ask();
        let may_trim = !self.store().is_capturing();
        if may_trim && answer.as_ref().is_err_and(is_short) {
            self.trim()?;
            answer = ask();
        }
        match answer {
            Err(error) if is_short(&error) => Ok(None),
            other => self.check("taking memory", other).map(Some),
        }
    }
}

fn is_short(error: &DriverError) -> bool {
    meaning(error.0 as u32) == Meaning::OutOfMemory
}
