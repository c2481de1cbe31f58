//! Writes what a batch of events changed, whole or not at all.

use std::collections::BTreeMap;

use cotenant_api::JobRequest;
use cotenant_sched::{CardRecord, Job, Outcome, Phase, State};
use cotenant_types::{Ask, JobId, Mebibytes, Moment, NodeName, Quota, TenantName};
use rusqlite::{Transaction, params};
use serde::Serialize;

use super::{Store, StoreError};
use crate::words::Line;

/// One thing that changed.
pub(crate) enum Change {
    /// A job came in.
    Submitted(Box<NewJob>),
    /// A job is not what it was.
    Job(Box<Job>),
    /// A job has other amounts.
    Asks(JobId, String),
    /// A job's life is over.
    Ended(Box<Job>, Outcome),
    /// A job's program ended, having had so much memory of a card at most, if that was measured.
    Exit(JobId, String, Option<Mebibytes>),
    /// A tenant may have something else.
    Tenant(TenantName, Quota),
    /// A tenant has another token; only its hash is kept.
    Token(String, String),
    /// The cards of a machine.
    Cards(Vec<CardRecord>),
    /// Whether a machine is drained.
    Drain(NodeName, bool),
    /// Something happened.
    Line(Line),
}

/// What is kept of a job beside what the scheduler knows.
pub(crate) struct NewJob {
    pub(crate) job: Job,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) asks: String,
    pub(crate) request: JobRequest,
    /// The key under which it was submitted, if any.
    pub(crate) key: Option<String>,
}

impl Store {
    /// Writes the changes in one transaction, and waits until they are on the disk.
    pub(crate) fn commit(&mut self, now: Moment, changes: &[Change]) -> Result<(), StoreError> {
        #[cfg(test)]
        self.check_free()?;
        let failed = self.failed("write to");
        let mut seq = self.last_seq;
        let transaction = self.connection.transaction().map_err(&failed)?;
        for change in changes {
            if matches!(change, Change::Line(_)) {
                seq += 1;
            }
            write(&transaction, (now, seq), change).map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        self.last_seq = seq;
        Ok(())
    }

    /// The state as it was last committed.
    pub(crate) fn load(&self) -> Result<State, StoreError> {
        #[cfg(test)]
        self.check_free()?;
        let records: Vec<Job> = self.rows("select record from jobs where state <> 'ended'")?;
        let cards: Vec<CardRecord> = self.rows("select record from cards")?;
        let failed = self.failed("read");
        let mut query =
            self.connection.prepare("select name, quota from tenants").map_err(&failed)?;
        let pairs = query
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(&failed)?;
        let mut tenants: BTreeMap<TenantName, Quota> = BTreeMap::new();
        for (name, quota) in pairs {
            let name = serde_json::Value::String(name);
            let name =
                serde_json::from_value(name).map_err(|error| self.damaged("tenant", error))?;
            tenants.insert(name, self.parsed("quota", &quota)?);
        }
        let draining: Vec<NodeName> = self.rows("select json_quote(node) from draining")?;
        let last_job: i64 = self
            .connection
            .query_row("select coalesce(max(id), 0) from jobs", [], |row| row.get(0))
            .map_err(&failed)?;
        Ok(State::from_parts(records, cards, tenants, (draining, JobId(last_job.unsigned_abs()))))
    }

    /// What the newest jobs asked for, of those submitted since a moment, at most so many.
    pub(crate) fn asks(&self, since: Moment, limit: u32) -> Result<Vec<Ask>, StoreError> {
        #[cfg(test)]
        self.check_free()?;
        // Submissions are numbered as they come, so the newest are found without a look at all.
        let query = format!(
            "select record from (select record, submitted_ms from jobs order by id desc limit \
             {limit}) where submitted_ms >= {}",
            i64::try_from(since.0).unwrap_or(i64::MAX)
        );
        let jobs: Vec<Job> = self.rows(&query)?;
        Ok(jobs.into_iter().map(|job| job.terms.ask).collect())
    }

    /// The job that was submitted with a key.
    pub(crate) fn job_of_key(
        &self,
        tenant: &TenantName,
        key: &str,
    ) -> Result<Option<JobId>, StoreError> {
        use rusqlite::OptionalExtension;
        let query = "select job from keys where tenant = ? and key = ?";
        let found: Result<Option<i64>, _> = self
            .connection
            .query_row(query, params![tenant.as_str(), key], |row| row.get(0))
            .optional();
        let found = found.map_err(self.failed("read"))?;
        Ok(found.map(|id| JobId(id.unsigned_abs())))
    }

    /// What a job runs.
    pub(crate) fn request(&self, job: JobId) -> Result<JobRequest, StoreError> {
        let query = "select request from jobs where id = ?";
        let text: String = self
            .connection
            .query_row(query, [job.0 as i64], |row| row.get(0))
            .map_err(self.failed("read"))?;
        self.parsed("request", &text)
    }

    fn rows<T: serde::de::DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, StoreError> {
        let failed = self.failed("read");
        let mut query = self.connection.prepare(query).map_err(&failed)?;
        let mut rows = query.query([]).map_err(&failed)?;
        let mut parsed = Vec::new();
        while let Some(row) = rows.next().map_err(&failed)? {
            let text = row.get_ref(0).and_then(|value| Ok(value.as_str()?)).map_err(&failed)?;
            parsed.push(self.parsed("record", text)?);
        }
        Ok(parsed)
    }

    fn parsed<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        text: &str,
    ) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| self.damaged(what, error))
    }

    fn damaged(&self, what: &str, source: serde_json::Error) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.to_owned(), source }
    }
}

fn write(
    transaction: &Transaction<'_>,
    (now, seq): (Moment, u64),
    change: &Change,
) -> Result<(), rusqlite::Error> {
    let run = |text: &str, values: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(text)?.execute(values).map(drop)
    };
    match change {
        Change::Submitted(new) => insert_job(transaction, new),
        Change::Job(job) => {
            let started = match &job.phase {
                Phase::Running { since, .. } => Some(since.0 as i64),
                Phase::Queued { .. } | Phase::Starting { .. } | Phase::Stopping { .. } => None,
            };
            run(
                "update jobs set state = ?, started_ms = coalesce(?, started_ms), record = ? \
                 where id = ?",
                params![crate::words::state(&job.phase), started, json(job), job.id.0 as i64],
            )
        }
        Change::Asks(job, asks) => {
            run("update jobs set asks = ? where id = ?", params![asks, job.0 as i64])
        }
        Change::Ended(job, outcome) => run(
            "update jobs set state = 'ended', outcome = ?, ended_ms = ?, record = ? where id = ?",
            params![outcome.name(), now.0 as i64, json(job), job.id.0 as i64],
        ),
        Change::Exit(job, text, peak) => run(
            "update jobs set exit = ?, \
             peak_mib = nullif(max(coalesce(?, 0), coalesce(peak_mib, 0)), 0) where id = ?",
            params![text, peak.map(|peak| peak.0 as i64), job.0 as i64],
        ),
        Change::Tenant(name, quota) => run(
            "insert into tenants (name, quota) values (?, ?) \
             on conflict (name) do update set quota = excluded.quota",
            params![name.as_str(), json(quota)],
        ),
        Change::Token(tenant, hash) => {
            run("delete from tokens where tenant = ?", params![tenant])?;
            run("insert into tokens (hash, tenant) values (?, ?)", params![hash, tenant])
        }
        Change::Cards(records) => records.iter().try_for_each(|record| {
            run(
                "insert into cards (id, record) values (?, ?) \
                 on conflict (id) do update set record = excluded.record",
                params![record.card.id.as_str(), json(record)],
            )
        }),
        Change::Drain(node, true) => {
            run("insert or ignore into draining (node) values (?)", params![node.as_str()])
        }
        Change::Drain(node, false) => {
            run("delete from draining where node = ?", params![node.as_str()])
        }
        Change::Line(Line { kind, job, tenant, text }) => run(
            "insert into events (seq, at_ms, kind, job, tenant, text) values (?, ?, ?, ?, ?, ?)",
            params![
                seq as i64,
                now.0 as i64,
                kind,
                job.map(|job| job.0 as i64),
                tenant.as_ref().map(TenantName::as_str),
                text,
            ],
        ),
    }
}

fn insert_job(transaction: &Transaction<'_>, new: &NewJob) -> Result<(), rusqlite::Error> {
    let NewJob { job, name, kind, asks, request, key } = new;
    let (id, tenant) = (job.id.0 as i64, job.terms.tenant.as_str());
    let mut insert = transaction.prepare_cached(
        "insert into jobs (id, tenant, name, kind, class, priority, state, asks, submitted_ms, \
         request, record) values (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
    )?;
    insert.execute(params![
        id,
        tenant,
        name,
        kind,
        crate::words::class(job.terms.class),
        job.terms.priority,
        asks,
        job.submitted.0 as i64,
        json(request),
        json(job),
    ])?;
    if let Some(key) = key {
        let mut insert =
            transaction.prepare_cached("insert into keys (tenant, key, job) values (?, ?, ?)")?;
        insert.execute(params![tenant, key, id])?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records are plain data")
}
