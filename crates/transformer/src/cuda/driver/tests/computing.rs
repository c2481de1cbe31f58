use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{MIB, World, open, sentence};
use crate::cuda::driver::{Card, CudaError, Function, Graph, Mark, Program, Shape};

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

/// A graph of three kernels, which take memory and give it back; it keeps the memory's address.
fn graph(card: &Card, step: &Function) -> Graph<(u64, Function)> {
    let captured = card.capture(|card| {
        let scratch = card.buffer(MIB)?;
        for _ in 0..3 {
            launch(step, SHAPE)?;
        }
        let address = scratch.address();
        drop(scratch);
        assert_eq!(card.buffer(MIB)?.address(), address, "it is taken again within");
        Ok((address, step.clone()))
    });
    captured.unwrap()
}

#[test]
fn a_graph_does_its_work_each_time_on_memory_of_its_own() {
    let world = World::new("memory=16MiB,sms=10");
    let test = "a_graph_does_its_work_each_time_on_memory_of_its_own";
    world.run((HERE, test), || {
        let card = open();
        let step = program(&card).function("step", 0).unwrap();
        let start = card.mark().unwrap();
        let graph = graph(&card, &step);
        let captured = card.mark().unwrap();
        assert_eq!(captured.ms_since(&start).unwrap(), 0.0, "a capture does nothing");
        for _ in 0..5 {
            graph.launch().unwrap();
        }
        assert_eq!(ms_since(&card, &captured), 15.0);
        let own = graph.kept().0;
        let others: Vec<_> = (0..3).map(|_| card.buffer(MIB).unwrap()).collect();
        assert!(others.iter().all(|other| other.address() != own));
        drop(graph);
        assert_eq!(card.buffer(MIB).unwrap().address(), own, "it goes back with the graph");
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
        let arriving = card.upload_values(&[1_u8; 8]).unwrap();
        let arrived = card.upload_values(&[1_u8; 8]).unwrap().ready().unwrap();
        let error = card.capture::<()>(|card| {
            refused("uploading", card.upload_values(&[1_u8]).map(drop));
            refused("downloading", card.download(&arrived).map(drop));
            refused("waiting for an upload", arriving.ready().map(drop));
            refused("waiting for the card", card.synchronize());
            refused("another capture", card.capture(|_| Ok(())).map(drop));
            refused("marking a time", card.mark().map(drop));
            drop(arrived);
            launch(&step, SHAPE)?;
            Err(CudaError::Refused { doing: "a test", code: "on purpose".to_owned() })
        });
        assert_eq!(sentence(&error.unwrap_err()), "a test was refused: on purpose");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            drop(card.capture::<()>(|_| panic!("on purpose")));
        }));
        assert!(panicked.is_err());
        let start = card.mark().unwrap();
        graph(&card, &step).launch().unwrap();
        assert_eq!(ms_since(&card, &start), 3.0);
    });
}

#[test]
fn a_graph_that_does_not_fit_is_told_from_one_that_is_wrong() {
    let faults = "cuGraphInstantiateWithFlags call=1 times=1 code=2";
    let world = World { faults, ..World::new("memory=16MiB,sms=10") };
    let test = "a_graph_that_does_not_fit_is_told_from_one_that_is_wrong";
    world.run((HERE, test), || {
        let card = open();
        let step = program(&card).function("step", 0).unwrap();
        let error = card.capture(|_| launch(&step, SHAPE)).unwrap_err();
        assert_eq!(sentence(&error), "card 0 has no memory left for making a graph");
        assert!(error.is_out_of_memory());
        graph(&card, &step).launch().unwrap();
        card.synchronize().unwrap();
    });
}
