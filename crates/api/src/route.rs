//! Every route of the pool, once: the server mounts them, the client calls them, `openapi.json`
//! lists them.

/// One thing that a client can ask of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// The pool at a glance.
    Pool,
    /// A page of cards.
    ListCards,
    /// Takes a job.
    SubmitJob,
    /// A page of jobs.
    ListJobs,
    /// One job.
    ShowJob,
    /// Why a job waits.
    ExplainJob,
    /// A part of what a job printed.
    ReadLog,
    /// Ends a job.
    CancelJob,
    /// Gives a running job other amounts.
    ResizeJob,
    /// Takes in how an online job fares.
    ReportLoad,
    /// Every machine.
    ListNodes,
    /// Keeps new jobs away from a machine, or lets them come.
    PutNode,
    /// Every tenant.
    ListTenants,
    /// Adds a tenant or changes its quota.
    PutTenant,
    /// Makes a token for a tenant.
    CreateToken,
    /// What happens, as it happens.
    Events,
    /// Ends the daemon; jobs that run go on.
    Shutdown,
    /// This contract.
    OpenApi,
    /// Figures for Prometheus.
    Metrics,
}

/// How a route is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or does something.
    Post,
    /// Sets something to what is sent.
    Put,
}

/// Who may call a route when the pool has tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Tenants, each for what is its own.
    Tenant,
    /// The operator alone.
    Operator,
}

/// A value in the query of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// `integer`, `string` or `boolean`.
    pub kind: &'static str,
    /// What it does.
    pub about: &'static str,
}

impl Route {
    /// Every route, in the order of the contract.
    pub const ALL: [Route; 19] = [
        Route::Pool,
        Route::ListCards,
        Route::SubmitJob,
        Route::ListJobs,
        Route::ShowJob,
        Route::ExplainJob,
        Route::ReadLog,
        Route::CancelJob,
        Route::ResizeJob,
        Route::ReportLoad,
        Route::ListNodes,
        Route::PutNode,
        Route::ListTenants,
        Route::PutTenant,
        Route::CreateToken,
        Route::Events,
        Route::Shutdown,
        Route::OpenApi,
        Route::Metrics,
    ];

    /// How it is called.
    pub fn method(self) -> Method {
        match self {
            Route::SubmitJob
            | Route::CancelJob
            | Route::ResizeJob
            | Route::ReportLoad
            | Route::CreateToken
            | Route::Shutdown => Method::Post,
            Route::PutTenant | Route::PutNode => Method::Put,
            Route::Pool
            | Route::ListCards
            | Route::ListJobs
            | Route::ShowJob
            | Route::ExplainJob
            | Route::ReadLog
            | Route::ListNodes
            | Route::ListTenants
            | Route::Events
            | Route::OpenApi
            | Route::Metrics => Method::Get,
        }
    }

    /// Its path; `{id}` is a job's number, `{name}` a tenant's or a machine's name.
    pub fn path(self) -> &'static str {
        match self {
            Route::Pool => "/v1/pool",
            Route::ListCards => "/v1/cards",
            Route::SubmitJob | Route::ListJobs => "/v1/jobs",
            Route::ShowJob => "/v1/jobs/{id}",
            Route::ExplainJob => "/v1/jobs/{id}/explain",
            Route::ReadLog => "/v1/jobs/{id}/log",
            Route::CancelJob => "/v1/jobs/{id}/cancel",
            Route::ResizeJob => "/v1/jobs/{id}/resize",
            Route::ReportLoad => "/v1/jobs/{id}/load",
            Route::ListNodes => "/v1/nodes",
            Route::PutNode => "/v1/nodes/{name}",
            Route::ListTenants => "/v1/tenants",
            Route::PutTenant => "/v1/tenants/{name}",
            Route::CreateToken => "/v1/tenants/{name}/token",
            Route::Events => "/v1/events",
            Route::Shutdown => "/v1/shutdown",
            Route::OpenApi => "/openapi.json",
            Route::Metrics => "/metrics",
        }
    }

    /// What it does, in a sentence without a stop.
    pub fn about(self) -> &'static str {
        match self {
            Route::Pool => "Show the pool at a glance",
            Route::ListCards => "List the cards, who holds them and what they use",
            Route::SubmitJob => {
                "Submit a job; with an Idempotency-Key header, the same key gives the same job"
            }
            Route::ListJobs => "List jobs, the newest first",
            Route::ShowJob => "Show a job",
            Route::ExplainJob => "Say what a waiting job waits for, and what would help",
            Route::ReadLog => "Read a part of what a job printed",
            Route::CancelJob => "End a job; a job that has ended stays as it is",
            Route::ResizeJob => "Give a running job other amounts",
            Route::ReportLoad => "Say how an online job fares; neighbours give back what it lacks",
            Route::ListNodes => "List the machines",
            Route::PutNode => "Keep new jobs away from a machine, or let them come",
            Route::ListTenants => "List tenants with their quota and use",
            Route::PutTenant => "Add a tenant, or change its quota",
            Route::CreateToken => "Make a token for a tenant; those it had stop working",
            Route::Events => "Follow what happens, as server-sent events",
            Route::Shutdown => "End the daemon; jobs that run go on",
            Route::OpenApi => "Show this contract",
            Route::Metrics => "Show figures for Prometheus",
        }
    }

    /// Who may call it.
    pub fn access(self) -> Access {
        match self {
            Route::PutNode
            | Route::PutTenant
            | Route::CreateToken
            | Route::Shutdown
            | Route::Metrics => Access::Operator,
            Route::Pool
            | Route::ListCards
            | Route::SubmitJob
            | Route::ListJobs
            | Route::ShowJob
            | Route::ExplainJob
            | Route::ReadLog
            | Route::CancelJob
            | Route::ResizeJob
            | Route::ReportLoad
            | Route::ListNodes
            | Route::ListTenants
            | Route::Events
            | Route::OpenApi => Access::Tenant,
        }
    }

    /// What its query may hold.
    pub fn parameters(self) -> &'static [Parameter] {
        const fn parameter(
            name: &'static str,
            kind: &'static str,
            about: &'static str,
        ) -> Parameter {
            Parameter { name, kind, about }
        }
        const LIMIT: Parameter = parameter("limit", "integer", "most entries, 1 to 1000");
        const HISTORY: Parameter =
            parameter("history", "boolean", "whether to show use over the last minutes too");
        const USE: [Parameter; 1] = [HISTORY];
        const CARDS: [Parameter; 3] =
            [LIMIT, parameter("after", "string", "the last card of the page before"), HISTORY];
        const JOBS: [Parameter; 4] = [
            LIMIT,
            parameter("before", "integer", "the last job of the page before"),
            parameter("tenant", "string", "jobs of this tenant alone"),
            parameter("state", "string", "jobs in this state alone"),
        ];
        const LOG: [Parameter; 3] = [
            parameter("stream", "string", "stdout or stderr"),
            parameter("member", "integer", "which member of a gang, from 0"),
            parameter("offset", "integer", "byte to begin at; negative: so many before the end"),
        ];
        const EVENTS: [Parameter; 1] =
            [parameter("after", "integer", "the last event that is known; the newest if absent")];
        match self {
            Route::Pool | Route::ShowJob => &USE,
            Route::ListCards => &CARDS,
            Route::ListJobs => &JOBS,
            Route::ReadLog => &LOG,
            Route::Events => &EVENTS,
            Route::SubmitJob
            | Route::ExplainJob
            | Route::CancelJob
            | Route::ResizeJob
            | Route::ReportLoad
            | Route::ListNodes
            | Route::PutNode
            | Route::ListTenants
            | Route::PutTenant
            | Route::CreateToken
            | Route::Shutdown
            | Route::OpenApi
            | Route::Metrics => &[],
        }
    }
}
