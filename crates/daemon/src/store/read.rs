//! Reads for people: lists, pages, one job, the log. Readers never wait for the writer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cotenant_api::JobRequest;
use cotenant_sched::{CardRecord, Job, Outcome, PastRun, RUNS_COUNTED_MAX};
use cotenant_types::{Mebibytes, Quota};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, ToSql, params};

/// Rows of the `jobs` table in the order that [`StoredJob`] is read.
const JOB_COLUMNS: &str = "id, tenant, name, kind, class, priority, state, outcome, asks, exit, \
                           submitted_ms, started_ms, ended_ms, request, record, peak_mib";

/// Connections that only read, handed round.
pub(crate) struct Reader {
    idle: Mutex<Vec<Connection>>,
    path: std::path::PathBuf,
}

/// A row of a job.
pub(crate) struct StoredJob {
    pub(crate) id: u64,
    pub(crate) tenant: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) class: String,
    pub(crate) priority: i32,
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
    pub(crate) asks: String,
    pub(crate) exit: Option<String>,
    pub(crate) submitted_ms: u64,
    pub(crate) started_ms: Option<u64>,
    pub(crate) ended_ms: Option<u64>,
    pub(crate) request: String,
    pub(crate) record: String,
    pub(crate) peak_mib: Option<u64>,
}

/// A line of the log.
pub(crate) struct StoredEvent {
    pub(crate) seq: u64,
    pub(crate) at_ms: u64,
    pub(crate) kind: String,
    pub(crate) job: Option<u64>,
    pub(crate) tenant: Option<String>,
    pub(crate) text: String,
}

/// Which jobs to list.
#[derive(Default)]
pub(crate) struct JobQuery {
    pub(crate) tenant: Option<String>,
    pub(crate) state: Option<&'static str>,
    pub(crate) before: Option<u64>,
    pub(crate) limit: u32,
}

type Read<T> = Result<T, rusqlite::Error>;

impl Reader {
    /// Readers of a file that a writer has opened before.
    pub(crate) fn new(path: &Path) -> Self {
        Self { idle: Mutex::new(Vec::new()), path: path.to_owned() }
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Read<T>) -> Read<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)?;
                connection.busy_timeout(super::BUSY_WAIT)?;
                connection
            }
        };
        let answer = read(&connection);
        idle().push(connection);
        answer
    }

    pub(crate) fn job(&self, id: u64) -> Read<Option<StoredJob>> {
        let query = format!("select {JOB_COLUMNS} from jobs where id = ?");
        self.with(|connection| {
            connection.prepare_cached(&query)?.query_row([id as i64], job_of).optional()
        })
    }

    /// The jobs of a page, the newest first, and how many there are on all pages.
    pub(crate) fn jobs(&self, wanted: &JobQuery) -> Read<(Vec<StoredJob>, u64)> {
        let mut terms = vec!["1 = 1"];
        let mut values: Vec<&dyn ToSql> = Vec::new();
        if let Some(tenant) = &wanted.tenant {
            terms.push("tenant = ?");
            values.push(tenant);
        }
        if let Some(state) = &wanted.state {
            terms.push("state = ?");
            values.push(state);
        }
        let filter = terms.join(" and ");
        let count = format!("select count(*) from jobs where {filter}");
        let page = format!(
            "select {JOB_COLUMNS} from jobs where {filter} and id < ? order by id desc limit ?"
        );
        let before =
            wanted.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        self.with(|connection| {
            let total: i64 =
                connection.prepare_cached(&count)?.query_row(&values[..], |row| row.get(0))?;
            let mut values = values.clone();
            values.extend([&before as &dyn ToSql, &wanted.limit]);
            let mut query = connection.prepare_cached(&page)?;
            let jobs = query.query_map(&values[..], job_of)?.collect::<Read<Vec<_>>>()?;
            Ok((jobs, total.unsigned_abs()))
        })
    }

    /// What earlier runs of a tenant's jobs of a name took, the newest first.
    pub(crate) fn past_runs(&self, tenant: &str, name: &str) -> Read<Vec<PastRun>> {
        let query = "select peak_mib, outcome, request from jobs \
                     where tenant = ? and name = ? and peak_mib is not null \
                     order by id desc limit ?";
        self.with(|connection| {
            let mut query = connection.prepare_cached(query)?;
            let values = params![tenant, name, RUNS_COUNTED_MAX as i64];
            let run = |row: &Row<'_>| {
                let outcome: Option<String> = row.get(1)?;
                let request: String = row.get(2)?;
                let request: Option<JobRequest> = serde_json::from_str(&request).ok();
                Ok(PastRun {
                    peak: Mebibytes(row.get::<_, i64>(0)?.unsigned_abs()),
                    estimate: request.and_then(|request| request.foretold().ok()?),
                    is_cut: outcome.as_deref() == Some(Outcome::OutOfMemory.name()),
                })
            };
            query.query_map(values, run)?.collect()
        })
    }

    /// Jobs that hold slices.
    pub(crate) fn holders(&self) -> Read<Vec<Job>> {
        self.with(|connection| {
            let query =
                "select record from jobs where state in ('starting', 'running', 'stopping')";
            let mut query = connection.prepare_cached(query)?;
            query.query_map([], json_of)?.collect()
        })
    }

    /// Every card.
    pub(crate) fn cards(&self) -> Read<Vec<CardRecord>> {
        self.with(|connection| {
            let mut query = connection.prepare_cached("select record from cards")?;
            query.query_map([], json_of)?.collect()
        })
    }

    /// Machines that get no new jobs.
    pub(crate) fn draining(&self) -> Read<Vec<String>> {
        self.with(|connection| {
            let mut query = connection.prepare_cached("select node from draining")?;
            query.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Every tenant's quota, by name.
    pub(crate) fn tenants(&self) -> Read<Vec<(String, Quota)>> {
        self.with(|connection| {
            let query = "select quota, name from tenants order by name";
            let mut query = connection.prepare_cached(query)?;
            query.query_map([], |row| Ok((row.get(1)?, json_of(row)?)))?.collect()
        })
    }

    /// How many jobs there are, by tenant and state.
    pub(crate) fn counts(&self) -> Read<Vec<(String, String, u64)>> {
        self.with(|connection| {
            let query = "select tenant, state, count(*) from jobs group by tenant, state";
            let mut query = connection.prepare_cached(query)?;
            let count = |row: &Row<'_>| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()))
            };
            query.query_map([], count)?.collect()
        })
    }

    /// When the oldest job that waits was submitted, by tenant.
    pub(crate) fn oldest_waiting(&self) -> Read<BTreeMap<String, u64>> {
        self.with(|connection| {
            let query = "select tenant, min(submitted_ms) from jobs where state = 'queued' \
                         group by tenant";
            let mut query = connection.prepare_cached(query)?;
            let oldest = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
            query.query_map([], oldest)?.collect()
        })
    }

    /// Lines of the log after one, by kind: how many, and the last of them. One reading sees one
    /// state of the log, so that the largest of the last is up to where it was counted.
    pub(crate) fn event_counts(&self, after: u64) -> Read<Vec<(String, u64, u64)>> {
        self.with(|connection| {
            let query = "select kind, count(*), max(seq) from events where seq > ? group by kind";
            let mut query = connection.prepare_cached(query)?;
            let number =
                |row: &Row<'_>, at| -> Read<u64> { Ok(row.get::<_, i64>(at)?.unsigned_abs()) };
            let count = |row: &Row<'_>| Ok((row.get(0)?, number(row, 1)?, number(row, 2)?));
            query.query_map([after as i64], count)?.collect()
        })
    }

    /// Lines of the log after one, at most so many.
    pub(crate) fn events(&self, after: u64, limit: u32) -> Read<Vec<StoredEvent>> {
        let query = "select seq, at_ms, kind, job, tenant, text from events where seq > ? \
                     order by seq limit ?";
        self.with(|connection| {
            let mut query = connection.prepare_cached(query)?;
            query.query_map(params![after as i64, limit], event_of)?.collect()
        })
    }

    /// The newest lines about a job, the oldest of them first.
    pub(crate) fn life(&self, job: u64, limit: u32) -> Read<Vec<StoredEvent>> {
        let query = "select seq, at_ms, kind, job, tenant, text from events where job = ? \
                     order by seq desc limit ?";
        self.with(|connection| {
            let mut query = connection.prepare_cached(query)?;
            let rows = query.query_map(params![job as i64, limit], event_of)?;
            let mut events = rows.collect::<Read<Vec<_>>>()?;
            events.reverse();
            Ok(events)
        })
    }

    /// Whom the token with this hash acts for.
    pub(crate) fn token(&self, hash: &str) -> Read<Option<String>> {
        self.with(|connection| {
            let query = "select tenant from tokens where hash = ?";
            connection.prepare_cached(query)?.query_row([hash], |row| row.get(0)).optional()
        })
    }

    /// Whether anybody has a token that acts for this one.
    pub(crate) fn has_token(&self, tenant: &str) -> Read<bool> {
        self.with(|connection| {
            let query = "select exists (select 1 from tokens where tenant = ?)";
            connection.prepare_cached(query)?.query_row([tenant], |row| row.get(0))
        })
    }
}

fn job_of(row: &Row<'_>) -> Read<StoredJob> {
    let number = |at: usize| -> Read<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(at)?.map(i64::unsigned_abs))
    };
    Ok(StoredJob {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        tenant: row.get(1)?,
        name: row.get(2)?,
        kind: row.get(3)?,
        class: row.get(4)?,
        priority: row.get(5)?,
        state: row.get(6)?,
        outcome: row.get(7)?,
        asks: row.get(8)?,
        exit: row.get(9)?,
        submitted_ms: number(10)?.unwrap_or(0),
        started_ms: number(11)?,
        ended_ms: number(12)?,
        request: row.get(13)?,
        record: row.get(14)?,
        peak_mib: number(15)?,
    })
}

fn event_of(row: &Row<'_>) -> Read<StoredEvent> {
    Ok(StoredEvent {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        at_ms: row.get::<_, i64>(1)?.unsigned_abs(),
        kind: row.get(2)?,
        job: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
        tenant: row.get(4)?,
        text: row.get(5)?,
    })
}

fn json_of<T: serde::de::DeserializeOwned>(row: &Row<'_>) -> Read<T> {
    let text = row.get_ref(0)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error))
    })
}
