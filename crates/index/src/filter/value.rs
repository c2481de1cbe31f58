//! Values of metadata in one order: booleans, then numbers, then strings.

use std::cmp::Ordering;

use serde_json::Value;

/// A value that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Number(Number),
    Text(String),
}

/// A number as it is, no integer rounded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    /// Finite, and not an integer that the other case can hold.
    Float(f64),
}

/// Floats from here on are beyond all integers of JSON as it is read (64 bits).
const FLOAT_BEYOND: f64 = (1u128 << 100) as f64;

impl Number {
    fn of(number: &serde_json::Number) -> Option<Self> {
        if let Some(number) = number.as_i128() {
            return Some(Self::Integer(number));
        }
        let float = number.as_f64().filter(|float| float.is_finite())?;
        Some(Self::float(float).unwrap_or(Self::Integer(float as i128)))
    }

    /// A finite number that is no integer which the other case can hold.
    pub(super) fn float(float: f64) -> Option<Self> {
        let is_integer = float.fract() == 0.0 && float.abs() < FLOAT_BEYOND;
        (float.is_finite() && !is_integer).then_some(Self::Float(float))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(other),
            (Self::Float(one), Self::Float(other)) => one.total_cmp(other),
            (Self::Integer(one), Self::Float(other)) => cmp_mixed(*one, *other),
            (Self::Float(one), Self::Integer(other)) => cmp_mixed(*other, *one).reverse(),
        }
    }
}

/// The float is beyond all integers, or lies between two of them.
fn cmp_mixed(integer: i128, float: f64) -> Ordering {
    if float.abs() >= FLOAT_BEYOND {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    if integer <= float.floor() as i128 { Ordering::Less } else { Ordering::Greater }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl Key {
    /// The value itself, if it can be compared: no `null`, array or object.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => Number::of(number).map(Self::Number),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    pub(super) fn is_of_type_of(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether it is a string that stands within a text.
    pub(super) fn is_within(&self, text: &str) -> bool {
        match self {
            Self::Text(wanted) => text.contains(wanted.as_str()),
            Self::Bool(_) | Self::Number(_) => false,
        }
    }
}

/// The value, or an array's elements, as far as they can be compared.
pub(super) fn keys_of(value: &Value) -> impl Iterator<Item = Key> {
    let (own, elements) = match value {
        Value::Array(elements) => (None, elements.as_slice()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            (Key::of(value), Default::default())
        }
    };
    own.into_iter().chain(elements.iter().filter_map(Key::of))
}

/// Whether a field with this value is there.
pub(super) fn exists(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(elements) => !elements.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_one_order() {
        let ascending = [
            json!(false),
            json!(true),
            json!(-1e300),
            json!(i64::MIN),
            json!(-2.5),
            json!(-2),
            json!(-0.5),
            json!(0),
            json!(0.5),
            json!(9_007_199_254_740_992u64),
            json!(9_007_199_254_740_993u64),
            json!(u64::MAX - 1),
            json!(u64::MAX),
            json!(1e300),
            json!(""),
            json!("1"),
            json!("Z"),
            json!("a"),
        ];
        let keys: Vec<Key> = ascending.iter().map(|value| Key::of(value).unwrap()).collect();
        for (at, one) in keys.iter().enumerate() {
            for (other_at, other) in keys.iter().enumerate() {
                assert_eq!(one.cmp(other), at.cmp(&other_at), "{one:?} {other:?}");
            }
        }
        assert_eq!(Key::of(&json!(1)), Key::of(&json!(1.0)));
        assert_eq!(Key::of(&json!(0)), Key::of(&json!(-0.0)));
        assert_eq!(Key::of(&json!(18_446_744_073_709_551_616.0)), Key::of(&json!(2f64.powi(64))));
        for value in [json!(null), json!([]), json!({})] {
            assert_eq!(Key::of(&value), None);
        }
    }
}
