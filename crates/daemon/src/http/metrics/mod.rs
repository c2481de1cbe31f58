//! Figures for Prometheus: our own names by its rules, and names of others behind a switch.

mod dcgm;
mod figures;
mod hami;
mod names;
mod own;
mod page;
mod vitals;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cotenant_sched::Job;

use super::auth::Caller;
use super::problem::Fault;
use super::shared::Shared;
use crate::keeper;
use crate::words;
use figures::Figures;
use page::Page;

pub(crate) use figures::EventCounts;
pub use names::{MetricNames, ParseMetricNamesError};

const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(State(shared): State<Shared>, caller: Caller) -> Result<Response, Fault> {
    caller.must_operate()?;
    let inner = shared.clone();
    let read = shared.read(move |reader| {
        Ok(Figures {
            cards: reader.cards()?,
            holders: reader.holders()?,
            tenants: reader.tenants()?,
            counts: reader.counts()?,
            oldest: reader.oldest_waiting()?,
            events: inner.event_counts.read(reader)?,
            waits: inner.live.waits(),
            uses: inner.live.uses(),
            now_ms: keeper::now().0,
            started_ms: inner.started_ms,
        })
    });
    let text = text(&read.await?, &shared.metric_names);
    Ok(([(header::CONTENT_TYPE, KIND)], text).into_response())
}

fn text(figures: &Figures, names: &[MetricNames]) -> String {
    let mut page = Page::default();
    own::write(&mut page, figures);
    vitals::write(&mut page, figures);
    if names.contains(&MetricNames::Dcgm) {
        dcgm::write(&mut page, figures);
    }
    if names.contains(&MetricNames::Hami) {
        hami::write(&mut page, figures);
    }
    page.0
}

fn class(job: &Job) -> String {
    words::class(job.terms.class).to_owned()
}
