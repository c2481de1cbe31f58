//! What checks do with a device: passes of an encoder, and trainings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cotenant_train::{Base, Counters, Limits, TenantId, TenantSpec, Trainer};
use cotenant_transformer::{
    Adapter, Backend, Encoder, Forward, Packed, Precision, Scratch, Start, Tape, TapeMode,
};

use super::place::{Opened, Place, Stage};
use super::report::Rows;

/// Both formats that train, by the names that users give them.
pub(crate) const PRECISIONS: [(Precision, &str); 2] =
    [(Precision::F32, "f32"), (Precision::Bf16, "bf16")];

/// Does something with a model in each format; one that the device does not have is said.
pub(crate) fn in_each_format<P: Place>(
    (stage, rows): (&Stage<'_, P>, &mut Rows),
    seed: u64,
    mut act: impl FnMut(&mut Rows, &str, Opened<P::Device>) -> Result<(), String>,
) -> Result<(), String> {
    for (precision, format) in PRECISIONS {
        match stage.open(precision, (stage.shape(), seed)) {
            Ok(opened) => act(rows, format, opened)?,
            Err(fault) => rows.cannot(format, &stage.missing(fault)?),
        }
    }
    Ok(())
}

/// A batch and the adapters that its segments index.
pub(crate) struct Batch {
    pub(crate) packed: Packed,
    pub(crate) adapters: Vec<Adapter>,
}

impl Batch {
    pub(crate) fn scene(&self) -> Vec<&Adapter> {
        self.adapters.iter().collect()
    }
}

/// What an encoder gives: `[texts, hidden]`, and each segment's gradient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Passed {
    pub(crate) embeddings: Vec<f32>,
    pub(crate) gradients: Vec<Vec<f32>>,
    pub(crate) forward: Duration,
    pub(crate) backward: Duration,
}

/// Buffers of passes, for use again.
pub(crate) struct Buffers<B: Backend> {
    scratch: Scratch<B>,
    tape: Tape<B>,
}

impl<B: Backend> Default for Buffers<B> {
    fn default() -> Self {
        Self { scratch: Scratch::default(), tape: Tape::default() }
    }
}

/// One pass forward and one backward, from the gradient `slopes: [texts, hidden]` of the embeddings.
pub(crate) fn pass<B: Backend>(
    encoder: &Encoder<B>,
    (batch, slopes): (&Batch, &[f32]),
    (mode, buffers): (TapeMode, &mut Buffers<B>),
) -> Result<Passed, String> {
    let Buffers { scratch, tape } = buffers;
    let adapters = batch.scene();
    let forward = Forward { batch: &batch.packed, adapters: &adapters, start: Start::Tokens };
    let mut embeddings = vec![0.0; batch.packed.texts() * encoder.config().hidden];
    let mut gradients = vec![Vec::new(); batch.packed.segments().len()];
    let begun = Instant::now();
    encoder.forward(&forward, mode, scratch, tape, &mut embeddings);
    let forwarded = begun.elapsed();
    encoder.backward(&forward, scratch, tape, slopes, &mut gradients);
    let backward = begun.elapsed() - forwarded;
    match encoder.backend().take_fault() {
        Some(fault) => Err(fault.to_string()),
        None => Ok(Passed { embeddings, gradients, forward: forwarded, backward }),
    }
}

/// Embeddings alone, `[texts, hidden]`.
pub(crate) fn embed<B: Backend>(encoder: &Encoder<B>, batch: &Batch) -> Result<Vec<f32>, String> {
    let adapters = batch.scene();
    let forward = Forward { batch: &batch.packed, adapters: &adapters, start: Start::Tokens };
    let mut embeddings = vec![0.0; batch.packed.texts() * encoder.config().hidden];
    encoder.embed(&forward, &mut Scratch::default(), &mut embeddings);
    match encoder.backend().take_fault() {
        Some(fault) => Err(fault.to_string()),
        None => Ok(embeddings),
    }
}

/// What a tenant ends with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) initial: Vec<f32>,
    pub(crate) adapter: Vec<f32>,
    pub(crate) losses: Vec<f32>,
}

impl Ended {
    fn bits(&self) -> impl Iterator<Item = u32> {
        self.adapter.iter().chain(&self.losses).map(|value| value.to_bits())
    }

    /// Whether another has the same adapter and the same losses, bit for bit.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.bits().eq(other.bits())
    }
}

/// A training under way.
pub(crate) struct Run<B: Backend> {
    trainer: Trainer<B>,
    initial: BTreeMap<TenantId, Vec<f32>>,
}

impl<B: Backend> Run<B> {
    pub(crate) fn new(encoder: &Arc<Encoder<B>>, limits: &Limits) -> Result<Self, String> {
        let base = Base { encoder: Arc::clone(encoder), fingerprint: 0 };
        let trainer = Trainer::new(base, limits.clone()).map_err(|error| error.to_string())?;
        Ok(Self { trainer, initial: BTreeMap::new() })
    }

    pub(crate) fn add(&mut self, tenant: TenantSpec) -> Result<(), String> {
        let id = self.trainer.add(tenant).map_err(|error| error.to_string())?;
        let adapter = self.trainer.adapter(id).expect("it was added");
        self.initial.insert(id, adapter.values.clone());
        Ok(())
    }

    pub(crate) fn round(&mut self) -> Result<(), String> {
        self.trainer.run_round();
        self.trainer.fault().map_or(Ok(()), |fault| Err(fault.to_string()))
    }

    pub(crate) fn counters(&self) -> Counters {
        self.trainer.counters()
    }

    /// Trains to the end and gives what each tenant ends with, by name.
    pub(crate) fn finish(&mut self) -> Result<BTreeMap<String, Ended>, String> {
        while !self.trainer.is_done() {
            self.round()?;
        }
        let mut ended = BTreeMap::new();
        for id in self.trainer.tenants() {
            let outcome = self.trainer.remove(id).expect("it is among the tenants");
            if outcome.reason.is_failure() {
                return Err(format!("{}: {}", outcome.progress.name, outcome.reason));
            }
            let initial = self.initial.remove(&id).expect("it was added");
            let adapter = outcome.adapter.values;
            let losses = outcome.progress.losses;
            ended.insert(outcome.progress.name, Ended { initial, adapter, losses });
        }
        Ok(ended)
    }
}

/// Trains tenants together from the start.
pub(crate) fn train<B: Backend>(
    encoder: &Arc<Encoder<B>>,
    limits: &Limits,
    tenants: &[TenantSpec],
) -> Result<BTreeMap<String, Ended>, String> {
    let mut run = Run::new(encoder, limits)?;
    tenants.iter().try_for_each(|tenant| run.add(tenant.clone()))?;
    run.finish()
}

/// What was done in a while.
pub(crate) struct Speed {
    pub(crate) before: Counters,
    pub(crate) after: Counters,
    pub(crate) seconds: f64,
}

/// Trains for so long.
pub(crate) fn train_for<B: Backend>(run: &mut Run<B>, span: Duration) -> Result<Speed, String> {
    let (before, begun) = (run.counters(), Instant::now());
    while begun.elapsed() < span {
        run.round()?;
    }
    Ok(Speed { before, after: run.counters(), seconds: begun.elapsed().as_secs_f64() })
}

impl Speed {
    /// How much of a count was done a second.
    pub(crate) fn rate(&self, count: impl Fn(&Counters) -> u64) -> f64 {
        (count(&self.after) - count(&self.before)) as f64 / self.seconds
    }

    /// Milliseconds of a round that a phase takes.
    pub(crate) fn ms_a_round(&self, phase: impl Fn(&Counters) -> Duration) -> f64 {
        let rounds = (self.after.rounds - self.before.rounds) as f64;
        (phase(&self.after) - phase(&self.before)).as_secs_f64() * 1000.0 / rounds
    }
}

/// The largest difference, as a part of the largest expected value.
pub(crate) fn apart(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs()));
    // A number that is none must not be lost in a maximum.
    let most =
        differences.fold(0.0, |most, one| if one > most || one.is_nan() { one } else { most });
    most / f64::from(largest).max(f64::MIN_POSITIVE)
}
