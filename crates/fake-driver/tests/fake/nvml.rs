use super::{MS, World};

#[test]
fn nvml_tells_of_the_same_cards() {
    let cards = "name=Card One,memory=16MiB,sms=10,mig=on; name=L4,memory=8MiB";
    let world = World::new(cards, "");
    let mut tenant = world.tenant();
    for line in ["launch 130000000", "sync", "alloc a 4194304"] {
        tenant.expect(line, "ok");
    }
    world.cards.advance(100 * MS);
    let mut watcher = world.fresh();
    let uuid = "GPU-fa4eca4d-0000-4000-8000-000000000000";
    watcher.expect("nvml count", "ok 2");
    watcher.expect("nvml card 0", &format!("ok Card_One {uuid} 00000000:01:00.0 found"));
    watcher.expect("nvml memory 0", "ok 16777216 4194304 12582912");
    watcher.expect("nvml memory 1", "ok 8388608 0 8388608");
    let pid = tenant.0.pid();
    watcher.expect("nvml processes 0", &format!("ok {pid}:4194304"));
    watcher.expect("nvml processes 1", "ok");
    // Of the second tenth of a second, three tenths.
    watcher.expect("nvml use 0", "ok 30");
    watcher.expect("nvml samples 0 0", &format!("ok {pid}:30@1700000000200000"));
    let none = "error 6 NVML in nvmlDeviceGetProcessUtilization";
    watcher.expect("nvml samples 0 1700000000200000", none);
    watcher.expect("nvml mig 0", "ok 0");
    watcher.expect("nvml mig 1", "error 3 NVML in nvmlDeviceGetMigMode");
    let processes = world.cards.truth().processes;
    assert_eq!(processes.iter().map(|one| one.pid).collect::<Vec<_>>(), [pid]);
}

#[test]
fn nvml_must_be_initialised_as_often_as_it_is_shut_down() {
    let world = World::new("memory=16MiB", "");
    let mut watcher = world.fresh();
    assert!(watcher.ask("call nvmlShutdown").starts_with("error 1 "));
    watcher.expect("call nvmlInit_v2", "ok");
    watcher.expect("call nvmlShutdown", "ok");
    assert!(watcher.ask("call nvmlShutdown").starts_with("error 1 "));
}

#[test]
fn xid_errors_and_lost_cards_are_told() {
    let world = World::new("memory=16MiB,count=2", "");
    let mut watcher = world.fresh();
    watcher.expect("nvml xid 1 1", "error 10 NVML in nvmlEventSetWait_v2");
    let before = world.cards.calls()["nvmlEventSetWait_v2"];
    watcher.0.tell("nvml xid 1 20000").unwrap();
    while world.cards.calls()["nvmlEventSetWait_v2"] == before {
        std::thread::yield_now();
    }
    world.cards.report_xid(0, 13);
    world.cards.lose_card(1, 79);
    assert_eq!(watcher.0.answer("nvml xid").unwrap(), "ok 1 79");
    let lost = "error 15 NVML in nvmlDeviceGetHandleByIndex_v2";
    watcher.expect("nvml memory 1", lost);
    watcher.expect("nvml count", "ok 2");
}
