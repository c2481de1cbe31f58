//! Online experiments: two ways to search beside each other, one experiment a tenant.
//!
//! ```text
//! search with a user ──enrol──▶ control or treatment ──▶ answer and an id for feedback
//! feedback, failure  ──▶ line in the tenant's file, synced ──▶ state ──▶ acknowledged
//! ```
//! What follows from outcomes is pure (`trial`, and `cotenant_eval::experiment` behind it); files
//! and locks are here. A search costs no write: what it must remember travels in its id (`ticket`).

mod error;
mod file;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod plan;
mod request;
#[cfg(test)]
mod tests;
mod ticket;
mod trial;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use cotenant_eval::experiment::{Effect, Recorded};
use sha2::{Digest, Sha256};

pub use error::ExperimentError;
#[cfg(feature = "fuzzing")]
pub use fuzzing::read_experiment;
pub(super) use plan::{Plan, Said};
pub(super) use request::ExperimentRequest;
pub(super) use trial::{Enrolled, Stop, StopCode, Variant};

use super::meters::Meters;
use file::{DRAFT, TrialFile, disk, mark_of, sync_parent};
use ticket::{Ticket, Unit, to_hex};
use trial::{FORMAT, Head, Line, Trial};

/// Most subjects of all experiments of a server: about 80 MiB of memory.
const SUBJECTS_ALL_MAX: usize = 5_000_000;
/// Ends the names of their files.
const SUFFIX: &str = ".experiment";
/// The file whose lock says that a process has the folder.
const LOCK: &str = "lock";

/// The experiments of all tenants.
pub(super) struct Experiments {
    folder: PathBuf,
    meters: Arc<Meters>,
    /// Held by whoever begins or ends an experiment, for as long as a disk takes.
    changing: Mutex<()>,
    /// By the names of their files. It is locked for moments only, so that no search waits for
    /// another tenant's disk.
    slots: Mutex<BTreeMap<String, Slot>>,
    /// Held until the server ends.
    _lock: File,
}

#[derive(Clone)]
enum Slot {
    Whole(Arc<Held>),
    Damaged(Arc<ExperimentError>),
}

/// An experiment and its file. Whoever writes locks the file first; the state is locked for moments
/// only, so that searches do not wait for a disk.
struct Held {
    file: Mutex<TrialFile>,
    trial: Mutex<Trial>,
}

/// What an experiment has found so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    pub(super) request: ExperimentRequest,
    pub(super) started_s: u64,
    /// When it ends at the latest.
    pub(super) ends_s: u64,
    pub(super) effect: Effect,
    /// Each guardrail's name, tolerance and effect.
    pub(super) guardrails: Vec<(String, f64, Effect)>,
    pub(super) stop: Option<Stop>,
}

impl Experiments {
    /// Reads all experiments of a folder, which is made if it is not there. A file that is damaged
    /// is told to whoever asks for that experiment.
    pub(super) fn open(folder: &Path, meters: Arc<Meters>) -> Result<Self, ExperimentError> {
        fs::create_dir_all(folder).map_err(disk("create", folder))?;
        sync_parent(folder).map_err(disk("sync", folder))?;
        let lock = take_lock(folder)?;
        let mut slots = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(disk("list", folder))? {
            let path = entry.map_err(disk("list", folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.strip_suffix(DRAFT).is_some_and(|name| name.ends_with(SUFFIX)) {
                // It was never acknowledged; where that fails it is waste.
                let _ = fs::remove_file(&path);
            }
            let Some(stem) = name.strip_suffix(SUFFIX) else { continue };
            slots.insert(stem.to_owned(), Slot::open(&path, stem));
        }
        let (folder, slots, changing) = (folder.to_owned(), Mutex::new(slots), Mutex::default());
        Ok(Self { folder, meters, changing, slots, _lock: lock })
    }

    /// Begins an experiment.
    pub(super) fn begin(
        &self,
        tenant: &str,
        plan: &Plan,
        now_s: u64,
    ) -> Result<Standing, ExperimentError> {
        let name = stem(tenant);
        let _alone = self.changing();
        self.check_room(&name, plan.request().subjects_max)?;
        let head = Head {
            format: FORMAT,
            tenant: tenant.to_owned(),
            key: to_hex(&fresh_key()?),
            started_s: now_s,
            request: plan.request().clone(),
        };
        let (file, trial) = TrialFile::create(&self.path(&name), head)?;
        let standing = standing(&trial, now_s);
        let held = Held { file: Mutex::new(file), trial: Mutex::new(trial) };
        self.lock().insert(name, Slot::Whole(Arc::new(held)));
        Ok(standing)
    }

    /// Whether an experiment of so many subjects may have a file of this name.
    fn check_room(&self, name: &str, subjects_max: usize) -> Result<(), ExperimentError> {
        let slots = self.lock();
        match slots.get(name) {
            None => {}
            Some(Slot::Damaged(error)) => return Err(again(error)),
            Some(Slot::Whole(held)) => {
                let name = held.trial().plan.request().name.clone();
                return Err(ExperimentError::Taken { name });
            }
        }
        let taken: usize = slots.values().map(Slot::subjects_max).sum();
        let left = SUBJECTS_ALL_MAX.saturating_sub(taken);
        match subjects_max > left {
            true => Err(ExperimentError::TooMany { max: SUBJECTS_ALL_MAX, left }),
            false => Ok(()),
        }
    }

    /// How a tenant's experiment stands; one whose time is over stops by that.
    pub(super) fn show(&self, tenant: &str, now_s: u64) -> Result<Standing, ExperimentError> {
        let held = self.held(tenant)?;
        // Where the end cannot be written it is told all the same, and written later.
        let _ = self.stop_if_due(tenant, &held, now_s);
        let trial = held.trial();
        Ok(standing(&trial, now_s))
    }

    /// Forgets a tenant's experiment, running or not, damaged or not.
    pub(super) fn forget(&self, tenant: &str) -> Result<(), ExperimentError> {
        let (name, _alone) = (stem(tenant), self.changing());
        if !self.lock().contains_key(&name) {
            return Err(ExperimentError::Absent);
        }
        let path = self.path(&name);
        match fs::remove_file(&path) {
            // Somebody removed it by hand, which is no reason to keep what it said.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.map_err(disk("remove", &path))?,
        }
        // What is left of the mark is waste: no other experiment heeds it.
        let _ = fs::remove_file(mark_of(&path));
        self.lock().remove(&name);
        sync_parent(&path).map_err(disk("sync", &path))
    }

    /// How a subject's search is to be answered; as it asks where the tenant has no experiment, or
    /// one whose file is damaged: searches go on.
    pub(super) fn enrol(&self, tenant: &str, subject: &str, now_s: u64) -> Option<Enrolled> {
        let enrolled = self.held(tenant).ok()?.trial().enrol(subject, now_s);
        self.meters.on_enrolled(tenant, enrolled.variant);
        Some(enrolled)
    }

    /// Takes feedback; what is acknowledged is durable, and counts once.
    pub(super) fn feedback(
        &self,
        tenant: &str,
        (id, said): (&str, &Said),
        now_s: u64,
    ) -> Result<Recorded, ExperimentError> {
        let held = self.held(tenant)?;
        let (unit, marks) = {
            let trial = held.trial();
            let ticket = Ticket::read(id, &trial.key).ok_or(ExperimentError::UnknownId)?;
            (ticket.unit, trial.plan.marks(said, ticket.latency_us)?)
        };
        let recorded = self.record(tenant, &held, (unit, marks), now_s)?;
        self.meters.on_feedback(tenant, recorded);
        Ok(recorded)
    }

    /// Notes that a subject's search was not answered.
    pub(super) fn fail(
        &self,
        tenant: &str,
        enrolled: &Enrolled,
        now_s: u64,
    ) -> Result<(), ExperimentError> {
        let Some(unit) = enrolled.unit else { return Ok(()) };
        let held = self.held(tenant)?;
        let marks = {
            let trial = held.trial();
            if trial.key != enrolled.key {
                // The experiment was ended meanwhile, and this is another one.
                return Ok(());
            }
            trial.plan.marks_of_failure()
        };
        self.record(tenant, &held, (unit, marks), now_s).map(|_| ())
    }

    fn record(
        &self,
        tenant: &str,
        held: &Held,
        (unit, marks): (Unit, plan::Marks),
        now_s: u64,
    ) -> Result<Recorded, ExperimentError> {
        let mut file = held.file.lock().expect("no write panicked");
        let recorded = held.trial().foresee(unit, now_s);
        if recorded == Recorded::Counted {
            let unit_text = to_hex(&unit.0);
            file.append(&Line::Outcome { unit: unit_text, marks: marks.clone() })?;
            held.trial().record(unit, &marks)?;
        }
        drop(file);
        // The outcome is acknowledged whatever becomes of this: an end follows from the outcomes,
        // and the next that looks writes it.
        let _ = self.stop_if_due(tenant, held, now_s);
        Ok(recorded)
    }

    fn stop_if_due(&self, tenant: &str, held: &Held, now_s: u64) -> Result<(), ExperimentError> {
        let mut file = held.file.lock().expect("no write panicked");
        let Some(stop) = held.trial().due_stop(now_s) else { return Ok(()) };
        file.append(&Line::Stop(stop.clone()))?;
        self.meters.on_stopped(tenant, stop.code);
        held.trial().end(stop);
        Ok(())
    }

    fn held(&self, tenant: &str) -> Result<Arc<Held>, ExperimentError> {
        match self.lock().get(&stem(tenant)) {
            None => Err(ExperimentError::Absent),
            Some(Slot::Damaged(error)) => Err(again(error)),
            Some(Slot::Whole(held)) => Ok(held.clone()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().expect("no thread panicked")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().expect("no thread panicked")
    }
}

impl Slot {
    fn open(path: &Path, name: &str) -> Self {
        let opened =
            TrialFile::open(path).and_then(|(file, trial, tenant)| match stem(&tenant) == name {
                true => Ok(Held { file: Mutex::new(file), trial: Mutex::new(trial) }),
                false => Err(ExperimentError::Damaged {
                    path: path.to_owned(),
                    line: 1,
                    reason: "its name is that of another tenant's".to_owned(),
                }),
            });
        match opened {
            Ok(held) => Self::Whole(Arc::new(held)),
            Err(error) => Self::Damaged(Arc::new(error)),
        }
    }

    fn subjects_max(&self) -> usize {
        match self {
            Self::Whole(held) => held.trial().plan.request().subjects_max,
            Self::Damaged(_) => 0,
        }
    }
}

impl Held {
    fn trial(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().expect("no change panicked")
    }
}

fn standing(trial: &Trial, now_s: u64) -> Standing {
    let guardrails = trial.guardrails().map(|(it, effect)| (it.name.clone(), it.tolerance, effect));
    Standing {
        request: trial.plan.request().clone(),
        started_s: trial.started_s,
        ends_s: trial.ends_s(),
        effect: trial.effect(),
        guardrails: guardrails.collect(),
        stop: trial.stop().cloned().or_else(|| trial.due_stop(now_s)),
    }
}

/// The name of a tenant's file: any tenant has one, whatever letters its own name has.
fn stem(tenant: &str) -> String {
    to_hex(&Sha256::digest(tenant.as_bytes())[..16])
}

/// 256 bits that nobody can guess.
fn fresh_key() -> Result<[u8; 32], ExperimentError> {
    let (mut bytes, source) = ([0; 32], Path::new("/dev/urandom"));
    let read = File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(disk("read", source))?;
    Ok(bytes)
}

/// What is wrong with a file, said once more.
fn again(error: &ExperimentError) -> ExperimentError {
    match error {
        ExperimentError::Damaged { path, line, reason } => {
            ExperimentError::Damaged { path: path.clone(), line: *line, reason: reason.clone() }
        }
        other => ExperimentError::Damaged {
            path: PathBuf::from("an experiment's file"),
            line: 1,
            reason: other.to_string(),
        },
    }
}

fn take_lock(folder: &Path) -> Result<File, ExperimentError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(disk("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ExperimentError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(disk("lock", &path)(source)),
    }
}
