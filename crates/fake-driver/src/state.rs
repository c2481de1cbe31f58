//! What one process has of the driver: its place among the users of the cards, and its handles.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cotenant_fake_cards::{CARDS_MAX, Cards, Client, Refused};

use crate::api::array::{Array, Tile};
use crate::api::capture::{Captures, HostCall};
use crate::api::context::{Context, Primary};
use crate::api::event::Event;
use crate::api::graph::{Exec, Graph, Node};
use crate::api::memory::{Allocation, HostMemory};
use crate::api::module::{Function, Module};
use crate::api::pool::Pool;
use crate::api::stream::Stream;
use crate::api::vmm::{Physical, Reservation};
use crate::codes::{Code, cuda};
use crate::ffi;

/// A handle as programs see it: never null, and no address.
pub(crate) type Handle = usize;

static CARDS: OnceLock<Result<Cards, String>> = OnceLock::new();
static DRIVER: OnceLock<Driver> = OnceLock::new();
static FORKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static OWN_DEFAULT_STREAM: Cell<bool> = const { Cell::new(false) };
}

/// The driver after `cuInit`.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) client: Client,
    tables: Mutex<Tables>,
}

/// Everything that a handle or an address can name.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    handles: usize,
    pub(crate) contexts: HashMap<Handle, Context>,
    pub(crate) primaries: [Primary; CARDS_MAX],
    pub(crate) streams: HashMap<Handle, Stream>,
    pub(crate) events: HashMap<Handle, Event>,
    pub(crate) memory: BTreeMap<u64, Allocation>,
    pub(crate) host_memory: BTreeMap<u64, HostMemory>,
    pub(crate) pools: HashMap<Handle, Pool>,
    pub(crate) default_pools: [Option<Handle>; CARDS_MAX],
    pub(crate) current_pools: [Option<Handle>; CARDS_MAX],
    /// What graphs that are gone have left to those that come, by card.
    pub(crate) graph_spare: [u64; CARDS_MAX],
    pub(crate) physical: HashMap<Handle, Physical>,
    /// Handles of physical memory, and those that were released, which are given again.
    pub(crate) physical_handles: HashMap<Handle, Handle>,
    pub(crate) physical_handles_free: Vec<Handle>,
    pub(crate) reservations: BTreeMap<u64, Reservation>,
    pub(crate) arrays: HashMap<Handle, Array>,
    /// Parts of arrays to which physical memory is mapped.
    pub(crate) tiles: HashMap<Tile, Handle>,
    pub(crate) modules: HashMap<Handle, Module>,
    pub(crate) functions: HashMap<Handle, Function>,
    pub(crate) graphs: HashMap<Handle, Graph>,
    pub(crate) nodes: HashMap<Handle, Node>,
    pub(crate) execs: HashMap<Handle, Exec>,
    pub(crate) captures: Captures,
    /// Functions of the host by number.
    pub(crate) host_functions: HashMap<u64, HostCall>,
}

impl Tables {
    /// A handle that was never given before.
    pub(crate) fn new_handle(&mut self) -> Handle {
        self.handles += 1;
        // Away from the numbers of the default streams, and aligned as pointers are.
        0x1000_0000 + self.handles * 16
    }
}

impl Driver {
    /// The handles, for this thread alone. Held only while nothing waits.
    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A card that exists and is there.
    pub(crate) fn check_card(&self, card: i32) -> Result<usize, Code> {
        let index = usize::try_from(card).map_err(|_| cuda::INVALID_DEVICE)?;
        let facts = self.client.cards().card(index).ok_or(cuda::INVALID_DEVICE)?;
        if facts.is_lost { Err(cuda::DEVICE_UNAVAILABLE) } else { Ok(index) }
    }
}

/// The cards that the environment names, without using them; the text says why there are none.
pub(crate) fn cards() -> Result<&'static Cards, &'static str> {
    let open = || {
        Cards::from_environment().map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            format!("failed to {error}{}", cause.unwrap_or_default())
        })
    };
    CARDS.get_or_init(open).as_ref().map_err(String::as_str)
}

/// The driver, if this process called `cuInit`. A child of one that did has no driver, and can get
/// none, as with the real one.
pub(crate) fn driver() -> Result<&'static Driver, Code> {
    if FORKED.load(Ordering::Relaxed) {
        return Err(cuda::NOT_INITIALIZED);
    }
    DRIVER.get().ok_or(cuda::NOT_INITIALIZED)
}

/// Makes this process a user of the cards; a second time does nothing.
pub(crate) fn initialise() -> Result<(), Code> {
    if FORKED.load(Ordering::Relaxed) {
        return Err(cuda::NOT_INITIALIZED);
    }
    let cards = cards().map_err(|_| cuda::NO_DEVICE)?;
    static FIRST: Mutex<()> = Mutex::new(());
    let _guard = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    if DRIVER.get().is_none() {
        let client = Client::register(cards).map_err(|_| cuda::OPERATING_SYSTEM)?;
        let tables = Mutex::new(Tables::default());
        DRIVER.set(Driver { client, tables }).expect("the guard lets one thread through");
        ffi::on_fork_in_child(forked);
    }
    Ok(())
}

extern "C" fn forked() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Runs a body in which the default stream is the thread's own.
pub(crate) fn with_own_default_stream<T>(body: impl FnOnce() -> T) -> T {
    let before = OWN_DEFAULT_STREAM.replace(true);
    let result = body();
    OWN_DEFAULT_STREAM.set(before);
    result
}

/// Whether the default stream is the thread's own in this call.
pub(crate) fn has_own_default_stream() -> bool {
    OWN_DEFAULT_STREAM.get()
}

impl From<Refused> for Code {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoRoom => cuda::OUT_OF_MEMORY,
            Refused::Lost => cuda::DEVICE_UNAVAILABLE,
            Refused::Full => cuda::OPERATING_SYSTEM,
        }
    }
}
