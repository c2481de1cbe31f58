//! What a user does, from a workspace to search and export, with the real program.

#![allow(clippy::unwrap_used)]

mod common;

use common::model::POISON;
use common::{Place, Ran, data};
use serde_json::Value;

/// Three tenants, one of each kind of data.
const WORKSPACE: &str = r#"
base = "model"

[limits]
threads = 2
precision = "f32"

[defaults]
rank = 4
batch = 8
epochs = 2

[tenant.science]
data = "science"

[tenant.code]
data = "code.jsonl"
targets = ["query", "value"]
negatives = 0

[tenant.manual]
data = "manual"
top_layers = 1
"#;

/// Every key that the issue names for a tenant's result.
const TENANT_KEYS: [&str; 12] = [
    "name",
    "pairs",
    "steps",
    "loss_first",
    "loss_last",
    "ndcg10_before",
    "ndcg10_after",
    "recall10_before",
    "recall10_after",
    "mrr10_before",
    "mrr10_after",
    "adapter",
];

/// Every key that the issue names for a run's result.
const RUN_KEYS: [&str; 7] =
    ["tenants", "wall_s", "cpu_s", "peak_rss_mib", "tokens", "pairs_per_s", "data_stall_pct"];

fn place() -> Place {
    let place = Place::new();
    data::beir(&place.at("science"), 60);
    data::pairs(&place.at("code.jsonl"), 60);
    data::pages(&place.at("manual"), 12);
    place.write("w.toml", WORKSPACE);
    place
}

/// One long story, since each of its steps needs the run before it.
#[test]
fn a_workspace_is_trained_searched_measured_and_exported() {
    let place = place();
    let estimate = place.json(&["estimate", "w.toml"]);
    assert!(estimate["peak_mib"].as_u64().unwrap() > 10, "{estimate}");
    assert!(estimate["wall_s"].as_f64().unwrap() > 0.0, "{estimate}");

    let results = place.json(&["train", "w.toml", "--out", "run"]);
    check_results(&place, &results);
    check_second_run(&place);
    check_search(&place);
    check_export(&place, &results);
    check_models(&place);
}

fn check_results(place: &Place, results: &Value) {
    for key in RUN_KEYS {
        assert!(!results[key].is_null(), "the result lacks {key}: {results}");
    }
    let tenants = results["tenants"].as_array().unwrap();
    let names: Vec<&str> = tenants.iter().map(|tenant| tenant["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["science", "code", "manual"]);
    for tenant in tenants {
        for key in TENANT_KEYS {
            assert!(!tenant[key].is_null(), "the tenant lacks {key}: {tenant}");
        }
        for key in ["ndcg10_before", "ndcg10_after", "recall10_after", "mrr10_after"] {
            let score = tenant[key].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&score), "{key} is {score}");
        }
        let adapter = tenant["adapter"].as_str().unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            assert!(place.at(adapter).join(file).is_file(), "{adapter}/{file}");
        }
    }
    let report = String::from_utf8(place.read("run/report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("science"), "no report");
    let saved: Value = serde_json::from_slice(&place.read("run/run.json")).unwrap();
    assert_eq!(&saved["results"], results, "run.json and --json say the same");
    assert!(!place.at("run/checkpoint").exists(), "a finished run needs no checkpoint");
}

/// A folder of results is neither overwritten nor resumed.
fn check_second_run(place: &Place) {
    let again = place.run(&["train", "w.toml", "--out", "run"]);
    again.check("a second run", 1, &["error: failed to start", "not empty", "hint: ", "--resume"]);
    let resumed = place.run(&["train", "w.toml", "--out", "run", "--resume"]);
    resumed.check("a finished run resumed", 1, &["no checkpoint", "hint: the run is finished"]);
}

fn check_search(place: &Place) {
    let query = data::text(10, 3);
    let search = ["search", "--run", "run", "--tenant", "science", "-k", "5", &query];
    let found = place.json(&search);
    let passages = found["passages"].as_array().unwrap();
    assert_eq!(passages.len(), 5);
    let scores: Vec<f64> = passages.iter().map(|p| p["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other), "{scores:?}");
    let people = place.run(&search);
    assert!(people.stdout.starts_with("1. "), "{}", people.stdout);
    let unknown = place.run(&["search", "--run", "run", "--tenant", "nobody", "x"]);
    unknown.check("an unknown tenant", 1, &["find tenant nobody", "hint: it has science, code"]);
    let nowhere = place.run(&["search", "--run", "elsewhere", "--tenant", "science", "x"]);
    nowhere.check("no run", 1, &["error: failed to read the run in elsewhere", "hint: "]);
    let empty = place.run(&["search", "--run", "run", "--tenant", "science", ""]);
    empty.check("an empty query", 0, &[]);
}

/// The merged model is a base like any other, and answers as base and adapter do.
fn check_export(place: &Place, results: &Value) {
    for format in ["peft", "sentence-transformers"] {
        let export = ["export", "--run", "run", "--tenant", "science", "--format", format, "--to"];
        let export = [&export[..], &[format]].concat();
        assert_eq!(place.json(&export)["tenant"], "science");
        let again = place.run(&export);
        again.check("an export over another", 1, &["it exists", "hint: "]);
    }
    let adapter = place.read("run/tenants/science/adapter/adapter_model.safetensors");
    assert!(adapter == place.read("peft/adapter_model.safetensors"), "the adapter itself");

    let eval = ["eval", "science", "--precision", "f32", "--base"];
    let apart = place.json(&[&eval[..], &["model", "--adapter", "peft"]].concat());
    let merged = place.json(&[&eval[..], &["sentence-transformers"]].concat());
    let (apart, merged) = (&apart["data"][0], &merged["data"][0]);
    let science = &results["tenants"][0];
    for metric in ["ndcg10", "recall10", "mrr10"] {
        assert_eq!(apart["base"][metric], science[format!("{metric}_before")], "{metric}");
        assert_eq!(apart["adapter"][metric], science[format!("{metric}_after")], "{metric}");
        let difference =
            merged["base"][metric].as_f64().unwrap() - apart["adapter"][metric].as_f64().unwrap();
        assert!(difference.abs() < 1e-3, "{metric}: merged {merged}, apart {apart}");
    }
    assert!(apart["difference"]["p_value"].is_number(), "{apart}");
}

fn check_models(place: &Place) {
    let shown = place.json(&["model", "show", "./model"]);
    assert_eq!((&shown["layers"], &shown["hidden"]), (&"2".into(), &"32".into()), "{shown}");
    let listed = place.json(&["model", "list"]);
    let models = listed["models"].as_array().unwrap();
    assert!(models.iter().any(|model| model["name"] == "all-MiniLM-L6-v2"), "{listed}");
    let unknown = place.run(&["model", "show", "all-minilm"]);
    unknown.check("an unknown model", 1, &["error: failed to get the base model", "hint: "]);
}

/// A tenant whose texts come out as no number stops alone; the others finish.
#[test]
fn a_tenant_that_fails_does_not_stop_the_others() {
    let place = place();
    data::pairs(&place.at("code.jsonl"), 60);
    let poisoned = String::from_utf8(place.read("code.jsonl")).unwrap();
    let anchor = "\"anchor\":\"";
    assert!(poisoned.contains(anchor), "{poisoned}");
    place.write("code.jsonl", poisoned.replace(anchor, &format!("{anchor}{POISON} ")));
    let train = |out, only: &[&str]| {
        place.run(&[&["train", "w.toml", "--json", "--out", out][..], only].concat())
    };
    let some = train("some", &[]);
    some.check("one of three", 3, &["code: training stopped: the loss of step 1 is not a finite"]);
    let results: Value = serde_json::from_str(&some.stdout).unwrap();
    let failed = |at: usize| results["tenants"][at]["failed"].as_bool().unwrap();
    assert_eq!([0, 1, 2].map(failed), [false, true, false], "{results}");
    assert_eq!(results["tenants"][1]["steps"], 0, "{results}");
    let good = train("good", &["--only", "science", "--only", "manual"]);
    good.check("without the bad one", 0, &[]);
    for tenant in ["science", "manual"] {
        let weights = format!("tenants/{tenant}/adapter/adapter_model.safetensors");
        let (with, without) = ("some/".to_owned() + &weights, "good/".to_owned() + &weights);
        assert!(place.read(with) == place.read(without), "{tenant} is not touched");
    }
    train("all", &["--only", "code"]).check("all of one", 1, &["training stopped"]);
}

/// A tenant without training examples is measured, searched with the base model and named in the
/// report; the others get the adapters that they get without it.
#[test]
fn a_tenant_without_training_examples_stays_zero_shot() {
    let place = place();
    std::fs::remove_file(place.at("science/qrels/train.tsv")).unwrap();
    let train = ["train", "w.toml", "--json", "--only", "code", "--out"];
    place.run(&[&train[..], &["alone"]].concat()).check("code alone", 0, &[]);
    let both = [&train[..], &["run", "--only", "science", "--compare"]].concat();
    let ran = place.run(&both);
    ran.check("both", 0, &["warning: science: no training examples: this tenant stays zero-shot"]);
    let results: Value = serde_json::from_str(&ran.stdout).unwrap();
    let science = &results["tenants"][0];
    assert_eq!(science["name"], "science");
    assert!(science["ended"].as_str().unwrap().contains("no training example"), "{science}");
    assert_eq!((&science["steps"], &science["failed"]), (&0.into(), &false.into()), "{science}");
    assert!((0.0..=1.0).contains(&science["ndcg10_before"].as_f64().unwrap()), "{science}");
    for key in ["adapter", "ndcg10_after", "loss_first"] {
        assert!(science[key].is_null(), "{key}: {science}");
    }
    let weights = "tenants/code/adapter/adapter_model.safetensors";
    let (with, without) = (format!("run/{weights}"), format!("alone/{weights}"));
    assert!(place.read(with) == place.read(without), "code is not touched");
    assert!(!place.at("run/apart/science").exists(), "there is nothing to compare");
    let report = String::from_utf8(place.read("run/report.html")).unwrap();
    for part in ["not trained", "Not trained: its data has no training example", "1 tenant trained"]
    {
        assert!(report.contains(part), "the report lacks {part:?}");
    }
    let people =
        place.run(&["train", "w.toml", "-q", "--only", "code", "--only", "science", "--out", "b"]);
    assert!(people.stdout.contains("\nscience: not trained: its data has"), "{}", people.stdout);

    let query = data::text(10, 3);
    let found = place.json(&["search", "--run", "run", "--tenant", "science", &query]);
    assert_eq!(found["passages"].as_array().unwrap().len(), 3);
    let export = place.run(&["export", "--run", "run", "--tenant", "science", "--to", "x"]);
    export.check("an export of nothing", 1, &["export the adapter of science", "hint: "]);
}

#[test]
fn wrong_arguments_end_with_2_and_only_names_tenants() {
    let place = place();
    for arguments in [
        &["train"][..],
        &["train", "w.toml", "--threads", "0"],
        &["train", "w.toml", "--precision", "f8"],
        &["search", "x"],
        &["search", "--tenant", "a", "-k", "0", "x"],
        &["nonsense"],
    ] {
        place.run(arguments).check(&format!("{arguments:?}"), 2, &["error: "]);
    }
    let only = place.run(&["train", "w.toml", "--only", "nobody"]);
    only.check("--only", 1, &["find tenant nobody", "hint: it has science, code, manual"]);
    let missing = place.run(&["train", "none.toml", "--json"]);
    missing.check("no workspace", 1, &["error: failed to read the workspace", "hint: "]);
    let error: Value = serde_json::from_str(&missing.stdout).unwrap();
    assert!(error["error"][1].as_str().unwrap().contains("none.toml"), "{error}");
    let shell = |script: &str| Ran::of(place.shell(script).output().unwrap());
    shell("\"$0\" model list | true").check("a reader that has gone away", 0, &[]);
    let full = shell("\"$0\" model list > /dev/full");
    full.check("data that cannot be written", 1, &["error: failed to write to stdout"]);
}

#[test]
fn each_tenant_alone_is_measured_where_the_user_asks() {
    let place = place();
    let arguments = ["train", "w.toml", "--only", "code", "--only", "science", "--compare"];
    let results = place.json(&[&arguments[..], &["--out", "run"]].concat());
    assert_eq!(results["tenants"].as_array().unwrap().len(), 2);
    for name in ["code", "science"] {
        let weights = format!("tenants/{name}/adapter/adapter_model.safetensors");
        let alone = place.read(format!("run/apart/{name}/{weights}"));
        assert!(alone == place.read(format!("run/{weights}")), "{name}: alone is not as together");
    }
    assert!(!place.at("run/apart/code/tenants/science").exists(), "alone means alone");
}
