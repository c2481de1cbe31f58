use cotenant_fake_cards::Fault;

use super::World;

#[test]
fn the_call_that_shall_fail_fails_and_no_other() {
    let world = World::new("memory=16MiB", "");
    let mut tenant = world.tenant();
    world.cards.set_fault("cuMemAlloc_v2", &Fault::Fails { call: 2, times: 2, code: 999 });
    let answers = ["a", "b", "c", "d"].map(|name| tenant.ask(&format!("alloc {name} 4096")));
    let failure = "error 999 CUDA_ERROR_UNKNOWN in cuMemAlloc_v2";
    assert_eq!(answers, ["ok", failure, failure, "ok"]);
    assert_eq!(world.of(&tenant).used_bytes, 8192);
    assert_eq!(world.cards.calls()["cuMemAlloc_v2"], 4);
    world.cards.set_fault("cuMemAlloc_v2", &Fault::Fails { call: 1, times: u64::MAX, code: 2 });
    assert!(tenant.ask("alloc e 1").starts_with("error 2 "));
    world.cards.clear_faults("cuMemAlloc_v2");
    tenant.expect("alloc e 1", "ok");
}

#[test]
fn a_slow_call_takes_its_time() {
    let world = World::new("memory=16MiB", "");
    let mut tenant = world.tenant();
    world.cards.set_fault("cuMemAlloc_v2", &Fault::Slow { delay_ns: 30_000_000 });
    let start = std::time::Instant::now();
    tenant.expect("alloc a 4096", "ok");
    assert!(start.elapsed().as_millis() >= 30);
}

#[test]
fn a_card_that_falls_off_is_gone_for_everybody() {
    let world = World::new("memory=16MiB,sms=10", "");
    let mut tenant = world.tenant();
    tenant.expect("launch 1000000000", "ok");
    world.cards.lose_card(0, 79);
    let lost = "error 46 CUDA_ERROR_DEVICE_UNAVAILABLE";
    for line in ["sync", "alloc a 4096", "launch 1000", "info"] {
        let answer = tenant.ask(line);
        assert!(answer.starts_with(lost), "{line}: {answer}");
    }
    assert_eq!(world.of(&tenant).kernels, 0);
    let answer = world.fresh().ask("init");
    assert!(answer.starts_with(lost), "{answer}");
}
