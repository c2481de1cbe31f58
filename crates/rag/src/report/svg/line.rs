//! A curve over steps: a line, its points, and perhaps one point that was kept.

use std::fmt::Write;

use crate::report::html::Html;
use crate::report::model::Point;

use super::axis::{Area, Scale, draw_horizontal, draw_vertical, ticks};
use super::{Caption, Frame, picture, px};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 190.0;
const AREA: Area = Area { left: 46.0, right: 322.0, top: 10.0, bottom: 160.0 };

/// A chart of one curve.
pub(in crate::report) struct LineChart<'a> {
    pub(in crate::report) caption: Caption<'a>,
    /// Points that are drawn as points; not empty, all finite.
    pub(in crate::report) points: &'a [Point],
    /// The line, which may be smoother than the points; all finite.
    pub(in crate::report) line: &'a [Point],
    /// How much the points count.
    pub(in crate::report) dots: Dots,
    /// A point with a word to it.
    pub(in crate::report) mark: Option<(Point, &'a str)>,
}

/// How points look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Dots {
    /// Behind the line: many noisy values.
    Faint,
    /// On the line: few values that count.
    Solid,
}

impl LineChart<'_> {
    /// Writes the chart; nothing if there is no point.
    pub(in crate::report) fn draw(&self, html: &mut Html) {
        if self.points.is_empty() {
            return;
        }
        picture(html, &self.caption, &Frame::Scaled { width: WIDTH, height: HEIGHT }, |svg| {
            let values = self.points.iter().chain(self.line).map(|point| point.value);
            let steps = self.points.iter().map(|point| point.step as f64);
            let y = draw_vertical(svg, &AREA, &ticks(range(values), 4, 0.0));
            let x = draw_horizontal(svg, &AREA, &ticks(range(steps), 4, 1.0), "step");
            let class = match self.dots {
                Dots::Faint => "dots faint",
                Dots::Solid => "dots",
            };
            svg.leaf("path", &[("class", class), ("d", &dots(self.points, &x, &y))]);
            svg.leaf("path", &[("class", "curve"), ("d", &path(self.line, &x, &y))]);
            if let Some((point, word)) = &self.mark {
                draw_mark(svg, word, (x.place(point.step as f64), y.place(point.value)));
            }
        });
    }
}

fn draw_mark(html: &mut Html, word: &str, (x, y): (f64, f64)) {
    let at = px(x);
    let line = [
        ("class", "mark"),
        ("x1", &at[..]),
        ("y1", &px(y + 5.0)),
        ("x2", &at),
        ("y2", &px(AREA.bottom)),
    ];
    html.leaf("line", &line);
    html.leaf("circle", &[("class", "ring"), ("cx", &at), ("cy", &px(y)), ("r", "5")]);
    let is_right = x > (AREA.left + AREA.right) / 2.0;
    let (class, x) = if is_right { ("note end", x - 6.0) } else { ("note", x + 6.0) };
    let baseline = px(AREA.bottom - 7.0);
    html.word("text", &[("class", class), ("x", &px(x)), ("y", &baseline)], word);
}

/// Strokes of no length, whose round caps are dots: a tenth of the text that circles need.
fn dots(points: &[Point], x: &Scale, y: &Scale) -> String {
    points.iter().fold(String::new(), |mut path, point| {
        let (x, y) = (px(x.place(point.step as f64)), px(y.place(point.value)));
        write!(path, "M{x} {y}h0").expect("a String takes any text");
        path
    })
}

fn path(points: &[Point], x: &Scale, y: &Scale) -> String {
    points.iter().fold(String::new(), |mut path, point| {
        let command = if path.is_empty() { 'M' } else { 'L' };
        let (x, y) = (px(x.place(point.step as f64)), px(y.place(point.value)));
        write!(path, "{command}{x} {y}").expect("a String takes any text");
        path
    })
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}
