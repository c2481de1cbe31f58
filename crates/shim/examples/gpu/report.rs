//! What checks find, as a line of JSON each and as a table.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::bar::{Bar, Verdict, short};

/// One figure of a check.
pub(crate) struct Figure {
    /// The metric of GPU-Virt-Bench that it is, or nothing.
    pub(crate) metric: &'static str,
    pub(crate) what: String,
    /// `None` if it could not be had, which fails.
    pub(crate) value: Option<f64>,
    pub(crate) unit: &'static str,
    pub(crate) bar: Bar,
    /// What it was made of.
    pub(crate) detail: String,
}

/// The figures of one check, said as they are found.
pub(crate) struct Rows {
    pub(crate) check: &'static str,
}

impl Rows {
    pub(crate) fn add(&mut self, figure: Figure) {
        let Figure { metric, what, value, unit, bar, detail } = figure;
        say(&json!({
            "check": self.check, "metric": metric, "what": what, "value": value, "unit": unit,
            "bar": bar.to_string(), "verdict": bar.judge(value).word(), "detail": detail,
        }));
    }

    /// A claim that holds or not.
    pub(crate) fn claim(&mut self, metric: &'static str, what: &str, truth: Result<(), String>) {
        let (value, detail) = match truth {
            Ok(()) => (1.0, String::new()),
            Err(reason) => (0.0, reason),
        };
        let what = what.to_owned();
        self.add(Figure { metric, what, value: Some(value), unit: "", bar: Bar::Holds, detail });
    }

    /// A figure that this machine cannot give.
    pub(crate) fn cannot(&mut self, metric: &'static str, what: &str, why: &str) {
        say(&without_figure(self.check, Verdict::CouldNotRun, (metric, what, why)));
    }
}

/// A line for what has no figure: metric, what it was to be, and why there is none.
pub(crate) fn without_figure(check: &str, verdict: Verdict, said: (&str, &str, &str)) -> Value {
    let (metric, what, why) = said;
    json!({
        "check": check, "metric": metric, "what": what, "value": null, "unit": "",
        "bar": "", "verdict": verdict.word(), "detail": why,
    })
}

/// The check's process speaks to the one that started it.
fn say(row: &Value) {
    let mut out = io::stdout().lock();
    // If that one is gone, nobody wants the row any more.
    let _ = writeln!(out, "{row}").and_then(|()| out.flush());
}

/// Why a check that never began has no figure.
pub(crate) const NO_TIME: &str = "there was no time left";

/// Whether a row says that its check never began.
pub(crate) fn had_no_time(row: &Value) -> bool {
    row["detail"] == NO_TIME
}

/// How many rows have a verdict.
pub(crate) fn count(rows: &[Value], verdict: Verdict) -> usize {
    rows.iter().filter(|row| row["verdict"] == verdict.word()).count()
}

/// A row in one line, for whoever watches.
pub(crate) fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let figure = row["value"].as_f64().map(short).unwrap_or_default();
    let said = format!("{} {figure} {} ({})", text("what"), text("unit"), text("detail"));
    format!("{:13} {:10} {said}", text("verdict"), text("metric"))
}

/// Head and rows as Markdown, ready for docs/measurements.md.
pub(crate) fn markdown(head: &Value, rows: &[Value]) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.replace('|', "/"),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut page = format!(
        "{}, driver {}, CUDA {}, {} multiprocessors, {} MiB, {}.\n",
        text(&head["card"]),
        text(&head["driver"]),
        text(&head["cuda"]),
        text(&head["sms"]),
        head["memory_bytes"].as_u64().unwrap_or(0) >> 20,
        text(&head["date"]),
    );
    if head["is_fake"] == true {
        page += "This is the fake driver: it says that the checks work, and nothing of a card.\n";
    }
    if head["pace"] == "quick" {
        page += "The spans were short and the bars wide.\n";
    }
    if head["library"].is_null() {
        page += "The library was not loaded.\n";
    }
    let late: Vec<String> =
        rows.iter().filter(|row| had_no_time(row)).map(|row| text(&row["check"])).collect();
    if !late.is_empty() {
        page += &format!("No time was left for {}.\n", late.join(", "));
    }
    page += "\n| check | metric | what | figure | bar | verdict | of what |\n";
    page += "| --- | --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        let figure = row["value"].as_f64().map(short).unwrap_or_default();
        let figure = format!("{figure} {}", text(&row["unit"]));
        let cells = [&row["check"], &row["metric"], &row["what"]].map(&text);
        let ends = [&row["bar"], &row["verdict"], &row["detail"]].map(&text);
        page += &format!("| {} | {} | {} |\n", cells.join(" | "), figure.trim(), ends.join(" | "));
    }
    page
}
