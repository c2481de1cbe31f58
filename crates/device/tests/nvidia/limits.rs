use cotenant_device::{DriverLimits, clear_driver_limits, driver_use, set_driver_limits};
use cotenant_fake_cards::Fault;
use cotenant_types::Mebibytes;

use super::{MIG, Made, PLAIN, first, group, in_world};

const WISHED: DriverLimits = DriverLimits { request: Mebibytes(4096), limit: Mebibytes(8192) };

#[test]
fn a_group_is_held_and_let_go_of() {
    in_world!("a_group_is_held_and_let_go_of", PLAIN, |world| {
        let group = group(world);
        assert_eq!(driver_use(&first(), group).unwrap().limits, None);
        assert_eq!(set_driver_limits(&first(), group, WISHED).unwrap(), WISHED);
        assert_eq!(driver_use(&first(), group).unwrap().limits, Some(WISHED));
        let truth = world.cards.memory_limit(0, group.to_str().unwrap());
        assert_eq!((truth.soft, truth.hard), (4 << 30, 8 << 30));
        // A request beyond the limit is as much as the limit.
        let much = DriverLimits { request: Mebibytes(9000), limit: Mebibytes(100) };
        let held = set_driver_limits(&first(), group, much).unwrap();
        assert_eq!(held, DriverLimits { request: Mebibytes(100), limit: Mebibytes(100) });
        clear_driver_limits(&first(), group).unwrap();
        clear_driver_limits(&first(), group).unwrap();
        assert_eq!(driver_use(&first(), group).unwrap().limits, None);
    });
}

#[test]
fn refusals_say_what_to_do() {
    in_world!("refusals_say_what_to_do", PLAIN, |world| {
        let set = "nvmlDeviceSetMemoryLimits_v1";
        let group = group(world);
        // A code of 0 is a driver that says yes and does nothing.
        for (code, part) in [
            (4, "lets only root limit the memory"),
            (3, "needs driver r615 or newer and a card outside MIG mode"),
            (999, "NVML returned 999"),
            (0, "was told to hold"),
        ] {
            world.cards.set_fault(set, &Fault::Fails { call: 1, times: u64::MAX, code });
            let why = set_driver_limits(&first(), group, WISHED).unwrap_err().to_string();
            world.cards.clear_faults(set);
            assert!(why.contains(part), "{code}: {why}");
        }
        let nobody = "GPU-of-no-machine".parse().unwrap();
        let why = set_driver_limits(&nobody, group, WISHED).unwrap_err().to_string();
        assert!(why.contains("card 'GPU-of-no-machine' cannot be asked"), "{why}");
    });
}

#[test]
fn drivers_without_the_function_are_too_old() {
    let made = Made { missing: &["nvmlDeviceSetMemoryLimits_v1"], ..PLAIN };
    in_world!("drivers_without_the_function_are_too_old", made, |world| {
        let why = set_driver_limits(&first(), group(world), WISHED).unwrap_err().to_string();
        assert!(why.contains("it has no nvmlDeviceSetMemoryLimits_v1"), "{why}");
    });
}

#[test]
fn cards_in_mig_mode_have_none() {
    in_world!("cards_in_mig_mode_have_none", MIG, |world| {
        let why = set_driver_limits(&first(), group(world), WISHED).unwrap_err().to_string();
        assert!(why.contains("a card outside MIG mode"), "{why}");
    });
}
