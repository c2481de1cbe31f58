//! Which documents a search may find.

use roaring::RoaringBitmap;

use super::state::State;
use crate::filter::{Filter, Plan, PlanOptions};
use crate::hit::Slot;
use crate::store::error::DamagedFile;

/// The documents that are live and pass a filter.
#[derive(Default)]
pub(super) struct Passing<'a> {
    /// All of them, where they are known.
    slots: Option<RoaringBitmap>,
    /// What is asked for each document otherwise.
    filter: Option<&'a Filter>,
}

impl<'a> Passing<'a> {
    /// Plans a filter for a state, to be asked of that state alone.
    pub(super) fn new(state: &State, filter: Option<&'a Filter>) -> Result<Self, DamagedFile> {
        let Some(filter) = filter else { return Ok(Self::default()) };
        let asked = Self { slots: None, filter: Some(filter) };
        let known = |slots| Self { slots: Some(slots), filter: None };
        Ok(match state.columns()?.plan(filter, PlanOptions::default()) {
            Plan::All => Self::default(),
            Plan::Few(slots) | Plan::Many(slots) => known(slots),
            Plan::Check(slots) => {
                let mut passing = RoaringBitmap::new();
                for slot in slots {
                    if asked.allows(state, Slot(slot))? {
                        passing.insert(slot);
                    }
                }
                known(passing)
            }
            Plan::Ask { .. } => asked,
        })
    }

    /// Whether a document may be found. Fails if it cannot be read.
    pub(super) fn allows(&self, state: &State, slot: Slot) -> Result<bool, DamagedFile> {
        if let Some(slots) = &self.slots {
            return Ok(slots.contains(slot.0));
        }
        let Some(filter) = self.filter else { return Ok(state.live.contains(slot)) };
        let metadata = state.metadata(slot)?;
        Ok(metadata.is_some_and(|metadata| filter.matches(&metadata)))
    }

    /// About how many there are.
    pub(super) fn about(&self, state: &State) -> Option<usize> {
        match (&self.slots, self.filter) {
            (Some(slots), _) => Some(slots.len() as usize),
            (None, Some(_)) => None,
            (None, None) => Some(state.live.len() as usize),
        }
    }
}
