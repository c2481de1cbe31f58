//! Finds NVIDIA cards. What this version cannot use is left out, and a note says why.
//!
//! A card in MIG mode is one of these: `nvml-wrapper` 0.13 can neither list where partitions may
//! lie (its `possible_placements` gives an empty list) nor make them, so that no rung would hold
//! on such a card. The rung `driver` is not offered either: the wrapper does not know
//! `nvmlDeviceSetMemoryLimits_v1`, and looking it up would need unsafe code.

use std::path::Path;
use std::{env, fs};

use cotenant_types::{Card, CardId, CardKind, Mebibytes, NodeName, Site};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::links::{Linked, kernel_address, link_groups};
use crate::preload::preload_library;
use crate::rungs::{Capabilities, rungs};

/// NVIDIA cards of this machine, and what there is to say about them.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) cards: Vec<Card>,
    pub(crate) notes: Vec<String>,
}

/// Most links of a card that are asked for; Blackwell has 18.
const LINKS_MAX: u32 = 36;

/// The first generation whose MPS limits each client.
const MPS_GENERATION_MIN: i32 = 7;

/// Searches the machine; a machine without NVIDIA cards gives a note and no card.
pub(crate) fn find(node: &NodeName) -> Found {
    let mut found = Found::default();
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => {
            found.notes.push(absence(&error));
            return found;
        }
    };
    let intercept = preload_library();
    let machine = Machine {
        node,
        driver_major: nvml.sys_driver_version().map_or(0, |version| major(&version)),
        mps: is_on_path("nvidia-cuda-mps-control"),
        intercept: intercept.is_ok(),
    };
    let mut links = Vec::new();
    for index in 0..nvml.device_count().unwrap_or(0) {
        let built = nvml.device_by_index(index).and_then(|device| machine.build(&device, index));
        match built {
            Ok(Built::Card(card, linked)) => {
                found.cards.push(*card);
                links.push(linked);
            }
            Ok(Built::Refused(note)) => found.notes.push(note),
            Err(error) => {
                found.notes.push(format!("NVIDIA card {index} is left out: it says \"{error}\""));
            }
        }
    }
    for (card, group) in found.cards.iter_mut().zip(link_groups(&links)) {
        card.site.nvlink = group;
    }
    if found.cards.is_empty() && found.notes.is_empty() {
        found.notes.push("the NVIDIA driver is here, but no card".to_owned());
    }
    if !found.cards.is_empty() && !machine.mps {
        found.notes.push(
            "MPS is not offered: nvidia-cuda-mps-control is not on PATH; it comes with the driver"
                .to_owned(),
        );
    }
    if let (Err(error), false) = (intercept, found.cards.is_empty()) {
        found.notes.push(format!("interception is not offered: failed to {error}"));
    }
    found
}

/// What is the same for every card of the machine.
struct Machine<'a> {
    node: &'a NodeName,
    driver_major: u32,
    mps: bool,
    intercept: bool,
}

enum Built {
    Card(Box<Card>, Linked),
    Refused(String),
}

impl Machine<'_> {
    fn build(&self, device: &Device<'_>, index: u32) -> Result<Built, NvmlError> {
        let uuid = device.uuid()?;
        let Ok(id) = uuid.parse::<CardId>() else {
            return Ok(Built::Refused(format!("a card is left out: its id is {uuid:?}")));
        };
        if device.mig_mode().is_ok_and(|mode| mode.current != 0) {
            return Ok(Built::Refused(format!(
                "card {id} is left out: it is in MIG mode, and this version makes partitions on \
                 simulated cards only; to use it, run: nvidia-smi -i {id} -mig 0"
            )));
        }
        let bus = kernel_address(&device.pci_info()?.bus_id);
        let memory = device.memory_info()?;
        let generation = device.cuda_compute_capability().map_or(0, |version| version.major);
        let capabilities = Capabilities {
            driver_major: self.driver_major,
            mps: self.mps && generation >= MPS_GENERATION_MIN,
            intercept: self.intercept,
            ..Capabilities::default()
        };
        let card = Card {
            id,
            node: self.node.clone(),
            index,
            kind: CardKind::Nvidia,
            model: device.name()?,
            memory: Mebibytes(memory.total.saturating_sub(memory.reserved) >> 20),
            cores: 0,
            site: Site { nvlink: index, numa: numa_node(&bus), rack: String::new() },
            rungs: rungs(&capabilities),
            mig: None,
        };
        let remotes = remotes(device);
        Ok(Built::Card(Box::new(card), Linked { bus, remotes }))
    }
}

/// Where the active links of a card lead; a card without links refuses to say.
fn remotes(device: &Device<'_>) -> Vec<String> {
    let links = (0..LINKS_MAX).map(|link| device.link_wrapper_for(link));
    let active = links.filter(|link| link.is_active().unwrap_or(false));
    let remote = active.filter_map(|link| link.remote_pci_info().ok());
    remote.map(|info| kernel_address(&info.bus_id)).collect()
}

/// The NUMA node of the card's bus, or 0 where the kernel knows none.
fn numa_node(bus: &str) -> u32 {
    let file = Path::new("/sys/bus/pci/devices").join(bus).join("numa_node");
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The number before the first dot; 0 for what is no version.
fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What to tell people when NVML cannot be used.
fn absence(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            "no NVIDIA driver here: libnvidia-ml.so.1 is not found".to_owned()
        }
        NvmlError::DriverNotLoaded => {
            "the NVIDIA driver is installed but not loaded; try: modprobe nvidia".to_owned()
        }
        NvmlError::LibRmVersionMismatch => {
            "the NVIDIA driver and its library are of different versions; try to restart the machine"
                .to_owned()
        }
        other => format!("the NVIDIA driver cannot be used: it says \"{other}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_is_no_error() {
        let found = find(&"here".parse().unwrap());
        if found.cards.is_empty() {
            assert!(!found.notes.is_empty(), "somebody must be told why there is no card");
        } else {
            eprintln!("this machine has NVIDIA cards: {found:#?}");
            assert!(found.cards.iter().all(|card| card.memory.0 > 0 && !card.rungs.is_empty()));
        }
    }

    #[test]
    fn absences_are_told_apart() {
        let check = |error: NvmlError, expected: &str| {
            let note = absence(&error);
            assert!(note.contains(expected), "{error:?} gave {note:?}");
        };
        check(NvmlError::LibraryNotFound, "libnvidia-ml.so.1 is not found");
        check(NvmlError::DriverNotLoaded, "modprobe");
        check(NvmlError::LibRmVersionMismatch, "different versions");
        check(NvmlError::NoPermission, "permission");
    }

    #[test]
    fn versions_are_read_to_the_first_dot() {
        assert_eq!(major("615.12.03"), 615);
        assert_eq!(major("580"), 580);
        assert_eq!(major("unknown"), 0);
        assert_eq!(major(""), 0);
    }
}
