//! What the driver's codes mean to whoever called it.

/// What a code tells the caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Memory of the card, or pinned memory of the host, is short; a smaller request may fit.
    OutOfMemory,
    /// The card, or this process's place on it, is gone; work goes on from a checkpoint, elsewhere
    /// or in a new process.
    CardLost,
    /// A kernel did what it must not; the context is gone with it, and the kernel would do it again.
    KernelFault,
    /// There is no such card.
    NoCard,
    /// The driver cannot be used as it is installed.
    DriverUnusable,
    /// The driver or the card does not take the machine code.
    ImageRefused,
    /// Work that was asked about has not ended.
    NotReady,
    /// Anything else: a call that is wrong, or was refused.
    Other,
}

/// Codes with a meaning of their own, by CUDA's number. Of those after which the context is unusable,
/// a kernel's own doing are faults; all others, which no change of a kernel prevents, are a lost card.
const MEANINGS: [(u32, Meaning); 38] = [
    (2, Meaning::OutOfMemory),      // OUT_OF_MEMORY
    (34, Meaning::DriverUnusable),  // STUB_LIBRARY
    (36, Meaning::DriverUnusable),  // CALL_REQUIRES_NEWER_DRIVER
    (46, Meaning::CardLost),        // DEVICE_UNAVAILABLE
    (100, Meaning::NoCard),         // NO_DEVICE
    (101, Meaning::NoCard),         // INVALID_DEVICE
    (200, Meaning::ImageRefused),   // INVALID_IMAGE
    (209, Meaning::ImageRefused),   // NO_BINARY_FOR_GPU
    (214, Meaning::CardLost),       // ECC_UNCORRECTABLE
    (218, Meaning::ImageRefused),   // INVALID_PTX
    (220, Meaning::CardLost),       // NVLINK_UNCORRECTABLE
    (221, Meaning::ImageRefused),   // JIT_COMPILER_NOT_FOUND
    (222, Meaning::ImageRefused),   // UNSUPPORTED_PTX_VERSION
    (223, Meaning::ImageRefused),   // JIT_COMPILATION_DISABLED
    (226, Meaning::CardLost),       // CONTAINED, an error of the memory that others survive
    (600, Meaning::NotReady),       // NOT_READY
    (700, Meaning::KernelFault),    // ILLEGAL_ADDRESS
    (702, Meaning::KernelFault),    // LAUNCH_TIMEOUT
    (709, Meaning::CardLost),       // CONTEXT_IS_DESTROYED
    (710, Meaning::KernelFault),    // ASSERT
    (714, Meaning::KernelFault),    // HARDWARE_STACK_ERROR
    (715, Meaning::KernelFault),    // ILLEGAL_INSTRUCTION
    (716, Meaning::KernelFault),    // MISALIGNED_ADDRESS
    (717, Meaning::KernelFault),    // INVALID_ADDRESS_SPACE
    (718, Meaning::KernelFault),    // INVALID_PC
    (719, Meaning::KernelFault),    // LAUNCH_FAILED
    (721, Meaning::KernelFault),    // TENSOR_MEMORY_LEAK
    (802, Meaning::DriverUnusable), // SYSTEM_NOT_READY
    (803, Meaning::DriverUnusable), // SYSTEM_DRIVER_MISMATCH
    (804, Meaning::DriverUnusable), // COMPAT_NOT_SUPPORTED_ON_DEVICE
    (805, Meaning::DriverUnusable), // MPS_CONNECTION_FAILED
    (806, Meaning::CardLost),       // MPS_RPC_FAILURE
    (807, Meaning::DriverUnusable), // MPS_SERVER_NOT_READY
    (808, Meaning::DriverUnusable), // MPS_MAX_CLIENTS_REACHED
    (809, Meaning::DriverUnusable), // MPS_MAX_CONNECTIONS_REACHED
    (810, Meaning::CardLost),       // MPS_CLIENT_TERMINATED
    (911, Meaning::CardLost),       // EXTERNAL_DEVICE
    (999, Meaning::CardLost),       // UNKNOWN, which NVIDIA's driver gives after an Xid
];

/// What a code means.
pub(super) fn meaning(code: u32) -> Meaning {
    let found = MEANINGS.iter().find(|(known, _)| *known == code);
    found.map_or(Meaning::Other, |(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use cudarc::driver::sys::CUresult;

    use super::{MEANINGS, Meaning, meaning};

    fn check(expected: Meaning, codes: &[CUresult]) {
        for &code in codes {
            assert_eq!(meaning(code as u32), expected, "{code:?}");
        }
    }

    #[test]
    fn codes_mean_what_cudas_headers_say() {
        use CUresult::{
            CUDA_ERROR_CONTEXT_IS_DESTROYED, CUDA_ERROR_DEVICE_UNAVAILABLE,
            CUDA_ERROR_ECC_UNCORRECTABLE, CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_INVALID_DEVICE,
            CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_FAILED,
            CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, CUDA_ERROR_MISALIGNED_ADDRESS,
            CUDA_ERROR_MPS_CLIENT_TERMINATED, CUDA_ERROR_NO_BINARY_FOR_GPU, CUDA_ERROR_NO_DEVICE,
            CUDA_ERROR_NOT_READY, CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_STUB_LIBRARY,
            CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, CUDA_ERROR_UNKNOWN,
            CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
        };
        check(Meaning::OutOfMemory, &[CUDA_ERROR_OUT_OF_MEMORY]);
        let lost = [
            CUDA_ERROR_DEVICE_UNAVAILABLE,
            CUDA_ERROR_ECC_UNCORRECTABLE,
            CUDA_ERROR_CONTEXT_IS_DESTROYED,
            CUDA_ERROR_MPS_CLIENT_TERMINATED,
            CUDA_ERROR_UNKNOWN,
        ];
        check(Meaning::CardLost, &lost);
        let faults =
            [CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_MISALIGNED_ADDRESS, CUDA_ERROR_LAUNCH_FAILED];
        check(Meaning::KernelFault, &faults);
        check(Meaning::NoCard, &[CUDA_ERROR_NO_DEVICE, CUDA_ERROR_INVALID_DEVICE]);
        let unusable = [CUDA_ERROR_STUB_LIBRARY, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH];
        check(Meaning::DriverUnusable, &unusable);
        let images = [
            CUDA_ERROR_INVALID_IMAGE,
            CUDA_ERROR_NO_BINARY_FOR_GPU,
            CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
        ];
        check(Meaning::ImageRefused, &images);
        check(Meaning::NotReady, &[CUDA_ERROR_NOT_READY]);
        // The context is as good as before.
        check(Meaning::Other, &[CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES]);
        assert_eq!(meaning(12_345), Meaning::Other);
    }

    #[test]
    fn every_code_stands_once_in_order() {
        assert!(MEANINGS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
