//! What an index should hold, as maps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::dense::Metric;
use crate::filter::Filter;
use crate::hit::Slot;
use crate::store::document::{Change, Document};
use crate::store::error::IndexError;
use crate::store::index::Index;
use crate::store::namespace::{Namespace, Query};
use crate::store::spec::{EmbeddingSpec, KindName, Storage};
use crate::text::{Bm25Options, TextBuffer, TextPart, TextSearch};

/// Values of a vector.
const DIMENSIONS: usize = 3;
/// The name of the one note.
const NOTE: &str = "note";
/// Ids come from few, so that they meet.
const IDS: u8 = 12;

/// Something that is done to a namespace.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create {
        is_dense: bool,
    },
    Drop,
    Add(Vec<(u8, u8)>),
    Delete(Vec<u8>),
    Update(Vec<(u8, u8)>),
    Begin(u8),
    PutVectors(u8, Vec<u8>),
    PutMissing(u8),
    Switch(u8),
    DropEmbedding(u8),
    Note(Option<u8>),
    Flush,
    Compact,
    /// Something that happens behind writes gets one stage further.
    Behind(Behind),
}

/// What happens behind writes, in stages that other steps come between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Freezes, writes, installs.
    Flush,
    /// Writes merged segments, installs them.
    Segments,
    /// The same with runs of an embedding.
    Runs,
    /// The same with what searches vectors.
    Dense,
    /// Holds what searches vectors as whoever saves it does, lets go of it.
    Hold,
}

/// A document beside its vectors by the names of embeddings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelDocument {
    text: String,
    metadata: Map<String, Value>,
    vectors: BTreeMap<String, Vec<f32>>,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelNamespace {
    documents: BTreeMap<String, ModelDocument>,
    embeddings: Vec<String>,
    active: Option<String>,
    note: Option<u8>,
}

/// Steps on one of three namespaces.
pub(super) fn steps() -> impl Strategy<Value = Vec<(u8, Step)>> {
    let ids = || prop::collection::vec(0..IDS, 1..6);
    let versions = || prop::collection::vec((0..IDS, any::<u8>()), 1..6);
    let embedding = || 1u8..4;
    let step = prop_oneof![
        2 => any::<bool>().prop_map(|is_dense| Step::Create { is_dense }),
        1 => Just(Step::Drop),
        8 => versions().prop_map(Step::Add),
        4 => ids().prop_map(Step::Delete),
        3 => versions().prop_map(Step::Update),
        2 => embedding().prop_map(Step::Begin),
        2 => (embedding(), ids()).prop_map(|(embedding, ids)| Step::PutVectors(embedding, ids)),
        2 => embedding().prop_map(Step::PutMissing),
        2 => embedding().prop_map(Step::Switch),
        1 => embedding().prop_map(Step::DropEmbedding),
        2 => prop::option::weighted(0.8, any::<u8>()).prop_map(Step::Note),
        4 => Just(Step::Flush),
        2 => Just(Step::Compact),
        9 => behind().prop_map(Step::Behind),
    ];
    // Most happens to the first, so that something happens to it.
    let step = (prop_oneof![6 => Just(0u8), 1 => 1u8..3], step);
    let create = (0, Step::Create { is_dense: true });
    prop::collection::vec(step, 1..40).prop_map(move |mut steps| {
        steps.insert(0, create.clone());
        steps
    })
}

fn behind() -> impl Strategy<Value = Behind> {
    prop_oneof![
        4 => Just(Behind::Flush),
        2 => Just(Behind::Segments),
        1 => Just(Behind::Runs),
        1 => Just(Behind::Dense),
        1 => Just(Behind::Hold),
    ]
}

pub(super) fn name(namespace: u8) -> String {
    format!("tenant {namespace}")
}

fn spec(embedding: u8) -> EmbeddingSpec {
    EmbeddingSpec {
        name: format!("e{embedding}"),
        dimensions: DIMENSIONS,
        metric: Metric::Dot,
        storage: Storage::F32,
        // Each of another kind, so that files of all are written and read.
        kind: [None, Some(KindName::Hnsw), Some(KindName::ExactInt8), Some(KindName::Codes)]
            [usize::from(embedding)],
    }
}

fn id(number: u8) -> String {
    format!("id-{number}")
}

fn text(number: u8, version: u8) -> String {
    format!("text {number} of version {version} {}", "long ".repeat(usize::from(version) % 50))
}

fn metadata(version: u8) -> Map<String, Value> {
    [("version".to_owned(), Value::from(version))].into_iter().collect()
}

/// The vector of a text under an embedding.
fn vector(embedding: &str, text: &str) -> Vec<f32> {
    let sum = text.bytes().map(u32::from).sum::<u32>() as f32;
    vec![sum, embedding.bytes().map(u32::from).sum::<u32>() as f32, text.len() as f32]
}

/// Every third text has none.
fn has_vector(version: u8) -> bool {
    !version.is_multiple_of(3)
}

impl ModelNamespace {
    fn new(is_dense: bool) -> Self {
        let first = is_dense.then(|| spec(0).name);
        Self {
            documents: BTreeMap::new(),
            embeddings: first.iter().cloned().collect(),
            active: first,
            note: None,
        }
    }

    /// What a document is when it is written anew.
    fn document(&self, number: u8, version: u8) -> Document {
        let text = text(number, version);
        let vector =
            self.active.as_ref().filter(|_| has_vector(version)).map(|name| vector(name, &text));
        Document { id: id(number), metadata: metadata(version), vector, text }
    }

    fn put(&mut self, document: Document) {
        let vectors = self.active.clone().zip(document.vector).into_iter().collect();
        let (text, metadata) = (document.text, document.metadata);
        self.documents.insert(document.id, ModelDocument { text, metadata, vectors });
    }

    fn is_covered(&self, embedding: &str) -> bool {
        self.documents.values().all(|document| document.vectors.contains_key(embedding))
    }
}

/// Whether the index is to do it, and what is there afterwards.
pub(super) fn after(
    before: Option<&ModelNamespace>,
    step: &Step,
) -> Option<Option<ModelNamespace>> {
    let Some(before) = before else {
        return match step {
            Step::Create { is_dense } => Some(Some(ModelNamespace::new(*is_dense))),
            _ => None,
        };
    };
    let mut model = before.clone();
    match step {
        Step::Create { .. } => return None,
        Step::Drop => return Some(None),
        Step::Add(documents) => {
            for &(number, version) in documents {
                model.put(before.document(number, version));
            }
        }
        Step::Delete(ids) => ids.iter().for_each(|&number| {
            model.documents.remove(&id(number));
        }),
        Step::Update(changes) => {
            for (number, version) in distinct(changes) {
                let document = model.documents.get_mut(&id(number))?;
                document.metadata = metadata(version);
                // Half of the changes leave the text, and the vectors with it.
                if version % 2 == 0 {
                    let other = text(number, version);
                    if document.text != other {
                        document.vectors.clear();
                    }
                    document.text = other;
                }
            }
        }
        Step::Begin(embedding) => {
            let name = spec(*embedding).name;
            if model.embeddings.contains(&name) || model.embeddings.len() >= 4 {
                return None;
            }
            model.embeddings.push(name);
        }
        Step::PutVectors(embedding, ids) => {
            let ids: Vec<String> = ids.iter().map(|&number| id(number)).collect();
            put_vectors(&mut model, *embedding, |id| ids.contains(id))?;
        }
        Step::PutMissing(embedding) => put_vectors(&mut model, *embedding, |_| true)?,
        Step::Switch(embedding) => {
            let name = spec(*embedding).name;
            if !model.embeddings.contains(&name) {
                return None;
            }
            if model.active.as_ref() == Some(&name) {
                return Some(Some(model));
            }
            if !model.is_covered(&name) {
                return None;
            }
            if let Some(old) = model.active.replace(name) {
                model.embeddings.retain(|name| *name != old);
                model.documents.values_mut().for_each(|document| {
                    document.vectors.remove(&old);
                });
            }
        }
        Step::DropEmbedding(embedding) => {
            let name = spec(*embedding).name;
            if !model.embeddings.contains(&name) || model.active.as_ref() == Some(&name) {
                return None;
            }
            model.embeddings.retain(|one| *one != name);
            model.documents.values_mut().for_each(|document| {
                document.vectors.remove(&name);
            });
        }
        Step::Note(note) => model.note = *note,
        Step::Flush | Step::Compact | Step::Behind(_) => {}
    }
    Some(Some(model))
}

fn put_vectors(
    model: &mut ModelNamespace,
    embedding: u8,
    is_wanted: impl Fn(&String) -> bool,
) -> Option<()> {
    let name = spec(embedding).name;
    if !model.embeddings.contains(&name) {
        return None;
    }
    for (_, document) in model.documents.iter_mut().filter(|(id, _)| is_wanted(id)) {
        let values = vector(&name, &document.text);
        document.vectors.entry(name.clone()).or_insert(values);
    }
    Some(())
}

/// The last change of each id, in no particular order.
fn distinct(changes: &[(u8, u8)]) -> BTreeMap<u8, u8> {
    changes.iter().copied().collect()
}

/// Does a step; `model` says what is there before.
pub(super) fn perform(
    index: &Index,
    namespace: u8,
    step: &Step,
    model: Option<&ModelNamespace>,
) -> Result<(), IndexError> {
    let name = name(namespace);
    if let Step::Create { is_dense } = step {
        return index.create_namespace(&name, is_dense.then(|| spec(0)).as_ref()).map(|_| ());
    }
    if let Step::Drop = step {
        return index.drop_namespace(&name);
    }
    let namespace = index.namespace(&name)?;
    let document = |&(number, version): &(u8, u8)| match model {
        Some(model) => model.document(number, version),
        None => Document { id: id(number), ..Document::default() },
    };
    let texts = |number: u8| {
        let id = id(number);
        let text = model.and_then(|model| model.documents.get(&id)).map(|one| one.text.clone());
        (id, text.unwrap_or_default())
    };
    match step {
        Step::Create { .. } | Step::Drop | Step::Behind(_) => Ok(()),
        Step::Add(documents) => {
            namespace.add(&documents.iter().map(document).collect::<Vec<_>>()).map(|_| ())
        }
        Step::Delete(ids) => {
            namespace.delete(&ids.iter().map(|&number| id(number)).collect::<Vec<_>>()).map(|_| ())
        }
        Step::Update(changes) => {
            let change = |(number, version): (u8, u8)| Change {
                id: id(number),
                text: (version % 2 == 0).then(|| text(number, version)),
                metadata: Some(metadata(version)),
                vector: None,
            };
            let changes: Vec<Change> = distinct(changes).into_iter().map(change).collect();
            namespace.update(&changes).map(|_| ())
        }
        Step::Begin(embedding) => namespace.begin_embedding(&spec(*embedding)),
        Step::PutVectors(embedding, ids) => {
            let name = spec(*embedding).name;
            let row = |&number: &u8| {
                let (id, text) = texts(number);
                (id, vector(&name, &text))
            };
            namespace.put_vectors(&name, &ids.iter().map(row).collect::<Vec<_>>()).map(|_| ())
        }
        Step::PutMissing(embedding) => {
            let name = spec(*embedding).name;
            let missing = namespace.missing(&name, usize::MAX)?;
            let row = |(id, text): &(String, String)| (id.clone(), vector(&name, text));
            namespace.put_vectors(&name, &missing.iter().map(row).collect::<Vec<_>>()).map(|_| ())
        }
        Step::Switch(embedding) => namespace.switch_embedding(&spec(*embedding).name),
        Step::DropEmbedding(embedding) => namespace.drop_embedding(&spec(*embedding).name),
        Step::Note(note) => {
            let text = note.map(|note| note.to_string());
            namespace.keep_note(NOTE, text.as_deref())
        }
        Step::Flush => namespace.flush(),
        Step::Compact => namespace.compact(),
    }
}

/// What an index holds of a namespace; nothing if it cannot know.
pub(super) fn found(index: &Index, name: &str) -> Option<Option<ModelNamespace>> {
    match index.namespace(name) {
        Ok(namespace) => Some(Some(read(&namespace))),
        Err(IndexError::UnknownNamespace { .. }) => Some(None),
        Err(IndexError::Stopped { .. }) => None,
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Everything, read from where it is kept; searches must find the same.
fn read(namespace: &Namespace) -> ModelNamespace {
    let model = namespace.with_state(|state| {
        let mut documents = BTreeMap::new();
        for slot in state.live.iter() {
            let (stored, _) = state.stored(slot).unwrap().unwrap();
            let vectors = state.embeddings.iter().filter_map(|embedding| {
                let values = embedding.vector(slot).unwrap()?;
                Some((embedding.spec.name.clone(), values.into_owned()))
            });
            let document = ModelDocument {
                text: stored.text.to_owned(),
                metadata: serde_json::from_str(stored.metadata).unwrap(),
                vectors: vectors.collect(),
            };
            let twin = documents.insert(stored.id.to_owned(), document);
            assert!(twin.is_none(), "two documents {:?}", stored.id);
            assert_eq!(state.find(stored.id).unwrap(), Some(slot));
        }
        ModelNamespace {
            documents,
            embeddings: state.embeddings.iter().map(|one| one.spec.name.clone()).collect(),
            active: state.active().map(|embedding| embedding.spec.name.clone()),
            note: state.notes.get(NOTE).map(|text| text.parse().unwrap()),
        }
    });
    check_words(namespace, &model);
    check_vectors(namespace, &model);
    check_filter(namespace, &model);
    model
}

/// Scores are those of a text that never had other documents.
fn check_words(namespace: &Namespace, model: &ModelNamespace) {
    let mut twin = TextBuffer::new(Bm25Options::default());
    for (slot, document) in (0..).zip(model.documents.values()) {
        twin.add(Slot(slot), &document.text).unwrap();
    }
    let ids: Vec<&String> = model.documents.keys().collect();
    let parts = [TextPart::Buffer(&twin)];
    let options = Bm25Options::default();
    let search = TextSearch { parts: &parts, options, allowed: &|_| true };
    for words in ["text 3", "version long", "7"] {
        let expected: BTreeMap<String, f32> = search
            .best(words, 100)
            .hits
            .iter()
            .map(|hit| (ids[hit.slot.0 as usize].clone(), hit.score))
            .collect();
        let query = Query { text: Some(words), count: 100, ..Query::default() };
        let found = namespace.search(&query).unwrap().found;
        let found = found.into_iter().map(|one| (one.document.id, one.score)).collect();
        assert_eq!(expected, found, "{words:?}");
    }
}

fn check_vectors(namespace: &Namespace, model: &ModelNamespace) {
    let Some(active) = &model.active else { return };
    let query = [0.5, -1.0, 2.0];
    let covered = model.documents.iter().filter_map(|(id, document)| {
        let vector = document.vectors.get(active)?;
        Some((id.clone(), vector.iter().zip(query).map(|(one, other)| one * other).sum::<f32>()))
    });
    let query = Query { vector: Some(&query), count: 100, ..Query::default() };
    let found = namespace.search(&query).unwrap().found;
    let found: BTreeMap<String, f32> =
        found.into_iter().map(|one| (one.document.id, one.score)).collect();
    let expected: BTreeMap<String, f32> = covered.collect();
    assert!(found.keys().eq(expected.keys()), "{found:?} instead of {expected:?}");
    for (one, other) in found.values().zip(expected.values()) {
        assert!((one - other).abs() <= 1e-3 * other.abs().max(1.0), "{one} instead of {other}");
    }
}

fn check_filter(namespace: &Namespace, model: &ModelNamespace) {
    let filter = Filter::parse(&json!({"version": {"lt": 100}})).unwrap();
    let passes = |document: &ModelDocument| document.metadata["version"].as_u64() < Some(100);
    let expected: BTreeSet<&String> =
        model.documents.iter().filter(|(_, one)| passes(one)).map(|(id, _)| id).collect();
    let (text, filter) = (Some("text"), Some(&filter));
    let query = Query { text, filter, count: 100, ..Query::default() };
    let found = namespace.search(&query).unwrap().found;
    assert_eq!(found.iter().map(|one| &one.document.id).collect::<BTreeSet<_>>(), expected);
}
