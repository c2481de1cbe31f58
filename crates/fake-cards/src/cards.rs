//! The cards as a test holds them.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::description::{DescribeError, Description, Fault};
use crate::engine;
use crate::process;
use crate::system::{Locked, OpenError, Shared, monotonic_ns};

/// The variable that names the file of the cards.
pub(crate) const FILE_VARIABLE: &str = "COTENANT_FAKE_DRIVER";
const CARDS_VARIABLE: &str = "COTENANT_FAKE_CARDS";
const SETTINGS_VARIABLE: &str = "COTENANT_FAKE_SETTINGS";
const FAULTS_VARIABLE: &str = "COTENANT_FAKE_FAULTS";

/// How long a dead process may keep its memory while nobody asks, in nanoseconds.
const REAP_NS: u64 = 1_000_000;

/// Cards in a file. Copies are the same cards.
#[derive(Clone, Debug)]
pub struct Cards {
    pub(crate) shared: Arc<Shared>,
    pub(crate) path: Arc<PathBuf>,
    /// The slot of this process, whose own mark the system does not show.
    pub(crate) own_slot: Option<usize>,
}

/// The cards that the environment names could not be had.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// No variable names a file.
    #[error(
        "find the fake cards: the variable {FILE_VARIABLE} is not set\n\
         hint: set it to a file, which is made if {CARDS_VARIABLE} describes cards"
    )]
    NotNamed,
    /// A variable is not understood.
    #[error("understand {variable}")]
    Description {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        source: DescribeError,
    },
    /// The file cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Cards {
    /// Makes cards in a new file.
    ///
    /// # Errors
    /// If the file exists or cannot be made.
    pub fn create(path: &Path, description: &Description) -> Result<Self, OpenError> {
        let shared = Shared::create(path, |world| description.fill(world))?;
        Ok(Self::of(shared, path))
    }

    /// Opens cards that were made before.
    ///
    /// # Errors
    /// If the file cannot be opened, or another build made it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Shared::open(path)?, path))
    }

    /// Opens the cards that the environment names, or makes them as it describes.
    ///
    /// # Errors
    /// If a variable is missing or not understood, or the file cannot be had.
    pub fn from_environment() -> Result<Self, EnvironmentError> {
        let read = |name| env::var(name).unwrap_or_default();
        let path = env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty());
        let path = PathBuf::from(path.ok_or(EnvironmentError::NotNamed)?);
        if path.exists() {
            return Ok(Self::open(&path)?);
        }
        let refused = |variable| move |source| EnvironmentError::Description { variable, source };
        let description = Description::parse(&read(CARDS_VARIABLE), &read(SETTINGS_VARIABLE))
            .map_err(refused(CARDS_VARIABLE))?;
        let faults = Fault::parse_all(&read(FAULTS_VARIABLE)).map_err(refused(FAULTS_VARIABLE))?;
        match Self::create(&path, &description) {
            Ok(cards) => {
                for (name, faults) in faults {
                    faults.iter().for_each(|fault| cards.set_fault(&name, fault));
                }
                Ok(cards)
            }
            // Another process was faster.
            Err(OpenError::Exists { .. }) => Ok(Self::open(&path)?),
            Err(error) => Err(error.into()),
        }
    }

    fn of(shared: Shared, path: &Path) -> Self {
        Self { shared: Arc::new(shared), path: Arc::new(path.to_owned()), own_slot: None }
    }

    /// The file, for the variable that tells a process of it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The world as it is now: with a real clock, brought to now; without what died a while ago.
    pub(crate) fn now(&self) -> Locked<'_> {
        let mut world = self.shared.lock();
        let machine_ns = monotonic_ns();
        if machine_ns.saturating_sub(world.clock.reaped_ns) >= REAP_NS {
            world.clock.reaped_ns = machine_ns;
            process::reap(&mut world, |slot| self.is_dead(slot));
        }
        if world.clock.is_real == 1 {
            let now_ns = machine_ns.saturating_sub(world.clock.epoch_ns);
            engine::advance(&mut world, now_ns);
        }
        world
    }

    /// The world as it is now, without anything that is dead.
    pub(crate) fn now_alive(&self) -> Locked<'_> {
        let mut world = self.shared.lock();
        world.clock.reaped_ns = 0;
        drop(world);
        world = self.now();
        world
    }

    pub(crate) fn is_dead(&self, slot: usize) -> bool {
        self.own_slot != Some(slot) && self.shared.is_unmarked(slot)
    }
}
