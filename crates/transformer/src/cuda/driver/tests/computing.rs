use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{MIB, World, open, sentence};
use crate::cuda::driver::{Card, CudaError, Function, Graphs, Mark, Page, Program, Shape};

const HERE: &str = module_path!();
const IMAGE: &[u8] = b"fake-image\nkernel step ns=1000000\nkernel other ns=5000000";
const SHAPE: Shape = Shape { grid: [4, 2, 1], block: [128, 1, 1], shared_bytes: 0 };

fn program(card: &Card) -> Program {
    // SAFETY: it is text.
    unsafe { Program::load(card, "steps", IMAGE) }.unwrap()
}

/// What the card did since a mark, in milliseconds.
fn ms_since(card: &Card, start: &Mark) -> f64 {
    card.mark().unwrap().ms_since(start).unwrap()
}

fn launch(function: &Function, shape: Shape) -> Result<(), CudaError> {
    // SAFETY: kernels of a driver of our own touch nothing.
    unsafe { function.launch(shape, &[1; 24]) }
}

#[test]
fn kernels_are_launched_and_timed() {
    let world = World::new("memory=16MiB,sms=10");
    let cards = world.run((HERE, "kernels_are_launched_and_timed"), || {
        let card = open();
        let program = program(&card);
        let (step, other) = (program.function("step", 0), program.function("other", 0));
        let (step, other) = (step.unwrap(), other.unwrap());
        let start = card.mark().unwrap();
        launch(&step, SHAPE).unwrap();
        let middle = card.mark().unwrap();
        launch(&step, SHAPE).unwrap();
        launch(&other, SHAPE).unwrap();
        assert_eq!(ms_since(&card, &start), 7.0);
        assert_eq!(middle.ms_since(&start).unwrap(), 1.0);
        assert!(!program.is_compiled() && program.note().is_none());
    });
    if let Some(cards) = cards {
        assert_eq!(cards.truth().processes[0].cards[0].kernels, 3);
    }
}

#[test]
fn what_a_program_does_not_have_is_named() {
    let world = World::new("memory=16MiB");
    world.run((HERE, "what_a_program_does_not_have_is_named"), || {
        let card = open();
        let program = program(&card);
        let error = program.function("stop", 0).unwrap_err();
        assert_eq!(sentence(&error), "steps has no kernel stop");
        let error = program.function("step", 300_000).unwrap_err();
        let expected =
            "step wants 300000 bytes of shared memory a block, and the card gives 233472";
        assert_eq!(sentence(&error), expected);
        let large = program.function("step", 100_000).unwrap();
        launch(&large, Shape { shared_bytes: 100_000, ..SHAPE }).unwrap();
        let error = launch(&large, Shape { shared_bytes: 100_001, ..SHAPE }).unwrap_err();
        assert!(sentence(&error).starts_with("step wants 100001 bytes"), "{error}");
        let error = launch(&large, Shape { block: [2048, 1, 1], ..SHAPE }).unwrap_err();
        let expected = "launching a kernel was refused: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES";
        assert_eq!(sentence(&error), expected);
        // SAFETY: it is text.
        let error = unsafe { Program::load(&card, "noise", b"no image") }.unwrap_err();
        let expected =
            "the driver does not take the machine code of noise (CUDA_ERROR_INVALID_IMAGE)";
        assert_eq!(sentence(&error), expected);
    });
}

#[test]
fn a_kernel_that_fails_is_found_when_the_card_is_waited_for() {
    let world = World { faults: "cuCtxSynchronize call=2 code=700", ..World::new("memory=16MiB") };
    let test = "a_kernel_that_fails_is_found_when_the_card_is_waited_for";
    world.run((HERE, test), || {
        let card = open();
        let error = card.synchronize().unwrap_err();
        let expected = "a kernel failed on card 0: CUDA_ERROR_ILLEGAL_ADDRESS, found while \
                        waiting for its work";
        assert_eq!(sentence(&error), expected);
        assert!(error.ends_context());
    });
}

/// Asks for kernels of so many blocks at once, which take memory and give it back; says where it was.
fn submit(
    card: &Card,
    graphs: &mut Graphs,
    (kind, step): (u64, &Function),
    blocks: &[u32],
) -> Result<u64, CudaError> {
    let mut address = 0;
    card.submit_as_one(graphs, kind, || {
        let scratch = card.buffer(MIB)?;
        for &blocks in blocks {
            launch(step, Shape { grid: [blocks, 1, 1], ..SHAPE })?;
        }
        address = scratch.address();
        drop(scratch);
        assert_eq!(card.buffer(MIB)?.address(), address, "it is taken again within");
        Ok::<(), CudaError>(())
    })?;
    Ok(address)
}

#[test]
fn work_that_is_asked_for_at_once_is_done_each_time_with_its_own_sizes() {
    let world = World::new("memory=16MiB,sms=10");
    let test = "work_that_is_asked_for_at_once_is_done_each_time_with_its_own_sizes";
    let cards = world.run((HERE, test), || {
        let card = open();
        let step = program(&card).function("step", 0).unwrap();
        let mut graphs = Graphs::default();
        let mut last = card.mark().unwrap();
        for (blocks, ms) in [(&[1, 1, 1][..], 3.0), (&[1, 1, 1], 3.0), (&[1, 1], 2.0)] {
            let address = submit(&card, &mut graphs, (blocks.len() as u64, &step), blocks).unwrap();
            assert_eq!(ms_since(&card, &last), ms);
            last = card.mark().unwrap();
            let free = card.buffer(MIB).unwrap().address();
            assert_eq!(free, address, "what it used is free for what comes after it");
        }
        for kind in 10..200 {
            submit(&card, &mut graphs, (kind, &step), &[1]).unwrap();
        }
        card.synchronize().unwrap();
    });
    if let Some(cards) = cards {
        let kernels = cards.truth().processes[0].cards[0].kernels;
        assert_eq!(kernels, 3 + 3 + 2 + 190, "each was done once");
    }
}

/// What the driver does not put in the place of the work before is made ready anew.
#[test]
fn work_that_does_not_fit_its_kind_is_done_nonetheless() {
    let world = World {
        faults: "cuGraphExecUpdate_v2 call=1 times=1 code=910",
        ..World::new("memory=16MiB,sms=10")
    };
    let test = "work_that_does_not_fit_its_kind_is_done_nonetheless";
    world.run((HERE, test), || {
        let card = open();
        let step = program(&card).function("step", 0).unwrap();
        let mut graphs = Graphs::default();
        let start = card.mark().unwrap();
        for _ in 0..3 {
            submit(&card, &mut graphs, (1, &step), &[1]).unwrap();
        }
        assert_eq!(ms_since(&card, &start), 3.0);
    });
}

#[test]
fn a_capture_ends_whatever_comes() {
    let world = World::new("memory=16MiB,sms=10");
    world.run((HERE, "a_capture_ends_whatever_comes"), || {
        let card = open();
        let step = program(&card).function("step", 0).unwrap();
        let refused = |doing: &str, answer: Result<(), CudaError>| {
            let expected = format!("a graph is being captured, and {doing} cannot be a part of it");
            assert_eq!(sentence(&answer.unwrap_err()), expected);
        };
        let mut graphs = Graphs::default();
        let arriving = card.upload_values(&[1_u8; 8]).unwrap();
        let arrived = card.upload_values(&[1_u8; 8]).unwrap().ready().unwrap();
        let mut page = Page::new(&card, &[1; 8]).unwrap();
        let start = card.mark().unwrap();
        let error = card.submit_as_one(&mut graphs, 1, || {
            let mut others = Graphs::default();
            refused("uploading", card.upload_values(&[1_u8]).map(drop));
            refused("bringing a page", card.bring(&mut page).map(drop));
            refused("downloading", card.download(&arrived).map(drop));
            let put = card.put_aside(arrived, &mut page).map_err(|(_, error)| error);
            refused("putting a page aside", put);
            refused("waiting for an upload", arriving.ready().map(drop));
            refused("waiting for the card", card.synchronize());
            refused("another capture", card.submit_as_one(&mut others, 1, || Ok(())));
            refused("marking a time", card.mark().map(drop));
            launch(&step, SHAPE)?;
            Err(CudaError::Refused { doing: "a test", code: "on purpose".to_owned() })
        });
        assert_eq!(sentence(&error.unwrap_err()), "a test was refused: on purpose");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut others = Graphs::default();
            drop(card.submit_as_one::<CudaError>(&mut others, 1, || panic!("on purpose")));
        }));
        assert!(panicked.is_err());
        assert_eq!(ms_since(&card, &start), 0.0, "nothing of it was done");
        submit(&card, &mut graphs, (1, &step), &[1, 1, 1]).unwrap();
        assert_eq!(ms_since(&card, &start), 3.0);
    });
}

#[test]
fn work_that_does_not_fit_the_card_is_told_from_work_that_is_wrong() {
    let faults = "cuGraphInstantiateWithFlags call=1 times=1 code=2";
    let world = World { faults, ..World::new("memory=16MiB,sms=10") };
    let test = "work_that_does_not_fit_the_card_is_told_from_work_that_is_wrong";
    world.run((HERE, test), || {
        let card = open();
        let step = program(&card).function("step", 0).unwrap();
        let mut graphs = Graphs::default();
        let error = submit(&card, &mut graphs, (1, &step), &[1]).unwrap_err();
        assert_eq!(sentence(&error), "card 0 has no memory left for making a graph");
        assert!(error.is_out_of_memory());
        submit(&card, &mut graphs, (1, &step), &[1]).unwrap();
        card.synchronize().unwrap();
    });
}
