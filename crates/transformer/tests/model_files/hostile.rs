//! Mutations of valid files, a fixed corpus by a counter: whatever a file holds, reading it ends in
//! a value or an error, without a panic and without asking for memory that the file does not have.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cotenant_transformer::random::mix;
use cotenant_transformer::{Adapter, ModelFolder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::adapter::{matrices, peft_config, write};
use crate::fixture::{Tiny, config, modules, safetensors, shape, tensors, tokenizer};

/// What hostile numbers could make a reader ask for is terabytes; all these tests together need
/// less than this, most of it for the stacks and heaps of the test threads.
const MEMORY_KIB_MAX: u64 = 1 << 20;

/// Pieces that are put into a file where they hurt.
const SPLICES: [&str; 16] = [
    "-1",
    "0",
    "1e999",
    "1e308",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "4294967296",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\u{0}",
    "[[[[[[",
    "\"\\ud800\"",
];

/// The largest address space that this process has had, in KiB, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The `number`-th mutation of some bytes: one to three flips, cuts, copies or splices.
fn mutate(original: &[u8], number: u64) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let mut draws = 0;
    let mut draw = |below: usize| {
        draws += 1;
        (mix(&[number, draws]) % below.max(1) as u64) as usize
    };
    for _ in 0..1 + draw(3) {
        let at = draw(bytes.len());
        let end = (at + 1 + draw(24)).min(bytes.len());
        match draw(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << draw(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..end, SPLICES[draw(16)].bytes())),
            _ => splice_number(&mut bytes, at, SPLICES[draw(16)]),
        }
    }
    bytes
}

/// Replaces the next number after a place: the mutation that most often passes the parser.
fn splice_number(bytes: &mut Vec<u8>, from: usize, with: &str) {
    let Some(begin) = (from..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) else { return };
    let end = (begin..bytes.len()).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(bytes.len());
    drop(bytes.splice(begin..end, with.bytes()));
}

/// Reads every mutation, and says which one did what it must not.
fn replay(original: &[u8], count: u64, mut read: impl FnMut(&[u8]) -> bool) {
    let before = peak_kib();
    let mut refused = 0;
    for number in 0..count {
        let bytes = mutate(original, number);
        match catch_unwind(AssertUnwindSafe(|| read(&bytes))) {
            Ok(accepted) => refused += u64::from(!accepted),
            Err(_) => panic!("mutation {number} panics:\n{}", String::from_utf8_lossy(&bytes)),
        }
        if let (Some(before), Some(after)) = (before, peak_kib()) {
            let grown = after.saturating_sub(before);
            assert!(grown < MEMORY_KIB_MAX, "mutation {number} took {grown} KiB");
        }
    }
    assert!(refused > count / 4, "only {refused} of {count} mutations were noticed");
}

#[test]
fn lengths_of_headers() {
    let tiny = Tiny::new();
    let whole = safetensors(&tensors(""));
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap());
    let lengths = [0, 1, 2, 7, 8, 1 << 16, 1 << 22, 1 << 32, 1 << 62, u64::MAX - 8, u64::MAX];
    let near = (length - 3..length + 4).filter(|near| *near != length);
    for wrong in lengths.into_iter().chain(near) {
        let mut file = whole.clone();
        file[..8].copy_from_slice(&wrong.to_le_bytes());
        tiny.bytes("model.safetensors", &file);
        assert!(ModelFolder::open(tiny.path()).unwrap().weights().is_err(), "{wrong}");
    }
}

#[test]
fn shapes_that_promise_more_than_the_file_has() {
    let tiny = Tiny::new();
    let mut wide = config();
    wide["hidden_size"] = json!(16384);
    wide["num_attention_heads"] = json!(16384);
    wide["intermediate_size"] = json!(131_072);
    wide["num_hidden_layers"] = json!(512);
    wide["vocab_size"] = json!(8_388_608);
    tiny.json("config.json", &wide);
    tiny.json("1_Pooling/config.json", &json!({}));
    let before = peak_kib();
    assert!(ModelFolder::open(tiny.path()).unwrap().weights().is_err());
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(after - before < MEMORY_KIB_MAX);
    }
}

#[test]
fn configurations() {
    let tiny = Tiny::new();
    replay(config().to_string().as_bytes(), 500, |bytes| {
        tiny.bytes("config.json", bytes);
        ModelFolder::open(tiny.path()).and_then(|folder| folder.weights()).is_ok()
    });
}

#[test]
fn modules_and_pooling() {
    let tiny = Tiny::new();
    let list = modules(&["Transformer", "Pooling", "Normalize"]).to_string();
    replay(list.as_bytes(), 300, |bytes| {
        tiny.bytes("modules.json", bytes);
        ModelFolder::open(tiny.path()).is_ok()
    });
    tiny.bytes("modules.json", list.as_bytes());
    let pooling = json!({ "word_embedding_dimension": 32, "pooling_mode": "mean",
                          "include_prompt": true });
    replay(pooling.to_string().as_bytes(), 500, |bytes| {
        tiny.bytes("1_Pooling/config.json", bytes);
        ModelFolder::open(tiny.path()).is_ok()
    });
}

#[test]
fn every_adapter_field_with_every_kind_of_value() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &peft_config(), &matrices(""));
    let values: [Value; 12] = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1e308),
        json!(u64::MAX),
        json!(0.5),
        json!(""),
        json!("^(.*)+$"),
        json!([]),
        json!([null, [1], {}]),
        json!({ "": { "a": 1 } }),
    ];
    for field in peft_config().as_object().unwrap().keys() {
        for value in &values {
            let mut config = peft_config();
            config[field] = value.clone();
            let path = folder.path().join("adapter_config.json");
            fs::write(path, config.to_string()).unwrap();
            if let Ok(adapter) = Adapter::load_peft(folder.path(), &shape()) {
                let entries = adapter.layout.entries();
                assert!(entries.iter().all(|entry| entry.scale.is_finite()), "{field} {value}");
            }
        }
    }
}

#[test]
fn tokenizers() {
    let tiny = Tiny::new();
    let folder = ModelFolder::open(tiny.path()).unwrap();
    replay(tokenizer().to_string().as_bytes(), 600, |bytes| {
        tiny.bytes("tokenizer.json", bytes);
        let Ok(tokenizer) = folder.tokenizer() else { return false };
        if let Ok(ids) = tokenizer.encode("The cat sat on the mats, hello [SEP] 猫", 8) {
            assert!(ids.len() <= 8 && ids.iter().all(|id| *id < 16), "{ids:?}");
        }
        true
    });
}

#[test]
fn messages_stay_short_whatever_names_a_file_has() {
    let tiny = Tiny::new();
    let long = "x".repeat(1 << 20);
    let header =
        format!("{{\"{long}\":{{\"dtype\":\"{long}\",\"shape\":[],\"data_offsets\":[0,0]}}}}");
    let unknown = format!(
        "{{\"{long}.embeddings.word_embeddings.weight\":\
                           {{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}}}"
    );
    for header in [header, unknown] {
        tiny.bytes("model.safetensors", &crate::fixture::assemble(header.as_bytes(), &[]));
        let error = ModelFolder::open(tiny.path()).unwrap().weights().unwrap_err();
        assert!(error.to_string().len() < 2000);
    }
    let folder = TempDir::new().unwrap();
    let mut list = matrices("");
    list[0].name = long.clone();
    write(folder.path(), &peft_config(), &list);
    let error = Adapter::load_peft(folder.path(), &shape()).unwrap_err();
    assert!(error.to_string().len() < 2000);
    let mut config = peft_config();
    config[&long] = json!(true);
    write(folder.path(), &config, &matrices(""));
    let error = Adapter::load_peft(folder.path(), &shape()).unwrap_err();
    assert!(error.to_string().len() < 2000);
}
