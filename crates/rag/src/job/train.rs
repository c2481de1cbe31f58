//! The run itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cotenant_train::{Base, Counters, Event, Limits, PrefixLimits, TenantId, TenantSpec, Trainer};
use cotenant_transformer::{Adapter, AdapterLayout, Cpu};

use super::base::BaseModel;
use super::error::JobError;
use super::estimate::{self, TAPE_BYTES_MAX};
use super::finish::{self, Trained};
use super::observer::{Observer, RunEvent, Stage};
use super::prepare::{Prepared, Workshop};
use super::results::RunResults;
use super::run_folder::RunFolder;
use super::settings;
use super::usage::Usage;
use crate::report::RunReport;
use crate::workspace::{self, Workspace};

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
    /// Asked between rounds: once true, the run writes a checkpoint and ends.
    pub stop: &'a AtomicBool,
    /// Told of everything that happens.
    pub observer: &'a dyn Observer,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything was trained, measured and written.
    Finished(Box<(RunResults, RunReport)>),
    /// The run was asked to stop and left a checkpoint.
    Stopped {
        /// The folder to resume.
        folder: PathBuf,
    },
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
    let begun = Instant::now();
    check_adapters(workspace, &base)?;
    options.folder.open(options.resume)?;
    let embedder = base.embedder(&workspace.limits);
    let workshop = Workshop {
        base: &base,
        embedder: &embedder,
        cache: options.cache.clone(),
        observer: options.observer,
    };
    let mut read = Vec::new();
    for config in &workspace.tenants {
        read.push((config, workshop.read(config)?));
    }
    let mut tenants = Vec::new();
    for (config, (dataset, texts)) in read {
        tenants.push(workshop.prepare(config, dataset, texts)?);
    }
    let predicted = estimate::of_prepared(workspace, &base, &tenants)?;
    if let Some(limit) = workspace.limits.memory_mib
        && predicted.peak_mib() > limit.0
    {
        let needed_mib = predicted.peak_mib();
        return Err(JobError::Memory { limit_mib: limit.0, needed_mib });
    }
    let before_training = Usage::now();
    let training = Training { workspace, base: &base, workshop: &workshop, options };
    let trained = match training.run(&tenants)? {
        Some(trained) => trained,
        None => return Ok(Ending::Stopped { folder: options.folder.path().to_owned() }),
    };
    let cpu_s = Usage::now().cpu_s - before_training.cpu_s;
    let trained = Trained { cpu_s, begun, predicted, ..trained };
    finish::finish(&workshop, tenants, trained, options)
        .map(|found| Ending::Finished(Box::new(found)))
}

/// Refuses adapters that do not fit the model before anything that takes long.
fn check_adapters(workspace: &Workspace, base: &BaseModel) -> Result<(), JobError> {
    for tenant in &workspace.tenants {
        AdapterLayout::from_spec(&tenant.adapter.spec(), base.folder.config())
            .map_err(|source| JobError::Spec { tenant: tenant.name.to_string(), source })?;
    }
    Ok(())
}

struct Training<'a> {
    workspace: &'a Workspace,
    base: &'a BaseModel,
    workshop: &'a Workshop<'a>,
    options: &'a RunOptions<'a>,
}

impl Training<'_> {
    /// Runs rounds until every tenant is through; `None` if asked to stop before.
    fn run(&self, tenants: &[Prepared]) -> Result<Option<Trained>, JobError> {
        let begun = Instant::now();
        let encoder = self.base.encoder.clone();
        let base = Base { encoder, fingerprint: self.base.fingerprint };
        let mut trainer = Trainer::new(base, trainer_limits(&self.workspace.limits))?;
        let mut ids = Vec::new();
        for tenant in tenants {
            ids.push(self.add(&mut trainer, tenant)?);
        }
        let checkpoint = self.options.folder.checkpoint();
        if self.options.resume {
            trainer.resume(&checkpoint).map_err(|source| JobError::Resume { source })?;
        }
        let steps = |id: &TenantId| trainer.progress(*id).map_or(0, |p| p.steps_total - p.step);
        self.workshop.start("", Stage::Train, ids.iter().map(steps).sum());
        let earlier = trainer.counters();
        let mut dev_scores = vec![Vec::new(); tenants.len()];
        let mut since_checkpoint = 0;
        while !trainer.is_done() {
            for (id, step) in trainer.awaiting_score() {
                let at = position(&ids, id);
                let score =
                    self.score(&tenants[at], trainer.adapter(id).expect("a known tenant"))?;
                dev_scores[at].push((step, score));
                let events =
                    trainer.report_score(id, score).expect("the trainer waits for this score");
                self.tell(tenants, &ids, &events);
            }
            let events = trainer.run_round();
            since_checkpoint += self.tell(tenants, &ids, &events);
            let every = self.workspace.limits.checkpoint_every_steps;
            let stop = self.options.stop.load(Ordering::Relaxed);
            if stop || (every > 0 && since_checkpoint >= every) {
                trainer
                    .checkpoint(&checkpoint)
                    .map_err(|source| JobError::Checkpoint { source })?;
                self.options.observer.on_event(&RunEvent::CheckpointWritten);
                since_checkpoint = 0;
            }
            if stop {
                return Ok(None);
            }
        }
        self.workshop.finish("", Stage::Train);
        // What follows embeds every corpus again; if that fails, training need not run again.
        trainer.checkpoint(&checkpoint).map_err(|source| JobError::Checkpoint { source })?;
        let wall_s = begun.elapsed().as_secs_f64();
        let counters = since(trainer.counters(), earlier);
        let outcomes = ids.iter().map(|&id| trainer.remove(id).expect("a known tenant")).collect();
        let predicted = Default::default();
        Ok(Some(Trained { outcomes, dev_scores, counters, wall_s, cpu_s: 0.0, begun, predicted }))
    }

    fn add(&self, trainer: &mut Trainer<Cpu>, tenant: &Prepared) -> Result<TenantId, JobError> {
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
        let Prepared { name, dataset, dev, cut, .. } = tenant;
        dev.score(dataset, &**cut, self.workshop.embedder, adapter)
            .map_err(|source| JobError::Text { tenant: name.clone(), source })
    }

    /// Passes the trainer's events on; returns the optimizer steps among them.
    fn tell(&self, tenants: &[Prepared], ids: &[TenantId], events: &[Event]) -> u64 {
        let mut steps = 0;
        let name = |id: &TenantId| tenants[position(ids, *id)].name.clone();
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

fn position(ids: &[TenantId], id: TenantId) -> usize {
    ids.iter().position(|known| *known == id).expect("every tenant was added here")
}
