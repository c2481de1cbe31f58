//! Programs on a card, and launches of their kernels.

use std::ffi::CString;
use std::fs;
use std::sync::Arc;

use cudarc::driver::DriverError;

use super::cache::{Cache, Key};
use super::card::Card;
use super::code::{Meaning, meaning};
use super::compiler::{Compiler, Source};
use super::error::{CudaError, name};
use super::raw::{Kernel, Module};
use super::target::Target;
use crate::model::Digest;

/// Shared memory that a block may have without being let, in bytes.
const SHARED_BYTES_FREE: u32 = 48 << 10;

/// A program that the card has taken.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    loaded: Arc<Loaded>,
    note: Option<CudaError>,
    is_compiled: bool,
    code: Digest,
}

#[derive(Debug)]
struct Loaded {
    module: Module,
    name: String,
    card: Card,
}

/// A kernel of a program, which stays loaded as long. A graph that has it must keep it.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    kernel: Kernel,
    name: Arc<str>,
    shared_bytes_max: u32,
    program: Arc<Loaded>,
}

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Blocks along each side.
    pub(crate) grid: [u32; 3],
    /// Threads of a block along each side.
    pub(crate) block: [u32; 3],
    /// Shared memory of a block beside what the kernel declares, in bytes.
    pub(crate) shared_bytes: u32,
}

impl Program {
    /// Compiles a text for the card, or takes what was compiled before. Where the driver refuses the
    /// machine code, it gets text to make its own of.
    pub(crate) fn compile(
        card: &Card,
        compiler: &Compiler,
        cache: Option<&Cache>,
        source: &Source<'_>,
    ) -> Result<Self, CudaError> {
        let target = compiler.target(card.facts().capability);
        let target = target.ok_or_else(|| CudaError::DoesNotCompile {
            program: source.name.to_owned(),
            target: format!("compute capability {}", card.facts().capability),
            log: format!("NVRTC {} knows no such card", compiler.version()),
        })?;
        let load = |target| {
            let Built { image, note, is_compiled } = build(compiler, cache, source, target)?;
            // SAFETY: a compiler gave it, and the cache's hash says so where it was kept.
            let program = unsafe { Self::load(card, source.name, &image) }?;
            let code = match target {
                Target::Machine(_) => program.code,
                // The rest is the driver's.
                Target::Text(_) => Digest::of_bytes(&[&image, driver_build().as_bytes()].concat()),
            };
            Ok(Self { note, is_compiled, code, ..program })
        };
        match (load(target), target) {
            (Err(CudaError::ImageRefused { .. }), Target::Machine(_)) => load(target.as_text()),
            (made, _) => made,
        }
    }

    /// Has the card take an image that was compiled elsewhere.
    ///
    /// # Safety
    /// It is whole machine code, which says itself how long it is, or text.
    pub(crate) unsafe fn load(card: &Card, name: &str, image: &[u8]) -> Result<Self, CudaError> {
        card.bind()?;
        let code = Digest::of_bytes(image);
        let image = [image, b"\0"].concat();
        // SAFETY: text ends with a zero byte now, and for machine code the caller vouches.
        let module = unsafe { Module::load(&image) };
        let module = module.map_err(|error| refused_image(card, name, error))?;
        let loaded = Loaded { module, name: name.to_owned(), card: card.clone() };
        Ok(Self { loaded: Arc::new(loaded), note: None, is_compiled: false, code })
    }

    /// Why the program could not be kept for other processes, if so: it works nonetheless.
    pub(crate) fn note(&self) -> Option<&CudaError> {
        self.note.as_ref()
    }

    /// What it is made of: programs with the same have the same bits.
    pub(crate) fn code(&self) -> Digest {
        self.code
    }

    /// Whether it was compiled, and not found compiled.
    pub(crate) fn is_compiled(&self) -> bool {
        self.is_compiled
    }

    /// A kernel by its name, whose launches may give blocks so much shared memory.
    pub(crate) fn function(&self, kernel: &str, shared_bytes: u32) -> Result<Function, CudaError> {
        let card = &self.loaded.card;
        let most = card.facts().shared_bytes_max.max(SHARED_BYTES_FREE);
        if shared_bytes > most {
            let (kernel, asked) = (kernel.to_owned(), shared_bytes);
            return Err(CudaError::SharedMemory { kernel, asked, most });
        }
        card.bind()?;
        let none =
            || CudaError::NoKernel { program: self.loaded.name.clone(), kernel: kernel.to_owned() };
        let found = self.loaded.module.kernel(&CString::new(kernel).map_err(|_| none())?);
        let found = found.map_err(|error| match error.0 {
            cudarc::driver::sys::CUresult::CUDA_ERROR_NOT_FOUND => none(),
            _ => CudaError::of(error, card.facts().ordinal, "looking for a kernel"),
        })?;
        if shared_bytes > SHARED_BYTES_FREE {
            // SAFETY: the module is loaded.
            let allowed = unsafe { found.allow_shared_bytes(shared_bytes) };
            card.check("letting a kernel share memory", allowed)?;
        }
        Ok(Function {
            kernel: found,
            name: kernel.into(),
            shared_bytes_max: shared_bytes.max(SHARED_BYTES_FREE),
            program: Arc::clone(&self.loaded),
        })
    }
}

impl Function {
    /// Submits the kernel with the bytes of the one struct that it takes.
    ///
    /// # Safety
    /// What the kernel does with these arguments is sound: the addresses among them are those of
    /// buffers that are as long as it needs, that are ready, and that are dropped only after this
    /// call; and no download runs from what it writes.
    pub(crate) unsafe fn launch(&self, shape: Shape, arguments: &[u8]) -> Result<(), CudaError> {
        if shape.shared_bytes > self.shared_bytes_max {
            let (kernel, asked) = (self.name.to_string(), shape.shared_bytes);
            return Err(CudaError::SharedMemory { kernel, asked, most: self.shared_bytes_max });
        }
        let card = &self.program.card;
        card.bind()?;
        // SAFETY: the module is loaded as long as this function is; the rest the caller vouches for,
        // as all work is in the order of this stream.
        let launched = unsafe { self.kernel.launch(card.compute(), shape, arguments) };
        card.check("launching a kernel", launched)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // A context that is gone has no modules any more. A capture would be spoilt by the wait; what
        // is dropped within one stays loaded until the card is closed.
        let may_wait = !self.card.store().is_capturing();
        if may_wait && self.card.context().synchronize().is_ok() {
            // SAFETY: no work is left, and whoever has a kernel of it would have it too. An error
            // leaves it loaded.
            let _ = unsafe { self.module.unload() };
        }
    }
}

/// An image that a compiler made, now or before.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) image: Vec<u8>,
    pub(super) note: Option<CudaError>,
    pub(super) is_compiled: bool,
}

/// Takes an image of the cache, or compiles one and keeps it there.
pub(super) fn build(
    compiler: &Compiler,
    cache: Option<&Cache>,
    source: &Source<'_>,
    target: Target,
) -> Result<Built, CudaError> {
    let key = Key::new(source, compiler.version(), target);
    if let Some(image) = cache.and_then(|cache| cache.read(&key)) {
        return Ok(Built { image, note: None, is_compiled: false });
    }
    let image = compiler.compile(source, target)?.image;
    let note = cache.and_then(|cache| cache.write(&key, &image).err());
    Ok(Built { image, note, is_compiled: true })
}

/// Which driver this is, to the build, as the kernel's module says it.
fn driver_build() -> String {
    fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default()
}

fn refused_image(card: &Card, program: &str, error: DriverError) -> CudaError {
    if meaning(error.0 as u32) == Meaning::ImageRefused {
        return CudaError::ImageRefused { program: program.to_owned(), code: name(error) };
    }
    CudaError::of(error, card.facts().ordinal, "loading a program")
}
