//! For each field and value the documents that have it, so that filters need not look at documents.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use roaring::RoaringBitmap;
use serde_json::{Map, Value};

use super::value::{Key, exists, keys_of};
use super::{Clause, Filter, Limit, Order, Test};
use crate::Slot;

/// Metadata of the live documents of a namespace, by field and value.
///
/// It is made from the documents and can be made again; that of a segment is saved beside it.
#[derive(Default)]
pub struct Columns {
    pub(super) fields: HashMap<String, Column>,
    pub(super) live: RoaringBitmap,
}

#[derive(Default)]
pub(super) struct Column {
    /// Documents where the field is there.
    pub(super) present: RoaringBitmap,
    /// Documents by the value itself.
    pub(super) scalars: BTreeMap<Key, Slots>,
    /// Documents by each element of an array.
    pub(super) elements: BTreeMap<Key, Slots>,
}

/// The documents of one value. Many values, as times and names, are those of one document, and a
/// bitmap would be several times as large.
pub(super) enum Slots {
    One(u32),
    Many(RoaringBitmap),
}

/// How many documents a filter holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Estimate {
    pub at_least: u64,
    pub at_most: u64,
}

/// Most values that an estimate of a range or a search within strings looks at.
const ESTIMATE_VALUES_MAX: usize = 4096;

impl Columns {
    /// Columns without documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a live document. A slot that is here already must be removed first.
    pub fn insert(&mut self, slot: Slot, metadata: &Map<String, Value>) {
        self.live.insert(slot.0);
        for (field, value) in metadata.iter().filter(|(_, value)| exists(value)) {
            if !self.fields.contains_key(field) {
                self.fields.insert(field.clone(), Column::default());
            }
            let column = self.fields.get_mut(field).expect("it was put in if it was not there");
            column.present.insert(slot.0);
            let values = column.values_mut(value);
            for key in keys_of(value) {
                values.entry(key).or_insert(Slots::One(slot.0)).insert(slot.0);
            }
        }
    }

    /// Takes a document out, with the metadata that it came with.
    pub fn remove(&mut self, slot: Slot, metadata: &Map<String, Value>) {
        self.live.remove(slot.0);
        for (field, value) in metadata {
            let Some(column) = self.fields.get_mut(field) else { continue };
            column.present.remove(slot.0);
            let values = column.values_mut(value);
            for key in keys_of(value) {
                if values.get_mut(&key).is_some_and(|slots| slots.remove(slot.0)) {
                    values.remove(&key);
                }
            }
            if column.present.is_empty() {
                self.fields.remove(field);
            }
        }
    }

    /// Number of live documents.
    pub fn len(&self) -> u64 {
        self.live.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The live documents that a filter holds for: those for which [`Filter::matches`] is true.
    pub fn select(&self, filter: &Filter) -> RoaringBitmap {
        self.select_clause(&filter.clause)
    }

    fn select_clause(&self, clause: &Clause) -> RoaringBitmap {
        match clause {
            Clause::And(clauses) => {
                let mut clauses: Vec<_> =
                    clauses.iter().map(|clause| (self.estimate(clause).at_most, clause)).collect();
                // The few first: then the rest has little to do, or nothing.
                clauses.sort_by_key(|clause| clause.0);
                let mut clauses = clauses.into_iter().map(|(_, clause)| clause);
                let Some(first) = clauses.next() else { return self.live.clone() };
                let mut selected = self.select_clause(first);
                for clause in clauses {
                    if selected.is_empty() {
                        break;
                    }
                    selected &= self.select_clause(clause);
                }
                selected
            }
            Clause::Or(clauses) => clauses.iter().fold(RoaringBitmap::new(), |selected, clause| {
                selected | self.select_clause(clause)
            }),
            Clause::Not(clause) => &self.live - self.select_clause(clause),
            Clause::Field(field, test) => {
                let Some(column) = self.fields.get(field) else { return RoaringBitmap::new() };
                let mut selected = RoaringBitmap::new();
                match test {
                    Test::Exists => return column.present.clone(),
                    Test::In(_) | Test::Range(_) | Test::Contains(_) => {
                        column.each(test, |slots| {
                            slots.add_to(&mut selected);
                            true
                        });
                    }
                }
                selected
            }
        }
    }

    /// Bounds of the number of documents, which cost little however many there are.
    pub(super) fn estimate_filter(&self, filter: &Filter) -> Estimate {
        self.estimate(&filter.clause)
    }

    /// How many values [`Self::select`] looks at, about.
    pub(super) fn work(&self, clause: &Clause) -> u64 {
        match clause {
            Clause::And(clauses) | Clause::Or(clauses) => {
                clauses.iter().map(|clause| self.work(clause)).sum()
            }
            Clause::Not(clause) => self.work(clause),
            Clause::Field(field, test) => self.fields.get(field).map_or(0, |one| one.work(test)),
        }
    }

    /// All documents that a clause holds for, and others where naming them would look at more than
    /// `values_max` values in one test.
    pub(super) fn superset(&self, clause: &Clause, values_max: u64) -> RoaringBitmap {
        match clause {
            Clause::And(clauses) => clauses.iter().fold(self.live.clone(), |selected, clause| {
                selected & self.superset(clause, values_max)
            }),
            Clause::Or(clauses) => clauses.iter().fold(RoaringBitmap::new(), |selected, clause| {
                selected | self.superset(clause, values_max)
            }),
            Clause::Not(_) if self.work(clause) > values_max => self.live.clone(),
            Clause::Field(field, test) => match self.fields.get(field) {
                Some(column) if column.work(test) > values_max => column.present.clone(),
                Some(_) | None => self.select_clause(clause),
            },
            Clause::Not(_) => self.select_clause(clause),
        }
    }

    fn estimate(&self, clause: &Clause) -> Estimate {
        let live = self.live.len();
        match clause {
            Clause::And(clauses) => {
                let all = Estimate { at_least: live, at_most: live };
                clauses.iter().map(|clause| self.estimate(clause)).fold(all, |one, other| {
                    Estimate {
                        at_least: (one.at_least + other.at_least).saturating_sub(live),
                        at_most: one.at_most.min(other.at_most),
                    }
                })
            }
            Clause::Or(clauses) => {
                let none = Estimate { at_least: 0, at_most: 0 };
                clauses.iter().map(|clause| self.estimate(clause)).fold(none, |one, other| {
                    let at_most = one.at_most.saturating_add(other.at_most).min(live);
                    Estimate { at_least: one.at_least.max(other.at_least), at_most }
                })
            }
            Clause::Not(clause) => {
                let Estimate { at_least, at_most } = self.estimate(clause);
                Estimate { at_least: live - at_most, at_most: live - at_least }
            }
            Clause::Field(field, test) => match self.fields.get(field) {
                Some(column) => column.estimate(test),
                None => Estimate { at_least: 0, at_most: 0 },
            },
        }
    }
}

impl Column {
    fn values_mut(&mut self, value: &Value) -> &mut BTreeMap<Key, Slots> {
        match value {
            Value::Array(_) => &mut self.elements,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => &mut self.scalars,
        }
    }

    /// Calls `take` with the documents of each value that passes a test, until it wants no more.
    /// Documents of arrays may come more than once.
    fn each(&self, test: &Test, mut take: impl FnMut(&Slots) -> bool) {
        match test {
            Test::Exists => {}
            Test::In(keys) => {
                let both =
                    keys.iter().flat_map(|key| [self.scalars.get(key), self.elements.get(key)]);
                both.flatten().all(take);
            }
            Test::Range(limit) => {
                let both = [&self.scalars, &self.elements];
                both.iter().flat_map(|values| limit.range(values)).all(|(_, slots)| take(slots));
            }
            Test::Contains(wanted) => {
                if self.elements.get(wanted).is_some_and(|slots| !take(slots)) {
                    return;
                }
                let first = Key::Text(String::new());
                for (key, slots) in self.scalars.range(first..) {
                    let Key::Text(text) = key else { break };
                    if wanted.is_within(text) && !take(slots) {
                        return;
                    }
                }
            }
        }
    }

    /// How many values a test looks at, about.
    fn work(&self, test: &Test) -> u64 {
        match test {
            Test::Exists => 1,
            Test::In(keys) => keys.len() as u64,
            Test::Contains(_) => self.scalars.len() as u64,
            Test::Range(_) => {
                let mut values = 0;
                self.each(test, |_| {
                    values += 1;
                    values < ESTIMATE_VALUES_MAX
                });
                let all = self.scalars.len() + self.elements.len();
                if values < ESTIMATE_VALUES_MAX { values as u64 } else { all as u64 }
            }
        }
    }

    fn estimate(&self, test: &Test) -> Estimate {
        let present = self.present.len();
        let (mut values, mut sum, mut highest) = (0, 0u64, 0);
        match test {
            Test::Exists => return Estimate { at_least: present, at_most: present },
            // Nothing is known without looking at every value.
            Test::Contains(_) if self.scalars.len() > ESTIMATE_VALUES_MAX => {
                return Estimate { at_least: 0, at_most: present };
            }
            Test::In(_) | Test::Range(_) | Test::Contains(_) => self.each(test, |slots| {
                values += 1;
                sum += slots.len();
                highest = highest.max(slots.len());
                values < ESTIMATE_VALUES_MAX
            }),
        }
        // A document with an array may have been counted several times.
        let at_least = if self.elements.is_empty() { sum.min(present) } else { highest };
        let at_most = if values < ESTIMATE_VALUES_MAX { sum.min(present) } else { present };
        Estimate { at_least, at_most }
    }
}

impl Limit {
    /// The values of the limit's type that lie within it.
    fn range<'a>(
        &self,
        values: &'a BTreeMap<Key, Slots>,
    ) -> impl Iterator<Item = (&'a Key, &'a Slots)> + use<'a> {
        let value = self.value.clone();
        let (from, to) = match self.order {
            Order::Less => (Bound::Unbounded, Bound::Excluded(&self.value)),
            Order::LessOrEqual => (Bound::Unbounded, Bound::Included(&self.value)),
            Order::Greater => (Bound::Excluded(&self.value), Bound::Unbounded),
            Order::GreaterOrEqual => (Bound::Included(&self.value), Bound::Unbounded),
        };
        // From the limit away, so that other types end it.
        let mut range = values.range::<Key, _>((from, to));
        let is_upward = matches!(self.order, Order::Greater | Order::GreaterOrEqual);
        std::iter::from_fn(move || if is_upward { range.next() } else { range.next_back() })
            .take_while(move |(key, _)| key.is_of_type_of(&value))
    }
}

impl Slots {
    fn insert(&mut self, slot: u32) {
        match self {
            Self::One(one) if *one == slot => {}
            Self::One(one) => *self = Self::Many([*one, slot].into_iter().collect()),
            Self::Many(slots) => {
                slots.insert(slot);
            }
        }
    }

    /// Whether none is left.
    fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::One(one) => *one == slot,
            Self::Many(slots) => {
                slots.remove(slot);
                slots.is_empty()
            }
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Many(slots) => slots.len(),
        }
    }

    pub(super) fn add_to(&self, selected: &mut RoaringBitmap) {
        match self {
            Self::One(slot) => {
                selected.insert(*slot);
            }
            Self::Many(slots) => *selected |= slots,
        }
    }
}
