//! The names of NVIDIA's dcgm-exporter, so that dashboards made for it show this pool's cards.
//!
//! Units are that exporter's: MiB of frame buffer, per cent, degrees, watts, megahertz, millijoules.
//! What it says of a card by its own counters alone (NVLink, tensor cores) is not made up here.

use cotenant_api::UseView;
use cotenant_device::Vitals;
use cotenant_sched::CardRecord;
use cotenant_types::CardKind;

use super::figures::Figures;
use super::page::{Kind, Page, Sample};

/// A field that a card's own answers fill.
struct Field {
    name: &'static str,
    kind: Kind,
    about: &'static str,
    value: fn(&Vitals) -> Option<f64>,
}

const GAUGE: Kind = Kind::Gauge;
const COUNTER: Kind = Kind::Counter;

#[rustfmt::skip]
const FIELDS: [Field; 16] = [
    Field { name: "DCGM_FI_DEV_SM_CLOCK", kind: GAUGE, about: "Clock of the multiprocessors (in MHz).",
        value: |it| it.sm_clock_mhz.map(f64::from) },
    Field { name: "DCGM_FI_DEV_MEM_CLOCK", kind: GAUGE, about: "Clock of the memory (in MHz).",
        value: |it| it.memory_clock_mhz.map(f64::from) },
    Field { name: "DCGM_FI_DEV_POWER_MGMT_LIMIT", kind: GAUGE, about: "Power limit (in W).",
        value: |it| it.power_limit_mw.map(|mw| f64::from(mw) / 1000.0) },
    Field { name: "DCGM_FI_DEV_SLOWDOWN_TEMP", kind: GAUGE, about: "Temperature that slows it (in C).",
        value: |it| it.slowdown_c.map(f64::from) },
    Field { name: "DCGM_FI_DEV_SHUTDOWN_TEMP", kind: GAUGE, about: "Temperature that stops it (in C).",
        value: |it| it.shutdown_c.map(f64::from) },
    Field { name: "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", kind: GAUGE, about: "Why clocks are low (bits).",
        value: |it| it.throttle_bits.map(|bits| bits as f64) },
    Field { name: "DCGM_FI_DEV_XID_ERRORS", kind: GAUGE, about: "Number of the last Xid error, or 0.",
        value: |it| Some(it.xids.last().map_or(0.0, |&xid| xid as f64)) },
    Field { name: "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", kind: COUNTER, about: "Energy used (in mJ).",
        value: |it| it.energy_mj.map(|mj| mj as f64) },
    Field { name: "DCGM_FI_DEV_PCIE_REPLAY_COUNTER", kind: COUNTER, about: "What the bus sent again.",
        value: |it| it.pcie_replays.map(f64::from) },
    Field { name: "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", kind: COUNTER, about: "Memory errors, corrected.",
        value: |it| it.ecc.map(|ecc| ecc.corrected as f64) },
    Field { name: "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", kind: COUNTER, about: "Memory errors, uncorrected.",
        value: |it| it.ecc.map(|ecc| ecc.uncorrected as f64) },
    Field { name: "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", kind: COUNTER,
        about: "Rows of memory replaced after corrected errors.",
        value: |it| it.rows.map(|rows| f64::from(rows.corrected)) },
    Field { name: "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", kind: COUNTER,
        about: "Rows of memory replaced after uncorrected errors.",
        value: |it| it.rows.map(|rows| f64::from(rows.uncorrected)) },
    Field { name: "DCGM_FI_DEV_ROW_REMAP_PENDING", kind: GAUGE,
        about: "Whether rows of memory wait for a reset to be replaced.",
        value: |it| it.rows.map(|rows| f64::from(u8::from(rows.is_pending))) },
    Field { name: "DCGM_FI_DEV_ROW_REMAP_FAILURE", kind: GAUGE,
        about: "Whether a row of memory could not be replaced.",
        value: |it| it.rows.map(|rows| f64::from(u8::from(rows.has_failed))) },
    Field { name: "DCGM_FI_DEV_RETIRED_PENDING", kind: GAUGE,
        about: "Whether pages of memory wait for a reset to be retired.",
        value: |it| it.are_pages_pending.map(|pending| f64::from(u8::from(pending))) },
];

/// Writes what is known of the cards.
pub(super) fn write(page: &mut Page, figures: &Figures) {
    write_used(page, figures);
    // A family without a sample says nothing, so that a pool without NVIDIA cards has none.
    for field in &FIELDS {
        let samples = figures.usable().filter_map(|record| {
            let condition = figures.uses.conditions.get(&record.card.id)?;
            Some((labels(record), (field.value)(&condition.vitals)?))
        });
        let samples: Vec<Sample> = samples.collect();
        if !samples.is_empty() {
            page.family((field.name, field.kind), field.about, samples);
        }
    }
}

fn write_used(page: &mut Page, figures: &Figures) {
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

#[cfg(test)]
mod tests {
    use cotenant_device::{EccErrors, RowRemaps};

    use super::*;

    #[test]
    fn every_field_is_filled_from_what_cards_tell_and_from_nothing_else() {
        let told = |vitals: &Vitals| -> Vec<String> {
            let known = |field: &Field| Some(format!("{} {}", field.name, (field.value)(vitals)?));
            FIELDS.iter().filter_map(known).collect()
        };
        // Only that there was no error is known of a card that tells nothing.
        assert_eq!(told(&Vitals::default()), ["DCGM_FI_DEV_XID_ERRORS 0"]);
        let vitals = Vitals {
            throttle_bits: Some(0x44),
            power_limit_mw: Some(700_000),
            slowdown_c: Some(87),
            shutdown_c: Some(92),
            sm_clock_mhz: Some(1980),
            memory_clock_mhz: Some(2619),
            energy_mj: Some(5),
            pcie_replays: Some(6),
            ecc: Some(EccErrors { corrected: 7, uncorrected: 8 }),
            rows: Some(RowRemaps {
                corrected: 9,
                uncorrected: 10,
                is_pending: true,
                has_failed: false,
            }),
            are_pages_pending: Some(true),
            xids: vec![13, 94],
            ..Vitals::default()
        };
        let expected = [
            "DCGM_FI_DEV_SM_CLOCK 1980",
            "DCGM_FI_DEV_MEM_CLOCK 2619",
            "DCGM_FI_DEV_POWER_MGMT_LIMIT 700",
            "DCGM_FI_DEV_SLOWDOWN_TEMP 87",
            "DCGM_FI_DEV_SHUTDOWN_TEMP 92",
            "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS 68",
            "DCGM_FI_DEV_XID_ERRORS 94",
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION 5",
            "DCGM_FI_DEV_PCIE_REPLAY_COUNTER 6",
            "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL 7",
            "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL 8",
            "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS 9",
            "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS 10",
            "DCGM_FI_DEV_ROW_REMAP_PENDING 1",
            "DCGM_FI_DEV_ROW_REMAP_FAILURE 0",
            "DCGM_FI_DEV_RETIRED_PENDING 1",
        ];
        assert_eq!(told(&vitals), expected);
    }
}
