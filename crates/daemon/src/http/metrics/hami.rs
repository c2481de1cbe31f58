//! The names of HAMi's monitor and scheduler (v2.10), so that dashboards made for it show this pool.
//!
//! A tenant is its `namespace`, a job its `pod`, a member its `container`. What it calls a ratio is
//! per cent, but for the part of a card's memory that is allocated.

use std::collections::BTreeMap;

use cotenant_api::UseView;
use cotenant_sched::CardRecord;

use super::figures::{Figures, Held};
use super::own::{Kept, bytes, kept};
use super::page::{Page, Sample};

type Labels = Vec<(&'static str, String)>;

/// Writes what is known of cards and slices.
pub(super) fn write(page: &mut Page, figures: &Figures) {
    cards_used(page, figures);
    cards_allocated(page, figures);
    slices(page, figures);
}

fn of_card(record: &CardRecord) -> Labels {
    let card = &record.card;
    vec![
        ("node", card.node.to_string()),
        ("device_index", card.index.to_string()),
        ("device_uuid", card.id.to_string()),
        ("device_type", card.model.clone()),
    ]
}

fn percent(per_mille: u32) -> f64 {
    f64::from(per_mille) / 10.0
}

/// What the monitor says of cards.
fn cards_used(page: &mut Page, figures: &Figures) {
    let each = |value: &dyn Fn(&UseView) -> Option<f64>| -> Vec<Sample> {
        let cards = figures.usable().filter_map(|record| {
            Some((of_card(record), value(&figures.uses.of_card(&record.card)?)?))
        });
        cards.collect()
    };
    page.gauge(
        "hami_host_gpu_memory_used_bytes",
        "GPU device memory usage in bytes",
        each(&|used| Some(bytes(used.memory_mib))),
    );
    page.gauge(
        "hami_host_gpu_utilization_ratio",
        "GPU core utilization ratio (0-100)",
        each(&|used| Some(percent(used.compute_per_mille))),
    );
    page.gauge(
        "hami_host_gpu_temperature_celsius",
        "GPU temperature in degrees Celsius",
        each(&|used| used.temperature_c.map(f64::from)),
    );
    page.gauge(
        "hami_host_gpu_power_usage_watts",
        "GPU power draw in watts",
        each(&|used| used.power_mw.map(|milliwatts| milliwatts as f64 / 1000.0)),
    );
}

/// What the scheduler says of cards.
fn cards_allocated(page: &mut Page, figures: &Figures) {
    let sums = kept(figures);
    let of = |record: &CardRecord| sums.get(&record.card.id).copied().unwrap_or_default();
    let each = |value: &dyn Fn(&CardRecord, Kept) -> f64| -> Vec<Sample> {
        figures.usable().map(|it| (of_card(it), value(it, of(it)))).collect()
    };
    page.gauge(
        "hami_gpu_memory_limit_bytes",
        "Device memory limit for a certain GPU",
        each(&|record, _| bytes(record.card.memory.0)),
    );
    page.gauge(
        "hami_gpu_core_limit_ratio",
        "Device core limit for a certain GPU",
        each(&|_, _| 100.0),
    );
    let with_cores = each(&|_, kept| bytes(kept.memory_mib)).into_iter().map(|(labels, value)| {
        let cores = [("device_cores", "100".to_owned())];
        (labels.into_iter().chain(cores).collect(), value)
    });
    page.gauge(
        "hami_gpu_memory_allocated_bytes",
        "Device memory allocated for a certain GPU",
        with_cores,
    );
    page.gauge(
        "hami_gpu_shared_count",
        "Number of containers sharing this GPU",
        each(&|_, kept| f64::from(kept.slices)),
    );
    page.gauge(
        "hami_gpu_core_allocated_ratio",
        "Device core allocated for a certain GPU",
        each(&|_, kept| percent(kept.compute_per_mille)),
    );
    let parts = each(&|record, kept| kept.memory_mib as f64 / record.card.memory.0.max(1) as f64);
    let parts = parts.into_iter().map(|(mut labels, value)| {
        labels.retain(|(name, _)| *name != "device_type");
        (labels, value)
    });
    page.gauge(
        "hami_node_gpu_memory_allocated_ratio",
        "GPU Memory Allocated Percentage on a certain GPU",
        parts,
    );
}

/// What both say of slices.
fn slices(page: &mut Page, figures: &Figures) {
    let nodes: BTreeMap<_, _> =
        figures.cards.iter().map(|it| (&it.card.id, &it.card.node)).collect();
    let used = |held: &Held<'_>| figures.uses.of_slice(held.job.id, held.member, &held.slice.card);
    let monitored = |value: &dyn Fn(&Held<'_>) -> Option<f64>| -> Vec<Sample> {
        figures.slices().filter_map(|held| Some((of_slice(&held), value(&held)?))).collect()
    };
    let scheduled = |value: &dyn Fn(&Held<'_>) -> f64| -> Vec<Sample> {
        let samples = figures.slices().map(|held| {
            let node = nodes.get(&held.slice.card).map(|node| node.to_string());
            let labels = vec![
                ("namespace", held.job.terms.tenant.to_string()),
                ("node", node.unwrap_or_default()),
                ("pod", format!("job-{}", held.job.id)),
                ("container_index", held.member.to_string()),
                ("device_uuid", held.slice.card.to_string()),
            ];
            (labels, value(&held))
        });
        samples.collect()
    };
    page.gauge(
        "hami_vgpu_memory_used_bytes",
        "vGPU device memory usage in bytes",
        monitored(&|held| Some(bytes(used(held)?.memory_mib))),
    );
    page.gauge(
        "hami_vgpu_memory_limit_bytes",
        "vGPU device memory limit in bytes",
        monitored(&|held| Some(bytes(held.slice.memory.limit.0))),
    );
    page.gauge(
        "hami_container_device_memory_bytes",
        "Container device memory usage in bytes",
        monitored(&|held| Some(bytes(used(held)?.memory_mib))),
    );
    page.gauge(
        "hami_container_device_utilization_ratio",
        "Container device SM utilization ratio",
        monitored(&|held| Some(percent(used(held)?.compute_per_mille))),
    );
    page.gauge(
        "hami_vgpu_memory_allocated_bytes",
        "vGPU memory allocated from a container",
        scheduled(&|held| bytes(held.slice.memory.request.0)),
    );
    page.gauge(
        "hami_vgpu_core_allocated_ratio",
        "vGPU core allocated from a container",
        scheduled(&|held| percent(held.slice.compute.request.per_mille())),
    );
}

/// A virtual device's index is its place among the slices of its member.
fn of_slice(held: &Held<'_>) -> Labels {
    let member = held.job.placement().and_then(|it| it.0.get(held.member as usize));
    let slices = member.map(|member| member.slices.as_slice()).unwrap_or_default();
    let index = slices.iter().position(|slice| slice.card == held.slice.card).unwrap_or(0);
    vec![
        ("namespace", held.job.terms.tenant.to_string()),
        ("pod", format!("job-{}", held.job.id)),
        ("container", format!("member-{}", held.member)),
        ("vdevice_index", index.to_string()),
        ("device_uuid", held.slice.card.to_string()),
    ]
}
