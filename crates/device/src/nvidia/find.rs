//! Finds NVIDIA cards. What cannot be used is left out, and a note says why.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use cotenant_types::{Card, CardId, CardKind, Mebibytes, MigPlace, NodeName, Site};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::links::{Linked, kernel_address, link_groups};
use super::mig::{Offer, offer, read};
use super::nvml::{MigCard, Refused, has_limits};
use crate::cgroup::{Cgroups, Version};
use crate::inventory::Terms;
use crate::preload::preload_library;
use crate::rungs::{Capabilities, rungs};
use crate::settings::CardSettings;

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
pub(crate) fn find(node: &NodeName, terms: &Terms) -> Found {
    let mut found = Found::default();
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => {
            found.notes.push(absence(&error));
            return found;
        }
    };
    let limits = has_limits(&nvml).then(driver_limits);
    let intercept = preload_library();
    let machine = Machine {
        nvml: &nvml,
        node,
        terms,
        driver_major: nvml.sys_driver_version().map_or(0, |version| major(&version)),
        driver_limits: matches!(limits, Some(Ok(()))),
        mps: is_on_path("nvidia-cuda-mps-control"),
        intercept: intercept.is_ok(),
    };
    let mut links = Vec::new();
    for index in 0..nvml.device_count().unwrap_or(0) {
        let built = nvml.device_by_index(index).and_then(|device| machine.build(&device, index));
        match built {
            Ok(Built::Card(card, linked, remarks)) => {
                found.notes.extend(remarks.iter().map(|said| format!("card {}: {said}", card.id)));
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
    if let (Some(Err(why)), false) = (limits, found.cards.is_empty()) {
        found.notes.push(format!("limits of the driver are not offered: {why}"));
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
    nvml: &'a Nvml,
    node: &'a NodeName,
    terms: &'a Terms,
    driver_major: u32,
    driver_limits: bool,
    mps: bool,
    intercept: bool,
}

enum Built {
    /// A card, its links, and what there is to say about it.
    Card(Box<Card>, Linked, Vec<String>),
    Refused(String),
}

impl Machine<'_> {
    fn build(&self, device: &Device<'_>, index: u32) -> Result<Built, NvmlError> {
        let uuid = device.uuid()?;
        let Ok(id) = uuid.parse::<CardId>() else {
            return Ok(Built::Refused(format!("a card is left out: its id is {uuid:?}")));
        };
        let mode = device.mig_mode().ok();
        let is_partitioned = mode.as_ref().is_some_and(|mode| mode.current != 0);
        let offer = match is_partitioned.then(|| self.offer(device, &id)) {
            Some(Err(refused)) => return Ok(Built::Refused(refused)),
            Some(Ok(offer)) => Some(offer),
            None => None,
        };
        let bus = kernel_address(&device.pci_info()?.bus_id);
        let generation = device.cuda_compute_capability().map_or(0, |version| version.major);
        let capabilities = Capabilities {
            partitions: is_partitioned,
            driver_major: self.driver_major,
            driver_limits: self.driver_limits,
            mps: self.mps && generation >= MPS_GENERATION_MIN,
            intercept: self.intercept,
            ..Capabilities::default()
        };
        let memory = match &offer {
            Some(offer) => offer.memory,
            None => {
                let memory = device.memory_info()?;
                Mebibytes(memory.total.saturating_sub(memory.reserved) >> 20)
            }
        };
        let mut remarks = Vec::new();
        if mode.is_some_and(|mode| mode.current != mode.pending) {
            remarks.push("its MIG mode changes with the next reset".to_owned());
        }
        let mig = offer.map(|offer| {
            remarks.extend(offer.remarks);
            offer.geometry
        });
        let card = Card {
            id,
            node: self.node.clone(),
            index,
            kind: CardKind::Nvidia,
            model: device.name()?,
            memory,
            cores: 0,
            site: Site { nvlink: index, numa: numa_node(&bus), rack: String::new() },
            rungs: rungs(&capabilities),
            mig,
        };
        let remotes = remotes(device);
        Ok(Built::Card(Box::new(card), Linked { bus, remotes }, remarks))
    }

    /// What a card in MIG mode offers, or why nothing of it can be used.
    fn offer(&self, device: &Device<'_>, id: &CardId) -> Result<Offer, String> {
        let seen = read(MigCard::new(self.nvml, device)).map_err(|why| match why {
            Refused::NoPermission => format!(
                "card {id} is left out: it is in MIG mode, and its driver lists partitions to root \
                 alone; start the pool as root"
            ),
            other => format!(
                "card {id} is left out: it is in MIG mode, and its partitions cannot be read: {other}"
            ),
        })?;
        let ours = self.terms.partitions.iter().filter(|(card, _)| card == id);
        let ours: BTreeSet<MigPlace> = ours.map(|(_, place)| place.clone()).collect();
        let settings = self.terms.settings;
        let offer = offer(&seen, settings, &ours);
        if !offer.geometry.profiles.is_empty() {
            return Ok(offer);
        }
        let why = match settings {
            CardSettings::Keep => format!(
                "it has no partition that is whole and free, and this pool may not make any; start \
                 it with --change-card-settings, or make some as root with: nvidia-smi mig -i {id} \
                 -cgi PROFILE -C"
            ),
            CardSettings::MayChange => "it has no room for a partition".to_owned(),
        };
        let remarks: Vec<String> = std::iter::once(why).chain(offer.remarks).collect();
        let remarks = remarks.join("; ");
        Err(format!("card {id} is left out: it is in MIG mode, and {remarks}"))
    }
}

/// Whether limits that this driver has can be used here.
fn driver_limits() -> Result<(), &'static str> {
    let version = Cgroups::probe().ok().map(|found| found.version);
    judge_limits(rustix::process::geteuid().is_root(), version)
}

fn judge_limits(is_root: bool, version: Option<Version>) -> Result<(), &'static str> {
    match (is_root, version) {
        (false, _) => Err("only root may set them"),
        (true, None) => Err("no control groups can be made here, and they are what is limited"),
        (true, Some(Version::One)) => Err("they need control groups of version 2"),
        (true, Some(Version::Two)) => Ok(()),
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
        let found = find(&"here".parse().unwrap(), &Terms::default());
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
    fn limits_of_the_driver_need_root_and_control_groups() {
        let why = |is_root, version| judge_limits(is_root, version).err().unwrap_or("ok");
        assert_eq!(why(true, Some(Version::Two)), "ok");
        assert!(why(false, Some(Version::Two)).contains("root"));
        assert!(why(true, Some(Version::One)).contains("version 2"));
        assert!(why(true, None).contains("no control groups"));
    }

    #[test]
    fn versions_are_read_to_the_first_dot() {
        assert_eq!(major("615.12.03"), 615);
        assert_eq!(major("580"), 580);
        assert_eq!(major("unknown"), 0);
        assert_eq!(major(""), 0);
    }
}
