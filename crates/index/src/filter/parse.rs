//! From JSON to a filter, within limits, with errors that name the place.

use std::fmt::Write;

use serde_json::{Map, Value};
use thiserror::Error;

use super::value::Key;
use super::{Clause, Limit, Order, Test};

/// How deep `and`, `or` and `not` may stand in each other.
pub const DEPTH_MAX: usize = 16;

/// Most tests and combinations of a filter.
pub const CLAUSES_MAX: usize = 256;

/// Most values of one `in`.
pub const VALUES_MAX: usize = 1024;

/// Longest string that is compared with, in bytes.
pub const STRING_BYTES_MAX: usize = 4096;

/// Longest name of a field, in bytes.
pub const FIELD_BYTES_MAX: usize = 256;

const OPERATORS: &str = "eq, ne, in, lt, lte, gt, gte, exists, contains";

/// Why JSON is no filter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the filter is wrong at {place}: {reason}")]
pub struct FilterError {
    /// Where, as `and[1].year.lt`; `its root` if nowhere deeper.
    pub place: String,
    /// What is wrong there, and what may stand there.
    pub reason: String,
}

pub(super) fn parse(filter: &Value) -> Result<Clause, FilterError> {
    let mut parser = Parser { place: Vec::new(), depth: 0, clauses: 0 };
    parser.filter(filter).map_err(|reason| FilterError { place: parser.place(), reason })
}

/// A part of a place.
enum Part {
    Name(String),
    Element(usize),
}

struct Parser {
    place: Vec<Part>,
    depth: usize,
    clauses: usize,
}

/// An error leaves the place where it happened.
type Parsed<T> = Result<T, String>;

impl Parser {
    fn filter(&mut self, filter: &Value) -> Parsed<Clause> {
        let Value::Object(members) = filter else {
            return Err(format!("a filter is an object, not {}", kind(filter)));
        };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("it is more than {DEPTH_MAX} filters deep"));
        }
        let mut clauses = Vec::new();
        for (name, value) in members {
            clauses
                .push(self.within(Part::Name(shown(name)), |parser| parser.member(name, value))?);
        }
        self.depth -= 1;
        Ok(all_of(clauses))
    }

    fn member(&mut self, name: &str, value: &Value) -> Parsed<Clause> {
        self.count()?;
        match name {
            "and" => self.filters(value).map(Clause::And),
            "or" => self.filters(value).map(Clause::Or),
            "not" => self.filter(value).map(|clause| Clause::Not(Box::new(clause))),
            field if field.len() > FIELD_BYTES_MAX => {
                Err(format!("a field's name has at most {FIELD_BYTES_MAX} bytes"))
            }
            field => match value {
                Value::Object(operators) => self.operators(field, operators),
                value => self.equals(field, value),
            },
        }
    }

    fn filters(&mut self, value: &Value) -> Parsed<Vec<Clause>> {
        let Value::Array(filters) = value else {
            return Err(format!("filters stand in an array, not in {}", kind(value)));
        };
        let parse = |(at, filter)| self.within(Part::Element(at), |parser| parser.filter(filter));
        filters.iter().enumerate().map(parse).collect()
    }

    fn operators(&mut self, field: &str, operators: &Map<String, Value>) -> Parsed<Clause> {
        if operators.is_empty() {
            return Err(format!("an operator is missing; there are {OPERATORS}"));
        }
        let mut clauses = Vec::new();
        for (name, value) in operators {
            clauses.push(self.within(Part::Name(shown(name)), |parser| {
                parser.count()?;
                parser.operator(field, (name, value))
            })?);
        }
        Ok(all_of(clauses))
    }

    fn operator(&mut self, field: &str, (name, value): (&str, &Value)) -> Parsed<Clause> {
        let of_field = |test| Clause::Field(field.to_owned(), test);
        let order = match name {
            "eq" => return self.equals(field, value),
            "ne" => return self.equals(field, value).map(|clause| Clause::Not(Box::new(clause))),
            "in" => return self.one_of(field, value),
            "contains" => return key(value).map(|key| of_field(Test::Contains(key))),
            "exists" => {
                let Value::Bool(exists) = value else {
                    return Err(format!("exists is true or false, not {}", kind(value)));
                };
                let clause = of_field(Test::Exists);
                return Ok(if *exists { clause } else { Clause::Not(Box::new(clause)) });
            }
            "lt" => Order::Less,
            "lte" => Order::LessOrEqual,
            "gt" => Order::Greater,
            "gte" => Order::GreaterOrEqual,
            _ => return Err(format!("there is no such operator; there are {OPERATORS}")),
        };
        match key(value)? {
            Key::Bool(_) => Err("a boolean has no order; take a number or a string".to_owned()),
            value => Ok(of_field(Test::Range(Limit { order, value }))),
        }
    }

    fn equals(&mut self, field: &str, value: &Value) -> Parsed<Clause> {
        match value {
            Value::Null => Ok(Clause::Not(Box::new(Clause::Field(field.to_owned(), Test::Exists)))),
            value => Ok(Clause::Field(field.to_owned(), Test::In(vec![key(value)?]))),
        }
    }

    fn one_of(&mut self, field: &str, value: &Value) -> Parsed<Clause> {
        let Value::Array(values) = value else {
            return Err(format!("values stand in an array, not in {}", kind(value)));
        };
        if values.len() > VALUES_MAX {
            return Err(format!("it has {} values, more than {VALUES_MAX}", values.len()));
        }
        let mut keys = Vec::new();
        for (at, value) in values.iter().enumerate() {
            keys.push(self.within(Part::Element(at), |_| key(value))?);
        }
        // One that stands there twice must not be counted twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(Clause::Field(field.to_owned(), Test::In(keys)))
    }

    fn count(&mut self) -> Parsed<()> {
        self.clauses += 1;
        match self.clauses > CLAUSES_MAX {
            true => Err(format!("the filter has more than {CLAUSES_MAX} clauses")),
            false => Ok(()),
        }
    }

    /// Goes to a place and back, but stays there after an error.
    fn within<T>(&mut self, part: Part, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.place.push(part);
        let parsed = parse(self)?;
        self.place.pop();
        Ok(parsed)
    }

    fn place(&self) -> String {
        if self.place.is_empty() {
            return "its root".to_owned();
        }
        let mut place = String::new();
        for part in &self.place {
            match part {
                Part::Name(name) => {
                    if !place.is_empty() {
                        place.push('.');
                    }
                    place.push_str(if name.is_empty() { "\"\"" } else { name });
                }
                Part::Element(at) => write!(place, "[{at}]").expect("a string takes all"),
            }
        }
        place
    }
}

/// One clause stands for itself.
fn all_of(mut clauses: Vec<Clause>) -> Clause {
    match clauses.len() {
        1 => clauses.remove(0),
        _ => Clause::And(clauses),
    }
}

fn key(value: &Value) -> Parsed<Key> {
    match Key::of(value) {
        Some(Key::Text(text)) if text.len() > STRING_BYTES_MAX => Err(format!(
            "a string has at most {STRING_BYTES_MAX} bytes, and this has {}",
            text.len()
        )),
        Some(key) => Ok(key),
        None => Err(format!("a string, number or boolean stands here, not {}", kind(value))),
    }
}

/// As much of a name as an error should show; quotes where there is nothing to see.
fn shown(name: &str) -> String {
    match name {
        "" => "\"\"".to_owned(),
        _ => name.chars().take(64).collect(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::Filter;

    #[test]
    fn errors_name_the_place() {
        let check = |filter: Value, place: &str, reason: &str| {
            let error = Filter::parse(&filter).unwrap_err();
            assert_eq!(error.place, place, "{filter}");
            assert!(error.reason.contains(reason), "{filter}: {error}");
        };
        check(json!(7), "its root", "is an object, not a number");
        check(json!([]), "its root", "not an array");
        check(json!({"and": {"a": 1}}), "and", "in an array, not in an object");
        check(json!({"and": [{}, {"year": {"lt": true}}]}), "and[1].year.lt", "no order");
        check(json!({"not": {"or": [3]}}), "not.or[0]", "not a number");
        check(json!({"a": {"like": 1}}), "a.like", "there are eq, ne, in");
        check(json!({"a": {}}), "a", "an operator is missing");
        check(json!({"": {}}), "\"\"", "an operator is missing");
        check(json!({"a": [1]}), "a", "not an array");
        check(json!({"a": {"eq": {"b": 1}}}), "a.eq", "not an object");
        check(json!({"a": {"in": 3}}), "a.in", "not in a number");
        check(json!({"a": {"in": [1, null]}}), "a.in[1]", "not null");
        check(json!({"a": {"exists": 1}}), "a.exists", "true or false");
        check(json!({"a": {"gt": null}}), "a.gt", "not null");
        check(json!({"a": "x".repeat(STRING_BYTES_MAX + 1)}), "a", "at most 4096 bytes");
        check(json!({ "é".repeat(129): 1 }), &"é".repeat(64), "at most 256 bytes");
        check(json!({"a": {"in": vec![1; VALUES_MAX + 1]}}), "a.in", "has 1025 values");
        let many: Vec<Value> = (0..=CLAUSES_MAX).map(|at| json!({"a": at})).collect();
        check(json!({ "or": many }), "or[255].a", "more than 256 clauses");
    }

    #[test]
    fn depth_has_a_limit() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "not": inner }));
        assert!(Filter::parse(&nested(DEPTH_MAX)).is_ok());
        let error = Filter::parse(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert!(error.reason.contains("more than 16"), "{error}");
        assert!(Filter::parse(&nested(100)).is_err());
    }
}
