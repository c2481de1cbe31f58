//! The memory limit, over every way to memory and every way to find a function.

use cotenant_fake_cards::Fault;
use cotenant_fake_cards::tenant::TenantProcess;
use cotenant_types::limits::CardWord;

use super::scene::{GIB, MIB, Scene, ready, told, until};

const WAYS: [&str; 8] = ["plain", "pitch", "managed", "async", "pool", "vmm", "array", "mipmap"];
const LOOKUPS: [&str; 5] = [
    "lookup dlsym",
    "lookup address 11080",
    "lookup address 12040",
    "lookup address 13000",
    "lookup address 12040 own",
];

#[test]
fn every_way_to_memory_is_held() {
    for lookup in LOOKUPS {
        let scene = Scene::new();
        let slice = scene.slice(Some(GIB), 1000);
        let mut tenant = scene.start(&slice);
        told(&mut tenant, lookup, "ok");
        for way in WAYS {
            let what = format!("{lookup}, {way}");
            told(&mut tenant, &format!("alloc a {} {way}", 500 * MIB), "ok");
            let held = slice.used();
            assert!((500 * MIB..GIB).contains(&held), "{what}: {held} held");
            let refused = tenant.ask(&format!("alloc b {} {way}", 600 * MIB)).unwrap();
            assert!(refused.starts_with("error 2 CUDA_ERROR_OUT_OF_MEMORY"), "{what}: {refused}");
            assert_eq!(slice.used(), held, "{what}: what was refused is not held");
            told(&mut tenant, "free a", "ok");
            // A pool keeps what it has until somebody waits, or needs it.
            told(&mut tenant, "sync", "ok");
            // Levels of a mipmapped array come to a third more than the first.
            let again = if way == "mipmap" { 700 } else { 900 };
            told(&mut tenant, &format!("alloc a {} {way}", again * MIB), "ok");
            told(&mut tenant, "free a", "ok");
            told(&mut tenant, "sync", "ok");
        }
        told(&mut tenant, &format!("alloc all {} plain", 1020 * MIB), "ok");
        told(&mut tenant, &format!("alloc h {} host", 3 * GIB), "ok");
        assert_eq!(slice.failures(), 0);
    }
}

#[test]
fn a_program_sees_its_slice() {
    let scene = Scene::new();
    let mut slice = scene.slice(Some(2 * GIB), 1000);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, "total", &format!("ok {}", 2 * GIB));
    told(&mut tenant, "info", &format!("ok {} {}", 2 * GIB, 2 * GIB));
    told(&mut tenant, &format!("alloc a {GIB}"), "ok");
    told(&mut tenant, "info", &format!("ok {GIB} {}", 2 * GIB));
    let memory = tenant.ask("nvml memory 0").unwrap();
    assert!(memory.contains(&(2 * GIB).to_string()), "{memory}");
    assert!(!memory.contains(&(8 * GIB).to_string()), "{memory}");
    // Resized while it runs, and with what the driver takes itself.
    slice.page.cards[0].memory = Some(cotenant_types::Bytes(3 * GIB));
    slice.page.cards[0].overhead = cotenant_types::Bytes(512 * MIB);
    slice.write();
    told(&mut tenant, "info", &format!("ok {} {}", 1536 * MIB, 3 * GIB));
    let refused = tenant.ask(&format!("alloc b {}", 1537 * MIB)).unwrap();
    assert!(refused.starts_with("error 2 "), "{refused}");
    told(&mut tenant, &format!("alloc b {}", 1536 * MIB), "ok");
    // Below what is held, nothing is left, and nothing breaks.
    slice.page.cards[0].memory = Some(cotenant_types::Bytes(GIB));
    slice.write();
    told(&mut tenant, "info", &format!("ok 0 {GIB}"));
    told(&mut tenant, "free a", "ok");
    told(&mut tenant, "free b", "ok");
    told(&mut tenant, &format!("alloc c {}", 512 * MIB), "ok");
}

/// What a process held that was killed is shown as free at once, before anybody asks for it.
#[test]
fn the_dead_are_not_shown() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let (mut tenant, mut doomed) = (scene.start(&slice), scene.start(&slice));
    told(&mut doomed, &format!("alloc a {}", 600 * MIB), "ok");
    told(&mut tenant, "info", &format!("ok {} {GIB}", 424 * MIB));
    doomed.kill().unwrap();
    told(&mut tenant, "info", &format!("ok {GIB} {GIB}"));
}

#[test]
fn only_the_slices_own_processes_are_shown() {
    let scene = Scene::new();
    let mut slice = scene.slice(Some(2 * GIB), 1000);
    let neighbours = scene.slice(Some(2 * GIB), 1000);
    let mut tenants = [scene.start(&slice), scene.start(&neighbours)];
    tenants.iter_mut().for_each(|tenant| told(tenant, &format!("alloc a {MIB}"), "ok"));
    let [own, others] = tenants.each_ref().map(|tenant| format!("{}:", tenant.pid()));
    // As `nvidia-smi` in the first slice would.
    let mut watcher = scene.start(&slice);
    let listed = watcher.ask("nvml processes 0").unwrap();
    assert!(listed.contains(&own) && !listed.contains(&others), "{own} of {listed}");
    // How busy each is, too.
    for tenant in &mut tenants {
        told(tenant, "launch 3000000000", "ok");
        told(tenant, "sync", "ok");
    }
    let samples = watcher.ask("nvml samples 0 0").unwrap();
    assert!(samples.contains(&own) && !samples.contains(&others), "{own} of {samples}");
    slice.page.shown = cotenant_types::limits::ShownProcesses::All;
    slice.write();
    let listed = watcher.ask("nvml processes 0").unwrap();
    assert!(listed.contains(&own) && listed.contains(&others), "{listed}");
}

/// Sixteen processes that take and give back at random, on a slice that holds a fifth of them. What
/// they have at once is what the card says of it, asked all the while; that they raced is read from
/// the slice's own peak, since a busy machine asks too seldom to meet the card's.
#[test]
fn racing_processes_never_pass_the_limit_on_the_card() {
    const UNIT: u64 = 2 * MIB;
    const WAYS: [&str; 7] = ["plain", "managed", "vmm", "array", "async", "pool", "orphan"];
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenants: Vec<TenantProcess> = (0..16).map(|_| scene.start(&slice)).collect();
    let mut peak = 0;
    std::thread::scope(|scope| {
        let racing = tenants.iter_mut().enumerate().map(|(index, tenant)| {
            scope.spawn(move || {
                let mut seed = index as u64 + 1;
                for round in 0..60 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let bytes = ((seed >> 33) % 150 + 1) * UNIT;
                    let way = WAYS[(seed >> 20) as usize % WAYS.len()];
                    let answer = tenant.ask(&format!("alloc a{round} {bytes} {way}")).unwrap();
                    let is_plain = answer == "ok" || answer.starts_with("error 2 ");
                    assert!(is_plain, "seed of process {index}: {answer}");
                    if answer == "ok" {
                        told(tenant, &format!("free a{round}"), "ok");
                    }
                }
                told(tenant, "sync", "ok");
            })
        });
        let racing: Vec<_> = racing.collect();
        while racing.iter().any(|thread| !thread.is_finished()) {
            peak = peak.max(scene.cards.card(0).unwrap().used_bytes);
        }
    });
    assert!(peak <= GIB, "{peak} of the card at once");
    let charged = slice.word(CardWord::PEAK_BYTES);
    assert!(charged > GIB / 2, "the race was no race: {charged}");
    assert!(charged <= GIB, "{charged} charged at once");
    assert!(slice.word(CardWord::REFUSED) > 0);
    assert_eq!((slice.used(), scene.cards.card(0).unwrap().used_bytes), (0, 0));
}

#[test]
fn the_killed_are_credited_at_whatever_moment() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    for round in 0..12 {
        let mut doomed = scene.start(&slice);
        told(&mut doomed, &format!("alloc a {} vmm", 300 * MIB), "ok");
        // In the middle of some call or other.
        for line in 0..round {
            doomed.tell(&format!("alloc b{line} {}", (line + 1) * MIB)).unwrap();
            doomed.tell(&format!("free b{line}")).unwrap();
        }
        doomed.kill().unwrap();
        let mut heir = scene.start(&slice);
        told(&mut heir, &format!("alloc all {}", 1000 * MIB), "ok");
        told(&mut heir, "free all", "ok");
        heir.finish().unwrap();
    }
}

#[test]
fn children_and_new_programs_begin_with_nothing() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut command = scene.command();
    command.env("COTENANT_SLICE", slice.file(""));
    let mut tenant = TenantProcess::spawn(command).unwrap();
    let forked = |tenant: &mut TenantProcess, line: &str, expected: &str| {
        tenant.tell(&format!("fork {line}")).unwrap();
        let answer = tenant.answer("fork").unwrap();
        assert!(answer.starts_with(&format!("child {expected}")), "{line}: {answer}");
        assert_eq!(tenant.answer("fork").unwrap(), "ok 0");
    };
    // The library is at work, but the driver is not yet: a child may start it for itself.
    told(&mut tenant, "nvml memory 0", &format!("ok {GIB}"));
    forked(&mut tenant, "init", "ok");
    told(&mut tenant, "init", "ok");
    told(&mut tenant, &format!("alloc a {}", 600 * MIB), "ok");
    // Now a child may not, and whatever it is told, its parent's memory stays what it was.
    forked(&mut tenant, "total", "error 3 ");
    forked(&mut tenant, "free a", "error ");
    assert_eq!(slice.used(), 600 * MIB);
    told(&mut tenant, &format!("alloc b {}", 300 * MIB), "ok");
    // The same process becomes another program: the card has nothing of the old one.
    tenant.tell("exec").unwrap();
    let answer = tenant.answer("exec").unwrap();
    assert!(answer.starts_with("ready "), "{answer}");
    told(&mut tenant, "init", "ok");
    told(&mut tenant, &format!("alloc a {}", 1000 * MIB), "ok");
    assert_eq!(slice.used(), 1000 * MIB);
}

#[test]
fn what_the_driver_refuses_is_not_held() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    for function in ["cuMemAlloc_v2", "cuMemCreate", "cuMemAllocAsync", "cuArrayCreate_v2"] {
        let way = match function {
            "cuMemCreate" => "vmm",
            "cuMemAllocAsync" => "async",
            "cuArrayCreate_v2" => "array",
            _ => "plain",
        };
        scene.cards.set_fault(function, &Fault::Fails { call: 1, times: u64::MAX, code: 999 });
        let answer = tenant.ask(&format!("alloc a {MIB} {way}")).unwrap();
        assert!(answer.starts_with("error 999 "), "the driver's own word: {answer}");
        assert_eq!(slice.used(), 0, "{function}");
        scene.cards.clear_faults(function);
    }
    // Nor is anything credited that the driver did not free.
    told(&mut tenant, &format!("alloc a {MIB}"), "ok");
    scene.cards.set_fault("cuMemFree_v2", &Fault::Fails { call: 1, times: u64::MAX, code: 999 });
    let answer = tenant.ask("free a").unwrap();
    assert!(answer.starts_with("error 999 "), "{answer}");
    assert_eq!(slice.used(), MIB);
    scene.cards.clear_faults("cuMemFree_v2");
    told(&mut tenant, "free a", "ok");
    assert_eq!(slice.used(), 0);
}

#[test]
fn each_card_of_a_slice_has_its_own_limit() {
    let scene = Scene::with("memory=8GiB,count=3", "context=0B,granularity=512B", &[]);
    // The slice's cards stand in an order of their own, and it has none of the second card.
    let slice = scene.slice_of(vec![
        scene.limit(2, Some(100 * MIB), 1000),
        scene.limit(0, Some(200 * MIB), 1000),
    ]);
    let check = |card: usize, bytes: u64, expected: &str| {
        let mut tenant = scene.start(&slice);
        told(&mut tenant, &format!("init {card}"), "ok");
        let answer = tenant.ask(&format!("alloc a {bytes}")).unwrap();
        assert!(answer.starts_with(expected), "card {card}, {bytes}: {answer}");
    };
    check(0, 200 * MIB, "ok");
    check(0, 201 * MIB, "error 2");
    check(1, 7 * GIB, "ok");
    check(2, 100 * MIB, "ok");
    check(2, 101 * MIB, "error 2");
}

#[test]
fn memory_goes_with_its_context() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, &format!("alloc a {}", 700 * MIB), "ok");
    told(&mut tenant, "call cuDevicePrimaryCtxReset_v2 0", "ok");
    until("the credit", || slice.used() == 0);
    told(&mut tenant, "init", "ok");
    told(&mut tenant, &format!("alloc b {}", 1000 * MIB), "ok");
    told(&mut tenant, "free b", "ok");
    // The oldest way to end a context.
    told(&mut tenant, "alloc c 0 context", "ok");
    let context = tenant.ask("where c").unwrap().replace("ok ", "");
    told(&mut tenant, &format!("call cuCtxSetCurrent {context}"), "ok");
    told(&mut tenant, &format!("alloc d {}", 700 * MIB), "ok");
    assert_eq!(slice.used(), 700 * MIB);
    told(&mut tenant, &format!("call cuCtxDetach {context}"), "ok");
    assert_eq!(slice.used(), 0);
}

#[test]
fn limits_of_the_environment_count_where_there_is_no_page() {
    let scene = Scene::new();
    let with = |variables: &[(&str, &str)]| {
        let mut command = scene.command();
        command.envs(variables.iter().copied());
        ready(command)
    };
    let mut tenant = with(&[("CUDA_DEVICE_MEMORY_LIMIT", "1g")]);
    told(&mut tenant, "total", &format!("ok {GIB}"));
    told(&mut tenant, &format!("alloc a {}", 600 * MIB), "ok");
    assert!(tenant.ask(&format!("alloc b {}", 600 * MIB)).unwrap().starts_with("error 2 "));
    let mut tenant =
        with(&[("CUDA_DEVICE_MEMORY_LIMIT_0", "300m"), ("CUDA_DEVICE_MEMORY_LIMIT", "1g")]);
    told(&mut tenant, "total", &format!("ok {}", 300 * MIB));
    // Two that name the same file share.
    let file = scene.path("shared");
    let shared = [
        ("CUDA_DEVICE_MEMORY_LIMIT", "1g"),
        ("CUDA_DEVICE_MEMORY_SHARED_CACHE", file.to_str().unwrap()),
    ];
    let (mut one, mut other) = (with(&shared), with(&shared));
    told(&mut one, &format!("alloc a {}", 600 * MIB), "ok");
    assert!(other.ask(&format!("alloc a {}", 600 * MIB)).unwrap().starts_with("error 2 "));
    let mut free = with(&[("CUDA_DEVICE_MEMORY_LIMIT", "1g"), ("CUDA_DISABLE_CONTROL", "true")]);
    told(&mut free, "total", &format!("ok {}", 8 * GIB));
    // A page comes before whatever the environment says.
    let slice = scene.slice(Some(2 * GIB), 1000);
    let mut command = scene.command();
    command.env("COTENANT_SLICE", slice.file("")).env("CUDA_DEVICE_MEMORY_LIMIT", "7g");
    command.env("CUDA_DISABLE_CONTROL", "true");
    let mut tenant = ready(command);
    told(&mut tenant, "total", &format!("ok {}", 2 * GIB));
}
