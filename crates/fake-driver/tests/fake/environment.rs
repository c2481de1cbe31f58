//! Cards that the environment describes, and what is said where it does not.

use std::process::Command;

use cotenant_fake_cards::tenant::TenantProcess;
use cotenant_fake_cards::{Cards, install};

use super::{TENANT, Tenant};

const FILE: &str = "COTENANT_FAKE_DRIVER";

/// A tenant with these variables beside the file's, in a folder of its own.
fn start(folder: &std::path::Path, variables: &[(&str, &str)]) -> Tenant {
    install(&folder.join("lib"), &[]).unwrap();
    let mut command = Command::new(TENANT);
    command.env_remove(FILE).env("LD_LIBRARY_PATH", folder.join("lib"));
    command.envs(variables.iter().copied());
    Tenant(TenantProcess::spawn(command).unwrap())
}

#[test]
fn the_first_process_makes_the_cards_and_the_next_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cards");
    let variables = [
        (FILE, file.to_str().unwrap()),
        ("COTENANT_FAKE_CARDS", "memory=8MiB,sms=4; memory=2MiB"),
        ("COTENANT_FAKE_SETTINGS", "driver=13000"),
        ("COTENANT_FAKE_FAULTS", "cuMemAlloc_v2 call=2 code=2"),
    ];
    let (mut one, mut other) = (start(folder.path(), &variables), start(folder.path(), &variables));
    for tenant in [&mut one, &mut other] {
        tenant.expect("init", "ok");
    }
    one.expect("alloc a 1048576", "ok");
    other.expect("alloc a 1048576", "error 2 CUDA_ERROR_OUT_OF_MEMORY in cuMemAlloc_v2");
    other.expect("alloc a 1048576", "ok");
    let cards = Cards::open(&file).unwrap();
    assert_eq!(
        cards.truth().cards.iter().map(|card| card.used_bytes).collect::<Vec<_>>(),
        [2 << 20, 0]
    );
    assert_eq!(cards.driver_version(), 13_000);
}

/// What a tenant hears whose environment is wrong.
fn check(variables: &[(&str, &str)], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cards");
    let file = [(FILE, file.to_str().unwrap())];
    let all: Vec<(&str, &str)> = match variables {
        [] => Vec::new(),
        some => file.iter().chain(some).copied().collect(),
    };
    let mut tenant = start(folder.path(), &all);
    tenant.expect("init", "error 100 CUDA_ERROR_NO_DEVICE in cuInit");
    let why = tenant.ask("why");
    assert!(why.starts_with(expected), "{why}");
}

#[test]
fn a_wrong_environment_is_explained() {
    check(&[], "ok failed to find the fake cards: the variable COTENANT_FAKE_DRIVER is not set");
    let cards = "COTENANT_FAKE_CARDS";
    check(&[(cards, "")], "ok failed to understand COTENANT_FAKE_CARDS: make 0 cards");
    check(
        &[(cards, "memory=1GiB"), ("COTENANT_FAKE_FAULTS", "cuInit soon")],
        "ok failed to understand COTENANT_FAKE_FAULTS: read 'soon'",
    );
}
