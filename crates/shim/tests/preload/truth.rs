//! What the library counts against what the cards know, where the two are easily told apart.

use cotenant_fake_cards::tenant::TenantProcess;

use super::scene::{GIB, MIB, Scene, Slice, told};

/// What the slice is charged is what the card has lost to its one process.
#[track_caller]
fn agree(scene: &Scene, slice: &Slice, tenant: &TenantProcess, expected: u64) {
    let truth = scene.cards.process(tenant.pid()).unwrap().cards[0].used_bytes;
    assert_eq!((slice.used(), truth), (expected, expected), "charged, and taken of the card");
}

#[track_caller]
fn refused(tenant: &mut TenantProcess, line: &str) {
    let answer = tenant.ask(line).unwrap();
    assert!(answer.starts_with("error 2 CUDA_ERROR_OUT_OF_MEMORY"), "{line}: {answer}");
}

/// The driver keeps a destroyed pool's memory until its blocks are freed, and so does the ledger.
#[test]
fn a_destroyed_pool_is_charged_until_its_last_block_goes() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, &format!("alloc a {} orphan", 600 * MIB), "ok");
    agree(&scene, &slice, &tenant, 600 * MIB);
    refused(&mut tenant, &format!("alloc b {} orphan", 600 * MIB));
    told(&mut tenant, "sync", "ok");
    agree(&scene, &slice, &tenant, 600 * MIB);
    told(&mut tenant, "free a", "ok");
    told(&mut tenant, "sync", "ok");
    agree(&scene, &slice, &tenant, 0);
    // More pools one after another than the library has places for.
    for _ in 0..100 {
        told(&mut tenant, &format!("alloc b {} orphan", 900 * MIB), "ok");
        told(&mut tenant, "free b", "ok");
        told(&mut tenant, "sync", "ok");
    }
    agree(&scene, &slice, &tenant, 0);
    assert_eq!(slice.failures(), 0);
}

/// The driver gives a released handle again though its pages are mapped still.
#[test]
fn handles_that_come_again_credit_nothing_of_others() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, &format!("alloc a {} mapped", 600 * MIB), "ok");
    // Pages of the host get the same handle, which is released then.
    told(&mut tenant, &format!("alloc host {} hostpages", 64 * MIB), "ok");
    told(&mut tenant, "free host", "ok");
    agree(&scene, &slice, &tenant, 600 * MIB);
    refused(&mut tenant, &format!("alloc b {} mapped", 600 * MIB));
    told(&mut tenant, &format!("alloc b {} pages", 300 * MIB), "ok");
    told(&mut tenant, "free a", "ok");
    agree(&scene, &slice, &tenant, 300 * MIB);
    told(&mut tenant, "free b", "ok");
    agree(&scene, &slice, &tenant, 0);
}

#[test]
fn pages_of_sparse_arrays_are_charged_while_they_are_mapped() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, &format!("alloc a {} sparse", 600 * MIB), "ok");
    agree(&scene, &slice, &tenant, 600 * MIB);
    refused(&mut tenant, &format!("alloc b {} sparse", 600 * MIB));
    agree(&scene, &slice, &tenant, 600 * MIB);
    told(&mut tenant, "free a", "ok");
    agree(&scene, &slice, &tenant, 0);
}

/// A graph's memory is known once it is on the card; from then on nothing that needs more is let
/// through, and what a trim gives back is free again.
#[test]
fn graphs_that_take_memory_are_refused_once_it_is_too_much() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    for (name, mib) in [("small", 300), ("large", 900), ("more", 200), ("most", 2000)] {
        told(&mut tenant, &format!("capture {name} 1000 2 bytes={}", mib * MIB), "ok");
    }
    told(&mut tenant, "graph plain 1000 2", "ok");
    told(&mut tenant, "play small", "ok");
    agree(&scene, &slice, &tenant, 300 * MIB);
    refused(&mut tenant, &format!("alloc a {}", 800 * MIB));
    told(&mut tenant, "play large", "ok");
    agree(&scene, &slice, &tenant, 1200 * MIB);
    refused(&mut tenant, "play more");
    refused(&mut tenant, "play large");
    refused(&mut tenant, "upload most");
    agree(&scene, &slice, &tenant, 1200 * MIB);
    told(&mut tenant, "play plain", "ok");
    for name in ["small", "large"] {
        told(&mut tenant, &format!("forget {name}"), "ok");
    }
    agree(&scene, &slice, &tenant, 1200 * MIB);
    told(&mut tenant, "call cuDeviceGraphMemTrim 0", "ok");
    agree(&scene, &slice, &tenant, 0);
    told(&mut tenant, "upload more", "ok");
    agree(&scene, &slice, &tenant, 200 * MIB);
}

/// The card is the pool's and not the thread's, and a pool of the host is of no card.
#[test]
fn a_pool_is_charged_where_it_is() {
    let scene = Scene::with("memory=8GiB,count=2", "context=0B,granularity=512B", &[]);
    let slice = scene
        .slice_of(vec![scene.limit(0, Some(GIB), 1000), scene.limit(1, Some(100 * MIB), 1000)]);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, &format!("alloc a {} pool card=1", 50 * MIB), "ok");
    agree(&scene, &slice, &tenant, 0);
    refused(&mut tenant, &format!("alloc b {} pool card=1", 60 * MIB));
    told(&mut tenant, &format!("alloc h {} hostpool", 4 * GIB), "ok");
    agree(&scene, &slice, &tenant, 0);
    told(&mut tenant, &format!("alloc c {} pool", GIB), "ok");
    agree(&scene, &slice, &tenant, GIB);
    for name in ["a", "c", "h"] {
        told(&mut tenant, &format!("free {name}"), "ok");
    }
    told(&mut tenant, "sync", "ok");
    agree(&scene, &slice, &tenant, 0);
    assert_eq!(slice.failures(), 0);
}
