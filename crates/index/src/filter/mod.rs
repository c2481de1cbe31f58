//! Filters over documents' metadata.
//!
//! Metadata is a JSON object; a filter is one too. `{"field": value}` wants a value, `{"field":
//! {"operator": value}}` says how, and `{"and": […]}`, `{"or": […]}` and `{"not": …}` combine. Several
//! fields or operators in one object must all hold.
//!
//! | operator | holds for a field that |
//! | --- | --- |
//! | `eq` | is the value; `null` means that it is missing |
//! | `ne` | is not: what `eq` does not hold for, missing fields among them |
//! | `in` | is one of the values of an array |
//! | `lt`, `lte`, `gt`, `gte` | is of the value's type, number or string, and lies there |
//! | `exists` | is there (`true`), or is missing (`false`) |
//! | `contains` | is a string with the value within it, or an array with it as an element |
//!
//! - A field that is `null` or an empty array is missing.
//! - Numbers are compared by what they are: `1` is `1.0`, and no integer of 64 bits is rounded;
//!   larger ones are kept as the nearest float. Strings are compared byte by byte; `"1"` is not
//!   `1`. Booleans and `null` have no order.
//! - An array holds what one of its elements holds: `{"year": {"lt": 2000}}` finds `[1999, 2024]`.
//!   Two operators may be met by two elements.
//! - An object within metadata exists and can be compared with nothing, and neither can an array
//!   within an array.
//! - `{}` and `{"and": []}` hold for every document, `{"or": []}` and `{"in": []}` for none.
//! - Fields named `and`, `or` or `not` cannot be asked for.

mod columns;
mod parse;
mod plan;
mod saved;
mod value;

use serde_json::{Map, Value};

use value::{Key, keys_of};

pub use columns::Columns;
pub use parse::{
    CLAUSES_MAX, DEPTH_MAX, FIELD_BYTES_MAX, FilterError, STRING_BYTES_MAX, VALUES_MAX,
};
pub use plan::{Plan, PlanOptions};

/// A filter that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    clause: Clause,
}

#[derive(Clone, Debug, PartialEq)]
enum Clause {
    And(Vec<Clause>),
    Or(Vec<Clause>),
    Not(Box<Clause>),
    Field(String, Test),
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Exists,
    In(Vec<Key>),
    /// Of one type, from the first on and to the second.
    Range(Limit),
    Contains(Key),
}

/// An order that a field must keep with a value.
#[derive(Clone, Debug, PartialEq)]
struct Limit {
    order: Order,
    value: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Understands a filter.
    ///
    /// # Errors
    /// If it is none, or larger than a filter may be; the error names the place.
    pub fn parse(filter: &Value) -> Result<Self, FilterError> {
        parse::parse(filter).map(|clause| Self { clause })
    }

    /// Whether it holds for a document with this metadata.
    pub fn matches(&self, metadata: &Map<String, Value>) -> bool {
        self.clause.matches(metadata)
    }
}

impl Clause {
    fn matches(&self, metadata: &Map<String, Value>) -> bool {
        match self {
            Self::And(clauses) => clauses.iter().all(|clause| clause.matches(metadata)),
            Self::Or(clauses) => clauses.iter().any(|clause| clause.matches(metadata)),
            Self::Not(clause) => !clause.matches(metadata),
            Self::Field(field, test) => {
                metadata.get(field).is_some_and(|value| test.matches(value))
            }
        }
    }
}

impl Test {
    fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Exists => value::exists(value),
            Self::In(wanted) => keys_of(value).any(|key| wanted.contains(&key)),
            Self::Range(limit) => keys_of(value).any(|key| limit.holds(&key)),
            Self::Contains(wanted) => match value {
                Value::Array(_) => keys_of(value).any(|key| key == *wanted),
                Value::String(text) => wanted.is_within(text),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
            },
        }
    }
}

impl Limit {
    fn holds(&self, key: &Key) -> bool {
        key.is_of_type_of(&self.value)
            && match self.order {
                Order::Less => key < &self.value,
                Order::LessOrEqual => key <= &self.value,
                Order::Greater => key > &self.value,
                Order::GreaterOrEqual => key >= &self.value,
            }
    }
}
