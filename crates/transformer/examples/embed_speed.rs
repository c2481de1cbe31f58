//! How fast texts become embeddings, for `cargo xtask bench embed`: one JSON line.
//!
//! Reads token ids that `golden/embed_peer.py --dump` wrote, so that every contender embeds the
//! same texts and no clock holds tokenising. Texts go in the order of the file, without padding, in
//! chunks of at most `--chunk-tokens`, which `--threads` threads take in turn. One pass over all
//! texts, or `--warmup` of them, comes before the clock; then passes are timed until `--seconds` of
//! CPU time are used. `--out` writes the embeddings as little-endian f32.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use cotenant_transformer::{Cpu, Encoder, Forward, ModelFolder, Packed, Precision, Scratch, Start};

struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        Self(words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.0.get(name).map_or(default, |value| value.parse().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.0.get(name).unwrap_or_else(|| panic!("{name} is missing")))
    }
}

fn main() {
    cotenant_transformer::keep_memory_flat();
    let arguments = Arguments::read();
    let texts: Vec<Vec<u32>> =
        serde_json::from_slice(&std::fs::read(arguments.path("--texts")).unwrap()).unwrap();
    let precision = match arguments.0.get("--precision").map(String::as_str) {
        Some("bf16") => Precision::Bf16,
        Some("int8") => Precision::Int8,
        Some("f32") | None => Precision::F32,
        Some(other) => panic!("--precision {other}: f32, bf16 or int8"),
    };
    let folder = ModelFolder::open(&arguments.path("--model")).unwrap();
    let encoder = Encoder::new(
        Cpu::new(precision).unwrap(),
        folder.config().clone(),
        folder.weights().unwrap(),
        folder.pooling(),
        folder.normalize(),
    );
    let chunks = chunks(&texts, arguments.number("--chunk-tokens", 512));
    let mut scratches: Vec<Scratch<Cpu>> = Vec::new();
    scratches.resize_with(arguments.number("--threads", 1), Scratch::default);
    let mut out = vec![0.0; texts.len() * encoder.config().hidden];

    for _ in 0..arguments.number("--warmup", 1) {
        pass(&encoder, &chunks, &mut scratches, &mut out);
    }
    let limit = arguments.number("--seconds", 4) as f64;
    let (begun, cpu, mut passes) = (Instant::now(), cpu_s(), 0);
    while passes == 0 || cpu_s() - cpu < limit {
        pass(&encoder, &chunks, &mut scratches, &mut out);
        passes += 1;
    }
    let (wall_s, cpu_s) = (begun.elapsed().as_secs_f64(), cpu_s() - cpu);
    if let Some(path) = arguments.0.get("--out") {
        let bytes: Vec<u8> = out.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(path, bytes).unwrap();
    }
    let tokens = passes * texts.iter().map(Vec::len).sum::<usize>();
    let line = serde_json::json!({
        "name": "cotenant",
        "tokens": tokens,
        "passes": passes,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "tokens_per_s": tokens as f64 / wall_s,
        "tokens_per_cpu_s": tokens as f64 / cpu_s,
        "peak_rss_mib": peak_rss_mib(),
    });
    println!("{line}");
}

/// The texts as batches in their order, none of more tokens than asked unless one text is.
fn chunks(texts: &[Vec<u32>], tokens_max: usize) -> Vec<Packed> {
    let mut chunks = Vec::new();
    let mut rest = texts;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = |text: &&Vec<u32>| {
            tokens += text.len();
            tokens <= tokens_max
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let mut chunk = Packed::default();
        chunk.push(rest[..count].iter().map(Vec::as_slice), None, None);
        chunks.push(chunk);
        rest = &rest[count..];
    }
    chunks
}

/// Embeds every chunk once, on as many threads as there are scratches.
fn pass(
    encoder: &Encoder<Cpu>,
    chunks: &[Packed],
    scratches: &mut [Scratch<Cpu>],
    out: &mut [f32],
) {
    let width = encoder.config().hidden;
    let queue = Mutex::new((chunks.iter(), out));
    let work = |scratch: &mut Scratch<Cpu>| loop {
        let (chunk, rows) = {
            let mut queue = queue.lock().unwrap();
            let Some(chunk) = queue.0.next() else { return };
            let (rows, rest) = std::mem::take(&mut queue.1).split_at_mut(chunk.texts() * width);
            queue.1 = rest;
            (chunk, rows)
        };
        let forward = Forward { batch: chunk, adapters: &[], start: Start::Tokens };
        encoder.embed(&forward, scratch, rows);
    };
    std::thread::scope(|scope| {
        let (first, others) = scratches.split_first_mut().unwrap();
        for scratch in others {
            scope.spawn(|| work(scratch));
        }
        work(first);
    });
}

/// Seconds of processor time so far, all threads, user and system.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The largest resident set so far.
fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}
