//! The report of a run: one HTML page that needs no network, no script and no other file.
//!
//! [`render`] is a pure function of a [`RunReport`]. Everything in it may be hostile, so all text
//! passes through one writer that escapes, and the page forbids itself scripts and requests. What
//! was estimated is called estimated, what was measured measured, and a value that is no number is
//! shown as a dash.

mod cost;
mod curve;
mod examples;
pub mod html;
mod model;
mod next;
pub mod number;
mod quality;
pub mod stages;
mod summary;
pub mod svg;
pub mod table;
#[cfg(test)]
mod tests;
mod training;

pub use model::{
    AdapterReport, Apart, Cost, Example, Interval, Part, Phase, Point, RunReport, Scores, Separate,
    TenantReport,
};

use html::Html;

/// The report as one self-contained HTML page.
pub fn render(report: &RunReport) -> String {
    page(&report.title, |body| {
        body.element("header", &[], |header| summary::draw(header, report));
        body.element("main", &[], |main| {
            quality::draw(main, &report.tenants);
            training::draw(main, &report.tenants);
            cost::draw(main, report);
            examples::draw(main, &report.tenants);
            next::draw(main, report);
        });
    })
}

/// A page in the style of the reports, with what `body` writes; other commands make theirs with it.
pub fn page(title: &str, body: impl FnOnce(&mut Html)) -> String {
    let mut html = Html::default();
    html.doctype();
    html.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |head| draw_head(head, title));
        html.element("body", &[], body);
    });
    html.finish()
}

fn draw_head(html: &mut Html, title: &str) {
    html.leaf("meta", &[("charset", "utf-8")]);
    // Were there ever a way around the escaping, nothing could run and nothing be sent.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    html.leaf("meta", &[("http-equiv", "Content-Security-Policy"), ("content", policy)]);
    html.leaf("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    html.leaf("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    html.leaf("meta", &[("name", "referrer"), ("content", "no-referrer")]);
    // An empty icon, since browsers ask the server for one that is not named.
    html.leaf("link", &[("rel", "icon"), ("href", "data:,")]);
    html.word("title", &[], title);
    html.style(include_str!("style.css"));
}
