//! Training examples in one JSONL file, as sentence-transformers and FlagEmbedding write them.
//!
//! sentence-transformers: the order of the columns matters and their names do not, but for `label`
//! or `score`: two texts are a pair, more are a pair with negatives, two texts and a number are a
//! scored pair. FlagEmbedding: `{"query": "…", "pos": ["…"], "neg": ["…"]}`. The first line
//! decides; the others must agree. The documents are the distinct positives and negatives.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::ReadOptions;
use super::beir::TEXTS_MAX;
use super::error::{DataError, Warning};
use super::lines::{Cutter, Lines, kind};
use super::model::{Dataset, Document, Example, Query};
use super::split::Draft;

/// Columns that hold a similarity instead of a text.
const SCORE_COLUMNS: [&str; 4] = ["label", "labels", "score", "scores"];
/// Most negatives of one line.
const NEGATIVES_MAX: usize = 1000;

const HINT: &str = "a line is {\"anchor\": \"…\", \"positive\": \"…\"} with optional negatives, \
                    {\"sentence1\": \"…\", \"sentence2\": \"…\", \"score\": 0.5}, or \
                    {\"query\": \"…\", \"pos\": [\"…\"], \"neg\": [\"…\"]}; all lines alike";

/// Reads a JSONL file of training examples; says also on which line the first one stands.
pub(super) fn read(
    path: &Path,
    options: &ReadOptions<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(Dataset, usize), DataError> {
    let mut lines = Lines::open(path, "give the path of a .jsonl file", options.stop)?;
    let mut cutter = Cutter::new(path);
    let mut pool = Pool::default();
    let (mut shape, mut first_line) = (None, 0);
    while let Some((line, object)) = lines.next_object()? {
        let malformed = |problem: String| {
            let (path, hint) = (path.to_owned(), HINT.to_owned());
            DataError::Malformed { path, line, column: 1, problem, hint }
        };
        let shape = match &shape {
            Some(shape) => shape,
            None => {
                first_line = line;
                shape.insert(Shape::of(&object).map_err(malformed)?)
            }
        };
        let texts = shape.take(object).map_err(malformed)?;
        pool.add(texts, |text| cutter.keep(text, line));
        if pool.documents.len() + pool.queries.len() > TEXTS_MAX {
            let hint = "split the data into several tenants".to_owned();
            let path = path.to_owned();
            return Err(DataError::TooMany { path, what: "texts", max: TEXTS_MAX, hint });
        }
    }
    warnings.extend(cutter.warnings());
    if pool.train.is_empty() {
        let path = path.to_owned();
        return Err(DataError::Empty { path, what: "examples", hint: HINT.to_owned() });
    }
    Ok((pool.into_draft(options.name.clone()).finish(warnings), first_line))
}

/// How the lines of a file are read.
#[derive(Debug, PartialEq)]
enum Shape {
    /// Text columns in order: anchor, positive, negatives.
    Pairs(Vec<String>),
    /// Two text columns and a number.
    Scored([String; 2], String),
    /// `query`, `pos` and maybe `neg`.
    Flag,
}

/// One line.
struct Texts {
    anchor: String,
    positives: Vec<String>,
    negatives: Vec<String>,
    score: Option<f32>,
}

impl Shape {
    /// The shape that a first line shows.
    fn of(object: &Map<String, Value>) -> Result<Self, String> {
        if object.get("query").is_some() && object.get("pos").is_some_and(Value::is_array) {
            return Ok(Shape::Flag);
        }
        let is_score = |name: &String| SCORE_COLUMNS.contains(&name.as_str());
        let (scores, texts): (Vec<_>, Vec<_>) = object.keys().cloned().partition(is_score);
        if let Some(name) = texts.iter().find(|name| !object[*name].is_string()) {
            let found = kind(&object[name]);
            return Err(format!("the column {name:?} is {found}, not text; remove it"));
        }
        match (texts.len(), &scores[..]) {
            (2, [score]) => {
                let [left, right] = texts.try_into().expect("there are two");
                Ok(Shape::Scored([left, right], score.clone()))
            }
            (2.., []) if texts.len() <= NEGATIVES_MAX + 2 => Ok(Shape::Pairs(texts)),
            (count, []) => Err(format!("{count} text column(s); a pair needs two")),
            (count, scores) => Err(format!(
                "{count} text columns with {}; a score goes with exactly two texts",
                scores.join(" and ")
            )),
        }
    }

    /// A line's texts, if it has this shape.
    fn take(&self, mut object: Map<String, Value>) -> Result<Texts, String> {
        let columns = object.len();
        let texts = match self {
            Shape::Flag => {
                let anchor = take_text(&mut object, "query")?;
                let positives = take_texts(&mut object, "pos")?;
                let negatives = take_texts(&mut object, "neg")?;
                if positives.is_empty() {
                    return Err("\"pos\" is empty; each query needs a positive".to_owned());
                }
                return Ok(Texts { anchor, positives, negatives, score: None });
            }
            Shape::Scored([left, right], score) => {
                let value = object.remove(score);
                let score_value = value.as_ref().and_then(Value::as_f64).map(|score| score as f32);
                let found = value.as_ref().map_or("absent", kind);
                Texts {
                    anchor: take_text(&mut object, left)?,
                    positives: vec![take_text(&mut object, right)?],
                    negatives: Vec::new(),
                    score: Some(score_value.filter(|score| score.is_finite()).ok_or_else(
                        || format!("the column {score:?} is {found}, not a finite number"),
                    )?),
                }
            }
            Shape::Pairs(names) => Texts {
                anchor: take_text(&mut object, &names[0])?,
                positives: vec![take_text(&mut object, &names[1])?],
                negatives: names[2..]
                    .iter()
                    .map(|name| take_text(&mut object, name))
                    .collect::<Result<_, _>>()?,
                score: None,
            },
        };
        match object.keys().next() {
            None => Ok(texts),
            Some(name) => Err(format!(
                "the column {name:?} is not in the first line, which has {} columns, not {columns}",
                columns - object.len()
            )),
        }
    }
}

fn take_text(object: &mut Map<String, Value>, name: &str) -> Result<String, String> {
    match object.remove(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Value::String(_)) => Err(format!("the column {name:?} is empty")),
        Some(other) => Err(format!("the column {name:?} is {}, not text", kind(&other))),
        None => Err(format!("the column {name:?} of the first line is absent")),
    }
}

fn take_texts(object: &mut Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let items = match object.remove(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= NEGATIVES_MAX => items,
        Some(Value::Array(items)) => {
            return Err(format!("{name:?} has {} texts, more than {NEGATIVES_MAX}", items.len()));
        }
        Some(other) => return Err(format!("{name:?} is {}, not a list", kind(&other))),
    };
    let text = |item| match item {
        Value::String(text) => Ok(text),
        other => Err(format!("{name:?} has {} where a text should be", kind(&other))),
    };
    items.into_iter().map(text).collect()
}

/// Distinct texts and the examples that refer to them.
#[derive(Default)]
struct Pool {
    queries: Vec<String>,
    documents: Vec<String>,
    query_rows: HashMap<String, u32>,
    document_rows: HashMap<String, u32>,
    train: Vec<Example>,
}

impl Pool {
    fn add(&mut self, texts: Texts, mut keep: impl FnMut(String) -> String) {
        let query = row(&mut self.queries, &mut self.query_rows, keep(texts.anchor));
        let mut document = |text| row(&mut self.documents, &mut self.document_rows, keep(text));
        let positives: Vec<u32> = texts.positives.into_iter().map(&mut document).collect();
        let negatives: Vec<u32> = texts.negatives.into_iter().map(&mut document).collect();
        for positive in positives {
            self.train.push(match texts.score {
                Some(score) => Example::Scored { left: query, right: positive, score },
                None => Example::Pair { query, positive, negatives: negatives.clone() },
            });
        }
    }

    /// A scored pair counts as relevant, where it is held out, if its score is in the upper half
    /// of the scores' range.
    fn into_draft(self, name: String) -> Draft {
        let scores = self.train.iter().filter_map(|example| match example {
            Example::Scored { score, .. } => Some(*score),
            Example::Pair { .. } => None,
        });
        let (low, high) = scores.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), score| {
            (low.min(score), high.max(score))
        });
        let middle = low + (high - low) / 2.0;
        let mut gains = vec![Vec::new(); self.queries.len()];
        for example in &self.train {
            match example {
                Example::Pair { query, positive, .. } => {
                    gains[*query as usize].push((*positive, 1))
                }
                Example::Scored { left, right, score } if *score >= middle => {
                    gains[*left as usize].push((*right, 1));
                }
                Example::Scored { .. } => {}
            }
        }
        for documents in &mut gains {
            documents.sort_unstable();
            documents.dedup();
        }
        let document = |(at, text)| {
            let id = format!("d{at}");
            Document { id, text, ..Document::default() }
        };
        let query = |(at, text)| Query { id: format!("q{at}"), text };
        Draft {
            name,
            keys: self.queries.clone(),
            documents: self.documents.into_iter().enumerate().map(document).collect(),
            queries: self.queries.into_iter().enumerate().map(query).collect(),
            train: self.train,
            gains,
            dev: None,
            test: None,
        }
    }
}

/// The row of a text in its table; a text that was seen keeps its row.
fn row(texts: &mut Vec<String>, rows: &mut HashMap<String, u32>, text: String) -> u32 {
    if let Some(&row) = rows.get(&text) {
        return row;
    }
    let row = texts.len() as u32;
    rows.insert(text.clone(), row);
    texts.push(text);
    row
}
