//! What serving many tenants costs: `serve_speed MODEL [f32|bf16|int8] [THREADS] [BATCH_TOKENS]`.
//!
//! Makes 1,000 adapters of rank 8 on query and value, serves them over HTTP from this process, and
//! asks: tokens a second with one adapter and with all, in turns; the time of a request whose
//! adapter is not in memory; the time of a light tenant's request alone and beside a heavy one.

#![allow(clippy::print_stdout, reason = "an example prints what it measured")]
#![allow(clippy::unwrap_used, reason = "an example ends where anything fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cotenant_rag::serve::{ServeConfig, ServeLimits, ServePrecision, Server, below};
use cotenant_rag::workspace::PrecisionChoice;
use cotenant_transformer::random::{mix, unit};
use cotenant_transformer::{
    Adapter, AdapterLayout, EncoderConfig, LayerChoice, LoraSpec, ModelFolder, Module,
};
use serde_json::json;

const ADAPTERS: u64 = 1000;
const CLIENTS: u64 = 6;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// After as long a pause the server has forgotten that others came, and cuts no batches for them.
const PAUSE: Duration = Duration::from_millis(2500);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().expect("the folder of a model");
    let precision = match arguments.next().as_deref() {
        Some("bf16") => ServePrecision::Trainable(PrecisionChoice::Bf16),
        Some("int8") => ServePrecision::Int8,
        _ => ServePrecision::Trainable(PrecisionChoice::F32),
    };
    let number = |text: String| text.parse::<usize>().unwrap();
    let threads = arguments.next().map_or(1, number);
    let batch_tokens = arguments.next().map_or(ServeLimits::default().batch_tokens, number);
    let folder = tempfile::tempdir().unwrap();
    let config = ModelFolder::open(Path::new(&model)).unwrap().config().clone();
    (0..ADAPTERS).for_each(|at| write_adapter(&folder.path().join(format!("t{at}")), &config, at));
    let config = ServeConfig {
        model: model.clone().into(),
        model_name: "model".to_owned(),
        precision,
        adapters: below(folder.path()).unwrap(),
        index: None,
        experiments: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        tokens: None,
        limits: ServeLimits { threads: Some(threads), batch_tokens, ..ServeLimits::default() },
    };
    println!("{precision:?}, {threads} threads, batches of {batch_tokens} tokens");
    let server = Server::start(&config).unwrap();
    cold(&server.address);
    throughput(&server.address);
    neighbours(&server.address);
    server.end().end();
    server.wait().unwrap();
}

fn write_adapter(folder: &Path, config: &EncoderConfig, seed: u64) {
    let spec = LoraSpec {
        rank: 8,
        alpha: 16.0,
        rslora: false,
        targets: vec![Module::Query, Module::Value],
        layers: LayerChoice::All,
    };
    let layout = Arc::new(AdapterLayout::from_spec(&spec, config).unwrap());
    let mut adapter = Adapter::initial(layout, seed);
    for (at, value) in (0..).zip(&mut adapter.values) {
        *value += 0.01 * (unit(mix(&[seed, at])) - 0.5);
    }
    adapter.save_peft(folder, "model").unwrap();
}

/// A made-up text of 4 to 60 words, 20 on average; the same for the same number.
fn text(at: u64) -> String {
    const WORDS: [&str; 16] = [
        "the", "index", "of", "tenants", "grows", "while", "adapters", "answer", "queries", "from",
        "memory", "and", "protein", "folding", "results", "differ",
    ];
    let words = 4 + mix(&[at]) % 17 + mix(&[at, 1]) % 17 * (mix(&[at, 2]) % 3);
    let word = |word| WORDS[(mix(&[at, word, 3]) % 16) as usize];
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

/// Asks for embeddings, and gives the tokens.
fn ask(agent: &ureq::Agent, address: &str, (model, texts): (&str, &[String])) -> u64 {
    let body = json!({ "model": model, "input": texts, "encoding_format": "base64" });
    let request = agent.post(format!("{address}/v1/embeddings"));
    let request = request.header("content-type", "application/json");
    let text = request.send(body.to_string()).unwrap().body_mut().read_to_string().unwrap();
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    answer["usage"]["total_tokens"].as_u64().unwrap()
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(0.5), at(0.99), at(1.0))
}

/// One short query for each adapter, first from disk, then from memory.
fn cold(address: &str) {
    let agent = ureq::Agent::new_with_defaults();
    for state in ["cold", "warm"] {
        let time = |at: u64| {
            let begun = Instant::now();
            ask(&agent, address, (&format!("t{at}"), &[text(7)]));
            begun.elapsed()
        };
        println!("{state} adapter: {}", quantiles((0..ADAPTERS).map(time).collect()));
    }
}

/// Tokens a second with one adapter and with all, in turns.
fn throughput(address: &str) {
    for texts in [1, 8] {
        let run = |adapters: u64, round: usize| {
            let (over, tokens) = (AtomicBool::new(false), AtomicU64::new(0));
            thread::sleep(PAUSE);
            let begun = Instant::now();
            thread::scope(|scope| {
                for client in 0..CLIENTS {
                    let (over, tokens) = (&over, &tokens);
                    scope.spawn(move || {
                        let agent = ureq::Agent::new_with_defaults();
                        let mut at = mix(&[client, round as u64]) % 1000;
                        while !over.load(Ordering::Relaxed) {
                            at += 1;
                            let model = format!("t{}", (at * CLIENTS + client) % adapters);
                            let texts: Vec<String> =
                                (0..texts).map(|it| text(at * 8 + it)).collect();
                            let more = ask(&agent, address, (&model, &texts));
                            tokens.fetch_add(more, Ordering::Relaxed);
                        }
                    });
                }
                thread::sleep(ROUND);
                over.store(true, Ordering::Relaxed);
            });
            tokens.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
        };
        let mut rounds: Vec<(f64, f64)> =
            (0..ROUNDS).map(|round| (run(1, round), run(ADAPTERS, round))).collect();
        rounds.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
        let (one, all) = rounds[ROUNDS / 2];
        println!(
            "{texts} texts a request: {one:.0} tokens/s with one adapter, {all:.0} with {ADAPTERS}: \
             {:.3} (median of {ROUNDS}, {:.3} to {:.3})",
            all / one,
            rounds[0].1 / rounds[0].0,
            rounds[ROUNDS - 1].1 / rounds[ROUNDS - 1].0
        );
    }
}

/// A light tenant's requests of one text, alone and beside one that asks for 64 texts at a time.
fn neighbours(address: &str) {
    let light = || {
        let agent = ureq::Agent::new_with_defaults();
        let time = |at: u64| {
            let begun = Instant::now();
            ask(&agent, address, ("t1", &[text(at)]));
            begun.elapsed()
        };
        quantiles((0..600).map(time).collect())
    };
    println!("light tenant alone: {}", light());
    let heavy = |meanwhile: &dyn Fn()| {
        let (over, tokens) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::sleep(PAUSE);
        let begun = Instant::now();
        thread::scope(|scope| {
            for client in 0..2 {
                let (over, tokens) = (&over, &tokens);
                scope.spawn(move || {
                    let agent = ureq::Agent::new_with_defaults();
                    let texts: Vec<String> = (0..64).map(|at| text(client * 64 + at)).collect();
                    while !over.load(Ordering::Relaxed) {
                        let more = ask(&agent, address, ("t2", &texts));
                        tokens.fetch_add(more, Ordering::Relaxed);
                    }
                });
            }
            meanwhile();
            over.store(true, Ordering::Relaxed);
        });
        tokens.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
    };
    println!("heavy tenant alone: {:.0} tokens/s", heavy(&|| thread::sleep(ROUND)));
    let beside = heavy(&|| println!("light tenant beside a heavy one: {}", light()));
    println!("heavy tenant beside a light one: {beside:.0} tokens/s");
}
