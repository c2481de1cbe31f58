//! Devices that fail in the middle of a round: what is tried again, what ends the run, and what is
//! left to go on from.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use common::{FINGERPRINT, config, encoder_on, finish, join, limits, tenant};
use cotenant_train::{Base, Limits, PrefixLimits, Trainer};
use cotenant_transformer::{
    AdaptSlopes, Adapter, Attention, Backend, Course, Cpu, CpuLinear, CpuWorkspace, Encoder,
    EncoderConfig, EncoderWeights, Fault, Linear, Norm, NormTape, Packed, Pairs, Pools, Precision,
    Target,
};

/// The processor, with memory for so many floats a buffer, that is lost after so many products.
struct Frail {
    cpu: Cpu,
    floats_max: AtomicUsize,
    products_left: AtomicI64,
    fault: Mutex<Option<Fault>>,
}

impl Frail {
    fn new() -> Self {
        Self {
            cpu: Cpu::new(Precision::F32).unwrap(),
            floats_max: AtomicUsize::new(usize::MAX),
            products_left: AtomicI64::new(i64::MAX),
            fault: Mutex::default(),
        }
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap()
    }

    fn fail(&self, fault: Fault) {
        self.fault().get_or_insert(fault);
    }
}

/// Operations that do what the processor does.
macro_rules! as_the_processor {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?);)*) => {
        $(fn $name(&self, $($argument: $kind),*) {
            self.cpu.$name($($argument),*);
        })*
    };
}

type Rows = Vec<f32>;
type FrozenNorm = <Cpu as Backend>::Norm;
type FrozenTables = <Cpu as Backend>::Tables;

impl Backend for Frail {
    type Floats = Rows;
    type Linear = CpuLinear;
    type Norm = FrozenNorm;
    type Tables = FrozenTables;
    type Workspace = CpuWorkspace;

    const CAN_FAIL: bool = true;

    fn has_failed(&self) -> bool {
        self.fault().is_some()
    }

    fn take_fault(&self) -> Option<Fault> {
        self.fault().take()
    }

    fn linear_from(&self, parts: &[&Linear]) -> CpuLinear {
        self.cpu.linear_from(parts)
    }

    fn norm_from(&self, norm: Norm, eps: f32) -> FrozenNorm {
        self.cpu.norm_from(norm, eps)
    }

    fn tables_from(&self, weights: &mut EncoderWeights, config: &EncoderConfig) -> FrozenTables {
        self.cpu.tables_from(weights, config)
    }

    fn resize(&self, buffer: &mut Rows, len: usize) {
        if len > self.floats_max.load(Ordering::Relaxed) {
            self.fail(Fault::OutOfMemory(format!("there is no room for {len} floats")));
        }
        self.cpu.resize(buffer, len);
    }

    fn linear(&self, workspace: &mut CpuWorkspace, linear: &CpuLinear, x: &Rows, y: &mut Rows) {
        if self.products_left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.fail(Fault::Lost("the card fell off the bus".to_owned()));
        }
        self.cpu.linear(workspace, linear, x, y);
        if self.has_failed() {
            // What comes out of a device that failed is nothing.
            y.fill(f32::NAN);
        }
    }

    as_the_processor! {
        fn copy(from: &Rows, to: &mut Rows);
        fn upload(from: &[f32], to: &mut Rows);
        fn download(from: &Rows, to: &mut [f32]);
        fn begin(workspace: &mut CpuWorkspace, scene: (&Packed, &[&Adapter]), course: Course);
        fn embed(workspace: &mut CpuWorkspace, tables: &FrozenTables, batch: &Packed, x: &mut Rows);
        fn linear_backward(
            workspace: &mut CpuWorkspace,
            linear: &CpuLinear,
            dy: &Rows,
            dx: &mut Rows,
            target: Target,
        );
        fn adapt(workspace: &mut CpuWorkspace, pairs: Pairs<'_>, x: &Rows, y: &mut Rows);
        fn adapt_backward(
            workspace: &mut CpuWorkspace,
            pairs: Pairs<'_>,
            slopes: AdaptSlopes<'_, Rows>,
            gradients: &mut [Vec<f32>],
        );
        fn collect(workspace: &mut CpuWorkspace, gradients: &mut [Vec<f32>]);
        fn attention(
            workspace: &mut CpuWorkspace,
            scope: Attention<'_>,
            qkv: &Rows,
            context: &mut Rows,
        );
        fn attention_backward(
            workspace: &mut CpuWorkspace,
            scope: Attention<'_>,
            qkv: &Rows,
            d_context: &Rows,
            d_qkv: &mut Rows,
        );
        fn add_norm(
            norm: &FrozenNorm,
            x: &Rows,
            delta: &Rows,
            tape: Option<&mut NormTape<Rows>>,
            y: &mut Rows,
        );
        fn norm_again(norm: &FrozenNorm, tape: &NormTape<Rows>, y: &mut Rows);
        fn norm_backward(norm: &FrozenNorm, tape: &NormTape<Rows>, dy: &mut Rows);
        fn gelu(x: &Rows, y: &mut Rows);
        fn gelu_backward(x: &Rows, dy: &mut Rows);
        fn pool(workspace: &mut CpuWorkspace, pools: Pools<'_>, x: &Rows, out: &mut [f32]);
        fn pool_backward(
            workspace: &mut CpuWorkspace,
            pools: Pools<'_>,
            d_out: &[f32],
            dx: &mut Rows,
        );
    }
}

const SEEDS: [u64; 4] = [3, 8, 21, 34];

/// Limits with a cache below the adapted layers, which must not keep what a failed device gave.
fn wide() -> Limits {
    let prefix = PrefixLimits { memory_bytes_max: 1 << 20, ..PrefixLimits::default() };
    Limits { tokens_chunk: 1024, prefix, ..limits() }
}

fn trainer(encoder: &Arc<Encoder<Frail>>) -> Trainer<Frail> {
    let base = Base { encoder: Arc::clone(encoder), fingerprint: FINGERPRINT };
    let mut trainer = Trainer::new(base, wide()).unwrap();
    join(&mut trainer, SEEDS.map(tenant));
    trainer
}

/// What every tenant ends with where nothing fails.
fn expected() -> BTreeMap<String, common::Ended> {
    finish(&mut trainer(&encoder_on(Frail::new(), config())))
}

#[test]
fn with_less_memory_fewer_tokens_are_run_at_a_time_and_the_bits_stay() {
    let expected = expected();
    // A tenant's piece has 256 tokens at most.
    for tokens in [900, 400, 260] {
        let encoder = encoder_on(Frail::new(), config());
        // Rows of three widths, for so many tokens.
        let floats_max = tokens * 3 * config().hidden;
        encoder.backend().floats_max.store(floats_max, Ordering::Relaxed);
        let found = finish(&mut trainer(&encoder));
        assert!(found == expected, "with room for {tokens} tokens");
    }
}

#[test]
fn a_device_without_memory_for_anything_ends_the_run_and_says_why() {
    let encoder = encoder_on(Frail::new(), config());
    encoder.backend().floats_max.store(10, Ordering::Relaxed);
    let mut trainer = trainer(&encoder);
    while !trainer.is_done() && trainer.fault().is_none() {
        common::round(&mut trainer);
    }
    assert!(matches!(trainer.fault(), Some(Fault::OutOfMemory(why)) if why.contains("no room")));
    assert_eq!(trainer.run_round(), [], "nothing runs any more");
}

/// Whenever the device is lost, the last checkpoint leads to the bits that never losing it gives.
#[test]
fn a_device_that_is_lost_ends_the_run_and_a_checkpoint_goes_on_from_before() {
    let encoder = encoder_on(Frail::new(), config());
    let expected = finish(&mut trainer(&encoder));
    let all = i64::MAX - encoder.backend().products_left.load(Ordering::Relaxed);
    let folder = tempfile::tempdir().unwrap();
    for products in [0, 1, all / 5, all / 2, all - 1] {
        let path = folder.path().join(format!("{products}"));
        let encoder = encoder_on(Frail::new(), config());
        let mut lost = trainer(&encoder);
        lost.checkpoint(&path).unwrap();
        encoder.backend().products_left.store(products, Ordering::Relaxed);
        loop {
            common::round(&mut lost);
            if lost.fault().is_some() || lost.is_done() {
                break;
            }
            lost.checkpoint(&path).unwrap();
        }
        assert!(matches!(lost.fault(), Some(Fault::Lost(_))), "after {products} products");
        let mut resumed = trainer(&encoder_on(Frail::new(), config()));
        resumed.resume(&path).unwrap();
        assert!(finish(&mut resumed) == expected, "after {products} products");
    }
}
