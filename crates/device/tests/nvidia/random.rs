//! Partitions under random use: taken, given back, refused by the driver at random, the pool begun
//! again in between, and somebody else's partitions beside.
//!
//! Whatever happens, what others made stays, a name stands for one partition, and once the driver
//! refuses nothing any more nothing of ours is left that nobody holds.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_device::CardSettings;
use cotenant_fake_cards::Fault;

use super::{MIG, World, first, in_world, place};

const PLACES: [&str; 9] = [
    "1g.10gb@0",
    "1g.10gb@2",
    "1g.10gb@6",
    "1g.20gb@4",
    "2g.20gb@2",
    "3g.40gb@0",
    "3g.40gb@4",
    "4g.40gb@0",
    "7g.80gb@0",
];
const CHANGING: [&str; 4] = [
    "nvmlDeviceCreateGpuInstanceWithPlacement",
    "nvmlGpuInstanceCreateComputeInstance",
    "nvmlComputeInstanceDestroy",
    "nvmlGpuInstanceDestroy",
];
const SEQUENCES: u64 = 25;
const STEPS: u64 = 30;

/// A number that follows from the seed and from how many were drawn before.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn whatever_the_driver_refuses_nothing_is_lost_and_nothing_of_others_is_touched() {
    in_world!(
        "whatever_the_driver_refuses_nothing_is_lost_and_nothing_of_others_is_touched",
        MIG,
        |world| (0..SEQUENCES).for_each(|seed| sequence(world, seed))
    );
}

fn sequence(world: &World, seed: u64) {
    let mut dice = Dice(seed);
    let foreign = (dice.below(3) == 0).then(|| {
        let id = world.cards.make_partition(0, 19, Some(2)).unwrap();
        world.cards.make_compute(0, id, 1).unwrap();
        id
    });
    let mut partitions = world.partitions(CardSettings::MayChange);
    // What each owner was told it has: places, with their names.
    let mut held: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
    for step in 0..STEPS {
        let owner = format!("job-{}", dice.below(4));
        let function = CHANGING[dice.below(4) as usize];
        match dice.below(8) {
            0..=3 => {
                let wanted = PLACES[dice.below(PLACES.len() as u64) as usize];
                if let Ok(name) = partitions.take(&owner, &first(), &place(wanted)) {
                    held.entry(owner).or_default().insert(wanted, name);
                }
            }
            4 => {
                // A refusal leaves it to be destroyed later; in any case the owner has it no more.
                let _ = partitions.give_back(&owner);
                held.remove(&owner);
            }
            5 => {
                let code = [4, 19, 23, 999][dice.below(4) as usize];
                world.cards.set_fault(function, &Fault::Fails { call: 1, times: u64::MAX, code });
            }
            6 => CHANGING.iter().for_each(|function| world.cards.clear_faults(function)),
            _ => {
                partitions = world.partitions(CardSettings::MayChange);
                let alive: BTreeSet<String> = held.keys().cloned().collect();
                let _ = partitions.retain(&alive);
            }
        }
        let there = world.there();
        let names: BTreeSet<&String> = held.values().flat_map(BTreeMap::values).collect();
        let count = held.values().map(BTreeMap::len).sum::<usize>();
        assert_eq!(names.len(), count, "seed {seed}, step {step}: {held:?}");
        for wanted in held.values().flat_map(BTreeMap::keys) {
            let is_whole = there.split(", ").any(|one| one == *wanted);
            assert!(is_whole, "seed {seed}, step {step}: {wanted} is not in {there}");
        }
    }
    CHANGING.iter().for_each(|function| world.cards.clear_faults(function));
    partitions.retain(&BTreeSet::new()).unwrap();
    assert_eq!(partitions.ours(), [], "seed {seed}");
    let left = world.there();
    match foreign {
        None => assert_eq!(left, "", "seed {seed}"),
        Some(id) => {
            assert_eq!(left, "1g.10gb@2", "seed {seed}");
            world.cards.destroy_compute(0, id, 0).unwrap();
            world.cards.destroy_partition(0, id).unwrap();
        }
    }
}
