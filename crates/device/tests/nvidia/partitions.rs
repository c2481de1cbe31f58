use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use cotenant_device::{CardSettings, PartitionError};
use cotenant_fake_cards::Fault;

use super::{MIG, Made, PLAIN, World, first, in_world, place};

const OWNER: &str = "job-7-1-0";
const KEEP: CardSettings = CardSettings::Keep;
const CHANGE: CardSettings = CardSettings::MayChange;

fn fails(code: u32) -> Fault {
    Fault::Fails { call: 1, times: u64::MAX, code }
}

/// What comes of asking for a partition.
fn asked(world: &World, settings: CardSettings, wanted: &str) -> Result<String, PartitionError> {
    world.partitions(settings).take(OWNER, &first(), &place(wanted))
}

#[track_caller]
fn refused(world: &World, settings: CardSettings, wanted: &str, parts: &[&str]) {
    let why = asked(world, settings, wanted).unwrap_err().to_string();
    for part in parts {
        assert!(why.contains(part), "{part:?} is not in {why:?}");
    }
}

#[test]
fn they_are_made_where_they_are_planned_and_destroyed_after_use() {
    in_world!("they_are_made_where_they_are_planned_and_destroyed_after_use", MIG, |world| {
        let mut partitions = world.partitions(CHANGE);
        let small = partitions.take(OWNER, &first(), &place("1g.10gb@6")).unwrap();
        assert!(small.starts_with("MIG-"), "{small}");
        assert_eq!(partitions.take(OWNER, &first(), &place("1g.10gb@6")).unwrap(), small);
        let large = partitions.take("job-8-1-0", &first(), &place("3g.40gb@0")).unwrap();
        assert_ne!(small, large);
        assert_eq!(world.there(), "1g.10gb@6, 3g.40gb@0");
        let taken = partitions.take("job-9-1-0", &first(), &place("3g.40gb@0")).unwrap_err();
        assert!(taken.to_string().contains("is held by 'job-8-1-0'"), "{taken}");
        partitions.give_back(OWNER).unwrap();
        assert_eq!(world.there(), "3g.40gb@0");
        partitions.give_back(OWNER).unwrap();
        // Another run of the pool finds it, and knows that nobody needs it any more.
        let mut later = world.partitions(CHANGE);
        later.retain(&BTreeSet::from(["job-8-1-0".to_owned()])).unwrap();
        assert_eq!(world.there(), "3g.40gb@0");
        later.retain(&BTreeSet::new()).unwrap();
        assert_eq!(world.there(), "");
        assert_eq!(world.partitions(CHANGE).ours(), []);
    });
}

#[test]
fn without_permission_nothing_is_changed() {
    in_world!("without_permission_nothing_is_changed", MIG, |world| {
        let forbidden = [
            "has no partition 1g.10gb at slot 6",
            "start it with --change-card-settings",
            "nvidia-smi mig -i GPU-fa4eca4d-0000-4000-8000-000000000000 -cgi 1g.10gb:6 -C",
        ];
        refused(world, KEEP, "1g.10gb@6", &forbidden);
        let id = world.cards.make_partition(0, 19, Some(6)).unwrap();
        refused(world, KEEP, "1g.10gb@6", &["has no compute instance", "-gi 0 -cci"]);
        world.cards.make_compute(0, id, 1).unwrap();

        let mut partitions = world.partitions(KEEP);
        let uuid = partitions.take(OWNER, &first(), &place("1g.10gb@6")).unwrap();
        assert!(uuid.starts_with("MIG-"));
        partitions.give_back(OWNER).unwrap();
        assert_eq!(world.there(), "1g.10gb@6");
        // With permission, too, only what the pool made is destroyed.
        let mut partitions = world.partitions(CHANGE);
        assert_eq!(partitions.take(OWNER, &first(), &place("1g.10gb@6")).unwrap(), uuid);
        partitions.give_back(OWNER).unwrap();
        assert_eq!(world.there(), "1g.10gb@6");
        // What it made with permission stays where it has none any more, until it has it again.
        let mut partitions = world.partitions(CHANGE);
        partitions.take(OWNER, &first(), &place("3g.40gb@0")).unwrap();
        world.partitions(KEEP).retain(&BTreeSet::new()).unwrap();
        assert_eq!(world.there(), "1g.10gb@6, 3g.40gb@0");
        world.partitions(CHANGE).retain(&BTreeSet::new()).unwrap();
        assert_eq!(world.there(), "1g.10gb@6");
        let changing =
            ["nvmlDeviceSetMigMode", "nvmlDeviceCreateGpuInstance", "nvmlDeviceSetMemoryLimits_v1"];
        let calls = world.cards.calls();
        assert!(changing.iter().all(|name| !calls.contains_key(*name)), "{calls:?}");
    });
}

#[test]
fn what_is_in_use_is_neither_taken_nor_destroyed() {
    in_world!("what_is_in_use_is_neither_taken_nor_destroyed", MIG, |world| {
        let id = world.cards.make_partition(0, 19, Some(6)).unwrap();
        world.cards.make_compute(0, id, 1).unwrap();
        world.cards.use_partition(0, id, &[(4711, 1 << 20), (4712, 1)]).unwrap();
        for settings in [KEEP, CHANGE] {
            let parts = ["1g.10gb at slot 6", "is in use: processes 4711, 4712; end them"];
            refused(world, settings, "1g.10gb@6", &parts);
        }
        world.cards.use_partition(0, id, &[]).unwrap();

        // One that the pool made and something still uses is destroyed when it is in the way later.
        let mut partitions = world.partitions(CHANGE);
        partitions.take(OWNER, &first(), &place("3g.40gb@0")).unwrap();
        world.cards.use_partition(0, 1, &[(99, 1)]).unwrap();
        let why = partitions.give_back(OWNER).unwrap_err().to_string();
        assert!(why.contains("is in use: processes 99"), "{why}");
        assert!(partitions.clear_left().unwrap_err().to_string().contains("processes 99"));
        refused(world, CHANGE, "3g.40gb@0", &["is in use: processes 99"]);
        refused(world, CHANGE, "4g.40gb@0", &["has no room", "it has 3g.40gb at slot 0, 1g.10gb"]);
        world.cards.use_partition(0, 1, &[]).unwrap();
        asked(world, CHANGE, "4g.40gb@0").unwrap();
        assert_eq!(world.there(), "1g.10gb@6, 4g.40gb@0");
    });
}

#[test]
fn refusals_of_the_driver_say_what_to_do_and_leave_nothing() {
    in_world!("refusals_of_the_driver_say_what_to_do_and_leave_nothing", MIG, |world| {
        refused(
            world,
            CHANGE,
            "5g.1gb@0",
            &["has no partitions 5g.1gb; it has 1g.10gb, 1g.10gb+me"],
        );
        let create = "nvmlDeviceCreateGpuInstanceWithPlacement";
        let complete = "nvmlGpuInstanceCreateComputeInstance";
        for function in [create, complete] {
            for (code, part) in [
                (4, "lets only root make a partition; start the pool as root"),
                (19, "is in use"),
                (23, "has no room"),
                (999, "NVML returned 999; see the kernel's log"),
            ] {
                world.cards.set_fault(function, &fails(code));
                refused(world, CHANGE, "3g.40gb@4", &[part]);
                world.cards.clear_faults(function);
                assert_eq!(world.there(), "", "{function} {code}");
                assert_eq!(world.partitions(CHANGE).ours(), [], "{function} {code}");
            }
        }
        let id = world.cards.make_partition(0, 9, Some(0)).unwrap();
        world.cards.make_compute(0, id, 2).unwrap();
        refused(world, CHANGE, "3g.40gb@0", &["is split into several compute", "-lci lists them"]);
        refused(world, CHANGE, "7g.80gb@0", &["has no room", "it has 3g.40gb at slot 0"]);
    });
}

#[test]
fn a_card_outside_mig_mode_is_never_switched() {
    in_world!("a_card_outside_mig_mode_is_never_switched", PLAIN, |world| {
        let off =
            ["is not in MIG mode", "nvidia-smi -i GPU-fa4eca4d-0000-4000-8000-000000000000 -mig 1"];
        refused(world, CHANGE, "1g.10gb@0", &off);
        world.cards.change_answers(0, |told| told.mig_mode_pending = 1);
        refused(world, CHANGE, "1g.10gb@0", &["only after its next reset", "--gpu-reset -i GPU-"]);
        world.cards.lose_card(0, 79);
        refused(world, CHANGE, "1g.10gb@0", &["cannot be asked for its partitions"]);
    });
}

#[test]
fn a_driver_that_cannot_place_partitions_is_too_old() {
    let made = Made { missing: &["nvmlDeviceCreateGpuInstanceWithPlacement"], ..MIG };
    in_world!("a_driver_that_cannot_place_partitions_is_too_old", made, |world| {
        let old = ["cannot make a partition", "it has no nvmlDeviceCreateGpuInstanceWithPlacement"];
        refused(world, CHANGE, "1g.10gb@0", &old);
    });
}

#[test]
fn a_pool_that_dies_halfway_finds_what_it_began() {
    in_world!("a_pool_that_dies_halfway_finds_what_it_began", MIG, |world| {
        // It wrote down what it was about to make, and made a part of it.
        let record = "[[lease]]\nowner = 'job-7-1-0'\n\
                      card = 'GPU-fa4eca4d-0000-4000-8000-000000000000'\n\
                      is_made = true\nplace = { profile = '3g.40gb', start = 4 }\n";
        std::fs::write(world.at("partitions.toml"), record).unwrap();
        let uuid = asked(world, CHANGE, "3g.40gb@4").unwrap();
        assert!(uuid.starts_with("MIG-") && world.there() == "3g.40gb@4");
        let facts = world.cards.partitions(0);
        world.cards.destroy_compute(0, facts[0].id, 0).unwrap();
        assert_eq!(world.there(), "3g.40gb@4 without a compute instance");
        asked(world, CHANGE, "3g.40gb@4").unwrap();
        assert_eq!(world.there(), "3g.40gb@4");
        world.partitions(CHANGE).retain(&BTreeSet::new()).unwrap();
        assert_eq!(world.there(), "");
    });
}

/// Tells a process of the next test that it is to be killed.
const VICTIM: &str = "COTENANT_TEST_VICTIM";

#[test]
fn a_pool_that_is_killed_leaves_nothing_that_the_next_does_not_find() {
    const NAME: &str = "a_pool_that_is_killed_leaves_nothing_that_the_next_does_not_find";
    in_world!("a_pool_that_is_killed_leaves_nothing_that_the_next_does_not_find", MIG, |world| {
        if std::env::var_os(VICTIM).is_some() {
            let mut partitions = world.partitions(CHANGE);
            partitions.take(OWNER, &first(), &place("3g.40gb@4")).unwrap();
            partitions.give_back(OWNER).unwrap();
            return;
        }
        // A call that is slow is waited for before it does anything: there the pool is killed.
        for (function, left) in [
            ("nvmlDeviceCreateGpuInstanceWithPlacement", ""),
            ("nvmlGpuInstanceCreateComputeInstance", "3g.40gb@4 without a compute instance"),
            ("nvmlComputeInstanceDestroy", "3g.40gb@4"),
            ("nvmlGpuInstanceDestroy", "3g.40gb@4 without a compute instance"),
        ] {
            let calls = || world.cards.calls().get(function).copied().unwrap_or(0);
            let before = calls();
            world.cards.set_fault(function, &Fault::Slow { delay_ns: 60_000_000_000 });
            let mut victim = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", &format!("partitions::{NAME}"), "--nocapture"])
                .env(VICTIM, "1")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while calls() == before {
                assert!(victim.try_wait().unwrap().is_none(), "it comes to {function}");
                std::thread::yield_now();
            }
            victim.kill().unwrap();
            victim.wait().unwrap();
            world.cards.clear_faults(function);
            assert_eq!(world.there(), left, "killed before {function}");
            let mut next = world.partitions(CHANGE);
            assert_eq!(next.ours(), [(first(), place("3g.40gb@4"))], "killed before {function}");
            next.retain(&BTreeSet::new()).unwrap();
            assert_eq!((world.there(), next.ours()), (String::new(), vec![]), "{function}");
        }
    });
}
