//! The HTTP contract of the pool: what goes over the wire, where, and a client for it.
//!
//! The crate knows neither the server nor what stands behind it. Begin with [`Route`], which lists
//! all that can be asked; then [`JobRequest`], which is also the form of a job file.
//!
//! # Invariants
//! - Each route and each wire type is defined once; server, client and `openapi.json` share them.
//! - A request that resolves has exact amounts: what is shown of a job is what it gets.
//! - Keys that nobody knows are refused.

mod amounts;
mod client;
mod file;
mod openapi;
mod quota;
mod request;
mod resolve;
mod route;
mod set;
mod timing;
mod view;

pub use amounts::AmountError;
pub use client::{Client, ClientError, JobFilter, LogPart};
pub use file::{FileError, parse_job};
pub use openapi::openapi;
pub use request::{
    IdleRequest, JobRequest, LoadRequest, NodeRequest, PreemptRequest, ResizeRequest,
    TenantRequest, WatermarkRequest,
};
pub use resolve::{CARDS_MAX, MEMBERS_MAX, RequestError, ResolvedJob};
pub use route::{Access, Method, Parameter, Route};
pub use set::{SET_SLICES_MAX, SetError, SetJob, parse_jobs};
pub use timing::Timing;
pub use view::{
    AmountView, CardPage, CardView, EventView, ExplainView, JobPage, JobRow, JobState, JobView,
    MemberView, NodeList, NodeView, PoolView, Problem, ReasonView, SavingsView, SliceView,
    TenantList, TenantView, TokenView, UseView,
};
