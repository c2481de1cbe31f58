//! Cards come, go and come back; machines are drained.

use std::collections::BTreeSet;

use cotenant_types::{Card, CardId, JobId, NodeName};

use super::Step;
use crate::event::{News, Outcome, Refusal};
use crate::state::{AfterStop, CardRecord, Phase};

impl Step<'_> {
    pub(super) fn on_cards_reported(&mut self, node: &NodeName, cards: Vec<Card>) {
        let mut has_changed = false;
        let named: BTreeSet<CardId> = cards.iter().map(|card| card.id.clone()).collect();
        for card in cards.into_iter().filter(|card| card.node == *node) {
            let record = CardRecord { card, is_lost: false };
            if self.state.cards.get(&record.card.id) == Some(&record) {
                continue;
            }
            has_changed = true;
            self.say(News::CardJoined(record.card.id.clone()));
            self.state.cards.insert(record.card.id.clone(), record);
        }
        let mut lost = Vec::new();
        for record in self.state.cards.values_mut() {
            let is_gone = record.card.node == *node && !named.contains(&record.card.id);
            if is_gone && !record.is_lost {
                record.is_lost = true;
                lost.push(record.card.id.clone());
            }
        }
        for card in &lost {
            self.say(News::CardLost(card.clone()));
        }
        if !has_changed && lost.is_empty() {
            return;
        }
        self.state.forget_ledger();
        self.effects.wants_plan = true;
        self.leave(&lost);
    }

    /// Ends what has a slice of a card that is gone.
    fn leave(&mut self, cards: &[CardId]) {
        let here = |job: &&crate::state::Job| {
            let placement = job.placement();
            placement.is_some_and(|it| it.slices().any(|slice| cards.contains(&slice.card)))
        };
        let jobs: Vec<JobId> = self.state.jobs.values().filter(here).map(|job| job.id).collect();
        for id in jobs {
            if !matches!(self.state.jobs[&id].phase, Phase::Stopping { .. }) {
                let then = AfterStop::Retry(Outcome::Lost);
                self.stop(id, then, "its card is gone".to_owned());
            }
        }
    }

    pub(super) fn on_drain_set(
        &mut self,
        node: NodeName,
        is_draining: bool,
    ) -> Result<(), Refusal> {
        if self.state.cards.values().all(|record| record.card.node != node) {
            return Err(Refusal::UnknownNode(node));
        }
        let has_changed = match is_draining {
            true => self.state.draining.insert(node.clone()),
            false => self.state.draining.remove(&node),
        };
        if has_changed {
            self.say(News::DrainSet(node, is_draining));
            self.state.forget_ledger();
            self.effects.wants_plan = true;
        }
        Ok(())
    }
}
