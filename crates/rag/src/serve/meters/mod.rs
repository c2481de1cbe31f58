//! What a server counts: by tenant, so that each can be shown its own.

mod histogram;
mod page;
mod searches;
mod trials;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::adapters::Held;
use histogram::Histogram;
use page::{Kind, Page, Sample};
pub(super) use searches::Searched;
use searches::Searches;
use trials::Trials;

/// Upper bounds of times, in seconds.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of batches, in tokens or texts.
const SIZES: &[f64] = &[1.0, 4.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// How large a forward was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchSize {
    pub(super) tokens: u64,
    pub(super) texts: u64,
    /// Different adapters, the bare model among them.
    pub(super) adapters: u64,
}

/// Counts since the start.
pub(super) struct Meters(Mutex<Counts>);

struct Counts {
    tenants: BTreeMap<Arc<str>, Tenant>,
    batch_tokens: Histogram,
    batch_texts: Histogram,
    batch_adapters: Histogram,
    forward_s: Histogram,
    load_s: Histogram,
    loads_failed: u64,
    evicted: u64,
    late: u64,
    gone: u64,
}

struct Tenant {
    /// Requests by route and status.
    requests: BTreeMap<(&'static str, u16), u64>,
    texts: u64,
    tokens: u64,
    latency_s: Histogram,
    searches: Searches,
    trials: Trials,
}

/// What is true now, beside what was counted.
#[derive(Clone, Debug)]
pub(super) struct Now {
    /// Whether the work behind the index's writes fails, by tenant.
    pub(super) index_failing: Vec<(String, bool)>,
    pub(super) waiting_tokens: u64,
    pub(super) adapters: Held,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Counts {
            tenants: BTreeMap::new(),
            batch_tokens: Histogram::new(SIZES),
            batch_texts: Histogram::new(SIZES),
            batch_adapters: Histogram::new(SIZES),
            forward_s: Histogram::new(SECONDS),
            load_s: Histogram::new(SECONDS),
            loads_failed: 0,
            evicted: 0,
            late: 0,
            gone: 0,
        }))
    }

    pub(super) fn on_request(
        &self,
        tenant: &Arc<str>,
        (route, status): (&'static str, u16),
        took: Duration,
    ) {
        self.of(tenant, |tenant| {
            *tenant.requests.entry((route, status)).or_default() += 1;
            tenant.latency_s.add(took.as_secs_f64());
        });
    }

    pub(super) fn on_served(&self, tenant: &Arc<str>, tokens: u64) {
        self.of(tenant, |tenant| {
            tenant.texts += 1;
            tenant.tokens += tokens;
        });
    }

    pub(super) fn on_batch(&self, size: BatchSize, took: Duration) {
        let mut counts = self.lock();
        counts.batch_tokens.add(size.tokens as f64);
        counts.batch_texts.add(size.texts as f64);
        counts.batch_adapters.add(size.adapters as f64);
        counts.forward_s.add(took.as_secs_f64());
    }

    pub(super) fn on_left_out(&self, late: u64, gone: u64) {
        let mut counts = self.lock();
        counts.late += late;
        counts.gone += gone;
    }

    pub(super) fn on_load(&self, took: Duration) {
        self.lock().load_s.add(took.as_secs_f64());
    }

    pub(super) fn on_load_failed(&self) {
        self.lock().loads_failed += 1;
    }

    pub(super) fn on_evicted(&self, count: u64) {
        self.lock().evicted += count;
    }

    /// The text that Prometheus reads: of all tenants and the machine, or of one tenant alone.
    pub(super) fn text(&self, now: &Now, only: Option<&str>) -> String {
        let counts = self.lock();
        let mut page = Page::default();
        let shown = |name: &str| only.is_none_or(|only| only == name);
        let tenants: Vec<_> = counts.tenants.iter().filter(|(name, _)| shown(name)).collect();
        write_tenants(&mut page, &tenants);
        let failing = now.index_failing.iter().filter(|(name, _)| shown(name));
        let failing = failing.map(|(name, is_failing)| {
            (vec![("tenant", name.clone())], f64::from(u8::from(*is_failing)))
        });
        let about = "Whether the work behind the index's writes failed when it was tried last.";
        page.family(("cotenant_serve_index_failing", Kind::Gauge), about, failing);
        if only.is_none() {
            write_whole(&mut page, &counts, now);
        }
        page.0
    }

    fn of(&self, name: &Arc<str>, change: impl FnOnce(&mut Tenant)) {
        let mut counts = self.lock();
        let new = || Tenant {
            requests: BTreeMap::new(),
            texts: 0,
            tokens: 0,
            latency_s: Histogram::new(SECONDS),
            searches: Searches::default(),
            trials: Trials::default(),
        };
        change(counts.tenants.entry(name.clone()).or_insert_with(new));
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("no thread panicked")
    }
}

fn write_tenants(page: &mut Page, tenants: &[(&Arc<str>, &Tenant)]) {
    let label = |name: &Arc<str>| vec![("tenant", name.to_string())];
    let requests = tenants.iter().flat_map(|(name, tenant)| {
        tenant.requests.iter().map(|(&(route, status), &count)| {
            let more = [("route", route.to_owned()), ("status", status.to_string())];
            ([label(name), more.to_vec()].concat(), count as f64)
        })
    });
    let name = "cotenant_serve_requests_total";
    page.family((name, Kind::Counter), "Requests that were answered.", requests);
    let each = |value: fn(&Tenant) -> u64| -> Vec<Sample> {
        tenants.iter().map(|(name, tenant)| (label(name), value(tenant) as f64)).collect()
    };
    let name = "cotenant_serve_texts_total";
    page.family((name, Kind::Counter), "Texts that were embedded.", each(|it| it.texts));
    let name = "cotenant_serve_tokens_total";
    page.family((name, Kind::Counter), "Their tokens.", each(|it| it.tokens));
    let latency = tenants.iter().map(|(name, tenant)| (label(name), &tenant.latency_s));
    let about = "Time from a request's head to its answer.";
    page.histogram("cotenant_serve_request_seconds", about, latency);
    let searches = tenants.iter().map(|(name, tenant)| (&***name, &tenant.searches));
    searches::write(page, searches);
    trials::write(page, tenants.iter().map(|(name, tenant)| (&***name, &tenant.trials)));
}

fn write_whole(page: &mut Page, counts: &Counts, now: &Now) {
    for (name, about, histogram) in [
        ("batch_tokens", "Tokens of a forward.", &counts.batch_tokens),
        ("batch_texts", "Texts of a forward.", &counts.batch_texts),
        ("batch_adapters", "Different adapters of a forward.", &counts.batch_adapters),
        ("forward_seconds", "Time of a forward.", &counts.forward_s),
        ("adapter_load_seconds", "Time to read an adapter from disk.", &counts.load_s),
    ] {
        page.histogram(&format!("cotenant_serve_{name}"), about, [(Vec::new(), histogram)]);
    }
    for (name, about, value) in [
        ("adapter_loads_failed_total", "Adapters that could not be read.", counts.loads_failed),
        ("adapters_evicted_total", "Adapters put out of memory for others.", counts.evicted),
        (
            "adapters_ahead_total",
            "Adapters loaded before anybody asked.",
            now.adapters.ahead.loaded,
        ),
        ("adapters_ahead_used_total", "Those that were used then.", now.adapters.ahead.used),
        ("adapters_ahead_wasted_total", "Those that went unused.", now.adapters.ahead.wasted),
        ("texts_late_total", "Texts left out after their deadline.", counts.late),
        ("texts_unwanted_total", "Texts left out since the client had gone.", counts.gone),
    ] {
        let name = format!("cotenant_serve_{name}");
        page.family((&name, Kind::Counter), about, [(Vec::new(), value as f64)]);
    }
    for (name, about, value) in [
        ("queue_tokens", "Tokens that wait.", now.waiting_tokens),
        ("adapters", "Adapters that are known.", now.adapters.known as u64),
        ("adapters_loaded", "Adapters in memory.", now.adapters.loaded as u64),
        ("adapter_bytes", "Memory of those, in bytes.", now.adapters.bytes),
    ] {
        let name = format!("cotenant_serve_{name}");
        page.family((&name, Kind::Gauge), about, [(Vec::new(), value as f64)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_shown_its_own_searches_and_failures() {
        let meters = Meters::new();
        let words = Searched {
            mode: "adaptive",
            reached: "words",
            words_searched: true,
            query_embedded: false,
            vectors_searched: false,
            postings: 7,
            vectors: 0,
        };
        let whole = Searched {
            reached: "full_depth",
            query_embedded: true,
            vectors_searched: true,
            vectors: 40,
            ..words
        };
        [words, words, whole].into_iter().for_each(|searched| meters.on_search("law", searched));
        meters.on_search("bio", whole);
        let now = Now {
            waiting_tokens: 0,
            adapters: Held::default(),
            index_failing: vec![("bio".to_owned(), false), ("law".to_owned(), true)],
        };
        let page = meters.text(&now, Some("law"));
        for line in [
            "cotenant_serve_searches_total{tenant=\"law\",mode=\"adaptive\",reached=\"words\"} 2",
            "cotenant_serve_searches_total{tenant=\"law\",mode=\"adaptive\",reached=\"full_depth\"} 1",
            "cotenant_serve_search_stage_runs_total{tenant=\"law\",stage=\"words\"} 3",
            "cotenant_serve_search_stage_runs_total{tenant=\"law\",stage=\"vectors\"} 1",
            "cotenant_serve_search_stage_read_total{tenant=\"law\",stage=\"words\"} 21",
            "cotenant_serve_search_stage_read_total{tenant=\"law\",stage=\"embedding\"} 1",
            "cotenant_serve_search_stage_read_total{tenant=\"law\",stage=\"vectors\"} 40",
            "cotenant_serve_index_failing{tenant=\"law\"} 1",
        ] {
            assert!(page.lines().any(|it| it == line), "{line}\n{page}");
        }
        assert!(!page.contains("bio"), "{page}");
        let all = meters.text(&now, None);
        assert!(all.contains("cotenant_serve_index_failing{tenant=\"bio\"} 0"), "{all}");
    }
}
