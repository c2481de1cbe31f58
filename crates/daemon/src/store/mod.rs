//! What must survive: jobs, tenants, cards and the log, in one SQLite file.
//!
//! One connection writes, on the thread that owns the state; others read. A transaction holds all
//! that a batch of events changed, and is on the disk before anybody is told. Commands are not
//! kept: what is still to be done follows from the phases of the jobs, and is said again.

mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use thiserror::Error;

pub(crate) use read::{JobQuery, Reader, StoredEvent, StoredJob};
pub(crate) use write::{Change, NewJob};

/// The form of the file; a file of a later form is refused.
const FORM: i64 = 2;
/// How long a writer waits for another to be done.
const BUSY_WAIT: Duration = Duration::from_secs(5);

const TABLES: &str = "
create table if not exists jobs (
    id integer primary key,
    tenant text not null,
    name text not null,
    kind text not null,
    class text not null,
    priority integer not null,
    state text not null,
    outcome text,
    asks text not null,
    exit text,
    submitted_ms integer not null,
    started_ms integer,
    ended_ms integer,
    request text not null,
    record text not null,
    peak_mib integer
) strict;
create index if not exists jobs_by_state on jobs (state, id);
create index if not exists jobs_by_tenant on jobs (tenant, id);
create index if not exists jobs_by_name on jobs (tenant, name, id) where peak_mib is not null;
create table if not exists events (
    seq integer primary key,
    at_ms integer not null,
    kind text not null,
    job integer,
    tenant text,
    text text not null
) strict;
create index if not exists events_by_job on events (job, seq) where job is not null;
create table if not exists tenants (name text primary key, quota text not null) strict;
create table if not exists tokens (hash text primary key, tenant text not null) strict;
create table if not exists cards (id text primary key, record text not null) strict;
create table if not exists draining (node text primary key) strict;
create table if not exists keys (
    tenant text not null,
    key text not null,
    job integer not null,
    primary key (tenant, key)
) strict, without rowid;
";

/// What files of form 1 lack.
const FROM_FORM_1: &str = "alter table jobs add column peak_mib integer;";

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("{doing} {path}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A later version wrote it.
    #[error(
        "read {path}: it has form {form}, and this program knows up to {FORM}; use a newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        form: i64,
    },
    /// Something in it is not what this program wrote.
    #[error("read a {what} of {path}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The connection that writes.
pub(crate) struct Store {
    path: PathBuf,
    connection: Connection,
    last_seq: u64,
    /// Whether somebody else holds the file, as far as a simulation goes.
    #[cfg(test)]
    pub(crate) is_busy: bool,
}

impl Store {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed =
            |doing| move |source| StoreError::Sqlite { doing, path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed("open"))?;
        prepare(&connection).map_err(failed("set up"))?;
        let form: i64 = connection
            .query_row("pragma user_version", [], |row| row.get(0))
            .map_err(failed("read"))?;
        if form > FORM {
            return Err(StoreError::Newer { path: path.to_owned(), form });
        }
        if form == 1 {
            connection.execute_batch(FROM_FORM_1).map_err(failed("bring up to date"))?;
        }
        connection.execute_batch(TABLES).map_err(failed("set up"))?;
        connection.pragma_update(None, "user_version", FORM).map_err(failed("set up"))?;
        let last_seq: i64 = connection
            .query_row("select coalesce(max(seq), 0) from events", [], |row| row.get(0))
            .map_err(failed("read"))?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            last_seq: last_seq.unsigned_abs(),
            #[cfg(test)]
            is_busy: false,
        })
    }

    /// The last event's place in the log.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Makes the disk full, or gives it room again.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, is_full: bool) {
        let pages = if is_full { 1 } else { 1 << 30 };
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    /// Whether a job is among those whose life is over.
    #[cfg(test)]
    pub(crate) fn has_ended(&self, job: cotenant_types::JobId) -> bool {
        let query = "select exists (select 1 from jobs where id = ? and state = 'ended')";
        let mut query = self.connection.prepare_cached(query).unwrap();
        query.query_row([job.0 as i64], |row| row.get(0)).unwrap()
    }

    /// Whether the file can be had now.
    #[cfg(test)]
    fn check_free(&self) -> Result<(), StoreError> {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        match self.is_busy {
            true => Err(self.failed("use")(rusqlite::Error::SqliteFailure(busy, None))),
            false => Ok(()),
        }
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::Sqlite { doing, path: path.clone(), source }
    }
}

/// What is acknowledged is on the disk: a write-ahead log, synced with every transaction.
fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", "on")
}

#[cfg(test)]
mod tests {
    use cotenant_sched::{Event, State, step};
    use cotenant_types::{Moment, Quota, TenantName};
    use rusqlite::params;

    use super::*;

    #[test]
    fn what_is_acknowledged_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("pool.db")).unwrap();
        let pragma = |name: &str| -> String {
            let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            let value = store.connection.query_row(&format!("pragma {name}"), [], value).unwrap();
            format!("{value:?}")
        };
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        assert_eq!(pragma("synchronous"), "Integer(2)");
    }

    #[test]
    fn asks_are_those_of_the_newest_jobs_since_a_moment() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("pool.db")).unwrap();
        let mut state = State::default();
        let tenant: TenantName = "law".parse().unwrap();
        let set = Event::TenantSet { tenant: tenant.clone(), quota: Quota::default() };
        step(&mut state, Moment(0), set).unwrap();
        for cards in 1..=10 {
            let request = format!("command = ['x']\ncards = {cards}");
            let request = cotenant_api::parse_job(&request).unwrap();
            let terms = request.resolve(Some(&tenant), Moment(0)).unwrap().terms;
            let job = state.next_job();
            step(&mut state, Moment(0), Event::JobSubmitted { job, terms }).unwrap();
            // What has ended counts as well.
            let query = "insert into jobs (id, tenant, name, kind, class, priority, state, asks, \
                         submitted_ms, request, record) values (?, 'law', '', '', '', 0, 'ended', \
                         '', ?, '', ?)";
            let record = serde_json::to_string(state.job(job).unwrap()).unwrap();
            let values = params![job.0 as i64, job.0 as i64 * 1000, record];
            store.connection.execute(query, values).unwrap();
        }
        let check = |since, limit, expected: &[u32]| {
            let found = store.asks(Moment(since), limit).unwrap();
            let cards: Vec<u32> = found.iter().map(|ask| ask.cards).collect();
            assert_eq!(cards, expected, "since {since}, {limit} at most");
        };
        check(0, 3, &[10, 9, 8]);
        check(7000, 100, &[10, 9, 8, 7]);
        check(7001, 100, &[10, 9, 8]);
        check(7000, 1, &[10]);
        check(10_001, 100, &[]);
    }

    #[test]
    fn files_of_later_programs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool.db");
        drop(Store::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", FORM + 1).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Newer { .. })));
    }
}
