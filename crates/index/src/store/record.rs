//! What one record of the log says: a batch of changes that happens as a whole.
//!
//! ```text
//! slots that die          u32 count, u32 each
//! documents               u32 count; each: u32 slot; id, text, metadata with u32 lengths
//! vectors                 u32 count; each: u32 embedding, u32 slot, u32 dimensions, f32 each
//! ```

use super::codec::{Reader, put_f32s, put_text};
use crate::hit::Slot;

/// A document as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) text: String,
    /// A JSON object without spaces.
    pub(crate) metadata: String,
}

impl Stored {
    /// Bytes that it takes, about, in memory or on disk.
    pub(crate) fn bytes(&self) -> usize {
        self.id.len() + self.text.len() + self.metadata.len() + 64
    }
}

/// A vector of a slot under an embedding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SlotVector {
    /// The number of the embedding.
    pub(crate) embedding: u32,
    pub(crate) slot: Slot,
    pub(crate) values: Vec<f32>,
}

/// Changes that happen together: slots die, then documents come, then vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) dead: Vec<Slot>,
    pub(crate) documents: Vec<(Slot, Stored)>,
    pub(crate) vectors: Vec<SlotVector>,
}

impl Record {
    pub(crate) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.documents.is_empty() && self.vectors.is_empty()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let put = |out: &mut Vec<u8>, number: usize| out.extend((number as u32).to_le_bytes());
        put(&mut out, self.dead.len());
        for slot in &self.dead {
            out.extend(slot.0.to_le_bytes());
        }
        put(&mut out, self.documents.len());
        for (slot, document) in &self.documents {
            out.extend(slot.0.to_le_bytes());
            put_text(&mut out, &document.id);
            put_text(&mut out, &document.text);
            put_text(&mut out, &document.metadata);
        }
        put(&mut out, self.vectors.len());
        for vector in &self.vectors {
            out.extend(vector.embedding.to_le_bytes());
            out.extend(vector.slot.0.to_le_bytes());
            put(&mut out, vector.values.len());
            put_f32s(&mut out, &vector.values);
        }
        out
    }

    /// `None` where the bytes are no record.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut record = Self::default();
        // Nothing is reserved by a count: it may claim what is not there.
        for _ in 0..reader.u32()? {
            record.dead.push(Slot(reader.u32()?));
        }
        for _ in 0..reader.u32()? {
            let slot = Slot(reader.u32()?);
            let mut text = || reader.text().map(str::to_owned);
            record.documents.push((slot, Stored { id: text()?, text: text()?, metadata: text()? }));
        }
        for _ in 0..reader.u32()? {
            let (embedding, slot) = (reader.u32()?, Slot(reader.u32()?));
            let dimensions = reader.u32()?;
            let values = reader.f32s(dimensions as usize)?;
            record.vectors.push(SlotVector { embedding, slot, values });
        }
        reader.is_empty().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let slot = || any::<u32>().prop_map(Slot);
        let stored = (".{0,5}", ".{0,20}", ".{0,9}").prop_map(|(id, text, metadata)| Stored {
            id,
            text,
            metadata,
        });
        let vector = (any::<u32>(), slot(), prop::collection::vec(-9.0f32..9.0, 0..5))
            .prop_map(|(embedding, slot, values)| SlotVector { embedding, slot, values });
        let dead = prop::collection::vec(slot(), 0..4);
        let documents = prop::collection::vec((slot(), stored), 0..4);
        let vectors = prop::collection::vec(vector, 0..4);
        (dead, documents, vectors).prop_map(|(dead, documents, vectors)| Record {
            dead,
            documents,
            vectors,
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_and_no_part_of_it(record in records()) {
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            for end in 0..bytes.len() {
                prop_assert_eq!(Record::decode(&bytes[..end]), None);
            }
        }
    }
}
