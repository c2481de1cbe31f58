//! Who asks: the operator, a tenant by its token, or nobody whom the pool would answer.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cotenant_types::TenantName;
use sha2::{Digest, Sha256};

use super::problem::Fault;
use super::shared::Shared;

/// The name under which the operator's token is kept; no tenant can have it.
pub(crate) const OPERATOR: &str = "operator";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// May do everything.
    Operator,
    /// May do what concerns itself.
    Tenant(TenantName),
}

impl Caller {
    /// Whether it may see or touch what is this tenant's.
    pub(super) fn owns(&self, tenant: &str) -> bool {
        match self {
            Caller::Operator => true,
            Caller::Tenant(name) => name.as_str() == tenant,
        }
    }

    /// The tenant to which all that it sees is narrowed.
    pub(super) fn tenant(&self) -> Option<&TenantName> {
        match self {
            Caller::Operator => None,
            Caller::Tenant(name) => Some(name),
        }
    }

    pub(super) fn must_operate(&self) -> Result<(), Fault> {
        match self {
            Caller::Operator => Ok(()),
            Caller::Tenant(_) => {
                let message = "only the operator may do this";
                Err(Fault::new(StatusCode::FORBIDDEN, "not-operator", message))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Fault::unavailable("nobody asked who asks"))
    }
}

/// Turns away who may not ask, and tells handlers who does.
pub(super) async fn check(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(fault) = check_origin(&shared, &request) {
        return fault.into_response();
    }
    let is_page = super::dashboard::has(request.uri().path());
    if !is_page {
        match caller(&shared, request.headers()).await {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(fault) => return fault.into_response(),
        }
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn caller(shared: &Shared, headers: &HeaderMap) -> Result<Caller, Fault> {
    let wanted = |message: &str| {
        Fault::new(StatusCode::UNAUTHORIZED, "no-token", message)
            .hint("send Authorization: Bearer TOKEN; the operator makes tokens")
    };
    let given = headers.get(header::AUTHORIZATION);
    let Some(given) = given else {
        // A pool that only this machine reaches and that never made tokens trusts who is on it.
        let has_tokens = shared.read(|reader| reader.has_token(OPERATOR)).await?;
        return match has_tokens || shared.is_open {
            true => Err(wanted("this pool wants a token")),
            false => Ok(Caller::Operator),
        };
    };
    let token = given.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let Some(token) = token else { return Err(wanted("the Authorization header is no bearer's")) };
    let hash = hash(&token);
    match shared.read(move |reader| reader.token(&hash)).await?.as_deref() {
        Some(OPERATOR) => Ok(Caller::Operator),
        Some(name) => name.parse().map(Caller::Tenant).map_err(|_| wanted("the token is unknown")),
        None => Err(wanted("the token is unknown")),
    }
}

/// Pages of other sites must not act for a person whose browser can reach the pool: a request that
/// a page sends names its origin, and one whose host was pointed here by a name names that.
fn check_origin(shared: &Shared, request: &Request) -> Result<(), Fault> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !shared.is_open && !is_loopback(host) {
        let message = format!("{host:?} is no name of this machine's own");
        return Err(Fault::new(StatusCode::FORBIDDEN, "strange-host", message));
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let origin = text(header::ORIGIN);
    let is_ours = origin.is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host))
    });
    if !is_safe && !is_ours {
        let message = "a page of another site may not do this";
        return Err(Fault::new(StatusCode::FORBIDDEN, "strange-origin", message));
    }
    Ok(())
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

/// Whether others than this machine can reach an address.
pub(crate) fn is_open_to_others(address: IpAddr) -> bool {
    !address.is_loopback()
}

/// What is kept of a token.
pub(crate) fn hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let check = |host: &str, expected: bool| assert_eq!(is_loopback(host), expected, "{host}");
        check("127.0.0.1:7777", true);
        check("localhost", true);
        check("LOCALHOST:80", true);
        check("[::1]:7777", true);
        check("", true);
        check("evil.example:7777", false);
        check("127.0.0.1.evil.example", false);
        check("10.0.0.1", false);
    }
}
