//! Bodies of JSON, within limits of size and time.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::fault::{Fault, Kind};

/// Largest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
/// Longest time that a client takes to send it.
const BODY_WAIT: Duration = Duration::from_secs(30);

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
        // A page of another site can send any other kind of body without asking first.
        if !is_json {
            return Err(Fault::new(Kind::NotJson, "the body is not application/json"));
        }
        let bytes = axum::body::Bytes::from_request(request, state);
        let bytes = tokio::time::timeout(BODY_WAIT, bytes).await.map_err(|_| {
            let seconds = BODY_WAIT.as_secs();
            Fault::new(Kind::Malformed, format!("the body did not come within {seconds} seconds"))
        })?;
        let bytes = bytes.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("the body has more than {BODY_BYTES_MAX} bytes");
                Fault::new(Kind::TooLarge, message)
            }
            _ => Fault::new(Kind::Malformed, "the body could not be read"),
        })?;
        parse(&bytes).map(Self)
    }
}

/// Reads the bytes of a body.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    // A list would be read as an object's values in order, which nobody means.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Fault::invalid("the body is a list, and must be an object"));
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(error) if error.is_data() => Err(Fault::invalid(error)),
        Err(error) => Err(Fault::new(Kind::Malformed, format!("the body is not JSON: {error}"))),
    }
}
