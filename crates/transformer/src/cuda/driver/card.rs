//! A card that this process uses.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};

use super::code::{Meaning, meaning};
use super::error::{CudaError, name};
use super::library::Library;
use super::memory::Store;
use super::raw::{self, ElapsedTime};
use super::target::{CAPABILITY_MIN, DRIVER_MIN, Version};

/// The driver, as every Linux that has it names it.
const LIBRARY: &str = "libcuda.so.1";

/// What a card is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CardFacts {
    /// Its number among the cards that this process sees.
    pub(crate) ordinal: usize,
    /// Its name, such as `NVIDIA H200`.
    pub(crate) name: String,
    /// Its compute capability.
    pub(crate) capability: Version,
    /// Its multiprocessors.
    pub(crate) multiprocessors: u32,
    /// Shared memory that a block can have where a kernel asks for it, in bytes.
    pub(crate) shared_bytes_max: u32,
    /// The newest CUDA that the driver speaks.
    pub(crate) driver: Version,
}

/// Memory of a card, of which other processes use some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryFacts {
    /// Bytes that can be taken.
    pub(crate) free: u64,
    /// Bytes that the card has.
    pub(crate) total: u64,
}

/// A card that is open. Copies are the same card; it is closed with the last of them and of what
/// was made with it.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    facts: CardFacts,
    context: Arc<CudaContext>,
    compute: Arc<CudaStream>,
    copies: Arc<CudaStream>,
    pages: Arc<CudaStream>,
    elapsed: ElapsedTime,
    store: Mutex<Store>,
}

impl Card {
    /// Opens the card of a number.
    pub(crate) fn open(ordinal: usize) -> Result<Self, CudaError> {
        let (driver, elapsed) = open_driver()?;
        let count = count_cards(ordinal)?;
        if ordinal >= count {
            return Err(CudaError::NoCard { ordinal, count });
        }
        let refused = |error| CudaError::of(error, ordinal, "opening the card");
        let context = CudaContext::new(ordinal).map_err(refused)?;
        let facts = read_facts(&context, driver).map_err(refused)?;
        if facts.capability < CAPABILITY_MIN {
            let CardFacts { name, capability, .. } = facts;
            return Err(CudaError::CardTooOld { name, capability });
        }
        let compute = context.new_stream().map_err(refused)?;
        let copies = context.new_stream().map_err(refused)?;
        let pages = context.new_stream().map_err(refused)?;
        let store = Mutex::default();
        Ok(Self {
            inner: Arc::new(Inner { facts, context, compute, copies, pages, elapsed, store }),
        })
    }

    /// What the card is.
    pub(crate) fn facts(&self) -> &CardFacts {
        &self.inner.facts
    }

    /// Its memory now.
    pub(crate) fn memory(&self) -> Result<MemoryFacts, CudaError> {
        let (free, total) = self.check("asking for its memory", self.context().mem_get_info())?;
        Ok(MemoryFacts { free: free as u64, total: total as u64 })
    }

    /// Waits until all work that was submitted is done; errors of that work are found here.
    pub(crate) fn synchronize(&self) -> Result<(), CudaError> {
        self.refuse_in_capture("waiting for the card")?;
        self.check("waiting for its work", self.context().synchronize())
    }

    /// What the driver answered, as an error of this card.
    pub(super) fn check<T>(
        &self,
        doing: &'static str,
        answer: Result<T, DriverError>,
    ) -> Result<T, CudaError> {
        answer.map_err(|error| CudaError::of(error, self.facts().ordinal, doing))
    }

    /// Makes the card's context that of the calling thread.
    pub(super) fn bind(&self) -> Result<(), CudaError> {
        self.check("choosing the card", self.context().bind_to_thread())
    }

    /// Refuses what cannot be a part of a graph.
    pub(super) fn refuse_in_capture(&self, doing: &'static str) -> Result<(), CudaError> {
        match self.store().is_capturing() {
            true => Err(CudaError::Capturing { doing }),
            false => Ok(()),
        }
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        &self.inner.context
    }

    /// The stream whose order all work has.
    pub(super) fn compute(&self) -> &Arc<CudaStream> {
        &self.inner.compute
    }

    /// The stream of copies to and from the host.
    pub(super) fn copies(&self) -> &Arc<CudaStream> {
        &self.inner.copies
    }

    /// The stream of copies that nobody waits for soon.
    pub(super) fn pages(&self) -> &Arc<CudaStream> {
        &self.inner.pages
    }

    pub(super) fn elapsed(&self) -> ElapsedTime {
        self.inner.elapsed
    }

    /// What is free, for this thread alone.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.inner.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // All that was made with the card is gone, so that nothing is submitted any more. A card
        // that is lost answers errors, and has no memory of ours to give back.
        if self.context.synchronize().is_ok() {
            let store = self.store.get_mut().unwrap_or_else(PoisonError::into_inner);
            store.free_all();
        }
    }
}

/// The driver's version, once it is there with all functions.
fn open_driver() -> Result<(Version, ElapsedTime), CudaError> {
    let driver =
        Library::open(Path::new(LIBRARY)).map_err(|reason| CudaError::NoDriver { reason })?;
    if let Some(function) = driver.lacks(&[c"cuDriverGetVersion"]) {
        let reason = format!("{LIBRARY} has no {function}");
        return Err(CudaError::NoDriver { reason });
    }
    let has = raw::driver_version()
        .map_err(|error| CudaError::NoDriver { reason: format!("it answers {}", name(error)) })?;
    if has < DRIVER_MIN {
        return Err(CudaError::DriverTooOld { has, lacks: format!("CUDA {DRIVER_MIN}") });
    }
    let too_old = |lacks: &str| CudaError::DriverTooOld { has, lacks: lacks.to_owned() };
    if let Some(lacks) = driver.lacks(&raw::FUNCTIONS) {
        return Err(too_old(lacks));
    }
    let elapsed = ElapsedTime::find(driver).ok_or_else(|| too_old("cuEventElapsedTime"))?;
    Ok((has, elapsed))
}

/// How many cards this process sees.
fn count_cards(ordinal: usize) -> Result<usize, CudaError> {
    let counted = result::init().and_then(|()| result::device::get_count());
    match counted {
        Ok(count) => Ok(count.max(0).unsigned_abs() as usize),
        Err(error) if meaning(error.0 as u32) == Meaning::NoCard => Ok(0),
        Err(error) => Err(CudaError::of(error, ordinal, "counting cards")),
    }
}

fn read_facts(context: &CudaContext, driver: Version) -> Result<CardFacts, DriverError> {
    use CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as SHARED_BYTES,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as MULTIPROCESSORS,
    };
    let positive = |number: i32| number.max(0).unsigned_abs();
    let (major, minor) = context.compute_capability()?;
    Ok(CardFacts {
        ordinal: context.ordinal(),
        name: context.name()?,
        capability: Version { major: positive(major), minor: positive(minor) },
        multiprocessors: positive(context.attribute(MULTIPROCESSORS)?),
        shared_bytes_max: positive(context.attribute(SHARED_BYTES)?),
        driver,
    })
}
