//! The compute limit in real time: few and short, since the machine has other things to do; the
//! figures are held in virtual time, by the tests `simulation`.

use std::time::{Duration, Instant};

use cotenant_fake_cards::tenant::TenantProcess;
use cotenant_shim::ffi::time::now_ns;
use cotenant_types::Share;
use cotenant_types::limits::CardWord;

use super::scene::{MS, Scene, Slice, told, until};

const REAL: &str = "time=real,context=0B,granularity=512B";

/// Compute that a program has really had, in ns.
fn busy(scene: &Scene, tenant: &TenantProcess) -> u64 {
    scene.cards.process(tenant.pid()).unwrap().cards[0].busy_ns
}

/// The part of the card that a program gets while it works, in thousandths.
fn share(scene: &Scene, tenant: &mut TenantProcess, line: &str, ms: u64) -> f64 {
    let (busy_before, from) = (busy(scene, tenant), scene.cards.now_ns());
    told(tenant, &format!("{line} {}", from + ms * MS), "ok");
    (busy(scene, tenant) - busy_before) as f64 * 1000.0 / (scene.cards.now_ns() - from) as f64
}

/// Looks up to five times whether a share is what it should be. The machine's other work takes from
/// it now and then, so that one look must find enough; no look may find too much.
fn check(limit: u32, (least, most): (f64, f64), mut look: impl FnMut() -> f64) {
    let mut seen = Vec::new();
    for _ in 0..5 {
        let got = look();
        seen.push(got);
        let error = got - f64::from(limit);
        assert!(error <= most, "{limit}‰: {seen:.1?}");
        if error >= least {
            return;
        }
    }
    panic!("{limit}‰: {seen:.1?}");
}

#[test]
fn a_share_is_kept_by_a_real_program() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    for (limit, kernel_ns) in [(100, MS), (300, 100_000), (500, 20 * MS), (700, MS)] {
        let slice = scene.slice(None, limit);
        let mut tenant = scene.start(&slice);
        told(&mut tenant, &format!("work {kernel_ns} {}", scene.cards.now_ns() + 300 * MS), "ok");
        let line = format!("work {kernel_ns}");
        check(limit, (-60.0, 30.0), || share(&scene, &mut tenant, &line, 1500));
    }
}

/// Graphs are charged as a whole when they are launched, and nothing while they are captured.
#[test]
fn graphs_are_held_and_captures_left_alone() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice(None, 250);
    let mut tenant = scene.start(&slice);
    let before = slice.word(CardWord::SUBMISSIONS);
    told(&mut tenant, "capture g 500000 20", "ok");
    told(&mut tenant, "graph h 500000 20", "ok");
    assert_eq!(slice.word(CardWord::SUBMISSIONS), before, "a capture submits nothing");
    for name in ["g", "h"] {
        told(&mut tenant, &format!("play {name}"), "ok");
        told(&mut tenant, "sync", "ok");
        let begun = Instant::now();
        told(&mut tenant, &format!("play {name} count=30"), "ok");
        told(&mut tenant, "sync", "ok");
        let ms = begun.elapsed().as_millis();
        // 300 ms of work; what was not used before may be caught up.
        assert!(ms >= 850, "graph {name}: 300 ms of work in {ms} ms at a quarter");
    }
}

#[test]
fn processes_of_a_slice_share_its_share() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice(None, 400);
    let mut tenants: Vec<TenantProcess> = (0..3).map(|_| scene.start(&slice)).collect();
    check(400, (-100.0, 50.0), || {
        let sum =
            |tenants: &[TenantProcess]| tenants.iter().map(|it| busy(&scene, it)).sum::<u64>();
        let (before, from) = (sum(&tenants), scene.cards.now_ns());
        for tenant in &mut tenants {
            tenant.tell(&format!("work 1000000 {}", from + 1800 * MS)).unwrap();
        }
        for tenant in &mut tenants {
            assert!(tenant.answer("work").unwrap().starts_with("ok "));
        }
        (sum(&tenants) - before) as f64 * 1000.0 / (scene.cards.now_ns() - from) as f64
    });
}

#[test]
fn a_limit_is_changed_while_a_program_runs() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let mut slice = scene.slice(None, 100);
    let mut tenant = scene.start(&slice);
    for limit in [100, 600, 200] {
        set_share(&mut slice, limit);
        told(&mut tenant, &format!("work 500000 {}", scene.cards.now_ns() + 200 * MS), "ok");
        check(limit, (-80.0, 40.0), || share(&scene, &mut tenant, "work 500000", 1000));
    }
}

fn set_share(slice: &mut Slice, milli: u32) {
    let share = Share::from_per_mille(milli).unwrap();
    let compute = &mut slice.page.cards[0].compute;
    (compute.request, compute.limit) = (share, share);
    slice.write();
}

/// The answer to an online neighbour's need, measured from the write to the last submission, and
/// from the next write to the first.
#[test]
fn a_hold_is_felt_within_ten_milliseconds() {
    let scene = Scene::with("memory=8GiB,sms=100", REAL, &[]);
    let slice = scene.slice_beside_another();
    let mut tenant = scene.start(&slice);
    let submissions = || slice.usage().card(super::scene::card(0), CardWord::SUBMISSIONS);
    let submissions = || submissions().load(std::sync::atomic::Ordering::SeqCst);
    tenant.tell(&format!("work 200000 {}", scene.cards.now_ns() + 4000 * MS)).unwrap();
    let start = submissions();
    until("work", || submissions() > start + 20);
    let mut page = slice.page.clone();
    let (mut holds, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        page.cards[0].hold_until_ns = now_ns() + 10_000 * MS;
        let written = Instant::now();
        slice.write_page(&page);
        let mut last = (submissions(), written);
        while last.1.elapsed() < Duration::from_millis(40) {
            let now = submissions();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        holds.push(last.1 - written);
        page.cards[0].hold_until_ns = 0;
        let held = submissions();
        let written = Instant::now();
        slice.write_page(&page);
        until("the end of the hold", || submissions() > held);
        ends.push(written.elapsed());
    }
    // Others use the machine's cores too: of ten, the sixth says what the library does.
    holds.sort();
    ends.sort();
    println!("held after {holds:?}, let go after {ends:?}");
    assert!(holds[5] <= Duration::from_millis(10), "held after {holds:?}");
    assert!(ends[5] <= Duration::from_millis(10), "let go after {ends:?}");
}
