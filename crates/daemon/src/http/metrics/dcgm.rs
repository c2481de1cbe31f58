//! The names of NVIDIA's dcgm-exporter, so that dashboards made for it show this pool's cards.
//!
//! Units are that exporter's: MiB of frame buffer, per cent, degrees and watts. What it says of a
//! card by its own counters alone (clocks, NVLink, errors) is not made up here.

use cotenant_api::UseView;
use cotenant_sched::CardRecord;
use cotenant_types::CardKind;

use super::figures::Figures;
use super::page::{Page, Sample};

/// Writes what is known of the cards.
pub(super) fn write(page: &mut Page, figures: &Figures) {
    let each = |value: &dyn Fn(&CardRecord, &UseView) -> Option<f64>| -> Vec<Sample> {
        let cards = figures.usable().filter_map(|record| {
            let used = figures.uses.of_card(&record.card)?;
            Some((labels(record), value(record, &used)?))
        });
        cards.collect()
    };
    let free = |record: &CardRecord, used: &UseView| {
        Some(record.card.memory.0.saturating_sub(used.memory_mib) as f64)
    };
    page.gauge(
        "DCGM_FI_DEV_GPU_UTIL",
        "GPU utilization (in %).",
        each(&|_, used| Some(f64::from(used.compute_per_mille) / 10.0)),
    );
    page.gauge(
        "DCGM_FI_DEV_FB_USED",
        "Framebuffer memory used (in MiB).",
        each(&|_, used| Some(used.memory_mib as f64)),
    );
    page.gauge("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", each(&free));
    page.gauge(
        "DCGM_FI_DEV_GPU_TEMP",
        "GPU temperature (in C).",
        each(&|_, used| used.temperature_c.map(f64::from)),
    );
    page.gauge(
        "DCGM_FI_DEV_POWER_USAGE",
        "Power draw (in W).",
        each(&|_, used| used.power_mw.map(|milliwatts| milliwatts as f64 / 1000.0)),
    );
}

/// The exporter has called the machine `Hostname`, and calls it `hostname` since May 2026;
/// dashboards of both times are about.
fn labels(record: &CardRecord) -> Vec<(&'static str, String)> {
    let card = &record.card;
    let device = match card.kind {
        CardKind::Nvidia => format!("nvidia{}", card.index),
        CardKind::Cpu | CardKind::Sim => card.id.to_string(),
    };
    vec![
        ("gpu", card.index.to_string()),
        ("UUID", card.id.to_string()),
        ("device", device),
        ("modelName", card.model.clone()),
        ("Hostname", card.node.to_string()),
        ("hostname", card.node.to_string()),
    ]
}
