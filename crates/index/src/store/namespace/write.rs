//! Adding, replacing, changing and removing documents.

use std::collections::{HashMap, HashSet};

use super::state::State;
use super::{Namespace, Writer};
use crate::hit::Slot;
use crate::store::document::{Change, Document, check_id, stored, vector};
use crate::store::embedding::Embedding;
use crate::store::error::{IndexError, check_limit};
use crate::store::limits::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX};
use crate::store::record::{Record, SlotVector, Stored};

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Documents that are new.
    pub added: u64,
    /// Documents in whose place another one came.
    pub replaced: u64,
    /// Documents that went.
    pub deleted: u64,
    /// Vectors that came to documents that were there.
    pub vectors: u64,
    /// What was asked for and changed nothing: an unknown id to delete, a vector that was there.
    pub unchanged: u64,
}

impl Namespace {
    /// Adds documents, each in the place of the one that has its id, if one has. Of equal ids in a
    /// batch the last one counts. The batch happens as a whole or not at all.
    pub fn add(&self, documents: &[Document]) -> Result<Receipt, IndexError> {
        check_items(documents.len())?;
        let mut writer = self.writing_with_room()?;
        let state = self.read()?;
        let mut draft = Draft::new(&state);
        let mut last = HashMap::new();
        for (at, document) in documents.iter().enumerate() {
            last.insert(document.id.as_str(), at);
        }
        let counts = |(at, document): &(usize, &Document)| last[document.id.as_str()] == *at;
        for (_, document) in documents.iter().enumerate().filter(counts) {
            let what = format!("document {:?}", document.id);
            let kept = stored(&document.id, &document.text, &document.metadata)?;
            let values = document.vector.as_deref();
            let values = values.map(|values| vector(&what, values, active(&state)?)).transpose()?;
            draft.replace(&document.id)?;
            draft.put(kept)?;
            if let (Some(values), Some(embedding)) = (values, state.active()) {
                draft.put_vector(embedding, values)?;
            }
        }
        let unchanged = (documents.len() - last.len()) as u64;
        let Draft { record, receipt, .. } = draft;
        drop(state);
        self.commit(&mut writer, record)?;
        Ok(Receipt { unchanged, ..receipt })
    }

    /// Removes documents by their ids; an unknown id is no error.
    pub fn delete<I: AsRef<str>>(&self, ids: &[I]) -> Result<Receipt, IndexError> {
        check_items(ids.len())?;
        let mut writer = self.writing_with_room()?;
        let state = self.read()?;
        let mut record = Record::default();
        let mut seen = HashSet::new();
        for id in ids.iter().map(AsRef::as_ref) {
            check_id(id)?;
            if let Some(slot) = state.find(id)?.filter(|_| seen.insert(id)) {
                record.dead.push(slot);
            }
        }
        drop(state);
        let deleted = record.dead.len() as u64;
        self.commit(&mut writer, record)?;
        let unchanged = ids.len() as u64 - deleted;
        Ok(Receipt { deleted, unchanged, ..Receipt::default() })
    }

    /// Changes documents that are there, all or none. Vectors stay with a text that stays.
    pub fn update(&self, changes: &[Change]) -> Result<Receipt, IndexError> {
        check_items(changes.len())?;
        let mut writer = self.writing_with_room()?;
        let state = self.read()?;
        let mut draft = Draft::new(&state);
        let mut seen = HashSet::new();
        for change in changes {
            check_id(&change.id)?;
            if !seen.insert(change.id.as_str()) {
                let what = format!("document {:?}", change.id);
                return Err(IndexError::invalid(what, "is to be changed twice in one batch"));
            }
            draft.change(change)?;
        }
        let Draft { record, receipt, .. } = draft;
        drop(state);
        self.commit(&mut writer, record)?;
        Ok(receipt)
    }

    /// Gives documents that are there their vectors under an embedding, by their ids. A document
    /// that has one keeps it, since a model gives a text one vector; an unknown id, of a document
    /// that went meanwhile, is no error.
    pub fn put_vectors<I: AsRef<str>>(
        &self,
        embedding: &str,
        vectors: &[(I, Vec<f32>)],
    ) -> Result<Receipt, IndexError> {
        check_items(vectors.len())?;
        let mut writer = self.writing_with_room()?;
        let state = self.read()?;
        let embedding = state.embedding(embedding)?;
        let mut draft = Draft::new(&state);
        let mut seen = HashSet::new();
        for (id, values) in vectors {
            let id = id.as_ref();
            let values = vector(&format_args!("document {id:?}"), values, &embedding.spec)?;
            let slot = state.find(id)?.filter(|&slot| !embedding.covered().contains(slot));
            if let Some(slot) = slot.filter(|_| seen.insert(id)) {
                draft.give(embedding, slot, values)?;
            }
        }
        let Draft { record, .. } = draft;
        drop(state);
        let count = record.vectors.len() as u64;
        self.commit(&mut writer, record)?;
        let unchanged = vectors.len() as u64 - count;
        Ok(Receipt { vectors: count, unchanged, ..Receipt::default() })
    }

    /// Makes a record durable, then true.
    ///
    /// To join a vector to a graph, or to take it out, may take a millisecond. So that searches do
    /// not wait for a whole batch of them, this happens before and after the moment at which the
    /// record becomes true: a slot that is not live is not found.
    fn commit(&self, writer: &mut Writer, record: Record) -> Result<(), IndexError> {
        if record.is_empty() {
            return Ok(());
        }
        let gone = self.read()?.gone(&record)?;
        writer.log.append(&record)?;
        for vectors in record.vectors.chunks(VECTORS_AT_A_TIME) {
            self.change().prepare(vectors);
        }
        let dead = record.dead.clone();
        self.change().apply(record, &gone);
        for dead in dead.chunks(VECTORS_AT_A_TIME) {
            self.change().clean_up(dead);
        }
        self.call_if_due()
    }
}

/// Vectors that are joined or taken out while searches wait.
const VECTORS_AT_A_TIME: usize = 4;

/// A batch that is being put together.
struct Draft<'a> {
    state: &'a State,
    record: Record,
    receipt: Receipt,
    bytes: usize,
}

impl<'a> Draft<'a> {
    fn new(state: &'a State) -> Self {
        Self { state, record: Record::default(), receipt: Receipt::default(), bytes: 0 }
    }

    /// Removes the document that has an id, if one has.
    fn replace(&mut self, id: &str) -> Result<(), IndexError> {
        match self.state.find(id)? {
            Some(slot) => {
                self.record.dead.push(slot);
                self.receipt.replaced += 1;
            }
            None => self.receipt.added += 1,
        }
        Ok(())
    }

    /// Adds a document under the next slot.
    fn put(&mut self, document: Stored) -> Result<(), IndexError> {
        self.grow(document.bytes())?;
        let slot = self.state.next_slot.checked_add(self.record.documents.len() as u32);
        let slot = slot.filter(|&slot| slot < u32::MAX).ok_or_else(|| IndexError::TooLarge {
            what: "the namespace".to_owned(),
            value: u64::from(u32::MAX),
            max: u64::from(u32::MAX) - 1,
            unit: "documents that were ever written",
        })?;
        self.record.documents.push((Slot(slot), document));
        Ok(())
    }

    /// Gives the document that was put last a vector.
    fn put_vector(&mut self, embedding: &Embedding, values: Vec<f32>) -> Result<(), IndexError> {
        let slot = self.record.documents.last().expect("one was put").0;
        self.give(embedding, slot, values)
    }

    /// Gives a document a vector.
    fn give(
        &mut self,
        embedding: &Embedding,
        slot: Slot,
        values: Vec<f32>,
    ) -> Result<(), IndexError> {
        self.grow(values.len() * 4)?;
        self.record.vectors.push(SlotVector { embedding: embedding.number, slot, values });
        Ok(())
    }

    /// Puts a changed document in the place of the one that is there.
    fn change(&mut self, change: &Change) -> Result<(), IndexError> {
        let state = self.state;
        let unknown = || IndexError::UnknownDocument { id: change.id.clone() };
        let slot = state.find(&change.id)?.ok_or_else(unknown)?;
        let before = state.document(slot)?.ok_or_else(unknown)?;
        let keeps_text = change.text.as_ref().is_none_or(|text| *text == before.text);
        let text = change.text.as_ref().unwrap_or(&before.text);
        let metadata = change.metadata.as_ref().unwrap_or(&before.metadata);
        self.record.dead.push(slot);
        self.receipt.replaced += 1;
        self.put(stored(&change.id, text, metadata)?)?;
        let given = change.vector.as_deref();
        let what = format_args!("document {:?}", change.id).to_string();
        let given = given.map(|values| vector(&what, values, active(state)?)).transpose()?;
        for embedding in &state.embeddings {
            let is_active = state.active == Some(embedding.number);
            let values = match given.clone().filter(|_| is_active) {
                None if keeps_text => embedding.vector(slot)?.map(std::borrow::Cow::into_owned),
                given => given,
            };
            if let Some(values) = values {
                self.put_vector(embedding, values)?;
            }
        }
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), IndexError> {
        self.bytes += bytes;
        check_limit(|| "the batch".to_owned(), (self.bytes, BATCH_BYTES_MAX), "bytes")
    }
}

/// What the vectors of new documents must fit.
fn active(state: &State) -> Result<&crate::store::spec::EmbeddingSpec, IndexError> {
    let active = state.active().map(|embedding| &embedding.spec);
    active.ok_or_else(|| {
        IndexError::invalid(
            "a document",
            "has a vector, but the namespace has no embedding\nhint: begin one first",
        )
    })
}

fn check_items(items: usize) -> Result<(), IndexError> {
    check_limit(|| "the batch".to_owned(), (items, BATCH_ITEMS_MAX), "items")
}
