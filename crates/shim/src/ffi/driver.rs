//! The driver's functions that the library itself calls: never through its own.

use std::ffi::{c_char, c_int, c_void};

use super::resolve::{Address, Library};

/// A handle of the driver's, whatever it stands for.
pub(super) type Handle = *mut c_void;

macro_rules! driver {
    ($($library:ident $name:ident($($arg:ident: $kind:ty),*);)*) => {
        $(
            /// The driver's own function; its missing-function result if it has none.
            ///
            /// # Safety
            /// As its documentation says.
            pub(super) unsafe fn $name($($arg: $kind),*) -> c_int {
                static ADDRESS: Address = Address::new();
                let name = const {
                    match std::ffi::CStr::from_bytes_with_nul(
                        concat!(stringify!($name), "\0").as_bytes(),
                    ) {
                        Ok(name) => name,
                        Err(_) => panic!("a name has no zero inside"),
                    }
                };
                match ADDRESS.of(Library::$library, name) {
                    None => Library::$library.missing_result(),
                    Some(address) => {
                        type Real = unsafe extern "C" fn($($kind),*) -> c_int;
                        // SAFETY: the driver exports this name with this signature.
                        let real = unsafe { std::mem::transmute::<usize, Real>(address) };
                        // SAFETY: the caller's.
                        unsafe { real($($arg),*) }
                    }
                }
            }
        )*
    };
}

driver! {
    Cuda cuCtxGetCurrent(ctx: *mut Handle);
    Cuda cuCtxGetDevice(device: *mut c_int);
    Cuda cuCtxGetApiVersion(ctx: Handle, version: *mut u32);
    Cuda cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int);
    Cuda cuPointerGetAttribute(value: *mut c_void, attribute: c_int, pointer: u64);
    Cuda cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int);
    Cuda cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int);
    Cuda cuDevicePrimaryCtxGetState(device: c_int, flags: *mut u32, is_active: *mut c_int);
    Cuda cuMemFree_v2(pointer: u64);
    Cuda cuMemFreeAsync(pointer: u64, stream: Handle);
    Cuda cuDeviceGetMemPool(pool: *mut Handle, device: c_int);
    Cuda cuDeviceGetDefaultMemPool(pool: *mut Handle, device: c_int);
    Cuda cuMemPoolGetAttribute(pool: Handle, attribute: c_int, value: *mut u64);
    Cuda cuMemPoolTrimTo(pool: Handle, keep: usize);
    Cuda cuDeviceGetGraphMemAttribute(device: c_int, attribute: c_int, value: *mut u64);
    Cuda cuStreamIsCapturing(stream: Handle, status: *mut c_int);
    Cuda cuThreadExchangeStreamCaptureMode(mode: *mut c_int);
    Cuda cuEventCreate(event: *mut Handle, flags: u32);
    Cuda cuEventDestroy_v2(event: Handle);
    Cuda cuEventRecord(event: Handle, stream: Handle);
    Cuda cuEventQuery(event: Handle);
    Cuda cuEventElapsedTime(ms: *mut f32, start: Handle, end: Handle);
    Cuda cuGraphNodeGetType(node: Handle, kind: *mut c_int);
    Cuda cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize);
    Nvml nvmlDeviceGetUUID(device: Handle, text: *mut c_char, length: u32);
    Nvml nvmlDeviceGetIndex(device: Handle, index: *mut u32);
}
