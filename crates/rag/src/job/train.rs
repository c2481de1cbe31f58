//! The run itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cotenant_train::{
    Base, Counters, Event, Limits, PrefixLimits, TenantError, TenantId, TenantSpec, Trainer,
};
use cotenant_transformer::{Adapter, AdapterLayout, Backend};

use super::base::BaseModel;
use super::card::{self, OnCards};
use super::error::JobError;
use super::estimate::{self, TAPE_BYTES_MAX};
use super::finish::{self, Trained};
use super::limit;
use super::observer::{Observer, RunEvent, Stage};
use super::prepare::{Goal, Prepared, Read};
use super::results::RunResults;
use super::run_folder::RunFolder;
use super::settings;
use super::usage::Usage;
use super::workshop::{Workshop, not_embedded};
use crate::report::RunReport;
use crate::workspace::{self, DeviceChoice, Workspace};

/// How a workspace is run.
pub struct RunOptions<'a> {
    /// Where everything is written.
    pub folder: RunFolder,
    /// Go on from the folder's checkpoint.
    pub resume: bool,
    /// Where token ids and base embeddings are kept between runs; `None` keeps none.
    pub cache: Option<PathBuf>,
    /// The day, for the report; the library reads no clock but for durations.
    pub date: String,
    /// Looked at all the time: once true, the run ends soon; in training, with a checkpoint.
    pub stop: &'a AtomicBool,
    /// Told of everything that happens.
    pub observer: &'a dyn Observer,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything was trained, measured and written.
    Finished(Box<(RunResults, RunReport)>),
    /// The run was asked to stop.
    Stopped {
        /// The run's folder.
        folder: PathBuf,
        /// What is left to go on from.
        kept: Kept,
    },
}

/// What a run that was stopped leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Training had not begun: what was tokenised and embedded is in the cache, and the same run
    /// begun again finds it there.
    Caches,
    /// A checkpoint, from which the run is resumed.
    Checkpoint,
}

/// Threads that compute: as the workspace says, or one a core.
pub(super) fn threads(limits: &workspace::Limits) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    limits.threads.unwrap_or_else(cores)
}

/// The trainer's limits for a workspace.
pub(super) fn trainer_limits(limits: &workspace::Limits) -> Limits {
    Limits {
        threads: threads(limits),
        tokens_chunk: limits.chunk_tokens,
        tape_bytes_max: TAPE_BYTES_MAX,
        prefix: PrefixLimits {
            memory_bytes_max: limits.prefix_cache_mib.to_bytes().0 as usize,
            ..PrefixLimits::default()
        },
        ..Limits::default()
    }
}

/// Trains every tenant of a workspace on a base model, and measures before and after.
pub fn run(
    workspace: &Workspace,
    base: BaseModel,
    options: &RunOptions<'_>,
) -> Result<Ending, JobError> {
    match run_to_end(workspace, &base, options) {
        Ok(found) => Ok(Ending::Finished(Box::new(found))),
        Err(JobError::Stopped) => {
            let kept = match options.folder.checkpoint().is_file() {
                true => Kept::Checkpoint,
                false => Kept::Caches,
            };
            Ok(Ending::Stopped { folder: options.folder.path().to_owned(), kept })
        }
        Err(error) => Err(error),
    }
}

fn run_to_end(
    workspace: &Workspace,
    base: &BaseModel,
    options: &RunOptions<'_>,
) -> Result<(RunResults, RunReport), JobError> {
    let begun = Instant::now();
    check_adapters(workspace, base)?;
    options.folder.open(options.resume)?;
    let embedder = base.embedder(&workspace.limits);
    let workshop = Workshop {
        base,
        embedder: &embedder,
        cache: options.cache.clone(),
        observer: options.observer,
        stop: options.stop,
    };
    let mut read = Vec::new();
    for config in &workspace.tenants {
        let (dataset, texts) = workshop.read(config)?;
        read.push(Read { config, dataset, texts });
    }
    // What can be refused is refused before the first text is embedded.
    let on_cards = match workspace.limits.device {
        DeviceChoice::Cpu => None,
        DeviceChoice::Cuda => Some(open_cards(workspace, base, options)?),
    };
    let threads = threads(&workspace.limits);
    let embedder = on_cards.as_ref().map_or(embedder.clone(), |cards| cards.embedder(threads));
    let workshop = Workshop { embedder: &embedder, ..workshop };
    limit::check_examples(&read)?;
    limit::check_memory(workspace, &workshop, &read)?;
    let mut tenants = Vec::new();
    for tenant in read {
        tenants.push(workshop.prepare(tenant)?);
    }
    for tenant in &tenants {
        workshop.wait_for_tokens(&tenant.dataset, &*tenant.texts)?;
    }
    let predicted = estimate::of_prepared(workspace, base, &tenants)?;
    let before_training = Usage::now();
    let training = Training { workspace, base, workshop: &workshop, options };
    let trained = training.run(&tenants, on_cards)?;
    let cpu_s = Usage::now().cpu_s - before_training.cpu_s;
    let trained = Trained { cpu_s, begun, predicted, ..trained };
    finish::finish(&workshop, tenants, trained, options)
}

/// Puts the base model on cards, and tells of what works less well there than it could.
fn open_cards(
    workspace: &Workspace,
    base: &BaseModel,
    options: &RunOptions<'_>,
) -> Result<OnCards, JobError> {
    let limits = trainer_limits(&workspace.limits);
    let precision = workspace.limits.precision.on_card();
    let asked = (precision, workspace.limits.cards);
    let (on_cards, notes) = card::open(base, limits, asked, options.cache.as_deref())?;
    for message in notes {
        options.observer.on_event(&RunEvent::Warned { tenant: String::new(), message });
    }
    Ok(on_cards)
}

/// Refuses adapters that do not fit the model before anything that takes long.
fn check_adapters(workspace: &Workspace, base: &BaseModel) -> Result<(), JobError> {
    for tenant in &workspace.tenants {
        AdapterLayout::from_spec(&tenant.adapter.spec(), base.folder.config())
            .map_err(|source| JobError::Spec { tenant: tenant.name.to_string(), source })?;
    }
    Ok(())
}

/// The tenants that train, in the order of the workspace.
type Members<'a> = BTreeMap<TenantId, &'a Prepared>;

struct Training<'a> {
    workspace: &'a Workspace,
    base: &'a BaseModel,
    workshop: &'a Workshop<'a>,
    options: &'a RunOptions<'a>,
}

impl Training<'_> {
    /// Trains on cards, or without one on the processor.
    fn run(&self, tenants: &[Prepared], on_cards: Option<OnCards>) -> Result<Trained, JobError> {
        match on_cards {
            Some(OnCards { encoders, fingerprint, limits, .. }) => {
                self.run_on(Trainer::over(encoders, fingerprint, limits)?, tenants)
            }
            None => {
                let limits = trainer_limits(&self.workspace.limits);
                let (encoder, fingerprint) = (self.base.encoder.clone(), self.base.fingerprint);
                self.run_on(Trainer::new(Base { encoder, fingerprint }, limits)?, tenants)
            }
        }
    }

    /// Runs rounds until every tenant with examples is through, or leaves a checkpoint and stops.
    fn run_on<B: Backend>(
        &self,
        mut trainer: Trainer<B>,
        tenants: &[Prepared],
    ) -> Result<Trained, JobError> {
        let begun = Instant::now();
        let mut members = Members::new();
        for tenant in tenants.iter().filter(|tenant| !tenant.examples.is_empty()) {
            members.insert(self.add(&mut trainer, tenant)?, tenant);
        }
        if self.options.resume {
            let checkpoint = self.options.folder.checkpoint();
            trainer.resume(&checkpoint).map_err(|source| JobError::Resume { source })?;
        }
        let steps = |id: &TenantId| trainer.progress(*id).map_or(0, |p| p.steps_total - p.step);
        self.workshop.start("", Stage::Train, members.keys().map(steps).sum());
        let earlier = trainer.counters();
        self.rounds(&mut trainer, &members)?;
        self.workshop.finish("", Stage::Train);
        let wall_s = begun.elapsed().as_secs_f64();
        let counters = since(trainer.counters(), earlier);
        let mut ids = members.into_keys();
        let outcome = |tenant: &Prepared| match tenant.examples.is_empty() {
            true => None,
            false => trainer.remove(ids.next()?),
        };
        let outcomes = tenants.iter().map(outcome).collect();
        let predicted = Default::default();
        Ok(Trained { outcomes, counters, wall_s, cpu_s: 0.0, begun, predicted })
    }

    /// Rounds to the end, with a checkpoint every so often, in the end, and before a stop.
    fn rounds<B: Backend>(
        &self,
        trainer: &mut Trainer<B>,
        members: &Members<'_>,
    ) -> Result<(), JobError> {
        let every = self.workspace.limits.checkpoint_every_steps;
        let mut since_checkpoint = 0;
        while !trainer.is_done() {
            match self.report_scores(trainer, members) {
                Ok(()) => {
                    let events = trainer.run_round();
                    since_checkpoint += self.tell(members, &events);
                    if let Some(fault) = trainer.fault() {
                        // The last checkpoint is from before, and can be gone on from.
                        return Err(JobError::Device { source: fault.clone() });
                    }
                }
                // The score is asked for again after a resume.
                Err(JobError::Stopped) => {}
                Err(error) => {
                    // What was trained is whole, unless the device that keeps it is lost; then no
                    // checkpoint is written, and the one before stays.
                    let _ = self.checkpoint(trainer);
                    return Err(error);
                }
            }
            let is_stopped = self.workshop.is_stopped();
            if is_stopped || (every > 0 && since_checkpoint >= every) {
                self.checkpoint(trainer)?;
                self.options.observer.on_event(&RunEvent::CheckpointWritten);
                since_checkpoint = 0;
            }
            if is_stopped {
                return Err(JobError::Stopped);
            }
        }
        // What follows embeds every corpus again; if that fails, training need not run again.
        self.checkpoint(trainer)
    }

    fn checkpoint<B: Backend>(&self, trainer: &Trainer<B>) -> Result<(), JobError> {
        let path = self.options.folder.checkpoint();
        trainer.checkpoint(&path).map_err(|source| JobError::Checkpoint { source })
    }

    /// Judges every adapter that the trainer waits for.
    fn report_scores<B: Backend>(
        &self,
        trainer: &mut Trainer<B>,
        members: &Members<'_>,
    ) -> Result<(), JobError> {
        for (id, _) in trainer.awaiting_score() {
            let adapter = trainer.adapter(id).map_err(lost)?;
            let score = self.score(members[&id], &adapter)?;
            let events = trainer.report_score(id, score).map_err(lost)?;
            self.tell(members, &events);
        }
        Ok(())
    }

    fn add<B: Backend>(
        &self,
        trainer: &mut Trainer<B>,
        tenant: &Prepared,
    ) -> Result<TenantId, JobError> {
        let mut settings =
            settings::settings(&tenant.config, &self.workspace.limits, &tenant.examples);
        if !tenant.dataset.dev.is_empty() {
            settings.evaluation =
                Some(settings::evaluation(&tenant.config, &settings, &tenant.examples));
        }
        let spec = TenantSpec {
            name: tenant.name.clone(),
            examples: tenant.examples.clone(),
            texts: tenant.cut.clone(),
            settings,
            adapter: None,
        };
        trainer
            .add(spec)
            .map_err(|source| JobError::Settings { tenant: tenant.name.clone(), source })
    }

    fn score(&self, tenant: &Prepared, adapter: &Adapter) -> Result<f64, JobError> {
        let Prepared { name, dataset, goal, cut, .. } = tenant;
        let Workshop { embedder, stop, .. } = *self.workshop;
        match goal {
            Goal::Embed(dev) => dev
                .score((dataset, &**cut), (embedder, stop), adapter)
                .map_err(|error| not_embedded(name, error)),
            Goal::Rerank(reranking) => self.workshop.judge_reranker(tenant, reranking, adapter),
        }
    }

    /// Passes the trainer's events on; returns the optimizer steps among them.
    fn tell(&self, members: &Members<'_>, events: &[Event]) -> u64 {
        let mut steps = 0;
        let name = |id: &TenantId| members[id].name.clone();
        for event in events {
            let told = match event {
                Event::StepFinished { tenant, step, loss, .. } => {
                    steps += 1;
                    self.workshop.advance("", Stage::Train, 1);
                    RunEvent::StepFinished { tenant: name(tenant), step: *step, loss: *loss }
                }
                Event::EvaluationDue { .. } => continue,
                Event::ScoreCompared { tenant, step, score, improved, .. } => RunEvent::Scored {
                    tenant: name(tenant),
                    step: *step,
                    ndcg10: *score,
                    improved: *improved,
                },
                Event::TenantFinished { tenant, reason } => RunEvent::TenantFinished {
                    tenant: name(tenant),
                    reason: reason.to_string(),
                    failed: reason.is_failure(),
                },
            };
            self.options.observer.on_event(&told);
        }
        steps
    }
}

/// Of a tenant that the trainer knows and waits for, only what a lost device had of it is missing.
fn lost(error: TenantError) -> JobError {
    match error {
        TenantError::Lost(source) => JobError::Device { source },
        TenantError::Unknown { .. } | TenantError::NotDue { .. } => {
            unreachable!("the trainer named the tenant")
        }
    }
}

/// What was done after `earlier`, so that a resumed run counts only its own work.
fn since(now: Counters, earlier: Counters) -> Counters {
    Counters {
        rounds: now.rounds - earlier.rounds,
        steps: now.steps - earlier.steps,
        tokens: now.tokens - earlier.tokens,
        pairs: now.pairs - earlier.pairs,
        chunks: now.chunks - earlier.chunks,
        chunks_recomputed: now.chunks_recomputed - earlier.chunks_recomputed,
        data_stall: now.data_stall - earlier.data_stall,
        planning: now.planning - earlier.planning,
        forward: now.forward - earlier.forward,
        loss: now.loss - earlier.loss,
        backward: now.backward - earlier.backward,
        optimizer: now.optimizer - earlier.optimizer,
    }
}
