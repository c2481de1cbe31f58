use cotenant_device::{CardSettings, Inventory};
use cotenant_types::{CardKind, Rung};

use super::{MIG, Made, PLAIN, in_world, place};

/// Cards and notes, one a line.
fn shown(inventory: &Inventory) -> String {
    let cards = inventory.cards.iter().filter(|card| card.kind == CardKind::Nvidia).map(|card| {
        let rungs: Vec<&str> = card.rungs.iter().map(|rung| rung.name()).collect();
        let geometry = card.mig.iter().flat_map(|mig| &mig.profiles).map(|profile| {
            let starts: Vec<String> = profile.starts.iter().map(u8::to_string).collect();
            let starts = starts.join("/");
            let (count, name, memory) = (profile.count_max, &profile.name, profile.memory);
            format!("\n  {count}x{name} {memory} {} at {starts}", profile.compute.per_mille())
        });
        let geometry: String = geometry.collect();
        format!("{} {} [{}]{geometry}", card.model, card.memory, rungs.join(" "))
    });
    cards.chain(inventory.notes.iter().cloned()).collect::<Vec<_>>().join("\n")
}

const ALL: &str = "\
NVIDIA_H100_80GB_HBM3 81152MiB [mig]
  7x1g.10gb 9984MiB 121 at 0/1/2/3/4/5/6
  1x1g.10gb+me 9984MiB 121 at 0/1/2/3/4/5/6
  4x1g.20gb 20096MiB 196 at 0/2/4/6
  3x2g.20gb 20096MiB 242 at 0/2/4
  2x3g.40gb 40448MiB 454 at 0/4
  1x4g.40gb 40448MiB 484 at 0
  1x7g.80gb 81152MiB 1000 at 0
";

#[test]
fn with_permission_everything_that_fits_is_offered() {
    in_world!("with_permission_everything_that_fits_is_offered", MIG, |world| {
        let found = shown(&world.discover(CardSettings::MayChange));
        assert!(found.starts_with(ALL), "{found}");
        let geometry = world.discover(CardSettings::MayChange).cards[0].mig.clone().unwrap();
        assert_eq!(geometry.slots, 8);

        // Somebody else's partition that is in use is left alone, and nothing lies over it.
        let id = world.cards.make_partition(0, 9, Some(4)).unwrap();
        world.cards.make_compute(0, id, 3).unwrap();
        world.cards.use_partition(0, id, &[(4711, 1 << 30)]).unwrap();
        let found = shown(&world.discover(CardSettings::MayChange));
        assert!(found.contains("1x3g.40gb 40448MiB 454 at 0\n"), "{found}");
        assert!(found.contains("4x1g.10gb 9984MiB 121 at 0/1/2/3\n"), "{found}");
        assert!(!found.contains("7g.80gb"), "{found}");
        let said = "its partition 3g.40gb at slot 4 stays as it is: processes 4711 use it";
        assert!(found.contains(said), "{found}");
    });
}

#[test]
fn without_permission_only_what_is_there_is_offered() {
    in_world!("without_permission_only_what_is_there_is_offered", MIG, |world| {
        let found = world.discover(CardSettings::Keep);
        assert!(found.cards.iter().all(|card| card.kind == CardKind::Cpu));
        let said = shown(&found);
        assert!(said.contains("it has no partition that is whole and free"), "{said}");
        assert!(said.contains("start it with --change-card-settings, or make some"), "{said}");

        let id = world.cards.make_partition(0, 19, Some(6)).unwrap();
        world.cards.make_compute(0, id, 1).unwrap();
        world.cards.make_partition(0, 9, Some(0)).unwrap();
        let said = shown(&world.discover(CardSettings::Keep));
        let expected = "NVIDIA_H100_80GB_HBM3 9984MiB [mig]\n  1x1g.10gb 9984MiB 121 at 6\n";
        assert!(said.starts_with(expected), "{said}");
        assert!(said.contains("3g.40gb at slot 0 stays as it is: it has no compute"), "{said}");
        assert_eq!(world.there(), "1g.10gb@6, 3g.40gb@0 without a compute instance");
    });
}

#[test]
fn what_the_pool_holds_is_offered_though_it_is_in_use() {
    in_world!("what_the_pool_holds_is_offered_though_it_is_in_use", MIG, |world| {
        let mut partitions = world.partitions(CardSettings::MayChange);
        partitions.take("job-1-1-0", &super::first(), &place("3g.40gb@4")).unwrap();
        world.cards.use_partition(0, 0, &[(4711, 1 << 30)]).unwrap();
        let found = shown(&world.discover(CardSettings::MayChange));
        assert!(found.starts_with(ALL), "{found}");
        let found = shown(&world.discover(CardSettings::Keep));
        assert!(found.contains("[mig]\n  1x3g.40gb 40448MiB 454 at 4\n"), "{found}");
    });
}

#[test]
fn an_old_driver_that_tells_no_names_is_understood() {
    let made = Made { missing: &["nvmlDeviceGetGpuInstanceProfileInfoV"], ..MIG };
    in_world!("an_old_driver_that_tells_no_names_is_understood", made, |world| {
        let found = shown(&world.discover(CardSettings::MayChange));
        assert!(found.starts_with(ALL), "{found}");
    });
}

#[test]
fn partitions_that_only_root_may_list_are_left_out_with_a_note() {
    in_world!("partitions_that_only_root_may_list_are_left_out_with_a_note", MIG, |world| {
        let denied = cotenant_fake_cards::Fault::Fails { call: 1, times: u64::MAX, code: 4 };
        world.cards.set_fault("nvmlDeviceGetGpuInstances", &denied);
        let said = shown(&world.discover(CardSettings::MayChange));
        assert!(said.contains("lists partitions to root alone; start the pool as root"), "{said}");
    });
}

#[test]
fn a_card_outside_mig_mode_is_whole() {
    in_world!("a_card_outside_mig_mode_is_whole", PLAIN, |world| {
        let found = world.discover(CardSettings::MayChange);
        let [card] = found.cards.as_slice() else { panic!("{found:?}") };
        assert_eq!((card.memory.0, card.mig.clone()), (81_920, None));
        assert!(!card.rungs.contains(&Rung::Mig));
        // Where it may not be used, somebody is told why.
        let is_told = found.notes.iter().any(|note| note.starts_with("limits of the driver"));
        assert_ne!(card.rungs.contains(&Rung::Driver), is_told, "{found:?}");

        world.cards.change_answers(0, |told| told.mig_mode_pending = 1);
        let found = world.discover(CardSettings::MayChange);
        let is_told = found.notes.iter().any(|note| note.contains("changes with the next reset"));
        assert!(is_told, "{found:?}");
    });
}

#[test]
fn drivers_before_r615_offer_no_limits() {
    let made = Made {
        settings: "driver=12040",
        missing: &["nvmlDeviceSetMemoryLimits_v1", "nvmlDeviceGetMemoryLimits_v1"],
        ..PLAIN
    };
    in_world!("drivers_before_r615_offer_no_limits", made, |world| {
        let found = world.discover(CardSettings::Keep);
        assert!(!found.cards[0].rungs.contains(&Rung::Driver));
        assert!(found.notes.iter().all(|note| !note.contains("limits of the driver")));
    });
}
