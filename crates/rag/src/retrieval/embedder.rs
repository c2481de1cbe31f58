//! Embeds any number of texts on a few threads, chunk by chunk.

use std::sync::{Arc, Mutex};
use std::thread;

use cotenant_train::{TextError, Texts};
use cotenant_transformer::{Adapter, Cpu, Encoder, Forward, Packed, Scratch, Start};

use super::vectors::Vectors;

/// A base model and how much of the machine it may use.
#[derive(Clone)]
pub struct Embedder {
    /// The frozen model.
    pub encoder: Arc<Encoder<Cpu>>,
    /// Threads that compute.
    pub threads: usize,
    /// Tokens that one thread takes at a time; a longer text goes alone.
    pub chunk_tokens: usize,
}

/// What is left to embed: the next position, and where its rows go.
struct Queue<'a> {
    next: usize,
    rest: &'a mut [f32],
    failed: Option<TextError>,
}

/// Texts that one thread has taken.
struct Taken<'a> {
    tokens: Vec<Arc<[u32]>>,
    out: &'a mut [f32],
}

impl Embedder {
    /// Embeds texts of a table, in the order of `ids`, and reports how many are done as it goes.
    ///
    /// A vector depends on its text and adapter alone, so threads and chunks change no bit.
    ///
    /// # Errors
    /// The first text that has no tokens.
    pub fn embed(
        &self,
        texts: &dyn Texts,
        ids: &[u32],
        adapter: Option<&Adapter>,
        on_done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vectors, TextError> {
        let width = self.encoder.config().hidden;
        let mut values = vec![0.0; ids.len() * width];
        let queue = Mutex::new(Queue { next: 0, rest: &mut values, failed: None });
        let work = || {
            let (mut scratch, mut batch) = (Scratch::default(), Packed::default());
            while let Some(taken) = self.take(texts, ids, &queue) {
                batch.clear();
                let slot = adapter.map(|_| 0);
                batch.push(taken.tokens.iter().map(|tokens| &**tokens), slot, None);
                let adapters: &[&Adapter] = adapter.as_slice();
                let forward = Forward { batch: &batch, adapters, start: Start::Tokens };
                self.encoder.embed(&forward, &mut scratch, taken.out);
                on_done(taken.tokens.len());
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(work);
            }
            work();
        });
        let failed = queue.into_inner().expect("no thread panicked").failed;
        match failed {
            Some(error) => Err(error),
            None => Ok(Vectors { values, width }),
        }
    }

    /// The next texts up to the chunk's tokens; `None` at the end or after a failure.
    fn take<'a>(
        &self,
        texts: &dyn Texts,
        ids: &[u32],
        queue: &Mutex<Queue<'a>>,
    ) -> Option<Taken<'a>> {
        let mut queue = queue.lock().expect("no thread panicked");
        if queue.failed.is_some() || queue.next == ids.len() {
            return None;
        }
        let (mut tokens, mut sum) = (Vec::new(), 0);
        while let Some(&id) = ids.get(queue.next) {
            match texts.tokens(id) {
                Ok(text) if tokens.is_empty() || sum + text.len() <= self.chunk_tokens => {
                    sum += text.len();
                    tokens.push(text);
                    queue.next += 1;
                }
                Ok(_) => break,
                Err(error) => {
                    queue.failed = Some(error);
                    return None;
                }
            }
        }
        let rest = std::mem::take(&mut queue.rest);
        let (out, rest) = rest.split_at_mut(tokens.len() * self.encoder.config().hidden);
        queue.rest = rest;
        Some(Taken { tokens, out })
    }
}
