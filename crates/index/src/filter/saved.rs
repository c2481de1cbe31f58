//! Columns as bytes: those of a segment, made once from the metadata of its documents.
//!
//! ```text
//! documents    slots
//! fields       u32 count; each, by rising names: name with its u32 length; slots where it is there;
//!              values; values of elements of arrays
//! values       u32 count; each, rising: u8 type; false and true have no more, an integer has 16
//!              bytes, a float 8, a text its u32 length and its bytes; slots
//! slots        u32 count; of one the slot; of others u32 bytes, and a bitmap in Roaring's format
//! ```

use std::collections::{BTreeMap, btree_map, hash_map};

use roaring::RoaringBitmap;

use super::columns::{Column, Columns, Slots};
use super::value::{Key, Number};
use crate::store::codec::{Reader, put_text};

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 3;
const TEXT: u8 = 4;

/// Why bytes are no columns.
pub(crate) type Reason = &'static str;

impl Columns {
    /// The bytes that [`Columns::open`] reads.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bitmap(&mut out, &self.live);
        let fields: BTreeMap<&String, &Column> = self.fields.iter().collect();
        put_count(&mut out, fields.len());
        for (name, column) in fields {
            put_text(&mut out, name);
            put_bitmap(&mut out, &column.present);
            for values in [&column.scalars, &column.elements] {
                put_count(&mut out, values.len());
                for (key, slots) in values {
                    put_key(&mut out, key);
                    match slots {
                        Slots::One(slot) => put_one(&mut out, *slot),
                        Slots::Many(slots) => put_bitmap(&mut out, slots),
                    }
                }
            }
        }
        out
    }

    /// The documents of saved columns that are live, and the slots of all that were saved.
    pub(crate) fn open(
        bytes: &[u8],
        live: &RoaringBitmap,
    ) -> Result<(Self, RoaringBitmap), Reason> {
        let mut reader = Reader::new(bytes);
        let documents = bitmap(&mut reader)?;
        let passing = Passing { live, are_all: documents.is_subset(live) };
        let mut columns = Self { live: passing.of(documents.clone()), ..Self::default() };
        let mut before: Option<&str> = None;
        for _ in 0..reader.u32().ok_or(CUT)? {
            let name = reader.text().ok_or(CUT)?;
            if before.replace(name).is_some_and(|before| before >= name) {
                return Err("its fields do not rise");
            }
            let present = bitmap(&mut reader)?;
            if !present.is_subset(&documents) {
                return Err("a field is there in unknown documents");
            }
            let scalars = values(&mut reader, &present, passing)?;
            let elements = values(&mut reader, &present, passing)?;
            let present = passing.of(present);
            // What is estimated from values leans on this.
            if scalars.values().map(Slots::len).sum::<u64>() > present.len() {
                return Err("a document has two values of a field");
            }
            if !present.is_empty() {
                columns.fields.insert(name.to_owned(), Column { present, scalars, elements });
            }
        }
        if reader.is_empty() {
            Ok((columns, documents))
        } else {
            Err("more follows than was written")
        }
    }

    /// Takes in all of others, whose documents are not here.
    pub(crate) fn join(&mut self, others: Self) {
        self.live |= others.live;
        for (name, column) in others.fields {
            match self.fields.entry(name) {
                hash_map::Entry::Vacant(place) => _ = place.insert(column),
                hash_map::Entry::Occupied(mut place) => place.get_mut().join(column),
            }
        }
    }
}

impl Column {
    fn join(&mut self, other: Self) {
        self.present |= other.present;
        join(&mut self.scalars, other.scalars);
        join(&mut self.elements, other.elements);
    }
}

const CUT: Reason = "it ends too early";

/// Which documents are taken in.
#[derive(Clone, Copy)]
struct Passing<'a> {
    live: &'a RoaringBitmap,
    are_all: bool,
}

impl Passing<'_> {
    fn of(self, mut slots: RoaringBitmap) -> RoaringBitmap {
        if !self.are_all {
            slots &= self.live;
        }
        slots
    }
}

/// Values of a field, and the documents of each.
fn values(
    reader: &mut Reader<'_>,
    present: &RoaringBitmap,
    passing: Passing<'_>,
) -> Result<BTreeMap<Key, Slots>, Reason> {
    let mut read = Vec::new();
    for _ in 0..reader.u32().ok_or(CUT)? {
        let key = key(reader)?;
        let slots = bitmap(reader)?;
        if !slots.is_subset(present) {
            return Err("a value is that of a document without the field");
        }
        let slots = passing.of(slots);
        match (slots.len(), slots.min()) {
            (0, _) | (_, None) => {}
            (1, Some(slot)) => read.push((key, Slots::One(slot))),
            (_, Some(_)) => read.push((key, Slots::Many(slots))),
        }
    }
    match read.is_sorted_by(|(one, _), (other, _)| one < other) {
        true => Ok(read.into_iter().collect()),
        false => Err("its values do not rise"),
    }
}

fn join(there: &mut BTreeMap<Key, Slots>, new: BTreeMap<Key, Slots>) {
    for (key, slots) in new {
        match there.entry(key) {
            btree_map::Entry::Vacant(place) => _ = place.insert(slots),
            btree_map::Entry::Occupied(mut place) => {
                let mut all = RoaringBitmap::new();
                slots.add_to(&mut all);
                place.get().add_to(&mut all);
                place.insert(Slots::Many(all));
            }
        }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_le_bytes());
}

fn put_one(out: &mut Vec<u8>, slot: u32) {
    put_count(out, 1);
    out.extend(slot.to_le_bytes());
}

fn put_bitmap(out: &mut Vec<u8>, slots: &RoaringBitmap) {
    if let (1, Some(slot)) = (slots.len(), slots.min()) {
        return put_one(out, slot);
    }
    put_count(out, slots.len() as usize);
    put_count(out, slots.serialized_size());
    slots.serialize_into(out).expect("a vector takes all bytes");
}

fn bitmap(reader: &mut Reader<'_>) -> Result<RoaringBitmap, Reason> {
    let count = reader.u32().ok_or(CUT)?;
    let number = reader.u32().ok_or(CUT)?;
    if count == 1 {
        return Ok([number].into_iter().collect());
    }
    let bytes = reader.take(number as usize).ok_or(CUT)?;
    let slots = RoaringBitmap::deserialize_from(bytes).map_err(|_| "a bitmap has no sense")?;
    let is_right = slots.len() == u64::from(count) && slots.serialized_size() == bytes.len();
    is_right.then_some(slots).ok_or("a bitmap has other slots than it says")
}

fn put_key(out: &mut Vec<u8>, key: &Key) {
    match key {
        Key::Bool(false) => out.push(FALSE),
        Key::Bool(true) => out.push(TRUE),
        Key::Number(Number::Integer(number)) => {
            out.push(INTEGER);
            out.extend(number.to_le_bytes());
        }
        Key::Number(Number::Float(number)) => {
            out.push(FLOAT);
            out.extend(number.to_le_bytes());
        }
        Key::Text(text) => {
            out.push(TEXT);
            put_text(out, text);
        }
    }
}

fn key(reader: &mut Reader<'_>) -> Result<Key, Reason> {
    let [kind] = reader.take(1).ok_or(CUT)? else { return Err(CUT) };
    Ok(match *kind {
        FALSE => Key::Bool(false),
        TRUE => Key::Bool(true),
        INTEGER => {
            let bytes = reader.take(16).ok_or(CUT)?;
            let number = i128::from_le_bytes(bytes.try_into().expect("16 bytes"));
            Key::Number(Number::Integer(number))
        }
        FLOAT => {
            let bytes = reader.take(8).ok_or(CUT)?;
            let number = f64::from_le_bytes(bytes.try_into().expect("8 bytes"));
            Key::Number(Number::float(number).ok_or("a number is another one as it is written")?)
        }
        TEXT => Key::Text(reader.text().ok_or(CUT)?.to_owned()),
        _ => return Err("a value is of no type that is known"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use roaring::RoaringBitmap;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::Slot;
    use crate::filter::Filter;

    fn value() -> impl Strategy<Value = Value> {
        let plain = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3i64..3).prop_map(Value::from),
            prop_oneof![Just(0.5), Just(-1e300), Just(1e30)].prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from),
            Just(json!({"a": 1})),
        ];
        prop_oneof![3 => plain.clone(), 1 => prop::collection::vec(plain, 0..3).prop_map(Value::from)]
    }

    fn metadata() -> impl Strategy<Value = Map<String, Value>> {
        let field = prop_oneof![Just("x".to_owned()), Just("y".to_owned()), "[a-c]{1,2}"];
        prop::collection::btree_map(field, value(), 0..4).prop_map(|map| map.into_iter().collect())
    }

    fn filters() -> Vec<Filter> {
        let values = [json!(null), json!(true), json!(1), json!(0.5), json!(1e30), json!("a")];
        let each = values.iter().flat_map(|value| {
            [json!({"x": value}), json!({"x": {"ne": value}}), json!({"y": {"lt": value}})]
        });
        let more = [json!({}), json!({"x": {"exists": true}}), json!({"y": {"contains": "a"}})];
        each.chain(more).filter_map(|filter| Filter::parse(&filter).ok()).collect()
    }

    proptest! {
        /// Columns of several parts, saved and read, select what those of all live documents do.
        #[test]
        fn what_was_saved_selects_what_was_there(
            documents in prop::collection::vec((metadata(), any::<bool>()), 0..40),
            parts in 1usize..4,
        ) {
            let mut expected = Columns::new();
            let mut live = RoaringBitmap::new();
            for (slot, (metadata, is_live)) in (0..).zip(&documents) {
                if *is_live {
                    expected.insert(Slot(slot), metadata);
                    live.insert(slot);
                }
            }
            let mut found = Columns::new();
            let each: Vec<_> = (0..).zip(&documents).collect();
            for part in each.chunks(documents.len().div_ceil(parts).max(1)) {
                let mut columns = Columns::new();
                part.iter().for_each(|(slot, (one, _))| columns.insert(Slot(*slot), one));
                let bytes = columns.save();
                let (columns, slots) = Columns::open(&bytes, &live).unwrap();
                found.join(columns);
                prop_assert!(slots.iter().eq(part.iter().map(|(slot, _)| *slot)));
                for end in 0..bytes.len() {
                    prop_assert!(Columns::open(&bytes[..end], &live).is_err());
                }
            }
            prop_assert_eq!(found.len(), expected.len());
            for filter in filters() {
                prop_assert_eq!(found.select(&filter), expected.select(&filter), "{:?}", filter);
            }
            // They can be changed as if each document had come one by one.
            for (slot, (metadata, is_live)) in (0..).zip(&documents) {
                if *is_live {
                    found.remove(Slot(slot), metadata);
                }
            }
            prop_assert!(found.is_empty() && found.fields.is_empty());
        }
    }

    /// Whoever can compute a checksum can write any bytes: they are refused, or answers come.
    #[test]
    fn forged_bytes_never_panic() {
        let mut columns = Columns::new();
        for slot in 0..40u32 {
            let metadata = json!({"x": slot % 3, "y": [slot % 5, "a"], "z": slot}).to_owned();
            columns.insert(Slot(slot), metadata.as_object().unwrap());
        }
        let (bytes, live) = (columns.save(), (0..30).collect());
        let mut verdicts = BTreeMap::new();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x80] {
                let mut forged = bytes.clone();
                forged[at] = value;
                let opened = Columns::open(&forged, &live);
                let verdict = opened.as_ref().map(|_| ());
                for filter in filters() {
                    if let Ok((columns, _)) = &opened {
                        columns.plan(&filter, crate::filter::PlanOptions { few_max: 3 });
                    }
                }
                *verdicts.entry(format!("{verdict:?}")).or_insert(0) += 1;
            }
        }
        assert!(verdicts.len() > 5, "{verdicts:?}");
    }
}
