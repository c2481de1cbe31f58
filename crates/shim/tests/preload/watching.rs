//! A watcher's page: what is counted there, and that nothing else changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use cotenant_types::limits::SLICE_VARIABLE;
use cotenant_types::trace::{CallKind, TRACE_VARIABLE, TraceLayout, TraceWord};

use super::scene::{GIB, MS, Scene, ready, told};

struct Page {
    path: PathBuf,
}

impl Page {
    fn new(scene: &Scene) -> Self {
        let path = scene.path("trace");
        File::create(&path).unwrap().set_len(TraceLayout::BYTES as u64).unwrap();
        Self { path }
    }

    fn word(&self, slot: usize, word: usize) -> u64 {
        let bytes = fs::read(&self.path).unwrap();
        let at = (TraceLayout::slot(slot) + word) * 8;
        u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    fn calls(&self, kind: CallKind) -> u64 {
        self.word(0, TraceWord::calls(kind))
    }
}

fn watched(scene: &Scene, path: &Path) -> Command {
    let mut command = scene.command();
    command.env(TRACE_VARIABLE, path);
    command
}

/// Does each kind of call once, and checks that each is counted as what it is.
#[track_caller]
fn check(scene: &Scene, page: &Page, command: Command) {
    let mut tenant = ready(command);
    for line in ["alloc a 1048576", "alloc h 1048576 host"] {
        told(&mut tenant, line, "ok");
    }
    assert_eq!(page.word(0, TraceWord::FIRST_NS), 0, "it only makes itself ready");
    for line in [
        "launch 1000000 count=3 blocks=7",
        "copy to a h 1048576",
        "copy to a h 1048576 wait",
        "copy to a - 1048576",
        "copy from a h 4096 wait",
        "copy from a - 1048576",
        "copy from a h 4096",
        "sync",
        "alloc b 4096",
        "free b",
        "graph g 1000000 5",
        "play g count=2",
        "capture c 1000000 5",
    ] {
        told(&mut tenant, line, "ok");
    }
    let counted = CallKind::ALL.map(|kind| (kind, page.calls(kind)));
    let expected = [
        (CallKind::Launch, 5),
        (CallKind::CopyFromPageable, 1),
        (CallKind::CopyAndWait, 1),
        (CallKind::CopyBehind, 1),
        (CallKind::ReadValue, 1),
        (CallKind::Fetch, 1),
        (CallKind::FetchBehind, 1),
        (CallKind::Synchronize, 1),
        (CallKind::Allocate, 2),
    ];
    assert_eq!(counted, expected);
    assert_eq!(page.word(0, TraceWord::KERNELS), 3);
    assert_eq!(page.word(0, TraceWord::GRAPHS), 2);
    assert_eq!(page.word(0, TraceWord::BLOCKS), 21);
    assert_eq!(page.word(0, TraceWord::MULTIPROCESSORS), 100);
    assert_eq!(page.word(0, TraceWord::PID), u64::from(tenant.pid()));
    assert_eq!(page.word(0, TraceWord::THREAD), u64::from(tenant.pid()));
    assert_eq!(page.word(0, TraceWord::ACTIVE), 0);
    let bytes = page.word(0, TraceWord::call_bytes(CallKind::CopyFromPageable));
    assert_eq!(bytes, 1_048_576);
    let card_ns = page.word(0, TraceWord::CARD_NS);
    assert!(card_ns > 0, "what kernels take is known, or guessed");
    let mut second = ready(watched(scene, &page.path));
    told(&mut second, "launch 1000 count=2", "ok");
    assert_eq!(page.word(1, TraceWord::KERNELS), 2, "each process has a slot of its own");
    assert_eq!(page.word(0, TraceWord::KERNELS), 3);
}

#[test]
fn calls_are_counted_by_what_they_do() {
    let scene = Scene::new();
    let page = Page::new(&scene);
    let command = watched(&scene, &page.path);
    check(&scene, &page, command);
}

#[test]
fn programs_in_a_slice_are_watched_and_held() {
    let scene = Scene::new();
    let page = Page::new(&scene);
    let slice = scene.slice(Some(GIB), 1000);
    let mut command = watched(&scene, &page.path);
    command.env(SLICE_VARIABLE, slice.file(""));
    check(&scene, &page, command);
    assert_eq!(slice.failures(), 0);
    assert!(slice.word(cotenant_types::limits::CardWord::SUBMISSIONS) >= 5);
}

/// Kernels of known length, one after another, take as long as is counted.
#[test]
fn what_kernels_take_is_measured() {
    let scene = Scene::with("name=test,memory=8GiB,sms=100", "time=real", &[]);
    let page = Page::new(&scene);
    let mut tenant = ready(watched(&scene, &page.path));
    for _ in 0..20 {
        told(&mut tenant, "launch 5000000", "ok");
        told(&mut tenant, "sync", "ok");
    }
    let mean = page.word(0, TraceWord::CARD_NS) / 20;
    // The first was not known yet.
    assert!((4 * MS..7 * MS).contains(&mean), "{mean} ns for kernels of 5 ms");
}

#[test]
fn a_page_that_is_not_there_changes_nothing() {
    let scene = Scene::new();
    let mut tenant = ready(watched(&scene, Path::new("/nowhere/at/all")));
    told(&mut tenant, "launch 1000 count=2", "ok");
    let short = scene.path("short");
    fs::write(&short, [0; 64]).unwrap();
    let mut tenant = ready(watched(&scene, &short));
    told(&mut tenant, "launch 1000 count=2", "ok");
    assert_eq!(fs::read(&short).unwrap(), [0; 64]);
}
