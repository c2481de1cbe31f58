//! The text that Prometheus reads.

use std::fmt::Write as _;

use super::histogram::Histogram;

/// Labels.
type Labels = Vec<(&'static str, String)>;

/// Labels and a value.
pub(super) type Sample = (Labels, f64);

/// Whether a figure may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may.
    Gauge,
    /// It only grows.
    Counter,
}

/// What was written so far.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
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
        self.head(name, kind, about);
        samples.into_iter().for_each(|(labels, value)| self.line(name, &labels, value));
    }

    /// Writes histograms of one name.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        about: &str,
        of: impl IntoIterator<Item = (Labels, &'a Histogram)>,
    ) {
        self.head(name, "histogram", about);
        for (labels, histogram) in of {
            let mut all = 0;
            for (bound, count) in histogram.cumulated() {
                let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
                let labels = [labels.clone(), vec![("le", bound)]].concat();
                self.line(&format!("{name}_bucket"), &labels, count as f64);
                all = count;
            }
            self.line(&format!("{name}_sum"), &labels, histogram.sum());
            self.line(&format!("{name}_count"), &labels, all as f64);
        }
    }

    fn head(&mut self, name: &str, kind: &str, about: &str) {
        writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}")
            .expect("a string takes any text");
    }

    fn line(&mut self, name: &str, labels: &Labels, value: f64) {
        let label = |(label, value): &(&str, String)| format!("{label}=\"{}\"", escaped(value));
        let labels: Vec<String> = labels.iter().map(label).collect();
        let written = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
        written.expect("a string takes any text");
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
    fn histograms_are_written_as_prometheus_reads_them() {
        let mut histogram = Histogram::new(&[0.5]);
        histogram.add(0.25);
        histogram.add(2.0);
        let mut page = Page::default();
        page.histogram("x", "About x.", [(vec![("tenant", "a\"b".to_owned())], &histogram)]);
        page.family(("y", Kind::Gauge), "About y.", [(Vec::new(), 1.5)]);
        assert_eq!(
            page.0,
            "# HELP x About x.\n# TYPE x histogram\n\
             x_bucket{tenant=\"a\\\"b\",le=\"0.5\"} 1\nx_bucket{tenant=\"a\\\"b\",le=\"+Inf\"} 2\n\
             x_sum{tenant=\"a\\\"b\"} 2.25\nx_count{tenant=\"a\\\"b\"} 2\n\
             # HELP y About y.\n# TYPE y gauge\ny 1.5\n"
        );
    }
}
