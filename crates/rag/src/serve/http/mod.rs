//! The server: mounts every route of the contract.

mod about;
mod adaptive;
mod body;
mod connections;
mod documents;
mod experiments;
mod fault;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod gate;
mod loading;
mod openai;
mod openapi;
mod rerank;
mod rereader;
mod room;
mod route;
mod search;
mod shared;
mod stall;
mod stay;
mod tei;
mod texts;
mod tune;
mod wire;
mod wire_tune;

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(super) use connections::Waits;
#[cfg(feature = "fuzzing")]
pub use fuzzing::read_request;
pub(super) use gate::{BODIES_KIB_MAX, REQUESTS_MAX};
pub use openapi::openapi;
pub(super) use room::Room;
pub(super) use shared::{BASE, Inner, Shared};
pub(super) use wire::SearchSettings;

use fault::{Fault, Kind};
use route::Route;

/// Answers requests until it is told to end, and those under way then.
pub(super) async fn serve(listener: TcpListener, shared: Shared, ending: watch::Receiver<bool>) {
    let waits = shared.waits;
    connections::serve(listener, (router(shared), waits), ending).await;
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
        Route::Tune => post(tune::learn),
        Route::ShowTuned => get(tune::show),
        Route::ForgetTuned => delete(tune::forget),
        Route::BeginExperiment => post(experiments::begin),
        Route::ShowExperiment => get(experiments::show),
        Route::EndExperiment => delete(experiments::end),
        Route::Feedback => post(experiments::feedback),
    }
}
