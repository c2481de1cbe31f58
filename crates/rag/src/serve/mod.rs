//! One server for the adapters of all tenants: texts in, embeddings out, in one packed forward.
//!
//! ```text
//! HTTP ──texts──▶ tokenizer ──ids──▶ fair queue ──batches──▶ encoder threads ──vectors──▶ HTTP
//!                     adapters: folders ──loader threads──▶ memory, the unused ones out
//! ```
//! Begin with [`Server::start`]. What is decided is pure: whose turn it is (`fair`) and what stays
//! in memory (`adapters::lru`); clocks, threads and sockets are around it.
//!
//! # Invariants
//! - A text's embedding depends on the text and its adapter alone, whoever else is in the batch.
//! - A request is answered by one generation of its adapter, as a whole.
//! - With tokens, a tenant is told of no adapter and no figure but its own.
//! - Everything that waits has a bound: texts in tokens, adapters in bytes, requests in number, their
//!   bodies and answers in bytes.

mod access;
mod adapters;
mod documents;
mod engine;
mod error;
mod experiments;
mod fair;
mod http;
mod meters;
mod model;
mod sources;
mod tuning;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cotenant_transformer::Precision;
use tokio::sync::{Semaphore, watch};

pub use adapters::{AdapterError, AdapterSource, Keep, Prefixes};
pub use error::ServeError;
pub use experiments::ExperimentError;
#[cfg(feature = "fuzzing")]
pub use experiments::read_experiment;
pub use http::openapi;
#[cfg(feature = "fuzzing")]
pub use http::read_request;
pub use sources::{below, of_run};

use crate::workspace::PrecisionChoice;
use access::Access;
use adapters::{AdapterLimits, Adapters};
use documents::Documents;
use engine::{Engine, EngineLimits};
use experiments::Experiments;
use http::{BASE, BODIES_KIB_MAX, Inner, REQUESTS_MAX, Room, Shared, Waits};
use meters::Meters;
use model::Model;

/// Threads that read adapters from disk.
const LOADER_THREADS: usize = 4;
/// Threads that speak HTTP.
const HTTP_THREADS: usize = 2;
/// Threads that tokenise, or wait for a disk.
const BLOCKING_THREADS: usize = 32;

/// What is served, and where.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The base model's folder.
    pub model: PathBuf,
    /// What clients call it.
    pub model_name: String,
    /// Arithmetic of the matrix products.
    pub precision: ServePrecision,
    /// Adapters that are known from the start.
    pub adapters: Vec<AdapterSource>,
    /// Where tenants' documents are; without one there are no documents.
    pub index: Option<PathBuf>,
    /// Where the state of online experiments is; without it there are none.
    pub experiments: Option<PathBuf>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// A file of tokens, `tenant = "token"` a line; without one whoever is on this machine may ask.
    pub tokens: Option<PathBuf>,
    /// How much it may use.
    pub limits: ServeLimits,
}

/// Arithmetic of a server's matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServePrecision {
    /// One that adapters can be trained in.
    Trainable(PrecisionChoice),
    /// Products of 8-bit whole numbers, which serve for embedding alone.
    Int8,
}

impl ServePrecision {
    fn precision(self) -> Precision {
        match self {
            Self::Trainable(choice) => choice.precision(),
            Self::Int8 => Precision::Int8,
        }
    }
}

/// How much a server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Threads that compute; `None` is one a core.
    pub threads: Option<usize>,
    /// Tokens of one forward of one thread; a longer text goes alone.
    pub batch_tokens: usize,
    /// Tokens that may wait.
    pub queue_tokens: u64,
    /// Memory of adapters, in bytes.
    pub adapter_bytes_max: u64,
    /// Longest time that a client takes to send a body, or to take more of an answer.
    pub client_wait: Duration,
    /// Longest time for requests that are under way once the server is told to end.
    pub end_wait: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            threads: None,
            batch_tokens: 256,
            queue_tokens: 1 << 19,
            adapter_bytes_max: 1 << 30,
            client_wait: Duration::from_secs(30),
            end_wait: Duration::from_secs(30),
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it answers, such as `http://127.0.0.1:8080`.
    pub address: String,
    ending: watch::Sender<bool>,
    thread: JoinHandle<std::io::Result<()>>,
}

/// What ends a server.
#[derive(Clone, Debug)]
pub struct End(watch::Sender<bool>);

impl End {
    /// Takes no more requests, and lets those under way be answered.
    pub fn end(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Loads the base model, makes the adapters known, and listens.
    pub fn start(config: &ServeConfig) -> Result<Self, ServeError> {
        let access = match &config.tokens {
            Some(file) => Access::read(file)?,
            None => Access::default(),
        };
        if access.is_open() && !config.listen.ip().is_loopback() {
            return Err(ServeError::NoTokens(config.listen));
        }
        let listening = |source| ServeError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let shared = shared(config, access)?;
        let ending = watch::Sender::new(false);
        let told = ending.subscribe();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(HTTP_THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("http")
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("server".to_owned());
        let thread = thread.spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                http::serve(listener, shared.clone(), told).await;
                Ok(())
            });
            // Requests that took longer than others wait for them go first, so that nothing is
            // computed for them any more.
            runtime.shutdown_background();
            shared.engine.end();
            shared.adapters.end();
            served
        })?;
        Ok(Self { address: format!("http://{address}"), ending, thread })
    }

    /// What ends it.
    pub fn end(&self) -> End {
        End(self.ending.clone())
    }

    /// Waits until it was ended and everything under way is answered.
    pub fn wait(self) -> Result<(), ServeError> {
        let broken = || std::io::Error::other("the server's thread panicked");
        Ok(self.thread.join().map_err(|_| broken())??)
    }
}

fn shared(config: &ServeConfig, access: Access) -> Result<Shared, ServeError> {
    let model =
        Arc::new(Model::open(&config.model, &config.model_name, config.precision.precision())?);
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = config.limits.threads.unwrap_or(cores).max(1);
    let meters = Arc::new(Meters::new());
    let limits =
        AdapterLimits { bytes_max: config.limits.adapter_bytes_max, threads: LOADER_THREADS };
    let adapters = Adapters::start(model.folder.config().clone(), limits, meters.clone())?;
    for source in &config.adapters {
        if source.name == BASE || source.name == model.name {
            return Err(AdapterError::OfBase { name: source.name.clone() }.into());
        }
        adapters.register(source.clone())?;
    }
    let (batch_tokens, queue_tokens) = (config.limits.batch_tokens, config.limits.queue_tokens);
    let limits = EngineLimits { threads, batch_tokens, queue_tokens };
    let engine = Engine::start(model.clone(), meters.clone(), limits)?;
    let documents = config.index.as_deref().map(Documents::open).transpose()?.map(Arc::new);
    let experiments = config.experiments.as_deref();
    let experiments = experiments.map(|folder| Experiments::open(folder, meters.clone()));
    let experiments = experiments.transpose()?.map(Arc::new);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Shared::new(Inner {
        model,
        engine,
        adapters,
        meters,
        access,
        documents,
        experiments,
        tokenizing: Arc::new(Semaphore::new(threads)),
        bodies: Room::new(BODIES_KIB_MAX),
        batch_tokens,
        started_s: since.as_secs(),
        requests: Room::new(REQUESTS_MAX),
        waits: Waits { client: config.limits.client_wait, end: config.limits.end_wait },
    }))
}
