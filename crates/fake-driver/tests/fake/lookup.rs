use super::World;

/// What a program does works alike however it finds its functions.
fn check(lookup: &str) {
    let world = World::new("memory=16MiB,sms=10", "");
    let mut tenant = world.fresh();
    for line in [
        lookup,
        "init",
        "alloc a 4096",
        "alloc b 4096 async",
        "launch 1000000",
        "capture g 1000 3",
        "play g",
        "sync",
        "free a",
    ] {
        tenant.expect(line, "ok");
    }
    assert_eq!(world.of(&tenant).kernels, 4, "{lookup}");
}

#[test]
fn functions_are_found_by_symbol_and_by_address() {
    check("lookup dlsym");
    check("lookup address 12040");
    check("lookup address 12000");
    check("lookup address 13000 own");
}

#[test]
fn the_default_stream_of_a_thread_is_another_function() {
    let world = World::new("memory=16MiB,sms=10", "");
    let mut tenant = world.fresh();
    for line in ["lookup address 12040 own", "init", "launch 1000"] {
        tenant.expect(line, "ok");
    }
    let calls = world.cards.calls();
    assert_eq!(calls.get("cuLaunchKernel_ptsz"), Some(&1), "{calls:?}");
    assert_eq!(calls.get("cuLaunchKernel"), None);
    assert_eq!(calls.get("cuMemAlloc_v2"), None);
}

#[test]
fn an_older_driver_lacks_what_came_later() {
    let world = World::new("sms=10", "driver=11080");
    let mut tenant = world.fresh();
    tenant.expect("lookup address 12040", "ok");
    tenant.expect("init", "ok");
    let answer = tenant.ask("call cuLibraryUnload 1");
    assert_eq!(answer, "error: cuLibraryUnload has status 2");
    let answer = tenant.ask("call cuNoSuchFunction");
    assert_eq!(answer, "error: cuNoSuchFunction has status 1");
}

#[test]
fn a_function_can_be_missing_by_symbol_or_by_address() {
    let world = World::without("sms=10", "", &["cuMemAllocAsync", "cuGetProcAddress_v2"]);
    let mut tenant = world.tenant();
    tenant.expect("alloc a 4096 async", "error: the driver has no cuMemAllocAsync");
    // The older way to addresses has no status.
    tenant.expect("lookup address 12040", "ok");
    tenant.expect("alloc a 4096", "ok");
    let answer = tenant.ask("call cuNoSuchFunction");
    assert_eq!(answer, "error 500 CUDA_ERROR_NOT_FOUND in cuGetProcAddress");

    let world = World::new("sms=10", "");
    world.cards.set_fault("cuMemCreate", &cotenant_fake_cards::Fault::Missing);
    let mut tenant = world.fresh();
    tenant.expect("lookup address 12040", "ok");
    tenant.expect("init", "ok");
    tenant.expect("alloc a 4096 vmm", "error: cuMemCreate has status 1");
}
