//! Adapters written and read again, and what happens to the folder that they are written to.

use std::fs;
use std::sync::Arc;

use cotenant_transformer::{
    Adapter, AdapterLayout, EncoderConfig, LayerChoice, LoraSpec, Module, Site,
};
use proptest::prelude::{ProptestConfig, Strategy, any, prop};
use proptest::{prop_assert_eq, proptest};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{check_error, shape};

/// An adapter with random values everywhere.
pub(crate) fn filled(layout: AdapterLayout, seed: u64) -> Adapter {
    let mut adapter = Adapter::initial(Arc::new(layout), seed);
    let other = Adapter::initial(adapter.layout.clone(), seed + 1);
    for entry in adapter.layout.clone().entries() {
        let bound = entry.b.len().min(entry.a.len());
        let from = &other.values[entry.a.start..entry.a.start + bound];
        adapter.values[entry.b.start..entry.b.start + bound].copy_from_slice(from);
    }
    adapter
}

fn spec(targets: &[Module], layers: LayerChoice) -> LoraSpec {
    LoraSpec { rank: 4, alpha: 8.0, rslora: false, targets: targets.to_vec(), layers }
}

/// An adapter of the tiny model, on every query.
fn queries(seed: u64) -> Adapter {
    let spec = spec(&[Module::Query], LayerChoice::All);
    filled(AdapterLayout::from_spec(&spec, &shape()).unwrap(), seed)
}

fn deep() -> EncoderConfig {
    EncoderConfig { layers: 5, ..shape() }
}

fn saved(adapter: &Adapter) -> (TempDir, Value) {
    let folder = TempDir::new().unwrap();
    adapter.save_peft(folder.path(), "org/base").unwrap();
    let config = fs::read(folder.path().join("adapter_config.json")).unwrap();
    (folder, serde_json::from_slice(&config).unwrap())
}

/// Any layout: any sites, each with its own rank, and scales of several origins.
fn layouts() -> impl Strategy<Value = AdapterLayout> {
    let site = (0..5usize, 0..6usize)
        .prop_map(|(layer, module)| Site { layer, module: Module::ALL[module] });
    let scale = (0..4u8, 1..200u32, any::<f32>()).prop_map(|(kind, alpha, any)| match kind {
        0 => alpha as f32 / 4.0,
        1 => alpha as f32 / 3.0,
        2 => alpha as f32 / 7f32.sqrt(),
        _ if any.is_finite() => any,
        _ => 1.0,
    });
    let pairs = prop::collection::vec((site, 1..9usize, scale), 1..12);
    let uniform = (0..64u8, 1..33usize, 1..65u32, any::<bool>(), 1..6usize).prop_map(
        |(targets, rank, alpha, rslora, top)| {
            let chosen = |at: &usize| targets >> at & 1 == 1 || *at == 0;
            let targets = (0..6).filter(chosen).map(|at| Module::ALL[at]).collect();
            let layers = LayerChoice::Top(top);
            let spec = LoraSpec { rank, alpha: alpha as f32, rslora, targets, layers };
            AdapterLayout::from_spec(&spec, &deep()).unwrap()
        },
    );
    proptest::prop_oneof![
        pairs.prop_map(|pairs| AdapterLayout::from_pairs(pairs, &deep())),
        uniform
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn an_adapter_is_read_as_it_was_written(layout in layouts(), seed: u64) {
        let adapter = filled(layout, seed);
        let (folder, _) = saved(&adapter);
        let read = Adapter::load_peft(folder.path(), &deep()).unwrap();
        prop_assert_eq!(read, adapter);
    }
}

#[test]
fn names_are_short_only_where_peft_cannot_misread_them() {
    let all =
        ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"];
    let cases = [
        (
            spec(&[Module::Query, Module::Value], LayerChoice::All),
            json!(["query", "value"]),
            json!([0, 1, 2, 3, 4]),
        ),
        (spec(&Module::ALL, LayerChoice::Top(2)), json!(all), json!([3, 4])),
        (
            spec(&[Module::AttentionOutput], LayerChoice::Only(vec![1, 3])),
            json!(["attention.output.dense"]),
            json!([1, 3]),
        ),
        // Alone, `output.dense` would also name `attention.output.dense`.
        (
            spec(&[Module::Output], LayerChoice::Only(vec![0, 2])),
            json!(["encoder.layer.0.output.dense", "encoder.layer.2.output.dense"]),
            json!(null),
        ),
    ];
    for (spec, targets, layers) in cases {
        let layout = AdapterLayout::from_spec(&spec, &deep()).unwrap();
        let (_folder, config) = saved(&filled(layout, 3));
        assert_eq!(config["target_modules"], targets);
        assert_eq!(config["layers_to_transform"], layers);
        assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(8)));
        assert_eq!(config["rank_pattern"], json!({}));
        assert_eq!(config["alpha_pattern"], json!({}));
    }
}

#[test]
fn pairs_that_differ_get_patterns() {
    let site = |layer, module| Site { layer, module };
    let pairs = vec![
        (site(0, Module::Query), 4, 2.0),
        (site(0, Module::Key), 4, 2.0),
        (site(1, Module::Query), 2, 0.5),
        (site(1, Module::Output), 4, 0.3),
    ];
    let (_folder, config) = saved(&filled(AdapterLayout::from_pairs(pairs, &deep()), 3));
    let query = "encoder.layer.1.attention.self.query";
    let output = "encoder.layer.1.output.dense";
    assert_eq!(config["rank_pattern"], json!({ query: 2 }));
    let odd = f64::from(0.3f32) * 4.0;
    assert_eq!(config["alpha_pattern"], json!({ query: 1, output: odd }));
    let first = "encoder.layer.0.attention.self.query";
    let key = "encoder.layer.0.attention.self.key";
    assert_eq!(config["target_modules"], json!([first, key, query, output]));
}

#[test]
fn rslora_is_said_where_it_was_meant() {
    let wanted =
        LoraSpec { rank: 8, alpha: 16.0, rslora: true, ..spec(&[Module::Query], LayerChoice::All) };
    let layout = AdapterLayout::from_spec(&wanted, &deep()).unwrap();
    let (_folder, config) = saved(&filled(layout, 3));
    assert_eq!(config["use_rslora"], json!(true));
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(8), &json!(16)));
}

#[test]
fn an_adapter_replaces_an_adapter_and_nothing_else() {
    let (first, second) = (queries(1), queries(2));
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("deep/er/adapter");
    let load = || Adapter::load_peft(&target, &shape());
    first.save_peft(&target, "org/base").unwrap();
    assert_eq!(load().unwrap(), first);
    second.save_peft(&target, "org/base").unwrap();
    assert_eq!(load().unwrap(), second);
    let beside = || fs::read_dir(target.parent().unwrap()).unwrap().count();
    assert_eq!(beside(), 1, "the hidden folder is gone");

    fs::write(target.join("notes.txt"), b"mine").unwrap();
    let refused = first.save_peft(&target, "org/base");
    check_error(refused, &["failed to write", "it already holds notes.txt", "hint: "]);
    assert_eq!(load().unwrap(), second);
    assert_eq!(fs::read(target.join("notes.txt")).unwrap(), b"mine");
    assert_eq!(beside(), 1);

    let file = folder.path().join("file");
    fs::write(&file, b"mine").unwrap();
    check_error(first.save_peft(&file, "org/base"), &["it already holds a file in its place"]);
    check_error(first.save_peft(&file.join("below"), "org/base"), &["failed to "]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[cfg(unix)]
#[test]
fn a_link_to_an_adapter_keeps_pointing_to_it() {
    let (first, second) = (queries(1), queries(2));
    let folder = TempDir::new().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    first.save_peft(&real, "org/base").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    second.save_peft(&link, "org/base").unwrap();
    assert!(link.is_symlink());
    assert_eq!(Adapter::load_peft(&real, &shape()).unwrap(), second);
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let good = queries(1);
    let folder = TempDir::new().unwrap();
    good.save_peft(folder.path(), "org/base").unwrap();
    let mut bad = good.clone();
    bad.values[5] = f32::NAN;
    let parts = ["query.lora_A.weight", "expected finite values, found NaN", "not written"];
    check_error(bad.save_peft(folder.path(), "org/base"), &parts);
    let empty = Adapter::initial(Arc::new(AdapterLayout::default()), 1);
    check_error(empty.save_peft(folder.path(), "org/base"), &["at least one pair"]);
    let site = Site { layer: 0, module: Module::Query };
    let infinite = AdapterLayout::from_pairs(vec![(site, 4, f32::INFINITY)], &shape());
    let infinite = Adapter::initial(Arc::new(infinite), 1);
    check_error(infinite.save_peft(folder.path(), "org/base"), &["expected a finite scale"]);
    assert_eq!(Adapter::load_peft(folder.path(), &shape()).unwrap(), good);
}

#[test]
fn any_name_of_a_base_model_can_be_written() {
    let adapter = queries(1);
    for name in ["org/base", "C:\\models\\base", "quote\" and: colon\nline", "模型", ""] {
        let folder = TempDir::new().unwrap();
        adapter.save_peft(folder.path(), name).unwrap();
        let config = fs::read(folder.path().join("adapter_config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["base_model_name_or_path"], json!(name));
        assert_eq!(Adapter::load_peft(folder.path(), &shape()).unwrap(), adapter);
    }
}
