use cotenant_device::{CardSettings, EccErrors, Health, Meter, Reading, Throttle};

use super::{MIG, PLAIN, World, in_world, place};

fn meter(world: &World) -> Meter {
    Meter::new(&world.discover(CardSettings::MayChange).cards)
}

fn only(reading: &Reading) -> &cotenant_device::CardUse {
    let [card] = reading.cards.as_slice() else { panic!("{reading:?}") };
    card
}

#[test]
fn a_card_tells_how_it_is() {
    in_world!("a_card_tells_how_it_is", PLAIN, |world| {
        world.cards.set_heat(0, 88, 0x8 | 0x40 | 0x4);
        let reading = meter(world).read();
        let card = only(&reading);
        let vitals = &card.vitals;
        assert_eq!((card.temperature_c, card.power_mw), (Some(88), Some(60_000)));
        assert_eq!(vitals.throttled_by, [Throttle::PowerCap, Throttle::HardwareHeat]);
        assert_eq!(vitals.throttle_bits, Some(0x4c));
        assert_eq!((vitals.slowdown_c, vitals.shutdown_c), (Some(87), Some(92)));
        assert_eq!(vitals.power_limit_mw, Some(700_000));
        assert_eq!((vitals.sm_clock_mhz, vitals.memory_clock_mhz), (Some(1980), Some(2619)));
        assert_eq!(vitals.energy_mj, Some(123_456_789));
        assert_eq!(vitals.pcie_replays, Some(7));
        assert_eq!(vitals.ecc, Some(EccErrors { corrected: 41, uncorrected: 2 }));
        let rows = vitals.rows.unwrap();
        assert_eq!((rows.corrected, rows.uncorrected, rows.is_pending), (1, 1, true));
        assert_eq!(vitals.are_pages_pending, None);
        // It lost memory, and the row that lost it is still in use.
        assert_eq!(card.health, Health::Failing);
        assert!(vitals.faults()[0].contains("nvidia-smi --gpu-reset"), "{:?}", vitals.faults());
    });
}

#[test]
fn xids_of_programs_are_told_from_those_of_cards() {
    in_world!("xids_of_programs_are_told_from_those_of_cards", PLAIN, |world| {
        world.cards.change_answers(0, |told| told.rows_pending = 0);
        // What happened before it was metered is not known.
        world.cards.report_xid(0, 48);
        let mut meter = meter(world);
        assert_eq!(only(&meter.read()).health, Health::Good);
        for xid in [13, 31, 94] {
            world.cards.report_xid(0, xid);
        }
        let reading = meter.read();
        assert_eq!(only(&reading).vitals.xids, [13, 31, 94]);
        assert_eq!(only(&reading).health, Health::Good);
        world.cards.report_xid(0, 95);
        let reading = meter.read();
        assert_eq!(only(&reading).health, Health::Failing);
        assert!(only(&reading).vitals.faults()[0].starts_with("Xid 95, "));
        // It is remembered.
        assert_eq!(only(&meter.read()).health, Health::Failing);
        world.cards.lose_card(0, 79);
        let reading = meter.read();
        assert_eq!(only(&reading).health, Health::Lost);
        assert_eq!(only(&reading).vitals.xids, [13, 31, 94, 95, 79]);
    });
}

#[test]
fn a_card_without_anything_to_tell_is_metered_all_the_same() {
    let made = super::Made { answers: "", ..PLAIN };
    in_world!("a_card_without_anything_to_tell_is_metered_all_the_same", made, |world| {
        let reading = meter(world).read();
        let card = only(&reading);
        assert_eq!(card.health, Health::Good);
        assert_eq!((card.vitals.ecc, card.vitals.rows), (None, None));
        assert_eq!((card.vitals.sm_clock_mhz, card.vitals.energy_mj), (None, None));
    });
}

#[test]
fn partitions_are_metered_one_by_one() {
    in_world!("partitions_are_metered_one_by_one", MIG, |world| {
        let mut partitions = world.partitions(CardSettings::MayChange);
        let first = partitions.take("a", &super::first(), &place("1g.10gb@6")).unwrap();
        let second = partitions.take("b", &super::first(), &place("3g.40gb@0")).unwrap();
        world.cards.use_partition(0, 0, &[(71, 3 << 20)]).unwrap();
        world.cards.use_partition(0, 1, &[(72, 5 << 20), (73, 1 << 30)]).unwrap();
        let reading = meter(world).read();
        assert_eq!(only(&reading).health, Health::Good);
        let shown: Vec<_> = reading
            .partitions
            .iter()
            .map(|one| (one.id.as_str(), one.memory_used.0, one.pids.as_slice()))
            .collect();
        let expected: [(&str, u64, &[u32]); 2] =
            [(first.as_str(), 3, &[71]), (second.as_str(), 1029, &[72, 73])];
        assert_eq!(shown, expected);
        let processes: Vec<_> = reading
            .processes
            .iter()
            .map(|one| (one.pid, one.compute, one.memory_used.unwrap().0))
            .collect();
        assert_eq!(processes, [(71, None, 3), (72, None, 5), (73, None, 1024)]);
    });
}
