//! Adapters by name: known by their folders, in memory while they are used.
//!
//! ```text
//! on disk ──asked for──▶ coming ──loaded──▶ here ──others need the room──▶ on disk
//!    ▲                      │                 │
//!    └──────failed──────────┘                 └──replaced──▶ here, as another generation
//! ```
//! Loader threads read in parallel, so that a slow folder keeps nobody else waiting. A request holds
//! the adapter that it was given: one that is replaced or put out meanwhile still answers it, whole.
//! A loader that has nothing to do reads what is expected to be asked for (`foresight`), into room
//! that nobody needs (`shelf`).

mod error;
mod foresight;
mod load;
mod lru;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cotenant_transformer::{Adapter, EncoderConfig};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::meters::Meters;
pub use error::AdapterError;
use lru::Brought;
pub use lru::Keep;
pub(super) use shelf::Ahead;
use shelf::Shelf;

/// Most adapters that are known at a time.
const ADAPTERS_MAX: usize = 100_000;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 96;
/// How often a loader thread that has nothing to do looks for what is expected.
const LOOK: Duration = Duration::from_secs(1);
/// How long a request waits for an adapter to come from a disk.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Where an adapter comes from, and how its tenant's texts are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterSource {
    /// Its name. What stands before the first slash is the tenant whose it is.
    pub name: String,
    /// Its folder, as PEFT writes it.
    pub folder: PathBuf,
    /// Whether it stays in memory once it is there.
    pub keep: Keep,
    /// Written in front of queries and documents; `None` for what the model's folder says.
    pub prefixes: Option<Prefixes>,
    /// Most tokens of a text; `None` for what the model takes.
    pub tokens_max: Option<usize>,
}

/// What is written in front of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// In front of a query.
    pub query: String,
    /// In front of a document.
    pub document: String,
}

/// An adapter in memory.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) source: Arc<AdapterSource>,
    /// No two adapters of a process have the same.
    pub(super) generation: u64,
    pub(super) adapter: Adapter,
    /// A hash of its values, in hexadecimal.
    pub(super) digest: String,
}

impl Loaded {
    pub(super) fn bytes(&self) -> u64 {
        4 * self.adapter.values.len() as u64
    }

    fn makes(&self) -> Makes {
        match self.adapter.layout.head() {
            None => Makes::Embeddings,
            Some(_) => Makes::Scores,
        }
    }
}

/// What comes out of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makes {
    /// Embeddings of texts.
    Embeddings,
    /// Scores of pairs of texts: it is a reranker.
    Scores,
}

/// Whether an adapter may take the place of one of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    FreeOrTaken,
}

/// What adapters may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdapterLimits {
    pub(super) bytes_max: u64,
    pub(super) threads: usize,
}

/// How much of them is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) known: usize,
    pub(super) loaded: usize,
    pub(super) bytes: u64,
    /// What became of those that were loaded before anybody asked.
    pub(super) ahead: Ahead,
}

/// All adapters of a server.
pub(super) struct Adapters {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    config: EncoderConfig,
    bytes_max: u64,
    meters: Arc<Meters>,
    /// The origin of the shelf's time.
    begun: Instant,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    entries: BTreeMap<Arc<str>, Entry>,
    shelf: Shelf,
    errands: VecDeque<Errand>,
    next_generation: u64,
    is_ended: bool,
}

struct Entry {
    source: Arc<AdapterSource>,
    /// Another one for each time that its files are read: they may have been replaced meanwhile.
    generation: u64,
    stage: Stage,
    /// What came out of it when it was read last; nobody knows before.
    makes: Option<Makes>,
}

enum Stage {
    OnDisk,
    Coming(Vec<Waiter>),
    Here(Arc<Loaded>),
}

type Answer = Result<Arc<Loaded>, AdapterError>;
type Waiter = oneshot::Sender<Answer>;

/// What a loader thread is to do.
struct Errand {
    source: Arc<AdapterSource>,
    generation: u64,
    why: Why,
}

enum Why {
    /// Somebody asked for an adapter that is known.
    Asked,
    /// Somebody is expected to.
    Expected,
    /// It is to be known, if it can be loaded.
    Brought { place: Place, reply: Waiter },
}

impl Adapters {
    /// Starts the loader threads.
    pub(super) fn start(
        config: EncoderConfig,
        limits: AdapterLimits,
        meters: Arc<Meters>,
    ) -> std::io::Result<Self> {
        let state = State {
            entries: BTreeMap::new(),
            shelf: Shelf::new(limits.bytes_max),
            errands: VecDeque::new(),
            next_generation: 1,
            is_ended: false,
        };
        let (state, wake, begun) = (Mutex::new(state), Condvar::new(), Instant::now());
        let shared = Shared { config, bytes_max: limits.bytes_max, meters, begun, state, wake };
        let shared = Arc::new(shared);
        let adapters = Self { shared: shared.clone(), threads: Mutex::default() };
        for _ in 0..limits.threads {
            let shared = shared.clone();
            let thread = thread::Builder::new().name("loader".to_owned());
            let thread = thread.spawn(move || shared.run_errands())?;
            adapters.threads.lock().expect("no thread panicked").push(thread);
        }
        Ok(adapters)
    }

    /// Makes an adapter known; its files are read when somebody asks for it.
    pub(super) fn register(&self, source: AdapterSource) -> Result<(), AdapterError> {
        check_name(&source.name)?;
        let mut state = self.shared.lock();
        state.check_place(&source.name, Place::Free)?;
        let generation = state.new_generation();
        let name: Arc<str> = source.name.as_str().into();
        let (source, stage) = (Arc::new(source), Stage::OnDisk);
        let entry = Entry { source, generation, stage, makes: None };
        state.entries.insert(name, entry);
        Ok(())
    }

    /// The names of all that are known, and what comes out of each, as far as it was read before.
    pub(super) fn names(&self) -> Vec<(Arc<str>, Option<Makes>)> {
        let state = self.shared.lock();
        state.entries.iter().map(|(name, entry)| (name.clone(), entry.makes)).collect()
    }

    /// Whether one is known.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.shared.lock().entries.contains_key(name)
    }

    pub(super) fn held(&self) -> Held {
        let state = self.shared.lock();
        let (known, loaded) = (state.entries.len(), state.shelf.len());
        Held { known, loaded, bytes: state.shelf.bytes(), ahead: state.shelf.ahead() }
    }

    /// An adapter, from memory or, after a moment, from disk.
    pub(super) async fn get(&self, name: &str) -> Answer {
        let coming = match self.shared.ask(name) {
            Ok(answer) => return answer,
            Err(coming) => coming,
        };
        arrival(name, coming, WAIT_MAX).await
    }

    /// Loads an adapter and then makes it known; what cannot be loaded changes nothing.
    pub(super) async fn bring(&self, source: AdapterSource, place: Place) -> Answer {
        check_name(&source.name)?;
        let (name, (reply, answer)) = (source.name.clone(), oneshot::channel());
        {
            let mut state = self.shared.lock();
            state.check_place(&source.name, place)?;
            let generation = state.new_generation();
            let why = Why::Brought { place, reply };
            state.errands.push_back(Errand { source: Arc::new(source), generation, why });
        }
        self.shared.wake.notify_one();
        arrival(&name, answer, WAIT_MAX).await
    }

    /// Forgets an adapter; requests that have it are still answered.
    pub(super) fn unload(&self, name: &str) -> Result<(), AdapterError> {
        let mut state = self.shared.lock();
        let Some(entry) = state.entries.remove(name) else {
            return Err(AdapterError::Unknown { name: name.to_owned() });
        };
        state.shelf.remove(name);
        drop(state);
        if let Stage::Coming(waiters) = entry.stage {
            tell(waiters, &Err(AdapterError::Unknown { name: name.to_owned() }));
        }
        Ok(())
    }

    /// Ends the loader threads once they have done what they are at.
    pub(super) fn end(&self) {
        self.shared.lock().is_ended = true;
        self.shared.wake.notify_all();
        for thread in self.threads.lock().expect("no thread panicked").drain(..) {
            // A loader that panicked has nothing left to do either.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked")
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// What is known at once, or where it will be told.
    fn ask(&self, name: &str) -> Result<Answer, oneshot::Receiver<Answer>> {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(entry) = state.entries.get_mut(name) else {
            return Ok(Err(AdapterError::Unknown { name: name.to_owned() }));
        };
        state.shelf.on_asked(name, self.now_ms());
        let (waiter, coming) = oneshot::channel();
        match &mut entry.stage {
            Stage::Here(loaded) => return Ok(Ok(loaded.clone())),
            Stage::Coming(waiters) => waiters.push(waiter),
            Stage::OnDisk => {
                let errand = entry.send_for(&mut state.next_generation, Why::Asked);
                entry.stage = Stage::Coming(vec![waiter]);
                state.errands.push_back(errand);
                self.wake.notify_one();
            }
        }
        Err(coming)
    }

    /// What the next loader thread is to do; `None` at the end.
    fn next_errand(&self) -> Option<Errand> {
        let mut state = self.lock();
        loop {
            if state.is_ended {
                return None;
            }
            if let Some(errand) = state.errands.pop_front() {
                return Some(errand);
            }
            if let Some(errand) = state.expected(self.now_ms()) {
                return Some(errand);
            }
            state = self.wake.wait_timeout(state, LOOK).expect("no thread panicked").0;
        }
    }

    /// A loader thread.
    fn run_errands(&self) {
        while let Some(errand) = self.next_errand() {
            let begun = Instant::now();
            let generation = errand.generation;
            let source = errand.source.clone();
            let loaded = unless_broken(&errand.source.name, || {
                load::load(source, generation, (&self.config, self.bytes_max))
            });
            match &loaded {
                Ok(_) => self.meters.on_load(begun.elapsed()),
                Err(_) => self.meters.on_load_failed(),
            }
            self.finish(errand, loaded.map(Arc::new));
        }
    }

    fn finish(&self, errand: Errand, loaded: Answer) {
        let name: Arc<str> = errand.source.name.as_str().into();
        let makes = loaded.as_ref().ok().map(|loaded| loaded.makes());
        let mut state = self.lock();
        let (waiters, answer) = match errand.why {
            Why::Asked | Why::Expected => {
                let entry = state.entries.get_mut(&name);
                let Some(entry) = entry.filter(|it| it.generation == errand.generation) else {
                    // It was unloaded or replaced meanwhile, and who waited was told so.
                    return;
                };
                entry.makes = makes.or(entry.makes);
                let stage = std::mem::replace(&mut entry.stage, Stage::OnDisk);
                let Stage::Coming(waiters) = stage else { return };
                if waiters.is_empty() {
                    // Nobody asked meanwhile, so it comes only where nobody goes for it.
                    if let Ok(loaded) = loaded {
                        state.hold_ahead(&name, loaded, (self.now_ms(), &self.meters));
                    }
                    return;
                }
                (waiters, loaded.and_then(|loaded| state.hold(&name, loaded, &self.meters)))
            }
            Why::Brought { place, reply } => {
                let checked = state.check_place(&name, place);
                let held = checked.and(loaded);
                let held = held.and_then(|loaded| state.hold(&name, loaded, &self.meters));
                let before = held.as_ref().ok().and_then(|loaded| {
                    let (source, generation) = (errand.source, errand.generation);
                    let stage = Stage::Here(loaded.clone());
                    let entry = Entry { source, generation, stage, makes };
                    state.entries.insert(name.clone(), entry)
                });
                let mut waiters = vec![reply];
                if let Some(Entry { stage: Stage::Coming(more), .. }) = before {
                    waiters.extend(more);
                }
                (waiters, held)
            }
        };
        drop(state);
        tell(waiters, &answer);
    }
}

impl State {
    fn new_generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation - 1
    }

    fn check_place(&self, name: &str, place: Place) -> Result<(), AdapterError> {
        let is_taken = self.entries.contains_key(name);
        if is_taken && place == Place::Free {
            return Err(AdapterError::Taken { name: name.to_owned() });
        }
        match !is_taken && self.entries.len() >= ADAPTERS_MAX {
            true => Err(AdapterError::TooMany { max: ADAPTERS_MAX }),
            false => Ok(()),
        }
    }

    /// Keeps an adapter in memory, and puts others out for it.
    fn hold(&mut self, name: &Arc<str>, loaded: Arc<Loaded>, meters: &Meters) -> Answer {
        match self.shelf.bring(name, loaded.bytes(), loaded.source.keep) {
            Brought::NoRoom => Err(AdapterError::NoRoom { name: name.to_string() }),
            Brought::Held(gone) => {
                meters.on_evicted(gone.len() as u64);
                self.put(name, &loaded, gone);
                Ok(loaded)
            }
        }
    }

    /// Keeps an adapter that nobody asked for yet, where there is room that nobody needs.
    fn hold_ahead(
        &mut self,
        name: &Arc<str>,
        loaded: Arc<Loaded>,
        (now_ms, meters): (u64, &Meters),
    ) {
        let size = (loaded.bytes(), loaded.source.keep);
        let entries = &self.entries;
        let is_held = |name: &str| is_held(entries, name);
        if let Some(gone) = self.shelf.bring_ahead(name, size, (now_ms, is_held)) {
            meters.on_evicted(gone.len() as u64);
            self.put(name, &loaded, gone);
        }
    }

    fn put(&mut self, name: &Arc<str>, loaded: &Arc<Loaded>, gone: Vec<Arc<str>>) {
        for gone in gone {
            if let Some(entry) = self.entries.get_mut(&gone) {
                entry.stage = Stage::OnDisk;
            }
        }
        if let Some(entry) = self.entries.get_mut(name)
            && entry.generation == loaded.generation
        {
            entry.stage = Stage::Here(loaded.clone());
        }
    }

    /// Sends for an adapter that is expected to be asked for, if there is room for it.
    fn expected(&mut self, now_ms: u64) -> Option<Errand> {
        let entries = &self.entries;
        let name = self.shelf.next_expected(now_ms, |name| is_held(entries, name))?;
        let entry = self.entries.get_mut(&name)?;
        match entry.stage {
            Stage::OnDisk => {
                let errand = entry.send_for(&mut self.next_generation, Why::Expected);
                entry.stage = Stage::Coming(Vec::new());
                Some(errand)
            }
            Stage::Coming(_) | Stage::Here(_) => None,
        }
    }
}

impl Entry {
    /// What a loader is to do for it, as a generation of its own.
    fn send_for(&mut self, next_generation: &mut u64, why: Why) -> Errand {
        self.generation = *next_generation;
        *next_generation += 1;
        Errand { source: self.source.clone(), generation: self.generation, why }
    }
}

/// Whether a request holds an adapter.
fn is_held(entries: &BTreeMap<Arc<str>, Entry>, name: &str) -> bool {
    match entries.get(name).map(|entry| &entry.stage) {
        Some(Stage::Here(loaded)) => Arc::strong_count(loaded) > 1,
        Some(Stage::OnDisk | Stage::Coming(_)) | None => false,
    }
}

/// What is told of an adapter that is on its way, within a time.
async fn arrival(name: &str, coming: oneshot::Receiver<Answer>, wait_max: Duration) -> Answer {
    match timeout(wait_max, coming).await {
        Ok(told) => told.unwrap_or(Err(AdapterError::Ending)),
        Err(_) => Err(AdapterError::Slow { name: name.to_owned(), seconds: wait_max.as_secs() }),
    }
}

/// What reading an adapter gives, where a panic ends that reading alone and not its thread.
fn unless_broken(
    name: &str,
    read: impl FnOnce() -> Result<Loaded, AdapterError>,
) -> Result<Loaded, AdapterError> {
    let broken = |_| Err(AdapterError::Broken { name: name.to_owned() });
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(broken)
}

fn tell(waiters: Vec<Waiter>, answer: &Answer) {
    for waiter in waiters {
        // Who went away wants no answer.
        let _ = waiter.send(answer.clone());
    }
}

fn check_name(name: &str) -> Result<(), AdapterError> {
    let is_fine = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.split('/').all(|part| !part.is_empty())
        && !name.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    match is_fine {
        true => Ok(()),
        false => Err(AdapterError::Name { name: name.to_owned(), bytes_max: NAME_BYTES_MAX }),
    }
}
