//! Places by expected departure: jobs that will go together share cards, so that whole cards come
//! free.
//!
//! A job that stays longer than what it stands beside keeps a card from others for so much longer;
//! on an idle card, for all of its time. That part of its time is priced.

use crate::policy::{CARD_COST, Cards, Offer};
use crate::replay::board::NO_ROOM;
use crate::replay::timed::engine::{Running, Timed};

/// What it costs to keep a card for all of a job's time, in thousandths of a card. Of 30, 100,
/// 300, 1000 and 3000, the best on seeds 1001 to 1010 with 100 nodes, 64 times as fast.
const KEPT_MILLI: i64 = 100;

impl Timed<'_> {
    /// The cheapest node for a kind of job, with what its stay would keep from others.
    pub(super) fn cheapest_by_departure(&mut self, kind: u32) -> Option<(usize, Offer)> {
        let costs = self.placer.costs(kind as usize);
        let least = *costs.iter().min()?;
        if least == NO_ROOM {
            return None;
        }
        let reach = least.saturating_add(KEPT_MILLI * CARD_COST / 1000);
        let near: Vec<usize> = (0..costs.len()).filter(|&node| costs[node] < reach).collect();
        let stays_s = self.lifetimes.left(kind, 0);
        let offer = |node: usize| {
            let offer = self.placer.offer(node, kind as usize)?;
            let kept = self.keeps_milli((node, offer.cards), stays_s);
            Some((node, Offer { cost: offer.cost + kept * CARD_COST / 1000, ..offer }))
        };
        near.into_iter().filter_map(offer).min_by_key(|(node, offer)| (offer.cost, *node))
    }

    fn keeps_milli(&self, (node, cards): (usize, Cards), stays_s: u64) -> i64 {
        let until_s = |number: &u32| {
            let running = self.running[*number as usize]?;
            let is_beside = cards == Cards(0) || running.cards.0 & cards.0 != 0;
            is_beside.then(|| self.expected_end(*number, running))
        };
        let others_s = self.on_node[node].iter().filter_map(until_s).max().unwrap_or(self.now_s);
        let longer_s = (self.now_s + stays_s).saturating_sub(others_s).min(stays_s);
        (KEPT_MILLI as u64 * longer_s / stays_s.max(1)) as i64
    }

    fn expected_end(&self, number: u32, running: Running) -> u64 {
        self.now_s + self.lifetimes.left(self.kind(number), self.now_s - running.begun_s)
    }
}
