//! What checks find, as a line of JSON each and as a table.

use std::io::{self, Write};

use serde_json::{Value, json};

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// A claim that must hold; the figure is 1 if it does.
    Holds,
    AtMost(f64),
    AtLeast(f64),
    /// Nothing: it stands for whoever compares.
    Measured,
}

pub(crate) const PASSED: &str = "passed";
pub(crate) const FAILED: &str = "failed";
pub(crate) const MEASURED: &str = "measured";
pub(crate) const COULD_NOT_RUN: &str = "could not run";

/// Why a check that never began has no figure.
pub(crate) const NO_TIME: &str = "there was no time left";

impl Bar {
    /// The verdict on a figure; one that is no number fails.
    fn judge(self, value: f64) -> &'static str {
        let is_met = match self {
            Self::Holds => value == 1.0,
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Measured if value.is_finite() => return MEASURED,
            Self::Measured => false,
        };
        if is_met { PASSED } else { FAILED }
    }

    fn words(self) -> String {
        match self {
            Self::Holds => "holds".to_owned(),
            Self::AtMost(most) => format!("at most {}", short(most)),
            Self::AtLeast(least) => format!("at least {}", short(least)),
            Self::Measured => String::new(),
        }
    }
}

/// One figure of a check.
pub(crate) struct Figure<'a> {
    pub(crate) what: &'a str,
    pub(crate) value: f64,
    pub(crate) unit: &'a str,
    pub(crate) bar: Bar,
    /// What it was made of.
    pub(crate) detail: String,
}

/// The figures of one check, said as they are found.
pub(crate) struct Rows {
    pub(crate) check: &'static str,
}

impl Rows {
    pub(crate) fn add(&mut self, figure: Figure<'_>) {
        let Figure { what, value, unit, bar, detail } = figure;
        say(&json!({
            "check": self.check, "what": what, "value": value, "unit": unit,
            "bar": bar.words(), "verdict": bar.judge(value), "detail": detail,
        }));
    }

    /// A claim that holds or not.
    pub(crate) fn claim(&mut self, what: &str, truth: Result<(), String>) {
        let value = f64::from(u8::from(truth.is_ok()));
        let detail = truth.err().unwrap_or_default();
        self.add(Figure { what, value, unit: "", bar: Bar::Holds, detail });
    }

    /// A figure that this machine cannot give.
    pub(crate) fn cannot(&mut self, what: &str, why: &str) {
        say(&without_figure(self.check, COULD_NOT_RUN, (what, why)));
    }
}

/// A line for what has no figure: what it was to be, and why there is none.
pub(crate) fn without_figure(check: &str, verdict: &str, (what, why): (&str, &str)) -> Value {
    json!({
        "check": check, "what": what, "value": null, "unit": "", "bar": "", "verdict": verdict,
        "detail": why,
    })
}

/// The check's process speaks to the one that started it.
pub(crate) fn say(row: &Value) {
    let mut out = io::stdout().lock();
    // If that one is gone, nobody wants the row any more.
    let _ = writeln!(out, "{row}").and_then(|()| out.flush());
}

/// How many rows have a verdict.
pub(crate) fn count(rows: &[Value], verdict: &str) -> usize {
    rows.iter().filter(|row| row["verdict"] == verdict).count()
}

/// A row in one line, for whoever watches.
pub(crate) fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let figure = row["value"].as_f64().map(short).unwrap_or_default();
    let said = format!("{} {figure} {} ({})", text("what"), text("unit"), text("detail"));
    format!("{:11} {:13} {said}", text("check"), text("verdict"))
}

/// Head and rows as Markdown, ready for docs/measurements.md.
pub(crate) fn markdown(head: &Value, rows: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().replace(['|', '\n'], "/");
    let mut page = format!(
        "{}, driver {}, NVRTC {}, {}.\n",
        text(&head["card"]),
        text(&head["driver"]),
        text(&head["compiler"]),
        text(&head["date"]),
    );
    if head["is_quick"] == true {
        page += "Models were small, spans short and bars wide.\n";
    }
    page += "\n| check | what | figure | bar | verdict | of what |\n";
    page += "| --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        let figure = row["value"].as_f64().map(short).unwrap_or_default();
        let figure = format!("{figure} {}", text(&row["unit"]));
        let [check, what, bar] = ["check", "what", "bar"].map(|key| text(&row[key]));
        let [verdict, detail] = ["verdict", "detail"].map(|key| text(&row[key]));
        let figure = figure.trim();
        page += &format!("| {check} | {what} | {figure} | {bar} | {verdict} | {detail} |\n");
    }
    page
}

/// A figure with as many digits as say something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.001 => format!("{value:.1e}"),
        size if size < 1.0 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
