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
    // The three levels below the first are each a quarter of the one above.
    check_way("mipmap", 8 * MIB + 2 * MIB + MIB / 2 + MIB / 8);
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
fn a_destroyed_pool_keeps_its_memory_until_its_last_block_is_freed() {
    let world = World::new("memory=32MiB", "");
    let mut tenant = world.tenant();
    tenant.expect("alloc a 8388608 orphan", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 8 * MIB);
    tenant.expect("free a", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 0);
}

#[test]
fn handles_of_physical_memory_are_given_again_while_it_is_mapped() {
    let world = World::new("memory=32MiB", "");
    let mut tenant = world.tenant();
    tenant.expect("alloc a 8388608 mapped", "ok");
    tenant.expect("alloc b 4194304 pages", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 12 * MIB);
    tenant.expect("free b", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 8 * MIB);
    tenant.expect("alloc tiles 4194304 sparse", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 12 * MIB);
    tenant.expect("free tiles", "ok");
    tenant.expect("free a", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 0);
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

#[test]
fn a_graph_is_charged_for_its_memory_from_its_first_launch_until_a_trim() {
    let world = World::new("memory=16MiB,sms=10", "");
    let mut tenant = world.tenant();
    tenant.expect("capture g 1000 2 bytes=12582912", "ok");
    tenant.expect("capture h 1000 2 bytes=8388608", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 0);
    tenant.expect("play g count=3", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 12 * MIB);
    tenant.expect("play h", "error 2 CUDA_ERROR_OUT_OF_MEMORY in cuGraphLaunch");
    tenant.expect("sync", "ok");
    assert_eq!((world.of(&tenant).kernels, world.of(&tenant).launches), (6, 3));
    tenant.expect("forget g", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 12 * MIB);
    // Another graph takes what the first has left, and the rest goes when it is asked for.
    tenant.expect("play h", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 12 * MIB);
    tenant.expect("call cuDeviceGraphMemTrim 0", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 8 * MIB);
}

#[test]
fn mapped_memory_can_be_exported_and_is_charged_once() {
    let world = World::new("memory=16MiB", "");
    let mut tenant = world.tenant();
    tenant.expect("alloc a 8388608 vmm", "ok");
    let descriptor = tenant.numbers("export a")[0];
    tenant.expect(&format!("import b {descriptor}"), "ok");
    assert_eq!(world.of(&tenant).used_bytes, 8 * MIB);
    tenant.expect("free b", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 8 * MIB);
    tenant.expect("free a", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 0);
    let answer = tenant.ask("import c 0");
    assert!(answer.starts_with("error 1 "), "{answer}");
}

/// A simple generator; the same seed gives the same sequence.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Takes and gives memory at random; a sum kept here must foretell every answer.
fn check_sequence(seed: u64) {
    const WAYS: [(&str, u64); 4] =
        [("plain", 512), ("managed", 512), ("array", 512), ("vmm", 2 * MIB)];
    let total = 64 * MIB;
    let world = World::new("memory=64MiB", "");
    let mut tenant = world.tenant();
    let (mut state, mut held, mut used) = (seed, Vec::new(), 0);
    for step in 0..400 {
        if next(&mut state).is_multiple_of(3) && !held.is_empty() {
            let (name, bytes) = held.swap_remove(next(&mut state) as usize % held.len());
            tenant.expect(&format!("free {name}"), "ok");
            used -= bytes;
        } else {
            let (way, unit) = WAYS[next(&mut state) as usize % WAYS.len()];
            let bytes = next(&mut state) % (6 * MIB) + 1;
            let rounded = bytes.next_multiple_of(unit);
            let answer = tenant.ask(&format!("alloc m{step} {bytes} {way}"));
            let is_fit = used + rounded <= total;
            assert_eq!(answer == "ok", is_fit, "seed {seed}, step {step}, {way}: {answer}");
            if is_fit {
                held.push((format!("m{step}"), rounded));
                used += rounded;
            }
        }
        assert_eq!(world.of(&tenant).used_bytes, used, "seed {seed}, step {step}");
    }
    assert!(world.of(&tenant).peak_bytes > total * 9 / 10, "the card was never nearly full");
}

#[test]
fn random_sequences_are_foretold_by_a_sum() {
    for seed in 1..=3 {
        check_sequence(seed);
    }
}
