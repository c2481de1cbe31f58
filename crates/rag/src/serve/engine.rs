//! From token ids of many tenants to their embeddings: one packed forward after the other.
//!
//! ```text
//! requests ──▶ FairQueue ──batch──▶ named threads: sort by adapter, one forward ──▶ replies
//! ```
//! A request's texts may be computed in several batches, by several threads; the last one replies.
//! Who went away, or whose deadline has passed, is left out before the forward.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cotenant_transformer::{Adapter, Cpu, Forward, Packed, Scratch, Start, TextIds};
use tokio::sync::oneshot;

use super::adapters::Loaded;
use super::fair::{Budget, FairQueue, Full, Item};
use super::meters::{BatchSize, Meters};
use super::model::Model;

/// How much of the last batch the estimate of the speed takes over, as one part in so many.
const SPEED_MEMORY: f64 = 16.0;
/// How long a batch of the tenant with most texts should take while others come too.
const CROWDED_BATCH: Duration = Duration::from_millis(2);
/// Tokens of such a batch at least: with fewer, reading the model's weights costs more than using
/// them.
const CROWDED_TOKENS_MIN: u64 = 32;
/// Seconds that the texts which wait need, from which on an engine counts as fully loaded.
const LOADED_WAIT_S: f64 = 0.25;
/// Longest time after which to try again, in seconds.
const RETRY_S_MAX: u64 = 60;

/// What an engine may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineLimits {
    /// Threads that compute.
    pub(super) threads: usize,
    /// Tokens of one forward; a longer text goes alone.
    pub(super) batch_tokens: usize,
    /// Tokens that may wait.
    pub(super) queue_tokens: u64,
}

/// Texts of one tenant under one adapter.
pub(super) struct Ask {
    /// Whose turn it is.
    pub(super) tenant: Arc<str>,
    /// `None` is the bare base model.
    pub(super) adapter: Option<Arc<Loaded>>,
    /// Each text, or query and text for an adapter with a head; none is empty.
    pub(super) texts: Vec<TextIds>,
    /// After this nobody waits for the answer.
    pub(super) deadline: Instant,
}

/// What came out of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Embedded {
    /// `[texts, width]`, not scaled: embeddings, or what the adapter's head reads.
    pub(super) values: Vec<f32>,
    /// From the question to the first batch that had a text of it.
    pub(super) waited: Duration,
}

/// Why texts are not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many wait.
    Busy {
        /// When there should be room again.
        retry_s: u64,
    },
    /// They would never fit.
    TooLarge {
        /// Tokens that would.
        tokens_max: u64,
    },
    /// The server ends.
    Ending,
}

/// Why texts that were taken in have no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotServed {
    /// Their deadline passed.
    Late,
    /// The forward panicked on them, or on others of their adapter beside them.
    Broken,
}

type Answer = Result<Embedded, NotServed>;

/// Threads that compute embeddings.
pub(super) struct Engine {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    model: Arc<Model>,
    meters: Arc<Meters>,
    limits: EngineLimits,
    /// The origin of the queue's time.
    begun: Instant,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    queue: FairQueue<Text>,
    /// Tokens a second of one thread; 0 before the first batch.
    speed: f64,
    is_ended: bool,
}

/// A text that waits.
struct Text {
    request: Arc<Request>,
    /// Which one of the request.
    at: usize,
    tokens: TextIds,
}

struct Request {
    tenant: Arc<str>,
    adapter: Option<Arc<Loaded>>,
    asked: Instant,
    progress: Mutex<Progress>,
}

struct Progress {
    embedded: Embedded,
    /// Texts without a row.
    left: usize,
    is_begun: bool,
    /// Gone once it has the answer.
    reply: Option<oneshot::Sender<Answer>>,
}

impl Engine {
    /// Starts the threads.
    pub(super) fn start(
        model: Arc<Model>,
        meters: Arc<Meters>,
        limits: EngineLimits,
    ) -> std::io::Result<Self> {
        let queue = FairQueue::new(limits.queue_tokens);
        let state = Mutex::new(State { queue, speed: 0.0, is_ended: false });
        let (begun, wake) = (Instant::now(), Condvar::new());
        let shared = Arc::new(Shared { model, meters, limits, begun, state, wake });
        let engine = Self { shared: shared.clone(), threads: Mutex::default() };
        for at in 0..limits.threads {
            let shared = shared.clone();
            let thread = thread::Builder::new().name(format!("encoder-{at}"));
            let thread = thread.spawn(move || shared.run())?;
            engine.threads.lock().expect("no thread panicked").push(thread);
        }
        Ok(engine)
    }

    /// Tokens that wait.
    pub(super) fn waiting_tokens(&self) -> u64 {
        self.shared.lock().queue.tokens()
    }

    /// How loaded it is, from 0 to 1: the seconds that the texts which wait need at the speed of the
    /// last batches, as a part of a quarter of a second.
    pub(super) fn load(&self) -> f64 {
        let state = self.shared.lock();
        load(state.queue.tokens(), state.speed * self.shared.limits.threads as f64)
    }

    /// Whether so many tokens would be taken in, before anything is spent on them.
    pub(super) fn check(&self, tenant: &str, tokens: u64) -> Result<(), Refused> {
        let state = self.shared.lock();
        state.queue.check(tenant, tokens).map_err(|full| self.refused(full, &state))
    }

    /// Takes texts in; where the receiver is dropped, what is left of them is not computed.
    pub(super) fn embed(&self, ask: Ask) -> Result<oneshot::Receiver<Answer>, Refused> {
        let (reply, answer) = oneshot::channel();
        let (count, width) = (ask.texts.len(), self.shared.model.width());
        let embedded = Embedded { values: vec![0.0; count * width], waited: Duration::ZERO };
        if count == 0 {
            // The receiver is here, so it cannot be gone.
            let _ = reply.send(Ok(embedded));
            return Ok(answer);
        }
        let progress = Progress { embedded, left: count, is_begun: false, reply: Some(reply) };
        let request = Arc::new(Request {
            tenant: ask.tenant.clone(),
            adapter: ask.adapter,
            asked: Instant::now(),
            progress: Mutex::new(progress),
        });
        let deadline = self.shared.micros(ask.deadline);
        let item = |(at, tokens): (usize, TextIds)| Item {
            tokens: tokens.ids.len() as u64,
            deadline,
            work: Text { request: request.clone(), at, tokens },
        };
        let items = ask.texts.into_iter().enumerate().map(item).collect();
        let mut state = self.shared.lock();
        if state.is_ended {
            return Err(Refused::Ending);
        }
        let pushed = state.queue.push(&ask.tenant, items);
        pushed.map_err(|full| self.refused(full, &state))?;
        drop(state);
        self.shared.wake.notify_all();
        Ok(answer)
    }

    /// Answers what has been taken in, and ends the threads.
    pub(super) fn end(&self) {
        self.shared.lock().is_ended = true;
        self.shared.wake.notify_all();
        for thread in self.threads.lock().expect("no thread panicked").drain(..) {
            // One that panicked has dropped its requests, whose clients were told so.
            let _ = thread.join();
        }
    }

    fn refused(&self, full: Full, state: &State) -> Refused {
        match full {
            Full::Ever { tokens_max } => Refused::TooLarge { tokens_max },
            Full::Now { ahead } => {
                let speed = state.speed * self.shared.limits.threads as f64;
                let seconds = if speed > 0.0 { (ahead as f64 / speed).ceil() as u64 } else { 1 };
                Refused::Busy { retry_s: seconds.clamp(1, RETRY_S_MAX) }
            }
        }
    }
}

/// The load of so many tokens that wait, at a speed in tokens a second; 0 is an unknown one.
fn load(waiting: u64, speed: f64) -> f64 {
    match waiting {
        0 => 0.0,
        _ if speed <= 0.0 => 1.0,
        _ => (waiting as f64 / speed / LOADED_WAIT_S).min(1.0),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked")
    }

    fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.begun).as_micros() as u64
    }

    /// One thread: takes batches until the end, and what waits then too.
    fn run(&self) {
        let mut desk = Desk::default();
        while let Some(mut batch) = self.next_batch() {
            // Texts of one adapter become one segment, with one pair of products.
            batch.sort_by_key(Text::generation);
            self.serve(batch, &mut desk);
        }
    }

    /// Computes a batch that is sorted by adapter, and replies.
    fn serve(&self, batch: Vec<Text>, desk: &mut Desk) {
        let begun = Instant::now();
        let forward = AssertUnwindSafe(|| desk.embed(&self.model, &batch));
        let Ok(size) = catch_unwind(forward) else {
            *desk = Desk::default();
            return self.serve_apart(batch, desk);
        };
        let took = begun.elapsed();
        self.meters.on_batch(size, took);
        for text in &batch {
            self.meters.on_served(&text.request.tenant, text.tokens.ids.len() as u64);
        }
        self.note_speed(size.tokens as f64 / took.as_secs_f64().max(1e-6));
        for (text, row) in batch.into_iter().zip(desk.rows.chunks_exact(self.model.width())) {
            text.request.set_row(text.at, row, begun);
        }
    }

    /// Computes each adapter's texts of a batch that panicked alone, so that one that is broken
    /// costs nobody else an answer, nor the server a thread.
    fn serve_apart(&self, mut batch: Vec<Text>, desk: &mut Desk) {
        let counts: Vec<usize> = runs(&batch).map(<[Text]>::len).collect();
        if let [_] = counts[..] {
            return batch.iter().for_each(|text| text.request.finish(Err(NotServed::Broken)));
        }
        for count in counts {
            let others = batch.split_off(count);
            self.serve(std::mem::replace(&mut batch, others), desk);
        }
    }

    fn next_batch(&self) -> Option<Vec<Text>> {
        let mut state = self.lock();
        loop {
            while state.queue.is_empty() {
                if state.is_ended {
                    return None;
                }
                state = self.wake.wait(state).expect("no thread panicked");
            }
            let budget = self.budget(state.speed);
            let now = self.micros(Instant::now());
            let taken = state.queue.take(now, budget, |text| text.request.is_gone());
            let late = taken.late.len() as u64;
            taken.late.into_iter().for_each(|text| text.request.finish(Err(NotServed::Late)));
            self.meters.on_left_out(late, taken.gone);
            if !taken.batch.is_empty() {
                return Some(taken.batch);
            }
        }
    }

    /// How large the next batch may be, for threads of this speed.
    fn budget(&self, speed: f64) -> Budget {
        let crowded = (speed * CROWDED_BATCH.as_secs_f64()) as u64;
        let tokens = self.limits.batch_tokens as u64;
        Budget { tokens, crowded: Some(crowded.max(CROWDED_TOKENS_MIN)) }
    }

    fn note_speed(&self, speed: f64) {
        let mut state = self.lock();
        let before = state.speed;
        state.speed = if before > 0.0 { before + (speed - before) / SPEED_MEMORY } else { speed };
    }
}

/// What a thread computes on.
#[derive(Default)]
struct Desk {
    scratch: Scratch<Cpu>,
    packed: Packed,
    /// `[texts, width]`
    rows: Vec<f32>,
}

impl Desk {
    /// Leaves each text's row in `rows`.
    fn embed(&mut self, model: &Model, batch: &[Text]) -> BatchSize {
        let size = pack(batch, &mut self.packed);
        let adapters = adapters(batch);
        self.rows.resize(batch.len() * model.width(), 0.0);
        let forward = Forward { batch: &self.packed, adapters: &adapters, start: Start::Tokens };
        model.encoder.embed(&forward, &mut self.scratch, &mut self.rows);
        size
    }
}

impl Text {
    /// Names its adapter among those that were read.
    fn generation(&self) -> Option<u64> {
        self.request.adapter.as_ref().map(|loaded| loaded.generation)
    }
}

/// Where the adapter changes in a batch that is sorted by it.
fn runs(batch: &[Text]) -> impl Iterator<Item = &[Text]> {
    batch.chunk_by(|one, other| one.generation() == other.generation())
}

fn pack(batch: &[Text], packed: &mut Packed) -> BatchSize {
    packed.clear();
    let (mut slot, mut adapters) = (0, 0);
    for run in runs(batch) {
        let adapter = run[0].request.adapter.is_some().then_some(slot);
        slot += usize::from(adapter.is_some());
        adapters += 1;
        packed.push(run.iter().map(|text| text.tokens.as_text()), adapter, None);
    }
    BatchSize { tokens: packed.tokens().len() as u64, texts: batch.len() as u64, adapters }
}

fn adapters(batch: &[Text]) -> Vec<&Adapter> {
    runs(batch).filter_map(|run| run[0].request.adapter.as_ref()).map(|it| &it.adapter).collect()
}

impl Request {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no thread panicked")
    }

    /// Whether nobody waits for it, or it has its answer.
    fn is_gone(&self) -> bool {
        self.progress().reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn set_row(&self, at: usize, row: &[f32], begun: Instant) {
        let mut progress = self.progress();
        progress.embedded.values[at * row.len()..(at + 1) * row.len()].copy_from_slice(row);
        if !std::mem::replace(&mut progress.is_begun, true) {
            progress.embedded.waited = begun.saturating_duration_since(self.asked);
        }
        progress.left -= 1;
        if progress.left == 0 {
            let embedded = std::mem::take(&mut progress.embedded);
            drop(progress);
            self.finish(Ok(embedded));
        }
    }

    fn finish(&self, answer: Answer) {
        if let Some(reply) = self.progress().reply.take() {
            // Who went away wants no answer.
            let _ = reply.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use cotenant_transformer::{AdapterLayout, LayerChoice, LoraSpec, Module, Precision};

    use super::*;
    use crate::serve::adapters::AdapterSource;

    const MODEL: &str = "../../golden/encoder/bert-tiny";
    /// The engine reads token ids, so that this one is never asked.
    const TOKENIZER: &str = r#"{
        "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                       { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                     { "Sequence": { "id": "A", "type_id": 0 } },
                     { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "[CLS]": { "id": "[CLS]", "ids": [1], "tokens": ["[CLS]"] } }
        },
        "model": { "type": "WordLevel", "vocab": { "[UNK]": 0, "[CLS]": 1 }, "unk_token": "[UNK]" }
    }"#;

    fn engine() -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
        for file in fs::read_dir(files).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        fs::write(folder.path().join("tokenizer.json"), TOKENIZER).unwrap();
        let model = Model::open(folder.path(), "base", Precision::F32).unwrap();
        let limits = EngineLimits { threads: 0, batch_tokens: 64, queue_tokens: 1 << 10 };
        Engine::start(Arc::new(model), Arc::new(Meters::new()), limits).unwrap()
    }

    /// An adapter that changes nothing, and of which a part of the values may be missing.
    fn adapter(engine: &Engine, generation: u64, is_whole: bool) -> Arc<Loaded> {
        let spec = LoraSpec {
            rank: 2,
            alpha: 2.0,
            rslora: false,
            targets: vec![Module::Query],
            layers: LayerChoice::All,
        };
        let config = engine.shared.model.encoder.config();
        let layout = Arc::new(AdapterLayout::from_spec(&spec, config).unwrap());
        let mut adapter = Adapter::initial(layout, generation);
        adapter.values.truncate(if is_whole { adapter.values.len() } else { 1 });
        let (source, digest) = (Arc::new(AdapterSource::default()), String::new());
        Arc::new(Loaded { source, generation, adapter, digest })
    }

    /// The engine has no thread of its own here: the test is one.
    #[test]
    fn an_adapter_that_panics_costs_nobody_else_an_answer() {
        let engine = engine();
        let (whole, broken) = (adapter(&engine, 1, true), adapter(&engine, 2, false));
        let ask = |adapter: Option<&Arc<Loaded>>| Ask {
            tenant: "law".into(),
            adapter: adapter.cloned(),
            texts: vec![TextIds::alone(vec![1, 2, 3])],
            deadline: Instant::now() + Duration::from_secs(60),
        };
        let asked = [None, Some(&whole), Some(&broken)].map(|adapter| engine.embed(ask(adapter)));
        let batch = engine.shared.next_batch().unwrap();
        assert_eq!(batch.len(), 3, "they are computed together");
        engine.shared.serve(batch, &mut Desk::default());
        let answers = asked.map(|answer| answer.ok().unwrap().try_recv().unwrap());
        let [base, adapted, missing] = answers.map(|answer| answer.map(|it| it.values));
        assert_eq!(base, adapted, "the adapter changes nothing");
        assert!(base.is_ok_and(|values| values.iter().any(|value| *value != 0.0)));
        assert_eq!(missing, Err(NotServed::Broken));
    }

    #[test]
    fn load_is_the_time_that_waiting_texts_need() {
        for (waiting, speed, expected) in [
            (0, 0.0, 0.0),
            (0, 1000.0, 0.0),
            (1, 0.0, 1.0),
            (125, 1000.0, 0.5),
            (250, 1000.0, 1.0),
            (1 << 19, 1000.0, 1.0),
        ] {
            assert_eq!(load(waiting, speed), expected, "{waiting} at {speed}");
        }
    }
}
