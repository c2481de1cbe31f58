use super::{World, open, say, sentence};
use crate::cuda::driver::{Card, CardFacts, MemoryFacts, Version};

const HERE: &str = module_path!();

#[test]
fn a_card_says_what_it_is() {
    let world = World::new("name=Fake H200,memory=64MiB,sms=132,compute=9.0; memory=32MiB");
    world.run((HERE, "a_card_says_what_it_is"), || {
        let expected = CardFacts {
            ordinal: 0,
            name: "Fake H200".to_owned(),
            capability: Version { major: 9, minor: 0 },
            multiprocessors: 132,
            shared_bytes_max: 233_472,
            driver: Version { major: 12, minor: 4 },
        };
        assert_eq!(*open().facts(), expected);
        assert_eq!(open().memory().unwrap(), MemoryFacts { free: 64 << 20, total: 64 << 20 });
        assert_eq!(Card::open(1).unwrap().memory().unwrap().total, 32 << 20);
        let error = Card::open(2).unwrap_err();
        assert_eq!(sentence(&error), "there is no card 2: 2 can be seen");
    });
}

/// What opening the first card of a world says.
fn check(test: &str, world: &World, expected: &str) {
    world.run((HERE, test), || {
        let error = Card::open(0).unwrap_err();
        assert!(sentence(&error).starts_with(expected), "{error}");
    });
}

#[test]
fn a_driver_before_cuda_12_is_too_old() {
    let world = World { settings: "driver=11080", ..World::new("memory=1MiB") };
    let expected = "the NVIDIA driver is too old: it speaks CUDA 11.8 and has no CUDA 12.0";
    check("a_driver_before_cuda_12_is_too_old", &world, expected);
}

#[test]
fn a_function_that_is_missing_is_named() {
    let world = World { missing: &["cuGraphLaunch"], ..World::new("memory=1MiB") };
    let expected = "the NVIDIA driver is too old: it speaks CUDA 12.4 and has no cuGraphLaunch";
    check("a_function_that_is_missing_is_named", &world, expected);
}

#[test]
fn a_card_without_bf16_is_too_old() {
    let world = World::new("name=Fake T4,memory=1MiB,compute=7.5");
    let expected = "Fake T4 has compute capability 7.5, too low for bf16";
    check("a_card_without_bf16_is_too_old", &world, expected);
}

#[test]
fn a_driver_that_finds_no_cards_says_so() {
    let world = World { faults: "cuInit code=100", ..World::new("memory=1MiB") };
    let expected = "there is no card 0: 0 can be seen";
    check("a_driver_that_finds_no_cards_says_so", &world, expected);
}

#[test]
fn a_driver_that_does_not_match_its_kernel_is_none() {
    let world = World { faults: "cuInit code=803", ..World::new("memory=1MiB") };
    let expected = "no CUDA driver: it answers CUDA_ERROR_SYSTEM_DRIVER_MISMATCH";
    check("a_driver_that_does_not_match_its_kernel_is_none", &world, expected);
}

#[test]
fn a_card_that_is_broken_is_lost() {
    let world = World { faults: "cuDevicePrimaryCtxRetain code=214", ..World::new("memory=1MiB") };
    let expected = "card 0 is lost: CUDA_ERROR_ECC_UNCORRECTABLE while opening the card";
    check("a_card_that_is_broken_is_lost", &world, expected);
}

#[test]
fn a_machine_without_a_driver_says_so() {
    // Not in a process with a driver of our own.
    match Card::open(0) {
        Ok(card) => say(&format!("skipped: there is a card here, {}", card.facts().name)),
        Err(error) => {
            let said = sentence(&error);
            assert!(said.starts_with("no CUDA driver: libcuda.so.1: "), "{error}");
            assert!(error.to_string().contains("\nhint: "), "{error}");
        }
    }
}
