//! The dashboard: files that are part of the program.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::shared::Shared;

/// A page: its path, its kind, its text.
type Page = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A page beside the contract, under its own name.
macro_rules! page {
    ($name:literal, $kind:expr) => {
        (concat!("/", $name), $kind, include_str!(concat!("../dashboard/", $name)))
    };
}

const PAGES: [Page; 12] = [
    ("/", HTML, include_str!("../dashboard/index.html")),
    page!("dashboard.css", STYLE),
    page!("icon.svg", PICTURE),
    page!("connection.js", SCRIPT),
    page!("dashboard.js", SCRIPT),
    page!("elements.js", SCRIPT),
    page!("job.js", SCRIPT),
    page!("jobs.js", SCRIPT),
    page!("pool.js", SCRIPT),
    page!("submit.js", SCRIPT),
    page!("tenants.js", SCRIPT),
    page!("use.js", SCRIPT),
];

/// What pages may do: load from here and nowhere else, and run what is in files.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

/// Whether a path is a page, which holds nothing that is anybody's.
pub(super) fn has(path: &str) -> bool {
    PAGES.iter().any(|(page, ..)| *page == path)
}

pub(super) fn router() -> Router<Shared> {
    PAGES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        let page = async move || {
            let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)];
            (headers, text).into_response()
        };
        router.route(path, get(page))
    })
}
