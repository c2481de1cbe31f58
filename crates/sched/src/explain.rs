//! What the cards of the pool lack for a job, counted by model.

use cotenant_types::Mebibytes;

use crate::ledger::Ledger;
use crate::place::{Need, shortfall};
use crate::reason::{CardLack, Help, ModelLack, Reason};

/// The reason of a job that has no room.
pub(crate) fn cards(
    ledger: &Ledger,
    need: &Need<'_>,
    (members_placed, help): (u32, Vec<Help>),
) -> Reason {
    let counts = shortfall(ledger, need);
    let mut lacks: Vec<ModelLack> = counts
        .iter()
        .map(|(&(model, lack), &cards)| ModelLack { model: model.to_owned(), lack, cards })
        .collect();
    let lacking: u32 = counts.values().sum();
    let whole = ledger.catalog.cards.len() as u32 - lacking;
    if whole > 0 {
        lacks.push(ModelLack { model: String::new(), lack: CardLack::Together, cards: whole });
    }
    let ask = need.ask;
    Reason::Cards { members_placed, members: ask.members, cards: ask.cards, lacks, help }
}

/// Amounts in words, for messages.
pub fn in_words(compute_milli: u64, memory: Mebibytes) -> String {
    let cards = match (compute_milli / 1000, compute_milli % 1000 / 10) {
        (cards, 0) => format!("{cards}"),
        (cards, hundredths) => format!("{cards}.{hundredths:02}"),
    };
    format!("{cards} cards and {memory}")
}
