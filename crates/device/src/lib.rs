//! Finds, meters and slices cards: NVIDIA cards through NVML, the CPU as a card, simulated cards.
//!
//! The crate never knows tenants, jobs or policy: it is told what to do with which card, and says
//! what a card has, what it is doing, and why it refuses. It prints nothing, and leaves nothing
//! running but control daemons of MPS. Begin with [`CardsSpec`] and [`discover`], which give an [`Inventory`]; then
//! [`Meter`] for what cards are doing, [`marked_processes`] for what programs do, [`Cgroups`] for
//! holding processes to a slice of a CPU card, [`SlicePages`] for telling the preload library what
//! a slice of a GPU may have, [`MpsGroups`] for serving those that MPS holds, [`environment()`] for
//! telling a process of its slices, [`Partitions`] for those that have one of a card in MIG mode,
//! [`set_driver_limits`] for those that the driver holds, and [`SimulatedCards`] for a pool without
//! any hardware.
//!
//! # Invariants
//! - A machine without a GPU, driver or control groups is no error: it has a CPU card, and a note
//!   for people says what is missing.
//! - A card offers a rung only if what the rung needs was found for that card.
//! - Simulated cards know no clock and no chance: the same calls give the same answers.
//! - Partitions of a card never overlap, and there are never more than the card allows.
//! - What lasts on a card changes only with [`CardSettings::MayChange`]; MIG mode never does.
//! - Control groups are made only below the group that this process is in, in a folder `cotenant`.
//! - Every wait has an end.

mod cgroup;
mod environment;
mod inventory;
mod meter;
mod mps;
mod nvidia;
mod preload;
mod processes;
mod processor;
mod rungs;
mod settings;
mod simulated;
mod slice_pages;
mod spec;
mod vitals;

pub use cgroup::{Capability, CgroupError, Cgroups, CpuLimits, Group, GroupUse, Version};
pub use environment::{EnvironmentError, Held, OWNED_VARIABLES, environment};
pub use inventory::{DiscoverError, Inventory, Terms, discover};
pub use meter::{CardUse, Health, Meter, PartitionUse, ProcessUse, Reading};
pub use mps::{
    Attached, ClientCard, ComputeMode, ComputeModes, Control, GroupDown, Joined, MpsClient,
    MpsConfig, MpsError, MpsGroups, Unattached, Waits,
};
pub use nvidia::{
    DriverLimits, DriverLimitsError, DriverUse, NvidiaModes, PartitionError, Partitions, XidKind,
    XidMeaning, clear_driver_limits, driver_use, set_driver_limits, xid_meaning,
};
pub use preload::{PRELOAD_VARIABLE, PreloadError, preload_library};
pub use processes::{MarkedProcess, marked_processes};
pub use processor::NoMemory;
pub use rungs::{Capabilities, rungs};
pub use settings::CardSettings;
pub use simulated::{
    CardFault, Model, PoolError, PoolFileError, SimulatedCards, SimulatedError, SimulatedGroup,
    SimulatedNodes, SimulatedPool, UnknownModel,
};
pub use slice_pages::{SlicePages, SlicePagesError, SliceUsage};
pub use spec::{CardsSpec, ParseCardsError};
pub use vitals::{EccErrors, RowRemaps, Throttle, Vitals};
