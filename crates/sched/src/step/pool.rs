//! Cards come, go, fail and come back; machines are drained.

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
            let before = self.state.cards.get(&card.id);
            // Whether it fails its machine says by another report.
            let is_failing = before.is_some_and(|record| record.is_failing);
            let record = CardRecord { card, is_lost: false, is_failing };
            if before == Some(&record) {
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

    pub(super) fn on_failing_reported(&mut self, node: &NodeName, failing: &[CardId]) {
        let mut news = Vec::new();
        let here = self.state.cards.values_mut().filter(|record| record.card.node == *node);
        for record in here {
            let id = record.card.id.clone();
            let is_failing = failing.contains(&id);
            if std::mem::replace(&mut record.is_failing, is_failing) != is_failing {
                news.push(if is_failing { News::CardFailing(id) } else { News::CardWell(id) });
            }
        }
        if news.is_empty() {
            return;
        }
        news.into_iter().for_each(|news| self.say(news));
        self.state.forget_ledger();
        self.effects.wants_plan = true;
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
