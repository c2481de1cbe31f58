//! What a process is told of its slices: the variables of its environment.

use std::collections::BTreeMap;

use cotenant_types::{Card, CardId, CardKind, Rung, Slice};
use thiserror::Error;

use crate::mps;

/// One of the slices that a member of a job holds.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The slice.
    pub slice: &'a Slice,
    /// Its card.
    pub card: &'a Card,
    /// The id of its partition, such as `MIG-4d1c…`, where the card is in MIG mode.
    pub partition: Option<&'a str>,
}

/// Why a process cannot be told of its slices.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EnvironmentError {
    /// A slice was put beside another card than its own.
    #[error("a slice of card '{slice}' was given with card '{card}'")]
    WrongCard {
        /// The slice's card.
        slice: CardId,
        /// The card that came with it.
        card: CardId,
    },
    /// A partition that has no id yet.
    #[error("the partition {profile} of card '{card}' has no id; make it before the job starts")]
    NoPartition {
        /// The card.
        card: CardId,
        /// The partition's profile.
        profile: String,
    },
}

/// Every variable that [`environment()`] or [`MpsGroups::join`](crate::MpsGroups::join) may set. A
/// process must inherit none of them: what it is not given, it must not find.
pub const OWNED_VARIABLES: [&str; 13] = [
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_MPS_PIPE_DIRECTORY",
    "CUDA_MPS_LOG_DIRECTORY",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "COTENANT_CARDS",
    "COTENANT_MEMORY_MIB",
    "COTENANT_COMPUTE_PER_MILLE",
];

/// How libraries are told how many threads they may use.
const THREAD_VARIABLES: [&str; 4] =
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"];

/// The environment of a process that holds these slices.
///
/// Lists are in the order of the slices, split by commas. NVIDIA cards are shown by their ids, or
/// by the ids of their partitions, and no other is seen; a process without any sees none. Cards of
/// the CPU give numbers of threads: as many as the limit has cores, rounded up.
pub fn environment(held: &[Held<'_>]) -> Result<BTreeMap<&'static str, String>, EnvironmentError> {
    held.iter().try_for_each(check)?;
    let mut variables = BTreeMap::new();
    let list = |text: &dyn Fn(&Slice) -> String| {
        held.iter().map(|held| text(held.slice)).collect::<Vec<_>>().join(",")
    };
    let compute = |slice: &Slice| slice.compute.limit.per_mille().to_string();
    variables.insert("COTENANT_CARDS", list(&|slice| slice.card.to_string()));
    variables.insert("COTENANT_MEMORY_MIB", list(&|slice| slice.memory.limit.0.to_string()));
    variables.insert("COTENANT_COMPUTE_PER_MILLE", list(&compute));

    let of_kind = |kind| held.iter().filter(move |held| held.card.kind == kind);
    let gpus: Vec<&Held<'_>> = of_kind(CardKind::Nvidia).collect();
    let visible: Vec<&str> = gpus.iter().map(|held| visible_id(held)).collect();
    variables.insert("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned());
    variables.insert("CUDA_VISIBLE_DEVICES", visible.join(","));
    set_mps(&gpus, &mut variables);

    let threads: u64 = of_kind(CardKind::Cpu).map(threads).sum();
    if threads > 0 {
        for name in THREAD_VARIABLES {
            variables.insert(name, threads.to_string());
        }
    }
    Ok(variables)
}

fn check(held: &Held<'_>) -> Result<(), EnvironmentError> {
    let (slice, card) = (held.slice, held.card);
    if slice.card != card.id {
        let (slice, card) = (slice.card.clone(), card.id.clone());
        return Err(EnvironmentError::WrongCard { slice, card });
    }
    match &slice.mig {
        Some(place) if card.kind == CardKind::Nvidia && held.partition.is_none() => {
            let (card, profile) = (card.id.clone(), place.profile.clone());
            Err(EnvironmentError::NoPartition { card, profile })
        }
        _ => Ok(()),
    }
}

/// What CUDA knows the card, or its partition, by.
fn visible_id<'a>(held: &Held<'a>) -> &'a str {
    held.partition.filter(|_| held.slice.mig.is_some()).unwrap_or(held.card.id.as_str())
}

/// The limits that MPS reads from its client's environment. Memory is said for each card, by its
/// place among those that are seen; compute only for all at once, so that the least counts.
fn set_mps(gpus: &[&Held<'_>], variables: &mut BTreeMap<&'static str, String>) {
    let served = || (0usize..).zip(gpus).filter(|(_, held)| held.slice.enforced_by == Rung::Mps);
    let Some(percent) = mps::percent(gpus.iter().map(|held| held.slice)) else {
        return;
    };
    let memory = served().map(|(at, held)| {
        let limit = held.slice.memory.limit;
        format!("{at}={}", mps::amount(limit))
    });
    let memory = memory.collect::<Vec<_>>().join(",");
    variables.insert("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", percent.to_string());
    variables.insert("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", memory);
}

/// Threads of a slice of a CPU card; at least 1.
fn threads(held: &Held<'_>) -> u64 {
    let per_mille = u64::from(held.slice.compute.limit.per_mille());
    (per_mille * u64::from(held.card.cores)).div_ceil(1000).max(1)
}

#[cfg(test)]
mod tests {
    use cotenant_types::{Mebibytes, MigPlace, Share, Site, Span};

    use super::*;

    /// A card and a slice of it, from `kind id cores/MiB/per mille/rung`.
    fn part(text: &str) -> (Card, Slice) {
        let words: Vec<&str> = text.split([' ', '/']).collect();
        let [kind, id, cores, memory, compute, rung] = words[..] else {
            panic!("{text:?} has not six parts");
        };
        let kinds = [CardKind::Nvidia, CardKind::Cpu, CardKind::Sim];
        let memory = Mebibytes(memory.parse().unwrap());
        let compute = Share::from_per_mille(compute.parse().unwrap()).unwrap();
        let mig = (rung == "mig").then(|| MigPlace { profile: "1g.10gb".to_owned(), start: 3 });
        let card = Card {
            id: id.parse().unwrap(),
            node: "here".parse().unwrap(),
            index: 0,
            kind: kinds.into_iter().find(|one| one.to_string() == kind).unwrap(),
            model: String::new(),
            memory,
            cores: cores.parse().unwrap(),
            site: Site::default(),
            rungs: Vec::new(),
            mig: None,
        };
        let slice = Slice {
            card: card.id.clone(),
            memory: Span { request: Mebibytes(0), limit: memory },
            compute: Span { request: Share::ZERO, limit: compute },
            whole: false,
            enforced_by: Rung::ALL.into_iter().find(|one| one.name() == rung).unwrap(),
            mig,
        };
        (card, slice)
    }

    fn shown(parts: &[(Card, Slice)], partition: Option<&str>) -> String {
        let held: Vec<Held<'_>> =
            parts.iter().map(|(card, slice)| Held { slice, card, partition }).collect();
        match environment(&held) {
            Ok(variables) => {
                assert!(variables.keys().all(|name| OWNED_VARIABLES.contains(name)));
                let lines = variables.iter().map(|(name, value)| format!("{name}={value}"));
                lines.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn slices_become_variables() {
        let check = |parts: &[&str], partition: Option<&str>, expected: &str| {
            let parts: Vec<_> = parts.iter().map(|text| part(text)).collect();
            assert_eq!(shown(&parts, partition), expected);
        };
        check(
            &["cpu cpu-0 8/4096/300/cgroup"],
            None,
            "COTENANT_CARDS=cpu-0 COTENANT_COMPUTE_PER_MILLE=300 COTENANT_MEMORY_MIB=4096 \
             CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES= MKL_NUM_THREADS=3 \
             OMP_NUM_THREADS=3 OPENBLAS_NUM_THREADS=3 RAYON_NUM_THREADS=3",
        );
        check(
            &["nvidia GPU-1 0/10240/500/mps", "nvidia GPU-2 0/1000/255/mps"],
            None,
            "COTENANT_CARDS=GPU-1,GPU-2 COTENANT_COMPUTE_PER_MILLE=500,255 \
             COTENANT_MEMORY_MIB=10240,1000 CUDA_DEVICE_ORDER=PCI_BUS_ID \
             CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=25 \
             CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=10G,1=1000M CUDA_VISIBLE_DEVICES=GPU-1,GPU-2",
        );
        check(
            &["nvidia GPU-1 0/10240/500/time-slice"],
            Some("MIG-of-another-time"),
            "COTENANT_CARDS=GPU-1 COTENANT_COMPUTE_PER_MILLE=500 COTENANT_MEMORY_MIB=10240 \
             CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-1",
        );
        check(
            &["nvidia GPU-1 0/10240/142/mig"],
            Some("MIG-7"),
            "COTENANT_CARDS=GPU-1 COTENANT_COMPUTE_PER_MILLE=142 COTENANT_MEMORY_MIB=10240 \
             CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=MIG-7",
        );
        check(
            &["sim sim-n0-0 0/10240/142/mig"],
            None,
            "COTENANT_CARDS=sim-n0-0 COTENANT_COMPUTE_PER_MILLE=142 COTENANT_MEMORY_MIB=10240 \
             CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=",
        );
        check(
            &["nvidia GPU-1 0/10240/142/mig"],
            None,
            "the partition 1g.10gb of card 'GPU-1' has no id; make it before the job starts",
        );
    }

    #[test]
    fn limits_that_round_to_nothing_leave_a_little() {
        let threads = shown(&[part("cpu cpu-0 2/1/0/worker")], None);
        assert!(threads.contains("OMP_NUM_THREADS=1"), "{threads}");
        let percent = shown(&[part("nvidia GPU-1 0/512/5/mps")], None);
        assert!(percent.contains("PERCENTAGE=1 "), "{percent}");
        assert!(percent.contains("0=512M"), "{percent}");
        let cores = shown(&[part("cpu cpu-0 3/1/334/worker")], None);
        assert!(cores.contains("OMP_NUM_THREADS=2"), "{cores}");
    }

    #[test]
    fn slices_of_other_cards_are_refused() {
        let ((card, _), (_, slice)) = (part("cpu a 1/1/1/worker"), part("cpu b 1/1/1/worker"));
        let message = shown(&[(card, slice)], None);
        assert_eq!(message, "a slice of card 'b' was given with card 'a'");
    }
}
