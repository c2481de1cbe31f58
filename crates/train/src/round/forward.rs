//! Phase 1: every chunk's embeddings, with a tape where one is kept.

use std::sync::Mutex;

use cotenant_transformer::{Backend, Dropout, Forward, Start};

use super::{Chunk, Rows, Scene, Share, Worker, crew};
use crate::packing::Part;
use crate::spec::Tokens;

/// Runs all chunks forward.
pub(super) fn run<B: Backend>(
    scene: &Scene<B>,
    workers: &mut [Worker<B>],
    chunks: &mut [Chunk<B>],
) {
    let cells: Vec<Mutex<&mut Chunk<B>>> = chunks.iter_mut().map(Mutex::new).collect();
    crew::run(workers, cells.len(), |worker, item| {
        let mut chunk = cells[item].lock().expect("each item is run once");
        chunk.fill(scene);
        chunk.fetch_prefix(scene, worker);
        let hidden = scene.encoder.config().hidden;
        let Chunk { packed, prefix, out, keep, tape, shape } = &mut **chunk;
        out.resize(packed.texts() * hidden, 0.0);
        let start = start(scene, shape.first_layer, prefix);
        let forward = Forward { batch: packed, adapters: scene.adapters, start };
        match (keep, tape) {
            (Some(mode), Some(tape)) => {
                scene.encoder.forward(&forward, *mode, &mut worker.scratch, &mut tape.tape, out);
            }
            (None, _) | (_, None) => scene.encoder.embed(&forward, &mut worker.scratch, out),
        }
    });
}

/// Copies the chunks' embeddings to their shares.
pub(super) fn collect<B: Backend>(scene: &Scene<B>, chunks: &[Chunk<B>], rows: &mut [Rows]) {
    let hidden = scene.encoder.config().hidden;
    for chunk in chunks {
        let mut from = chunk.out.as_slice();
        for &Part { plan, piece } in &chunk.shape.parts {
            let texts = scene.shares[plan].plan.pieces[piece].clone();
            let into = &mut rows[plan].embeddings[texts.start * hidden..texts.end * hidden];
            let (these, rest) = from.split_at(into.len());
            into.copy_from_slice(these);
            from = rest;
        }
    }
}

/// Where a chunk's pass begins.
pub(super) fn start<'a, B: Backend>(
    scene: &Scene<B>,
    first_layer: usize,
    prefix: &'a [f32],
) -> Start<'a> {
    match scene.prefix {
        Some(_) if first_layer > 0 => Start::Hidden { layer: first_layer, rows: prefix },
        Some(_) | None => Start::Tokens,
    }
}

impl<B: Backend> Chunk<B> {
    /// Lays the chunk's texts end to end, a segment a part.
    pub(super) fn fill(&mut self, scene: &Scene<B>) {
        self.packed.clear();
        for &Part { plan, piece } in &self.shape.parts {
            let share = &scene.shares[plan];
            let texts = share.plan.pieces[piece].clone();
            let dropout = dropout(share, &share.plan.texts[texts.clone()]);
            let tokens = share.tokens[texts].iter().map(Tokens::as_text);
            self.packed.push(tokens, Some(plan), dropout);
        }
    }

    /// Fetches rows below the first adapted layer from the cache, or computes what is missing.
    pub(super) fn fetch_prefix(&mut self, scene: &Scene<B>, worker: &mut Worker<B>) {
        let layer = self.shape.first_layer;
        let Some(cache) = scene.prefix.filter(|_| layer > 0) else { return };
        let hidden = scene.encoder.config().hidden;
        self.prefix.resize(self.packed.tokens().len() * hidden, 0.0);
        let mut missing = Vec::new();
        for (at, rows) in self.packed.offsets().windows(2).enumerate() {
            let text = self.packed.text(at);
            let rows = rows[0] * hidden..rows[1] * hidden;
            let key = cache.key(text, layer);
            if !cache.get(key, &mut self.prefix[rows.clone()]) {
                missing.push((key, text, rows));
            }
        }
        if missing.is_empty() {
            return;
        }
        worker.packed.clear();
        worker.packed.push(missing.iter().map(|(_, text, _)| *text), None, None);
        worker.rows.resize(worker.packed.tokens().len() * hidden, 0.0);
        scene.encoder.prefix(&worker.packed, layer, &mut worker.scratch, &mut worker.rows);
        if scene.encoder.backend().has_failed() {
            // What came out is nothing, and must not be kept.
            return;
        }
        let mut from = worker.rows.as_slice();
        for (key, _, into) in missing {
            let (rows, rest) = from.split_at(into.len());
            self.prefix[into].copy_from_slice(rows);
            cache.put(key, rows);
            from = rest;
        }
    }
}

/// Dropout of some of a share's texts, each keyed by its number.
fn dropout(share: &Share, texts: &[u32]) -> Option<Dropout> {
    let (key, rate_per_mille) = share.dropout?;
    let text_keys = texts.iter().map(|&text| text.into()).collect();
    Some(Dropout { key, text_keys, rate_per_mille })
}
