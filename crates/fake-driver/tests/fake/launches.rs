use super::{MS, World};

#[test]
fn events_tell_how_long_the_card_took() {
    let world = World::new("sms=10", "");
    let mut tenant = world.tenant();
    for line in ["event a", "event b", "record a", "launch 3000000 count=4", "record b"] {
        tenant.expect(line, "ok");
    }
    let early = tenant.ask("elapsed a b");
    assert_eq!(early, "error 600 CUDA_ERROR_NOT_READY in cuEventElapsedTime");
    tenant.expect("wait b", "ok");
    assert_eq!(tenant.numbers("elapsed a b"), [12 * MS]);
    assert_eq!(tenant.numbers("now"), [12 * MS]);
    let truth = world.of(&tenant);
    assert_eq!((truth.launches, truth.kernels), (4, 4));
    assert_eq!((truth.busy_ns, truth.sm_ns), (12 * MS, 120 * MS));
}

/// One kernel of 5 ms in some way.
fn check_way(lines: &[&str], kernels: u64) {
    let world = World::new("sms=10", "");
    let mut tenant = world.tenant();
    for line in lines {
        tenant.expect(line, "ok");
    }
    tenant.expect("sync", "ok");
    let truth = world.of(&tenant);
    assert_eq!((truth.busy_ns, truth.launches, truth.kernels), (5 * MS, 1, kernels), "{lines:?}");
}

#[test]
fn every_way_to_launch_keeps_the_card_busy_as_long() {
    check_way(&["launch 5000000"], 1);
    check_way(&["launch 5000000 way=ex"], 1);
    check_way(&["launch 5000000 way=together blocks=10"], 1);
    check_way(&["stream s nonblocking", "launch 5000000 stream=s"], 1);
    check_way(&["graph g 1000000 5", "play g"], 5);
    check_way(&["capture g 1000000 5", "play g"], 5);
}

#[test]
fn a_cooperative_launch_must_fit_the_card() {
    let world = World::new("sms=2", "");
    let mut tenant = world.tenant();
    tenant.expect("launch 1 way=together blocks=64", "ok");
    let answer = tenant.ask("launch 1 way=together blocks=65");
    assert!(answer.starts_with("error 720 "), "{answer}");
}

#[test]
fn more_than_a_queue_holds_can_be_submitted() {
    let world = World::new("sms=10", "");
    let mut tenant = world.tenant();
    tenant.expect("launch 1000000 count=3000", "ok");
    // The last of them could be submitted only when the first were done.
    assert!(world.of(&tenant).kernels >= 3000 - 1024);
    tenant.expect("sync", "ok");
    assert_eq!(world.of(&tenant).busy_ns, 3000 * MS);
    assert_eq!(tenant.numbers("now"), [3000 * MS]);
}

#[test]
fn streams_wait_for_events_of_others() {
    let world = World::new("sms=10", "");
    let mut tenant = world.tenant();
    for line in [
        "stream s nonblocking",
        "stream t nonblocking",
        "event a",
        "event b",
        "launch 4000000 stream=s sms=1",
        "record a s",
        "await t a",
        "launch 1000000 stream=t sms=1",
        "record b t",
        "wait b",
    ] {
        tenant.expect(line, "ok");
    }
    assert_eq!(tenant.numbers("elapsed a b"), [MS]);
    assert_eq!(tenant.numbers("now"), [5 * MS]);
}

#[test]
fn functions_of_the_host_are_called_in_their_turn() {
    let world = World::new("sms=10", "");
    let mut tenant = world.tenant();
    for line in ["launch 1000000", "host", "launch 1000000"] {
        tenant.expect(line, "ok");
    }
    assert_eq!(tenant.numbers("called"), [0]);
    tenant.expect("sync", "ok");
    assert_eq!(tenant.numbers("called"), [1]);
    assert_eq!(world.of(&tenant).busy_ns, 2 * MS);
}

#[test]
fn a_busy_and_a_modest_tenant_share_the_card_fairly() {
    let world = World::new("sms=10", "");
    let mut tenants = [world.tenant(), world.tenant()];
    let hold = world.cards.hold();
    for tenant in &mut tenants {
        tenant.0.tell("work 500000 1000000000").unwrap();
    }
    // Until they have read their lines they wait too, for these.
    let is_begun = |tenant: &super::Tenant| world.of(tenant).launches > 0;
    while !(tenants.iter().all(is_begun) && world.cards.all_wait()) {
        std::thread::yield_now();
    }
    drop(hold);
    for tenant in &mut tenants {
        let answer = tenant.0.answer("work").unwrap();
        assert!(answer.starts_with("ok "), "{answer}");
    }
    let busy = tenants.each_ref().map(|tenant| world.of(tenant).busy_ns);
    // Both always had a kernel waiting, so that neither has more than a slice over the other, and
    // the last of those that were submitted ahead.
    assert!(busy[0].abs_diff(busy[1]) <= 6 * MS, "{busy:?}");
    assert!(busy[0] + busy[1] >= 1000 * MS, "{busy:?}");
}

#[test]
fn real_time_is_that_of_the_machine() {
    let world = World::new("sms=10", "time=real");
    let mut tenant = world.tenant();
    let start = std::time::Instant::now();
    for line in ["event a", "event b", "record a", "launch 20000000 count=3", "record b", "wait b"]
    {
        tenant.expect(line, "ok");
    }
    assert!(start.elapsed().as_millis() >= 60);
    let elapsed = tenant.numbers("elapsed a b")[0];
    // The record and the first launch may be apart; the card is never faster than its kernels.
    assert!(elapsed >= 60 * MS, "{elapsed}");
    let truth = world.of(&tenant);
    assert_eq!((truth.busy_ns, truth.kernels), (60 * MS, 3));
}
