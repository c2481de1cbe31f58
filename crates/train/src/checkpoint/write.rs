//! Puts a checkpoint in place: a new file beside it, synced, then renamed over it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use cotenant_transformer::{Fault, SlabState};

use super::CheckpointError;
use super::format::{BestMeta, Meta, SectionWriter, TenantMeta, pairs};
use crate::event::{Counters, TenantId};
use crate::tenant::{Best, State, Tenant};

/// A tenant as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) id: TenantId,
    pub(crate) tenant: &'a Tenant,
    /// Its counter of fairness.
    pub(crate) counter: Option<u64>,
}

/// Writes a checkpoint of these tenants. The file that may be at `path` is replaced in one step, or
/// left as it is. `read` copies what a device keeps of a tenant, if one does.
pub(crate) fn write(
    path: &Path,
    (fingerprint, counters): (u64, Counters),
    tenants: &[Saved<'_>],
    read: impl Fn(Saved<'_>) -> Option<Result<SlabState, Fault>>,
) -> Result<(), CheckpointError> {
    let tenant_metas = tenants.iter().map(|saved| describe(saved.tenant, saved.counter)).collect();
    let meta = Meta { fingerprint, counters, tenants: tenant_metas };
    let mut lost = None;
    let fill = |to: &mut dyn Write| {
        let mut sections = SectionWriter::begin(to)?;
        sections.bytes(&serde_json::to_vec(&meta)?)?;
        for &saved in tenants {
            let kept = read(saved).transpose().map_err(|fault| {
                lost = Some(fault);
                io::Error::other("the device is lost")
            })?;
            write_state(&mut sections, &saved.tenant.state, kept.as_ref())?;
        }
        Ok(())
    };
    let written = replace(path, fill);
    written.map_err(|source| {
        let path = path.to_path_buf();
        match lost {
            Some(fault) => CheckpointError::Device { path, fault },
            None => CheckpointError::Io { action: "write", path, source },
        }
    })
}

fn write_state(
    sections: &mut SectionWriter<'_>,
    state: &State,
    kept: Option<&SlabState>,
) -> io::Result<()> {
    let State { adapter, optimizer, best, gradient, losses, .. } = state;
    let best = best.as_ref().map_or(&[][..], |best| &best.values);
    let [values, mean, square, gradient] = match kept {
        Some(SlabState { values, mean, square, gradient }) => [values, mean, square, gradient],
        None => [&adapter.values, &optimizer.mean, &optimizer.square, gradient],
    };
    for values in [values, mean, square, best, gradient, losses] {
        sections.floats(values)?;
    }
    Ok(())
}

fn describe(tenant: &Tenant, counter: Option<u64>) -> TenantMeta {
    let state = &tenant.state;
    let best = |best: &Best| BestMeta { step: best.step, score_bits: best.score.to_bits() };
    TenantMeta {
        name: tenant.name.clone(),
        settings: tenant.settings.clone(),
        data_hash: tenant.data_hash,
        layout: pairs(&state.adapter.layout),
        phase: state.phase.clone(),
        cursor: tenant.cursor(),
        step: state.step,
        adapter_step: state.adapter_step,
        optimizer_steps: state.optimizer.steps,
        loss_bits: state.loss.to_bits(),
        step_tokens: state.step_tokens,
        step_pairs: state.step_pairs,
        tokens: state.tokens,
        pairs: state.pairs,
        scores: state.scores.iter().map(|&(step, score)| (step, score.to_bits())).collect(),
        best: state.best.as_ref().map(best),
        evaluations_in_vain: state.evaluations_in_vain,
        counter,
    }
}

/// Fills a new file and renames it to `path` once it is safe on disk; a failure leaves `path` as
/// it was and nothing beside it.
fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    let unfinished = Path::new(&unfinished);
    let written = File::create(unfinished).and_then(|file| {
        let mut to = BufWriter::with_capacity(1 << 20, file);
        fill(&mut to)?;
        to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(unfinished, path));
    if renamed.is_err() {
        let _ = fs::remove_file(unfinished);
        return renamed;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

/// Makes a rename last through a power cut.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems cannot open a folder as a file; they order renames themselves.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;

    use super::replace;

    #[test]
    fn a_failure_at_any_byte_leaves_the_file_before_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        replace(&path, |to| to.write_all(b"first")).unwrap();
        for bytes in [0, 1, 3 << 20] {
            let error = replace(&path, |to| {
                to.write_all(&vec![7; bytes])?;
                Err(io::ErrorKind::StorageFull.into())
            });
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert_eq!(fs::read(&path).unwrap(), b"first");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        replace(&path, |to| to.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert!(replace(&folder.path().join("no/such/folder"), |_| Ok(())).is_err());
    }
}
