//! A curve over steps: a line, its points, and perhaps one point that was kept.

use std::fmt::Write;

use crate::report::html::Html;
use crate::report::model::Point;

use super::axis::{Area, Axis, Scale};
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
            let y = Axis::round(range(values)).draw_vertical(svg, &AREA);
            let x = Axis::whole(range(steps)).draw_horizontal(svg, &AREA, "step");
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
    // Below the point, where a curve that rises to it leaves room; above if it is at the bottom.
    let is_low = y > AREA.bottom - 28.0;
    let baseline = px(if is_low { y - 11.0 } else { AREA.bottom - 7.0 });
    html.word("text", &[("class", class), ("x", &px(x)), ("y", &baseline)], word);
}

/// Strokes of hardly any length, whose round caps are dots: a tenth of the text that circles need.
fn dots(points: &[Point], x: &Scale, y: &Scale) -> String {
    points.iter().fold(String::new(), |mut path, point| {
        let (x, y) = (px(x.place(point.step as f64)), px(y.place(point.value)));
        write!(path, "M{x} {y}h.01").expect("a String takes any text");
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

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(values: &[(u64, f64)], mark: Option<&'static str>, expected: Expect) {
        let points: Vec<Point> =
            values.iter().map(|(step, value)| Point { step: *step, value: *value }).collect();
        let mut html = Html::default();
        LineChart {
            caption: Caption { title: "Title", description: "Description." },
            points: &points,
            line: &points,
            dots: Dots::Solid,
            mark: mark.map(|word| (points[points.len() - 1], word)),
        }
        .draw(&mut html);
        expected.assert_eq(&html.finish());
    }

    #[test]
    fn curves_have_axes_and_a_mark() {
        check(
            &[(0, 0.5), (10, 0.75), (20, 1.0)],
            Some("kept"),
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" viewBox="0 0 340 190"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            <line class="axis" x1="46" y1="160" x2="322" y2="160"/>
            <text class="tick end" x="39" y="160" dy=".35em">0.4</text>
            <line class="grid" x1="46" y1="110" x2="322" y2="110"/>
            <text class="tick end" x="39" y="110" dy=".35em">0.6</text>
            <line class="grid" x1="46" y1="60" x2="322" y2="60"/>
            <text class="tick end" x="39" y="60" dy=".35em">0.8</text>
            <line class="grid" x1="46" y1="10" x2="322" y2="10"/>
            <text class="tick end" x="39" y="10" dy=".35em">1.0</text>
            <line class="axis" x1="46" y1="160" x2="46" y2="164"/>
            <text class="tick middle" x="46" y="178">0</text>
            <line class="axis" x1="115" y1="160" x2="115" y2="164"/>
            <text class="tick middle" x="115" y="178">5</text>
            <line class="axis" x1="184" y1="160" x2="184" y2="164"/>
            <text class="tick middle" x="184" y="178">10</text>
            <line class="axis" x1="253" y1="160" x2="253" y2="164"/>
            <text class="tick middle" x="253" y="178">15</text>
            <line class="axis" x1="322" y1="160" x2="322" y2="164"/>
            <text class="tick middle" x="322" y="178">20</text>
            <text class="tick" x="0" y="178">step</text>
            <path class="dots" d="M46 135h.01M184 72.5h.01M322 10h.01"/>
            <path class="curve" d="M46 135L184 72.5L322 10"/>
            <line class="mark" x1="322" y1="15" x2="322" y2="160"/>
            <circle class="ring" cx="322" cy="10" r="5"/>
            <text class="note end" x="316" y="153">kept</text>
            </svg>
        "#]],
        );
    }

    #[test]
    fn one_point_stands_in_the_middle() {
        check(
            &[(7, 2.0)],
            None,
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" viewBox="0 0 340 190"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            <line class="axis" x1="46" y1="160" x2="322" y2="160"/>
            <text class="tick end" x="39" y="160" dy=".35em">1.8</text>
            <line class="grid" x1="46" y1="122.5" x2="322" y2="122.5"/>
            <text class="tick end" x="39" y="122.5" dy=".35em">1.9</text>
            <line class="grid" x1="46" y1="85" x2="322" y2="85"/>
            <text class="tick end" x="39" y="85" dy=".35em">2.0</text>
            <line class="grid" x1="46" y1="47.5" x2="322" y2="47.5"/>
            <text class="tick end" x="39" y="47.5" dy=".35em">2.1</text>
            <line class="grid" x1="46" y1="10" x2="322" y2="10"/>
            <text class="tick end" x="39" y="10" dy=".35em">2.2</text>
            <line class="axis" x1="184" y1="160" x2="184" y2="164"/>
            <text class="tick middle" x="184" y="178">7</text>
            <text class="tick" x="0" y="178">step</text>
            <path class="dots" d="M184 85h.01"/>
            <path class="curve" d="M184 85"/>
            </svg>
        "#]],
        );
    }

    #[test]
    fn no_point_is_no_chart() {
        check(&[], None, expect![[""]]);
    }
}
