//! Parts of what jobs printed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cotenant_sched::Job;
use cotenant_types::JobId;
use serde::Deserialize;

use super::auth::Caller;
use super::jobs::find;
use super::problem::{Fault, InPath, InQuery};
use super::shared::Shared;
use crate::executor::RunFolder;

/// Most bytes of a part.
const PART_BYTES_MAX: u64 = 1 << 20;

/// Which part of which stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    stream: Option<String>,
    member: Option<u32>,
    offset: Option<i64>,
}

pub(super) async fn read(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<u64>,
    InQuery(query): InQuery<LogQuery>,
) -> Result<Response, Fault> {
    let stored = find(&shared, &caller, id).await?;
    let stream = match query.stream.as_deref() {
        None | Some("stdout") => "stdout",
        Some("stderr") => "stderr",
        Some(other) => {
            return Err(Fault::bad(format!("stream {other:?} is neither stdout nor stderr")));
        }
    };
    let record: Job = serde_json::from_str(&stored.record)
        .map_err(|error| Fault::unavailable(&error.to_string()))?;
    let member = query.member.unwrap_or(0);
    if member >= record.terms.ask.members {
        return Err(Fault::bad(format!("the job has no member {member}")));
    }
    let offset = query.offset.unwrap_or(0);
    let is_open = stored.state != "ended";
    let part = tokio::task::spawn_blocking(move || {
        match RunFolder::latest_log(&shared.runs, JobId(id), (stream, member)) {
            Some(path) => part(&path, offset),
            None => Ok((Vec::new(), 0)),
        }
    });
    let (bytes, next) = match part.await {
        Ok(Ok(part)) => part,
        Ok(Err(error)) => return Err(Fault::unavailable(&error.to_string())),
        Err(_) => return Err(Fault::unavailable("the read was cut off")),
    };
    let is_open = is_open || bytes.len() as u64 == PART_BYTES_MAX;
    let headers = [
        (header::CONTENT_TYPE.as_str(), HeaderValue::from_static("text/plain; charset=utf-8")),
        ("x-next-offset", HeaderValue::from(next)),
        ("x-open", HeaderValue::from_static(if is_open { "true" } else { "false" })),
    ];
    Ok((headers, bytes).into_response())
}

/// A part of a file from an offset, which counts from the end if it is negative; and where the
/// next begins.
fn part(path: &Path, offset: i64) -> io::Result<(Vec<u8>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    let from = match offset {
        0.. => offset.unsigned_abs().min(len),
        _ => len.saturating_sub(offset.unsigned_abs()),
    };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(PART_BYTES_MAX).read_to_end(&mut bytes)?;
    let next = from + bytes.len() as u64;
    Ok((bytes, next))
}
