//! Bodies of JSON, within limits of size and time.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::fault::{Fault, Kind};
use super::shared::Shared;
use super::stay::on_thread;

/// Largest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;

/// Most bytes that are read at once, which takes about a millisecond.
const PARSED_AT_ONCE_BYTES: usize = 256 << 10;

/// A body of JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Shared> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Fault> {
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
        let (wait, bytes) = (shared.waits.client, Bytes::from_request(request, shared));
        let bytes = tokio::time::timeout(wait, bytes).await.map_err(|_| {
            let seconds = wait.as_secs();
            Fault::new(Kind::Malformed, format!("the body did not come within {seconds} seconds"))
        })?;
        let bytes = bytes.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("the body has more than {BODY_BYTES_MAX} bytes");
                Fault::new(Kind::TooLarge, message)
            }
            _ => Fault::new(Kind::Malformed, "the body could not be read"),
        })?;
        parse_apart(bytes).await.map(Self)
    }
}

/// Reads the bytes of a body. Where they are many, another thread does: the few that speak HTTP are
/// everybody's.
async fn parse_apart<T: DeserializeOwned + Send + 'static>(bytes: Bytes) -> Result<T, Fault> {
    match bytes.len() > PARSED_AT_ONCE_BYTES {
        true => on_thread(move || parse(&bytes)).await?,
        false => parse(&bytes),
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

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use serde::{Deserialize, Deserializer, de::IgnoredAny};

    use super::*;

    /// Which thread read it.
    struct ReadBy(ThreadId);

    impl<'de> Deserialize<'de> for ReadBy {
        fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
            IgnoredAny::deserialize(reader).map(|_| Self(thread::current().id()))
        }
    }

    #[tokio::test]
    async fn large_bodies_are_read_by_threads_that_speak_no_http() {
        let own = thread::current().id();
        for (letters, expected) in [(10, true), (PARSED_AT_ONCE_BYTES, false)] {
            let body = format!("{{\"input\": \"{}\"}}", "x".repeat(letters));
            let ReadBy(thread) = parse_apart(body.into()).await.unwrap();
            assert_eq!(thread == own, expected, "{letters} letters");
        }
    }
}
