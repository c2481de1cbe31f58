//! Every bad input through the program: the error names the file, the line where there is one, and
//! what to do.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Place, data};

/// A run so short that only its input matters.
const WORKSPACE: &str = "base = \"model\"\n[limits]\nprecision = \"f32\"\n[defaults]\nsteps = 2\n\
                         batch = 4\nrank = 2\n[tenant.bad]\ndata = \"data\"\n";

/// One bad input: its name, what is wrong, and what stderr must say besides "error" and "hint".
type Case = (&'static str, fn(&Place), &'static [&'static str]);

fn place() -> Place {
    let place = Place::new();
    data::beir(&place.at("data"), 30);
    place.write("w.toml", WORKSPACE);
    place
}

/// What every message has: that something failed, why, and what to do.
const HINTED: &[&str] = &["error: failed to ", "  because: ", "hint: "];

/// Trains in a fresh folder for each case.
fn check(always: &[&str], cases: &[Case]) {
    for (name, spoil, parts) in cases {
        let place = place();
        spoil(&place);
        let ran = place.run(&["train", "w.toml", "--out", "run"]);
        ran.check(name, 1, always);
        ran.check(name, 1, parts);
        assert!(ran.stdout.is_empty(), "{name}: stdout is data: {}", ran.stdout);
    }
}

/// Changes a text file.
fn edit(place: &Place, path: &str, change: impl FnOnce(String) -> String) {
    let before = String::from_utf8(place.read(path)).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the case changes nothing");
    place.write(path, after);
}

/// Puts a line after the third of a file.
fn insert_fourth(place: &Place, path: &str, line: &str) {
    edit(place, path, |text| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.insert(3, line);
        lines.join("\n") + "\n"
    });
}

#[test]
fn bad_models_are_refused() {
    let cases: &[Case] = &[
        (
            "missing weights",
            |place| fs::remove_file(place.at("model/model.safetensors")).unwrap(),
            &["model", "model.safetensors"],
        ),
        (
            "truncated weights",
            |place| {
                let whole = place.read("model/model.safetensors");
                place.write("model/model.safetensors", &whole[..whole.len() / 2]);
            },
            &["model/model.safetensors", "hint: the file is damaged or was cut short"],
        ),
        (
            "config field that changes the maths",
            |place| {
                edit(place, "model/config.json", |text| text.replace("absolute", "relative_key"))
            },
            &["model/config.json", "position_embedding_type", "relative_key"],
        ),
        (
            "another activation",
            |place| edit(place, "model/config.json", |text| text.replace("\"gelu\"", "\"silu\"")),
            &["model/config.json", "hidden_act", "silu"],
        ),
        (
            "tokenizer of another vocabulary",
            |place| {
                edit(place, "model/tokenizer.json", |text| {
                    text.replacen("\"vocab\":{", "\"vocab\":{\"stranger\":99999,", 1)
                });
            },
            &["model/tokenizer.json", "\"stranger\" has id 99999"],
        ),
        (
            "no such base",
            |place| edit(place, "w.toml", |text| text.replace("model", "./nowhere")),
            &["failed to get the base model", "nowhere"],
        ),
    ];
    check(HINTED, cases);
}

#[test]
fn bad_adapters_are_refused() {
    let cases: &[Case] = &[
        ("missing adapter", |place| fs::remove_dir_all(place.at("peft")).unwrap(), &["peft"]),
        (
            "pickled adapter",
            |place| {
                fs::remove_file(place.at("peft/adapter_model.safetensors")).unwrap();
                place.write("peft/adapter_model.bin", "PK");
            },
            &["adapter_model.bin", "pickled weights are refused"],
        ),
        (
            "keys that match nothing",
            |place| {
                let path = "peft/adapter_model.safetensors";
                let mut bytes = place.read(path);
                let name = b"encoder.layer.0";
                for at in 0..bytes.len() - name.len() {
                    if bytes[at..].starts_with(name) {
                        bytes[at..at + name.len()].copy_from_slice(b"decoder.layer.0");
                    }
                }
                place.write(path, bytes);
            },
            &["peft/adapter_model.safetensors", "decoder.layer.0"],
        ),
        (
            "truncated adapter",
            |place| {
                let whole = place.read("peft/adapter_model.safetensors");
                place.write("peft/adapter_model.safetensors", &whole[..whole.len() - 9]);
            },
            &["peft/adapter_model.safetensors", "hint: the file is damaged or was cut short"],
        ),
        (
            "an adapter of another method",
            |place| edit(place, "peft/adapter_config.json", |text| text.replace("LORA", "IA3")),
            &["peft/adapter_config.json", "IA3"],
        ),
    ];
    let trained = place();
    trained.run(&["train", "w.toml", "--out", "run", "-q"]).check("a good run", 0, &[]);
    let files = ["adapter_config.json", "adapter_model.safetensors"];
    let good = files.map(|file| (file, trained.read(format!("run/tenants/bad/adapter/{file}"))));
    for (name, spoil, parts) in cases {
        let place = place();
        for (file, content) in &good {
            place.write(&format!("peft/{file}"), content);
        }
        spoil(&place);
        let ran = place.run(&["eval", "data", "--base", "model", "--adapter", "peft"]);
        ran.check(name, 1, &[&["error: failed to ", "hint: "], *parts].concat());
    }
}

#[test]
fn bad_data_is_refused() {
    let cases: &[Case] = &[
        (
            "malformed JSONL",
            |place| insert_fourth(place, "data/corpus.jsonl", "{\"_id\": \"x\", \"text\": oops}"),
            &["read the data of tenant bad", "data/corpus.jsonl:4:"],
        ),
        (
            "malformed JSONL of queries",
            |place| insert_fourth(place, "data/queries.jsonl", "[1, 2]"),
            &["data/queries.jsonl:4:"],
        ),
        (
            "qrels of an unknown document",
            |place| insert_fourth(place, "data/qrels/train.tsv", "q1\tnobody\t1"),
            &["data/qrels/train.tsv:4:", "no document has the id \"nobody\"", "data/corpus.jsonl"],
        ),
        (
            "qrels of an unknown query",
            |place| insert_fourth(place, "data/qrels/test.tsv", "who\td1\t1"),
            &["data/qrels/test.tsv:4:", "no query has the id \"who\"", "data/queries.jsonl"],
        ),
        (
            "qrels without a header",
            |place| edit(place, "data/qrels/test.tsv", |text| text.replace("query-id", "q")),
            &["data/qrels/test.tsv:1:", "header"],
        ),
        (
            "empty corpus",
            |place| place.write("data/corpus.jsonl", ""),
            &["data/corpus.jsonl has no texts"],
        ),
        (
            "not UTF-8",
            |place| {
                let mut bytes = place.read("data/corpus.jsonl");
                let third = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                let line = third.map(|(at, _)| at).nth(1).unwrap();
                bytes[line + 12] = 0xE9;
                place.write("data/corpus.jsonl", bytes);
            },
            &["data/corpus.jsonl:3:", "not UTF-8", "iconv"],
        ),
        (
            "duplicate id",
            |place| insert_fourth(place, "data/corpus.jsonl", "{\"_id\": \"d1\", \"text\": \"x\"}"),
            &["data/corpus.jsonl:4:", "\"d1\" was already given on line 2"],
        ),
        (
            "a folder without texts",
            |place| {
                fs::remove_dir_all(place.at("data")).unwrap();
                place.write("data/picture.png", [0x89, 0x50]);
            },
            &["read the data of tenant bad", "data"],
        ),
    ];
    check(HINTED, cases);
}

#[test]
fn bad_workspaces_are_refused() {
    let cases: &[Case] = &[
        (
            "unknown key with a guess",
            |place| edit(place, "w.toml", |text| text.replace("rank", "rnak")),
            &["read the workspace", "w.toml:7:1: there is no key \"rnak\"", "did you mean", "rank"],
        ),
        (
            "data that is not there",
            |place| edit(place, "w.toml", |text| text.replace("\"data\"", "\"dato\"")),
            &["w.toml:9:", "data of tenant bad does not exist", "dato"],
        ),
        (
            "no tenant",
            |place| place.write("w.toml", "base = \"model\"\n"),
            &["w.toml", "no tenant"],
        ),
    ];
    check(HINTED, cases);
}

/// Writes a JSONL file as the tenant's data, with one more key of the workspace.
fn jsonl(place: &Place, content: &str, key: &str) {
    place.write("pairs.jsonl", content.repeat(20));
    edit(place, "w.toml", |text| text.replace("\"data\"", "\"pairs.jsonl\"") + key);
}

const PAIR: &str = "\n{\"a\": \"babar\", \"b\": \"cecen\"}\n";
const SCORED: &str = "{\"a\": \"babar\", \"b\": \"cecen\", \"score\": 0.5}\n";

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_embedded() {
    let cases: &[Case] = &[
        (
            "a loss of scores for pairs",
            |place| jsonl(place, PAIR, "loss = \"cosent\"\n"),
            &[
                "read the data of tenant bad",
                "pairs.jsonl:2: the examples have no scores, but loss = \"cosent\"",
                "hint: write loss = \"mnrl\"",
            ],
        ),
        (
            "a loss of pairs for scores",
            |place| jsonl(place, SCORED, "loss = \"mnrl\"\n"),
            &[
                "read the data of tenant bad",
                "pairs.jsonl:1: the examples are scored pairs, but loss = \"mnrl\"",
                "hint: write loss = \"cosent\"",
            ],
        ),
        (
            "a loss of scores for judgements",
            |place| edit(place, "w.toml", |text| text + "loss = \"cosent\"\n"),
            &["tenant bad", "data/qrels/train.tsv: the examples have no scores", "hint: write"],
        ),
        (
            "a bad loss after a good tenant",
            |place| {
                jsonl(place, PAIR, "loss = \"cosent\"\n[tenant.good]\ndata = \"data\"\n");
            },
            &["tenant bad", "pairs.jsonl:2: "],
        ),
        (
            "no more memory than nothing",
            |place| {
                edit(place, "w.toml", |text| text.replace("[limits]", "[limits]\nmemory_mib = 16"))
            },
            &[
                "limits.memory_mib = 16: this workspace needs about",
                "most of it for ",
                "hint: lower ",
                "cotenant estimate",
            ],
        ),
        (
            "nothing to train on",
            |place| fs::remove_file(place.at("data/qrels/train.tsv")).unwrap(),
            &["train bad: there is no training example", "hint: add training queries"],
        ),
    ];
    let always = ["error: failed to ", "hint: "];
    for (name, spoil, parts) in cases {
        let place = place();
        spoil(&place);
        let ran = place.run(&["train", "w.toml", "--out", "run"]);
        ran.check(name, 1, &[&always, *parts].concat());
        for late in ["embedding", "mining", "bad: training"] {
            assert!(!ran.stderr.contains(late), "{name}: {late} came first:\n{}", ran.stderr);
        }
    }
}

#[test]
fn a_text_of_ten_megabytes_is_cut_with_a_warning() {
    let place = place();
    let long = format!("{{\"_id\": \"long\", \"text\": \"{}\"}}", "babar cecen ".repeat(900_000));
    insert_fourth(&place, "data/corpus.jsonl", &long);
    let begun = Instant::now();
    let ran = place.run(&["train", "w.toml", "--out", "run", "--json"]);
    ran.check("a long text", 0, &["warning: bad: ", "data/corpus.jsonl:4: 1 text(s) longer than"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(ran.stdout.lines().count(), 1);
}

#[test]
fn data_without_test_queries_cannot_be_measured() {
    let place = place();
    data::pairs(&place.at("few.jsonl"), 2);
    let ran = place.run(&["eval", "few.jsonl", "--base", "model"]);
    ran.check("eval", 1, &["error: failed to measure on few", "no test queries", "hint: "]);
}

#[test]
fn values_that_are_not_accepted_are_named_beside_those_that_are() {
    let cases: &[Case] = &[
        (
            "config without JSON",
            |place| place.write("model/config.json", "{"),
            &["model/config.json", "JSON"],
        ),
        (
            "value out of range",
            |place| edit(place, "w.toml", |text| text.replace("batch = 4", "batch = 1")),
            &["w.toml:6:", "batch", "2"],
        ),
        (
            "not TOML",
            |place| edit(place, "w.toml", |text| text.replace("[limits]", "[limits")),
            &["w.toml:2:"],
        ),
        (
            "no bytes of text",
            |place| place.write("w.toml", [0xFF, 0xFE]),
            &["w.toml is not a workspace", "UTF-8"],
        ),
        (
            "layers that the model lacks",
            |place| edit(place, "w.toml", |text| text + "layers = [7]\n"),
            &["tenant bad", "7"],
        ),
    ];
    check(HINTED, cases);
}

#[test]
fn runs_that_cannot_begin_say_so_at_once() {
    let cases: &[Case] =
        &[("a folder in use", |place| place.write("run/notes.txt", "mine"), &["run", "not empty"])];
    check(&["error: failed to ", "hint: "], cases);
}
