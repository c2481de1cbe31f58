//! Reads a checkpoint and says whether it belongs to this training.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use cotenant_transformer::Adapter;
use serde_json::Value;

use super::CheckpointError;
use super::format::{FORMAT, MAGIC, Meta, SECTIONS, SectionReader, TenantMeta, pairs};
use crate::event::Counters;
use crate::optimizer::AdamW;
use crate::plan::Cursor;
use crate::spec::Settings;
use crate::tenant::{Best, State, Tenant};

/// More than any training counts, in steps, tokens or seconds; what goes on counting from less
/// never overflows.
const COUNT_MAX: u64 = 1 << 53;

/// A whole checkpoint.
#[derive(Debug)]
pub(crate) struct Saved {
    fingerprint: u64,
    counters: Counters,
    tenants: BTreeMap<String, SavedTenant>,
}

/// One tenant of it.
#[derive(Debug)]
pub(crate) struct SavedTenant {
    meta: TenantMeta,
    state: State,
}

/// Reads a checkpoint that is whole.
pub(crate) fn read(path: &Path) -> Result<Saved, CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "read", path: path.into(), source };
    let damaged = |reason| CheckpointError::Damaged { path: path.into(), reason };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let (mut magic, mut format) = ([0; MAGIC.len()], [0; 4]);
    let head = file.read_exact(&mut magic).and_then(|()| file.read_exact(&mut format));
    match head {
        Ok(()) if magic == *MAGIC => {}
        Ok(()) => return Err(damaged("it is not a checkpoint of this program".into())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(damaged("it is cut short".into()));
        }
        Err(error) => return Err(failed(error)),
    }
    let found = u32::from_le_bytes(format);
    if found != FORMAT {
        return Err(CheckpointError::Version { path: path.into(), found, supported: FORMAT });
    }
    let left = bytes.saturating_sub((MAGIC.len() + format.len()) as u64);
    sections(SectionReader::new(file, left)).map_err(damaged)
}

fn sections(mut reader: SectionReader<impl Read>) -> Result<Saved, String> {
    let meta: Meta = serde_json::from_slice(&reader.bytes()?)
        .map_err(|error| format!("its description cannot be read: {error}"))?;
    check_counts(&meta)?;
    let Meta { fingerprint, counters, tenants: metas } = meta;
    let mut tenants = BTreeMap::new();
    for meta in metas {
        let mut floats = || reader.floats();
        let numbers: [Vec<f32>; SECTIONS] =
            [floats()?, floats()?, floats()?, floats()?, floats()?, floats()?];
        let state = state(&meta, numbers);
        tenants.insert(meta.name.clone(), SavedTenant { meta, state });
    }
    reader.finish()?;
    Ok(Saved { fingerprint, counters, tenants })
}

fn check_counts(meta: &Meta) -> Result<(), String> {
    let Counters { rounds, steps, tokens, pairs, chunks, chunks_recomputed, .. } = meta.counters;
    let Counters { data_stall, planning, forward, loss, backward, optimizer, .. } = meta.counters;
    let times = [data_stall, planning, forward, loss, backward, optimizer];
    let of_tenants = meta.tenants.iter().flat_map(|tenant| {
        let TenantMeta { adapter_step, optimizer_steps, .. } = *tenant;
        let TenantMeta { step_tokens, step_pairs, tokens, pairs, .. } = *tenant;
        [adapter_step, optimizer_steps, step_tokens, step_pairs, tokens, pairs]
    });
    let counts = [rounds, steps, tokens, pairs, chunks, chunks_recomputed];
    let mut counts = counts.into_iter().chain(times.map(|time| time.as_secs())).chain(of_tenants);
    match counts.find(|count| *count > COUNT_MAX) {
        None => Ok(()),
        Some(count) => Err(format!("it counts {count} of something, more than any training does")),
    }
}

fn state(meta: &TenantMeta, numbers: [Vec<f32>; SECTIONS]) -> State {
    let [values, mean, square, best_values, gradient, losses] = numbers;
    let best = meta.best.map(|best| {
        let (step, score) = (best.step, f64::from_bits(best.score_bits));
        Best { step, score, values: best_values }
    });
    State {
        phase: meta.phase.clone(),
        // The layout is the tenant's own, once the two were found to agree.
        adapter: Arc::new(Adapter { layout: Arc::default(), values }),
        adapter_step: meta.adapter_step,
        optimizer: AdamW { mean, square, steps: meta.optimizer_steps },
        gradient,
        loss: f64::from_bits(meta.loss_bits),
        step_tokens: meta.step_tokens,
        step_pairs: meta.step_pairs,
        step: meta.step,
        tokens: meta.tokens,
        pairs: meta.pairs,
        losses,
        scores: meta.scores.iter().map(|&(step, bits)| (step, f64::from_bits(bits))).collect(),
        best,
        evaluations_in_vain: meta.evaluations_in_vain,
    }
}

impl Saved {
    /// Refuses a checkpoint of another model or other tenants.
    pub(crate) fn check<'a>(
        &self,
        path: &Path,
        fingerprint: u64,
        tenants: impl Iterator<Item = &'a Tenant> + Clone,
    ) -> Result<(), CheckpointError> {
        let differs = |difference| CheckpointError::Differs { path: path.into(), difference };
        if self.fingerprint != fingerprint {
            let difference = "it was written with another base model or precision, or on another kind of \
                              device or with other libraries for it, which give other bits";
            return Err(differs(difference.into()));
        }
        let is_here = |name: &String| tenants.clone().any(|tenant| tenant.name == *name);
        if let Some(name) = self.tenants.keys().find(|name| !is_here(name)) {
            return Err(differs(format!("its tenant {name:?} is not part of this training")));
        }
        for tenant in tenants {
            if let Some(found) = self.tenants.get(&tenant.name) {
                found.check(tenant).map_err(differs)?;
            }
        }
        Ok(())
    }

    /// What the trainer had done.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes out a tenant by name, giving it the layout that it was found to agree with.
    pub(crate) fn take(&mut self, name: &str) -> Option<SavedTenant> {
        self.tenants.remove(name)
    }
}

impl SavedTenant {
    /// Its place in its batches.
    pub(crate) fn cursor(&self) -> Cursor {
        self.meta.cursor
    }

    /// Its counter of fairness, while it was training.
    pub(crate) fn counter(&self) -> Option<u64> {
        self.meta.counter
    }

    /// Its state, with the layout of the tenant that it was checked against.
    pub(crate) fn into_state(mut self, tenant: &Tenant) -> State {
        let layout = Arc::clone(&tenant.state.adapter.layout);
        Arc::make_mut(&mut self.state.adapter).layout = layout;
        self.state
    }

    fn check(&self, tenant: &Tenant) -> Result<(), String> {
        let name = &tenant.name;
        if let Some(difference) = settings_difference(&self.meta.settings, &tenant.settings) {
            return Err(format!("tenant {name:?}: {difference}"));
        }
        if self.meta.data_hash != tenant.data_hash {
            return Err(format!("tenant {name:?}: its examples or texts have changed"));
        }
        if self.meta.layout != pairs(&tenant.state.adapter.layout) {
            return Err(format!("tenant {name:?}: the adapter it began with has another shape"));
        }
        if !tenant.accepts(&self.state, self.meta.cursor) {
            return Err(format!("tenant {name:?}: its numbers do not fit its settings"));
        }
        Ok(())
    }
}

/// Names each setting that differs, with both values; `weight` may change.
fn settings_difference(saved: &Settings, now: &Settings) -> Option<String> {
    let saved = Settings { weight: now.weight, ..saved.clone() };
    if saved == *now {
        return None;
    }
    let value = |settings| serde_json::to_value(settings).unwrap_or(Value::Null);
    let mut found = Vec::new();
    differences("", &value(&saved), &value(now), &mut found);
    Some(found.join(", "))
}

fn differences(key: &str, saved: &Value, now: &Value, found: &mut Vec<String>) {
    match (saved, now) {
        (Value::Object(saved), Value::Object(now)) if saved.keys().eq(now.keys()) => {
            for (name, value) in saved {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                differences(&key, value, &now[name], found);
            }
        }
        (saved, now) if saved != now => {
            found.push(format!("{key} was {saved} and is {now}"));
        }
        (_, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, settings_difference};
    use crate::spec::{Length, Loss};

    fn check(change: impl FnOnce(&mut Settings), expected: Option<&str>) {
        let saved = Settings::default();
        let mut now = saved.clone();
        change(&mut now);
        assert_eq!(settings_difference(&saved, &now).as_deref(), expected);
    }

    #[test]
    fn differences_are_named_with_both_values() {
        check(|_| {}, None);
        check(|now| now.weight = 7, None);
        check(|now| now.batch = 16, Some("batch was 32 and is 16"));
        check(
            |now| {
                now.lora.rank = 4;
                now.length = Length::Steps(10);
            },
            Some("lora.rank was 8 and is 4, length was {\"epochs\":1} and is {\"steps\":10}"),
        );
        check(
            |now| now.loss = Loss::Mnrl { scale: 10.0, symmetric: false },
            Some("loss.mnrl.scale was 20.0 and is 10.0"),
        );
    }
}
