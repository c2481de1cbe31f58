//! A card with the kernels and products that launches need.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::backend::Cuda;
use super::driver::{
    Arriving, Cache, Card, Compiler, CudaError, Factors, Function, Graphs, Number, Page, Product,
    Products, Program, Shape, Source, Weights,
};
use super::kernel::Kernel;
use super::launch::{Cost, Launch, SHARED_BYTES_MAX};
use super::machine::{Layer, Machine, Way};
use super::plan::linear::linear_cost;
use super::profile::{KernelUse, Profile};
use super::record::{Address, bytes_of};
use super::source::{File, OPTIONS, Real};
use crate::backend::{Backend, Fault, Precision};
use crate::model::Digest;

/// What products by cuBLASLt are called among kernels.
const PRODUCT: &str = "product";

/// A card as the device of an encoder.
pub type CudaDevice = Cuda<Rig>;

/// A card that is open, and what runs on it.
pub struct Rig {
    /// Whole passes as one piece of work each, where that is wished for; let go before the card.
    graphs: Option<Mutex<Graphs>>,
    card: Card,
    /// In the order of [`Kernel::ALL`]; none where a kernel is for other rows.
    functions: Vec<Option<Function>>,
    /// Products by tensor cores; without them kernels multiply.
    products: Option<Products>,
    real: Real,
    /// What the kernels are made of, as [`CudaNotes::code`] has it.
    pub(super) code: String,
    /// Where launches are timed, while they are.
    profile: Mutex<Option<Profile>>,
}

/// What was found out while a card was opened.
#[derive(Clone, Debug)]
pub struct CudaNotes {
    /// The card's name.
    pub card: String,
    /// The newest CUDA that the driver speaks.
    pub driver: String,
    /// NVRTC's version.
    pub compiler: String,
    /// What the kernels are made of, as a number: their bits are those of others with the same.
    pub code: String,
    /// What multiplies, with its version; without it kernels do.
    pub products: Option<String>,
    /// Bytes of its memory that are free.
    pub free_bytes: u64,
    /// What works less well than it could, and what to do, in words.
    pub notes: Vec<String>,
}

impl CudaNotes {
    /// All that decides which bits the card gives, besides the model and the precision.
    pub fn bits(&self) -> [&str; 3] {
        [&self.card, &self.code, self.products.as_deref().unwrap_or("kernels")]
    }
}

/// Opens the card of a number for a precision, and compiles its kernels or takes those that an
/// earlier process has left in the folder `cache`.
///
/// # Errors
/// In one sentence and a hint, if there is no driver, card or compiler that can be used, or they do
/// not have the precision.
pub fn open(
    ordinal: usize,
    precision: Precision,
    cache: Option<&Path>,
) -> Result<(CudaDevice, CudaNotes), Fault> {
    let real = Real::of(precision)?;
    let card = Card::open(ordinal)?;
    let compiler = Compiler::open(card.facts().driver)?;
    let cache = cache.map(Cache::at);
    let mut notes = Vec::new();
    let mut rig = Rig::new(card, real, &mut |card, file| {
        let text = file.source(real);
        let source = Source { name: file.name, text: &text, options: &OPTIONS };
        let program = Program::compile(card, &compiler, cache.as_ref(), &source)?;
        notes.extend(program.note().map(ToString::to_string));
        Ok(program)
    })?;
    rig.products = Products::open(&rig.card).map_err(|note| notes.push(note.to_string())).ok();
    let facts = rig.card.facts();
    let found = CudaNotes {
        card: facts.name.clone(),
        driver: facts.driver.to_string(),
        compiler: compiler.version().to_string(),
        code: rig.code.clone(),
        products: rig.products.as_ref().map(Products::name),
        free_bytes: rig.card.memory()?.free,
        notes,
    };
    Ok((Cuda::new(rig, real), found))
}

impl Rig {
    /// A card whose kernels multiply too, by a program for each file of kernels.
    pub(super) fn new(
        card: Card,
        real: Real,
        program: &mut dyn FnMut(&Card, &File) -> Result<Program, CudaError>,
    ) -> Result<Self, CudaError> {
        let mut functions: Vec<Option<Function>> = Kernel::ALL.iter().map(|_| None).collect();
        let mut codes = Vec::new();
        for file in File::all_for(real) {
            let program = program(&card, file)?;
            codes.push(program.code().0);
            for (kernel, function) in Kernel::ALL.iter().zip(&mut functions) {
                if kernel.file() == file.name {
                    *function = Some(program.function(kernel.name(), SHARED_BYTES_MAX as u32)?);
                }
            }
        }
        let code = format!("kernels {:016x}", Digest::of_bytes(codes.as_flattened()).short());
        let (products, profile, graphs) = (None, Mutex::default(), None);
        Ok(Self { card, functions, products, real, code, profile, graphs })
    }
}

impl CudaDevice {
    /// The same, submitting each pass as one piece of work, a CUDA graph. The bits are the same; whether
    /// it is faster depends on how small the kernels are and how slow the host is.
    #[must_use]
    pub fn with_graphs(mut self) -> Self {
        self.machine_mut().graphs = Some(Mutex::default());
        self
    }

    /// The same without cuBLASLt: kernels multiply, which is slower.
    #[must_use]
    pub fn with_kernels_alone(mut self) -> Self {
        self.machine_mut().products = None;
        self
    }

    /// Does some work, and says what each kernel took of it. Meanwhile kernels do not overlap.
    ///
    /// # Errors
    /// If the card failed.
    pub fn profiled(&self, work: impl FnOnce()) -> Result<Vec<KernelUse>, Fault> {
        let rig = self.machine();
        *rig.profile() = Some(Profile::default());
        work();
        let profile = rig.profile().take().unwrap_or_default();
        if let Some(fault) = self.take_fault() {
            return Err(fault);
        }
        Ok(profile.finish(self.number_bytes() as u64)?)
    }
}

impl Rig {
    fn profile(&self) -> MutexGuard<'_, Option<Profile>> {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits work, and marks its time if somebody asked for it; `submit` says besides whether there
    /// was any.
    fn timed<T>(
        &self,
        (kernel, cost): (&'static str, Cost),
        submit: impl FnOnce() -> Result<(T, bool), CudaError>,
    ) -> Result<T, CudaError> {
        let mut profile = self.profile();
        let Some(profile) = profile.as_mut() else { return submit().map(|(done, _)| done) };
        // Both are made before, so that nothing but the work is between them.
        let [begun, ended] = [self.card.unplaced_mark()?, self.card.unplaced_mark()?];
        begun.place()?;
        let (submitted, is_done) = submit()?;
        ended.place()?;
        if is_done {
            profile.add(kernel, cost, [begun, ended]);
        }
        Ok(submitted)
    }
}

impl From<CudaError> for Fault {
    fn from(error: CudaError) -> Self {
        let words = error.to_string();
        match error {
            _ if error.is_out_of_memory() => Self::OutOfMemory(words),
            _ if error.ends_context() => Self::Lost(words),
            _ => Self::Refused(words),
        }
    }
}

impl Machine for Rig {
    type Buffer = super::driver::Buffer;
    type Page = Page;
    type Arriving = Arriving;

    fn buffer(&self, bytes: usize) -> Result<Self::Buffer, Fault> {
        Ok(self.card.buffer(bytes)?)
    }

    fn address(&self, buffer: &Self::Buffer) -> Address {
        Address(buffer.address())
    }

    fn upload(&self, from: &[u8]) -> Result<Self::Buffer, Fault> {
        Ok(self.card.upload_values(from)?.ready()?)
    }

    fn download(&self, from: &Self::Buffer, to: &mut [u8]) -> Result<(), Fault> {
        match self.card.download(from) {
            Ok(leaving) => to.copy_from_slice(&leaving.wait()?[..to.len()]),
            Err(CudaError::OutOfHostMemory { .. }) => self.card.download_plainly(from, to)?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn copy(&self, from: &Self::Buffer, to: &mut Self::Buffer) -> Result<(), Fault> {
        Ok(self.card.copy(from, to)?)
    }

    fn page(&self, from: &[u8]) -> Result<Page, Fault> {
        Ok(Page::new(&self.card, from)?)
    }

    fn bring(&self, page: &mut Page) -> Result<Arriving, Fault> {
        Ok(self.card.bring(page)?)
    }

    fn arrive(&self, arriving: Arriving) -> Result<Self::Buffer, Fault> {
        Ok(arriving.ready()?)
    }

    fn put_aside(
        &self,
        from: Self::Buffer,
        to: &mut Page,
    ) -> Result<(), (Option<Self::Buffer>, Fault)> {
        self.card.put_aside(from, to).map_err(|(from, error)| (from, error.into()))
    }

    fn read_page(&self, from: &Page, to: &mut [u8]) -> Result<(), Fault> {
        to.copy_from_slice(&from.wait()?[..to.len()]);
        Ok(())
    }

    fn clear(&self, buffer: &mut Self::Buffer) -> Result<(), Fault> {
        Ok(self.card.clear(buffer)?)
    }

    unsafe fn launch(&self, launch: &Launch) -> Result<(), Fault> {
        let at = Kernel::ALL.iter().position(|&kernel| kernel == launch.kernel);
        let function = at.and_then(|at| self.functions[at].as_ref());
        let function = function.expect("plans name kernels for their rows");
        let Launch { grid, block, shared_bytes, ref arguments, cost, .. } = *launch;
        let bytes = bytes_of(arguments.words());
        let arguments = &bytes[..arguments.bytes()];
        let launched = self.timed((launch.kernel.name(), cost), || {
            // SAFETY: the caller vouches for the addresses. A download is waited for before it returns,
            // and what is put aside is no buffer any more, so that no copy from a buffer runs.
            let done = unsafe { function.launch(Shape { grid, block, shared_bytes }, arguments) };
            done.map(|()| ((), true))
        });
        Ok(launched?)
    }

    fn as_one(
        &self,
        kind: &dyn Fn() -> u64,
        work: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match &self.graphs {
            // What is timed is marked kernel by kernel.
            Some(graphs) if self.profile().is_none() => {
                let mut graphs = graphs.lock().unwrap_or_else(PoisonError::into_inner);
                self.card.submit_as_one(&mut graphs, kind(), work)
            }
            Some(_) | None => work(),
        }
    }

    fn multiply(&self, way: Way, layer: Layer<'_, Self::Buffer>) -> Result<bool, Fault> {
        let Some(products) = &self.products else { return Ok(false) };
        let number = match self.real {
            Real::Float => Number::F32,
            Real::Bf16 => Number::Bf16,
        };
        let product = Product {
            inputs: number,
            result: number,
            inner: layer.inner as u32,
            outputs: layer.columns as u32,
            weights: match way {
                Way::Forward => Weights::ByOutput,
                Way::Backward => Weights::ByInput,
            },
            has_bias: layer.bias.is_some(),
            may_round: false,
        };
        let Layer { rows, x, weight: weights, bias, y, adds, .. } = layer;
        let cost = linear_cost([rows as u32, product.inner, product.outputs], adds);
        let multiplied = self.timed((PRODUCT, cost), || {
            let done = products.multiply(&product, Factors { rows, x, weights, bias, y, adds });
            done.map(|is_done| (is_done, is_done))
        });
        Ok(multiplied?)
    }
}
