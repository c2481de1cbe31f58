//! Pages that are damaged or missing, a driver that lacks functions, and what happens then.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use cotenant_types::limits::{
    LIMITS_FILE, LimitWord, OnFailure, SLICE_VARIABLE, SlotWord, USAGE_FILE, UsageLayout,
};

use super::scene::{GIB, MIB, Scene, ready, told};

#[test]
fn without_a_slice_a_program_is_left_alone() {
    let scene = Scene::new();
    let mut tenant = ready(scene.command());
    told(&mut tenant, "total", &format!("ok {}", 8 * GIB));
    told(&mut tenant, &format!("alloc a {}", 7 * GIB), "ok");
    told(&mut tenant, "launch 1000 count=5", "ok");
    told(&mut tenant, "sync", "ok");
}

#[test]
fn a_damaged_limit_page_refuses() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let file = OpenOptions::new().write(true).open(slice.file(LIMITS_FILE)).unwrap();
    file.write_all_at(&[0xff], 4 * 8).unwrap();
    let mut tenant = scene.start(&slice);
    let answer = tenant.ask(&format!("alloc a {MIB}")).unwrap();
    assert!(answer.starts_with("error 800 "), "{answer}");
    let answer = tenant.ask("launch 1000").unwrap();
    assert!(answer.starts_with("error 800 "), "{answer}");
}

/// A pool that gets no processor while it writes makes nobody wait for good.
#[test]
fn a_page_that_is_being_written_is_waited_for() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let file = OpenOptions::new().write(true).open(slice.file(LIMITS_FILE)).unwrap();
    let command = || {
        let mut command = scene.command();
        command.env(SLICE_VARIABLE, slice.file(""));
        command
    };
    let commands: Vec<Command> = (0..6).map(|_| command()).collect();
    let pass = |begun: Instant, ms| {
        while begun.elapsed() < Duration::from_millis(ms) {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let programs = scope.spawn(|| {
            let ask = |command| ready(command).ask(&format!("alloc a {MIB}")).unwrap();
            commands.into_iter().map(ask).collect::<Vec<String>>()
        });
        // For 30 ms of each 31, it is in the middle of it.
        while !programs.is_finished() {
            file.write_all_at(&7u64.to_ne_bytes(), LimitWord::SEQUENCE as u64 * 8).unwrap();
            let begun = Instant::now();
            pass(begun, 30);
            slice.write();
            pass(begun, 31);
        }
        assert_eq!(programs.join().unwrap(), ["ok"; 6]);
    });
}

/// Whoever was taken for dead by mistake is counted again with its next call for memory.
#[test]
fn a_slot_that_was_freed_by_mistake_is_taken_back() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, &format!("alloc a {}", 300 * MIB), "ok");
    let owner = UsageLayout::slot(0, SlotWord::OWNER) as u64 * 8;
    let file = OpenOptions::new().write(true).open(slice.file(USAGE_FILE)).unwrap();
    file.write_all_at(&0u64.to_ne_bytes(), owner).unwrap();
    assert_eq!(slice.used(), 0);
    told(&mut tenant, &format!("alloc b {}", 300 * MIB), "ok");
    assert_eq!(slice.used(), 600 * MIB);
    assert!(tenant.ask(&format!("alloc c {}", 500 * MIB)).unwrap().starts_with("error 2 "));
    assert_eq!(slice.failures(), 1, "and it is noted");
}

/// A page that becomes unreadable while a program runs leaves it with the limits that it had.
#[test]
fn a_page_that_breaks_later_changes_nothing() {
    let scene = Scene::new();
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    told(&mut tenant, "total", &format!("ok {GIB}"));
    let file = OpenOptions::new().write(true).open(slice.file(LIMITS_FILE)).unwrap();
    for (word, byte) in [(2u64, 3u8), (2, 4), (0, 0)] {
        file.write_all_at(&[byte], word * 8).unwrap();
        if word == 0 {
            file.write_all_at(&[6], 2 * 8).unwrap();
        }
        told(&mut tenant, "total", &format!("ok {GIB}"));
        assert!(tenant.ask(&format!("alloc a {}", 2 * GIB)).unwrap().starts_with("error 2 "));
    }
    slice.write();
    told(&mut tenant, "total", &format!("ok {GIB}"));
}

#[test]
fn without_a_usage_page_the_pools_policy_counts() {
    let scene = Scene::new();
    let mut slice = scene.slice(Some(GIB), 500);
    for (policy, expected) in [(OnFailure::Refuse, "error 800 "), (OnFailure::PassThrough, "ok")] {
        slice.page.on_failure = policy;
        slice.write();
        for content in [None, Some(vec![7u8; 64]), Some(vec![7u8; 4 << 20])] {
            let file = slice.file(USAGE_FILE);
            match &content {
                None => drop(fs::remove_file(&file)),
                Some(content) => fs::write(&file, content).unwrap(),
            }
            let mut tenant = scene.start(&slice);
            let answer = tenant.ask(&format!("alloc a {MIB}")).unwrap();
            let size = content.map(|content| content.len());
            assert!(answer.starts_with(expected), "{policy:?}, {size:?}: {answer}");
        }
    }
}

/// Functions that a driver lacks are answered as missing; those that it has work as before.
#[test]
fn what_a_driver_lacks_is_never_called() {
    let missing = ["cuLaunchKernelEx", "cuDeviceGetUuid_v2", "cuMemAllocManaged"];
    let scene = Scene::with("memory=8GiB", "context=0B,granularity=512B", &missing);
    let slice = scene.slice(Some(GIB), 1000);
    let mut tenant = scene.start(&slice);
    let answer = tenant.ask("launch 1000 way=ex").unwrap();
    assert!(answer.starts_with("error"), "{answer}");
    told(&mut tenant, "launch 1000", "ok");
    // Its card is still found, by the older name.
    told(&mut tenant, "total", &format!("ok {GIB}"));
    assert!(tenant.ask(&format!("alloc a {}", 2 * GIB)).unwrap().starts_with("error 2 "));
}
