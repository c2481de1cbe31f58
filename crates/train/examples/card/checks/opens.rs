//! The card opens in both formats: what there is, and what is missing.

use cotenant_transformer::Fault;
use serde_json::json;

use super::super::place::{Place, Stage};
use super::super::report::{Bar, Figure, Rows, say};
use super::super::scene;
use super::super::work::PRECISIONS;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let mut is_open = false;
    for (precision, format) in PRECISIONS {
        let what = format!("the card opens for {format}");
        let notes = match stage.open(precision, (scene::small(), 0)) {
            Ok(opened) => opened.notes,
            Err(Fault::Refused(why)) if !is_open => {
                rows.cannot(&what, &why);
                continue;
            }
            Err(fault) => return Err(fault.to_string()),
        };
        say(&json!({
            "card": notes.card, "driver": notes.driver, "compiler": notes.compiler, "code": notes.code,
            "free_bytes": notes.free_bytes, "products": notes.products,
        }));
        is_open = P::IS_CARD;
        rows.claim(&what, Ok(()));
        rows.add(Figure {
            what: &format!("cuBLASLt multiplies in {format}"),
            value: f64::from(u8::from(notes.products.is_some())),
            unit: "",
            bar: if P::IS_CARD { Bar::Holds } else { Bar::Measured },
            detail: notes.notes.join("; "),
        });
    }
    Ok(())
}
