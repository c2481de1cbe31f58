//! Where the trainer runs: on a card, or on the processor in its place, with its own backend or with the
//! kernels of cards.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use cotenant_train::Limits;
use cotenant_transformer::{
    Backend, Cpu, CudaDevice, CudaNotes, EmulatedDevice, Encoder, EncoderConfig, Fault, KernelUse,
    Precision, open_cuda, open_emulated,
};

use super::options::Options;
use super::scene;

/// Tokens of a chunk on a card, and chunks of a round, as jobs have them.
const CHUNK_TOKENS: usize = 16_384;
const ROUND_CHUNKS: usize = 4;

/// A device that can be opened.
pub(crate) trait Place {
    type Device: Backend;

    /// Whether it only computes what a device would: then its memory and its speed say nothing.
    const IS_EMULATED: bool = false;
    /// Whether it is a card, which has both formats, cuBLASLt and a limited memory.
    const IS_CARD: bool = false;

    /// Opens it for a precision.
    fn open(&self, precision: Precision) -> Result<(Self::Device, CudaNotes), Fault>;

    /// What the trainer may ask of it where so many bytes are free.
    fn limits(&self, free_bytes: u64) -> Limits;

    /// The device without any product but that of its kernels, where it has others.
    fn with_kernels_alone(&self, device: Self::Device) -> Option<Self::Device>;

    /// The device, asking for each pass at once, where that can be.
    fn with_graphs(&self, device: Self::Device) -> Option<Self::Device>;

    /// Does some work, and says what each kernel took of it, where there are kernels.
    fn profiled(
        &self,
        device: &Self::Device,
        work: impl FnOnce(),
    ) -> Option<Result<Vec<KernelUse>, Fault>>;
}

/// The first card.
pub(crate) struct OnCard {
    /// Compiled kernels, for the processes of all checks.
    pub(crate) kernels: PathBuf,
}

impl OnCard {
    fn limits_of(free_bytes: u64) -> Limits {
        Limits {
            threads: 1,
            tokens_chunk: CHUNK_TOKENS,
            round_tokens_max: CHUNK_TOKENS * ROUND_CHUNKS,
            tape_bytes_max: (free_bytes / 2) as usize,
            kept_bytes_max: (free_bytes / 4) as usize,
            ..Limits::default()
        }
    }
}

impl Place for OnCard {
    type Device = CudaDevice;
    const IS_CARD: bool = true;

    fn open(&self, precision: Precision) -> Result<(CudaDevice, CudaNotes), Fault> {
        open_cuda(0, precision, Some(&self.kernels))
    }

    fn limits(&self, free_bytes: u64) -> Limits {
        Self::limits_of(free_bytes)
    }

    fn with_kernels_alone(&self, device: CudaDevice) -> Option<CudaDevice> {
        Some(device.with_kernels_alone())
    }

    fn with_graphs(&self, device: CudaDevice) -> Option<CudaDevice> {
        Some(device.with_graphs())
    }

    fn profiled(
        &self,
        device: &CudaDevice,
        work: impl FnOnce(),
    ) -> Option<Result<Vec<KernelUse>, Fault>> {
        Some(device.profiled(work))
    }
}

/// The processor.
pub(crate) struct OnProcessor;

impl Place for OnProcessor {
    type Device = Cpu;

    fn open(&self, precision: Precision) -> Result<(Cpu, CudaNotes), Fault> {
        let device = Cpu::new(precision).map_err(|error| Fault::Refused(error.to_string()))?;
        let none = || "none".to_owned();
        let card = "the processor in place of a card".to_owned();
        let notes = CudaNotes {
            card,
            driver: none(),
            compiler: none(),
            code: none(),
            products: None,
            free_bytes: 0,
            notes: Vec::new(),
        };
        Ok((device, notes))
    }

    fn limits(&self, _free_bytes: u64) -> Limits {
        processor_limits()
    }

    fn with_kernels_alone(&self, _: Cpu) -> Option<Cpu> {
        None
    }

    fn with_graphs(&self, _: Cpu) -> Option<Cpu> {
        None
    }

    fn profiled(&self, _: &Cpu, _: impl FnOnce()) -> Option<Result<Vec<KernelUse>, Fault>> {
        None
    }
}

/// The processor with the kernels of cards.
pub(crate) struct OnKernels;

impl Place for OnKernels {
    type Device = EmulatedDevice;

    const IS_EMULATED: bool = true;

    fn open(&self, precision: Precision) -> Result<(EmulatedDevice, CudaNotes), Fault> {
        open_emulated(precision)
    }

    /// As on a card, so that states are kept and chunks hold many segments.
    fn limits(&self, _free_bytes: u64) -> Limits {
        OnCard::limits_of(1 << 30)
    }

    fn with_kernels_alone(&self, device: EmulatedDevice) -> Option<EmulatedDevice> {
        Some(device)
    }

    fn with_graphs(&self, _: EmulatedDevice) -> Option<EmulatedDevice> {
        None
    }

    fn profiled(
        &self,
        _: &EmulatedDevice,
        _: impl FnOnce(),
    ) -> Option<Result<Vec<KernelUse>, Fault>> {
        None
    }
}

/// What the trainer may ask of the processor; no limit changes a result.
pub(crate) fn processor_limits() -> Limits {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    Limits { threads, ..Limits::default() }
}

/// A model on a device.
pub(crate) struct Opened<B: Backend> {
    pub(crate) encoder: Arc<Encoder<B>>,
    pub(crate) limits: Limits,
    pub(crate) notes: CudaNotes,
}

/// What a check is given.
pub(crate) struct Stage<'a, P> {
    pub(crate) options: &'a Options,
    pub(crate) place: P,
}

impl<P: Place> Stage<'_, P> {
    /// The first for figures, the second to show that checks work.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.options.is_quick { quick } else { full }
    }

    /// Added to the seed of one of two sides that must not differ.
    pub(crate) fn spoilt(&self) -> u64 {
        u64::from(self.options.is_spoilt)
    }

    /// The model that figures are of, or a small one where that is enough.
    pub(crate) fn shape(&self) -> EncoderConfig {
        self.pick(scene::mini_lm(), scene::small())
    }

    /// Puts a model on the device.
    pub(crate) fn open(
        &self,
        precision: Precision,
        model: (EncoderConfig, u64),
    ) -> Result<Opened<P::Device>, Fault> {
        let (device, notes) = self.place.open(precision)?;
        self.put((device, notes), model)
    }

    /// The same on the device as `change` makes it, such as [`Place::with_graphs`], if it can.
    pub(crate) fn open_changed(
        &self,
        change: fn(&P, P::Device) -> Option<P::Device>,
        precision: Precision,
        model: (EncoderConfig, u64),
    ) -> Result<Option<Opened<P::Device>>, Fault> {
        let (device, notes) = self.place.open(precision)?;
        let device = change(&self.place, device);
        device.map(|device| self.put((device, notes), model)).transpose()
    }

    /// Why something cannot be had here. What a card refuses after it has opened is a failure.
    pub(crate) fn missing(&self, fault: Fault) -> Result<String, String> {
        match fault {
            Fault::Refused(why) if !P::IS_CARD => Ok(why),
            fault => Err(fault.to_string()),
        }
    }

    fn put(
        &self,
        (device, notes): (P::Device, CudaNotes),
        (config, seed): (EncoderConfig, u64),
    ) -> Result<Opened<P::Device>, Fault> {
        let encoder = scene::encoder(device, config, seed);
        if let Some(fault) = encoder.backend().take_fault() {
            return Err(fault);
        }
        let limits = self.place.limits(notes.free_bytes);
        Ok(Opened { encoder, limits, notes })
    }
}
