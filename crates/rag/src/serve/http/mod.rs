//! The server: mounts every route of the contract.

mod about;
mod body;
mod documents;
mod fault;
mod gate;
mod loading;
mod openai;
mod openapi;
mod rerank;
mod route;
mod search;
mod shared;
mod tei;
mod texts;
mod wire;

use std::future::{Future, IntoFuture};
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use openapi::openapi;
pub(super) use shared::{BASE, Inner, Shared};

use fault::{Fault, Kind};
use route::Route;

/// How long requests that are under way may take once the server is told to end.
const END_WAIT: Duration = Duration::from_secs(30);

/// Answers requests until it is told to end, and those under way then.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Shared,
    mut ending: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut late = ending.clone();
    let told = async move { drop(ending.wait_for(|ending| *ending).await) };
    let serving = axum::serve(listener, router(shared)).with_graceful_shutdown(told).into_future();
    let too_late = async move {
        // A sender that is gone has told it too.
        drop(late.wait_for(|ending| *ending).await);
        tokio::time::sleep(END_WAIT).await;
    };
    first(serving, too_late).await
}

/// The result of serving, or none once that takes too long.
async fn first(
    serving: impl Future<Output = std::io::Result<()>>,
    too_late: impl Future<Output = ()>,
) -> std::io::Result<()> {
    tokio::select! {
        ended = serving => ended,
        () = too_late => Ok(()),
    }
}

fn router(shared: Shared) -> Router {
    let mut router = Router::new();
    for route in Route::ALL {
        router = router.route(route.path(), handler(route));
    }
    router
        .fallback(async || Fault::new(Kind::NotFound, "there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            Fault::new(Kind::NoMethod, "this address has other methods")
        })
        .layer(middleware::from_fn_with_state(shared.clone(), gate::pass))
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .with_state(shared)
}

/// What answers a route.
fn handler(route: Route) -> MethodRouter<Shared> {
    match route {
        Route::Health => get(about::health),
        Route::Info => get(about::info),
        Route::Metrics => get(about::metrics),
        Route::OpenApi => get(async || Json(openapi())),
        Route::Models => get(openai::models),
        Route::Embeddings => post(openai::embeddings),
        Route::Embed => post(tei::embed),
        Route::Similarity => post(tei::similarity),
        Route::Rerank => post(rerank::rerank),
        Route::Tokenize => post(tei::tokenize),
        Route::LoadAdapter => post(loading::load),
        Route::UnloadAdapter => post(loading::unload),
        Route::AddDocuments => post(documents::add),
        Route::ShowNamespace => get(documents::show),
        Route::DropNamespace => delete(documents::drop_all),
        Route::GetDocument => get(documents::get),
        Route::DeleteDocument => delete(documents::delete_one),
        Route::DeleteDocuments => post(documents::delete),
        Route::EmbedDocuments => post(documents::embed),
        Route::Search => post(search::search),
    }
}
