//! Workspaces: what good ones become, what is said of bad ones, and that the table of keys is true.

use std::path::Path;

use cotenant_transformer::{LayerChoice, Module};
use cotenant_types::Mebibytes;

use super::config::{Limits, TenantConfig};
use super::keys::tenant_keys;
use super::limits::LIMITS;
use super::{Decay, Length, LossChoice, PrecisionChoice, Workspace, WorkspaceError, reference};

/// Parses a text as a file in a folder that has a sub-folder `data`.
fn parse(text: &str) -> Result<Workspace, WorkspaceError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    Workspace::parse(&folder.path().join("w.toml"), text)
}

const SMALL: &str = "base = \"all-MiniLM-L6-v2\"\n\n[tenant.science]\ndata = \"data\"\n";

#[test]
fn a_small_workspace_has_defaults() {
    let workspace = parse(SMALL).unwrap();
    assert_eq!(workspace.base, "all-MiniLM-L6-v2");
    assert_eq!(workspace.limits, Limits::default());
    let tenant = &workspace.tenants[0];
    let mut expected = TenantConfig::new("science".parse().unwrap());
    expected.data.clone_from(&tenant.data);
    assert_eq!(*tenant, expected);
    assert!(tenant.data[0].ends_with("data"));
    assert_eq!(tenant.adapter.spec().alpha, 32.0);
}

#[test]
fn every_setting_is_read() {
    let text = "base = \"data\"
        [limits]
        memory_mib = 4096
        threads = 2
        precision = \"f32\"
        [defaults]
        rank = 4
        epochs = 3
        [tenant.b]
        data = [\"data\", \"data\"]
        steps = 0x10
        top_layers = 2
        targets = [\"output\", \"query\"]
        dropout = 0.125
        loss = \"cosent\"
        decay = \"cosine\"
        alpha = 3
        learning_rate = 1e-3
        symmetric = true
        query_prefix = \"query: \"
        [tenant.a]
        data = \"data\"
        layers = [0, 5]
        rslora = true";
    let workspace = parse(text).unwrap();
    assert!(Path::new(&workspace.base).is_absolute(), "a folder beside the file is resolved");
    assert_eq!(workspace.limits.memory_mib, Some(Mebibytes(4096)));
    assert_eq!(workspace.limits.threads, Some(2));
    assert_eq!(workspace.limits.precision, PrecisionChoice::F32);
    let [b, a] = &workspace.tenants[..] else { panic!("two tenants in the file's order") };
    assert_eq!((b.name.as_str(), a.name.as_str()), ("b", "a"));
    assert_eq!(b.data.len(), 2);
    assert_eq!(b.training.length, Length::Steps(16));
    assert_eq!(a.training.length, Length::Epochs(3));
    assert_eq!(b.adapter.layers, LayerChoice::Top(2));
    assert_eq!(a.adapter.layers, LayerChoice::Only(vec![0, 5]));
    assert_eq!(b.adapter.targets, [Module::Output, Module::Query]);
    assert_eq!(b.adapter.dropout_per_mille, 125);
    assert_eq!((b.loss.kind, b.training.decay), (LossChoice::CoSent, Decay::Cosine));
    assert_eq!((b.adapter.spec().alpha, a.adapter.spec().alpha), (3.0, 8.0));
    assert_eq!((b.adapter.rank, b.texts.query_prefix.as_str()), (4, "query: "));
    assert!(b.loss.symmetric && a.adapter.rslora);
}

#[test]
fn bad_workspaces_say_where_and_what_to_do() {
    let check = |text: &str, parts: &[&str]| {
        let message = parse(text).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    };
    let with = |line: &str| format!("{SMALL}{line}\n");
    check(
        &with("rnak = 8"),
        &[
            "w.toml:5:1: there is no key \"rnak\" in [tenant.science]",
            "did you mean \"rank\"?",
            "the keys are data,",
        ],
    );
    check(&with("clip = 1.0"), &["did you mean \"clip_norm\"?"]);
    check(&with("zzz = 1"), &["hint: the keys are"]);
    check(
        &with("rank = 0"),
        &[
            "w.toml:5:8: rank must be a whole number from 1 to 1024, not 0",
            "hint: Rank of the adapter: more can learn more and costs more. Left out, it is 16",
        ],
    );
    check(&with("rank = \"8\""), &["not \"8\""]);
    check(&with("rank = 8.5"), &["not 8.5"]);
    check(&with("rank = -8"), &["not -8"]);
    check(&with("learning_rate = nan"), &["learning_rate must be a number from 0 to 1"]);
    check(&with("learning_rate = inf"), &["not inf"]);
    check(&with("symmetric = 1"), &["must be true or false, not 1"]);
    check(&with("decay = \"Linear\""), &["one of \"linear\", \"cosine\", \"constant\""]);
    check(&with("targets = []"), &["not an empty list"]);
    check(&with("targets = [\"query\", \"query\"]"), &["a list of different words"]);
    check(&with("layers = [1, 1]"), &["different whole numbers"]);
    check(&with("epochs = 1\nsteps = 5"), &["w.toml:6:1: steps and epochs exclude each other"]);
    check(&with("top_layers = 1\nlayers = [0]"), &["w.toml:6:1: top_layers and layers exclude"]);
    check(&with("rank = 8\nrank = 9"), &["w.toml:6:1: duplicate key"]);
    check(&with("rank ="), &["w.toml:5:"]);
    check(
        &with("[tenant.Upper]\ndata = \"data\""),
        &["w.toml:5:9: [tenant.Upper] has no usable name"],
    );
    check(&with("[tenant.none]\nrank = 8"), &["[tenant.none] has no data"]);
    check(
        &with("[tenant.lost]\ndata = \"lost\""),
        &["w.toml:6:8: data of tenant lost does not exist", "relative to"],
    );
    check(
        &with("[tenants.x]"),
        &["there is no key \"tenants\" in the workspace", "did you mean \"tenant\"?"],
    );
    check(&with("[limits]\nmemory_gib = 8"), &["in [limits]", "did you mean \"memory_mib\"?"]);
    check(&with("[defaults]\ndata = \"data\""), &["there is no key \"data\" in [defaults]"]);
    check(&with("[limits.x]"), &["there is no key \"x\" in [limits]"]);
    check("base = \"x\"", &["there is no tenant", "hint: write"]);
    check("base = \"x\"\n[tenant]", &["there is no tenant"]);
    check("[tenant.a]\ndata = \"data\"", &["there is no base model"]);
    check("base = 5\n[tenant.a]", &["w.toml:1:1: base must be the name"]);
    check("base = \"x\"\ntenant = 5", &["tenant must be a table, not 5"]);
    check("base = \"x\"\ntenant.a = 5", &["[tenant.a] must be a table, not 5"]);
    check("", &["there is no base model"]);
}

#[test]
fn files_that_are_no_workspace_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    let read = || Workspace::read(&path).unwrap_err().to_string();
    assert!(read().contains("does not exist"));
    std::fs::write(&path, b"base = \"caf\xe9\"").unwrap();
    assert!(read().contains("byte 11 is not UTF-8"));
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(read().contains("more than 1048576"));
}

#[test]
fn each_default_written_out_is_the_default() {
    let tenant = TenantConfig::new("x".parse().unwrap());
    let exclusive = ["steps", "layers", "top_layers"];
    let mut text = String::from("base = \"m\"\n[tenant.x]\ndata = \"data\"\n");
    for key in tenant_keys() {
        let default = (key.default)(&tenant);
        assert_eq!(
            default.starts_with('('),
            exclusive.contains(&key.name) || matches!(key.name, "data" | "alpha" | "negatives"),
            "{}",
            key.name
        );
        if !default.starts_with('(') {
            text += &format!("{} = {default}\n", key.name);
        }
    }
    text += "[limits]\n";
    for key in LIMITS {
        text += &format!("{} = {}\n", key.name, (key.default)(&Limits::default()));
    }
    let workspace = parse(&text).unwrap();
    let expected = TenantConfig { data: workspace.tenants[0].data.clone(), ..tenant };
    assert_eq!(workspace.tenants, [expected]);
    assert_eq!(workspace.limits, Limits::default());
}

#[test]
fn the_reference_has_every_key() {
    let page = reference();
    for name in tenant_keys().map(|key| key.name).chain(LIMITS.iter().map(|key| key.name)) {
        assert_eq!(page.matches(&format!("\n| `{name}` |")).count(), 1, "{name}");
    }
    assert!(page.lines().all(|line| !line.ends_with(' ')), "no trailing spaces");
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    let deep = format!("{SMALL}rank = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(&deep).is_err());
}
