//! What filters hold for: by the documented rules, and the same by columns as by documents.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::BTreeMap;

use cotenant_index::Slot;
use cotenant_index::filter::{Columns, Filter, Plan, PlanOptions};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn document(metadata: &Value) -> &Map<String, Value> {
    metadata.as_object().unwrap()
}

#[test]
fn filters_hold_as_they_say() {
    let metadata = json!({
        "year": 2024, "price": 9.5, "title": "Red Apple", "draft": false, "none": null,
        "tags": ["rust", "go", 7], "years": [1999, 2024], "empty": [], "inner": {"a": 1},
        "odd": [[1], {"a": 1}, null], "big": 9_007_199_254_740_993u64, "text": "10",
    });
    let holds = |filter: Value| Filter::parse(&filter).unwrap().matches(document(&metadata));
    let check = |filter: Value, expected: bool| {
        assert_eq!(holds(filter.clone()), expected, "{filter}");
        assert_eq!(holds(json!({ "not": filter })), !expected, "not {filter}");
        let mut columns = Columns::new();
        columns.insert(Slot(3), document(&metadata));
        let selected = columns.select(&Filter::parse(&filter).unwrap());
        assert_eq!(selected.contains(3), expected, "{filter} by columns");
    };
    for filter in [
        json!({}),
        json!({"and": []}),
        json!({"year": 2024}),
        json!({"year": 2024.0}),
        json!({"year": 2024, "price": {"gt": 9, "lt": 10}}),
        json!({"year": {"in": [1, 2024]}}),
        json!({"year": {"ne": "2024"}}),
        json!({"absent": {"ne": 1}}),
        json!({"absent": null}),
        json!({"none": null}),
        json!({"empty": null}),
        json!({"absent": {"exists": false}}),
        json!({"inner": {"exists": true}}),
        json!({"inner": {"ne": null}}),
        json!({"odd": {"exists": true}}),
        json!({"title": {"contains": "Apple"}}),
        json!({"title": {"contains": ""}}),
        json!({"title": {"gte": "Red", "lt": "Ree"}}),
        json!({"tags": {"contains": "go"}}),
        json!({"tags": {"contains": 7}}),
        json!({"tags": "rust"}),
        json!({"years": {"lt": 2000, "gt": 2000}}),
        json!({"draft": false}),
        json!({"big": {"gt": 9_007_199_254_740_992u64}}),
        json!({"or": [{"year": 1}, {"not": {"price": {"gte": 10}}}]}),
    ] {
        check(filter, true);
    }
    for filter in [
        json!({"or": []}),
        json!({"year": {"in": []}}),
        json!({"year": "2024"}),
        json!({"year": 2024, "price": {"lt": 9}}),
        json!({"absent": {"lt": 1}}),
        json!({"none": {"exists": true}}),
        json!({"empty": {"exists": true}}),
        json!({"inner": {"contains": "a"}}),
        json!({"odd": 1}),
        json!({"title": {"contains": "apple"}}),
        json!({"title": {"gt": 5}}),
        json!({"text": {"lt": 11}}),
        json!({"tags": {"contains": "ru"}}),
        json!({"year": {"contains": "20"}}),
        json!({"year": {"contains": 2024}}),
        json!({"draft": 0}),
        json!({"big": 9_007_199_254_740_992u64}),
    ] {
        check(filter, false);
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..4i64).prop_map(Value::from),
        (-3..4i64).prop_map(|number| json!(number as f64 / 2.0)),
        prop::sample::select(vec!["", "a", "b", "ab", "abc", "1"]).prop_map(Value::from),
    ]
}

fn metadata() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        4 => scalar(),
        2 => prop::collection::vec(scalar(), 0..4).prop_map(Value::from),
        1 => Just(json!({"a": 1})),
    ];
    let field = prop::sample::select(vec!["f", "g", "h"]).prop_map(String::from);
    prop::collection::btree_map(field, value, 0..4).prop_map(|fields| fields.into_iter().collect())
}

fn filter() -> impl Strategy<Value = Value> {
    let field = || prop::sample::select(vec!["f", "g", "h", "i"]);
    let scalar = || scalar().prop_filter("null has no order", |value| !value.is_null());
    let ordered = || scalar().prop_filter("booleans have no order", |value| !value.is_boolean());
    let leaf = prop_oneof![
        (field(), self::scalar()).prop_map(|(field, value)| json!({ field: value })),
        (field(), self::scalar()).prop_map(|(field, value)| json!({ field: {"ne": value} })),
        (field(), scalar()).prop_map(|(field, value)| json!({ field: {"contains": value} })),
        (field(), any::<bool>()).prop_map(|(field, is)| json!({ field: {"exists": is} })),
        (field(), prop::collection::vec(scalar(), 0..4))
            .prop_map(|(field, values)| json!({ field: {"in": values} })),
        (field(), ordered(), prop::sample::select(vec!["lt", "lte", "gt", "gte"]))
            .prop_map(|(field, value, order)| json!({ field: {order: value} })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| json!({ "and": all })),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|any| json!({ "or": any })),
            inner.prop_map(|one| json!({ "not": one })),
        ]
    })
}

proptest! {
    // A failure prints its seed and the values.
    #[test]
    fn columns_name_the_documents_that_match(
        documents in prop::collection::vec((metadata(), any::<bool>()), 0..40),
        filters in prop::collection::vec(filter(), 1..8),
        few_max in 0..40u64,
    ) {
        let mut columns = Columns::new();
        let mut live = BTreeMap::new();
        for (slot, (metadata, stays)) in (0..).zip(&documents) {
            columns.insert(Slot(slot), metadata);
            if *stays {
                live.insert(slot, metadata);
            }
        }
        for (slot, (metadata, stays)) in (0..).zip(&documents) {
            if !stays {
                columns.remove(Slot(slot), metadata);
            }
        }
        prop_assert_eq!(columns.len(), live.len() as u64);
        for filter in &filters {
            let parsed = Filter::parse(filter).unwrap();
            let matching = live.iter().filter(|(_, metadata)| parsed.matches(metadata));
            let expected: Vec<u32> = matching.map(|(slot, _)| *slot).collect();
            let selected: Vec<u32> = columns.select(&parsed).into_iter().collect();
            prop_assert_eq!(&selected, &expected, "{}", filter);
            match columns.plan(&parsed, PlanOptions { few_max }) {
                Plan::All => prop_assert_eq!(expected.len(), live.len()),
                Plan::Few(slots) => {
                    prop_assert!(slots.len() <= few_max && slots.into_iter().eq(expected));
                }
                Plan::Many(slots) => {
                    prop_assert!(slots.len() > few_max && slots.into_iter().eq(expected));
                }
                Plan::Check(_) | Plan::Ask { .. } => prop_assert!(false, "so few are named"),
            }
        }
    }
}

/// A value that stands twice in a list counts once: else a filter that half of all documents pass
/// would seem to be passed by all, and be left out.
#[test]
fn a_value_that_stands_twice_counts_once() {
    let mut columns = Columns::new();
    for slot in 0..4 {
        let metadata = json!({"h": slot % 2, "l": [slot % 2]});
        columns.insert(Slot(slot), metadata.as_object().unwrap());
    }
    let values = [json!([0, 0]), json!([0, 0.0, 0]), json!([0, -0.0])];
    for (field, values) in ["h", "l"].into_iter().flat_map(|f| values.iter().map(move |v| (f, v))) {
        for (filter, expected) in [
            (json!({ field: {"in": values} }), [0, 2]),
            (json!({"not": { field: {"in": values} }}), [1, 3]),
        ] {
            let plan = columns.plan(&Filter::parse(&filter).unwrap(), PlanOptions::default());
            assert_eq!(plan, Plan::Few(expected.into_iter().collect()), "{filter}");
        }
    }
}
