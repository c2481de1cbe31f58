//! Pictures for a page: plain SVG that scales with its column and takes its colours from the page.
//!
//! Charts with curves have a fixed drawing area that the page scales; bars that lie in a row of
//! text are drawn in per cent of the row, so that they stretch while the text beside them does not.

pub mod axis;
pub mod bars;
pub(super) mod line;

use crate::report::html::Html;

/// What a picture is called and what somebody who cannot see it should know.
#[derive(Clone, Copy, Debug)]
pub struct Caption<'a> {
    /// What it is called.
    pub title: &'a str,
    /// What it shows, in words.
    pub description: &'a str,
}

/// How a picture takes its place.
#[derive(Clone, Copy, Debug)]
pub enum Frame {
    /// A drawing area of so many units, scaled to the width of its column.
    Scaled {
        /// Its width.
        width: f64,
        /// Its height.
        height: f64,
    },
    /// As wide as its place and so many pixels high; drawn in per cent.
    Stretched {
        /// Its height.
        height: f64,
    },
}

/// Writes a picture with its title and description for screen readers.
pub fn picture(html: &mut Html, caption: &Caption, frame: &Frame, draw: impl FnOnce(&mut Html)) {
    let (title_id, description_id) = (html.fresh_id(), html.fresh_id());
    let labels = format!("{title_id} {description_id}");
    let (name, value, height) = match frame {
        Frame::Scaled { width, height } => {
            ("viewBox", format!("0 0 {} {}", px(*width), px(*height)), "auto".to_owned())
        }
        Frame::Stretched { height } => ("width", "100%".to_owned(), px(*height)),
    };
    let mut attributes = vec![("role", "img"), ("aria-labelledby", &labels), (name, &value)];
    match frame {
        Frame::Scaled { .. } => {}
        Frame::Stretched { .. } => attributes.push(("height", &height)),
    }
    html.element("svg", &attributes, |svg| {
        svg.word("title", &[("id", &title_id)], caption.title);
        svg.word("desc", &[("id", &description_id)], caption.description);
        draw(svg);
    });
}

/// The class of a tenant's colour, by its place in the report.
pub fn tone(tenant: usize) -> String {
    format!("tone{}", tenant % TONES)
}

/// The class of a part's shade, by its place in a stack.
pub fn shade(part: usize) -> String {
    format!("shade{}", part % SHADES)
}

/// A coordinate, to a tenth of a unit.
pub fn px(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}

/// A coordinate in per cent of the row.
fn pct(share: f64) -> String {
    format!("{}%", (share * 100_000.0).round() / 1000.0)
}

/// Colours of tenants in the style sheet.
const TONES: usize = 6;

/// Shades of parts in the style sheet.
const SHADES: usize = 6;
