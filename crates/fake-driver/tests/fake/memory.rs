use super::{MIB, World};

const OUT_OF_MEMORY: &str = "error 2 CUDA_ERROR_OUT_OF_MEMORY";

/// Takes 8 MiB in one way; what the card says must be what the process really has, and all of it
/// must come back.
fn check_way(way: &str, expected: u64) {
    let world = World::new("memory=64MiB", "");
    let mut tenant = world.tenant();
    tenant.expect(&format!("alloc a 8388608 {way}"), "ok");
    assert_eq!(world.of(&tenant).used_bytes, expected, "{way}");
    assert_eq!(tenant.numbers("info"), [64 * MIB - expected, 64 * MIB], "{way}");
    // What is left is not enough for as much again as there is.
    let answer = tenant.ask(&format!("alloc b {} {way}", 65 * MIB));
    let is_refused = answer.starts_with(OUT_OF_MEMORY);
    assert_eq!(is_refused, expected > 0, "{way}: {answer}");
    tenant.expect("free a", "ok");
    tenant.expect("sync", "ok");
    let answer = tenant.ask("free a");
    assert!(answer.starts_with("error: there is no 'a'"), "{answer}");
    let use_after = world.of(&tenant);
    assert_eq!((use_after.used_bytes, use_after.peak_bytes), (0, expected), "{way}");
}

#[test]
fn every_way_to_memory_is_charged_and_credited() {
    for way in ["plain", "pitch", "managed", "async", "pool", "vmm", "array"] {
        check_way(way, 8 * MIB);
    }
    // The levels below the first are half, a quarter and an eighth of it.
    check_way("mipmap", 15 * MIB);
    check_way("host", 0);
}

#[test]
fn sizes_are_rounded_as_the_settings_say() {
    let world = World::new("memory=64MiB", "granularity=2MiB,context=3MiB");
    let mut tenant = world.tenant();
    assert_eq!(world.of(&tenant).used_bytes, 4 * MIB);
    tenant.expect("alloc a 1", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 6 * MIB);
    assert_eq!(tenant.numbers("total"), [64 * MIB]);
}

#[test]
fn a_pool_is_charged_for_what_it_keeps_and_gives_it_back_when_memory_is_short() {
    let world = World::new("memory=32MiB", "");
    let mut tenant = world.tenant();
    tenant.expect("alloc a 20971520 async", "ok");
    tenant.expect("free a", "ok");
    // Until somebody waits, the pool keeps it.
    assert_eq!(world.of(&tenant).used_bytes, 20 * MIB);
    tenant.expect("alloc b 20971520 plain", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 20 * MIB);
    tenant.expect("alloc c 4194304 async", "ok");
    tenant.expect("free c", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 24 * MIB);
    tenant.expect("sync", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 20 * MIB);
}

#[test]
fn all_of_a_card_and_not_a_byte_more_can_be_taken() {
    let world = World::new("memory=16MiB", "");
    let (mut one, mut other) = (world.tenant(), world.tenant());
    one.expect("alloc a 12582912", "ok");
    other.expect("alloc a 4194304", "ok");
    other.expect("alloc b 1", "error 2 CUDA_ERROR_OUT_OF_MEMORY in cuMemAlloc_v2");
    assert_eq!(other.numbers("info"), [0, 16 * MIB]);
    one.expect("free a", "ok");
    other.expect("alloc b 12582912", "ok");
    assert_eq!(world.cards.card(0).unwrap().used_bytes, 16 * MIB);
}

#[test]
fn memory_of_another_process_is_opened_and_not_charged_twice() {
    let world = World::new("memory=16MiB", "");
    let (mut owner, mut guest) = (world.tenant(), world.tenant());
    owner.expect("alloc a 8388608", "ok");
    let handle = owner.ask("share a");
    let handle = handle.strip_prefix("ok ").unwrap().to_owned();
    guest.expect(&format!("open b {handle}"), "ok");
    assert_eq!(world.of(&guest).used_bytes, 0);
    assert_eq!(world.cards.card(0).unwrap().used_bytes, 8 * MIB);
    guest.expect("close b", "ok");
    let own = owner.ask(&format!("open b {handle}"));
    assert!(own.starts_with("error 201 "), "{own}");
    owner.0.kill().unwrap();
    let gone = guest.ask(&format!("open b {handle}"));
    assert!(gone.starts_with("error 1 "), "{gone}");
}

#[test]
fn a_context_takes_its_memory_with_it() {
    let world = World::new("memory=16MiB", "context=1MiB");
    let mut tenant = world.tenant();
    tenant.expect("alloc second 0 context", "ok");
    assert_eq!((world.of(&tenant).used_bytes, world.of(&tenant).contexts), (2 * MIB, 2));
    tenant.expect("free second", "ok");
    assert_eq!((world.of(&tenant).used_bytes, world.of(&tenant).contexts), (MIB, 1));
}
