//! A run as it might be, for tests and for looking at.

use crate::report::{
    AdapterReport, Apart, Cost, Example, Interval, Part, Phase, Point, RunReport, Scores, Separate,
    TenantReport,
};

/// What differs between the tenants of [`run`].
struct Sketch {
    name: &'static str,
    before: f64,
    mean: f64,
    spread: f64,
    p_value: f64,
}

/// Three tenants: one better, one within noise, one worse.
pub(in crate::report) fn run() -> RunReport {
    let sketches = [
        Sketch { name: "book", before: 0.612, mean: 0.047, spread: 0.021, p_value: 0.0004 },
        Sketch { name: "cargo", before: 0.688, mean: 0.012, spread: 0.019, p_value: 0.214 },
        Sketch { name: "reference", before: 0.574, mean: -0.024, spread: 0.017, p_value: 0.009 },
    ];
    RunReport {
        title: "Cotenant demo".to_owned(),
        run: "runs/demo".to_owned(),
        base: "all-MiniLM-L6-v2".to_owned(),
        precision: "bf16".to_owned(),
        threads: 2,
        machine: "Intel Xeon (Sapphire Rapids), 2 cores, 7.8 GiB".to_owned(),
        date: "21 November 2026, 19:14 UTC".to_owned(),
        tenants: sketches.iter().enumerate().map(|(seed, sketch)| tenant(seed, sketch)).collect(),
        cost: cost(),
        apart: Apart {
            estimated: separate(148.2, &[398.0, 402.0, 407.0]),
            measured: Some(separate(161.4, &[391.0, 405.0, 416.0])),
        },
    }
}

fn tenant(seed: usize, sketch: &Sketch) -> TenantReport {
    let steps = 90 + 31 * seed as u64;
    let scores = |ndcg10: f64| Scores { ndcg10, recall10: ndcg10 + 0.13, mrr10: ndcg10 - 0.04 };
    let (mean, spread) = (sketch.mean, sketch.spread);
    let dev = (0..=6).map(|n| {
        let share = f64::from(n) / 6.0;
        let value = sketch.before + mean * (1.0 - (share - 0.8).powi(2) / 0.64);
        Point { step: (share * steps as f64) as u64, value }
    });
    let dev: Vec<Point> = dev.collect();
    TenantReport {
        task: Default::default(),
        name: sketch.name.to_owned(),
        documents: 1204 + 377 * seed,
        queries_test: 212 + 41 * seed,
        pairs: 2893 + 991 * seed,
        steps,
        loss: loss(seed as u64, steps),
        best_step: Some(dev[5].step),
        dev_ndcg10: dev,
        before: scores(sketch.before),
        after: scores(sketch.before + mean),
        difference: Interval {
            mean,
            low: mean - spread,
            high: mean + spread,
            p_value: sketch.p_value,
        },
        adapter: Some(AdapterReport {
            folder: format!("runs/demo/adapters/{}", sketch.name),
            bytes: 298_000 + 1000 * seed as u64,
            parameters: 73_728,
        }),
        ended: [
            "All epochs were done.",
            "nDCG@10 did not rise in 3 evaluations.",
            "All epochs were done.",
        ][seed]
            .to_owned(),
        examples: examples(sketch.mean >= 0.0),
    }
}

fn loss(seed: u64, steps: u64) -> Vec<Point> {
    let noise = |step: u64| {
        let mixed = (step * 8 + seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
        mixed as f64 / (1u64 << 24) as f64 - 0.5
    };
    let value = |step: u64| {
        let fall = (-(step as f64) / (steps as f64 / 4.0)).exp();
        0.41 + 0.1 * seed as f64 + (1.3 - 0.2 * seed as f64) * fall + 0.28 * noise(step)
    };
    (0..steps).map(|step| Point { step, value: value(step) }).collect()
}

fn examples(is_good: bool) -> Vec<Example> {
    let better = Example {
        query: "how do I vendor dependencies for a build without network".to_owned(),
        before_title: "Build cache".to_owned(),
        after_title: "cargo vendor".to_owned(),
        relevant_title: "cargo vendor".to_owned(),
        before_rank: Some(14),
        after_rank: Some(1),
    };
    let found = Example {
        query: "what happens to a reference that outlives its owner".to_owned(),
        before_title: "Reference counting with Rc<T>".to_owned(),
        after_title: "Preventing dangling references with lifetimes".to_owned(),
        relevant_title: "Validating references with lifetimes".to_owned(),
        before_rank: None,
        after_rank: Some(2),
    };
    let worse = Example {
        query: "profile overrides".to_owned(),
        before_title: "Profiles: overrides".to_owned(),
        after_title: "Configuration: environment variables".to_owned(),
        relevant_title: "Profiles: overrides".to_owned(),
        before_rank: Some(1),
        after_rank: Some(6),
    };
    if is_good { vec![better, found, worse] } else { vec![worse, better] }
}

fn cost() -> Cost {
    let phase = |name: &str, seconds| Phase { name: name.to_owned(), seconds };
    let part = |name: &str, mib| Part { name: name.to_owned(), mib };
    Cost {
        wall_s: 93.4,
        cpu_s: 181.6,
        peak_rss_mib: 412.3,
        tokens: 1_284_311,
        pairs_per_s: 141.7,
        data_stall_pct: 0.4,
        phases: vec![
            phase("read and split the data", 3.1),
            phase("evaluate before", 14.8),
            phase("mine hard negatives", 6.2),
            phase("train", 53.0),
            phase("evaluate after", 15.2),
            phase("write", 1.1),
        ],
        memory: vec![
            part("base model", 91.0),
            part("adapters", 3.4),
            part("optimizer", 6.8),
            part("activations", 214.0),
            part("data", 64.0),
        ],
        predicted_peak_mib: 402.0,
    }
}

fn separate(wall_s: f64, each: &[f64]) -> Separate {
    Separate {
        wall_s,
        peak_rss_mib_each: each.to_vec(),
        peak_rss_mib_together: each.iter().sum(),
        tenants: each.len(),
    }
}
