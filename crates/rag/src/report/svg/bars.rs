//! Bars: scores before and after, amounts stacked by parts, and a difference with its interval.

use crate::report::html::Html;
use crate::report::model::Interval;
use crate::report::number;

use super::axis::{Area, Axis, Scale};
use super::{Caption, Frame, pct, picture, px};

/// One metric before and after.
pub(in crate::report) struct Pair {
    pub(in crate::report) name: &'static str,
    pub(in crate::report) before: f64,
    pub(in crate::report) after: f64,
}

/// A part of a stack.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What it is a part of.
    pub name: String,
    /// Class of its colour.
    pub class: String,
    /// How much it is.
    pub amount: f64,
    /// The amount as people read it.
    pub words: String,
}

const WIDTH: f64 = 340.0;
const THICKNESS: f64 = 13.0;
const PITCH: f64 = 42.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 294.0;

/// Writes bars from 0 to 1: for each metric one before and, below it, one after.
pub(in crate::report) fn draw_pairs(html: &mut Html, caption: &Caption, pairs: &[Pair]) {
    let bottom = PITCH * pairs.len() as f64 + 2.0;
    let area = Area { left: LEFT, right: RIGHT, top: 0.0, bottom };
    picture(html, caption, &Frame::Scaled { width: WIDTH, height: bottom + 26.0 }, |svg| {
        let scale = Axis::round((0.0, 1.0)).draw_horizontal(svg, &area, "");
        let axis = [("class", "axis"), ("x1", &px(LEFT)[..]), ("y1", "0"), ("x2", &px(LEFT))];
        svg.leaf("line", &[&axis[..], &[("y2", &px(bottom))]].concat());
        for (place, pair) in pairs.iter().enumerate() {
            let top = PITCH * place as f64 + 5.0;
            let middle = px(top + THICKNESS + 1.0);
            let at = [("class", "label end"), ("x", &px(LEFT - 8.0)), ("y", &middle)];
            svg.word("text", &[&at[..], &[("dy", ".35em")]].concat(), pair.name);
            draw_bar(svg, &scale, &Bar { class: "before", value: pair.before, top });
            let top = top + THICKNESS + 2.0;
            draw_bar(svg, &scale, &Bar { class: "after", value: pair.after, top });
        }
    });
}

/// Writes amounts one after another, as a share of `full`; nothing for what is no amount.
pub fn draw_stack(html: &mut Html, caption: &Caption, segments: &[Segment], full: f64) {
    picture(html, caption, &Frame::Stretched { height: 22.0 }, |svg| {
        let mut start = 0.0;
        for segment in segments {
            let share = segment.amount / full;
            if !share.is_finite() || share <= 0.0 {
                continue;
            }
            let share = share.min(1.0 - start);
            let (x, width) = (pct(start), pct(share));
            let rect = [("class", &segment.class[..]), ("x", &x), ("y", "0"), ("width", &width)];
            svg.element("rect", &[&rect[..], &[("height", "22")]].concat(), |rect| {
                rect.word("title", &[], &format!("{}: {}", segment.name, segment.words));
            });
            start += share;
        }
    });
}

/// Writes a difference as a point on its interval, with zero in the middle and `reach` at both
/// ends; only the middle if there is no such interval.
pub(in crate::report) fn draw_interval(
    html: &mut Html,
    caption: &Caption,
    interval: &Interval,
    reach: f64,
) {
    picture(html, caption, &Frame::Stretched { height: 14.0 }, |svg| {
        svg.leaf(
            "line",
            &[("class", "axis"), ("x1", "50%"), ("y1", "0"), ("x2", "50%"), ("y2", "14")],
        );
        let at = |value: f64| pct((0.5 + 0.48 * value / reach).clamp(0.0, 1.0));
        let values = [interval.low, interval.mean, interval.high];
        if reach > 0.0 && values.iter().all(|value| (value / reach).is_finite()) {
            let [low, mean, high] = values.map(at);
            let line = [("class", "whisker"), ("x1", &low[..]), ("y1", "7"), ("x2", &high)];
            svg.leaf("line", &[&line[..], &[("y2", "7")]].concat());
            svg.leaf("circle", &[("class", "after"), ("cx", &mean), ("cy", "7"), ("r", "4")]);
        }
    });
}

struct Bar {
    class: &'static str,
    value: f64,
    top: f64,
}

fn draw_bar(html: &mut Html, scale: &Scale, bar: &Bar) {
    let end = if bar.value.is_finite() { scale.place(bar.value) } else { LEFT };
    let (left, top) = (px(LEFT), px(bar.top));
    let rect = [("class", bar.class), ("x", &left), ("y", &top), ("width", &px(end - LEFT))];
    html.leaf("rect", &[&rect[..], &[("height", &px(THICKNESS))]].concat());
    let middle = px(bar.top + THICKNESS / 2.0);
    let at = [("class", "tick"), ("x", &px(end + 5.0)), ("y", &middle), ("dy", ".36em")];
    html.word("text", &at, &number::score(bar.value));
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const CAPTION: Caption = Caption { title: "Title", description: "Description." };

    fn check(draw: impl FnOnce(&mut Html), expected: Expect) {
        let mut html = Html::default();
        draw(&mut html);
        expected.assert_eq(&html.finish());
    }

    fn segment(name: &str, amount: f64) -> Segment {
        let words = number::memory(amount).replace('\u{a0}', " ");
        Segment { name: name.to_owned(), class: "shade0".to_owned(), amount, words }
    }

    #[test]
    fn pairs_are_bars_with_their_values() {
        let pairs = [Pair { name: "nDCG@10", before: 0.5, after: f64::NAN }];
        check(
            |html| draw_pairs(html, &CAPTION, &pairs),
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" viewBox="0 0 340 70"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            <line class="axis" x1="78" y1="44" x2="78" y2="48"/>
            <text class="tick middle" x="78" y="62">0.0</text>
            <line class="axis" x1="186" y1="44" x2="186" y2="48"/>
            <text class="tick middle" x="186" y="62">0.5</text>
            <line class="axis" x1="294" y1="44" x2="294" y2="48"/>
            <text class="tick middle" x="294" y="62">1.0</text>
            <line class="axis" x1="78" y1="0" x2="78" y2="44"/>
            <text class="label end" x="70" y="19" dy=".35em">nDCG@10</text>
            <rect class="before" x="78" y="5" width="108" height="13"/>
            <text class="tick" x="191" y="11.5" dy=".36em">0.500</text>
            <rect class="after" x="78" y="20" width="0" height="13"/>
            <text class="tick" x="83" y="26.5" dy=".36em">–</text>
            </svg>
        "#]],
        );
    }

    #[test]
    fn stacks_are_shares_of_the_longest() {
        let segments = [segment("a", 25.0), segment("b", f64::NAN), segment("c", 50.0)];
        check(
            |html| draw_stack(html, &CAPTION, &segments, 100.0),
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" width="100%" height="22"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            <rect class="shade0" x="0%" y="0" width="25%" height="22"><title>a: 25.0 MiB</title>
            </rect>
            <rect class="shade0" x="25%" y="0" width="50%" height="22"><title>c: 50.0 MiB</title>
            </rect>
            </svg>
        "#]],
        );
        // Parts that are more than the whole end with it; no whole, no parts.
        check(
            |html| draw_stack(html, &CAPTION, &segments, 50.0),
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" width="100%" height="22"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            <rect class="shade0" x="0%" y="0" width="50%" height="22"><title>a: 25.0 MiB</title>
            </rect>
            <rect class="shade0" x="50%" y="0" width="50%" height="22"><title>c: 50.0 MiB</title>
            </rect>
            </svg>
        "#]],
        );
        check(
            |html| draw_stack(html, &CAPTION, &segments, 0.0),
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" width="100%" height="22"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            </svg>
        "#]],
        );
    }

    #[test]
    fn intervals_lie_about_no_change() {
        let interval = Interval { mean: 0.02, low: -0.01, high: 0.05, p_value: 0.2 };
        check(
            |html| draw_interval(html, &CAPTION, &interval, 0.1),
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" width="100%" height="14"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            <line class="axis" x1="50%" y1="0" x2="50%" y2="14"/>
            <line class="whisker" x1="45.2%" y1="7" x2="74%" y2="7"/>
            <circle class="after" cx="59.6%" cy="7" r="4"/>
            </svg>
        "#]],
        );
        check(
            |html| draw_interval(html, &CAPTION, &interval, 0.0),
            expect![[r#"
            <svg role="img" aria-labelledby="i1 i2" width="100%" height="14"><title id="i1">Title</title>
            <desc id="i2">Description.</desc>
            <line class="axis" x1="50%" y1="0" x2="50%" y2="14"/>
            </svg>
        "#]],
        );
    }
}
