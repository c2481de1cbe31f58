//! A client of the pool that waits for each answer: what the command line and tests use.

use std::io::Read;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::request::{JobRequest, LoadRequest, NodeRequest, ResizeRequest, TenantRequest};
use crate::route::{Method, Route};
use crate::view::{
    CardPage, ExplainView, JobPage, JobView, NodeList, NodeView, PoolView, Problem, TenantList,
    TenantView, TokenView,
};

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A pool somewhere.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    address: String,
    token: Option<String>,
}

/// Why there is no answer that helps.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("reach the pool at {address}")]
    Reach {
        /// Where it was thought to be.
        address: String,
        /// What the connection said.
        source: Box<ureq::Error>,
    },
    /// The pool says no.
    #[error("{}", problem.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its reason.
        problem: Problem,
    },
    /// Somebody else answers, or another version.
    #[error("{address} gave an answer that is none of a Cotenant pool: {problem}")]
    Strange {
        /// Where.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A part of a job's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// Bytes as the job printed them.
    pub bytes: Vec<u8>,
    /// Where the next part begins.
    pub next_offset: u64,
    /// Whether the job may print more.
    pub is_open: bool,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this tenant alone.
    pub tenant: Option<String>,
    /// In this state alone.
    pub state: Option<String>,
    /// Older than this one.
    pub before: Option<u64>,
    /// Most of them.
    pub limit: Option<u32>,
}

impl Client {
    /// A client of the pool at an address such as `http://127.0.0.1:7777`.
    pub fn new(address: &str, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WAIT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let address = address.trim_end_matches('/').to_owned();
        Self { agent: config.into(), address, token }
    }

    /// Where the pool is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The pool at a glance.
    pub fn pool(&self) -> Result<PoolView, ClientError> {
        self.json(self.call(Route::Pool, Route::Pool.path(), &[], None::<&()>, None)?)
    }

    /// A page of cards.
    pub fn cards(&self, after: Option<&str>, limit: u32) -> Result<CardPage, ClientError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|after| ("after", after.to_owned())));
        let route = Route::ListCards;
        self.json(self.call(route, route.path(), &query, None::<&()>, None)?)
    }

    /// Submits a job; the same key gives the same job.
    pub fn submit(&self, job: &JobRequest, key: Option<&str>) -> Result<JobView, ClientError> {
        let route = Route::SubmitJob;
        self.json(self.call(route, route.path(), &[], Some(job), key)?)
    }

    /// A page of jobs, the newest first.
    pub fn jobs(&self, filter: &JobFilter) -> Result<JobPage, ClientError> {
        let mut query = Vec::new();
        query.extend(filter.tenant.clone().map(|tenant| ("tenant", tenant)));
        query.extend(filter.state.clone().map(|state| ("state", state)));
        query.extend(filter.before.map(|before| ("before", before.to_string())));
        query.extend(filter.limit.map(|limit| ("limit", limit.to_string())));
        let route = Route::ListJobs;
        self.json(self.call(route, route.path(), &query, None::<&()>, None)?)
    }

    /// One job.
    pub fn job(&self, id: u64) -> Result<JobView, ClientError> {
        let route = Route::ShowJob;
        self.json(self.call(route, &job_path(route, id), &[], None::<&()>, None)?)
    }

    /// Why a job waits.
    pub fn explain(&self, id: u64) -> Result<ExplainView, ClientError> {
        let route = Route::ExplainJob;
        self.json(self.call(route, &job_path(route, id), &[], None::<&()>, None)?)
    }

    /// Ends a job.
    pub fn cancel(&self, id: u64) -> Result<JobView, ClientError> {
        let route = Route::CancelJob;
        self.json(self.call(route, &job_path(route, id), &[], None::<&()>, None)?)
    }

    /// Gives a running job other amounts.
    pub fn resize(&self, id: u64, resize: &ResizeRequest) -> Result<JobView, ClientError> {
        let route = Route::ResizeJob;
        self.json(self.call(route, &job_path(route, id), &[], Some(resize), None)?)
    }

    /// Says how an online job fares.
    pub fn report_load(&self, id: u64, load: &LoadRequest) -> Result<(), ClientError> {
        let route = Route::ReportLoad;
        self.call(route, &job_path(route, id), &[], Some(load), None).map(drop)
    }

    /// Every machine.
    pub fn nodes(&self) -> Result<NodeList, ClientError> {
        let route = Route::ListNodes;
        self.json(self.call(route, route.path(), &[], None::<&()>, None)?)
    }

    /// Keeps new jobs away from a machine, or lets them come.
    pub fn put_node(&self, name: &str, node: &NodeRequest) -> Result<NodeView, ClientError> {
        let route = Route::PutNode;
        self.json(self.call(route, &named_path(route, name), &[], Some(node), None)?)
    }

    /// A part of what a member of a job printed; a negative offset counts from the end.
    pub fn log(
        &self,
        id: u64,
        (stream, member): (&str, u32),
        offset: i64,
    ) -> Result<LogPart, ClientError> {
        let query = [
            ("stream", stream.to_owned()),
            ("member", member.to_string()),
            ("offset", offset.to_string()),
        ];
        let path = job_path(Route::ReadLog, id);
        let mut response = self.call(Route::ReadLog, &path, &query, None::<&()>, None)?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let next_offset = header("x-next-offset").and_then(|text| text.parse().ok());
        let next_offset = next_offset.ok_or_else(|| self.strange("no x-next-offset"))?;
        let is_open = header("x-open").as_deref() == Some("true");
        let bytes = self.bytes(&mut response)?;
        Ok(LogPart { bytes, next_offset, is_open })
    }

    /// Every tenant.
    pub fn tenants(&self) -> Result<TenantList, ClientError> {
        let route = Route::ListTenants;
        self.json(self.call(route, route.path(), &[], None::<&()>, None)?)
    }

    /// Adds a tenant, or changes its quota.
    pub fn put_tenant(
        &self,
        name: &str,
        tenant: &TenantRequest,
    ) -> Result<TenantView, ClientError> {
        let route = Route::PutTenant;
        self.json(self.call(route, &named_path(route, name), &[], Some(tenant), None)?)
    }

    /// Makes a token for a tenant.
    pub fn create_token(&self, name: &str) -> Result<TokenView, ClientError> {
        let route = Route::CreateToken;
        self.json(self.call(route, &named_path(route, name), &[], None::<&()>, None)?)
    }

    /// Ends the daemon.
    pub fn shutdown(&self) -> Result<(), ClientError> {
        let route = Route::Shutdown;
        self.call(route, route.path(), &[], None::<&()>, None).map(drop)
    }

    fn call(
        &self,
        route: Route,
        path: &str,
        query: &[(&str, String)],
        body: Option<&impl Serialize>,
        key: Option<&str>,
    ) -> Result<Response<Body>, ClientError> {
        let url = format!("{}{path}", self.address);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers = [("authorization", bearer.as_deref()), ("idempotency-key", key)];
        let headers = headers.iter().filter_map(|&(name, value)| Some((name, value?)));
        let answered = match route.method() {
            Method::Get => {
                let request = self.agent.get(&url).query_pairs(query.iter().cloned());
                headers.fold(request, |request, (name, value)| request.header(name, value)).call()
            }
            Method::Post | Method::Put => {
                let request = match route.method() {
                    Method::Put => self.agent.put(&url),
                    Method::Post | Method::Get => self.agent.post(&url),
                };
                let request =
                    headers.fold(request, |request, (name, value)| request.header(name, value));
                match body {
                    Some(body) => {
                        let bytes = serde_json::to_vec(body).expect("requests are plain data");
                        request.content_type("application/json").send(bytes)
                    }
                    None => request.send_empty(),
                }
            }
        };
        let reach =
            |error| ClientError::Reach { address: self.address.clone(), source: Box::new(error) };
        let mut response = answered.map_err(reach)?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(response);
        }
        let bytes = self.bytes(&mut response)?;
        match serde_json::from_slice(&bytes) {
            Ok(problem) => Err(ClientError::Refused { status, problem }),
            Err(_) => Err(self.strange(&format!("status {status} without a reason"))),
        }
    }

    fn json<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, ClientError> {
        let bytes = self.bytes(&mut response)?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error.to_string()))
    }

    fn bytes(&self, response: &mut Response<Body>) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        let reader = response.body_mut().as_reader();
        match reader.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.strange(&error.to_string())),
        }
    }

    fn strange(&self, problem: &str) -> ClientError {
        ClientError::Strange { address: self.address.clone(), problem: problem.to_owned() }
    }
}

fn job_path(route: Route, id: u64) -> String {
    route.path().replace("{id}", &id.to_string())
}

/// The path of a tenant's or a machine's route.
fn named_path(route: Route, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let escaped = name.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    route.path().replace("{name}", &escaped.collect::<String>())
}
