//! Folders as the BEIR benchmark lays them out.
//!
//! `corpus.jsonl` has `{"_id", "title", "text"}`, `queries.jsonl` has `{"_id", "text"}`, and
//! `qrels/{train,dev,test}.tsv` have a header and the columns query, document and score. Scores of
//! 1 and more are gains; pairs of score 0 or less are known negatives of training queries.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};

use super::ReadOptions;
use super::error::{DataError, Warning};
use super::lines::{Cutter, Lines, kind};
use super::model::{Dataset, Document, Example, Judged, Judgements, Query};
use super::split::Draft;

const HEADER: &str = "query-id\tcorpus-id\tscore";

/// Most documents or queries of one tenant.
pub(super) const TEXTS_MAX: usize = 20_000_000;

/// One line of judgements: query, document, score.
type Row = (u32, u32, i64);

/// Reads a BEIR folder.
pub(super) fn read(
    folder: &Path,
    options: &ReadOptions<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Dataset, DataError> {
    let stop = options.stop;
    let corpus = Table::read(&folder.join("corpus.jsonl"), stop, warnings)?;
    let queries = Table::read(&folder.join("queries.jsonl"), stop, warnings)?;
    let split = |name: &str| {
        let path = folder.join("qrels").join(name);
        read_qrels(&path, stop, (&queries, &corpus))
    };
    let (train, dev, test) = (split("train.tsv")?, split("dev.tsv")?, split("test.tsv")?);
    if train.is_none() && dev.is_none() && test.is_none() {
        return Err(DataError::Missing {
            path: folder.join("qrels").join("train.tsv"),
            hint: "judgements say which documents answer which queries; write at least one of \
                   qrels/train.tsv, qrels/dev.tsv and qrels/test.tsv"
                .to_owned(),
        });
    }
    let mut gains = vec![Vec::new(); queries.rows.len()];
    let train = train.unwrap_or_default();
    for judged in judgements(&train).queries {
        gains[judged.query as usize] = judged.gains;
    }
    let keys = queries.rows.iter().map(|(id, ..)| id.clone()).collect();
    let document = |(id, title, text)| Document { id, title, text, heading: String::new() };
    let draft = Draft {
        name: options.name.clone(),
        documents: corpus.rows.into_iter().map(document).collect(),
        queries: queries.rows.into_iter().map(|(id, _, text)| Query { id, text }).collect(),
        train: examples(&train),
        gains,
        keys,
        dev: dev.as_deref().map(judgements),
        test: test.as_deref().map(judgements),
    };
    // As the benchmark does, where queries and documents may share ids: a document is never found
    // for the query that it is itself.
    Ok(Dataset { leaves_out_own_id: true, ..draft.finish(warnings) })
}

/// Ids and texts of `corpus.jsonl` or `queries.jsonl`.
struct Table {
    path: PathBuf,
    /// Id, title, text.
    rows: Vec<(String, String, String)>,
    by_id: HashMap<String, u32>,
}

impl Table {
    fn read(
        path: &Path,
        stop: &AtomicBool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, DataError> {
        let hint = "a BEIR folder has corpus.jsonl, queries.jsonl and qrels/*.tsv";
        let mut lines = Lines::open(path, hint, stop)?;
        let mut cutter = Cutter::new(path);
        let mut table = Self { path: path.to_owned(), rows: Vec::new(), by_id: HashMap::new() };
        let mut line_of = Vec::new();
        while let Some((line, mut object)) = lines.next_object()? {
            let malformed = |problem: String| DataError::Malformed {
                path: path.to_owned(),
                line,
                column: 1,
                problem,
                hint: "a line is {\"_id\": \"…\", \"title\": \"…\", \"text\": \"…\"}".to_owned(),
            };
            let id = take_id(&mut object).map_err(&malformed)?;
            let title = take_text(&mut object, "title").map_err(&malformed)?.unwrap_or_default();
            let text = take_text(&mut object, "text").map_err(&malformed)?;
            let text = text.ok_or_else(|| malformed("there is no \"text\"".to_owned()))?;
            if let Some(&first) = table.by_id.get(&id) {
                let first_line = line_of[first as usize];
                return Err(DataError::DuplicateId { path: path.to_owned(), line, first_line, id });
            }
            if table.rows.len() >= TEXTS_MAX {
                let hint = "split the data into several tenants".to_owned();
                let path = path.to_owned();
                return Err(DataError::TooMany { path, what: "lines", max: TEXTS_MAX, hint });
            }
            if title.trim().is_empty() && text.trim().is_empty() {
                cutter.note_empty(line);
            }
            table.by_id.insert(id.clone(), table.rows.len() as u32);
            table.rows.push((id, cutter.keep(title, line), cutter.keep(text, line)));
            line_of.push(line);
        }
        warnings.extend(cutter.warnings());
        if table.rows.is_empty() {
            let hint = "write one JSON object a line: {\"_id\": \"…\", \"text\": \"…\"}".to_owned();
            return Err(DataError::Empty { path: path.to_owned(), what: "texts", hint });
        }
        Ok(table)
    }

    fn find(&self, kind: &'static str, id: &str, at: (&Path, usize)) -> Result<u32, DataError> {
        self.by_id.get(id).copied().ok_or_else(|| DataError::UnknownId {
            path: at.0.to_owned(),
            line: at.1,
            kind,
            id: id.chars().take(200).collect(),
            defined_in: self.path.clone(),
        })
    }
}

/// The `_id`, as text; numbers are accepted, as some exports write them.
fn take_id(object: &mut Map<String, Value>) -> Result<String, String> {
    match object.remove("_id") {
        Some(Value::String(id)) if !id.is_empty() => Ok(id),
        Some(Value::Number(id)) => Ok(id.to_string()),
        Some(Value::String(_)) => Err("the \"_id\" is empty".to_owned()),
        Some(other) => Err(format!("the \"_id\" is {}, not text", kind(&other))),
        None => Err("there is no \"_id\"".to_owned()),
    }
}

fn take_text(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match object.remove(key) {
        Some(Value::String(text)) => Ok(Some(text)),
        None | Some(Value::Null) => Ok(None),
        Some(other) => Err(format!("the {key:?} is {}, not text", kind(&other))),
    }
}

/// The rows of one split, in the file's order; `None` if there is no such file.
fn read_qrels(
    path: &Path,
    stop: &AtomicBool,
    (queries, corpus): (&Table, &Table),
) -> Result<Option<Vec<Row>>, DataError> {
    if !path.exists() {
        return Ok(None);
    }
    let mut lines = Lines::open(path, "judgements are tables such as qrels/train.tsv", stop)?;
    let header = lines.next()?.map(|(_, text)| text.to_owned()).unwrap_or_default();
    if header.trim().to_lowercase().replace('_', "-") != HEADER {
        let found = header.chars().take(100).collect();
        return Err(DataError::Header { path: path.to_owned(), found, expected: HEADER });
    }
    let mut rows = Vec::new();
    while let Some((line, text)) = lines.next()? {
        let malformed = |problem: String, column: usize| DataError::Malformed {
            path: path.to_owned(),
            line,
            column,
            problem,
            hint: "a line is QUERY<tab>DOCUMENT<tab>SCORE, with a whole number as score".to_owned(),
        };
        let cells: Vec<&str> = text.split('\t').collect();
        let [query, document, score] = cells[..] else {
            return Err(malformed(format!("{} columns, not 3", cells.len()), 1));
        };
        let score: i64 = score.trim().parse().map_err(|_| {
            let column = query.len() + document.len() + 3;
            let shown: String = score.chars().take(40).collect();
            malformed(format!("the score {shown:?} is not a whole number"), column)
        })?;
        let query = queries.find("query", query.trim(), (path, line))?;
        let document = corpus.find("document", document.trim(), (path, line))?;
        rows.push((query, document, score));
    }
    Ok(Some(rows))
}

/// Training pairs in the file's order, each with its query's known negatives.
fn examples(rows: &[Row]) -> Vec<Example> {
    let mut negatives: HashMap<u32, Vec<u32>> = HashMap::new();
    for &(query, document, _) in rows.iter().filter(|row| row.2 <= 0) {
        negatives.entry(query).or_default().push(document);
    }
    let pair = |&(query, positive, _): &Row| {
        let negatives = negatives.get(&query).cloned().unwrap_or_default();
        Example::Pair { query, positive, negatives }
    };
    rows.iter().filter(|row| row.2 > 0).map(pair).collect()
}

/// The relevant rows grouped by query, each document once with its best gain.
fn judgements(rows: &[Row]) -> Judgements {
    let relevant = rows.iter().filter(|row| row.2 > 0);
    let mut rows: Vec<(u32, u32, u32)> =
        relevant.map(|&(query, document, score)| (query, document, gain(score))).collect();
    rows.sort_unstable_by_key(|&(query, document, gain)| (query, document, u32::MAX - gain));
    rows.dedup_by_key(|row| (row.0, row.1));
    let queries = rows.chunk_by(|one, other| one.0 == other.0).map(|rows| Judged {
        query: rows[0].0,
        gains: rows.iter().map(|&(_, document, gain)| (document, gain)).collect(),
    });
    Judgements { queries: queries.collect() }
}

fn gain(score: i64) -> u32 {
    u32::try_from(score).unwrap_or(u32::MAX)
}
