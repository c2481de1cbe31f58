//! Axes: ticks at round numbers and the way from a value to its place.

use crate::report::html::Html;
use crate::report::number;

use super::px;

/// A line of values along a line of places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// First and last value; the last is larger.
    pub values: (f64, f64),
    /// Places of the two.
    pub places: (f64, f64),
}

/// What an axis shows: its ends and the values that are marked.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// First and last value; the last is larger.
    ends: (f64, f64),
    ticks: Vec<Tick>,
}

/// A value that is marked on an axis.
#[derive(Clone, Debug, PartialEq)]
struct Tick {
    value: f64,
    label: String,
}

/// Where the drawing area lies in its picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// Its left edge.
    pub left: f64,
    /// Its right edge.
    pub right: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its lower edge.
    pub bottom: f64,
}

impl Scale {
    /// The place of a value; values beyond the ends keep to the ends.
    pub fn place(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        self.places.0 + share * (self.places.1 - self.places.0)
    }
}

impl Axis {
    /// From a round value at or below the range to one at or above it.
    pub fn round(range: (f64, f64)) -> Self {
        let ticks = ticks(opened(range), 0.0);
        let ends = (ticks[0].value, ticks[ticks.len() - 1].value);
        Self { ends, ticks }
    }

    /// From end to end of the range, marked at whole numbers.
    pub fn whole(range: (f64, f64)) -> Self {
        let ends = opened(range);
        let mut ticks = ticks(ends, 1.0);
        ticks.retain(|tick| tick.value >= ends.0 && tick.value <= ends.1);
        Self { ends, ticks }
    }

    /// Draws lines across the area with their values to the left.
    pub fn draw_vertical(&self, html: &mut Html, area: &Area) -> Scale {
        let scale = Scale { values: self.ends, places: (area.bottom, area.top) };
        let (left, right) = (px(area.left), px(area.right));
        for tick in &self.ticks {
            let y = px(scale.place(tick.value));
            let class = if tick.value == self.ends.0 { "axis" } else { "grid" };
            let line = [("class", class), ("x1", &left), ("y1", &y), ("x2", &right), ("y2", &y)];
            html.leaf("line", &line);
            let x = px(area.left - 7.0);
            let at = [("class", "tick end"), ("x", &x), ("y", &y), ("dy", ".35em")];
            html.word("text", &at, &tick.label);
        }
        scale
    }

    /// Draws values below the area, each with a short stroke, and what they count to their left.
    pub fn draw_horizontal(&self, html: &mut Html, area: &Area, name: &str) -> Scale {
        let scale = Scale { values: self.ends, places: (area.left, area.right) };
        let (top, stroke, base) = (px(area.bottom), px(area.bottom + 4.0), px(area.bottom + 18.0));
        for tick in &self.ticks {
            let x = px(scale.place(tick.value));
            let line = [("class", "axis"), ("x1", &x), ("y1", &top), ("x2", &x), ("y2", &stroke)];
            html.leaf("line", &line);
            html.word("text", &[("class", "tick middle"), ("x", &x), ("y", &base)], &tick.label);
        }
        if !name.is_empty() {
            html.word("text", &[("class", "tick"), ("x", "0"), ("y", &base)], name);
        }
        scale
    }
}

/// About four round values from the one at or below the range to the one at or above it, at least
/// two. `step_min` is the smallest distance between them.
fn ticks((low, high): (f64, f64), step_min: f64) -> Vec<Tick> {
    let step = round_step((high - low) / 4.0).max(step_min);
    let first = (low / step).floor();
    let last = (high / step).ceil().max(first + 1.0);
    // `opened` keeps the range wide enough for its numbers, so that this is a handful.
    let number = (last - first).min(64.0) as u32;
    let tick = |n: u32| {
        let value = (first + f64::from(n)) * step;
        Tick { value, label: label(value, step) }
    };
    (0..=number).map(tick).collect()
}

/// A range with room between its ends, even if all values are one, or as good as one.
fn opened((low, high): (f64, f64)) -> (f64, f64) {
    const SMALLEST: f64 = 1e-12;
    if high - low > (low.abs().max(high.abs()) * 1e-6).max(SMALLEST) {
        return (low, high);
    }
    let room = if low.abs() < 10.0 * SMALLEST { 0.5 } else { low.abs() * 0.1 };
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
    let digits = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    match digits {
        0 if value.abs() >= 1000.0 => number::significant(value),
        0..=5 => number::decimals(value, digits),
        _ if value == 0.0 => "0".to_owned(),
        _ => format!("{value:.0e}").replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn round_axes_cover_the_range() {
        let check = |range, expected: &[&str]| {
            let axis = Axis::round(range);
            assert_eq!(labels(&axis), expected, "{range:?}");
            assert!(axis.ends.0 <= range.0 && range.1 <= axis.ends.1, "{range:?} {axis:?}");
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
    fn whole_axes_end_with_the_range() {
        let check = |range, expected: &[&str]| {
            let axis = Axis::whole(range);
            assert_eq!(labels(&axis), expected, "{range:?}");
            assert!(axis.ends.0 <= range.0 && range.1 <= axis.ends.1, "{range:?} {axis:?}");
        };
        check((0.0, 89.0), &["0", "50"]);
        check((0.0, 121.0), &["0", "50", "100"]);
        check((0.0, 1.0), &["0", "1"]);
        check((1.0, 2.0), &["1", "2"]);
        check((7.0, 7.0), &["7"]);
        check((0.0, 0.0), &["0"]);
        check((0.0, 120_000.0), &["0", "50,000", "100,000"]);
    }

    #[test]
    fn hard_ranges_stay_bounded() {
        for range in [(1e11, 1e11 + 1e-5), (-1e12, 1e12), (5e-324, 5e-324), (0.0, 1e-300)] {
            for axis in [Axis::round(range), Axis::whole(range)] {
                assert!(axis.ticks.len() <= 9 && axis.ends.0 < axis.ends.1, "{range:?} {axis:?}");
                assert!(axis.ticks.iter().all(|tick| tick.value.is_finite()), "{range:?} {axis:?}");
            }
        }
    }

    #[test]
    fn places_keep_to_the_ends() {
        let scale = Scale { values: (0.0, 2.0), places: (100.0, 0.0) };
        let places = [-1.0, 0.0, 0.5, 2.0, 9.0].map(|value| scale.place(value));
        assert_eq!(places, [100.0, 100.0, 75.0, 0.0, 0.0]);
    }
}
