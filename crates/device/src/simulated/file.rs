//! The file that describes a simulated pool.

use cotenant_types::Mebibytes;
use serde::Deserialize;
use thiserror::Error;

use super::models::Model;
use super::pool::{PoolError, SimulatedGroup, SimulatedNodes, SimulatedPool};

/// Why a text is no such file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PoolFileError {
    /// Too long to be one.
    #[error("it has {0} bytes, more than {max}", max = SimulatedPool::FILE_BYTES_MAX)]
    TooLong(usize),
    /// Not TOML, or a key too many or too few.
    #[error("{0}")]
    Form(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    node: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: Option<String>,
    #[serde(default = "one")]
    count: u32,
    rack: Option<String>,
    cards: Vec<Cards>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cards {
    model: String,
    #[serde(default = "one")]
    count: u32,
    memory_mib: Option<u64>,
    #[serde(default)]
    mig: bool,
}

fn one() -> u32 {
    1
}

/// The nodes that the text describes; what they hold is not yet checked.
pub(super) fn read(text: &str) -> Result<Vec<SimulatedNodes>, PoolError> {
    if text.len() > SimulatedPool::FILE_BYTES_MAX {
        return Err(PoolFileError::TooLong(text.len()).into());
    }
    let file: File =
        toml::from_str(text).map_err(|error| PoolFileError::Form(error.to_string()))?;
    file.node.into_iter().map(node).collect()
}

fn node(node: Node) -> Result<SimulatedNodes, PoolError> {
    let Node { name, count, rack, cards } = node;
    let cards = cards.into_iter().map(group).collect::<Result<_, _>>()?;
    Ok(SimulatedNodes { name, count, rack, cards })
}

fn group(cards: Cards) -> Result<SimulatedGroup, PoolError> {
    let Cards { model, count, memory_mib, mig } = cards;
    let memory = memory_mib.map(Mebibytes);
    Ok(SimulatedGroup { model: Model::named(&model)?, count, memory, mig })
}
