//! What a tenant goes through from start to finish.
//!
//! ```text
//!            evaluation set            score reported
//! new ───────────────────────▶ awaiting score ─────────▶ training ──▶ finished (all steps,
//!  └──── no evaluation ───────────────▲───────────────────▲  │          bad text, not finite)
//!                                     └── every so many ──┼──┘
//!                                         steps, and last └─ patience spent ──▶ finished
//! ```
//! One batch of a tenant is in a round at most, since the next one starts from the adapter that
//! this one leaves (or adds to the same optimizer step).

mod check;
mod state;
mod supply;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use cotenant_transformer::{Adapter, AdapterLayout, EncoderConfig, Ending, SlabState, random};

use crate::event::{Event, FinishReason, Outcome, Progress, TenantId};
use crate::optimizer::{AdamW, Schedule, clip};
use crate::plan::{Cursor, steps_total};
use crate::round::{KeptShare, Share};
use crate::spec::{Settings, SettingsError, TenantSpec};
use check::{check_adapter, hash_data, layout_for};
pub(crate) use state::{Best, Phase, State};
use supply::{Ready, Supply};

/// One tenant.
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    /// Tells whether a checkpoint belongs to these examples and texts.
    pub(crate) data_hash: u64,
    pub(crate) state: State,
    supply: Supply,
    schedule: Schedule,
    /// Whether the caller was told that a score is due.
    pub(crate) called_for_score: bool,
}

impl Tenant {
    /// Checks a tenant and puts it before its first step.
    pub(crate) fn new(spec: TenantSpec, config: &EncoderConfig) -> Result<Self, SettingsError> {
        let TenantSpec { name, examples, texts, settings, adapter } = spec;
        settings.check()?;
        settings.check_examples(&examples)?;
        let adapter = match adapter {
            Some(adapter) => check_adapter(adapter, config, settings.loss)?,
            None => {
                let layout = AdapterLayout::from_spec(&settings.lora, config)?;
                let layout = layout_for(settings.loss, layout, config);
                Adapter::initial(Arc::new(layout), settings.seed)
            }
        };
        let data_hash = hash_data(&examples, &*texts);
        let schedule = Schedule::new(&settings, steps_total(&examples, &settings));
        let supply = Supply::new(examples, texts, &settings);
        if supply.is_empty() {
            return Err(SettingsError::NothingToCompare);
        }
        let phase = match settings.evaluation {
            Some(_) => Phase::AwaitingScore,
            None => Phase::Training,
        };
        let state = State::new(phase, adapter);
        Ok(Self { name, settings, data_hash, state, supply, schedule, called_for_score: false })
    }

    /// Where it is among its batches.
    pub(crate) fn cursor(&self) -> Cursor {
        self.supply.course().cursor()
    }

    /// Whether a state from a checkpoint can be this tenant's.
    pub(crate) fn accepts(&self, state: &State, cursor: Cursor) -> bool {
        let values = self.state.adapter.layout.len();
        let is_finished = matches!(state.phase, Phase::Finished(_));
        let Some(begun) = self.supply.batch_of_step_at(cursor) else {
            return false;
        };
        let optimizer = if is_finished { 0 } else { values };
        let gradient = if is_finished || begun == 0 { 0 } else { values };
        state.adapter.values.len() == values
            && state.optimizer.mean.len() == optimizer
            && state.optimizer.square.len() == optimizer
            && state.gradient.len() == gradient
            && state.best.as_ref().is_none_or(|best| best.values.len() == values)
            && state.losses.len() as u64 == state.step
            && state.step <= self.schedule.steps_total
            // An epoch has a step at least, and all evaluations but the first come after one.
            && u64::from(cursor.epoch) <= state.step
            && u64::from(state.evaluations_in_vain) <= state.step
    }

    /// Puts back a state that the tenant accepts.
    pub(crate) fn restore(&mut self, state: State, cursor: Cursor) {
        self.supply.seek(cursor);
        self.state = state;
        self.called_for_score = false;
    }

    /// Whether the next batch can be had without waiting for a text.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.supply.is_ready()
    }

    /// Gets the next batch's texts and says how long that had to wait for them.
    pub(crate) fn fetch(&mut self, config: &EncoderConfig) -> Result<Duration, FinishReason> {
        self.supply.fetch(config)
    }

    /// Gets the texts of the batch after the one that a round has, if the tenant needs one, and says how
    /// long they were waited for.
    pub(crate) fn look_ahead(&mut self, config: &EncoderConfig) -> Duration {
        let is_last = self.state.step + 1 >= self.schedule.steps_total;
        match is_last && self.supply.course().is_last_of_step() {
            true => Duration::ZERO,
            false => self.supply.look_ahead(config),
        }
    }

    /// Tokens of the batch that was fetched.
    pub(crate) fn fetched_tokens(&self) -> Option<usize> {
        self.supply.fetched_tokens()
    }

    /// Hands the batch that was fetched to a round.
    pub(crate) fn take_share(&mut self, id: TenantId, device: usize, is_kept: bool) -> Share {
        let Ready { plan, tokens } = self.supply.take().expect("only a ready tenant is chosen");
        let kept = is_kept.then(|| self.kept_share());
        if is_kept {
            self.drop_slab_state();
        }
        let course = self.supply.course();
        let state = &mut self.state;
        let mut gradient = mem::take(&mut state.gradient);
        gradient.resize(state.adapter.values.len(), 0.0);
        let rate = self.settings.dropout_per_mille;
        let batch = course.batch_of_step() as u64;
        let key = random::mix(&[self.settings.seed, DROPOUT, state.step, batch]);
        Share {
            tenant: id,
            device,
            adapter: Arc::clone(&state.adapter),
            kept,
            plan,
            tokens,
            dropout: (rate > 0).then_some((key, rate)),
            loss: self.settings.loss,
            part: 1.0 / course.batches_of_step() as f32,
            gradient,
            loss_value: 0.0,
            failed: None,
        }
    }

    /// What a device that keeps the tenant's state is told of the next batch.
    fn kept_share(&self) -> KeptShare {
        let course = self.supply.course();
        let ending = match course.is_last_of_step() {
            true => {
                let rate = self.schedule.rate(self.state.step);
                Ending::Step(self.state.optimizer.next_step(&self.settings, rate))
            }
            false => Ending::Keep,
        };
        KeptShare { goes_on: course.batch_of_step() > 0, ending, gradient_norm: 0.0 }
    }

    /// What training changes, for a device that is to keep it.
    pub(crate) fn slab_state(&self) -> SlabState {
        let State { adapter, optimizer: AdamW { mean, square, .. }, gradient, .. } = &self.state;
        SlabState {
            values: adapter.values.clone(),
            mean: mean.clone(),
            square: square.clone(),
            gradient: gradient.clone(),
        }
    }

    /// Lets go of what a device keeps.
    fn drop_slab_state(&mut self) {
        let State { adapter, optimizer, gradient, .. } = &mut self.state;
        if !adapter.values.is_empty() {
            *adapter =
                Arc::new(Adapter { layout: Arc::clone(&adapter.layout), values: Vec::new() });
        }
        (optimizer.mean, optimizer.square, *gradient) = Default::default();
    }

    /// Takes the values back that a device kept, once nothing else is needed.
    pub(crate) fn take_values(&mut self, values: Vec<f32>) {
        Arc::make_mut(&mut self.state.adapter).values = values;
    }

    /// Whether its adapter's values are here.
    pub(crate) fn has_values(&self) -> bool {
        self.state.adapter.values.len() == self.state.adapter.layout.len()
    }

    /// Whether the batches of a step have begun.
    pub(crate) fn is_within_step(&self) -> bool {
        self.supply.course().batch_of_step() > 0
    }

    /// Takes the share back after its round; steps the optimizer once the step's batches are in.
    pub(crate) fn on_round_finished(&mut self, id: TenantId, share: Share) -> Vec<Event> {
        let Share { adapter, plan, part, gradient, loss_value, kept, failed, .. } = share;
        drop(adapter);
        if let Some(reason) = failed {
            return vec![self.finish(id, FinishReason::OutOfMemory { reason })];
        }
        let state = &mut self.state;
        state.gradient = gradient;
        if !loss_value.is_finite() {
            return vec![self.stop_not_finite(id, "loss")];
        }
        state.loss += f64::from(loss_value) * f64::from(part);
        state.step_tokens += plan.tokens() as u64;
        state.step_pairs += plan.pairs as u64;
        let is_last_of_step = self.supply.course().is_last_of_step();
        if !is_last_of_step {
            self.supply.advance();
            return Vec::new();
        }
        let gradient_norm = match kept {
            Some(kept) => kept.gradient_norm,
            None => clip(&mut self.state.gradient, self.settings.clip_norm),
        };
        if !gradient_norm.is_finite() {
            return vec![self.stop_not_finite(id, "gradient")];
        }
        let mut events = vec![self.step(id, gradient_norm, kept.is_some())];
        self.supply.advance();
        events.extend(self.after_step(id));
        events
    }

    /// Whether a score is better than all before; what is not a number never is.
    pub(crate) fn improves(&self, score: f64) -> bool {
        !score.is_nan() && self.state.best.as_ref().is_none_or(|best| score > best.score)
    }

    /// Compares a score with the best so far and goes on, or stops. `values` are the adapter's, if
    /// it improves.
    pub(crate) fn on_score(
        &mut self,
        id: TenantId,
        score: f64,
        values: Option<Vec<f32>>,
    ) -> Vec<Event> {
        let state = &mut self.state;
        state.scores.push((state.step, score));
        let improved = values.is_some();
        if let Some(values) = values {
            state.best = Some(Best { step: state.step, score, values });
            state.evaluations_in_vain = 0;
        } else {
            state.evaluations_in_vain += 1;
        }
        let best = state.best.as_ref().map_or(score, |best| best.score);
        let (tenant, step) = (id, state.step);
        let mut events = vec![Event::ScoreCompared { tenant, step, score, best, improved }];
        let patience = self.settings.evaluation.and_then(|evaluation| evaluation.patience);
        self.called_for_score = false;
        if step >= self.schedule.steps_total {
            events.push(self.finish(id, FinishReason::Completed));
        } else if patience.is_some_and(|patience| self.state.evaluations_in_vain >= patience) {
            events.push(self.finish(id, FinishReason::EarlyStopped));
        } else {
            self.state.phase = Phase::Training;
        }
        events
    }

    /// Ends the tenant; its adapter becomes the best one where there is one.
    pub(crate) fn finish(&mut self, id: TenantId, reason: FinishReason) -> Event {
        let state = &mut self.state;
        if let Some(best) = &state.best {
            Arc::make_mut(&mut state.adapter).values.clone_from(&best.values);
            state.adapter_step = best.step;
        }
        state.optimizer = AdamW::default();
        state.gradient = Vec::new();
        state.phase = Phase::Finished(reason.clone());
        self.supply.drop_batch();
        Event::TenantFinished { tenant: id, reason }
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        let State { step, tokens, pairs, losses, scores, best, phase, .. } = &self.state;
        Progress {
            name: self.name.clone(),
            step: *step,
            steps_total: self.schedule.steps_total,
            epoch: self.cursor().epoch,
            pairs: *pairs,
            tokens: *tokens,
            losses: losses.clone(),
            scores: scores.clone(),
            best: best.as_ref().map(|best| (best.step, best.score)),
            finished: match phase {
                Phase::Training | Phase::AwaitingScore => None,
                Phase::Finished(reason) => Some(reason.clone()),
            },
        }
    }

    /// What it leaves with.
    pub(crate) fn into_outcome(mut self, id: TenantId) -> Outcome {
        if !matches!(self.state.phase, Phase::Finished(_)) {
            self.finish(id, FinishReason::Removed);
        }
        let progress = self.progress();
        let State { adapter, adapter_step, .. } = self.state;
        let adapter = Arc::unwrap_or_clone(adapter);
        let reason = progress.finished.clone().expect("it is finished");
        Outcome { adapter, adapter_step, progress, reason }
    }

    fn step(&mut self, id: TenantId, gradient_norm: f32, is_kept: bool) -> Event {
        let state = &mut self.state;
        let learning_rate = self.schedule.rate(state.step);
        if is_kept {
            // The device stepped.
            state.optimizer.steps += 1;
        } else {
            let (values, decay) =
                (&mut Arc::make_mut(&mut state.adapter).values, self.settings.weight_decay);
            state.optimizer.step(values, &state.gradient, learning_rate, decay);
            state.gradient.clear();
        }
        state.step += 1;
        state.adapter_step = state.step;
        let loss = mem::take(&mut state.loss) as f32;
        state.losses.push(loss);
        let tokens = mem::take(&mut state.step_tokens);
        let pairs = mem::take(&mut state.step_pairs);
        state.tokens += tokens;
        state.pairs += pairs;
        let (tenant, step) = (id, state.step);
        Event::StepFinished { tenant, step, loss, gradient_norm, learning_rate, tokens, pairs }
    }

    fn after_step(&mut self, id: TenantId) -> Option<Event> {
        let step = self.state.step;
        let is_last = step >= self.schedule.steps_total;
        match self.settings.evaluation {
            Some(evaluation) if is_last || step.is_multiple_of(evaluation.every_steps) => {
                self.state.phase = Phase::AwaitingScore;
                None
            }
            None if is_last => Some(self.finish(id, FinishReason::Completed)),
            Some(_) | None => None,
        }
    }

    fn stop_not_finite(&mut self, id: TenantId, what: &str) -> Event {
        let step = self.state.step + 1;
        self.finish(id, FinishReason::NotFinite { what: what.into(), step })
    }
}

/// Keeps dropout's draws apart from others of the same seed.
const DROPOUT: u64 = 0x6472_6F70_6F75_7400;
