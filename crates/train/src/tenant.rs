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

use std::sync::Arc;
use std::time::{Duration, Instant};

use cotenant_transformer::{Adapter, AdapterLayout, EncoderConfig, random};
use serde::{Deserialize, Serialize};

use crate::event::{Event, FinishReason, Outcome, Progress, TenantId};
use crate::hash::{Hasher, hash_bytes};
use crate::optimizer::{AdamW, clip};
use crate::plan::{Course, Cursor, Plan, steps_total};
use crate::round::Share;
use crate::schedule::Schedule;
use crate::settings::{Settings, SettingsError};
use crate::texts::{Example, TenantSpec, TextError, Texts};

/// Where a tenant stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Ready for its next batch.
    Training,
    /// Waits to be told how good its adapter is.
    AwaitingScore,
    /// Takes no further steps.
    Finished(FinishReason),
}

/// The best adapter so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Best {
    /// Steps taken when it was judged.
    pub(crate) step: u64,
    /// Its score; higher is better.
    pub(crate) score: f64,
    /// Its values.
    pub(crate) values: Vec<f32>,
}

/// Everything of a tenant that training changes, but for its place in the course.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Where it stands.
    pub(crate) phase: Phase,
    /// The adapter after `step` steps; once finished, the final one.
    pub(crate) adapter: Arc<Adapter>,
    /// The step that the adapter belongs to.
    pub(crate) adapter_step: u64,
    /// State of the optimizer; empty once finished.
    pub(crate) optimizer: AdamW,
    /// Sum over the batches of the current step so far; empty between steps of a new tenant.
    pub(crate) gradient: Vec<f32>,
    /// Sum of the losses of those batches, each times its part.
    pub(crate) loss: f64,
    /// Tokens and examples of those batches.
    pub(crate) step_tokens: u64,
    /// Examples of those batches.
    pub(crate) step_pairs: u64,
    /// Optimizer steps taken.
    pub(crate) step: u64,
    /// Tokens embedded so far.
    pub(crate) tokens: u64,
    /// Examples so far.
    pub(crate) pairs: u64,
    /// The loss of each step.
    pub(crate) losses: Vec<f32>,
    /// The best adapter, where scores are reported.
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) evaluations_in_vain: u32,
}

/// A batch whose texts are at hand.
#[derive(Debug)]
struct Ready {
    plan: Plan,
    tokens: Vec<Arc<[u32]>>,
}

/// One tenant.
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    /// Tells whether a checkpoint belongs to these examples and texts.
    pub(crate) data_hash: u64,
    pub(crate) state: State,
    pub(crate) course: Course,
    examples: Vec<Example>,
    texts: Arc<dyn Texts>,
    schedule: Schedule,
    ready: Option<Ready>,
    /// The epoch whose texts were announced.
    announced: Option<u32>,
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
            Some(adapter) => check_adapter(adapter, config)?,
            None => {
                let layout = AdapterLayout::from_spec(&settings.lora, config)?;
                Adapter::initial(Arc::new(layout), settings.seed)
            }
        };
        let course = Course::new(&examples, &settings);
        if course.is_empty() {
            return Err(SettingsError::NothingToCompare);
        }
        let schedule = Schedule::new(&settings, steps_total(&examples, &settings));
        let phase = match settings.evaluation {
            Some(_) => Phase::AwaitingScore,
            None => Phase::Training,
        };
        let data_hash = hash_data(&examples, &*texts);
        let state = State::new(phase, adapter);
        let (ready, announced, called_for_score) = (None, None, false);
        Ok(Self {
            name,
            settings,
            data_hash,
            state,
            course,
            examples,
            texts,
            schedule,
            ready,
            announced,
            called_for_score,
        })
    }

    /// Whether a state from a checkpoint can be this tenant's.
    pub(crate) fn accepts(&self, state: &State, cursor: Cursor) -> bool {
        let values = self.state.adapter.values.len();
        let is_finished = matches!(state.phase, Phase::Finished(_));
        let Some(begun) = self.course.batch_of_step_at(&self.examples, cursor) else {
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
    }

    /// Puts back a state that the tenant accepts.
    pub(crate) fn restore(&mut self, state: State, cursor: Cursor) {
        self.course.seek(&self.examples, cursor);
        self.state = state;
        (self.ready, self.announced, self.called_for_score) = (None, None, false);
    }

    /// Gets the next batch's texts ready and says how long that had to wait for them.
    pub(crate) fn prepare(&mut self, config: &EncoderConfig) -> Result<Duration, FinishReason> {
        if self.ready.is_some() {
            return Ok(Duration::ZERO);
        }
        let epoch = self.course.cursor().epoch;
        if self.announced != Some(epoch) {
            self.texts.announce(&self.course.upcoming(&self.examples));
            self.announced = Some(epoch);
        }
        let batch = self.course.batch(&self.examples);
        let begun = Instant::now();
        let fetch = |&text: &u32| {
            let bad = |error: TextError| FinishReason::BadText { text, reason: error.reason };
            self.texts.tokens(text).map_err(bad)
        };
        let tokens = batch.texts.iter().map(fetch).collect::<Result<Vec<_>, _>>()?;
        let stall = begun.elapsed();
        for (&text, tokens) in batch.texts.iter().zip(&tokens) {
            let bad = |reason| FinishReason::BadText { text, reason };
            check_tokens(tokens, config).map_err(bad)?;
        }
        let lengths = tokens.iter().map(|tokens| tokens.len()).collect();
        let plan = Plan::new(batch, lengths, self.settings.tokens_chunk);
        self.ready = Some(Ready { plan, tokens });
        Ok(stall)
    }

    /// Tokens of the batch that is ready.
    pub(crate) fn ready_tokens(&self) -> Option<usize> {
        self.ready.as_ref().map(|ready| ready.plan.tokens())
    }

    /// Hands the batch that is ready to a round.
    pub(crate) fn take_share(&mut self) -> Share {
        let Ready { plan, tokens } = self.ready.take().expect("only a prepared tenant is chosen");
        let state = &mut self.state;
        let mut gradient = std::mem::take(&mut state.gradient);
        gradient.resize(state.adapter.values.len(), 0.0);
        let rate = self.settings.dropout_per_mille;
        let batch = self.course.batch_of_step() as u64;
        let key = random::mix(&[self.settings.seed, DROPOUT, state.step, batch]);
        Share {
            adapter: Arc::clone(&state.adapter),
            plan,
            tokens,
            dropout: (rate > 0).then_some((key, rate)),
            loss: self.settings.loss,
            part: 1.0 / self.course.batches_of_step() as f32,
            gradient,
            loss_value: 0.0,
        }
    }

    /// Takes the share back after its round; steps the optimizer once the step's batches are in.
    pub(crate) fn on_round_finished(&mut self, id: TenantId, share: Share) -> Vec<Event> {
        let Share { adapter, plan, part, gradient, loss_value, .. } = share;
        drop(adapter);
        let state = &mut self.state;
        state.gradient = gradient;
        if !loss_value.is_finite() {
            return vec![self.stop_not_finite(id, "loss")];
        }
        state.loss += f64::from(loss_value) * f64::from(part);
        state.step_tokens += plan.tokens() as u64;
        state.step_pairs += plan.pairs as u64;
        if self.course.batch_of_step() + 1 < self.course.batches_of_step() {
            self.course.advance(&self.examples);
            return Vec::new();
        }
        let gradient_norm = clip(&mut self.state.gradient, self.settings.clip_norm);
        if !gradient_norm.is_finite() {
            return vec![self.stop_not_finite(id, "gradient")];
        }
        let mut events = vec![self.step(id, gradient_norm)];
        self.course.advance(&self.examples);
        events.extend(self.after_step(id));
        events
    }

    /// Compares a score with the best so far and goes on, or stops.
    pub(crate) fn on_score(&mut self, id: TenantId, score: f64) -> Vec<Event> {
        let state = &mut self.state;
        let improved = match &state.best {
            Some(best) => score > best.score,
            None => true,
        };
        if improved {
            let values = state.adapter.values.clone();
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
        self.ready = None;
        Event::TenantFinished { tenant: id, reason }
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        let State { step, tokens, pairs, losses, best, phase, .. } = &self.state;
        Progress {
            name: self.name.clone(),
            step: *step,
            steps_total: self.schedule.steps_total,
            epoch: self.course.cursor().epoch,
            pairs: *pairs,
            tokens: *tokens,
            losses: losses.clone(),
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

    fn step(&mut self, id: TenantId, gradient_norm: f32) -> Event {
        let state = &mut self.state;
        let learning_rate = self.schedule.rate(state.step);
        let values = &mut Arc::make_mut(&mut state.adapter).values;
        state.optimizer.step(values, &state.gradient, learning_rate, self.settings.weight_decay);
        state.gradient.clear();
        state.step += 1;
        state.adapter_step = state.step;
        let loss = std::mem::take(&mut state.loss) as f32;
        state.losses.push(loss);
        let tokens = std::mem::take(&mut state.step_tokens);
        let pairs = std::mem::take(&mut state.step_pairs);
        state.tokens += tokens;
        state.pairs += pairs;
        let (tenant, step) = (id, state.step);
        Event::StepFinished { tenant, step, loss, gradient_norm, learning_rate, tokens, pairs }
    }

    fn after_step(&mut self, id: TenantId) -> Option<Event> {
        let step = self.state.step;
        let is_last = step >= self.schedule.steps_total;
        match self.settings.evaluation {
            Some(evaluation) if is_last || step % evaluation.every_steps == 0 => {
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

impl State {
    fn new(phase: Phase, adapter: Adapter) -> Self {
        let optimizer = AdamW::new(adapter.values.len());
        Self {
            phase,
            adapter: Arc::new(adapter),
            adapter_step: 0,
            optimizer,
            gradient: Vec::new(),
            loss: 0.0,
            step_tokens: 0,
            step_pairs: 0,
            step: 0,
            tokens: 0,
            pairs: 0,
            losses: Vec::new(),
            best: None,
            evaluations_in_vain: 0,
        }
    }
}

/// Keeps dropout's draws apart from others of the same seed.
const DROPOUT: u64 = 0x6472_6F70_6F75_7400;

/// Refuses token ids that the model does not have, and texts it has no positions for.
fn check_tokens(tokens: &[u32], config: &EncoderConfig) -> Result<(), String> {
    let longest = config.tokens_max();
    if tokens.is_empty() {
        return Err("it has no tokens".into());
    }
    if tokens.len() > longest {
        return Err(format!("it has {} tokens, but the model takes {longest}", tokens.len()));
    }
    match tokens.iter().find(|&&token| token as usize >= config.vocab) {
        Some(token) => {
            Err(format!("token {token} is outside of the vocabulary of {}", config.vocab))
        }
        None => Ok(()),
    }
}

/// Refuses an adapter that does not fit the model.
fn check_adapter(adapter: Adapter, config: &EncoderConfig) -> Result<Adapter, SettingsError> {
    let entries = adapter.layout.entries();
    let pairs = entries.iter().map(|entry| (entry.site, entry.rank, entry.scale)).collect();
    let wrong_layer = entries.iter().find(|entry| entry.site.layer >= config.layers);
    let reason = if let Some(entry) = wrong_layer {
        format!("it adapts layer {}, but the model has {}", entry.site.layer, config.layers)
    } else if adapter.layout.is_empty() {
        "it adapts nothing".into()
    } else if *adapter.layout != AdapterLayout::from_pairs(pairs, config) {
        "its matrices have other shapes".into()
    } else if adapter.values.len() != adapter.layout.len() {
        format!("it has {} values instead of {}", adapter.values.len(), adapter.layout.len())
    } else if adapter.values.iter().any(|value| !value.is_finite()) {
        "a value is not a finite number".into()
    } else {
        return Ok(adapter);
    };
    Err(SettingsError::BeginAdapter { reason })
}

fn hash_data(examples: &[Example], texts: &dyn Texts) -> u64 {
    let mut hasher = Hasher::new(hash_bytes(0, b"examples"));
    for example in examples {
        match example {
            Example::Pair { anchor, positive, negatives } => {
                hasher.word(negatives.len() as u64);
                for &text in [anchor, positive].into_iter().chain(negatives) {
                    hasher.word(text.into());
                    hasher.word(texts.key(text));
                }
            }
            Example::Scored { left, right, score } => {
                hasher.word(u64::from(score.to_bits()) << 32);
                for &text in [left, right] {
                    hasher.word(text.into());
                    hasher.word(texts.key(text));
                }
            }
        }
    }
    hasher.finish()
}
