//! Which cards a program is to use, as a person writes it.

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::simulated::{
    Model, PoolError, SimulatedGroup, SimulatedNodes, SimulatedPool, UnknownModel,
};

/// Which cards to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardsSpec {
    /// `auto`: NVIDIA cards if there are any, else the CPU.
    Auto,
    /// `nvidia`: NVIDIA cards, and nothing else if there are none.
    Nvidia,
    /// `cpu`: the processor and memory of this machine.
    Cpu,
    /// `sim:8xH100` and the like: cards in numbers alone.
    Simulated(SimulatedPool),
    /// `sim:FILE.toml`: simulated cards that a file describes.
    SimulatedFile(PathBuf),
}

/// Why a text names no cards.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseCardsError {
    /// None of the forms.
    #[error(
        "{0:?} names no cards; write auto, nvidia, cpu, sim:8xH100, sim:4x8xH100 (nodes x \
         cards), sim:2xA100,4xL40S (two nodes), sim:8xH100+mig or sim:FILE.toml"
    )]
    Form(String),
    /// A model that is not known.
    #[error(transparent)]
    Model(#[from] UnknownModel),
    /// More cards than there may be, or none.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl FromStr for CardsSpec {
    type Err = ParseCardsError;

    /// Reads one of the forms that [`ParseCardsError::Form`] lists. Parts between commas are
    /// nodes of their own; cards of several models in one node need a file.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let simulated = match trimmed {
            "auto" => return Ok(CardsSpec::Auto),
            "nvidia" => return Ok(CardsSpec::Nvidia),
            "cpu" => return Ok(CardsSpec::Cpu),
            _ => trimmed.strip_prefix("sim:"),
        };
        let form = || ParseCardsError::Form(text.chars().take(SHOWN_MAX).collect());
        let simulated = simulated.ok_or_else(form)?;
        if let Some(stem) = simulated.strip_suffix(".toml") {
            let file = CardsSpec::SimulatedFile(PathBuf::from(simulated));
            return if stem.is_empty() { Err(form()) } else { Ok(file) };
        }
        let mut nodes = Vec::new();
        for part in simulated.split(',') {
            let part = parse_part(part.trim()).ok_or_else(form)?;
            let model = Model::named(part.model)?;
            let cards = SimulatedGroup { model, count: part.cards, memory: None, mig: part.mig };
            let count = part.nodes;
            nodes.push(SimulatedNodes { name: None, count, rack: None, cards: vec![cards] });
        }
        Ok(CardsSpec::Simulated(SimulatedPool::new(nodes)?))
    }
}

/// Most characters of a text that a message repeats.
const SHOWN_MAX: usize = 80;

/// A part such as `4x8xH100+mig`.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    nodes: u32,
    cards: u32,
    model: &'a str,
    mig: bool,
}

fn parse_part(text: &str) -> Option<Part<'_>> {
    let (text, mig) = match text.strip_suffix("+mig") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (first, rest) = split_count(text)?;
    let (nodes, cards, model) = match split_count(rest) {
        Some((cards, model)) => (first, cards, model),
        None => (1, first, rest),
    };
    (!model.is_empty()).then_some(Part { nodes, cards, model, mig })
}

/// A whole number, and what follows the `x` after it. A number too large to hold becomes the
/// largest, which is more than a pool may have.
fn split_count(text: &str) -> Option<(u32, &str)> {
    let (number, rest) = text.split_once('x')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (number.parse().unwrap_or(u32::MAX), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    #[test]
    fn forms_are_read() {
        let check = |text: &str, expected: &str| {
            let shown = match text.parse::<CardsSpec>() {
                Ok(CardsSpec::Auto) => "auto".to_owned(),
                Ok(CardsSpec::Nvidia) => "nvidia".to_owned(),
                Ok(CardsSpec::Cpu) => "cpu".to_owned(),
                Ok(CardsSpec::SimulatedFile(path)) => format!("file {}", path.display()),
                Ok(CardsSpec::Simulated(pool)) => {
                    let cards = pool.cards();
                    let nodes = cards.iter().filter(|card| card.index == 0).count();
                    let mig = cards.iter().filter(|card| card.mig.is_some()).count();
                    format!("{nodes} nodes, {} cards, {mig} in MIG mode", cards.len())
                }
                Err(error) => error.to_string(),
            };
            assert!(shown.contains(expected), "{text:?} gave {shown:?}");
        };
        check("auto", "auto");
        check("nvidia", "nvidia");
        check(" cpu ", "cpu");
        check("sim:8xH100", "1 nodes, 8 cards, 0 in MIG mode");
        check("sim:4x8xh100", "4 nodes, 32 cards, 0 in MIG mode");
        check("sim:2xA100,4xL40S", "2 nodes, 6 cards, 0 in MIG mode");
        check("sim:2x2xA30+mig,1xT4", "3 nodes, 5 cards, 4 in MIG mode");
        check("sim:2xrtx4090", "1 nodes, 2 cards");
        check("sim:pool/two racks.toml", "file pool/two racks.toml");
        check("sim:.toml", "names no cards");
        check("", "names no cards; write auto, nvidia, cpu, sim:8xH100");
        check("gpu", "names no cards");
        check("sim:", "names no cards");
        check("sim:H100", "names no cards");
        check("sim:8x", "names no cards");
        check("sim:8xH100,", "names no cards");
        check("sim:8xH1000", "H100-80GB");
        check("sim:0xH100", "no card");
        check("sim:1xT4+mig", "MIG");
        check("sim:100001xT4", "100000");
        check("sim:99999999999x9xT4", "100000");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(sim:)?[0-9]{0,3}x?[0-9]{0,3}x?.{0,12}") {
            let _ = text.parse::<CardsSpec>();
        }
    }
}
