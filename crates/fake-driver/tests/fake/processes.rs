use super::{MIB, MS, World};

#[test]
fn a_killed_process_leaves_nothing_on_the_card() {
    let world = World::new("memory=16MiB,sms=10", "");
    let (mut victim, mut other) = (world.tenant(), world.tenant());
    victim.expect("alloc a 12582912", "ok");
    victim.expect("launch 60000000000", "ok");
    world.cards.advance(10 * MS);
    victim.0.kill().unwrap();
    assert_eq!(other.numbers("info"), [16 * MIB, 16 * MIB]);
    // Its work is gone too, so that the other has the card alone from here on.
    other.expect("launch 5000000", "ok");
    other.expect("sync", "ok");
    assert_eq!(other.numbers("now"), [15 * MS]);
    let truth = world.cards.process(victim.0.pid()).unwrap();
    assert!(!truth.is_alive);
    let left = truth.cards[0];
    assert_eq!((left.used_bytes, left.peak_bytes, left.busy_ns), (0, 12 * MIB, 10 * MS));
}

#[test]
fn a_process_that_kills_itself_in_the_middle_leaves_no_lock() {
    let world = World::new("memory=16MiB,sms=10", "");
    for _ in 0..5 {
        let mut victim = world.tenant();
        victim.0.tell("launch 1000 count=100000").unwrap();
        while world.of(&victim).launches < 500 {
            std::thread::yield_now();
        }
        victim.0.kill().unwrap();
    }
    let mut other = world.tenant();
    other.expect("alloc a 16777216", "ok");
    other.expect("launch 1000", "ok");
    other.expect("sync", "ok");
}

#[test]
fn an_end_by_itself_credits_memory_too() {
    let world = World::new("memory=16MiB", "");
    let mut tenant = world.tenant();
    tenant.expect("alloc a 16777216", "ok");
    assert!(tenant.0.finish().unwrap().success());
    assert_eq!(world.cards.card(0).unwrap().used_bytes, 0);
}

#[test]
fn a_child_of_a_user_is_told_that_it_is_none() {
    let world = World::new("memory=16MiB", "");
    let mut tenant = world.tenant();
    tenant.expect("alloc a 4096", "ok");
    let answer = tenant.ask("fork info");
    assert_eq!(answer, "child error 3 CUDA_ERROR_NOT_INITIALIZED in cuMemGetInfo_v2");
    assert_eq!(tenant.0.answer("fork").unwrap(), "ok 0");
    tenant.expect("alloc b 4096", "ok");
    assert_eq!(world.of(&tenant).used_bytes, 8192);
}

#[test]
fn a_child_of_a_process_that_used_no_card_may_use_one() {
    let world = World::new("memory=16MiB", "");
    let mut tenant = world.fresh();
    tenant.expect("fork init", "child ok");
    assert_eq!(tenant.0.answer("fork").unwrap(), "ok 0");
    let truth = world.cards.truth();
    assert_eq!(truth.processes.len(), 1);
    assert_ne!(truth.processes[0].pid, tenant.0.pid());
    tenant.expect("init", "ok");
}

#[test]
fn a_process_that_becomes_another_program_has_nothing_any_more() {
    let world = World::new("memory=16MiB", "");
    let mut tenant = world.tenant();
    tenant.expect("alloc a 8388608", "ok");
    let answer = tenant.ask("exec");
    assert_eq!(answer, format!("ready {}", tenant.0.pid()));
    assert_eq!(world.cards.card(0).unwrap().used_bytes, 0);
    tenant.expect("init", "ok");
    tenant.expect("alloc a 16777216", "ok");
    let of_it = world.cards.truth().processes;
    assert_eq!(of_it.iter().map(|one| one.is_alive).collect::<Vec<_>>(), [false, true]);
}

/// Sixteen processes take memory at once, as much as they get; the card never holds more than it
/// has, and in the end all of it is taken.
#[test]
fn racing_processes_never_have_more_than_there_is() {
    let world = World::new("memory=64MiB", "");
    let mut tenants: Vec<_> = (0..16).map(|_| world.tenant()).collect();
    for tenant in &mut tenants {
        for at in 0..10 {
            tenant.0.tell(&format!("alloc a{at} {MIB}")).unwrap();
        }
    }
    let mut got = 0;
    for tenant in &mut tenants {
        for _ in 0..10 {
            got += u64::from(tenant.0.answer("alloc").unwrap() == "ok");
            assert!(world.cards.card(0).unwrap().used_bytes <= 64 * MIB);
        }
    }
    assert_eq!(got, 64);
}
