//! The trainer's backend on a machine that runs kernels.
//!
//! Nothing here waits for the machine but what brings numbers to the host: pooled rows after a forward
//! pass and gradients after a backward one, and of adapters that the machine keeps, see `keeper`, what
//! a round came to and their states. An operation cannot say that it failed; the first failure
//! is kept, all later operations do nothing, and who drives the encoder asks [`Backend::take_fault`]
//! before it believes what it got.

mod floats;
mod keeper;
mod operations;
mod pass;
mod rankings;
mod tables;

use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::floats::Floats;
use self::keeper::KeptSlabs;
use self::pass::Pass;
use super::launch::{Launch, PlanError};
use super::machine::{Layer, Machine, Way};
use super::plan::attention::{AttentionBackwardArgs, AttentionSize};
use super::plan::linear::{LinearArgs, linear_backward, linear_forward};
use super::plan::lora::LoraArgs;
use super::plan::norm::TableRows;
use super::plan::pool::{PoolArgs, PoolBackwardArgs, modes, pool_backward, pool_forward};
use super::record::{Address, bytes_of, floats_of};
use super::source::Real;
use crate::backend::{Attention, Backend, Fault, Pools, Target};

/// A machine as the device of an encoder.
pub struct Cuda<M: Machine> {
    machine: M,
    real: Real,
    /// Features of a head of the model that is on it.
    head_width: AtomicUsize,
    fault: Mutex<Option<Fault>>,
}

/// A frozen linear layer: `[outputs, inputs]` in the machine's numbers, and the bias in f32 and in
/// those.
pub struct CudaLinear<M: Machine> {
    weight: Floats<M>,
    bias: Floats<M>,
    bias_row: Floats<M>,
    inputs: usize,
    outputs: usize,
}

/// A frozen layer norm, in f32.
pub struct CudaNorm<M: Machine> {
    gain: Floats<M>,
    bias: Floats<M>,
    eps: f32,
}

/// The embedding tables in the machine's numbers, and their norm.
pub struct CudaTables<M: Machine> {
    words: Floats<M>,
    positions: Floats<M>,
    kinds: Floats<M>,
    rows: TableRows,
    norm: CudaNorm<M>,
    hidden: usize,
    position_offset: usize,
}

/// What a pass reads, and rows that only kernels see.
pub struct CudaWorkspace<M: Machine> {
    pass: Option<Pass<M>>,
    softmax: Floats<M>,
    /// Where tables are laid out.
    room: Vec<u8>,
    /// The adapters that the machine keeps, while a round is under way.
    kept: Option<KeptSlabs<M>>,
}

impl<M: Machine> Default for CudaWorkspace<M> {
    fn default() -> Self {
        Self { pass: None, softmax: Floats::default(), room: Vec::new(), kept: None }
    }
}

/// A count as kernels hold it; plans have refused larger ones.
fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Runs a launch, if there is one.
fn run<M: Machine>(machine: &M, launch: Option<Launch>) -> Result<(), Fault> {
    match launch {
        // SAFETY: every address comes from a buffer of this machine that the caller borrows, or that
        // the pass or the round under way holds; the encoder has made rows as long as the batch that
        // the launch was planned for, tables and weights are as long as they were when they were
        // uploaded, and adapters and rows of a round as long as was checked.
        Some(launch) => unsafe { machine.launch(&launch) },
        None => Ok(()),
    }
}

impl<M: Machine> Cuda<M> {
    /// A machine whose rows are in this format.
    pub(super) fn new(machine: M, real: Real) -> Self {
        let head_width = AtomicUsize::new(0);
        Self { machine, real, head_width, fault: Mutex::default() }
    }

    /// The machine.
    pub(super) fn machine(&self) -> &M {
        &self.machine
    }

    /// The same, to be set up.
    pub(super) fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does nothing more, since it was asked for what makes no sense.
    fn refuse(&self, why: &str) {
        let words = format!("{why}\nhint: this is a fault of Cotenant's; please report it");
        self.fault().get_or_insert(Fault::Refused(words));
    }

    /// Does something unless something failed before.
    fn attempt<T>(&self, act: impl FnOnce(&M) -> Result<T, Fault>) -> Option<T> {
        if self.fault().is_some() {
            return None;
        }
        act(&self.machine).map_err(|fault| *self.fault() = Some(fault)).ok()
    }

    fn launch(&self, planned: Result<Option<Launch>, PlanError>) {
        self.attempt(|machine| run(machine, planned?));
    }

    fn at(&self, floats: &Floats<M>) -> Address {
        floats.address(&self.machine)
    }

    /// Bytes of a number of a row.
    pub(super) fn number_bytes(&self) -> usize {
        match self.real {
            Real::Float => 4,
            Real::Bf16 => 2,
        }
    }

    /// Values of f32, whatever rows are.
    fn wide(&self, values: &[f32]) -> Floats<M> {
        let memory = self.attempt(|machine| machine.upload(&bytes_of(values)));
        memory.map_or_else(Floats::default, |memory| Floats::new(memory, values.len()))
    }

    /// Room for f32.
    fn wide_room(&self, len: usize) -> Floats<M> {
        let memory = self.attempt(|machine| machine.buffer(4 * len));
        memory.map_or_else(Floats::default, |memory| Floats::new(memory, len))
    }

    /// Values in the format of rows.
    fn rows(&self, values: &[f32]) -> Floats<M> {
        let mut rows = Floats::default();
        self.upload(values, &mut rows);
        rows
    }

    /// Multiplies rows with a layer's weights, by what is fastest.
    fn multiply(
        &self,
        way: Way,
        linear: &CudaLinear<M>,
        x: &Floats<M>,
        target: (&mut Floats<M>, Target),
    ) {
        let (y, target) = target;
        let (inner, columns) = match way {
            Way::Forward => (linear.inputs, linear.outputs),
            Way::Backward => (linear.outputs, linear.inputs),
        };
        let rows = x.len() / inner;
        let (bias, bias_row) = match way {
            Way::Forward => (self.at(&linear.bias), linear.bias_row.memory()),
            Way::Backward => (Address::NONE, None),
        };
        let adds = target == Target::Add;
        let args = LinearArgs {
            x: self.at(x),
            weight: self.at(&linear.weight),
            bias,
            y: self.at(y),
            rows: short(rows),
            inner: short(inner),
            columns: short(columns),
            is_added: u32::from(adds),
        };
        let all = (x.memory(), linear.weight.memory(), y.memory_mut());
        let (Some(x), Some(weight), Some(y)) = all else { return };
        let layer = Layer { rows, inner, columns, x, weight, bias: bias_row, y, adds };
        if self.attempt(|machine| machine.multiply(way, layer)) == Some(false) {
            self.launch(match way {
                Way::Forward => linear_forward(args),
                Way::Backward => linear_backward(args),
            });
        }
    }

    /// The pass under way; there is none once something has failed.
    fn in_pass(
        &self,
        workspace: &mut CudaWorkspace<M>,
        act: impl FnOnce(&mut Pass<M>) -> Result<(), Fault>,
    ) {
        if let Some(pass) = &mut workspace.pass {
            self.attempt(|_| act(pass));
        }
    }

    /// What the launches on pairs are told, but for their tiles.
    fn lora_args(&self, pass: &Pass<M>, y_width: usize) -> LoraArgs {
        let batch = pass.batch(&self.machine);
        LoraArgs {
            pairs: Address::NONE,
            tiles: Address::NONE,
            x: Address::NONE,
            y: Address::NONE,
            dy: Address::NONE,
            dx: Address::NONE,
            texts: batch.texts,
            offsets: batch.offsets,
            text_keys: batch.text_keys,
            y_width: short(y_width),
        }
    }

    fn attention_args(
        &self,
        pass: &Pass<M>,
        scope: Attention<'_>,
    ) -> (AttentionBackwardArgs, AttentionSize) {
        let (tiles, size) = pass.tiles(&self.machine);
        let args = AttentionBackwardArgs {
            qkv: Address::NONE,
            d_context: Address::NONE,
            d_qkv: Address::NONE,
            softmax: Address::NONE,
            offsets: pass.batch(&self.machine).offsets,
            tiles,
            heads: short(scope.heads),
            width: short(scope.width),
            scale: 1.0 / (scope.width as f32).sqrt(),
        };
        (args, size)
    }

    /// `[texts]`: how each text is pooled.
    fn modes(&self, pools: Pools<'_>) -> Floats<M> {
        let modes = modes(pools);
        let memory = self.attempt(|machine| machine.upload(&bytes_of(&modes)));
        memory.map_or_else(Floats::default, |memory| Floats::new(memory, modes.len()))
    }

    /// Pools a batch's texts to rows of so many features, f32.
    fn pool_to(
        &self,
        pass: &Pass<M>,
        (pools, hidden): (Pools<'_>, usize),
        x: &Floats<M>,
        out: Address,
    ) {
        let modes = self.modes(pools);
        let args = PoolArgs {
            x: self.at(x),
            offsets: pass.batch(&self.machine).offsets,
            modes: self.at(&modes),
            out,
            texts: short(pools.batch.texts()),
            hidden: short(hidden),
        };
        self.launch(pool_forward(args, pools.batch.tokens().len()));
    }

    /// The gradient by token rows from that by rows of so many features, f32.
    fn unpool_from(
        &self,
        pass: &Pass<M>,
        (pools, hidden): (Pools<'_>, usize),
        d_out: Address,
        dx: &mut Floats<M>,
    ) {
        let (modes, places) = (self.modes(pools), pass.batch(&self.machine));
        let args = PoolBackwardArgs {
            d_out,
            texts: places.texts,
            offsets: places.offsets,
            modes: self.at(&modes),
            dx: self.at(dx),
            rows: short(pools.batch.tokens().len()),
            hidden: short(hidden),
        };
        self.launch(pool_backward(args, pools.batch.texts()));
    }

    /// Copies f32 to the host; where something has failed they are 0.
    fn download_wide(&self, from: &Floats<M>, to: &mut [f32]) {
        match from.memory() {
            Some(memory) => self.download_from(memory, to),
            None => to.fill(0.0),
        }
    }

    /// The same from a buffer of f32.
    fn download_from(&self, memory: &M::Buffer, to: &mut [f32]) {
        to.fill(0.0);
        let mut bytes = vec![0; 4 * to.len()];
        if self.attempt(|machine| machine.download(memory, &mut bytes)).is_none() {
            return;
        }
        to.iter_mut().zip(floats_of(&bytes)).for_each(|(to, value)| *to = value);
    }
}
