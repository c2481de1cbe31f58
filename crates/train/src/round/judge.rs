//! The losses of tenants whose states the device keeps: rankings by the device, others by the host.

use std::sync::Arc;

use cotenant_transformer::{
    Adapter, AdapterLayout, Backend, EncoderConfig, Head, Judging, Round, RoundRanking,
};

use super::{Chunk, Scene, Share, Worker};
use crate::loss::{self, Embedded, Judged, LossBuffers, Ranking, Slopes, Task};
use crate::packing::Part;
use crate::spec::Loss;

/// A share's texts as rows of a round, and what a ranking compares.
pub(super) struct Numbered {
    /// `[texts]`, the row of each.
    places: Vec<u32>,
    anchors: Vec<u32>,
    columns: Vec<u32>,
}

impl Numbered {
    fn new(task: &Task, places: Vec<u32>) -> Self {
        let rows = |texts: &[u32]| texts.iter().map(|&text| places[text as usize]).collect();
        let (anchors, columns) = match task {
            Task::Ranking(Ranking { anchors, columns, .. }) => (rows(anchors), rows(columns)),
            Task::Scored(_) | Task::Choices(_) => (Vec::new(), Vec::new()),
        };
        Self { places, anchors, columns }
    }

    /// A share whose texts are the rows of a round, in their order.
    pub(super) fn whole(share: &Share) -> Self {
        Self::new(&share.plan.task, (0..share.plan.texts.len() as u32).collect())
    }

    /// Who judges the share.
    fn judging<'a>(&'a self, share: &'a Share) -> Judging<'a> {
        match (share.loss, &share.plan.task) {
            (Loss::Mnrl { scale, symmetric }, Task::Ranking(ranking)) => {
                Judging::Ranking(RoundRanking {
                    anchors: &self.anchors,
                    columns: &self.columns,
                    excluded: &ranking.excluded,
                    scale,
                    is_symmetric: symmetric,
                    part: share.part,
                })
            }
            _ => {
                let reads_head = share.adapter.layout.head().is_some();
                Judging::Host { unscaled: if reads_head { &self.places } else { &[] } }
            }
        }
    }

    /// Texts whose rows follow each other, with the first row of each such run.
    fn runs(&self) -> impl Iterator<Item = (usize, &[u32])> {
        self.places.chunk_by(|row, next| row + 1 == *next).map(|run| (run[0] as usize, run))
    }
}

/// Where each share's texts are among the rows of a round: those of the chunks, end to end.
pub(super) fn number<B: Backend>(scene: &Scene<B>, chunks: &[Chunk<B>]) -> Vec<Numbered> {
    let mut places: Vec<Vec<u32>> =
        scene.shares.iter().map(|share| vec![0; share.plan.texts.len()]).collect();
    let mut row = 0;
    for &Part { plan, piece } in chunks.iter().flat_map(|chunk| &chunk.shape.parts) {
        for text in scene.shares[plan].plan.pieces[piece].clone() {
            places[plan][text] = row;
            row += 1;
        }
    }
    let shares = scene.shares.iter().zip(places);
    shares.map(|(share, places)| Numbered::new(&share.plan.task, places)).collect()
}

/// Judges every share, which are the members of the round. The host waits for rows only if one of them
/// is its own to judge.
pub(super) fn judge<B: Backend>(
    scene: &Scene<B>,
    worker: &mut Worker<B>,
    numbered: &[Numbered],
    round: &mut Round<'_, B>,
) {
    let all = || numbered.iter().zip(scene.shares);
    let judgings: Vec<Judging<'_>> =
        all().map(|(numbered, share)| numbered.judging(share)).collect();
    round.judge(&judgings);
    let is_ours = |(_, judging): &(usize, &Judging<'_>)| matches!(judging, Judging::Host { .. });
    let mut ours = judgings.iter().enumerate().filter(is_ours).map(|(at, _)| at).peekable();
    if ours.peek().is_some() {
        let rows = round.rows();
        for at in ours {
            // What comes from a device that failed is nothing.
            if scene.encoder.backend().has_failed() {
                break;
            }
            let subject = (at, &scene.shares[at], &numbered[at]);
            judge_here(subject, (&rows, scene.encoder.config()), &mut worker.losses, round);
        }
    }
    round.settle();
}

/// Judges a member by the rows that the device has of its texts.
fn judge_here<B: Backend>(
    (member, share, numbered): (usize, &Share, &Numbered),
    (rows, config): (&[f32], &EncoderConfig),
    buffers: &mut LossBuffers,
    round: &mut Round<'_, B>,
) {
    let hidden = config.hidden;
    let row = |place: &u32| &rows[*place as usize * hidden..][..hidden];
    let embeddings: Vec<f32> = numbered.places.iter().flat_map(row).copied().collect();
    let mut slopes = vec![0.0; embeddings.len()];
    // An adapter that is nothing but the head.
    let head = share.adapter.layout.head().map(Head::values);
    let adapter = match head.clone() {
        Some(head) => Adapter {
            layout: Arc::new(AdapterLayout::default().with_head(config)),
            values: round.values(member, head),
        },
        None => Adapter::default(),
    };
    let mut by_values = vec![0.0; adapter.values.len()];
    let embedded = Embedded { rows: &embeddings, hidden };
    let judged = Judged { task: &share.plan.task, embedded, adapter: &adapter, part: share.part };
    let found = Slopes { rows: &mut slopes, values: &mut by_values };
    let loss = loss::evaluate(share.loss, judged, found, buffers);
    round.take_loss(member, loss);
    let mut rest = slopes.as_slice();
    for (first, run) in numbered.runs() {
        let own = rest.split_off(..run.len() * hidden).unwrap_or_default();
        round.take_slopes(first, own);
    }
    if let Some(head) = head {
        round.take_gradient(member, head.start, &by_values);
    }
}
