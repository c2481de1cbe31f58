//! From what a person wrote to what the pool decides on: every amount exact, every word known.

mod words;

use cotenant_types::{
    Ask, CardShare, Class, Idle, JobTerms, Load, Mebibytes, MemoryAsk, Moment, Policy, Preempt,
    Seconds, Share, Span, TenantName, Watermark,
};
use thiserror::Error;

use crate::amounts::{AmountError, parse_memory, parse_share, split_memory, split_share};
use crate::request::{
    IdleRequest, JobRequest, LoadRequest, PreemptRequest, ResizeRequest, WatermarkRequest,
};
use words::{CLASSES, NEARS, PLACES, POLICIES, SIGNALS, optional, rung, word};

/// Most cards of a member.
pub const CARDS_MAX: u32 = 64;
/// Most members of a gang.
pub const MEMBERS_MAX: u32 = 4096;
const PRIORITY_MAX: i32 = 1000;
const RETRIES_MAX: u32 = 100;
const GRACE_S_DEFAULT: u32 = 30;
const GRACE_S_MAX: u32 = 3600;
const IDLE_AFTER_S_MIN: u32 = 10;
const LATENCY_MS_MAX: u32 = 3_600_000;
const MODELS_MAX: usize = 16;
/// The word for memory that the pool works out.
const AUTO: &str = "auto";
const NAME_CHARS_MAX: usize = 128;
const ARGUMENTS_MAX: usize = 1024;
const ARGUMENTS_BYTES_MAX: usize = 128 << 10;
const ENV_MAX: usize = 256;
const ENV_BYTES_MAX: usize = 64 << 10;

/// A request that makes no job: the key, what is wrong with it, and what to write.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{key}: {problem}")]
pub struct RequestError {
    /// The key of the request.
    pub key: &'static str,
    /// What is wrong, and what to try.
    pub problem: String,
}

/// A checked request: what it runs, and on what terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedJob {
    /// What people call it.
    pub name: String,
    /// When and where it runs.
    pub terms: JobTerms,
}

fn wrong(key: &'static str, problem: impl ToString) -> RequestError {
    RequestError { key, problem: problem.to_string() }
}

impl JobRequest {
    /// The job that is meant: submitted at `now` by whoever may act for `tenant`, if they named
    /// none themselves.
    pub fn resolve(
        &self,
        tenant: Option<&TenantName>,
        now: Moment,
    ) -> Result<ResolvedJob, RequestError> {
        let (tenant, name) = self.owner(tenant)?;
        let priority = self.priority.unwrap_or(0);
        if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&priority) {
            let problem = format!("{priority} is not within -{PRIORITY_MAX} and {PRIORITY_MAX}");
            return Err(wrong("priority", problem));
        }
        let terms = JobTerms {
            tenant,
            ask: self.ask()?,
            class: word("class", &self.class, &CLASSES)?,
            priority,
            time_limit: positive("time_limit_s", self.time_limit_s)?,
            deadline: positive("deadline_s", self.deadline_s)?.map(|wait| now.after(wait)),
            retries: within("retries", self.retries.unwrap_or(0), 0..=RETRIES_MAX)?,
            preempt: self.preempt.as_ref().map(preempt).transpose()?,
            idle: self.idle.as_ref().map(idle).transpose()?,
            watermark: self.watermark.as_ref().map(watermark).transpose()?,
        };
        if terms.class == Class::Offline && terms.watermark.is_some() {
            let problem = "only an online job has one; add class = \"online\", or leave it out";
            return Err(wrong("watermark", problem));
        }
        if terms.class == Class::Online && terms.preempt.is_some() {
            return Err(wrong(
                "preempt",
                "an online job is never stopped for another; leave it out",
            ));
        }
        Ok(ResolvedJob { name, terms })
    }

    /// Who pays for the job, and what people call it; the rest of the request is not looked at.
    pub fn owner(&self, tenant: Option<&TenantName>) -> Result<(TenantName, String), RequestError> {
        let name = self.checked_work()?;
        match (&self.tenant, tenant) {
            (Some(tenant), _) => {
                Ok((tenant.parse().map_err(|error| wrong("tenant", error))?, name))
            }
            (None, Some(tenant)) => Ok((tenant.clone(), name)),
            (None, None) => Err(wrong("tenant", "is missing; name who pays for the job")),
        }
    }

    /// Whether the pool is to find out how much memory the job needs.
    pub fn wants_auto_memory(&self) -> bool {
        self.memory.as_deref() == Some(AUTO)
    }

    /// What the job is foretold to take on each card, if anything is.
    pub fn foretold(&self) -> Result<Option<Mebibytes>, RequestError> {
        self.estimate.as_deref().map(|text| plain_memory("estimate", text)).transpose()
    }

    /// The same request, to which so much memory is kept on each card; none if nobody knows how
    /// much it needs.
    pub fn with_memory(mut self, expected: Option<Mebibytes>) -> Result<Self, RequestError> {
        let unknown = || {
            let problem = "auto needs an estimate, or an earlier run of the same name; give for \
                           example estimate = \"2GiB\"";
            wrong("memory", problem)
        };
        self.memory = Some(expected.ok_or_else(unknown)?.to_string());
        Ok(self)
    }

    /// Checks what is run; gives the job's name.
    fn checked_work(&self) -> Result<String, RequestError> {
        let program = match (self.command.first(), &self.train) {
            (Some(program), None) => program,
            (None, Some(workspace)) => workspace,
            (None, None) => return Err(wrong("command", "is missing; give a program to run")),
            (Some(_), Some(_)) => {
                return Err(wrong("train", "stands beside 'command'; give one of the two"));
            }
        };
        let bytes: usize = self.command.iter().map(String::len).sum();
        if self.command.len() > ARGUMENTS_MAX || bytes > ARGUMENTS_BYTES_MAX {
            let problem = format!(
                "has more than {ARGUMENTS_MAX} arguments or {ARGUMENTS_BYTES_MAX} bytes; put \
                 them into a file"
            );
            return Err(wrong("command", problem));
        }
        let has_nul = |text: &String| text.contains('\0');
        if program.is_empty() || self.command.iter().any(has_nul) || has_nul(program) {
            return Err(wrong("command", "is empty or has a NUL character"));
        }
        if self.folder.as_ref().is_some_and(|folder| !folder.starts_with('/') || has_nul(folder)) {
            return Err(wrong("folder", "is not an absolute path"));
        }
        self.check_env()?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let last = program.rsplit('/').next().unwrap_or(program);
                last.chars().filter(|letter| !letter.is_control()).take(NAME_CHARS_MAX).collect()
            }
        };
        let chars = name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&chars) || name.chars().any(char::is_control) {
            let problem = format!("is not 1 to {NAME_CHARS_MAX} printable characters");
            return Err(wrong("name", problem));
        }
        Ok(name)
    }

    fn check_env(&self) -> Result<(), RequestError> {
        let bytes: usize = self.env.iter().map(|(key, value)| key.len() + value.len()).sum();
        if self.env.len() > ENV_MAX || bytes > ENV_BYTES_MAX {
            let problem = format!("has more than {ENV_MAX} names or {ENV_BYTES_MAX} bytes");
            return Err(wrong("env", problem));
        }
        let is_name = |key: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !key.is_empty() && key.bytes().all(plain) && !key.as_bytes()[0].is_ascii_digit()
        };
        match self.env.iter().find(|(key, value)| !is_name(key) || value.contains('\0')) {
            Some((key, _)) => {
                let problem =
                    format!("{key:?} is no name of a variable, or its value has a NUL character");
                Err(wrong("env", problem))
            }
            None => Ok(()),
        }
    }

    fn ask(&self) -> Result<Ask, RequestError> {
        let cards = within("cards", self.cards.unwrap_or(1), 1..=CARDS_MAX)?;
        let policy = word("policy", &self.policy, &POLICIES)?;
        if self.models.len() > MODELS_MAX || self.models.iter().any(|model| model.is_empty()) {
            let problem = format!("has more than {MODELS_MAX} names, or an empty one");
            return Err(wrong("models", problem));
        }
        Ok(Ask {
            members: within("members", self.members.unwrap_or(1), 1..=MEMBERS_MAX)?,
            cards,
            share: self.share(cards, policy)?,
            policy,
            place: word("place", &self.place, &PLACES)?,
            same: optional("same", &self.same, &NEARS)?,
            prefer: optional("prefer", &self.prefer, &NEARS)?,
            foretold: self.foretold()?,
            models: self.models.clone(),
            rung_min: self.enforced_by.as_ref().map(|name| rung(name)).transpose()?,
        })
    }

    /// A part of a card, if any amount is given, else the whole.
    fn share(&self, cards: u32, policy: Policy) -> Result<CardShare, RequestError> {
        if self.wants_auto_memory() {
            let problem = "auto is for a pool to work out; give an amount here";
            return Err(wrong("memory", problem));
        }
        let memory = match (&self.memory, &self.memory_total) {
            (Some(_), Some(_)) => {
                return Err(wrong("memory_total", "stands beside 'memory'; give one of the two"));
            }
            (Some(text), None) => Some(amount("memory", parse_memory(text))?),
            (None, Some(text)) => Some(amount("memory_total", split_memory(text, cards))?),
            (None, None) => None,
        };
        let compute = match (&self.compute, &self.compute_total) {
            (Some(_), Some(_)) => {
                return Err(wrong("compute_total", "stands beside 'compute'; give one of the two"));
            }
            (Some(text), None) => Some(amount("compute", parse_share(text))?),
            (None, Some(text)) => Some(amount("compute_total", split_share(text, cards))?),
            (None, None) => None,
        };
        let (memory, compute) = match (memory, compute) {
            (None, None) => {
                let limits =
                    [("memory_limit", &self.memory_limit), ("compute_limit", &self.compute_limit)];
                return match limits.iter().find(|(_, limit)| limit.is_some()) {
                    Some((key, _)) => {
                        Err(wrong(key, "needs a request beside it; give 'memory' and 'compute'"))
                    }
                    None => Ok(CardShare::Whole),
                };
            }
            (Some(memory), Some(compute)) => (memory, compute),
            // Who names one amount means as much of the other: a quarter of the memory, a quarter
            // of the time. In MiB there is no such part, so the compute must be said.
            (Some(MemoryAsk::Part(share)), None) => (MemoryAsk::Part(share), share),
            (Some(MemoryAsk::Mib(_)), None) => {
                return Err(wrong("compute", "is missing beside 'memory'; write for example 25%"));
            }
            (None, Some(share)) => (MemoryAsk::Part(share), share),
        };
        let memory = memory_span(memory, &self.memory_limit)?;
        check_estimate(memory.limit, self.foretold()?)?;
        let compute = compute_span(compute, &self.compute_limit, policy)?;
        Ok(CardShare::Part { memory, compute })
    }
}

impl ResizeRequest {
    /// The same ask with the new amounts.
    pub fn apply(&self, ask: &Ask) -> Result<Ask, RequestError> {
        let CardShare::Part { memory, compute } = ask.share else {
            return Err(wrong("compute", "a job that has whole cards has nothing to resize"));
        };
        let request = match &self.memory {
            Some(text) => amount("memory", parse_memory(text))?,
            None => memory.request,
        };
        let memory = match (&self.memory, &self.memory_limit) {
            (None, None) => memory,
            (_, Some(_)) => memory_span(request, &self.memory_limit)?,
            (Some(_), None) if memory.limit == memory.request => Span { request, limit: request },
            (Some(_), None) => checked_memory(request, memory.limit)?,
        };
        let request = match &self.compute {
            Some(text) => amount("compute", parse_share(text))?,
            None => compute.request,
        };
        let compute = match (&self.compute, &self.compute_limit) {
            (None, None) => compute,
            (_, Some(_)) => compute_span(request, &self.compute_limit, ask.policy)?,
            (Some(_), None) if compute.limit == compute.request => Span { request, limit: request },
            (Some(_), None) => Span { request, limit: compute.limit.max(request) },
        };
        Ok(Ask { share: CardShare::Part { memory, compute }, ..ask.clone() })
    }
}

/// A job that may not reach what it is foretold to take would be ended by its limit.
fn check_estimate(limit: MemoryAsk, foretold: Option<Mebibytes>) -> Result<(), RequestError> {
    match (limit, foretold) {
        (MemoryAsk::Mib(limit), Some(foretold)) if limit < foretold => {
            let problem = format!(
                "{foretold} is more than the {limit} that it may reach; raise 'memory', or give \
                 memory = \"auto\""
            );
            Err(wrong("estimate", problem))
        }
        (MemoryAsk::Mib(_) | MemoryAsk::Part(_), _) => Ok(()),
    }
}

fn memory_span(
    request: MemoryAsk,
    limit: &Option<String>,
) -> Result<Span<MemoryAsk>, RequestError> {
    match limit {
        None => Ok(Span { request, limit: request }),
        Some(text) => checked_memory(request, amount("memory_limit", parse_memory(text))?),
    }
}

fn checked_memory(request: MemoryAsk, limit: MemoryAsk) -> Result<Span<MemoryAsk>, RequestError> {
    let is_less = match (request, limit) {
        (MemoryAsk::Mib(request), MemoryAsk::Mib(limit)) => limit < request,
        (MemoryAsk::Part(request), MemoryAsk::Part(limit)) => limit < request,
        _ => {
            let problem = "mixes MiB and per cent; give request and limit in the same unit";
            return Err(wrong("memory_limit", problem));
        }
    };
    if is_less {
        return Err(wrong("memory_limit", "is less than what is kept for the job"));
    }
    Ok(Span { request, limit })
}

fn compute_span(
    request: Share,
    limit: &Option<String>,
    policy: Policy,
) -> Result<Span<Share>, RequestError> {
    let limit = match (limit, policy) {
        (Some(text), _) => amount("compute_limit", parse_share(text))?,
        (None, Policy::Fixed) => request,
        (None, Policy::Burst | Policy::Contend) => Share::WHOLE,
    };
    if limit < request {
        return Err(wrong("compute_limit", "is less than what is kept for the job"));
    }
    Ok(Span { request, limit })
}

fn amount<T>(key: &'static str, parsed: Result<T, AmountError>) -> Result<T, RequestError> {
    parsed.map_err(|error| wrong(key, error))
}

fn preempt(request: &PreemptRequest) -> Result<Preempt, RequestError> {
    let signal = word("preempt.signal", &request.signal, &SIGNALS)?;
    let grace = request.grace_s.unwrap_or(GRACE_S_DEFAULT);
    Ok(Preempt { signal, grace: Seconds(within("preempt.grace_s", grace, 0..=GRACE_S_MAX)?) })
}

fn idle(request: &IdleRequest) -> Result<Idle, RequestError> {
    let after = within("idle.after_s", request.after_s, IDLE_AFTER_S_MIN..=u32::MAX)?;
    Ok(Idle { after: Seconds(after), notice: Seconds(request.notice_s) })
}

fn watermark(request: &WatermarkRequest) -> Result<Watermark, RequestError> {
    let latency_ms = request
        .latency_ms
        .map(|latency| within("watermark.latency_ms", latency, 1..=LATENCY_MS_MAX))
        .transpose()?;
    let usage = request.usage.as_deref();
    let usage = usage.map(|text| amount("watermark.usage", parse_share(text))).transpose()?;
    if latency_ms.is_none() && usage.is_none() {
        return Err(wrong("watermark", "is empty; give latency_ms, usage, or both"));
    }
    Ok(Watermark { latency_ms, usage })
}

impl LoadRequest {
    /// What is meant; a use of nothing is fine.
    pub fn resolve(&self) -> Result<Load, RequestError> {
        let usage = self.usage.as_deref();
        let usage = usage.map(|text| text.parse().map_err(|error| wrong("usage", error)));
        let load = Load { latency_ms: self.latency_ms, usage: usage.transpose()? };
        match load == Load::default() {
            true => Err(wrong("latency_ms", "is missing; give it, usage, or both")),
            false => Ok(load),
        }
    }
}

fn positive(key: &'static str, seconds: Option<u32>) -> Result<Option<Seconds>, RequestError> {
    seconds.map(|seconds| within(key, seconds, 1..=u32::MAX).map(Seconds)).transpose()
}

fn within(
    key: &'static str,
    value: u32,
    range: std::ops::RangeInclusive<u32>,
) -> Result<u32, RequestError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(wrong(key, format!("{value} is not within {} and {}", range.start(), range.end())))
}

/// Memory of a limit that is no part of a card, as quotas give it.
pub(crate) fn plain_memory(key: &'static str, text: &str) -> Result<Mebibytes, RequestError> {
    text.parse().map_err(|error| wrong(key, error))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::parse_job;

    fn check(toml: &str, expected: Expect) {
        let request = parse_job(toml).unwrap();
        let text = match request.resolve(Some(&"law".parse().unwrap()), Moment(1_000)) {
            Ok(job) => {
                let share = match &job.terms.ask.share {
                    CardShare::Whole => "whole".to_owned(),
                    CardShare::Part { memory, compute } => format!(
                        "{:?}..{:?}, {}..{}",
                        memory.request, memory.limit, compute.request, compute.limit
                    ),
                };
                format!("{}, {}: {} x {share}", job.terms.tenant, job.name, job.terms.ask.cards)
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn amounts_are_made_exact() {
        check("command = ['/bin/x']", expect!["law, x: 1 x whole"]);
        check(
            "command = ['x']\ncards = 3\nmemory_total = '18GiB'\ncompute_total = '240%'",
            expect!["law, x: 3 x Mib(Mebibytes(6144))..Mib(Mebibytes(6144)), 80%..80%"],
        );
        check(
            "command = ['x']\nmemory = '25%'\npolicy = 'burst'",
            expect!["law, x: 1 x Part(Share(250))..Part(Share(250)), 25%..100%"],
        );
        check(
            "command = ['x']\nmemory = '1GiB'\nmemory_limit = '2GiB'\ncompute = '10%'",
            expect!["law, x: 1 x Mib(Mebibytes(1024))..Mib(Mebibytes(2048)), 10%..10%"],
        );
        check("train = '/w/law.toml'\ntenant = 'a'", expect!["a, law.toml: 1 x whole"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        check("", expect!["command: is missing; give a program to run"]);
        check(
            "command = ['x']\ntrain = 'y'",
            expect!["train: stands beside 'command'; give one of the two"],
        );
        check(
            "command = ['x']\nmemory = '1GiB'",
            expect!["compute: is missing beside 'memory'; write for example 25%"],
        );
        check(
            "command = ['x']\nmemory = '2GiB'\nmemory_limit = '1GiB'\ncompute = '1%'",
            expect!["memory_limit: is less than what is kept for the job"],
        );
        check(
            "command = ['x']\npolicy = 'bursty'",
            expect![[
                r#"policy: "bursty" is not one of fixed, burst, contend; did you mean burst?"#
            ]],
        );
        check(
            "command = ['x']\nclass = 'online'\npreempt = {}",
            expect!["preempt: an online job is never stopped for another; leave it out"],
        );
        check("command = ['x']\ncards = 0", expect!["cards: 0 is not within 1 and 64"]);
        check(
            "command = ['x']\nenv = { 'A=B' = 'c' }",
            expect![[r#"env: "A=B" is no name of a variable, or its value has a NUL character"#]],
        );
        check("command = ['x']\nfolder = 'here'", expect!["folder: is not an absolute path"]);
        check(
            "command = ['x']\nmemory_limit = '1GiB'",
            expect!["memory_limit: needs a request beside it; give 'memory' and 'compute'"],
        );
    }

    #[test]
    fn what_is_foretold_must_be_within_reach() {
        check(
            "command = ['x']\nmemory = '1GiB'\nmemory_limit = '2GiB'\ncompute = '9%'\nestimate = '2GiB'",
            expect!["law, x: 1 x Mib(Mebibytes(1024))..Mib(Mebibytes(2048)), 9%..9%"],
        );
        check(
            "command = ['x']\nmemory = '1GiB'\ncompute = '9%'\nestimate = '2GiB'",
            expect![[
                r#"estimate: 2048MiB is more than the 1024MiB that it may reach; raise 'memory', or give memory = "auto""#
            ]],
        );
        check(
            "command = ['x']\nmemory = 'auto'\ncompute = '9%'",
            expect!["memory: auto is for a pool to work out; give an amount here"],
        );
        check(
            "command = ['x']\nestimate = '9%'",
            expect![[
                r#"estimate: "9%" does not end in a unit; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB"#
            ]],
        );
        let auto = parse_job("command = ['x']\nmemory = 'auto'\ncompute = '9%'").unwrap();
        assert!(auto.wants_auto_memory());
        let known = auto.clone().with_memory(Some(Mebibytes(100))).unwrap();
        assert_eq!(known.memory.as_deref(), Some("100MiB"));
        assert!(auto.with_memory(None).unwrap_err().to_string().contains("estimate"));
    }

    #[test]
    fn only_an_online_job_has_marks() {
        check(
            "command = ['x']\nwatermark = { latency_ms = 50 }",
            expect![[
                r#"watermark: only an online job has one; add class = "online", or leave it out"#
            ]],
        );
        check(
            "command = ['x']\nclass = 'online'\nwatermark = {}",
            expect!["watermark: is empty; give latency_ms, usage, or both"],
        );
        check(
            "command = ['x']\nclass = 'online'\nwatermark = { usage = '90%' }",
            expect!["law, x: 1 x whole"],
        );
        let load =
            |usage: Option<&str>| LoadRequest { latency_ms: None, usage: usage.map(str::to_owned) };
        assert!(load(Some("0%")).resolve().is_ok());
        assert!(load(None).resolve().is_err());
    }

    #[test]
    fn a_resize_changes_what_it_names_alone() {
        let request = parse_job("command = ['x']\nmemory = '1GiB'\ncompute = '10%'").unwrap();
        let ask = request.resolve(Some(&"a".parse().unwrap()), Moment(0)).unwrap().terms.ask;
        let resize = ResizeRequest { compute: Some("20%".to_owned()), ..Default::default() };
        let CardShare::Part { memory, compute } = resize.apply(&ask).unwrap().share else {
            panic!("it had a part");
        };
        assert_eq!(memory.limit, MemoryAsk::Mib(Mebibytes(1024)));
        assert_eq!(compute.request, compute.limit);
        assert_eq!(compute.limit.per_mille(), 200);
    }
}
