//! Curves over per cent in one picture, each with its name at its end.

use std::fmt::Write;

use cotenant_rag::report::html::Html;
use cotenant_rag::report::svg::axis::{Area, Axis, Scale};
use cotenant_rag::report::svg::{Caption, Frame, picture, px, tone};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const AREA: Area = Area { left: 70.0, right: 540.0, top: 10.0, bottom: 306.0 };

/// Between the names of two curves at least.
const LINE: f64 = 14.0;

/// Values at 0, 1, 2 … per cent, and what they are of.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
}

/// A picture of curves.
pub(super) struct Curves<'a> {
    pub(super) caption: Caption<'a>,
    /// What the per cent are of.
    pub(super) across: &'a str,
    /// The per cent at which the picture begins.
    pub(super) first: usize,
    pub(super) curves: &'a [Curve],
}

impl Curves<'_> {
    /// Writes the picture.
    pub(super) fn draw(&self, html: &mut Html) {
        let shown = self.curves.iter().flat_map(|curve| curve.values.iter().skip(self.first));
        let range = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
        let last = self.curves.iter().map(|curve| curve.values.len()).max().unwrap_or_default();
        if last < self.first + 2 {
            return;
        }
        picture(html, &self.caption, &Frame::Scaled { width: WIDTH, height: HEIGHT }, |svg| {
            let y = Axis::round(range).draw_vertical(svg, &AREA);
            let ends = (self.first as f64, last as f64 - 1.0);
            let x = Axis::whole(ends).draw_horizontal(svg, &AREA, self.across);
            for (place, curve) in self.curves.iter().enumerate() {
                svg.element("g", &[("class", &tone(place))], |group| {
                    let path = path(&curve.values[self.first..], self.first, (&x, &y));
                    group.leaf(
                        "path",
                        &[("class", "curve"), ("d", &path), ("stroke-dasharray", dash(place))],
                    );
                });
            }
            self.draw_names(svg, &y);
        });
    }

    /// Writes the names beside the ends of the curves, pushed apart where they would overlap.
    fn draw_names(&self, svg: &mut Html, y: &Scale) {
        let end = |curve: &Curve| curve.values.last().map_or(AREA.bottom, |value| y.place(*value));
        let mut names: Vec<(f64, usize)> =
            self.curves.iter().enumerate().map(|(place, curve)| (end(curve), place)).collect();
        names.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        for at in 1..names.len() {
            names[at].0 = names[at].0.max(names[at - 1].0 + LINE);
        }
        // What was pushed below the picture pushes the others up again.
        let mut lowest = AREA.bottom;
        for (height, _) in names.iter_mut().rev() {
            *height = height.min(lowest);
            lowest = *height - LINE;
        }
        for (height, place) in names {
            svg.element("g", &[("class", &tone(place))], |group| {
                let line = [
                    ("class", "curve"),
                    ("x1", &px(AREA.right + 6.0)[..]),
                    ("x2", &px(AREA.right + 24.0)),
                    ("y1", &px(height)),
                    ("y2", &px(height)),
                    ("stroke-dasharray", dash(place)),
                ];
                group.leaf("line", &line);
                let x = px(AREA.right + 28.0);
                let at = [("class", "note"), ("x", &x[..]), ("y", &px(height)), ("dy", ".35em")];
                group.word("text", &at, &self.curves[place].name);
            });
        }
    }
}

/// What tells lines apart beside their colours, of which there are fewer than curves.
fn dash(place: usize) -> &'static str {
    ["none", "6 3", "2 3", "9 3 2 3"][place % 4]
}

fn path(values: &[f64], first: usize, (x, y): (&Scale, &Scale)) -> String {
    values.iter().zip(first..).fold(String::new(), |mut path, (value, percent)| {
        let command = if path.is_empty() { 'M' } else { 'L' };
        let (x, y) = (px(x.place(percent as f64)), px(y.place(*value)));
        write!(path, "{command}{x} {y}").expect("a String takes any text");
        path
    })
}
