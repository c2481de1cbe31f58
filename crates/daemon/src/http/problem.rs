//! Errors as clients see them: a status, a stable word, a sentence, a hint.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cotenant_api::{Problem, RequestError};
use cotenant_sched::Refusal;
use serde::de::DeserializeOwned;

use crate::keeper::NotDone;

/// Why a request is not answered as it wished.
#[derive(Debug)]
pub(crate) struct Fault(StatusCode, Problem);

impl Fault {
    pub(super) fn new(status: StatusCode, code: &str, message: impl ToString) -> Self {
        Self(status, Problem { code: code.to_owned(), message: message.to_string(), hint: None })
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.1.hint = Some(hint.to_owned());
        self
    }

    pub(super) fn bad(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    pub(super) fn unavailable(why: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why).hint("try again in a moment")
    }

    pub(super) fn no_job(id: u64) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-job", format!("there is no job {id}"))
            .hint("cotenant job list shows the jobs there are")
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-value", error)
    }
}

impl From<NotDone> for Fault {
    fn from(error: NotDone) -> Self {
        let refusal = match error {
            NotDone::NotKept(why) => return Self::unavailable(&why),
            NotDone::Refused(refusal) => refusal,
        };
        let (status, code, hint) = match &refusal {
            Refusal::UnknownTenant(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "no-tenant",
                Some("add it with: cotenant tenant add NAME"),
            ),
            Refusal::BadParent { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bad-parent", None),
            Refusal::UnknownJob(_) => (StatusCode::CONFLICT, "ended", None),
            Refusal::QueueFull(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "queue-full",
                Some("wait until some of them ended, or cancel some"),
            ),
            Refusal::NoResize { .. } => (StatusCode::CONFLICT, "no-resize", None),
            Refusal::NoWatermark(_) => (
                StatusCode::CONFLICT,
                "no-watermark",
                Some("submit it with class = \"online\" and watermark = { latency_ms = 50 }"),
            ),
            Refusal::UnknownNode(_) => (
                StatusCode::NOT_FOUND,
                "no-node",
                Some("cotenant node list shows the machines there are"),
            ),
        };
        let fault = Self::new(status, code, &refusal);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// Nothing is there.
pub(super) async fn no_route() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "no-route", "there is nothing at this address")
        .hint("GET /openapi.json lists all there is")
}

/// Something is there, but not for this method.
pub(super) async fn no_method() -> Fault {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", "this address has other methods")
        .hint("GET /openapi.json lists all there is")
}

/// A body of JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| {
            kind.split(';')
                .next()
                .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        if !is_json {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Fault::new(status, "not-json", "the body is not application/json"));
        }
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error: BytesRejection| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("the body has more than {} bytes", super::BODY_BYTES_MAX);
                Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
            }
            _ => Fault::bad("the body could not be read"),
        })?;
        // A list would be read as an object's values in order, which nobody means.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            let message = "the body is a list, and must be an object";
            return Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-value", message));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_data() => {
                Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-value", error))
            }
            Err(error) => Err(Fault::bad(format!("the body is not JSON: {error}"))),
        }
    }
}

/// Parts of the path.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let found = Path::<T>::from_request_parts(parts, state).await;
        let bad = |error: PathRejection| Fault::bad(error.body_text());
        found.map(|Path(value)| Self(value)).map_err(bad)
    }
}

/// The query.
pub(super) struct InQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let found = Query::<T>::from_request_parts(parts, state).await;
        let bad = |error: QueryRejection| Fault::bad(error.body_text());
        found.map(|Query(value)| Self(value)).map_err(bad)
    }
}
