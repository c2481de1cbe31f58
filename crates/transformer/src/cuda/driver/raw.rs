//! The driver's functions that `cudarc` wraps too thinly or not at all, and which functions there
//! must be.
//!
//! The calling thread has the card's context; without one the driver answers an error.

use std::ffi::{CStr, CString, c_void};
use std::mem::{MaybeUninit, transmute};
use std::ptr::NonNull;

use cudarc::driver::sys::{
    self, CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT, CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT,
    CU_LAUNCH_PARAM_END_AS_INT, CUevent, CUfunction, CUfunction_attribute, CUgraph, CUgraphExec,
    CUgraphExecUpdateResultInfo, CUgraphInstantiate_flags, CUmodule, CUresult,
};
use cudarc::driver::{CudaEvent, CudaStream, DriverError, result};

use super::library::Library;
use super::target::Version;

/// Every function of the driver that is called here or by what of `cudarc` is used; a test holds the
/// list against the calls that a driver of our own counts.
pub(super) const FUNCTIONS: [&CStr; 42] = [
    c"cuCtxGetCurrent",
    c"cuCtxSetCurrent",
    c"cuCtxSynchronize",
    c"cuDeviceGet",
    c"cuDeviceGetAttribute",
    c"cuDeviceGetCount",
    c"cuDeviceGetName",
    c"cuDevicePrimaryCtxRelease_v2",
    c"cuDevicePrimaryCtxRetain",
    c"cuDriverGetVersion",
    c"cuEventCreate",
    c"cuEventDestroy_v2",
    c"cuEventElapsedTime",
    c"cuEventQuery",
    c"cuEventRecord",
    c"cuEventSynchronize",
    c"cuFuncSetAttribute",
    c"cuGetErrorString",
    c"cuGraphDestroy",
    c"cuGraphExecDestroy",
    c"cuGraphExecUpdate_v2",
    c"cuGraphInstantiateWithFlags",
    c"cuGraphLaunch",
    c"cuInit",
    c"cuLaunchKernel",
    c"cuMemAlloc_v2",
    c"cuMemFreeHost",
    c"cuMemFree_v2",
    c"cuMemGetInfo_v2",
    c"cuMemHostAlloc",
    c"cuMemcpyDtoDAsync_v2",
    c"cuMemcpyDtoHAsync_v2",
    c"cuMemcpyHtoDAsync_v2",
    c"cuMemsetD8Async",
    c"cuModuleGetFunction",
    c"cuModuleLoadData",
    c"cuModuleUnload",
    c"cuStreamBeginCapture_v2",
    c"cuStreamCreate",
    c"cuStreamDestroy_v2",
    c"cuStreamEndCapture",
    c"cuStreamWaitEvent",
];

/// The driver's function for the time between two events. It is looked up here because the crate
/// calls only its second version, which drivers before CUDA 12.8 do not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElapsedTime(unsafe extern "C" fn(*mut f32, CUevent, CUevent) -> CUresult);

impl ElapsedTime {
    /// Finds it.
    pub(super) fn find(driver: Library) -> Option<Self> {
        let found = driver.find(c"cuEventElapsedTime")?;
        // SAFETY: the driver's function of this name has had these arguments since CUDA 2.
        let function = unsafe {
            transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut f32, CUevent, CUevent) -> CUresult>(
                found,
            )
        };
        Some(Self(function))
    }

    /// Milliseconds between two events that both have happened.
    pub(super) fn ms(self, start: &CudaEvent, end: &CudaEvent) -> Result<f32, DriverError> {
        let mut ms = 0.0;
        // SAFETY: the events live, and the number is ours.
        unsafe { (self.0)(&mut ms, start.cu_event(), end.cu_event()) }.result()?;
        Ok(ms)
    }
}

/// The newest CUDA that a driver speaks.
pub(super) fn driver_version() -> Result<Version, DriverError> {
    let mut number = 0;
    // SAFETY: the number is ours.
    unsafe { sys::cuDriverGetVersion(&mut number) }.result()?;
    Ok(Version::of_number(number))
}

/// Memory of the card.
pub(super) fn allocate(bytes: u64) -> Result<u64, DriverError> {
    // SAFETY: memory that nothing was written to is read by nothing on the host.
    unsafe { result::malloc_sync(bytes as usize) }
}

/// Gives memory of the card back.
///
/// # Safety
/// [`allocate`] gave it, no work that was submitted uses it, and nothing gives it back again.
pub(super) unsafe fn free(address: u64) -> Result<(), DriverError> {
    // SAFETY: as the caller promises.
    unsafe { result::free_sync(address) }
}

/// Memory of the host that copies run from and to beside the computation; zeros, page by page.
pub(super) fn allocate_host(bytes: u64) -> Result<NonNull<u8>, DriverError> {
    // SAFETY: what comes back is memory of this length, and is written before anybody reads it.
    unsafe {
        let place = result::malloc_host(bytes as usize, 0)?.cast::<u8>();
        let place = NonNull::new(place).ok_or(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY))?;
        place.write_bytes(0, bytes as usize);
        Ok(place)
    }
}

/// Gives memory of the host back.
///
/// # Safety
/// [`allocate_host`] gave it, no copy that was submitted uses it, and nothing uses it again.
pub(super) unsafe fn free_host(place: NonNull<u8>) -> Result<(), DriverError> {
    // SAFETY: as the caller promises.
    unsafe { result::free_host(place.as_ptr().cast()) }
}

/// Submits a copy to the card.
///
/// # Safety
/// Both pieces of memory are as long, and the bytes stay as they are until the stream did it.
pub(super) unsafe fn upload(
    stream: &CudaStream,
    from: *const u8,
    bytes: usize,
    address: u64,
) -> Result<(), DriverError> {
    // SAFETY: as the caller promises.
    unsafe { sys::cuMemcpyHtoDAsync_v2(address, from.cast(), bytes, stream.cu_stream()) }.result()
}

/// Submits a copy from the card.
///
/// # Safety
/// Both pieces of memory are as long, and nobody reads or writes the bytes until the stream did it.
pub(super) unsafe fn download(
    stream: &CudaStream,
    address: u64,
    to: *mut u8,
    bytes: usize,
) -> Result<(), DriverError> {
    // SAFETY: as the caller promises.
    unsafe { sys::cuMemcpyDtoHAsync_v2(to.cast(), address, bytes, stream.cu_stream()) }.result()
}

/// Submits a copy within the card.
///
/// # Safety
/// Both pieces of memory are so long and do not overlap.
pub(super) unsafe fn copy(
    stream: &CudaStream,
    from: u64,
    to: u64,
    bytes: usize,
) -> Result<(), DriverError> {
    // SAFETY: as the caller promises.
    unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }
}

/// Submits zeros for memory of the card.
///
/// # Safety
/// The memory is so long.
pub(super) unsafe fn clear(
    stream: &CudaStream,
    address: u64,
    bytes: usize,
) -> Result<(), DriverError> {
    // SAFETY: as the caller promises.
    unsafe { result::memset_d8_async(address, 0, bytes, stream.cu_stream()) }
}

/// Work that was captured.
#[derive(Debug)]
pub(super) struct Captured(CUgraph);

/// Work that can be launched.
#[derive(Debug)]
pub(super) struct Ready(CUgraphExec);

// SAFETY: it may be used by any thread, by one at a time, and it is not `Sync`.
unsafe impl Send for Ready {}

/// Ends the capture of a stream.
pub(super) fn end_capture(stream: &CudaStream) -> Result<Option<Captured>, DriverError> {
    // SAFETY: the stream lives.
    let graph = unsafe { result::stream::end_capture(stream.cu_stream()) }?;
    Ok((!graph.is_null()).then_some(Captured(graph)))
}

impl Captured {
    /// Makes it ready.
    pub(super) fn make_ready(&self) -> Result<Ready, DriverError> {
        // SAFETY: the graph lives, and what is made of it does not need it any more.
        unsafe { result::graph::instantiate(self.0, CUgraphInstantiate_flags(0)) }.map(Ready)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // SAFETY: it lives until now. An error is that of a context that is gone.
        let _ = unsafe { result::graph::destroy(self.0) };
    }
}

impl Ready {
    /// Puts other work in its place; false if the two are not of one kind. What was launched before
    /// stays as it was.
    pub(super) fn update(&self, work: &Captured) -> Result<bool, DriverError> {
        let mut found = MaybeUninit::<CUgraphExecUpdateResultInfo>::zeroed();
        // SAFETY: both live, and the driver writes no more than this struct.
        let answer = unsafe { sys::cuGraphExecUpdate_v2(self.0, work.0, found.as_mut_ptr()) };
        match answer {
            CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE => Ok(false),
            answer => answer.result().map(|()| true),
        }
    }

    /// Submits it.
    pub(super) fn launch(&self, stream: &CudaStream) -> Result<(), DriverError> {
        // SAFETY: both live; who captured the work vouches for what it reads and writes.
        unsafe { result::graph::launch(self.0, stream.cu_stream()) }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: it lives until now; what runs of it is freed once it has ended.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}

/// Machine code that the driver has taken.
#[derive(Debug)]
pub(super) struct Module(CUmodule);

// SAFETY: a module may be used by any thread that has its context.
unsafe impl Send for Module {}
// SAFETY: as above; looking up a function changes nothing.
unsafe impl Sync for Module {}

impl Module {
    /// Takes an image.
    ///
    /// # Safety
    /// It is whole machine code, which says itself how long it is, or text that ends with a zero
    /// byte.
    pub(super) unsafe fn load(image: &[u8]) -> Result<Self, DriverError> {
        // SAFETY: as the caller promises.
        unsafe { result::module::load_data(image.as_ptr().cast()) }.map(Self)
    }

    /// A kernel by its name.
    pub(super) fn kernel(&self, name: &CStr) -> Result<Kernel, DriverError> {
        // SAFETY: the module is loaded.
        unsafe { result::module::get_function(self.0, CString::from(name)) }.map(Kernel)
    }

    /// Takes it out of the card.
    ///
    /// # Safety
    /// No work that was submitted runs its kernels, and nothing uses it or them again.
    pub(super) unsafe fn unload(&self) -> Result<(), DriverError> {
        // SAFETY: as the caller promises.
        unsafe { result::module::unload(self.0) }
    }
}

/// A kernel of a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel(CUfunction);

// SAFETY: a function may be used by any thread that has its context.
unsafe impl Send for Kernel {}
// SAFETY: as above; a launch changes nothing of it.
unsafe impl Sync for Kernel {}

impl Kernel {
    /// Lets blocks have more shared memory than every card gives.
    ///
    /// # Safety
    /// Its module is loaded.
    pub(super) unsafe fn allow_shared_bytes(self, bytes: u32) -> Result<(), DriverError> {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: as the caller promises.
        unsafe { sys::cuFuncSetAttribute(self.0, attribute, bytes) }.result()
    }

    /// Submits the kernel. The arguments are the bytes of the one struct that it takes; the driver
    /// copies them, and refuses another length than the kernel's.
    ///
    /// # Safety
    /// Its module is loaded, and what the kernel does with these arguments is sound: it reads and
    /// writes memory that is there as long as the stream needs it, and that no copy and nothing on
    /// the host uses meanwhile.
    pub(super) unsafe fn launch(
        self,
        stream: &CudaStream,
        shape: super::Shape,
        arguments: &[u8],
    ) -> Result<(), DriverError> {
        let mut bytes = MaybeUninit::new(arguments.len());
        let mut extra: [*mut c_void; 5] = [
            CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT as usize as *mut c_void,
            arguments.as_ptr().cast_mut().cast(),
            CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT as usize as *mut c_void,
            bytes.as_mut_ptr().cast(),
            CU_LAUNCH_PARAM_END_AS_INT as usize as *mut c_void,
        ];
        let ([gx, gy, gz], [bx, by, bz]) = (shape.grid, shape.block);
        let (shared, stream, none) = (shape.shared_bytes, stream.cu_stream(), std::ptr::null_mut());
        let extra = extra.as_mut_ptr();
        // SAFETY: the list has the driver's form and names bytes of the length that it gives, which
        // the driver reads before it returns; for all else the caller vouches.
        unsafe { sys::cuLaunchKernel(self.0, gx, gy, gz, bx, by, bz, shared, stream, none, extra) }
            .result()
    }
}
