//! What a request takes, for as long as anything is done or kept for it.
//!
//! A client that goes away ends its request, but not what a thread already does for it; and an answer
//! that a client does not read stays in memory. Whoever asks much and takes nothing must not get
//! more than there is room for, so each takes room until the last of both is over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};

use super::fault::Fault;
use super::room::{Part, Room};

/// Bytes of an answer that are given to a connection at a time: what it took is in its buffers, and
/// no longer here.
const PIECE_BYTES: usize = 64 << 10;

tokio::task_local! {
    /// What the request that is being answered takes.
    static STAY: Arc<Stay>;
}

/// What a request takes.
pub(super) struct Stay {
    /// Its place among those that are being answered.
    pub(super) _request: Part,
    /// Room for its body.
    pub(super) _body: Part,
    /// Whose it is.
    pub(super) tenant: Option<Arc<str>>,
}

impl Stay {
    /// Answers a request, and keeps its room until the answer is on its way to the client; without
    /// room for the answer it is told to come again.
    pub(super) async fn answer(
        self,
        room: &Room,
        answering: impl Future<Output = Response>,
    ) -> Response {
        let stay = Arc::new(self);
        let response = STAY.scope(stay.clone(), answering).await;
        let bytes = response.body().size_hint().lower();
        let kib = usize::try_from(bytes.div_ceil(1 << 10)).unwrap_or(usize::MAX);
        match room.take(stay.tenant.as_ref(), kib) {
            Some(part) => response
                .map(|body| Body::new(Kept { body, rest: Bytes::new(), _kept: (stay, part) })),
            None => Fault::unread().into_response(),
        }
    }
}

/// Does work on a thread that may wait for a disk or a processor. What the request takes stays taken
/// until the work is done, whether anybody still waits for it or not.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    // There is none for requests that everybody may ask, and in tests.
    let stay = STAY.try_with(Arc::clone).ok();
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(stay);
        done
    });
    working.await.map_err(|_| Fault::ending())
}

/// A body that keeps its room until a connection has taken its last piece.
struct Kept {
    body: Body,
    /// What came from it and was not given on yet.
    rest: Bytes,
    _kept: (Arc<Stay>, Part),
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(ctx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
            }
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn stay(requests: &Room, bodies: &Room) -> Stay {
        let _request = requests.take(None, 1).unwrap();
        let _body = bodies.take(None, 1).unwrap();
        Stay { _request, _body, tenant: None }
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_client_that_goes_away_keeps_its_room_until_its_work_is_done() {
        let (requests, bodies) = (Room::new(1), Room::new(1));
        let (finish, may_finish) = mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
        block_on(async {
            let mut answering = Box::pin(stay(&requests, &bodies).answer(&bodies, async {
                let work = move || (begun.send(()), may_finish.recv());
                assert!(on_thread(work).await.is_ok());
                ().into_response()
            }));
            tokio::select! {
                _ = &mut answering => panic!("it waits for a thread"),
                begun = has_begun => begun.unwrap(),
            }
            drop(answering);
            let free = (requests.take(None, 1).is_some(), bodies.take(None, 1).is_some());
            finish.send(()).unwrap();
            assert_eq!(free, (false, false), "the thread is still at it");
            while requests.take(None, 1).is_none() || bodies.take(None, 1).is_none() {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn an_answer_keeps_its_room_until_its_last_piece_is_taken() {
        let (requests, bodies) = (Room::new(1), Room::new(1 << 10));
        let text = "x".repeat(3 * PIECE_BYTES + 1);
        let answered =
            stay(&requests, &bodies).answer(&bodies, async { text.clone().into_response() });
        let response = block_on(answered);
        assert_eq!(response.body().size_hint().exact(), Some(text.len() as u64));
        assert!(requests.take(None, 1).is_none(), "it was not read yet");
        assert!(bodies.take(None, (1 << 10) - 193).is_none(), "193 KiB and a body of one wait");
        let read = block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
        assert_eq!(read.len(), text.len());
        assert!(requests.take(None, 1).is_some() && bodies.take(None, 1 << 10).is_some());
    }

    #[test]
    fn an_answer_without_room_is_told_to_come_again() {
        let (requests, bodies) = (Room::new(1), Room::new(2));
        let large = async { "x".repeat(4 << 10).into_response() };
        let response = block_on(stay(&requests, &bodies).answer(&bodies, large));
        assert!(response.extensions().get::<Fault>().is_some());
        assert!(requests.take(None, 1).is_some() && bodies.take(None, 2).is_some());
    }
}
