//! What functions return: the numbers of CUDA and NVML.

/// A code that is not success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i32);

/// What the body of a function gives.
pub(crate) type Outcome = Result<(), Code>;

/// Codes of the driver.
pub(crate) mod cuda {
    use super::Code;

    pub(crate) const INVALID_VALUE: Code = Code(1);
    pub(crate) const OUT_OF_MEMORY: Code = Code(2);
    pub(crate) const NOT_INITIALIZED: Code = Code(3);
    pub(crate) const DEVICE_UNAVAILABLE: Code = Code(46);
    pub(crate) const NO_DEVICE: Code = Code(100);
    pub(crate) const INVALID_DEVICE: Code = Code(101);
    pub(crate) const INVALID_IMAGE: Code = Code(200);
    pub(crate) const INVALID_CONTEXT: Code = Code(201);
    pub(crate) const ALREADY_MAPPED: Code = Code(208);
    pub(crate) const FILE_NOT_FOUND: Code = Code(301);
    pub(crate) const OPERATING_SYSTEM: Code = Code(304);
    pub(crate) const INVALID_HANDLE: Code = Code(400);
    pub(crate) const ILLEGAL_STATE: Code = Code(401);
    pub(crate) const NOT_FOUND: Code = Code(500);
    pub(crate) const NOT_READY: Code = Code(600);
    pub(crate) const LAUNCH_OUT_OF_RESOURCES: Code = Code(701);
    pub(crate) const HOST_MEMORY_ALREADY_REGISTERED: Code = Code(712);
    pub(crate) const HOST_MEMORY_NOT_REGISTERED: Code = Code(713);
    pub(crate) const COOPERATIVE_LAUNCH_TOO_LARGE: Code = Code(720);
    pub(crate) const NOT_SUPPORTED: Code = Code(801);
    pub(crate) const STREAM_CAPTURE_UNSUPPORTED: Code = Code(900);
    pub(crate) const STREAM_CAPTURE_INVALIDATED: Code = Code(901);
    pub(crate) const STREAM_CAPTURE_MERGE: Code = Code(902);
    pub(crate) const STREAM_CAPTURE_UNMATCHED: Code = Code(903);
    pub(crate) const STREAM_CAPTURE_IMPLICIT: Code = Code(906);
    pub(crate) const CAPTURED_EVENT: Code = Code(907);
    pub(crate) const UNKNOWN: Code = Code(999);

    /// Every code that a program may meet here, with its name and what it says.
    pub(crate) const NAMES: [(i32, &str, &str); 32] = [
        (0, "CUDA_SUCCESS", "no error"),
        (1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"),
        (2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"),
        (3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"),
        (46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "device is unavailable"),
        (100, "CUDA_ERROR_NO_DEVICE", "no device is there"),
        (101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"),
        (200, "CUDA_ERROR_INVALID_IMAGE", "the image is no module"),
        (201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"),
        (208, "CUDA_ERROR_ALREADY_MAPPED", "already mapped"),
        (211, "CUDA_ERROR_NOT_MAPPED", "not mapped"),
        (301, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"),
        (304, "CUDA_ERROR_OPERATING_SYSTEM", "the system refused"),
        (400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"),
        (401, "CUDA_ERROR_ILLEGAL_STATE", "not possible in this state"),
        (500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"),
        (600, "CUDA_ERROR_NOT_READY", "not ready"),
        (700, "CUDA_ERROR_ILLEGAL_ADDRESS", "illegal address"),
        (701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources for a launch"),
        (708, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "the primary context is in use"),
        (709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "the context is destroyed"),
        (712, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "registered already"),
        (713, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "not registered"),
        (719, "CUDA_ERROR_LAUNCH_FAILED", "a launch failed"),
        (720, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", "too many blocks to be together"),
        (801, "CUDA_ERROR_NOT_SUPPORTED", "not supported"),
        (900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "not permitted during a capture"),
        (901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "the capture failed before"),
        (902, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "two captures would become one"),
        (903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "the capture began on another stream"),
        (906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "would depend on a capture by default"),
        (999, "CUDA_ERROR_UNKNOWN", "unknown error"),
    ];
}

/// Codes of NVML.
pub(crate) mod nvml {
    use super::Code;

    pub(crate) const UNINITIALIZED: Code = Code(1);
    pub(crate) const INVALID_ARGUMENT: Code = Code(2);
    pub(crate) const NOT_SUPPORTED: Code = Code(3);
    pub(crate) const NOT_FOUND: Code = Code(6);
    pub(crate) const INSUFFICIENT_SIZE: Code = Code(7);
    pub(crate) const DRIVER_NOT_LOADED: Code = Code(9);
    pub(crate) const TIMEOUT: Code = Code(10);
    pub(crate) const GPU_IS_LOST: Code = Code(15);
    pub(crate) const IN_USE: Code = Code(19);
    pub(crate) const INSUFFICIENT_RESOURCES: Code = Code(23);
    pub(crate) const ARGUMENT_VERSION_MISMATCH: Code = Code(25);
    pub(crate) const UNKNOWN: Code = Code(999);
}
