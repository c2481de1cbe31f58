//! The server: mounts every route of the contract, and the dashboard beside them.

mod auth;
mod cards;
mod dashboard;
mod events;
mod jobs;
mod logs;
mod metrics;
mod nodes;
mod problem;
mod shared;
mod tenants;
mod views;

use std::future::Future;

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post, put};
use axum::{Json, Router, middleware};
use cotenant_api::Route;
use tokio::net::TcpListener;

pub(crate) use auth::{OPERATOR, is_open_to_others};
pub(crate) use metrics::EventCounts;
pub use metrics::{MetricNames, ParseMetricNamesError};
pub(crate) use shared::{Inner, Shared};

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Answers requests until `ended`.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Shared,
    ended: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let mut router = Router::new();
    for route in Route::ALL {
        router = router.route(route.path(), handler(route));
    }
    let router = router
        .merge(dashboard::router())
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(middleware::from_fn_with_state(shared.clone(), auth::check))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared);
    axum::serve(listener, router).with_graceful_shutdown(ended).await
}

/// What answers a route.
fn handler(route: Route) -> MethodRouter<Shared> {
    match route {
        Route::Pool => get(cards::pool),
        Route::ListCards => get(cards::list),
        Route::SubmitJob => post(jobs::submit),
        Route::ListJobs => get(jobs::list),
        Route::ShowJob => get(jobs::show),
        Route::ExplainJob => get(jobs::explain),
        Route::ReadLog => get(logs::read),
        Route::CancelJob => post(jobs::cancel),
        Route::ResizeJob => post(jobs::resize),
        Route::ReportLoad => post(jobs::report_load),
        Route::ListNodes => get(nodes::list),
        Route::PutNode => put(nodes::set),
        Route::ListTenants => get(tenants::list),
        Route::PutTenant => put(tenants::set),
        Route::CreateToken => post(tenants::create_token),
        Route::Events => get(events::follow),
        Route::Shutdown => post(cards::shutdown),
        Route::OpenApi => get(async || Json(cotenant_api::openapi())),
        Route::Metrics => get(metrics::show),
    }
}
