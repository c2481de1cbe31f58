//! Errors as clients see them, in the words of whichever program's routes they use.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::wire::{OpenAiError, OpenAiErrorBody, TeiError};
use crate::serve::access::Caller;
use crate::serve::adapters::AdapterError;
use crate::serve::engine::{NotServed, Refused};

/// Longest message, in characters; what is longer loses its end.
const MESSAGE_CHARACTERS_MAX: usize = 1000;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The body is not what it must be.
    Malformed,
    /// A value cannot be used.
    Invalid,
    /// There is nothing to do.
    Empty,
    /// The body or its texts are too large.
    TooLarge,
    /// The body is not JSON by its header.
    NotJson,
    /// Nobody known asks.
    NoToken,
    /// It may not.
    Forbidden,
    /// There is no such thing, or it is another tenant's.
    NotFound,
    /// The address has other methods.
    NoMethod,
    /// It does not go with what is there.
    Conflict,
    /// The model or an adapter cannot do it.
    Backend,
    /// Too much is asked now.
    Overloaded,
    /// The server ends, or its disk fails.
    Unavailable,
    /// Its disk is full, or what may be kept is.
    NoRoom,
}

/// Why a request is not answered as it wished.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    kind: Kind,
    message: String,
    retry_s: Option<u64>,
}

impl Fault {
    pub(super) fn new(kind: Kind, message: impl ToString) -> Self {
        let mut message = message.to_string();
        // A message may repeat what the client sent, of which there are megabytes.
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARACTERS_MAX) {
            message.truncate(end);
            message.push('…');
        }
        Self { kind, message, retry_s: None }
    }

    pub(super) fn invalid(message: impl ToString) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub(super) fn ending() -> Self {
        Self { retry_s: Some(1), ..Self::new(Kind::Unavailable, "the server is ending") }
    }

    pub(super) fn busy(retry_s: u64) -> Self {
        let message = "too many texts wait; try again after the seconds that Retry-After says";
        Self { retry_s: Some(retry_s), ..Self::new(Kind::Overloaded, message) }
    }

    /// What was to be answered has no room beside answers that nobody reads.
    pub(super) fn unread() -> Self {
        let message = "too many answers wait to be read by their clients; read them, and try again \
                       after the seconds that Retry-After says";
        Self { retry_s: Some(1), ..Self::new(Kind::Overloaded, message) }
    }

    /// Nothing was changed, and what was there is still found.
    pub(super) fn no_room() -> Self {
        let message = "the server's disk is full, and nothing was changed\n\
                       hint: searches go on; make room on the disk, and send the same again";
        Self::new(Kind::NoRoom, message)
    }

    /// What a client reads.
    #[cfg(feature = "fuzzing")]
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the client could have asked nothing better.
    pub(super) fn is_the_servers(&self) -> bool {
        match self.kind {
            Kind::Backend | Kind::Unavailable | Kind::NoRoom => true,
            Kind::Malformed
            | Kind::Invalid
            | Kind::Empty
            | Kind::TooLarge
            | Kind::NotJson
            | Kind::NoToken
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::NoMethod
            | Kind::Conflict
            | Kind::Overloaded => false,
        }
    }

    /// An adapter that cannot be had; what is on the server's disk is told to who may see it.
    pub(super) fn of_adapter(error: &AdapterError, caller: &Caller) -> Self {
        let kind = match error {
            AdapterError::Unknown { .. } => Kind::NotFound,
            AdapterError::Taken { .. } => Kind::Conflict,
            AdapterError::Name { .. } | AdapterError::OfBase { .. } => Kind::Invalid,
            AdapterError::Load { .. }
            | AdapterError::Changing { .. }
            | AdapterError::NotAFile { .. }
            | AdapterError::TooLarge { .. }
            | AdapterError::NoRoom { .. }
            | AdapterError::Broken { .. }
            | AdapterError::TooMany { .. } => Kind::Backend,
            AdapterError::Slow { .. } => {
                return Self { retry_s: Some(1), ..Self::new(Kind::Unavailable, error) };
            }
            AdapterError::Ending => return Self::ending(),
        };
        let message = match (error, caller) {
            (AdapterError::Load { source, .. }, Caller::Anybody | Caller::Admin) => {
                format!("{error}: {source}")
            }
            (AdapterError::Load { .. }, Caller::Tenant(_)) => {
                format!("{error}\nhint: ask who runs the server what is wrong with its files")
            }
            _ => error.to_string(),
        };
        Self::new(kind, message)
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy { retry_s } => Self::busy(retry_s),
            Refused::TooLarge { tokens_max } => Self::new(
                Kind::TooLarge,
                format!("a request may have {tokens_max} tokens; send fewer texts at a time"),
            ),
            Refused::Ending => Self::ending(),
        }
    }
}

impl From<NotServed> for Fault {
    fn from(why: NotServed) -> Self {
        match why {
            NotServed::Late => {
                let message = "the texts waited longer than their deadline";
                Self { retry_s: Some(1), ..Self::new(Kind::Unavailable, message) }
            }
            NotServed::Broken => {
                let message = "the model failed on these texts\n\
                               hint: what failed stands in the server's log; replace the adapter, \
                               or report it if the base model alone fails too";
                Self::new(Kind::Backend, message)
            }
        }
    }
}

impl IntoResponse for Fault {
    /// A response without a body: [`in_words_of_route`] writes it.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of an error: as OpenAI does below `/v1`, and as text-embeddings-inference does
/// elsewhere.
pub(super) fn in_words_of_route(path: &str, mut response: Response) -> Response {
    let Some(fault) = response.extensions_mut().remove::<Fault>() else { return response };
    match path.starts_with("/v1/") {
        true => fault.of_openai(),
        false => fault.of_tei(),
    }
}

impl Fault {
    fn of_openai(&self) -> Response {
        let (status, code) = match self.kind {
            Kind::Malformed => (400, "malformed_body"),
            Kind::Invalid => (400, "invalid_value"),
            Kind::Empty => (400, "empty_input"),
            Kind::TooLarge => (413, "too_large"),
            Kind::NotJson => (415, "not_json"),
            Kind::NoToken => (401, "invalid_api_key"),
            Kind::Forbidden => (403, "forbidden"),
            Kind::NotFound => (404, "not_found"),
            Kind::NoMethod => (405, "no_method"),
            Kind::Conflict => (409, "conflict"),
            Kind::Backend => (424, "model_failed"),
            Kind::Overloaded => (429, "overloaded"),
            Kind::Unavailable => (503, "unavailable"),
            Kind::NoRoom => (507, "no_room"),
        };
        let kind = match self.kind {
            Kind::Overloaded => "rate_limit_error",
            Kind::Backend | Kind::Unavailable | Kind::NoRoom => "server_error",
            Kind::NoToken | Kind::Forbidden => "permission_error",
            Kind::Malformed
            | Kind::Invalid
            | Kind::Empty
            | Kind::TooLarge
            | Kind::NotJson
            | Kind::NotFound
            | Kind::NoMethod
            | Kind::Conflict => "invalid_request_error",
        };
        let error = OpenAiErrorBody { message: self.message.clone(), kind, param: None, code };
        self.response(status, OpenAiError { error })
    }

    fn of_tei(&self) -> Response {
        let (status, kind) = match self.kind {
            Kind::Malformed => (400, "Validation"),
            Kind::Empty => (400, "Empty"),
            Kind::Invalid => (422, "Validation"),
            Kind::TooLarge => (413, "Validation"),
            Kind::NotJson => (415, "Validation"),
            Kind::NoToken => (401, "Validation"),
            Kind::Forbidden => (403, "Validation"),
            Kind::NotFound => (404, "Validation"),
            Kind::NoMethod => (405, "Validation"),
            Kind::Conflict => (409, "Validation"),
            Kind::Backend => (424, "Backend"),
            Kind::Overloaded => (429, "Overloaded"),
            Kind::Unavailable => (503, "Unhealthy"),
            Kind::NoRoom => (507, "Unhealthy"),
        };
        self.response(status, TeiError { error: self.message.clone(), error_type: kind })
    }

    fn response(&self, status: u16, body: impl Serialize) -> Response {
        let status = StatusCode::from_u16(status).expect("the tables have legal ones");
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::NoToken {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
