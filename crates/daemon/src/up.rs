//! Puts a pool together, and keeps it up until it is told to end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use cotenant_device::{
    CardSettings, CardsSpec, DiscoverError, Inventory, Terms, discover, preload_library,
};
use cotenant_sched::{Event, Job, Placing, PoolPolicy, Run};
use cotenant_types::limits::OnFailure;
use cotenant_types::{Card, NodeName, Quota, Seconds};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::executor::{Errand, Executor, Holders, Intercepted, LocalExecutor, Partitioned, Served};
use crate::http::{self, EventCounts, MetricNames, OPERATOR, Shared, is_open_to_others};
use crate::keeper::{Keeper, Message, now};
use crate::live::Live;
use crate::meter::Metering;
use crate::prune::Pruning;
use crate::store::{Reader, Store, StoreError};

/// What a pool is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub folder: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Which cards it has.
    pub cards: CardsSpec,
    /// Whether it may change settings of cards: compute modes, and partitions of MIG.
    pub card_settings: CardSettings,
    /// How it chooses among cards that have room.
    pub policy: PoolPolicy,
    /// How long the folders of runs are kept after their job's end.
    pub keep_runs: Seconds,
    /// What becomes of a program that the preload library is to hold and cannot.
    pub unheld: OnFailure,
    /// Under whose names `/metrics` shows its figures, besides its own.
    pub metric_names: Vec<MetricNames>,
}

/// Why a pool is not up.
#[derive(Debug, Error)]
pub enum UpError {
    /// The folder cannot be used.
    #[error("use the folder {folder}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error(
        "take the folder {0}: another daemon keeps its pool there\nhint: end it with: cotenant down"
    )]
    Taken(PathBuf),
    /// The store cannot be used.
    #[error("open the pool's store")]
    Store(#[from] StoreError),
    /// There are no such cards.
    #[error("find the pool's cards")]
    Cards(#[from] DiscoverError),
    /// The address cannot be used.
    #[error("listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Everybody could reach it, and it knows nobody.
    #[error(
        "listen on {0}: other machines can reach it, and the pool has no operator token\nhint: start \
         it on 127.0.0.1 first and run: cotenant tenant token operator"
    )]
    NoTokens(SocketAddr),
    /// The machine gives no thread or timer.
    #[error("start a thread")]
    Thread(#[source] io::Error),
}

/// A pool that is up.
pub struct Pool {
    /// Its address, such as `http://127.0.0.1:7777`.
    pub address: String,
    /// What people should know of its cards.
    pub notes: Vec<String>,
    ending: watch::Sender<bool>,
    server: thread::JoinHandle<io::Result<()>>,
    inbox: Sender<Message>,
    keeper: thread::JoinHandle<()>,
    meter: thread::JoinHandle<()>,
    tender: thread::JoinHandle<()>,
    pruner: thread::JoinHandle<()>,
    _lock: File,
}

/// How to end a pool from a signal handler.
#[derive(Clone)]
pub struct End(watch::Sender<bool>);

impl End {
    /// Ends the daemon; jobs go on.
    pub fn end(&self) {
        self.0.send_replace(true);
    }
}

impl Pool {
    /// What ends it.
    pub fn end(&self) -> End {
        End(self.ending.clone())
    }

    /// Waits until somebody ended it, and everything is written down.
    pub fn wait(self) -> io::Result<()> {
        let served = self.server.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        // Threads that are gone need not be told.
        let _ = self.inbox.send(Message::End);
        let _ = self.keeper.join();
        for thread in [self.meter, self.tender, self.pruner] {
            thread.thread().unpark();
            let _ = thread.join();
        }
        served
    }
}

/// Starts a pool: opens its store, finds its cards, takes over what still runs, listens.
pub fn up(config: &Config) -> Result<Pool, UpError> {
    let lock = lock(config)?;
    let store = Store::open(&config.folder.join("pool.db"))?;
    let state = store.load()?;
    let reader = || Reader::new(&config.folder.join("pool.db"));
    let is_open = is_open_to_others(config.listen.ip());
    if is_open && !reader().has_token(OPERATOR).unwrap_or(false) {
        return Err(UpError::NoTokens(config.listen));
    }
    let partitioned =
        Partitioned::open(config.folder.join("partitions.toml"), config.card_settings);
    let Inventory { cards, notes } = find_cards(config, &partitioned)?;
    let listener = std::net::TcpListener::bind(config.listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| UpError::Listen { address: config.listen, source })?;
    let address = format!("http://{}", listener.local_addr().unwrap_or(config.listen));
    let (inbox, messages) = mpsc::channel();
    let (errands, to_do) = mpsc::channel();
    let runs = config.folder.join("runs");
    let known: BTreeMap<_, _> = cards.iter().map(|card| (card.id.clone(), card.clone())).collect();
    let teller = inbox.clone();
    let tell = Box::new(move |event| drop(teller.send(Message::Event(event, None))));
    let holders = holders(config, partitioned);
    let mut executor = LocalExecutor::new(
        (runs.clone(), address.clone()),
        (Arc::new(Mutex::new(known)), holders.clone()),
        tell,
    );
    let held: Vec<Run> = state.jobs().flat_map(Job::runs).collect();
    let alive = executor.adopt(&held);
    greet(&inbox, &state, (&cards, &alive));
    spawn("executor", move || carry_out(executor, &to_do))?;
    let live = Arc::new(Live::new(store.last_seq()));
    let ending = watch::Sender::new(false);
    let metering = Metering {
        cards,
        reader: reader(),
        runs: runs.clone(),
        holders: holders.clone(),
        live: live.clone(),
        inbox: inbox.clone(),
        ending: ending.subscribe(),
    };
    let meter = spawn("meter", move || metering.run())?;
    let tended = ending.subscribe();
    let tender = spawn("tender", move || tend(&holders.intercepted, &tended))?;
    let (keep, pruned) = (config.keep_runs, runs.clone());
    let pruning = Pruning { runs: pruned, reader: reader(), keep, ending: ending.subscribe() };
    let pruner = spawn("pruner", move || pruning.run())?;
    let shared = Shared::new(http::Inner {
        inbox: inbox.clone(),
        reader: reader(),
        live: live.clone(),
        runs,
        started_ms: now().0,
        ending: ending.clone(),
        is_open,
        policy: config.policy,
        metric_names: config.metric_names.clone(),
        event_counts: EventCounts::default(),
    });
    let keeper = Keeper::new((state, store, Placing::new(config.policy)), live, errands);
    let keeper = spawn("keeper", move || keeper.run(&messages))?;
    wait_for_greeting(&inbox);
    let server = serve(listener, shared, ending.subscribe())?;
    fs::write(config.folder.join("address"), &address)
        .map_err(|source| UpError::Folder { folder: config.folder.clone(), source })?;
    Ok(Pool { address, notes, ending, server, inbox, keeper, meter, tender, pruner, _lock: lock })
}

/// What holds members to their slices.
fn holders(config: &Config, partitioned: Partitioned) -> Holders {
    let library = preload_library().map_err(|error| format!("failed to {error}"));
    Holders {
        served: Served::open(&config.folder.join("mps"), config.card_settings),
        intercepted: Intercepted::open(library, config.unheld),
        partitioned,
    }
}

/// The cards, those in MIG mode by what may be planned with on them.
fn find_cards(config: &Config, partitioned: &Partitioned) -> Result<Inventory, DiscoverError> {
    let (partitions, note) = match partitioned.ours() {
        Ok(ours) => (ours, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let terms = Terms { settings: config.card_settings, partitions };
    let mut found = discover(&config.cards, &terms)?;
    found.notes.extend(note);
    Ok(found)
}

/// The folder, and the right to be the only one in it.
fn lock(config: &Config) -> Result<File, UpError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let failed = |source| UpError::Folder { folder: config.folder.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.folder).map_err(failed)?;
    let path = config.folder.join("daemon.lock");
    let file = File::options().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(UpError::Taken(config.folder.clone())),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Tells the loop of the machine that it finds itself on.
fn greet(
    inbox: &Sender<Message>,
    state: &cotenant_sched::State,
    (cards, alive): (&[Card], &[Run]),
) {
    let mut events = Vec::new();
    let default = "default".parse().expect("it is a good name");
    if !state.tenants().contains_key(&default) {
        events.push(Event::TenantSet { tenant: default, quota: Quota::default() });
    }
    let mut nodes: BTreeMap<NodeName, Vec<Card>> = BTreeMap::new();
    for record in state.cards() {
        nodes.entry(record.card.node.clone()).or_default();
    }
    for card in cards {
        nodes.entry(card.node.clone()).or_default().push(card.clone());
    }
    let mut runs: BTreeMap<NodeName, Vec<_>> = BTreeMap::new();
    for run in alive {
        runs.entry(run.node.clone()).or_default().push((run.job, run.generation));
    }
    for (node, cards) in nodes {
        events.push(Event::CardsReported { node: node.clone(), cards });
        let runs = runs.remove(&node).unwrap_or_default();
        events.push(Event::RunsReported { node, runs });
    }
    for event in events {
        inbox.send(Message::Event(event, None)).expect("the loop has not begun, so not ended");
    }
}

/// Waits until what the loop was told of the machine is taken in: who asks finds its cards there.
fn wait_for_greeting(inbox: &Sender<Message>) {
    let (reply, taken_in) = oneshot::channel();
    if inbox.send(Message::Event(Event::Ticked, Some(reply))).is_ok() {
        // Where it cannot be written down now, it is taken in as soon as it can.
        let _ = taken_in.blocking_recv();
    }
}

/// Tells members that share cards of each other until the daemon ends.
fn tend(intercepted: &Intercepted, ending: &watch::Receiver<bool>) {
    while !*ending.borrow() {
        thread::park_timeout(intercepted.tend());
    }
}

fn carry_out(mut executor: impl Executor, to_do: &Receiver<Errand>) {
    for errand in to_do {
        executor.carry_out(errand);
    }
}

fn serve(
    listener: std::net::TcpListener,
    shared: Shared,
    mut ending: watch::Receiver<bool>,
) -> Result<thread::JoinHandle<io::Result<()>>, UpError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(UpError::Thread)?;
    spawn("server", move || {
        let served = runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let ended = async move {
                // Without anybody who could end it, it has ended.
                let _ = ending.wait_for(|is_ending| *is_ending).await;
            };
            http::serve(listener, shared, ended).await
        });
        runtime.shutdown_background();
        served
    })
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, UpError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(UpError::Thread)
}
