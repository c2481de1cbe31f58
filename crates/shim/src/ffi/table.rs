//! Every entry point that is taken over, once: from each row come the function that programs call,
//! its number, its place in look-ups, its line in the reference page, and its part in the tests.
//!
//! A row is a name, the driver's own arguments, and what stands before the driver's function, which
//! it gets as `call`. A name that a driver does not have is answered as the driver would.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::arrays::{Block, Plane};
use super::copies::Copied;
use super::driver::Handle;
use super::guard::guarded;
use super::nvml::{
    DetailedList, LongProcess, Memory, MemoryWithReserve, ShortProcess, UtilizationList,
    UtilizationSample,
};
use super::pools::Request;
use super::resolve::Address;
use super::submit::{KERNEL_DEFAULT_NS, Kernel, Submission, kernel, per_thread, submit, waited};
use super::virtual_memory::{Location, Part, Properties};
use super::{
    arrays, capture, context, copies, graph_memory, graphs, lookup, memory, nvml, pools, shown,
    virtual_memory, watch,
};
use crate::trace::Awaited;

pub use super::resolve::Library;

/// What an entry point is taken over for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Looking other entry points up.
    Lookup,
    /// Which card a thread uses.
    Context,
    /// Memory by pointer.
    Memory,
    /// Memory from pools.
    Pools,
    /// Memory of graphs.
    GraphMemory,
    /// Pages and addresses apart.
    VirtualMemory,
    /// Arrays.
    Arrays,
    /// Work for a card.
    Submission,
    /// Graphs made ready.
    Graphs,
    /// Streams whose work becomes a graph.
    Capture,
    /// Copies between a card and the host.
    Copies,
    /// Waiting for a card.
    Waiting,
    /// What a program is told of a card.
    Shown,
}

impl Topic {
    /// What is done, for the reference page.
    pub fn text(self) -> &'static str {
        match self {
            Topic::Lookup => "the driver answers, and its answer is mapped back to the hook",
            Topic::Context => {
                "which card the thread uses is found out anew; memory of a context that ends is credited"
            }
            Topic::Memory => "reserved before the driver is asked, credited when freed",
            Topic::Pools => "the pool is charged by what the driver has reserved for it",
            Topic::GraphMemory => {
                "memory of graphs is counted once it is reserved; while that is too much, graphs \
                 that take memory are refused"
            }
            Topic::VirtualMemory => "pages are charged until their last handle or mapping goes",
            Topic::Arrays => "charged by the size that the description comes to",
            Topic::Submission => {
                "held until the slice may submit, charged, and measured by samples"
            }
            Topic::Graphs => "a first cost is taken from the number of nodes",
            Topic::Capture => "what is launched there is neither charged nor measured",
            Topic::Copies => {
                "timed and counted if somebody watches the program, and else passed on"
            }
            Topic::Waiting => "samples that are done are learnt from, and pools are looked at",
            Topic::Shown => "the slice is shown in place of the card",
        }
    }
}

macro_rules! hooks {
    ($(
        $library:ident $topic:ident {
            $($name:ident($($arg:ident: $kind:ty),*) => |$call:ident| $body:expr;)*
        }
    )*) => {
        /// An entry point that is taken over.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Hook {
            $($(
                #[doc = concat!("`", stringify!($name), "`.")]
                $name,
            )*)*
        }

        impl Hook {
            /// All of them.
            pub const ALL: &'static [Hook] = &[$($(Hook::$name,)*)*];

            /// The name that the driver exports, with the zero at its end.
            pub fn symbol(self) -> &'static CStr {
                let text = match self {
                    $($(Hook::$name => concat!(stringify!($name), "\0"),)*)*
                };
                CStr::from_bytes_with_nul(text.as_bytes()).expect("a name has no zero inside")
            }

            /// The library that has it.
            pub fn library(self) -> Library {
                match self {
                    $($(Hook::$name => Library::$library,)*)*
                }
            }

            /// What it is taken over for.
            pub fn topic(self) -> Topic {
                match self {
                    $($(Hook::$name => Topic::$topic,)*)*
                }
            }

            /// The address of the function that programs are to call instead.
            pub(super) fn wrapper(self) -> usize {
                match self {
                    $($(Hook::$name => $name as *const () as usize,)*)*
                }
            }
        }

        $($(
            #[doc = concat!("Stands before the driver's `", stringify!($name), "`.")]
            ///
            /// # Safety
            /// As the driver's documentation says.
            #[cfg_attr(not(cotenant_sanitized), unsafe(no_mangle))]
            #[allow(unused_unsafe, clippy::too_many_arguments)]
            pub unsafe extern "C" fn $name($($arg: $kind),*) -> c_int {
                type Real = unsafe extern "C" fn($($kind),*) -> c_int;
                let Some(address) = Hook::$name.real() else {
                    return Library::$library.missing_result();
                };
                // SAFETY: the driver exports this name with this signature.
                let real = unsafe { std::mem::transmute::<usize, Real>(address) };
                guarded(
                    // SAFETY: the arguments are the program's own, unchanged.
                    || unsafe { real($($arg),*) },
                    // SAFETY: as above.
                    |$call| unsafe { $body },
                )
            }
        )*)*
    };
}

/// Where the driver's own functions are, by number.
static REAL: [Address; Hook::ALL.len()] = [const { Address::new() }; Hook::ALL.len()];

impl Hook {
    /// The name that the driver exports.
    pub fn name(self) -> &'static str {
        self.symbol().to_str().expect("names are of letters, digits and underscores")
    }

    /// The driver's own function, if it has one.
    #[inline]
    pub(super) fn real(self) -> Option<usize> {
        REAL[self as usize].of(self.library(), self.symbol())
    }
}

/// CUlaunchConfig.
#[repr(C)]
pub struct LaunchConfig {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    attributes: *mut c_void,
    attribute_count: u32,
}

/// CUDA_LAUNCH_PARAMS: one device's part of a launch on several.
#[repr(C)]
pub struct DeviceLaunch {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    parameters: *mut *mut c_void,
}

type Parameters = *mut *mut c_void;

fn launch(kernel: Kernel, stream: Handle) -> Submission {
    let Kernel { shape, blocks } = kernel;
    Submission { stream, shape, default_ns: KERNEL_DEFAULT_NS, blocks: Some(blocks) }
}

/// The old calls that set a grid alone; what else they were told is the function's.
fn grid_launch(function: Handle, width: c_int, height: c_int, stream: Handle) -> Submission {
    launch(kernel(function, [width as u32, height as u32, 1], [0; 3], 0), stream)
}

/// What a wait for a stream waits for: the default stream of all threads comes after all others.
fn awaited(stream: Handle) -> Awaited {
    if stream.is_null() { Awaited::All } else { Awaited::Stream(stream as u64) }
}

unsafe fn configured(config: *const LaunchConfig, function: Handle) -> Submission {
    // SAFETY: a launch without a configuration is refused by the caller.
    let config = unsafe { &*config };
    launch(kernel(function, config.grid, config.block, config.shared), config.stream)
}

/// A launch on several devices counts on the current one, by the part that stands first.
unsafe fn first_of(list: *const DeviceLaunch) -> Submission {
    // SAFETY: a launch without a list is refused by the caller.
    let first = unsafe { &*list };
    launch(kernel(first.function, first.grid, first.block, first.shared), first.stream)
}

hooks! {
    Cuda Lookup {
        cuGetProcAddress(name: *const c_char, place: *mut Handle, version: c_int, flags: u64)
            => |call| lookup::answer(call, name, place);
        cuGetProcAddress_v2(
            name: *const c_char, place: *mut Handle, version: c_int, flags: u64,
            status: *mut c_int
        ) => |call| lookup::answer(call, name, place);
        cuGetProcAddress_ptsz(
            name: *const c_char, place: *mut Handle, version: c_int, flags: u64
        ) => |call| lookup::answer(call, name, place);
        cuGetProcAddress_v2_ptsz(
            name: *const c_char, place: *mut Handle, version: c_int, flags: u64,
            status: *mut c_int
        ) => |call| lookup::answer(call, name, place);
    }
    Cuda Context {
        cuCtxCreate(place: *mut Handle, flags: u32, device: c_int) => |call| context::switched(call);
        cuCtxCreate_v2(place: *mut Handle, flags: u32, device: c_int)
            => |call| context::switched(call);
        cuCtxCreate_v3(
            place: *mut Handle, affinity: *mut c_void, count: c_int, flags: u32, device: c_int
        ) => |call| context::switched(call);
        cuCtxCreate_v4(place: *mut Handle, parameters: *mut c_void, flags: u32, device: c_int)
            => |call| context::switched(call);
        cuGLCtxCreate(place: *mut Handle, flags: u32, device: c_int)
            => |call| context::switched(call);
        cuGLCtxCreate_v2(place: *mut Handle, flags: u32, device: c_int)
            => |call| context::switched(call);
        cuCtxAttach(place: *mut Handle, flags: u32) => |call| context::switched(call);
        cuCtxDetach(ctx: Handle) => |call| context::detached(call, ctx);
        cuCtxSetCurrent(ctx: Handle) => |call| context::switched(call);
        cuCtxPushCurrent(ctx: Handle) => |call| context::switched(call);
        cuCtxPushCurrent_v2(ctx: Handle) => |call| context::switched(call);
        cuCtxPopCurrent(place: *mut Handle) => |call| context::switched(call);
        cuCtxPopCurrent_v2(place: *mut Handle) => |call| context::switched(call);
        cuCtxDestroy(ctx: Handle) => |call| context::destroyed(call, ctx);
        cuCtxDestroy_v2(ctx: Handle) => |call| context::destroyed(call, ctx);
        cuDevicePrimaryCtxRetain(place: *mut Handle, device: c_int)
            => |call| context::retained(call, place, device);
        cuDevicePrimaryCtxRelease(device: c_int) => |call| context::released(call, device);
        cuDevicePrimaryCtxRelease_v2(device: c_int) => |call| context::released(call, device);
        cuDevicePrimaryCtxReset(device: c_int) => |call| context::reset(call, device);
        cuDevicePrimaryCtxReset_v2(device: c_int) => |call| context::reset(call, device);
    }
    Cuda Memory {
        cuMemAlloc_v2(place: *mut u64, bytes: usize)
            => |call| watch::allocation(|| memory::allocate(call, place, bytes));
        cuMemAllocManaged(place: *mut u64, bytes: usize, flags: u32)
            => |call| watch::allocation(|| memory::allocate(call, place, bytes));
        cuMemAllocPitch_v2(
            place: *mut u64, pitch: *mut usize, width: usize, height: usize, element: u32
        ) => |call| memory::allocate_rows(call, place, pitch, [width, height]);
        cuMemFree_v2(pointer: u64) => |call| watch::allocation(|| memory::free(call, pointer));
    }
    Cuda Pools {
        cuMemAllocAsync(place: *mut u64, bytes: usize, stream: Handle)
            => |call| pools::allocate(call, &Request { place, bytes, pool: None, stream });
        cuMemAllocAsync_ptsz(place: *mut u64, bytes: usize, stream: Handle) => |call| {
            let stream = per_thread(stream);
            pools::allocate(call, &Request { place, bytes, pool: None, stream })
        };
        cuMemAllocFromPoolAsync(place: *mut u64, bytes: usize, pool: Handle, stream: Handle)
            => |call| pools::allocate(call, &Request { place, bytes, pool: Some(pool), stream });
        cuMemAllocFromPoolAsync_ptsz(place: *mut u64, bytes: usize, pool: Handle, stream: Handle)
            => |call| {
                let stream = per_thread(stream);
                pools::allocate(call, &Request { place, bytes, pool: Some(pool), stream })
            };
        cuMemFreeAsync(pointer: u64, stream: Handle) => |call| pools::free(call, pointer);
        cuMemFreeAsync_ptsz(pointer: u64, stream: Handle) => |call| pools::free(call, pointer);
        cuMemPoolTrimTo(pool: Handle, keep: usize) => |call| pools::followed(call);
        cuMemPoolDestroy(pool: Handle) => |call| pools::destroy(call, pool);
        cuMemPoolCreate(place: *mut Handle, properties: *const Properties)
            => |call| pools::create(call, place, properties);
        cuMemGetDefaultMemPool(place: *mut Handle, location: *const Location, kind: c_int)
            => |call| pools::found(call, place, location);
        cuMemGetMemPool(place: *mut Handle, location: *const Location, kind: c_int)
            => |call| pools::found(call, place, location);
    }
    Cuda GraphMemory {
        cuDeviceGraphMemTrim(device: c_int) => |call| graph_memory::trimmed(call, device);
        cuGraphAddMemAllocNode(
            node: *mut Handle, graph: Handle, before: *const Handle, count: usize,
            parameters: *mut c_void
        ) => |call| graph_memory::note(call);
        cuGraphAddNode(
            node: *mut Handle, graph: Handle, before: *const Handle, count: usize,
            parameters: *mut c_int
        ) => |call| graph_memory::note_node(call, parameters);
        cuGraphAddNode_v2(
            node: *mut Handle, graph: Handle, before: *const Handle, edges: *const c_void,
            count: usize, parameters: *mut c_int
        ) => |call| graph_memory::note_node(call, parameters);
        cuGraphAddNode_v3(
            node: *mut Handle, graph: Handle, before: *const Handle, edges: *const c_void,
            count: usize, parameters: *mut c_int
        ) => |call| graph_memory::note_node(call, parameters);
        cuGraphUpload(graph: Handle, stream: Handle)
            => |call| graph_memory::charged(call, graph, stream);
        cuGraphUpload_ptsz(graph: Handle, stream: Handle)
            => |call| graph_memory::charged(call, graph, per_thread(stream));
    }
    Cuda VirtualMemory {
        cuMemCreate(place: *mut u64, bytes: usize, properties: *const Properties, flags: u64)
            => |call| virtual_memory::create(call, place, bytes, properties);
        cuMemRelease(handle: u64) => |call| virtual_memory::release(call, handle);
        cuMemRetainAllocationHandle(place: *mut u64, address: u64)
            => |call| virtual_memory::retain(call, place, address);
        cuMemMap(address: u64, bytes: usize, offset: usize, handle: u64, flags: u64)
            => |call| virtual_memory::map(call, address, bytes, handle);
        cuMemUnmap(address: u64, bytes: usize)
            => |call| virtual_memory::unmap(call, address, bytes);
        cuMemMapArrayAsync(list: *const Part, count: u32, stream: Handle)
            => |call| virtual_memory::map_parts(call, list, count);
        cuMemMapArrayAsync_ptsz(list: *const Part, count: u32, stream: Handle)
            => |call| virtual_memory::map_parts(call, list, count);
    }
    Cuda Arrays {
        cuArrayCreate_v2(place: *mut Handle, plane: *const Plane)
            => |call| arrays::create_plane(call, place, plane);
        cuArray3DCreate_v2(place: *mut Handle, block: *const Block)
            => |call| arrays::create_block(call, place, block);
        cuMipmappedArrayCreate(place: *mut Handle, block: *const Block, levels: u32)
            => |call| arrays::create_levels(call, place, block, levels);
        cuArrayDestroy(array: Handle) => |call| arrays::destroy(call, array);
        cuMipmappedArrayDestroy(array: Handle) => |call| arrays::destroy(call, array);
    }
    Cuda Submission {
        cuLaunchKernel(
            function: Handle, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32,
            stream: Handle, parameters: Parameters, extra: Parameters
        ) => |call| {
            submit(call, launch(kernel(function, [gx, gy, gz], [bx, by, bz], shared), stream))
        };
        cuLaunchKernel_ptsz(
            function: Handle, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32,
            stream: Handle, parameters: Parameters, extra: Parameters
        ) => |call| {
            let kernel = kernel(function, [gx, gy, gz], [bx, by, bz], shared);
            submit(call, launch(kernel, per_thread(stream)))
        };
        cuLaunchKernelEx(
            config: *const LaunchConfig, function: Handle, parameters: Parameters,
            extra: Parameters
        ) => |call| match config.is_null() {
            true => call(),
            false => submit(call, configured(config, function)),
        };
        cuLaunchKernelEx_ptsz(
            config: *const LaunchConfig, function: Handle, parameters: Parameters,
            extra: Parameters
        ) => |call| match config.is_null() {
            true => call(),
            false => {
                let plain = configured(config, function);
                submit(call, Submission { stream: per_thread(plain.stream), ..plain })
            }
        };
        cuLaunchCooperativeKernel(
            function: Handle, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32,
            stream: Handle, parameters: Parameters
        ) => |call| {
            submit(call, launch(kernel(function, [gx, gy, gz], [bx, by, bz], shared), stream))
        };
        cuLaunchCooperativeKernel_ptsz(
            function: Handle, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32,
            stream: Handle, parameters: Parameters
        ) => |call| {
            let kernel = kernel(function, [gx, gy, gz], [bx, by, bz], shared);
            submit(call, launch(kernel, per_thread(stream)))
        };
        cuLaunchCooperativeKernelMultiDevice(list: *mut DeviceLaunch, count: u32, flags: u32)
            => |call| match list.is_null() || count == 0 {
                true => call(),
                false => submit(call, first_of(list)),
            };
        cuLaunch(function: Handle)
            => |call| submit(call, grid_launch(function, 1, 1, std::ptr::null_mut()));
        cuLaunchGrid(function: Handle, width: c_int, height: c_int)
            => |call| submit(call, grid_launch(function, width, height, std::ptr::null_mut()));
        cuLaunchGridAsync(function: Handle, width: c_int, height: c_int, stream: Handle)
            => |call| submit(call, grid_launch(function, width, height, stream));
        cuGraphLaunch(graph: Handle, stream: Handle) => |call| graphs::launch(call, graph, stream);
        cuGraphLaunch_ptsz(graph: Handle, stream: Handle)
            => |call| graphs::launch(call, graph, per_thread(stream));
    }
    Cuda Graphs {
        cuGraphInstantiate(
            place: *mut Handle, graph: Handle, node: *mut Handle, log: *mut c_char, length: usize
        ) => |call| graphs::instantiate(call, place, graph);
        cuGraphInstantiate_v2(
            place: *mut Handle, graph: Handle, node: *mut Handle, log: *mut c_char, length: usize
        ) => |call| graphs::instantiate(call, place, graph);
        cuGraphInstantiateWithFlags(place: *mut Handle, graph: Handle, flags: u64)
            => |call| graphs::instantiate(call, place, graph);
        cuGraphInstantiateWithParams(place: *mut Handle, graph: Handle, parameters: *mut c_void)
            => |call| graphs::instantiate(call, place, graph);
        cuGraphInstantiateWithParams_ptsz(
            place: *mut Handle, graph: Handle, parameters: *mut c_void
        ) => |call| graphs::instantiate(call, place, graph);
    }
    Cuda Capture {
        cuStreamBeginCapture(stream: Handle) => |call| capture::begin(call, stream);
        cuStreamBeginCapture_ptsz(stream: Handle) => |call| capture::begin(call, per_thread(stream));
        cuStreamBeginCapture_v2(stream: Handle, mode: c_int) => |call| capture::begin(call, stream);
        cuStreamBeginCapture_v2_ptsz(stream: Handle, mode: c_int) => |call| capture::begin(call, per_thread(stream));
        cuStreamBeginCaptureToGraph(
            stream: Handle, graph: Handle, before: *const Handle, edges: *const c_void,
            count: usize, mode: c_int
        ) => |call| capture::begin(call, stream);
        cuStreamBeginCaptureToGraph_ptsz(
            stream: Handle, graph: Handle, before: *const Handle, edges: *const c_void,
            count: usize, mode: c_int
        ) => |call| capture::begin(call, per_thread(stream));
        cuStreamBeginRecaptureToGraph(
            stream: Handle, mode: c_int, graph: Handle, callback: *mut c_void, data: *mut c_void
        ) => |call| capture::begin(call, stream);
        cuStreamBeginRecaptureToGraph_ptsz(
            stream: Handle, mode: c_int, graph: Handle, callback: *mut c_void, data: *mut c_void
        ) => |call| capture::begin(call, per_thread(stream));
        cuStreamEndCapture(stream: Handle, place: *mut Handle) => |call| capture::end(call, stream);
        cuStreamEndCapture_ptsz(stream: Handle, place: *mut Handle) => |call| capture::end(call, per_thread(stream));
        cuStreamDestroy(stream: Handle) => |call| capture::destroyed(call, stream);
        cuStreamDestroy_v2(stream: Handle) => |call| capture::destroyed(call, stream);
    }
    Cuda Copies {
        cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize)
            => |call| copies::to_card(call, Copied::of(from as u64, bytes, None));
        cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize)
            => |call| copies::from_card(call, Copied::of(to as u64, bytes, None));
        cuMemcpy(to: u64, from: u64, bytes: usize)
            => |call| copies::between(call, to, Copied::of(from, bytes, None));
        cuMemcpyHtoD_v2_ptds(to: u64, from: *const c_void, bytes: usize)
            => |call| copies::to_card(call, Copied::of(from as u64, bytes, None));
        cuMemcpyDtoH_v2_ptds(to: *mut c_void, from: u64, bytes: usize)
            => |call| copies::from_card(call, Copied::of(to as u64, bytes, None));
        cuMemcpy_ptds(to: u64, from: u64, bytes: usize)
            => |call| copies::between(call, to, Copied::of(from, bytes, None));
        cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle)
            => |call| copies::to_card(call, Copied::of(from as u64, bytes, Some(stream)));
        cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle)
            => |call| copies::from_card(call, Copied::of(to as u64, bytes, Some(stream)));
        cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: Handle)
            => |call| copies::between(call, to, Copied::of(from, bytes, Some(stream)));
        cuMemcpyHtoDAsync_v2_ptsz(to: u64, from: *const c_void, bytes: usize, stream: Handle)
            => |call| copies::to_card(call, Copied::of(from as u64, bytes, Some(per_thread(stream))));
        cuMemcpyDtoHAsync_v2_ptsz(to: *mut c_void, from: u64, bytes: usize, stream: Handle)
            => |call| copies::from_card(call, Copied::of(to as u64, bytes, Some(per_thread(stream))));
        cuMemcpyAsync_ptsz(to: u64, from: u64, bytes: usize, stream: Handle)
            => |call| copies::between(call, to, Copied::of(from, bytes, Some(per_thread(stream))));
    }
    Cuda Waiting {
        cuCtxSynchronize() => |call| waited(Awaited::All, || pools::followed(call));
        cuCtxSynchronize_v2(ctx: Handle) => |call| waited(Awaited::All, || pools::followed(call));
        cuStreamSynchronize(stream: Handle)
            => |call| waited(awaited(stream), || pools::followed(call));
        cuStreamSynchronize_ptsz(stream: Handle)
            => |call| waited(awaited(per_thread(stream)), || pools::followed(call));
        cuEventSynchronize(event: Handle) => |call| waited(Awaited::Event, || pools::followed(call));
    }
    Cuda Shown {
        cuMemGetInfo_v2(free: *mut usize, total: *mut usize)
            => |call| shown::memory_info(call, free, total);
        cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int)
            => |call| shown::device_total(call, bytes, device);
    }
    Nvml Shown {
        nvmlDeviceGetMemoryInfo(device: Handle, place: *mut Memory)
            => |call| nvml::memory(call, device, place);
        nvmlDeviceGetMemoryInfo_v2(device: Handle, place: *mut MemoryWithReserve)
            => |call| nvml::memory_with_reserve(call, device, place);
        nvmlDeviceGetComputeRunningProcesses(
            device: Handle, count: *mut u32, entries: *mut ShortProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetComputeRunningProcesses_v2(
            device: Handle, count: *mut u32, entries: *mut LongProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetComputeRunningProcesses_v3(
            device: Handle, count: *mut u32, entries: *mut LongProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetGraphicsRunningProcesses(
            device: Handle, count: *mut u32, entries: *mut ShortProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetGraphicsRunningProcesses_v2(
            device: Handle, count: *mut u32, entries: *mut LongProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetGraphicsRunningProcesses_v3(
            device: Handle, count: *mut u32, entries: *mut LongProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetMPSComputeRunningProcesses(
            device: Handle, count: *mut u32, entries: *mut ShortProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetMPSComputeRunningProcesses_v2(
            device: Handle, count: *mut u32, entries: *mut LongProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetMPSComputeRunningProcesses_v3(
            device: Handle, count: *mut u32, entries: *mut LongProcess
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetProcessUtilization(
            device: Handle, entries: *mut UtilizationSample, count: *mut u32, since_us: u64
        ) => |call| nvml::processes(call, device, count, entries);
        nvmlDeviceGetProcessesUtilizationInfo(device: Handle, list: *mut UtilizationList)
            => |call| nvml::utilization_list(call, device, list);
        nvmlDeviceGetRunningProcessDetailList(device: Handle, list: *mut DetailedList)
            => |call| nvml::detailed_list(call, device, list);
        nvmlDeviceGetAccountingPids(device: Handle, count: *mut u32, pids: *mut u32)
            => |call| nvml::processes(call, device, count, pids);
    }
}
