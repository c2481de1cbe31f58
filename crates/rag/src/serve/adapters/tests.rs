//! Adapters that come and go, without a server around them.

use std::path::Path;

use tempfile::TempDir;

use super::load::tests::{adapter, config};
use super::*;

fn adapters(limits: AdapterLimits, folder: &Path) -> Adapters {
    let adapters = Adapters::start(config(), limits, Arc::new(Meters::new())).unwrap();
    for (name, version) in [("law", 1), ("bio", 2)] {
        adapter(version).save_peft(&folder.join(name), "base").unwrap();
        let source = AdapterSource {
            name: name.to_owned(),
            folder: folder.join(name),
            ..AdapterSource::default()
        };
        adapters.register(source).unwrap();
    }
    adapters
}

fn get(adapters: &Adapters, name: &str) -> Arc<Loaded> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(adapters.get(name)).unwrap()
}

/// Texts of one generation become one segment of a batch. Had two readings of a folder the same, the
/// one would be computed with the other's values.
#[test]
fn each_reading_of_a_folder_is_a_generation() {
    let place = TempDir::new().unwrap();
    // Its values, and the head of its file.
    let bytes_max = 6 * adapter(1).values.len() as u64;
    let adapters = adapters(AdapterLimits { bytes_max, threads: 1 }, place.path());
    let first = get(&adapters, "law");
    get(&adapters, "bio");
    assert_eq!(adapters.held().loaded, 1, "there is room for one");
    adapter(3).save_peft(&place.path().join("law"), "base").unwrap();
    let second = get(&adapters, "law");
    assert_ne!(first.digest, second.digest);
    assert_ne!(first.generation, second.generation);
    assert_eq!(get(&adapters, "law").generation, second.generation, "from memory it is the same");
    adapters.end();
}

/// The time of a visit's beginning; nobody waits for it.
fn visit(number: u64) -> u64 {
    number * 600_000
}

/// Adapters of which one was asked for at even times, and the errand that this leads to. There are
/// no loader threads: the test is one.
fn expecting(place: &TempDir) -> (Adapters, Errand) {
    let adapters = adapters(AdapterLimits { bytes_max: 1 << 20, threads: 0 }, place.path());
    let mut state = adapters.shared.lock();
    (0..6).for_each(|number| state.shelf.on_asked("law", visit(number)));
    assert!(state.expected(visit(5)).is_none(), "not as soon");
    let errand = state.expected(visit(6)).unwrap();
    assert!(state.expected(visit(6)).is_none(), "once");
    drop(state);
    (adapters, errand)
}

fn finish(adapters: &Adapters, errand: Errand) {
    let (config, generation) = (config(), errand.generation);
    let loaded = load::load(errand.source.clone(), generation, (&config, 1 << 20));
    adapters.shared.finish(errand, loaded.map(Arc::new));
}

#[test]
fn what_is_expected_is_there_before_anybody_asks() {
    let place = TempDir::new().unwrap();
    let (adapters, errand) = expecting(&place);
    finish(&adapters, errand);
    let ahead = adapters.held().ahead;
    assert_eq!(ahead, Ahead { loaded: 1, used: 0, wasted: 0 });
    let found = adapters.shared.ask("law");
    assert!(matches!(found, Ok(Ok(loaded)) if loaded.source.name == "law"), "from memory");
    assert_eq!(adapters.held().ahead, Ahead { loaded: 1, used: 1, wasted: 0 });
    // Unused until it is forgotten, it was a waste.
    let place = TempDir::new().unwrap();
    let (adapters, errand) = expecting(&place);
    finish(&adapters, errand);
    adapters.unload("law").unwrap();
    assert_eq!(adapters.held().ahead, Ahead { loaded: 1, used: 0, wasted: 1 });
}

#[test]
fn who_asks_while_it_is_on_its_way_is_answered() {
    let place = TempDir::new().unwrap();
    let (adapters, errand) = expecting(&place);
    let Err(mut coming) = adapters.shared.ask("law") else { panic!("it is not there yet") };
    finish(&adapters, errand);
    assert_eq!(coming.try_recv().unwrap().unwrap().source.name, "law");
    assert_eq!(adapters.held().ahead, Ahead::default(), "it was asked for");
    assert!(adapters.shared.ask("law").is_ok());
    // One that cannot be read is told to whoever asks, and to nobody else.
    let place = TempDir::new().unwrap();
    let (adapters, errand) = expecting(&place);
    std::fs::remove_dir_all(place.path().join("law")).unwrap();
    finish(&adapters, errand);
    assert!(adapters.shared.ask("law").is_err(), "it is sent for again");
}

#[test]
fn an_adapter_that_does_not_come_is_told_of_in_time() {
    let place = TempDir::new().unwrap();
    let adapters = adapters(AdapterLimits { bytes_max: 1 << 20, threads: 0 }, place.path());
    let Err(coming) = adapters.shared.ask("law") else { panic!("nobody has read it") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let told = runtime.block_on(arrival("law", coming, Duration::from_millis(1)));
    assert!(matches!(told, Err(AdapterError::Slow { name, .. }) if name == "law"));
    let (waiter, coming) = oneshot::channel();
    drop(waiter);
    let told = runtime.block_on(arrival("law", coming, WAIT_MAX));
    assert!(matches!(told, Err(AdapterError::Ending)));
}

#[test]
fn a_panic_while_an_adapter_is_read_is_an_error() {
    let told = unless_broken("law", || panic!("as it reads"));
    assert!(matches!(told, Err(AdapterError::Broken { name }) if name == "law"));
}
