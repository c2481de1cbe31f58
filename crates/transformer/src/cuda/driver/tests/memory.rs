use super::{MIB, World, ask, calls, open, sentence};
use crate::cuda::driver::{Arriving, Buffer, Card, CudaError};

const HERE: &str = module_path!();

fn download(card: &Card, buffer: &Buffer) -> Vec<u8> {
    card.download(buffer).unwrap().wait().unwrap().to_vec()
}

#[test]
fn what_is_uploaded_comes_back() {
    let world = World::new("memory=64MiB");
    world.run((HERE, "what_is_uploaded_comes_back"), || {
        let card = open();
        let numbers: Vec<u32> = (0..100_000).map(|at| at * 7).collect();
        let first = card.upload_values(&numbers).unwrap().ready().unwrap();
        let mut second = card.buffer(first.len()).unwrap();
        card.copy(&first, &mut second).unwrap();
        card.clear(&mut card.buffer(first.len()).unwrap()).unwrap();
        let back = card.download(&second).unwrap().wait().unwrap();
        assert_eq!(back.values::<u32>(), numbers);
        card.clear(&mut second).unwrap();
        assert!(download(&card, &second).iter().all(|byte| *byte == 0));
        assert_eq!(download(&card, &first), bytes_of(&numbers));

        let mut short = card.buffer(first.len() - 4).unwrap();
        let error = card.copy(&first, &mut short).unwrap_err();
        assert_eq!(sentence(&error), "the target of a copy is 399996 bytes long, not 400000");

        let empty = card.upload_values::<f32>(&[]).unwrap().ready().unwrap();
        let mut other = card.buffer(0).unwrap();
        card.copy(&empty, &mut other).unwrap();
        card.clear(&mut other).unwrap();
        assert!(download(&card, &other).is_empty());
    });
}

fn bytes_of(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// One step: inputs arrive, something is computed with memory of its own, results leave.
fn step(card: &Card, inputs: &[f32]) -> Vec<f32> {
    let inputs = card.upload_values(inputs).unwrap();
    let next = card.upload_values(&[7_u32; 100]).unwrap();
    let inputs = inputs.ready().unwrap();
    let mut outputs = card.buffer(inputs.len()).unwrap();
    card.copy(&inputs, &mut outputs).unwrap();
    drop(inputs);
    drop(next.ready().unwrap());
    card.download(&outputs).unwrap().wait().unwrap().values().to_vec()
}

#[test]
fn steps_take_no_memory_and_wait_for_nothing_but_results() {
    const STEPS: u64 = 50;
    let world = World::new("memory=64MiB");
    let test = "steps_take_no_memory_and_wait_for_nothing_but_results";
    let cards = world.run((HERE, test), || {
        let card = open();
        for number in 0..STEPS {
            let inputs = vec![number as f32; 3000];
            assert_eq!(step(&card, &inputs), inputs);
        }
    });
    let Some(cards) = cards else { return };
    // Two uploads and one output; each once, whatever the steps.
    assert_eq!(calls(&cards, c"cuMemAlloc_v2"), 3);
    assert!(calls(&cards, c"cuMemHostAlloc") <= 4, "{:?}", cards.calls());
    assert!(calls(&cards, c"cuEventCreate") <= 12, "{:?}", cards.calls());
    assert_eq!(calls(&cards, c"cuEventSynchronize"), STEPS);
    // Where streams are made, and where the card is closed.
    assert!(calls(&cards, c"cuCtxSynchronize") <= 2, "{:?}", cards.calls());
    assert_eq!(calls(&cards, c"cuMemFree_v2"), 3, "all is given back");
    assert_eq!(calls(&cards, c"cuMemFreeHost"), calls(&cards, c"cuMemHostAlloc"));
}

#[test]
fn an_upload_that_nobody_wants_does_no_harm() {
    let world = World { settings: "copy_gib_s=1", ..World::new("memory=64MiB") };
    world.run((HERE, "an_upload_that_nobody_wants_does_no_harm"), || {
        let card = open();
        drop(card.upload_values(&[1_u8; MIB]).unwrap());
        let arriving: Vec<Arriving> =
            (0..4_u8).map(|at| card.upload_values(&vec![at; MIB]).unwrap()).collect();
        for (at, arriving) in arriving.into_iter().enumerate() {
            let buffer = arriving.ready().unwrap();
            drop(card.download(&buffer).unwrap());
            assert!(download(&card, &buffer).iter().all(|byte| usize::from(*byte) == at));
        }
    });
}

#[test]
fn memory_that_is_short_is_said_with_numbers() {
    let world = World::new("memory=16MiB");
    world.run((HERE, "memory_that_is_short_is_said_with_numbers"), || {
        let card = open();
        let kept = card.buffer(8 * MIB).unwrap();
        drop(card.buffer(7 * MIB).unwrap());
        // There is room once what is kept was given back.
        let other = card.buffer(6 * MIB).unwrap();
        let expected =
            CudaError::OutOfMemory { ordinal: 0, asked: 3 << 20, free: 2 << 20, total: 16 << 20 };
        assert_eq!(card.buffer(3 * MIB).unwrap_err(), expected);
        assert!(expected.is_out_of_memory() && !expected.ends_context());
        drop(other);
        drop(card.buffer(3 * MIB).unwrap());
        drop(kept);
        card.trim().unwrap();
        assert_eq!(card.memory().unwrap().free, 16 << 20);
    });
}

#[test]
fn memory_of_the_host_that_is_short_is_said_too() {
    let faults = "cuMemHostAlloc call=2 times=2 code=2";
    let world = World { faults, ..World::new("memory=16MiB") };
    world.run((HERE, "memory_of_the_host_that_is_short_is_said_too"), || {
        let card = open();
        let first = card.pinned(MIB).unwrap();
        let error = card.pinned(MIB).unwrap_err();
        assert_eq!(sentence(&error), "no 1048576 bytes of the host can be pinned for copies");
        drop(first);
        drop(card.pinned(MIB).unwrap());
    });
}

#[test]
fn a_card_that_is_lost_is_told_from_one_that_is_full() {
    let world = World::new("memory=16MiB");
    let body = || {
        let card = open();
        let buffer = card.upload_values(&[1_u8; 100]).unwrap().ready().unwrap();
        let arriving = card.upload_values(&[2_u8; 100]).unwrap();
        ask("lose");
        let lost = |error: CudaError| {
            assert!(matches!(error, CudaError::CardLost { ordinal: 0, .. }), "{error}");
            assert!(error.ends_context());
        };
        lost(card.synchronize().unwrap_err());
        lost(card.buffer(5 * MIB).unwrap_err());
        lost(card.memory().unwrap_err());
        lost(card.download(&buffer).and_then(|leaving| leaving.wait().map(drop)).unwrap_err());
        drop((arriving, buffer, card));
        let error = Card::open(0).unwrap_err();
        assert!(sentence(&error).starts_with("card 0 is lost: "), "{error}");
    };
    let test = "a_card_that_is_lost_is_told_from_one_that_is_full";
    world.run_and_answer((HERE, test), body, |cards, word| match word {
        "lose" => cards.lose_card(0, 79),
        other => panic!("asked for {other}"),
    });
}
