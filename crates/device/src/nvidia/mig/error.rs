//! Why a partition is not to be had.

use std::io;
use std::path::PathBuf;

use cotenant_types::CardId;
use thiserror::Error;

use super::layout::processes;

/// Why a partition was not made, found or destroyed.
#[derive(Debug, Error)]
pub enum PartitionError {
    /// NVML, or the card in it, cannot be used.
    #[error("card '{card}' cannot be asked for its partitions: it says \"{why}\"")]
    Driver {
        /// The card.
        card: CardId,
        /// What the driver says.
        why: String,
    },
    /// The card is not in MIG mode.
    #[error(
        "card '{card}' is not in MIG mode, and has no partitions; a switch needs an idle card and \
         resets it, so that the pool never does it: stop what runs there, run as root: nvidia-smi \
         -i {card} -mig 1, and start the pool again"
    )]
    Mode {
        /// The card.
        card: CardId,
    },
    /// It is to be, but only after a reset.
    #[error(
        "card '{card}' is in MIG mode only after its next reset; stop what runs there, run as \
         root: nvidia-smi --gpu-reset -i {card}, and start the pool again"
    )]
    Pending {
        /// The card.
        card: CardId,
    },
    /// The card has no such profile.
    #[error("card '{card}' has no partitions {profile}; it has {known}")]
    Profile {
        /// The card.
        card: CardId,
        /// What was asked for.
        profile: String,
        /// What there is.
        known: String,
    },
    /// The pool may not make it.
    #[error(
        "card '{card}' has no partition {profile} at slot {start}, and this pool may not change \
         settings of cards; start it with --change-card-settings, or make the partition as root \
         with: nvidia-smi mig -i {card} -cgi {profile}:{start} -C"
    )]
    Forbidden {
        /// The card.
        card: CardId,
        /// The profile.
        profile: String,
        /// The first slot.
        start: u8,
    },
    /// The pool may not make it whole.
    #[error(
        "the partition {profile} at slot {start} of card '{card}' has no compute instance, and \
         this pool may not change settings of cards; start it with --change-card-settings, or run \
         as root: nvidia-smi mig -i {card} -gi {id} -cci"
    )]
    Empty {
        /// The card.
        card: CardId,
        /// The profile.
        profile: String,
        /// The first slot.
        start: u8,
        /// The partition's number.
        id: u32,
    },
    /// Somebody has made several compute instances in it.
    #[error(
        "the partition {profile} at slot {start} of card '{card}' is split into several compute \
         instances, or has a small one; the pool leaves it to whoever made them: nvidia-smi mig \
         -i {card} -lci lists them"
    )]
    Split {
        /// The card.
        card: CardId,
        /// The profile.
        profile: String,
        /// The first slot.
        start: u8,
    },
    /// Another member holds it.
    #[error("the partition {profile} at slot {start} of card '{card}' is held by '{owner}'")]
    Taken {
        /// The card.
        card: CardId,
        /// The profile.
        profile: String,
        /// The first slot.
        start: u8,
        /// Who holds it.
        owner: String,
    },
    /// Processes use it.
    #[error(
        "the partition {profile} at slot {start} of card '{card}' is in use: {}; end them, or wait \
         until they have ended",
        holders(.users)
    )]
    Busy {
        /// The card.
        card: CardId,
        /// The profile.
        profile: String,
        /// The first slot.
        start: u8,
        /// Processes on it, as far as the driver tells.
        users: Vec<u32>,
    },
    /// Others lie there.
    #[error(
        "card '{card}' has no room for a partition {profile} at slot {start}; it has {others}; \
         those that nobody needs go with, as root: nvidia-smi mig -i {card} -dci, then -dgi"
    )]
    Room {
        /// The card.
        card: CardId,
        /// The profile.
        profile: String,
        /// The first slot.
        start: u8,
        /// What is there.
        others: String,
    },
    /// Only root may.
    #[error(
        "card '{card}' lets only root {doing}; start the pool as root, or without \
         --change-card-settings and with partitions that were made before"
    )]
    Root {
        /// The card.
        card: CardId,
        /// What was tried.
        doing: &'static str,
    },
    /// The driver is too old.
    #[error("the driver of card '{card}' cannot {doing}: {why}; install a newer one")]
    Unsupported {
        /// The card.
        card: CardId,
        /// What was tried.
        doing: &'static str,
        /// What it lacks.
        why: String,
    },
    /// Something else.
    #[error(
        "card '{card}' does not {doing}: {why}; see the kernel's log, and nvidia-smi mig -i {card} \
         -lgi for what is there"
    )]
    Failed {
        /// The card.
        card: CardId,
        /// What was tried.
        doing: &'static str,
        /// What the driver says.
        why: String,
    },
    /// The record cannot be read or written.
    #[error("the record {path} of partitions cannot be used")]
    Record {
        /// The record.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The record is none.
    #[error(
        "the record {path} of partitions is damaged; compare it with nvidia-smi mig -lgi, destroy \
         what nobody needs, and remove the record"
    )]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
}

fn holders(users: &[u32]) -> String {
    match users {
        [] => "the driver does not say by whom".to_owned(),
        users => processes(users),
    }
}
