//! In front of every route: how many ask, who asks, and what is counted of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body::BODY_BYTES_MAX;
use super::fault::{Fault, Kind, in_words_of_route};
use super::route::{Audience, Route};
use super::shared::Shared;
use super::stay::Stay;
use crate::serve::access::Caller;

/// Most requests that are being answered at a time.
pub(crate) const REQUESTS_MAX: usize = 1024;
/// Most bytes of their bodies and answers together, in KiB.
pub(crate) const BODIES_KIB_MAX: usize = 256 << 10;

/// Whose requests are counted as nobody's: those that were turned away.
const NOBODY: &str = "";

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Fault::new(Kind::Unavailable, "nobody asked who asks"))
    }
}

/// The tenant that a handler found a request to be for; it is counted as that one's.
#[derive(Clone)]
pub(super) struct CountedFor(pub(super) Arc<str>);

/// Turns away who may not ask, tells handlers who does, and counts what came of it.
pub(super) async fn pass(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let uri = request.uri().clone();
    let route = Route::of_path(uri.path());
    let (response, caller) = answer((&shared, route), request, next).await;
    let mut response = in_words_of_route(uri.path(), response);
    let by_handler = response.extensions().get::<CountedFor>().map(|tenant| tenant.0.clone());
    let tenant = by_handler.or(caller).unwrap_or_else(|| NOBODY.into());
    let status = response.status().as_u16();
    shared.meters.on_request(&tenant, (route.map_or("none", Route::path), status), begun.elapsed());
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn answer(
    (shared, route): (&Shared, Option<Route>),
    mut request: Request,
    next: Next,
) -> (Response, Option<Arc<str>>) {
    if let Err(fault) = check_origin(shared, &request) {
        return (fault.into_response(), None);
    }
    let is_public = route.is_some_and(|route| route.audience() == Audience::Public);
    let caller = match caller(shared, request.headers()) {
        Ok(caller) => caller,
        Err(_) if is_public => return (next.run(request).await, None),
        Err(fault) => return (fault.into_response(), None),
    };
    let tenant = caller.tenant().cloned();
    let counted = shared.requests.take(tenant.as_ref(), 1);
    let body = shared.bodies.take(tenant.as_ref(), body_kib(request.headers()));
    let (Some(_request), Some(_body)) = (counted, body) else {
        return (Fault::busy(1).into_response(), tenant);
    };
    let is_for_admin = route.is_some_and(|route| route.audience() == Audience::Admin);
    if is_for_admin && tenant.is_some() {
        let fault = Fault::new(Kind::Forbidden, "only the administrator may do this");
        return (fault.into_response(), tenant);
    }
    request.extensions_mut().insert(caller);
    let stay = Stay { _request, _body, tenant: tenant.clone() };
    (stay.answer(&shared.bodies, next.run(request)).await, tenant)
}

/// Room that a request's body takes until it is answered, in KiB. One that does not say how long it
/// is may be as long as any.
fn body_kib(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let is_open = headers.contains_key(header::TRANSFER_ENCODING);
    let bytes = length.unwrap_or(if is_open { BODY_BYTES_MAX } else { 0 });
    bytes.min(BODY_BYTES_MAX).div_ceil(1 << 10)
}

fn caller(shared: &Shared, headers: &HeaderMap) -> Result<Caller, Fault> {
    if shared.access.is_open() {
        return Ok(Caller::Anybody);
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|given| {
        let (scheme, token) = given.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.and_then(|token| shared.access.of(token)).ok_or_else(|| {
        let message = "this server wants a token that it knows\n\
                       hint: send Authorization: Bearer TOKEN";
        Fault::new(Kind::NoToken, message)
    })
}

/// Without tokens, pages of other sites must not act for a person whose browser can reach the
/// server: what a page sends names its origin, and one whose host was pointed here names that.
fn check_origin(shared: &Shared, request: &Request) -> Result<(), Fault> {
    if !shared.access.is_open() {
        return Ok(());
    }
    let foreign = foreign(request.headers());
    foreign.map_or(Ok(()), |name| {
        let message = format!("{name:?} is no name of this machine's own");
        Err(Fault::new(Kind::Forbidden, message))
    })
}

/// The name of another machine by which a request comes, or of which its page is. A page without an
/// origin of its own (in a frame that is shut off, or from a file) calls it `null`, and may be
/// anybody's.
fn foreign(headers: &HeaderMap) -> Option<String> {
    let named = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let host = named(header::HOST).filter(|host| !is_loopback(host));
    let origin = named(header::ORIGIN)
        .filter(|origin| !origin.split_once("://").is_some_and(|(_, name)| is_loopback(name)));
    host.or(origin).map(|name| name.into_owned())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered_without_tokens() {
        for (host, expected) in [
            ("127.0.0.1:8080", true),
            ("localhost", true),
            ("[::1]:8080", true),
            ("", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }

    #[test]
    fn no_page_of_others_acts_for_a_person() {
        for (origin, expected) in [
            ("http://localhost:3000", true),
            ("http://127.0.0.1", true),
            ("https://evil.example", false),
            ("null", false),
            ("", false),
            ("\u{e4}", false),
        ] {
            let mut headers = HeaderMap::new();
            assert_eq!(foreign(&headers), None, "no page sends it");
            headers.insert(header::ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).unwrap());
            assert_eq!(foreign(&headers).is_none(), expected, "{origin}");
        }
    }
}
