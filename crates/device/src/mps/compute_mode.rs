//! Who may use a card at the same time, which MPS works best with when it is nobody but its server.

use std::fmt;

use cotenant_types::CardId;
use serde::{Deserialize, Serialize};

use super::error::MpsError;
use crate::settings::CardSettings;

/// The compute mode of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeMode {
    /// Any number of programs, with MPS or beside it.
    Default,
    /// One process: an MPS server and its clients, or one program without it.
    Exclusive,
    /// None.
    Prohibited,
}

impl fmt::Display for ComputeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ComputeMode::Default => "default",
            ComputeMode::Exclusive => "exclusive-process",
            ComputeMode::Prohibited => "prohibited",
        })
    }
}

/// Where compute modes are read and set; each refusal in the driver's words.
pub trait ComputeModes: fmt::Debug + Send {
    /// The mode that a card is in.
    fn read(&self, card: &CardId) -> Result<ComputeMode, String>;
    /// Puts a card into a mode.
    fn set(&self, card: &CardId, mode: ComputeMode) -> Result<(), String>;
}

/// What is to be done with a card's mode before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModePlan {
    /// It is as it should be.
    Keep,
    /// It works, but programs that drop their environment run beside MPS, held by nothing.
    KeepOpen,
    /// It is made exclusive to the server.
    MakeExclusive,
}

/// What is to be done with a card that is in a mode, and whether it may be.
///
/// A card that another server has stays as it is: making it exclusive would break that one.
pub(super) fn plan_mode(
    (card, mode): (&CardId, ComputeMode),
    settings: CardSettings,
    neighbours: Neighbours,
) -> Result<ModePlan, MpsError> {
    match (mode, settings, neighbours) {
        (ComputeMode::Exclusive, _, Neighbours::None) => Ok(ModePlan::Keep),
        (ComputeMode::Exclusive, _, Neighbours::Some) => {
            Err(MpsError::Exclusive { card: card.clone() })
        }
        (ComputeMode::Default, CardSettings::MayChange, Neighbours::None)
        | (ComputeMode::Prohibited, CardSettings::MayChange, _) => Ok(ModePlan::MakeExclusive),
        (ComputeMode::Default, CardSettings::Keep, _)
        | (ComputeMode::Default, CardSettings::MayChange, Neighbours::Some) => {
            Ok(ModePlan::KeepOpen)
        }
        (ComputeMode::Prohibited, CardSettings::Keep, _) => {
            Err(MpsError::Prohibited { card: card.clone() })
        }
    }
}

/// Whether another group of ours serves the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    None,
    Some,
}

/// What people should know of a card that stays open.
pub(super) fn open_note(card: &CardId) -> String {
    format!(
        "card {card} is in compute mode default: a program that drops its environment runs there \
         beside MPS, held by nothing; to prevent that, start the pool with \
         --change-card-settings, or run: nvidia-smi -i {card} -c EXCLUSIVE_PROCESS"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_only_by_permission() {
        let card: CardId = "GPU-1".parse().unwrap();
        let check = |mode, settings, neighbours, expected: &str| {
            let shown = match plan_mode((&card, mode), settings, neighbours) {
                Ok(plan) => format!("{plan:?}"),
                Err(error) => error.to_string(),
            };
            assert!(shown.contains(expected), "{mode} {settings:?} {neighbours:?}: {shown}");
        };
        use CardSettings::{Keep, MayChange};
        use ComputeMode::{Default, Exclusive, Prohibited};
        check(Default, Keep, Neighbours::None, "KeepOpen");
        check(Default, Keep, Neighbours::Some, "KeepOpen");
        check(Default, MayChange, Neighbours::None, "MakeExclusive");
        check(Default, MayChange, Neighbours::Some, "KeepOpen");
        for settings in [Keep, MayChange] {
            check(Exclusive, settings, Neighbours::None, "Keep");
            check(Exclusive, settings, Neighbours::Some, "nvidia-smi -i GPU-1 -c DEFAULT");
        }
        check(Prohibited, Keep, Neighbours::None, "nvidia-smi -i GPU-1 -c EXCLUSIVE_PROCESS");
        check(Prohibited, MayChange, Neighbours::None, "MakeExclusive");
    }
}
