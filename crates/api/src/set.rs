//! Files of many jobs: what advice and simulations are asked about.
//!
//! ```toml
//! [[job]]                  # the keys of a job file, and beside them:
//! name = "search"          # a job of a set need not say what it runs, if it has a name
//! class = "online"
//! memory = "22GiB"
//! compute = "30%"
//! copies = 4               # so many like it run at a time; default 1
//! busy = "40%"             # how much of its time it computes, if somebody knows
//! trusted = false          # it may try to reach what is not its own; default true
//! start_s = 3600           # a simulation only: when the first may come; default 0
//! every_s = 600            # the mean time between two of each copy; default: each copy is one job
//! runs_s = 3600            # how long they run on average; default: for ever
//! runs_vary = false        # all of them run equally long; default true
//! ```

use std::fmt;

use cotenant_types::{Moment, Share, TenantName};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use toml::Spanned;

use crate::file::{FILE_BYTES_MAX, FileError, with_guess};
use crate::request::JobRequest;
use crate::resolve::{RequestError, ResolvedJob};
use crate::timing::{Timing, TimingKeys};

/// Most slices that all copies and members of a set's jobs ask for together.
pub const SET_SLICES_MAX: u64 = 4096;

/// Whom a job of a set belongs to if it does not say.
const TENANT: &str = "default";

/// A checked job of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetJob {
    /// The job.
    pub job: ResolvedJob,
    /// How many like it run at a time; at least 1.
    pub copies: u32,
    /// How much of its time it computes, if somebody knows.
    pub busy: Option<Share>,
    /// Whether its code is known to mean well.
    pub trusted: bool,
    /// When jobs like it come in, and how long they run: what a simulation wants to know.
    pub timing: Timing,
}

/// Why a text is no set of jobs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetError {
    /// Not TOML, a key that nobody knows, or too much of it.
    #[error(transparent)]
    File(#[from] FileError),
    /// No job at all.
    #[error("has no job; write a table [[job]] for each")]
    Empty,
    /// A job that makes none.
    #[error("line {line}: {source}")]
    Job {
        /// Where the job begins.
        line: usize,
        /// What is wrong with it.
        source: RequestError,
    },
    /// More than can be looked at.
    #[error("asks for {0} slices, counting copies, members and cards; at most {SET_SLICES_MAX}")]
    TooMany(u64),
}

/// The keys that only a set has.
const OURS: [&str; 7] = ["copies", "busy", "trusted", "start_s", "every_s", "runs_s", "runs_vary"];

/// Reads a file of jobs; an unknown key is refused with a guess.
pub fn parse_jobs(text: &str) -> Result<Vec<SetJob>, SetError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge(text.len()).into());
    }
    let file: File =
        toml::from_str(text).map_err(|error| FileError::Form(with_guess(&error, &OURS)))?;
    let resolved = file.job.into_iter().map(|entry| {
        let line = 1 + text[..entry.span().start].matches('\n').count();
        entry.into_inner().resolve().map_err(|source| SetError::Job { line, source })
    });
    let jobs: Vec<SetJob> = resolved.collect::<Result<_, _>>()?;
    let slices = |job: &SetJob| {
        let ask = &job.job.terms.ask;
        u64::from(job.copies) * u64::from(ask.members) * u64::from(ask.cards)
    };
    match jobs.iter().map(slices).fold(0, u64::saturating_add) {
        0 => Err(SetError::Empty),
        1..=SET_SLICES_MAX => Ok(jobs),
        many => Err(SetError::TooMany(many)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    job: Vec<Spanned<Entry>>,
}

/// A job's own keys, and those that only a set has.
#[derive(Default)]
struct Entry {
    request: JobRequest,
    copies: Option<u32>,
    busy: Option<String>,
    trusted: Option<bool>,
    timing: TimingKeys,
}

impl Entry {
    fn resolve(mut self) -> Result<SetJob, RequestError> {
        let wrong = |key, problem: String| RequestError { key, problem };
        if self.request.command.is_empty() && self.request.train.is_none() {
            let name = self.request.name.clone();
            let missing = "is missing; name the job, or say what it runs".to_owned();
            self.request.command = vec![name.ok_or_else(|| wrong("name", missing))?];
        }
        // Nothing is run, so that it does not matter where.
        self.request.folder = None;
        let tenant: TenantName = TENANT.parse().expect("a plain word is a name");
        let copies = self.copies.unwrap_or(1);
        if !(1..=SET_SLICES_MAX).contains(&u64::from(copies)) {
            return Err(wrong("copies", format!("{copies} is not within 1 and {SET_SLICES_MAX}")));
        }
        let busy = self.busy.as_deref().map(str::parse).transpose();
        Ok(SetJob {
            job: self.request.resolve(Some(&tenant), Moment(0))?,
            copies,
            busy: busy.map_err(|error: cotenant_types::ParseShareError| {
                wrong("busy", error.to_string())
            })?,
            trusted: self.trusted.unwrap_or(true),
            timing: self.timing.resolve()?,
        })
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Entry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table with the keys of a job")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let mut entry = Entry::default();
                let theirs = Theirs { map, entry: &mut entry };
                let request = JobRequest::deserialize(MapAccessDeserializer::new(theirs))?;
                Ok(Entry { request, ..entry })
            }
        }
        deserializer.deserialize_map(Table)
    }
}

/// What is left of a table when the keys of the set are taken out on the way, so that one parser
/// reads jobs, here and in files of their own, and an error still has its place.
struct Theirs<'a, A> {
    map: A,
    entry: &'a mut Entry,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Theirs<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        mut seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(Key(seed))? {
                None => return Ok(None),
                Some(Found::Theirs(key)) => return Ok(Some(key)),
                Some(Found::Ours(key, back)) => {
                    seed = back;
                    self.take(key)?;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>> Theirs<'_, A> {
    /// Reads the value of a key that only a set has.
    fn take(&mut self, key: Ours) -> Result<(), A::Error> {
        let Self { map, entry } = self;
        match key {
            Ours::Copies => entry.copies = Some(map.next_value()?),
            Ours::Busy => entry.busy = Some(map.next_value()?),
            Ours::Trusted => entry.trusted = Some(map.next_value()?),
            Ours::StartS => entry.timing.start_s = Some(map.next_value()?),
            Ours::EveryS => entry.timing.every_s = Some(map.next_value()?),
            Ours::RunsS => entry.timing.runs_s = Some(map.next_value()?),
            Ours::RunsVary => entry.timing.runs_vary = Some(map.next_value()?),
        }
        Ok(())
    }
}

/// A key that only a set has.
enum Ours {
    Copies,
    Busy,
    Trusted,
    StartS,
    EveryS,
    RunsS,
    RunsVary,
}

/// Whose a key is; what waits for one of the job's own goes back if it is not.
enum Found<K, V> {
    Ours(Ours, K),
    Theirs(V),
}

/// Reads a key.
struct Key<K>(K);

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<K> {
    type Value = Found<K, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        let ours = match key.as_str() {
            "copies" => Ours::Copies,
            "busy" => Ours::Busy,
            "trusted" => Ours::Trusted,
            "start_s" => Ours::StartS,
            "every_s" => Ours::EveryS,
            "runs_s" => Ours::RunsS,
            "runs_vary" => Ours::RunsVary,
            _ => return self.0.deserialize(key.into_deserializer()).map(Found::Theirs),
        };
        Ok(Found::Ours(ours, self.0))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::proptest;

    use super::*;

    fn check(text: &str, expected: Expect) {
        let line = |job: &SetJob| {
            let busy = job.busy.map_or(String::new(), |busy| format!(", {busy} busy"));
            let (name, class) = (&job.job.name, job.job.terms.class);
            let Timing { start, every, runs, is_steady } = job.timing;
            let every = every.map_or(String::new(), |every| format!(", every {every}"));
            let vary = if is_steady { "exactly" } else { "about" };
            let runs = runs.map_or(String::new(), |runs| format!(" for {vary} {runs}"));
            let timing = match job.timing == Timing::default() {
                true => String::new(),
                false => format!(", from {start}{every}{runs}"),
            };
            format!("{} x {name} {class:?}, trusted {}{busy}{timing}\n", job.copies, job.trusted)
        };
        // The keys of a job are listed elsewhere.
        let short = |line: &str| line.split(", expected one of").next().unwrap_or("").to_owned();
        expected.assert_eq(&match parse_jobs(text) {
            Ok(jobs) => jobs.iter().map(line).collect(),
            Err(error) => {
                error.to_string().lines().map(short).map(|line| line + "\n").collect::<String>()
            }
        });
    }

    #[test]
    fn jobs_are_read_with_what_only_a_set_says() {
        check(
            "[[job]]\nname = 'search'\nclass = 'online'\ncopies = 4\nbusy = '12.5%'\n\
             memory = '6GiB'\ncompute = '30%'\n\
             [[job]]\ntrusted = false\ncommand = ['/bin/x']\nfolder = 'here'\npreempt = {}\n\
             [[job]]\nname = 'tune'\ntrain = 'w.toml'\n",
            expect![[r#"
                4 x search Online, trusted true, 12.5% busy
                1 x x Offline, trusted false
                1 x tune Offline, trusted true
            "#]],
        );
    }

    #[test]
    fn times_are_read_as_they_belong_together() {
        check(
            "[[job]]\nname = 'a'\nevery_s = 600\nruns_s = 3600\nstart_s = 60\n\
             [[job]]\nname = 'b'\nruns_s = 60\nruns_vary = false\n\
             [[job]]\nname = 'c'\nstart_s = 5\nruns_s = 31536000\nruns_vary = true\n",
            expect![[r#"
                1 x a Offline, trusted true, from 1m, every 10m for about 1h
                1 x b Offline, trusted true, from 0s for exactly 1m
                1 x c Offline, trusted true, from 5s for about 365d
            "#]],
        );
        let job = |keys: &str| format!("[[job]]\nname = 'a'\n{keys}\n");
        check(
            &job("every_s = 600"),
            expect![[r#"
            line 1: every_s: needs 'runs_s' beside it: jobs that never end fill any pool
        "#]],
        );
        check(
            &job("runs_vary = true"),
            expect![[r#"
            line 1: runs_vary: needs 'runs_s' beside it: it says how that time varies
        "#]],
        );
        check(
            &job("every_s = 0\nruns_s = 1"),
            expect![[r#"
            line 1: every_s: 0 is not within 1 and 31536000
        "#]],
        );
        check(
            &job("runs_s = 0"),
            expect![[r#"
            line 1: runs_s: 0 is not within 1 and 31536000
        "#]],
        );
        check(
            &job("start_s = 31536001"),
            expect![[r#"
            line 1: start_s: 31536001 is not within 0 and 31536000
        "#]],
        );
        check(
            &job("start_s = -1"),
            expect![[r#"
            TOML parse error at line 3, column 11
              |
            3 | start_s = -1
              |           ^^
            invalid value: integer `-1`, expected u32
        "#]],
        );
        check(
            &job("evry_s = 600"),
            expect![[r#"
            TOML parse error at line 3, column 1
              |
            3 | evry_s = 600
              | ^^^^^^
            unknown field `evry_s`
            did you mean `every_s`?
        "#]],
        );
    }

    #[test]
    fn what_makes_no_set_is_refused_with_its_line() {
        check(
            "",
            expect![[r#"
            has no job; write a table [[job]] for each
        "#]],
        );
        check(
            "[[jobs]]\n",
            expect![[r#"
            TOML parse error at line 1, column 3
              |
            1 | [[jobs]]
              |   ^^^^
            unknown field `jobs`, expected `job`
            did you mean `job`?
        "#]],
        );
        check(
            "[[job]]\nname = 'a'\n\n[[job]]\nbuzy = '3%'\n",
            expect![[r#"
                TOML parse error at line 5, column 1
                  |
                5 | buzy = '3%'
                  | ^^^^
                unknown field `buzy`
                did you mean `busy`?
            "#]],
        );
        check(
            "[[job]]\nmemmory = '3GiB'\n",
            expect![[r#"
                TOML parse error at line 2, column 1
                  |
                2 | memmory = '3GiB'
                  | ^^^^^^^
                unknown field `memmory`
                did you mean `memory`?
            "#]],
        );
        check(
            "[[job]]\nname = 'a'\ncopies = 'two'\n",
            expect![[r#"
            TOML parse error at line 3, column 10
              |
            3 | copies = 'two'
              |          ^^^^^
            invalid type: string "two", expected u32
        "#]],
        );
        check(
            "[[job]]\nname = 'a'\n\n[[job]]\nname = 'b'\nmemory = '1GiB'\n",
            expect![[r#"
            line 4: compute: is missing beside 'memory'; write for example 25%
        "#]],
        );
        check(
            "[[job]]\nmemory = '25%'\n",
            expect![[r#"
            line 1: name: is missing; name the job, or say what it runs
        "#]],
        );
        check(
            "[[job]]\nname = 'a'\ncopies = 0\n",
            expect![[r#"
            line 1: copies: 0 is not within 1 and 4096
        "#]],
        );
        check(
            "[[job]]\nname = 'a'\nbusy = '200%'\n",
            expect![[r#"
            line 1: busy: 200% is more than the whole; a share is at most 100% (1000‰)
        "#]],
        );
        check(
            "[[job]]\nname = 'a'\ncopies = 4000\ncards = 2\n",
            expect![[r#"
            asks for 8000 slices, counting copies, members and cards; at most 4096
        "#]],
        );
        check(
            "job = 3\n",
            expect![[r#"
            TOML parse error at line 1, column 7
              |
            1 | job = 3
              |       ^
            invalid type: integer `3`, expected a sequence
        "#]],
        );
        check(
            "job = [3]\n",
            expect![[r#"
            TOML parse error at line 1, column 8
              |
            1 | job = [3]
              |        ^
            invalid type: integer `3`, expected a table with the keys of a job
        "#]],
        );
        let long = " ".repeat(FILE_BYTES_MAX + 1);
        check(
            &long,
            expect![[r#"
            has 1048577 bytes, more than 1048576
        "#]],
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in "(\\[\\[job\\]\\]\n(name|copies|busy|trusted|cards|every_s|runs_s|.{0,4}) = ('.{0,4}'|[0-9]{1,20}|true)\n){0,4}.{0,20}",
        ) {
            let _ = parse_jobs(&text);
        }
    }
}
