//! The store on a disk that fails at any operation, beside a plain model.
//!
//! What happens behind writes is done in stages, at moments that are drawn as the writes are.
//! A namespace has what was acknowledged; of a write that was under way when the disk failed it has
//! all or nothing. What is there is compared after each step that failed, and after the machine was
//! started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index as Choice;

use super::behind::Jobs;
use super::faulty::{Fault, FaultyDisk};
use super::model::{ModelNamespace, Step, after, found, name, perform, steps};
use crate::store::background::Background;
use crate::store::disk::Disk;
use crate::store::error::IndexError;
use crate::store::index::Index;

/// What may be there of a namespace after a restart; the first is what is there now.
type Alternatives = Vec<Option<ModelNamespace>>;

struct World {
    disk: FaultyDisk,
    index: Option<Index>,
    namespaces: BTreeMap<u8, Alternatives>,
    /// What was begun behind the writes of each.
    jobs: BTreeMap<u8, Jobs>,
}

fn folder() -> &'static Path {
    Path::new("disk/index")
}

impl World {
    fn new() -> Self {
        let disk = FaultyDisk::default();
        disk.create_folder(Path::new("disk")).unwrap();
        disk.sync_folder(Path::new("")).unwrap();
        let index = Index::create_on(Arc::new(disk.clone()), folder(), Background::idle()).unwrap();
        let namespaces = (0..3).map(|namespace| (namespace, vec![None])).collect();
        Self { disk, index: Some(index), namespaces, jobs: BTreeMap::new() }
    }

    /// Does a step, and returns whether the index is to be opened again.
    fn step(&mut self, namespace: u8, step: &Step) {
        let index = self.index.as_ref().expect("it is open between steps");
        let alternatives = self.namespaces.get_mut(&namespace).unwrap();
        let now = alternatives[0].clone();
        let next = after(now.as_ref(), step);
        let jobs = self.jobs.entry(namespace).or_default();
        let done = match step {
            Step::Behind(behind) => {
                index.namespace(&name(namespace)).and_then(|there| jobs.advance(&there, *behind))
            }
            step => {
                // These wait for what is under way, or end it.
                if matches!(step, Step::Drop | Step::Flush | Step::Compact) {
                    *jobs = Jobs::default();
                }
                perform(index, namespace, step, now.as_ref())
            }
        };
        match (done, next) {
            // What is behind writes changes nothing, nor does it tell which of them the disk kept.
            (Ok(()), Some(_)) if matches!(step, Step::Behind(_)) => {}
            (Ok(()), Some(next)) => *alternatives = vec![next],
            (Ok(()), None) => panic!("{step:?} should have been refused in {now:?}"),
            (Err(IndexError::Stopped { .. }), _) => {}
            (Err(IndexError::Disk { .. }), next) => alternatives.extend(next),
            (Err(_), None) => {}
            (Err(error), Some(_)) => panic!("{step:?} failed: {error}"),
        }
        if !self.disk.is_down() {
            self.check_now(namespace);
        }
    }

    /// What is there now, unless the disk failed in the middle of dropping it.
    fn check_now(&self, namespace: u8) {
        let index = self.index.as_ref().unwrap();
        let Some(found) = found(index, &name(namespace)) else { return };
        assert_eq!(found, self.namespaces[&namespace][0], "of namespace {namespace}");
    }

    /// Ends the process, and the machine with it if it is down; opens the index again.
    fn reopen(&mut self, seed: u64) {
        self.jobs.clear();
        self.index = None;
        if self.disk.is_down() {
            self.disk.restart(seed);
        }
        self.disk.heal();
        let index =
            Index::open_on(Arc::new(self.disk.clone()), folder(), Background::idle()).unwrap();
        for (namespace, alternatives) in &mut self.namespaces {
            let found = found(&index, &name(*namespace)).expect("it was just opened");
            let is_allowed = alternatives.contains(&found);
            assert!(is_allowed, "namespace {namespace} is {found:#?}\nnot of {alternatives:#?}");
            *alternatives = vec![found];
        }
        let verified = index.verify().unwrap();
        assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
        self.index = Some(index);
    }

    /// Power goes, and comes again.
    fn cut_power(&mut self, seed: u64) {
        self.jobs.clear();
        self.index = None;
        self.disk.restart(seed);
    }

    /// Power goes while the index is being opened.
    fn crash_in_recovery(&mut self, operation: u64, seed: u64) {
        self.jobs.clear();
        self.index = None;
        self.disk.heal();
        self.disk.fail_at(operation, Fault::Crash);
        let disk = Arc::new(self.disk.clone());
        if let Ok(index) = Index::open_on(disk, folder(), Background::idle()) {
            for namespace in self.namespaces.keys() {
                // It fails where the disk does; what counts is what is there afterwards.
                let _ = index.namespace(&name(*namespace));
            }
        }
        self.disk.restart(seed);
    }
}

/// Operations of all steps when nothing fails; the steps are checked on the way.
fn operations(steps: &[(u8, Step)]) -> u64 {
    let mut world = World::new();
    let before = world.disk.operations();
    steps.iter().for_each(|(namespace, step)| world.step(*namespace, step));
    let operations = world.disk.operations() - before;
    world.reopen(1);
    operations
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_after_any_failure(
        steps in steps(),
        points in prop::collection::vec((any::<Choice>(), any::<u64>()), 4),
        recovery in 0u64..12,
    ) {
        let operations = operations(&steps);
        for fault in [Fault::Crash, Fault::Full, Fault::StaysFull, Fault::SyncFails] {
            for (point, seed) in &points {
                let mut world = World::new();
                world.disk.fail_at(point.index(operations as usize + 1) as u64, fault);
                for (namespace, step) in &steps {
                    world.step(*namespace, step);
                    if world.disk.is_down() {
                        break;
                    }
                }
                if world.disk.is_down() {
                    world.cut_power(*seed);
                    world.crash_in_recovery(recovery, seed.rotate_left(17));
                }
                world.reopen(seed.rotate_left(31));
                // What was recovered can be written to, and is there once more, also after another
                // power cut: what a failed sync left behind was not built upon.
                for (namespace, step) in steps.iter().rev().take(6) {
                    world.step(*namespace, step);
                }
                world.reopen(*seed);
                for (namespace, step) in steps.iter().take(6) {
                    world.step(*namespace, step);
                }
                world.cut_power(seed.rotate_left(7));
                world.reopen(*seed);
            }
        }
    }
}
