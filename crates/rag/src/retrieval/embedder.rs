//! Embeds any number of texts on a few threads, chunk by chunk.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use cotenant_train::{TextError, Texts, Tokens};
use cotenant_transformer::{
    Adapter, Backend, Cpu, CudaDevice, Encoder, Fault, Forward, Packed, Precision, Scratch, Start,
};

use super::vectors::Vectors;

/// Texts that a thread claims at a time: few, so that threads end together.
const CLAIM: usize = 8;

/// A base model and how much of the machine it may use.
#[derive(Clone)]
pub struct Embedder {
    /// The frozen model.
    pub model: EmbeddingModel,
    /// Threads that compute, or prepare what a card computes.
    pub threads: usize,
    /// Tokens that one thread takes at a time; a longer text goes alone.
    pub chunk_tokens: usize,
    /// Differs between models and devices whose vectors differ.
    pub fingerprint: u64,
    /// The number format of products.
    pub precision: Precision,
}

/// A frozen model on a device.
#[derive(Clone)]
pub enum EmbeddingModel {
    /// On the processor, for any number of threads at once.
    Cpu(Arc<Encoder<Cpu>>),
    /// On cards of one kind.
    Cards(Arc<[CardModel]>),
}

/// A frozen model on a card, which one thread at a time may ask.
pub struct CardModel {
    encoder: Arc<Encoder<CudaDevice>>,
    /// Whose turn it is, and the memory there that is used for it.
    turn: Mutex<Scratch<CudaDevice>>,
    /// Tokens that it has shown to have memory for, once it had none for more, in this job.
    room: AtomicUsize,
}

impl CardModel {
    /// A model that is on a card.
    pub fn new(encoder: Arc<Encoder<CudaDevice>>) -> Self {
        Self { encoder, turn: Mutex::default(), room: AtomicUsize::new(usize::MAX) }
    }

    /// Others may have let go of memory since.
    fn begin(&self) {
        self.room.store(usize::MAX, Ordering::Relaxed);
    }

    /// Others may need the memory meanwhile.
    fn end(&self) {
        *self.turn.lock().expect("no thread panicked") = Scratch::default();
    }
}

/// Why texts were not embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotEmbedded {
    /// A text has no tokens: the first one of them.
    Text(TextError),
    /// The device failed.
    Device(Fault),
    /// The caller wished to stop.
    Stopped,
}

/// Told of the texts that a thread has embedded; says whether to go on.
pub type OnDone<'a> = &'a (dyn Fn(usize) -> ControlFlow<()> + Sync);

/// To go on, unless somebody asked to stop.
pub fn unless(stop: &AtomicBool) -> ControlFlow<()> {
    match stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Texts on their way to vectors.
struct Job<'a> {
    texts: &'a dyn Texts,
    ids: &'a [u32],
    adapter: Option<&'a Adapter>,
    on_done: OnDone<'a>,
}

/// What is left to embed: the next position, and where its rows go.
struct Queue<'a> {
    next: usize,
    rest: &'a mut [f32],
    /// The first position that failed so far, and why.
    failed: Option<(usize, NotEmbedded)>,
    is_stopped: bool,
}

/// A text that a thread has claimed and tokenised.
struct Claimed<'a> {
    tokens: Tokens,
    /// `[hidden]`
    row: &'a mut [f32],
}

impl Claimed<'_> {
    fn len(&self) -> usize {
        self.tokens.ids.len()
    }
}

/// What turns a batch into rows.
trait Encode: Sync {
    /// Memory that a thread uses for it.
    type Memory: Default + Send;

    /// Features of a row.
    fn width(&self) -> usize;

    /// Writes one row a text, unless the device failed.
    fn encode(
        &self,
        forward: &Forward<'_>,
        memory: &mut Self::Memory,
        rows: &mut [f32],
    ) -> Result<(), Fault>;
}

impl<B: Backend> Encode for Encoder<B> {
    type Memory = Scratch<B>;

    fn width(&self) -> usize {
        self.config().hidden
    }

    fn encode(
        &self,
        forward: &Forward<'_>,
        memory: &mut Scratch<B>,
        rows: &mut [f32],
    ) -> Result<(), Fault> {
        self.embed(forward, memory, rows);
        self.backend().take_fault().map_or(Ok(()), Err)
    }
}

impl Embedder {
    /// Embeds texts of a table, in the order of `ids`; tells how many are done as it goes, and
    /// stops after the chunks under way where the answer is to.
    ///
    /// A vector depends on its text and adapter alone, so threads and chunks change no bit. With an
    /// adapter that has a head, it is what the head reads. No thread waits for another one's tokens:
    /// what is claimed under the lock are positions.
    pub fn embed(
        &self,
        texts: &dyn Texts,
        ids: &[u32],
        adapter: Option<&Adapter>,
        on_done: OnDone<'_>,
    ) -> Result<Vectors, NotEmbedded> {
        let job = Job { texts, ids, adapter, on_done };
        let Self { threads, chunk_tokens, .. } = *self;
        match &self.model {
            EmbeddingModel::Cpu(encoder) => {
                let room = &AtomicUsize::new(usize::MAX);
                let desk = Desk { encoder: &**encoder, turn: None, room, threads, chunk_tokens };
                embed_at(&[desk], &job)
            }
            EmbeddingModel::Cards(cards) => {
                let threads = threads.div_ceil(cards.len());
                let desks = cards.iter().map(|card| Desk {
                    encoder: &*card.encoder,
                    turn: Some(&card.turn),
                    room: &card.room,
                    threads,
                    chunk_tokens,
                });
                cards.iter().for_each(CardModel::begin);
                let embedded = embed_at(&desks.collect::<Vec<_>>(), &job);
                cards.iter().for_each(CardModel::end);
                embedded
            }
        }
    }
}

/// Where a part of a job is done.
struct Desk<'a, E: Encode> {
    encoder: &'a E,
    /// The memory of the one thread that may encode; without, each thread has its own.
    turn: Option<&'a Mutex<E::Memory>>,
    /// Tokens that there is memory for, as far as was found out.
    room: &'a AtomicUsize,
    threads: usize,
    chunk_tokens: usize,
}

/// Does a job at desks of the same model, each of which takes what it can.
fn embed_at<E: Encode>(desks: &[Desk<'_, E>], job: &Job<'_>) -> Result<Vectors, NotEmbedded> {
    let width = desks[0].encoder.width();
    let mut values = vec![0.0; job.ids.len() * width];
    let rest = values.as_mut_slice();
    let queue = Mutex::new(Queue { next: 0, rest, failed: None, is_stopped: false });
    let mut seats = desks.iter().flat_map(|desk| (0..desk.threads.max(1)).map(move |_| desk));
    let here = seats.next();
    thread::scope(|scope| {
        for desk in seats {
            let queue = &queue;
            scope.spawn(move || desk.work(job, queue));
        }
        if let Some(desk) = here {
            desk.work(job, &queue);
        }
    });
    let queue = queue.into_inner().expect("no thread panicked");
    match queue.failed {
        Some((_, why)) => Err(why),
        None if queue.is_stopped => Err(NotEmbedded::Stopped),
        None => Ok(Vectors { values, width }),
    }
}

impl<E: Encode> Desk<'_, E> {
    fn chunk_tokens(&self) -> usize {
        self.chunk_tokens.min(self.room.load(Ordering::Relaxed))
    }

    /// One thread: claims texts until a chunk is full, and embeds it, until nothing is left.
    fn work<'a>(&self, job: &Job<'_>, queue: &Mutex<Queue<'a>>) {
        let (mut memory, mut batch, mut rows) = (E::Memory::default(), Packed::default(), vec![]);
        let mut claimed: VecDeque<Claimed<'a>> = VecDeque::new();
        let width = self.encoder.width();
        loop {
            let mut tokens: usize = claimed.iter().map(Claimed::len).sum();
            while tokens < self.chunk_tokens()
                && let Some(more) = self.claim(job, queue)
            {
                tokens += more.iter().map(Claimed::len).sum::<usize>();
                claimed.extend(more);
            }
            let count = self.fitting(&claimed);
            if count == 0 || lock(queue).is_stopped {
                return;
            }
            rows.resize(count * width, 0.0);
            let texts = &claimed.make_contiguous()[..count];
            let encoded = match self.turn {
                None => self.encode((job.adapter, texts), &mut batch, &mut memory, &mut rows),
                Some(turn) => {
                    let mut memory = turn.lock().expect("no thread panicked");
                    self.encode((job.adapter, texts), &mut batch, &mut memory, &mut rows)
                }
            };
            if let Err(fault) = encoded {
                // Before any text: it is no fault of theirs.
                lock(queue).failed = Some((0, NotEmbedded::Device(fault)));
                return;
            }
            for (text, row) in claimed.drain(..count).zip(rows.chunks_exact(width)) {
                text.row.copy_from_slice(row);
            }
            if (job.on_done)(count).is_break() {
                lock(queue).is_stopped = true;
            }
        }
    }

    /// Embeds a chunk; in halves where the device has no memory for the whole, which changes no bit.
    fn encode(
        &self,
        (adapter, texts): (Option<&Adapter>, &[Claimed<'_>]),
        batch: &mut Packed,
        memory: &mut E::Memory,
        rows: &mut [f32],
    ) -> Result<(), Fault> {
        batch.clear();
        let slot = adapter.map(|_| 0);
        batch.push(texts.iter().map(|text| text.tokens.as_text()), slot, None);
        let forward = Forward { batch, adapters: adapter.as_slice(), start: Start::Tokens };
        match self.encoder.encode(&forward, memory, rows) {
            Err(Fault::OutOfMemory(_)) if texts.len() > 1 => {
                self.room.fetch_min(batch.tokens().len() / 2, Ordering::Relaxed);
                *memory = E::Memory::default();
                let (first, second) = texts.split_at(texts.len() / 2);
                let halves = rows.split_at_mut(first.len() * self.encoder.width());
                self.encode((adapter, first), batch, memory, halves.0)?;
                self.encode((adapter, second), batch, memory, halves.1)
            }
            encoded => encoded,
        }
    }

    /// Texts from the front that make one chunk: as many as fit, or one that is longer.
    fn fitting(&self, claimed: &VecDeque<Claimed<'_>>) -> usize {
        let mut sum = 0;
        let fits = |text: &&Claimed<'_>| {
            sum += text.len();
            sum <= self.chunk_tokens()
        };
        claimed.iter().take_while(fits).count().max(claimed.len().min(1))
    }

    /// The next few texts, tokenised without holding the queue; `None` at the end, after a failure
    /// or once stopped.
    fn claim<'a>(&self, job: &Job<'_>, queue: &Mutex<Queue<'a>>) -> Option<Vec<Claimed<'a>>> {
        let width = self.encoder.width();
        let (from, ids, rows) = {
            let mut queue = lock(queue);
            if queue.failed.is_some() || queue.is_stopped || queue.next == job.ids.len() {
                return None;
            }
            let from = queue.next;
            let ids = &job.ids[from..job.ids.len().min(from + CLAIM)];
            queue.next += ids.len();
            let (rows, rest) = std::mem::take(&mut queue.rest).split_at_mut(ids.len() * width);
            queue.rest = rest;
            (from, ids, rows)
        };
        let mut claimed = Vec::with_capacity(ids.len());
        for ((at, &id), row) in (from..).zip(ids).zip(rows.chunks_exact_mut(width)) {
            match job.texts.read(id) {
                Ok(tokens) => claimed.push(Claimed { tokens, row }),
                Err(error) => {
                    let failed = &mut lock(queue).failed;
                    // Positions before this one were all claimed, so the first failure is told
                    // whichever thread comes to its own first.
                    if failed.as_ref().is_none_or(|(first, _)| at < *first) {
                        *failed = Some((at, NotEmbedded::Text(error)));
                    }
                    return None;
                }
            }
        }
        Some(claimed)
    }
}

fn lock<'q, 'a>(queue: &'q Mutex<Queue<'a>>) -> MutexGuard<'q, Queue<'a>> {
    queue.lock().expect("no thread panicked")
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::time::Duration;

    use cotenant_transformer::random::{mix, unit};
    use cotenant_transformer::{
        EncoderConfig, EncoderWeights, LayerWeights, Linear, Norm, Pooling,
    };

    use super::*;

    const VOCAB: usize = 50;

    fn embedder(threads: usize, chunk_tokens: usize) -> Embedder {
        let (hidden, intermediate, positions) = (16, 24, 40);
        let config = EncoderConfig {
            hidden,
            layers: 1,
            heads: 2,
            intermediate,
            vocab: VOCAB,
            positions,
            token_types: 1,
            norm_eps: 1e-12,
            position_offset: 0,
        };
        let draw = |seed: u64, len: usize| -> Vec<f32> {
            (0..len as u64).map(|at| unit(mix(&[seed, at])) - 0.5).collect()
        };
        let linear = |seed, inputs, outputs| Linear {
            weight: draw(seed, inputs * outputs),
            bias: draw(seed + 1, outputs),
            inputs,
            outputs,
        };
        let norm = || Norm { gain: vec![1.0; hidden], bias: vec![0.0; hidden] };
        let layer = LayerWeights {
            query: linear(10, hidden, hidden),
            key: linear(20, hidden, hidden),
            value: linear(30, hidden, hidden),
            attention_output: linear(40, hidden, hidden),
            attention_norm: norm(),
            intermediate: linear(50, hidden, intermediate),
            output: linear(60, intermediate, hidden),
            output_norm: norm(),
        };
        let weights = EncoderWeights {
            words: draw(1, VOCAB * hidden),
            positions: draw(2, positions * hidden),
            token_types: draw(3, hidden),
            norm: norm(),
            layers: vec![layer],
        };
        let cpu = Cpu::new(Precision::F32).expect("every processor has f32");
        let encoder = Encoder::new(cpu, config, weights, Pooling::Mean, true);
        let model = EmbeddingModel::Cpu(Arc::new(encoder));
        let (fingerprint, precision) = (0, Precision::F32);
        Embedder { model, threads, chunk_tokens, fingerprint, precision }
    }

    /// A device with memory for so many tokens, which only one thread at a time may ask, and which is
    /// lost after so many batches.
    struct Narrow {
        encoder: Arc<Encoder<Cpu>>,
        tokens_max: usize,
        batches_left: AtomicUsize,
        is_asked: AtomicBool,
    }

    impl Narrow {
        fn new(tokens_max: usize, batches: usize) -> Self {
            let EmbeddingModel::Cpu(encoder) = embedder(1, 1).model else {
                unreachable!("it is on the processor")
            };
            let (batches_left, is_asked) = (AtomicUsize::new(batches), AtomicBool::new(false));
            Self { encoder, tokens_max, batches_left, is_asked }
        }

        /// Embeds on three threads, in chunks of so many tokens.
        fn embed(&self, ids: &[u32], chunk_tokens: usize) -> Result<Vectors, NotEmbedded> {
            embed_on(&[self], ids, chunk_tokens)
        }
    }

    /// Embeds on several devices, of three threads each.
    fn embed_on(
        devices: &[&Narrow],
        ids: &[u32],
        chunk_tokens: usize,
    ) -> Result<Vectors, NotEmbedded> {
        let table = Table { bad: Vec::new() };
        let turns: Vec<Mutex<Scratch<Cpu>>> = devices.iter().map(|_| Mutex::default()).collect();
        let rooms: Vec<_> = devices.iter().map(|_| AtomicUsize::new(usize::MAX)).collect();
        let desk = |((&encoder, turn), room)| {
            let turn = Some(turn);
            Desk { encoder, turn, room, threads: 3, chunk_tokens }
        };
        let desks: Vec<_> = devices.iter().zip(&turns).zip(&rooms).map(desk).collect();
        embed_at(&desks, &Job { texts: &table, ids, adapter: None, on_done: &go_on })
    }

    impl Encode for Narrow {
        type Memory = Scratch<Cpu>;

        fn width(&self) -> usize {
            self.encoder.width()
        }

        fn encode(
            &self,
            forward: &Forward<'_>,
            memory: &mut Scratch<Cpu>,
            rows: &mut [f32],
        ) -> Result<(), Fault> {
            assert!(!self.is_asked.swap(true, Ordering::SeqCst), "one thread at a time asks");
            let is_last = self.batches_left.fetch_sub(1, Ordering::SeqCst) == 1;
            let encoded = if is_last {
                Err(Fault::Lost("it fell off the bus".into()))
            } else if forward.batch.tokens().len() > self.tokens_max {
                rows.fill(f32::NAN);
                Err(Fault::OutOfMemory("there is no room".into()))
            } else {
                self.encoder.encode(forward, memory, rows)
            };
            self.is_asked.store(false, Ordering::SeqCst);
            encoded
        }
    }

    fn text(id: u32) -> Arc<[u32]> {
        let length = 1 + mix(&[id.into()]) % 30;
        (0..length).map(|at| (mix(&[id.into(), at]) % VOCAB as u64) as u32).collect()
    }

    /// Texts of unequal lengths; some cannot be had.
    struct Table {
        bad: Vec<u32>,
    }

    impl Texts for Table {
        fn tokens(&self, id: u32) -> Result<Arc<[u32]>, TextError> {
            match self.bad.contains(&id) {
                true => Err(TextError { reason: format!("text {id} is bad") }),
                false => Ok(text(id)),
            }
        }

        fn key(&self, id: u32) -> u64 {
            id.into()
        }
    }

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn threads_and_chunks_change_neither_bits_nor_order() {
        let ids: Vec<u32> = (0..300).map(|at| (at * 7) % 211).collect();
        let good = Table { bad: Vec::new() };
        let one_by_one: Vec<f32> = ids
            .iter()
            .flat_map(|&id| embedder(1, 1).embed(&good, &[id], None, &go_on).unwrap().values)
            .collect();
        for (threads, chunk_tokens) in [(1, 1), (1, 64), (2, 64), (5, 20), (3, 10_000)] {
            let embedder = embedder(threads, chunk_tokens);
            let done = Mutex::new(0);
            let on_done = |by| {
                *done.lock().unwrap() += by;
                ControlFlow::Continue(())
            };
            let found = embedder.embed(&good, &ids, None, &on_done).unwrap();
            assert!(found.values == one_by_one, "{threads} threads, {chunk_tokens} tokens");
            assert_eq!(*done.lock().unwrap(), ids.len());
        }
        assert!(embedder(2, 64).embed(&good, &[], None, &go_on).unwrap().is_empty());
    }

    #[test]
    fn the_first_bad_text_is_told_by_any_number_of_threads() {
        let ids: Vec<u32> = (0..200).collect();
        let table = Table { bad: vec![150, 43, 41, 199] };
        for threads in [1, 4] {
            let error = embedder(threads, 64).embed(&table, &ids, None, &go_on).unwrap_err();
            assert_eq!(error, NotEmbedded::Text(TextError { reason: "text 41 is bad".into() }));
        }
    }

    #[test]
    fn who_is_asked_to_stop_stops_after_the_chunks_under_way() {
        let ids: Vec<u32> = (0..10_000).collect();
        let done = Mutex::new(0);
        let on_done = |by| {
            *done.lock().unwrap() += by;
            ControlFlow::Break(())
        };
        let table = Table { bad: Vec::new() };
        let error = embedder(2, 64).embed(&table, &ids, None, &on_done).unwrap_err();
        assert_eq!(error, NotEmbedded::Stopped);
        assert!(*done.lock().unwrap() < 200, "{done:?}");
    }

    /// Gives a text only while another thread asks for one too.
    struct Together {
        asking: Mutex<usize>,
        changed: Condvar,
    }

    impl Texts for Together {
        fn tokens(&self, id: u32) -> Result<Arc<[u32]>, TextError> {
            let mut asking = self.asking.lock().unwrap();
            *asking += 1;
            self.changed.notify_all();
            let patience = Duration::from_secs(20);
            // Once two threads were here at the same time, everybody goes through.
            let waited = self.changed.wait_timeout_while(asking, patience, |asking| *asking < 2);
            match waited.unwrap().1.timed_out() {
                true => Err(TextError { reason: "nobody else came".into() }),
                false => Ok(text(id)),
            }
        }

        fn key(&self, id: u32) -> u64 {
            id.into()
        }
    }

    #[test]
    fn no_thread_waits_for_the_tokens_of_another() {
        let ids: Vec<u32> = (0..64).collect();
        let table = Together { asking: Mutex::new(0), changed: Condvar::new() };
        assert_eq!(embedder(2, 64).embed(&table, &ids, None, &go_on).err(), None);
    }

    #[test]
    fn a_device_with_less_memory_than_a_chunk_takes_is_asked_for_less_at_a_time() {
        let ids: Vec<u32> = (0..300).collect();
        let good = Table { bad: Vec::new() };
        let expected = embedder(1, 64).embed(&good, &ids, None, &go_on).unwrap();
        for tokens_max in [30, 100, 5000] {
            let found = Narrow::new(tokens_max, usize::MAX).embed(&ids, 1000);
            assert!(found.unwrap() == expected, "room for {tokens_max} tokens");
        }
        let refused = Narrow::new(20, usize::MAX).embed(&ids, 1000).unwrap_err();
        assert!(matches!(refused, NotEmbedded::Device(Fault::OutOfMemory(_))), "{refused:?}");
    }

    #[test]
    fn several_devices_share_the_texts() {
        let ids: Vec<u32> = (0..3000).collect();
        let good = Table { bad: Vec::new() };
        let expected = embedder(1, 64).embed(&good, &ids, None, &go_on).unwrap();
        let devices = [1000, 40, 1000].map(|tokens_max| Narrow::new(tokens_max, usize::MAX));
        let found = embed_on(&devices.each_ref(), &ids, 100).unwrap();
        assert!(found == expected);
    }

    #[test]
    fn a_device_that_is_lost_ends_it() {
        let ids: Vec<u32> = (0..300).collect();
        let lost = Narrow::new(5000, 3).embed(&ids, 100).unwrap_err();
        assert_eq!(lost, NotEmbedded::Device(Fault::Lost("it fell off the bus".into())));
    }
}
