//! Programs that must not be held, spoilt or billed for what they did not do.

use std::time::{Duration, Instant};

use cotenant_fake_cards::Fault;
use cotenant_types::limits::CardWord;

use super::scene::{MS, Scene, told};

const REAL: &str = "time=real,context=0B,granularity=512B";

/// What is in the stream waits for what the program does after its next launches.
#[test]
fn a_program_whose_work_waits_for_its_next_launch_goes_on() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice_beside_another();
    let mut tenant = scene.start(&slice);
    told(&mut tenant, "stream s nonblocking", "ok");
    told(&mut tenant, "launch 30000000 stream=s count=4", "ok");
    told(&mut tenant, "sync s", "ok");
    told(&mut tenant, "gate s", "ok");
    let begun = Instant::now();
    told(&mut tenant, "launch 30000000 stream=s count=7", "ok");
    assert!(begun.elapsed() >= Duration::from_millis(200), "it was held at first");
    told(&mut tenant, "ungate", "ok");
    told(&mut tenant, "sync s", "ok");
}

/// Looking at marks would spoil a capture of the strictest kind.
#[test]
fn a_capture_goes_on_beside_launches_that_are_held() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice(None, 500);
    let mut tenant = scene.start(&slice);
    for name in ["captured", "other"] {
        told(&mut tenant, &format!("stream {name} nonblocking"), "ok");
    }
    // More of an unknown kind than go out at once, and not done yet.
    told(&mut tenant, "launch 20000000 stream=other count=4", "ok");
    told(&mut tenant, "begin captured", "ok");
    told(&mut tenant, "launch 20000000 stream=other count=3", "ok");
    told(&mut tenant, "launch 1000 stream=captured", "ok");
    told(&mut tenant, "end captured g", "ok");
    told(&mut tenant, "play g", "ok");
    told(&mut tenant, "sync", "ok");
}

#[test]
fn a_capture_ends_with_its_stream() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice(None, 900);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, "stream s nonblocking", "ok");
    told(&mut tenant, "begin s", "ok");
    told(&mut tenant, "drop s", "ok");
    told(&mut tenant, "launch 5000000 count=3", "ok");
    told(&mut tenant, "sync", "ok");
    let measured = slice.word(CardWord::MEASURED_NS);
    assert!(measured >= 14 * MS, "{measured} ns measured of 15 ms");
}

#[test]
fn a_kind_that_cannot_be_measured_is_not_throttled() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice(None, 900);
    let mut tenant = scene.start(&slice);
    scene.cards.set_fault("cuEventRecord", &Fault::Fails { call: 1, times: u64::MAX, code: 999 });
    let begun = Instant::now();
    told(&mut tenant, "launch 1000 count=1000", "ok");
    // One each 5 ms would take five seconds.
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

#[test]
fn what_the_driver_refuses_is_not_billed_later() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice(None, 900);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, "launch 1000", "ok");
    told(&mut tenant, "sync", "ok");
    let before = slice.word(CardWord::MEASURED_NS);
    scene.cards.set_fault("cuLaunchKernel", &Fault::Fails { call: 1, times: u64::MAX, code: 999 });
    for _ in 0..20 {
        let answer = tenant.ask("launch 5000000 sms=7").unwrap();
        assert!(answer.starts_with("error 999 "), "{answer}");
    }
    scene.cards.clear_faults("cuLaunchKernel");
    told(&mut tenant, "launch 5000000 sms=7", "ok");
    told(&mut tenant, "sync", "ok");
    let measured = slice.word(CardWord::MEASURED_NS) - before;
    assert!((4 * MS..40 * MS).contains(&measured), "{measured} ns for 5 ms");
}
