//! The text that Prometheus reads: one family after the other, each with its help and type.

use std::fmt::Write as _;

/// Labels and a value.
pub(super) type Sample = (Vec<(&'static str, String)>, f64);

/// Whether a figure may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may.
    Gauge,
    /// It only grows, restarts of the daemon included.
    Counter,
}

/// What was written so far.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    /// Writes the samples of a figure that may fall.
    pub(super) fn gauge(
        &mut self,
        name: &str,
        about: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        self.family((name, Kind::Gauge), about, samples);
    }

    /// Writes the samples of one name.
    pub(super) fn family(
        &mut self,
        (name, kind): (&str, Kind),
        about: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let text = &mut self.0;
        writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}").expect("a string takes any");
        for (labels, value) in samples {
            let label = |(label, value): &(&str, String)| format!("{label}=\"{}\"", escaped(value));
            let labels: Vec<String> = labels.iter().map(label).collect();
            let line = match labels.is_empty() {
                true => writeln!(text, "{name} {value}"),
                false => writeln!(text, "{name}{{{}}} {value}", labels.join(",")),
            };
            line.expect("a string takes any");
        }
    }
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        let labels = vec![("card", "a\"b\\c\nd".to_owned()), ("node", "n".to_owned())];
        page.gauge("x_bytes", "About x.", [(labels, 1.5), (Vec::new(), 1e21)]);
        page.family(("y_total", Kind::Counter), "About y.", []);
        assert_eq!(
            page.0,
            "# HELP x_bytes About x.\n# TYPE x_bytes gauge\n\
             x_bytes{card=\"a\\\"b\\\\c\\nd\",node=\"n\"} 1.5\nx_bytes 1000000000000000000000\n\
             # HELP y_total About y.\n# TYPE y_total counter\n"
        );
    }
}
