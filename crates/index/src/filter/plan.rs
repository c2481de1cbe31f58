//! Whether to filter before a search or within it.
//!
//! A filter that few documents pass makes an exact search over these few the cheapest and best
//! answer; walking an approximate structure for them would look at everything else in vain. One that
//! many pass costs little as a predicate.

use roaring::RoaringBitmap;

use super::Filter;
use super::columns::Columns;

/// When a filter goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Most documents that are searched exactly.
    pub few_max: u64,
}

/// How a filtered search goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The filter holds for every document: search as without it.
    All,
    /// These are all documents that pass; compare each of them.
    Few(RoaringBitmap),
    /// Only these documents may pass, and are few; ask [`Filter::matches`] for each of them, and
    /// compare those that do. Naming those that pass would cost more.
    Check(RoaringBitmap),
    /// Search, and let only these documents be found.
    Many(RoaringBitmap),
    /// Search, and ask [`Filter::matches`] for each document that would be found: naming those that
    /// pass would cost more. The numbers bound how many pass.
    Ask {
        /// At least so many.
        at_least: u64,
        /// At most so many.
        at_most: u64,
    },
}

impl Default for PlanOptions {
    /// 20,000: so many f32 vectors of 384 values are compared in a few milliseconds.
    fn default() -> Self {
        Self { few_max: 20_000 }
    }
}

/// Most work to name the documents of a filter, in values; past that it is asked for each.
const NAME_VALUES_MAX: u64 = 100_000;

impl Columns {
    /// Chooses how to search with a filter.
    pub fn plan(&self, filter: &Filter, options: PlanOptions) -> Plan {
        let estimate = self.estimate_filter(filter);
        if estimate.at_least == self.len() {
            return Plan::All;
        }
        if self.work(&filter.clause) > NAME_VALUES_MAX {
            let may_pass = self.superset(&filter.clause, NAME_VALUES_MAX);
            return match may_pass.len() <= options.few_max {
                true => Plan::Check(may_pass),
                false => Plan::Ask { at_least: estimate.at_least, at_most: estimate.at_most },
            };
        }
        let selected = self.select(filter);
        if selected.len() <= options.few_max { Plan::Few(selected) } else { Plan::Many(selected) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::Slot;

    fn document(metadata: Value) -> Map<String, Value> {
        metadata.as_object().unwrap().clone()
    }

    #[test]
    fn the_plan_follows_the_share() {
        let mut columns = Columns::new();
        for at in 0..300_000u32 {
            let metadata = json!({"all": 1, "half": at % 2, "rare": at % 1000, "time": at});
            columns.insert(Slot(at), &document(metadata));
        }
        let plan = |filter: Value| {
            let filter = Filter::parse(&filter).unwrap();
            columns.plan(&filter, PlanOptions { few_max: 1000 })
        };
        assert_eq!(plan(json!({})), Plan::All);
        assert_eq!(plan(json!({"all": 1})), Plan::All);
        assert_eq!(plan(json!({"all": 2})), Plan::Few(RoaringBitmap::new()));
        assert_eq!(plan(json!({"none": 2})), Plan::Few(RoaringBitmap::new()));
        let rare: RoaringBitmap = (7..300_000).step_by(1000).collect();
        assert_eq!(plan(json!({"rare": 7})), Plan::Few(rare.clone()));
        let half: RoaringBitmap = (1..300_000).step_by(2).collect();
        assert_eq!(plan(json!({"half": 1})), Plan::Many(half));
        let few: RoaringBitmap = [1007, 2007].into_iter().collect();
        assert_eq!(plan(json!({"rare": 7, "time": {"gt": 999}})), Plan::Check(rare.clone()));
        assert_eq!(plan(json!({"rare": 7, "time": {"in": [1007, 2007, 5]}})), Plan::Few(few));
        assert_eq!(plan(json!({"time": {"lt": 5}})), Plan::Few((0..5).collect()));
        let asked = plan(json!({"time": {"gt": 100}}));
        assert_eq!(asked, Plan::Ask { at_least: 4096, at_most: 300_000 });
    }
}
