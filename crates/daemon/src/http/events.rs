//! What happens, as it happens: server-sent events from a place in the log.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::watch;

use super::auth::Caller;
use super::problem::{Fault, InQuery};
use super::shared::Shared;
use super::views;
use crate::store::StoredEvent;

/// How many events are read at a time.
const READ_MAX: u32 = 256;
/// How long the stream may be silent, so that both ends know that the other is there.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Where to begin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: Option<u64>,
}

/// A stream that is being sent.
struct Following {
    shared: Shared,
    caller: Caller,
    after: u64,
    ready: VecDeque<StoredEvent>,
    news: watch::Receiver<u64>,
    ending: watch::Receiver<bool>,
}

pub(super) async fn follow(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    InQuery(query): InQuery<EventsQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Fault> {
    let news = shared.live.seq.subscribe();
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = query.after.or(resumed).unwrap_or(*news.borrow());
    let after = after.min(i64::MAX as u64);
    let ending = shared.ending.subscribe();
    let following = Following { shared, caller, after, ready: VecDeque::new(), news, ending };
    let stream = unfold(following, |mut following| async {
        let event = following.next().await?;
        let id = event.seq.to_string();
        let (kind, view) = (event.kind.clone(), views::event(event));
        let data = serde_json::to_string(&view).expect("events are plain data");
        Some((Ok(Event::default().id(id).event(kind).data(data)), following))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(SILENCE_MAX)))
}

impl Following {
    /// The next event that the caller may see; none when the daemon ends.
    async fn next(&mut self) -> Option<StoredEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.news.borrow_and_update();
            let after = self.after;
            let read = self.shared.read(move |reader| reader.events(after, READ_MAX)).await;
            let events = read.ok()?;
            if let Some(last) = events.last() {
                self.after = last.seq;
                let caller = &self.caller;
                let may_see = |event: &StoredEvent| {
                    event.tenant.as_ref().is_none_or(|tenant| caller.owns(tenant))
                };
                self.ready.extend(events.into_iter().filter(may_see));
                continue;
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                _ = self.ending.wait_for(|is_ending| *is_ending) => return None,
            }
        }
    }
}
