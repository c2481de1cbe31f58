//! The backend on a card of our own driver, which runs no kernel's arithmetic: what is launched, that
//! memory suffices and comes back, and what a card says that fails.

use std::path::Path;

use crate::adapter::{Adapter, AdapterLayout, LayerChoice, LoraSpec, Module};
use crate::backend::{Backend, Fault};
use crate::cuda::backend::Cuda;
use crate::cuda::driver::tests::World;
use crate::cuda::driver::{Card, Program};
use crate::cuda::kernel::Kernel;
use crate::cuda::rig::{CudaDevice, Rig};
use crate::cuda::source::Real;
use crate::encoder::{Encoder, Forward, Pooling, Scratch, Start, Tape, TapeMode};
use crate::model::ModelFolder;
use crate::packed::Packed;

const HERE: &str = module_path!();

/// A card whose kernels take a microsecond each.
fn device() -> Result<CudaDevice, Fault> {
    Ok(Cuda::new(rig(1000)?, Real::Bf16))
}

/// A card whose kernels take so long each.
fn rig(nanoseconds: u64) -> Result<Rig, Fault> {
    let line = |kernel: &Kernel| format!("kernel {} ns={nanoseconds}", kernel.name());
    let names: Vec<String> = Kernel::ALL.iter().map(line).collect();
    let image = format!("fake-image\n{}", names.join("\n"));
    Ok(Rig::new(Card::open(0)?, Real::Bf16, &mut |card, file| {
        // SAFETY: it is text.
        unsafe { Program::load(card, file.name, image.as_bytes()) }
    })?)
}

fn encoder() -> Encoder<CudaDevice> {
    on(device().unwrap())
}

fn on(device: CudaDevice) -> Encoder<CudaDevice> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/encoder/bert-tiny");
    let folder = ModelFolder::open(&path).unwrap();
    let (config, weights) = (folder.config().clone(), folder.weights().unwrap());
    Encoder::new(device, config, weights, Pooling::Mean, true)
}

/// The same, asking for each pass at once.
fn encoder_with_graphs() -> Encoder<CudaDevice> {
    on(device().unwrap().with_graphs())
}

/// Forward and backward over one batch.
fn step(encoder: &Encoder<CudaDevice>, texts: usize) -> Vec<Vec<f32>> {
    let spec = LoraSpec {
        rank: 4,
        alpha: 8.0,
        rslora: false,
        targets: vec![Module::Query, Module::Output],
        layers: LayerChoice::All,
    };
    let layout = AdapterLayout::from_spec(&spec, encoder.config()).unwrap();
    let adapter = Adapter::initial(layout.into(), 1);
    let mut batch = Packed::default();
    batch.push((0..texts).map(|_| &[1_u32, 2, 3, 4][..]), Some(0), None);
    let forward = Forward { batch: &batch, adapters: &[&adapter], start: Start::Tokens };
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; texts * encoder.config().hidden];
    encoder.forward(&forward, TapeMode::Full, &mut scratch, &mut tape, &mut out);
    let mut gradients = vec![Vec::new()];
    encoder.backward(&forward, &mut scratch, &mut tape, &out, &mut gradients);
    gradients
}

#[test]
fn a_step_runs_on_a_card_and_gives_its_memory_back() {
    let world = World::new("memory=64MiB,sms=10");
    let cards = world.run((HERE, "a_step_runs_on_a_card_and_gives_its_memory_back"), || {
        let encoder = encoder();
        for texts in [3, 40, 7] {
            let gradients = step(&encoder, texts);
            assert_eq!(encoder.backend().take_fault(), None, "{texts} texts");
            assert!(!gradients[0].is_empty());
        }
    });
    if let Some(cards) = cards {
        let used = &cards.truth().processes[0].cards[0];
        // Two layers: at least their products and norms, three times forward and backward.
        assert!(used.kernels > 3 * 2 * 20, "{} kernels", used.kernels);
        assert_eq!(cards.card(0).unwrap().used_bytes, 0);
    }
}

#[test]
fn kernels_of_other_code_are_told_apart() {
    World::new("memory=64MiB").run((HERE, "kernels_of_other_code_are_told_apart"), || {
        let code = |nanoseconds| rig(nanoseconds).unwrap().code;
        assert_eq!(code(1000), code(1000));
        assert_ne!(code(1000), code(1001));
    });
}

#[test]
fn a_card_that_is_too_small_says_so_and_goes_on_with_less() {
    let test = "a_card_that_is_too_small_says_so_and_goes_on_with_less";
    World::new("memory=8MiB,sms=10").run((HERE, test), || {
        let encoder = encoder();
        step(&encoder, 20_000);
        let fault = encoder.backend().take_fault();
        let is_short =
            |fault: &Fault| matches!(fault, Fault::OutOfMemory(why) if why.contains("hint: "));
        assert!(fault.as_ref().is_some_and(is_short), "{fault:?}");
        step(&encoder, 4);
        assert_eq!(encoder.backend().take_fault(), None);
    });
}

#[test]
fn a_card_that_falls_off_the_bus_is_lost() {
    let test = "a_card_that_falls_off_the_bus_is_lost";
    let world = World::new("memory=64MiB").failing("cuLaunchKernel call=9 code=700");
    world.run((HERE, test), || {
        let encoder = encoder();
        step(&encoder, 4);
        let fault = encoder.backend().take_fault();
        assert!(matches!(fault, Some(Fault::Lost(_))), "{fault:?}");
    });
}

#[test]
fn what_each_kernel_takes_is_said_beside_what_it_does() {
    let test = "what_each_kernel_takes_is_said_beside_what_it_does";
    World::new("memory=64MiB,sms=10").run((HERE, test), || {
        let encoder = encoder();
        step(&encoder, 40);
        let used = encoder.backend().profiled(|| drop(step(&encoder, 40))).unwrap();
        let find = |kernel: &str| used.iter().find(|one| one.kernel == kernel).unwrap();
        // Two layers; 40 texts of 4 tokens.
        let (hidden, inner) =
            (encoder.config().hidden as u64, encoder.config().intermediate as u64);
        let gelu = find("gelu_forward");
        // Once forward, and once again for the pair behind it.
        assert_eq!((gelu.launches, gelu.bytes), (4, 4 * 160 * inner * 2 * 2));
        let linear = find("linear_forward");
        let weights = 4 * hidden * hidden + 2 * hidden * inner;
        assert_eq!((linear.launches, linear.operations), (8, 2 * 2 * 160 * weights));
        for one in &used {
            // Each takes a microsecond, and waits for its turn at most as long as the others take.
            assert!(one.ms > 0.0, "{one:?}");
        }
        assert!(used.is_sorted_by(|a, b| a.ms >= b.ms));
        let again = encoder.backend().profiled(|| ()).unwrap();
        assert_eq!(again, [], "nothing is timed that is not asked for");
    });
}

/// Kernels that a process has launched on its card, once its steps were done.
fn kernels_of(test: &str, encoder: fn() -> Encoder<CudaDevice>) -> Option<u64> {
    let world = World::new("memory=64MiB,sms=10");
    let cards = world.run((HERE, test), || {
        let encoder = encoder();
        for texts in [3, 40, 7, 40] {
            step(&encoder, texts);
            assert_eq!(encoder.backend().take_fault(), None, "{texts} texts");
        }
    })?;
    assert_eq!(cards.card(0).unwrap().used_bytes, 0, "it gives its memory back");
    Some(cards.truth().processes[0].cards[0].kernels)
}

#[test]
fn passes_as_graphs_run_the_kernels_of_passes_without() {
    let test = "passes_as_graphs_run_the_kernels_of_passes_without";
    let with = kernels_of(test, encoder_with_graphs);
    let Some(with) = with else { return };
    assert_eq!(kernels_of("steps_without_graphs", encoder), Some(with));
}

/// For the one above, which runs it in a process of its own.
#[test]
fn steps_without_graphs() {
    kernels_of("steps_without_graphs", encoder);
}

#[test]
fn with_graphs_too_a_card_that_is_too_small_says_so_and_goes_on_with_less() {
    let test = "with_graphs_too_a_card_that_is_too_small_says_so_and_goes_on_with_less";
    World::new("memory=8MiB,sms=10").run((HERE, test), || {
        let encoder = encoder_with_graphs();
        step(&encoder, 20_000);
        let fault = encoder.backend().take_fault();
        assert!(matches!(fault, Some(Fault::OutOfMemory(_))), "{fault:?}");
        step(&encoder, 4);
        assert_eq!(encoder.backend().take_fault(), None);
    });
}
