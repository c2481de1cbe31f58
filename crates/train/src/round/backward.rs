//! Phase 3: every chunk's gradients, added up in plan order.

use std::sync::Mutex;

use cotenant_transformer::{Backend, Forward, TapeMode};

use super::forward::start;
use super::reduce::Reducer;
use super::{CHUNKS_AHEAD, Chunk, Rows, Scene, Worker, crew};
use crate::packing::Part;

/// What backward reads and writes besides the chunks.
pub(super) struct Work<'a> {
    /// One entry a share.
    pub(super) rows: &'a [Rows],
    /// One entry a share, added to.
    pub(super) totals: &'a mut [Vec<f32>],
    /// How chunks without a tape are run forward again.
    pub(super) recompute: TapeMode,
}

/// Runs all chunks backward.
pub(super) fn run<B: Backend>(
    scene: &Scene<B>,
    workers: &mut [Worker<B>],
    chunks: &mut [Chunk<B>],
    work: Work,
) {
    let Work { rows, totals, recompute } = work;
    let ahead = CHUNKS_AHEAD * workers.len();
    let reducer = Reducer::new(totals.iter_mut().map(Vec::as_mut_slice), ahead);
    let cells: Vec<Mutex<&mut Chunk<B>>> = chunks.iter_mut().map(Mutex::new).collect();
    crew::run(workers, cells.len(), |worker, item| {
        let _entered = reducer.enter(item);
        let mut chunk = cells[item].lock().expect("each item is run once");
        differentiate(scene, worker, &mut chunk, (rows, recompute));
        for (&part, gradient) in chunk.shape.parts.iter().zip(&mut worker.gradients) {
            reducer.add(part, gradient);
        }
    });
    debug_assert!(
        reducer.is_complete(scene.shares.iter().map(|share| share.plan.pieces.len())),
        "every piece's gradient is in its sum"
    );
}

/// Leaves the gradient of each of the chunk's segments in `worker.gradients`.
fn differentiate<B: Backend>(
    scene: &Scene<B>,
    worker: &mut Worker<B>,
    chunk: &mut Chunk<B>,
    (rows, recompute): (&[Rows], TapeMode),
) {
    let hidden = scene.encoder.config().hidden;
    let Chunk { packed, prefix, out, tape, shape, .. } = chunk;
    let forward = Forward {
        batch: packed,
        adapters: scene.adapters,
        start: start(scene, shape.first_layer, prefix),
    };
    let Worker { scratch, gradients, tape: own, .. } = worker;
    let tape = match tape {
        Some(tape) => &mut tape.tape,
        None => {
            let own = own.as_mut().expect("a round that keeps too few tapes gives threads one");
            scene.encoder.forward(&forward, recompute, scratch, &mut own.tape, out);
            &mut own.tape
        }
    };
    // The embeddings are with their shares by now; their place takes the gradient by them.
    out.clear();
    for &Part { plan, piece } in &shape.parts {
        let texts = scene.shares[plan].plan.pieces[piece].clone();
        out.extend_from_slice(&rows[plan].slopes[texts.start * hidden..texts.end * hidden]);
    }
    let parts = shape.parts.len();
    gradients.resize_with(gradients.len().max(parts), Vec::new);
    scene.encoder.backward(&forward, scratch, tape, out, &mut gradients[..parts]);
}
