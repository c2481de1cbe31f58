//! Axes: ticks at round numbers and the way from a value to its place.

use crate::report::html::Html;
use crate::report::number;

use super::px;

/// A line of values along a line of places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct Scale {
    /// First and last value; the last is larger.
    pub(in crate::report) values: (f64, f64),
    /// Places of the two.
    pub(in crate::report) places: (f64, f64),
}

/// A value that is marked on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Tick {
    pub(in crate::report) value: f64,
    pub(in crate::report) label: String,
}

/// Where the drawing area lies in its picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct Area {
    pub(in crate::report) left: f64,
    pub(in crate::report) right: f64,
    pub(in crate::report) top: f64,
    pub(in crate::report) bottom: f64,
}

impl Scale {
    /// The place of a value; values beyond the ends keep to the ends.
    pub(in crate::report) fn place(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        self.places.0 + share * (self.places.1 - self.places.0)
    }
}

/// Ticks at round values from the one at or below `low` to the one at or above `high`: at most
/// about `wanted`, at least two. `step_min` is the smallest distance, such as 1 between steps.
pub(in crate::report) fn ticks(range: (f64, f64), wanted: u32, step_min: f64) -> Vec<Tick> {
    let (low, high) = opened(range);
    let step = round_step((high - low) / f64::from(wanted.max(1))).max(step_min);
    let first = (low / step).floor();
    let last = (high / step).ceil().max(first + 1.0);
    // Bounded whatever the input: `opened` keeps the range and so the number of steps sane.
    let number = (last - first).min(64.0) as u32;
    let tick = |n: u32| {
        let value = (first + f64::from(n)) * step;
        Tick { value, label: label(value, step) }
    };
    (0..=number).map(tick).collect()
}

/// Horizontal lines across the area with their values to the left.
pub(in crate::report) fn draw_vertical(html: &mut Html, area: &Area, ticks: &[Tick]) -> Scale {
    let scale = Scale { values: ends(ticks), places: (area.bottom, area.top) };
    for tick in ticks {
        let y = px(scale.place(tick.value));
        let (left, right) = (px(area.left), px(area.right));
        let class = if tick.value == scale.values.0 { "axis" } else { "grid" };
        let line = [("class", class), ("x1", &left), ("y1", &y), ("x2", &right), ("y2", &y)];
        html.leaf("line", &line);
        let at = [("class", "tick end"), ("x", &px(area.left - 7.0)), ("y", &y), ("dy", ".35em")];
        html.word("text", &at, &tick.label);
    }
    scale
}

/// Values below the area, each with a short stroke, and what they count to their left.
pub(in crate::report) fn draw_horizontal(
    html: &mut Html,
    area: &Area,
    ticks: &[Tick],
    name: &str,
) -> Scale {
    let scale = Scale { values: ends(ticks), places: (area.left, area.right) };
    let (stroke, baseline) = (px(area.bottom + 4.0), px(area.bottom + 18.0));
    for tick in ticks {
        let x = px(scale.place(tick.value));
        let line =
            [("class", "axis"), ("x1", &x), ("y1", &px(area.bottom)), ("x2", &x), ("y2", &stroke)];
        html.leaf("line", &line);
        html.word("text", &[("class", "tick middle"), ("x", &x), ("y", &baseline)], &tick.label);
    }
    let at = [("class", "tick"), ("x", "0"), ("y", &baseline)];
    html.word("text", &at, name);
    scale
}

fn ends(ticks: &[Tick]) -> (f64, f64) {
    let first = ticks.first().expect("an axis has at least two ticks");
    (first.value, ticks[ticks.len() - 1].value)
}

/// A range with room between its ends, even if all values are one.
fn opened((low, high): (f64, f64)) -> (f64, f64) {
    let room = low.abs().max(high.abs()) * 1e-6;
    if high - low > room {
        return (low, high);
    }
    let room = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
    (low - room, high + room)
}

/// The next of 1, 2, 5, 10, 20 and so on.
fn round_step(step: f64) -> f64 {
    let magnitude = 10f64.powf(step.log10().floor());
    let choices = [1.0, 2.0, 5.0];
    let fits = |choice: &&f64| step <= **choice * magnitude * (1.0 + 1e-9);
    choices.iter().find(fits).copied().unwrap_or(10.0) * magnitude
}

/// As many decimals as tell neighbours apart.
fn label(value: f64, step: f64) -> String {
    let digits = -(step.log10() + 1e-9).floor();
    if value != 0.0 && !(-3.0..=5.0).contains(&digits) {
        return format!("{value:.0e}").replace('-', "−");
    }
    match digits as usize {
        0 if value.abs() >= 1000.0 => number::significant(value),
        digits => number::decimals(value, digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        let check = |range, expected: &[&str]| {
            let labels: Vec<String> =
                ticks(range, 4, 0.0).into_iter().map(|tick| tick.label).collect();
            assert_eq!(labels, expected, "{range:?}");
        };
        check((0.0, 1.0), &["0.0", "0.5", "1.0"]);
        check((0.4, 3.9), &["0", "1", "2", "3", "4"]);
        check((0.641, 0.688), &["0.64", "0.66", "0.68", "0.70"]);
        check((-1.0, 1.0), &["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        check((0.0, 2400.0), &["0", "1,000", "2,000", "3,000"]);
        check((3.0, 3.0), &["2.6", "2.8", "3.0", "3.2", "3.4"]);
        check((0.0, 0.0), &["−0.5", "0.0", "0.5"]);
        check((0.0, 4e-7), &["0", "1e−7", "2e−7", "3e−7", "4e−7"]);
    }

    #[test]
    fn steps_have_no_halves() {
        let labels: Vec<String> =
            ticks((0.0, 1.0), 4, 1.0).into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels, ["0", "1"]);
    }

    #[test]
    fn hard_ranges_stay_bounded() {
        for range in [(1e11, 1e11 + 1e-5), (-1e12, 1e12), (5e-324, 1e-320), (1e-300, 1e-300)] {
            let ticks = ticks(range, 4, 0.0);
            assert!((2..=65).contains(&ticks.len()), "{range:?} {ticks:?}");
            assert!(ticks.iter().all(|tick| tick.value.is_finite()), "{range:?} {ticks:?}");
        }
    }

    #[test]
    fn places_keep_to_the_ends() {
        let scale = Scale { values: (0.0, 2.0), places: (100.0, 0.0) };
        let places = [-1.0, 0.0, 0.5, 2.0, 9.0].map(|value| scale.place(value));
        assert_eq!(places, [100.0, 100.0, 75.0, 0.0, 0.0]);
    }
}
