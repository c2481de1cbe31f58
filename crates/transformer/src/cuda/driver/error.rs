//! What can go wrong between the trainer and a card.

use std::path::PathBuf;

use cudarc::driver::DriverError;
use thiserror::Error;

use super::code::{Meaning, meaning};
use super::target::{CAPABILITY_MIN, DRIVER_MIN, Version};

/// Why a card cannot be used, or did not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum CudaError {
    /// There is no driver, or none that works.
    #[error(
        "no CUDA driver: {reason}\n\
         hint: install NVIDIA's driver on a machine with a card, and in a container pass the card in"
    )]
    NoDriver {
        /// What the loader or the driver says.
        reason: String,
    },
    /// The driver is older than what is needed.
    #[error(
        "the NVIDIA driver is too old: it speaks CUDA {has} and has no {lacks}\n\
         hint: install a driver of CUDA {DRIVER_MIN} or newer"
    )]
    DriverTooOld {
        /// The newest CUDA that it speaks.
        has: Version,
        /// What is missing.
        lacks: String,
    },
    /// No card has this number.
    #[error(
        "there is no card {ordinal}: {count} can be seen\n\
         hint: CUDA_VISIBLE_DEVICES hides cards, and `cards` of a workspace says how many are used"
    )]
    NoCard {
        /// The number asked for.
        ordinal: usize,
        /// How many cards there are.
        count: usize,
    },
    /// The card cannot compute in bf16.
    #[error(
        "{name} has compute capability {capability}, too low for bf16\n\
         hint: cards from {CAPABILITY_MIN} on can train (A100, RTX 30 and newer); others serve on the CPU"
    )]
    CardTooOld {
        /// The card.
        name: String,
        /// What it has.
        capability: Version,
    },
    /// There is no compiler for kernels.
    #[error(
        "NVRTC, the compiler for kernels, was not found: {reason}\n\
         hint: pip install '{package}<{major}.{newer}', or install CUDA's toolkit, or set \
         COTENANT_NVRTC to libnvrtc.so.{major} or its folder",
        package = driver.package("nvidia-cuda-nvrtc"),
        major = driver.major,
        newer = driver.minor + 1
    )]
    NoCompiler {
        /// What was tried.
        reason: String,
        /// The newest CUDA that the driver speaks.
        driver: Version,
    },
    /// The compiler makes code that the driver is too old for.
    #[error(
        "the NVIDIA driver speaks CUDA {driver}, and NVRTC {compiler} makes code for newer ones\n\
         hint: update the driver, or set COTENANT_NVRTC to an NVRTC of CUDA {major}",
        major = driver.major
    )]
    CompilerTooNew {
        /// The compiler's version.
        compiler: Version,
        /// The newest CUDA that the driver speaks.
        driver: Version,
    },
    /// A text is no program.
    #[error(
        "{program} does not compile for {target}: {log}\nhint: this is a fault of Cotenant's; please report it"
    )]
    DoesNotCompile {
        /// The program.
        program: String,
        /// What it was compiled for.
        target: String,
        /// The first lines of what the compiler says.
        log: String,
    },
    /// Neither the driver nor the card takes a program's machine code.
    #[error(
        "the driver does not take the machine code of {program} ({code})\n\
         hint: update the driver, or use an NVRTC that is no newer than it"
    )]
    ImageRefused {
        /// The program.
        program: String,
        /// The driver's name of the code.
        code: String,
    },
    /// A program has no such kernel.
    #[error(
        "{program} has no kernel {kernel}\nhint: this is a fault of Cotenant's; please report it"
    )]
    NoKernel {
        /// The program.
        program: String,
        /// The kernel.
        kernel: String,
    },
    /// A kernel wants more shared memory than a block can have.
    #[error(
        "{kernel} wants {asked} bytes of shared memory a block, and the card gives {most}\n\
         hint: train with shorter texts, or on a newer card"
    )]
    SharedMemory {
        /// The kernel.
        kernel: String,
        /// What it wants.
        asked: u32,
        /// The most.
        most: u32,
    },
    /// The card's memory is short.
    #[error(
        "out of memory on card {ordinal}: {asked} bytes asked, {free} of {total} free\n\
         hint: use smaller batches, shorter texts or lower ranks, or leave the card to fewer processes"
    )]
    OutOfMemory {
        /// The card.
        ordinal: usize,
        /// Bytes that were asked for.
        asked: u64,
        /// Bytes that were free.
        free: u64,
        /// Bytes that the card has.
        total: u64,
    },
    /// The card's memory is short for something whose size the driver does not say.
    #[error(
        "card {ordinal} has no memory left for {doing}\n\
         hint: use smaller batches, shorter texts or lower ranks, or leave the card to fewer processes"
    )]
    NoRoom {
        /// The card.
        ordinal: usize,
        /// What was being done.
        doing: &'static str,
    },
    /// The host's memory is short, or as much is pinned as may be.
    #[error(
        "no {asked} bytes of the host can be pinned for copies\n\
         hint: free memory of the host, or raise the limit of locked memory (`ulimit -l`)"
    )]
    OutOfHostMemory {
        /// Bytes that were asked for.
        asked: u64,
    },
    /// The card is gone, or this process's place on it.
    #[error(
        "card {ordinal} is lost: {code} while {doing}\n\
         hint: train on from the last checkpoint; `nvidia-smi` and the kernel's log name the Xid error"
    )]
    CardLost {
        /// The card.
        ordinal: usize,
        /// What was being done.
        doing: &'static str,
        /// The driver's name of the code.
        code: String,
    },
    /// A kernel did what it must not.
    #[error(
        "a kernel failed on card {ordinal}: {code}, found while {doing}\n\
         hint: this is a fault of Cotenant's; run under compute-sanitizer and report what it says"
    )]
    KernelFault {
        /// The card.
        ordinal: usize,
        /// What was being done when it was found.
        doing: &'static str,
        /// The driver's name of the code.
        code: String,
    },
    /// Lengths that do not belong together.
    #[error(
        "{what} is {found} bytes long, not {expected}\nhint: this is a fault of Cotenant's; please report it"
    )]
    Length {
        /// What has the wrong length.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that it must have.
        expected: usize,
    },
    /// Not while a graph is captured.
    #[error(
        "a graph is being captured, and {doing} cannot be a part of it\nhint: do it before or after"
    )]
    Capturing {
        /// What was asked for.
        doing: &'static str,
    },
    /// The driver or cuBLASLt refused for another reason.
    #[error(
        "{doing} was refused: {code}\nhint: this is a fault of Cotenant's or the driver's; please report it"
    )]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The name of the code.
        code: String,
    },
    /// A compiled program cannot be kept or read.
    #[error(
        "{path} cannot be used: {reason}\nhint: kernels are compiled anew each time until it can"
    )]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl CudaError {
    /// What a code of the driver means on a card.
    pub(super) fn of(error: DriverError, ordinal: usize, doing: &'static str) -> Self {
        let code = name(error);
        match meaning(error.0 as u32) {
            Meaning::CardLost => Self::CardLost { ordinal, doing, code },
            Meaning::KernelFault => Self::KernelFault { ordinal, doing, code },
            Meaning::DriverUnusable => Self::NoDriver { reason: format!("it answers {code}") },
            Meaning::OutOfMemory => Self::NoRoom { ordinal, doing },
            Meaning::NoCard | Meaning::ImageRefused | Meaning::NotReady | Meaning::Other => {
                Self::Refused { doing, code }
            }
        }
    }

    /// Whether less at a time may fit the card.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        use CudaError::{NoRoom, OutOfHostMemory, OutOfMemory};
        matches!(self, OutOfMemory { .. } | NoRoom { .. } | OutOfHostMemory { .. })
    }

    /// Whether nothing can be done with the card any more before it is opened again.
    pub(crate) fn ends_context(&self) -> bool {
        matches!(self, Self::CardLost { .. } | Self::KernelFault { .. })
    }
}

/// CUDA's name of a code.
pub(super) fn name(error: DriverError) -> String {
    format!("{:?}", error.0)
}

#[cfg(test)]
mod tests {
    use cudarc::driver::DriverError;
    use cudarc::driver::sys::CUresult;

    use super::CudaError;
    use crate::cuda::driver::target::Version;

    /// One clear sentence, then one line that begins with `hint:`.
    fn check(error: &CudaError, expected: &str) {
        let message = error.to_string();
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines.len(), 2, "{message}");
        assert_eq!(lines[0], expected);
        assert!(lines[1].starts_with("hint: "), "{message}");
    }

    #[test]
    fn messages_are_one_sentence_and_a_hint() {
        let version = |major, minor| Version { major, minor };
        let reason = "libcuda.so.1 is not there".to_owned();
        check(&CudaError::NoDriver { reason }, "no CUDA driver: libcuda.so.1 is not there");
        let old = CudaError::DriverTooOld { has: version(11, 4), lacks: "cuX".to_owned() };
        check(&old, "the NVIDIA driver is too old: it speaks CUDA 11.4 and has no cuX");
        check(&CudaError::NoCard { ordinal: 3, count: 2 }, "there is no card 3: 2 can be seen");
        let weak = CudaError::CardTooOld { name: "T4".to_owned(), capability: version(7, 5) };
        check(&weak, "T4 has compute capability 7.5, too low for bf16");
        let newer = CudaError::CompilerTooNew { compiler: version(13, 0), driver: version(12, 4) };
        check(
            &newer,
            "the NVIDIA driver speaks CUDA 12.4, and NVRTC 13.0 makes code for newer ones",
        );
        let none = |driver| CudaError::NoCompiler { reason: "it is not there".to_owned(), driver };
        for (driver, package) in [
            (version(13, 0), "'nvidia-cuda-nvrtc<13.1'"),
            (version(12, 8), "'nvidia-cuda-nvrtc-cu12<12.9'"),
        ] {
            let none = none(driver);
            check(&none, "NVRTC, the compiler for kernels, was not found: it is not there");
            assert!(none.to_string().contains(package), "{none}");
        }
        let short = CudaError::OutOfMemory { ordinal: 1, asked: 3, free: 1, total: 2 };
        check(&short, "out of memory on card 1: 3 bytes asked, 1 of 2 free");
    }

    #[test]
    fn codes_become_what_a_caller_acts_on() {
        let of = |code| CudaError::of(DriverError(code), 1, "waiting");
        let lost = of(CUresult::CUDA_ERROR_ECC_UNCORRECTABLE);
        check(&lost, "card 1 is lost: CUDA_ERROR_ECC_UNCORRECTABLE while waiting");
        assert!(lost.ends_context());
        let fault = of(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        check(&fault, "a kernel failed on card 1: CUDA_ERROR_ILLEGAL_ADDRESS, found while waiting");
        assert!(fault.ends_context());
        let mismatch = of(CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
        check(&mismatch, "no CUDA driver: it answers CUDA_ERROR_SYSTEM_DRIVER_MISMATCH");
        let full = of(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        check(&full, "card 1 has no memory left for waiting");
        assert!(full.is_out_of_memory() && !lost.is_out_of_memory());
        let other = of(CUresult::CUDA_ERROR_INVALID_VALUE);
        check(&other, "waiting was refused: CUDA_ERROR_INVALID_VALUE");
        assert!(!other.ends_context());
    }
}
