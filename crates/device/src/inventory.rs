//! From what a person wants to the cards that there are.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cotenant_types::{Card, CardId, MigPlace};
use thiserror::Error;

use crate::nvidia::{self, Found};
use crate::processor::{self, NoMemory};
use crate::settings::CardSettings;
use crate::simulated::{PoolError, SimulatedPool};
use crate::spec::CardsSpec;

/// The cards that were found; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Cards, node by node.
    pub cards: Vec<Card>,
    /// Sentences for people: what is missing, and why.
    pub notes: Vec<String>,
}

/// What may be done with cards, and what of them is held already: both decide which partitions of a
/// card in MIG mode can be planned with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whether settings of cards may be changed.
    pub settings: CardSettings,
    /// Partitions that this program holds or made, as
    /// [`Partitions::ours`](crate::Partitions::ours) says.
    pub partitions: Vec<(CardId, MigPlace)>,
}

/// Why there are no cards to work with.
#[derive(Debug, Error)]
pub enum DiscoverError {
    /// The machine does not say how much memory it has.
    #[error("the CPU cannot be used as a card")]
    Processor(#[from] NoMemory),
    /// NVIDIA cards were asked for, and there are none that could be used.
    #[error(
        "there are no NVIDIA cards to use: {}\n\
         hint: install the NVIDIA driver, whose libnvidia-ml.so.1 must be where the loader looks; \
         or take --cards cpu, or --cards sim:8xH100 to try things",
        .notes.join("; ")
    )]
    NoNvidia {
        /// What was looked for, and what there was.
        notes: Vec<String>,
    },
    /// The file with simulated cards cannot be read.
    #[error("the file {path} with simulated cards cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file describes no pool.
    #[error("the file {path} describes no simulated cards")]
    Pool {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PoolError,
    },
}

/// Finds the cards. Simulated ones are on nodes of their own; others are on this machine.
pub fn discover(spec: &CardsSpec, terms: &Terms) -> Result<Inventory, DiscoverError> {
    match spec {
        CardsSpec::Auto => {
            let Found { cards, mut notes } = nvidia::find(&processor::node_name(), terms);
            if !cards.is_empty() {
                return Ok(Inventory { cards, notes });
            }
            let processor = find_processor()?;
            notes.extend(processor.notes);
            Ok(Inventory { cards: processor.cards, notes })
        }
        CardsSpec::Nvidia => match nvidia::find(&processor::node_name(), terms) {
            Found { cards, notes } if cards.is_empty() => Err(DiscoverError::NoNvidia { notes }),
            Found { cards, notes } => Ok(Inventory { cards, notes }),
        },
        CardsSpec::Cpu => Ok(find_processor()?),
        CardsSpec::Simulated(pool) => Ok(Inventory { cards: pool.cards(), notes: Vec::new() }),
        CardsSpec::SimulatedFile(path) => {
            let read = |source| DiscoverError::Read { path: path.clone(), source };
            let pool = |source| DiscoverError::Pool { path: path.clone(), source };
            let text = read_start(path).map_err(read)?;
            let cards = SimulatedPool::from_toml(&text).map_err(pool)?.cards();
            Ok(Inventory { cards, notes: Vec::new() })
        }
    }
}

/// As much of a file as one that describes a pool may have, and a byte more, so that a longer one
/// is refused as such.
fn read_start(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SimulatedPool::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn find_processor() -> Result<Inventory, NoMemory> {
    let (card, notes) = processor::find(&processor::node_name())?;
    Ok(Inventory { cards: vec![card], notes })
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;

    use cotenant_types::CardKind;

    use super::*;
    use crate::Meter;

    #[test]
    fn every_machine_has_a_card() {
        let auto = discover(&CardsSpec::Auto, &Terms::default()).unwrap();
        assert!(!auto.cards.is_empty());
        if auto.cards.iter().any(|card| card.kind == CardKind::Cpu) {
            assert!(!auto.notes.is_empty(), "somebody must be told why there is no NVIDIA card");
        }
        let cpu = discover(&CardsSpec::Cpu, &Terms::default()).unwrap();
        assert_eq!(cpu.cards.len(), 1);
        let reading = Meter::new(&cpu.cards).read();
        assert_eq!(reading.cards[0].card, cpu.cards[0].id);
        assert!(reading.cards[0].memory_used.0 > 0, "{reading:?}");
    }

    #[test]
    fn files_of_simulated_cards_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.toml");
        let spec = CardsSpec::SimulatedFile(path.clone());
        assert!(matches!(discover(&spec, &Terms::default()), Err(DiscoverError::Read { .. })));
        fs::write(&path, "[[node]]\ncards = [{ model = 'H100', count = 3 }]").unwrap();
        assert_eq!(discover(&spec, &Terms::default()).unwrap().cards.len(), 3);
        fs::write(&path, "[[nodes]]").unwrap();
        let error = discover(&spec, &Terms::default()).unwrap_err();
        assert!(error.source().unwrap().source().unwrap().to_string().contains("unknown field"));
    }
}
