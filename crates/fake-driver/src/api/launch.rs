//! Launches of kernels.

use cotenant_fake_cards::Kernel;

use super::graph::Work;
use super::module::{self, Duration};
use super::stream;
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{In, List, Out, driver};
use crate::state::Handle;

/// How many blocks of how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
}

/// The driver's `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LaunchConfig {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    attributes: usize,
    attributes_len: u32,
}

/// The driver's `CUDA_LAUNCH_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LaunchParams {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    arguments: Arguments,
}

/// Where a kernel's arguments are.
pub(crate) type Arguments = List<In<u64>>;

/// `CU_LAUNCH_ATTRIBUTE_COOPERATIVE`, and how long an attribute is.
const COOPERATIVE: u32 = 2;
const ATTRIBUTE_BYTES: usize = 72;

driver! {
    4000 fn cuLaunchKernel(
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        _shared: u32,
        stream: Handle,
        arguments: Arguments,
        _extra: usize,
    ) / cuLaunchKernel_ptsz {
        let shape = Shape {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
        };
        launch(function, shape, stream, arguments)
    }

    11060 fn cuLaunchKernelEx(
        config: In<LaunchConfig>,
        function: Handle,
        arguments: Arguments,
        _extra: usize,
    ) / cuLaunchKernelEx_ptsz {
        let config = config.get()?;
        let shape = Shape { grid: config.grid, block: config.block };
        for at in 0..config.attributes_len as usize {
            let attribute = Out::<[u32; 3]>::at(config.attributes + at * ATTRIBUTE_BYTES).get()?;
            if attribute[0] == COOPERATIVE && attribute[2] != 0 {
                check_together(&shape)?;
            }
        }
        launch(function, shape, config.stream, arguments)
    }

    9000 fn cuLaunchCooperativeKernel(
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        _shared: u32,
        stream: Handle,
        arguments: Arguments,
    ) / cuLaunchCooperativeKernel_ptsz {
        let shape = Shape {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
        };
        check_together(&shape)?;
        launch(function, shape, stream, arguments)
    }

    9000 fn cuLaunchCooperativeKernelMultiDevice(
        launches: List<LaunchParams>,
        count: u32,
        _flags: u32,
    ) {
        for one in launches.get(count as usize)? {
            let shape = Shape { grid: one.grid, block: one.block };
            check_together(&shape)?;
            launch(one.function, shape, one.stream, one.arguments)?;
        }
        Ok(())
    }

    2000 fn cuLaunch(function: Handle) { launch_one(function, 1, 1, 0) }

    2000 fn cuLaunchGrid(function: Handle, width: i32, height: i32) {
        launch_one(function, width, height, 0)
    }

    2000 fn cuLaunchGridAsync(function: Handle, width: i32, height: i32, stream: Handle) {
        launch_one(function, width, height, stream)
    }
}

/// The kernel that a launch of this shape is.
pub(crate) fn kernel(
    function: Handle,
    shape: &Shape,
    arguments: Arguments,
) -> Result<Kernel, Code> {
    let spec = module::function_of(function)?.spec;
    let (blocks, threads) = (product(shape.grid), product(shape.block));
    if blocks == 0 || threads == 0 {
        return Err(cuda::INVALID_VALUE);
    }
    if threads > 1024 {
        return Err(cuda::LAUNCH_OUT_OF_RESOURCES);
    }
    let base_ns = match spec.duration {
        Duration::Ns(ns) => ns,
        Duration::Argument => arguments.first_number()?,
    };
    Ok(Kernel {
        duration_ns: base_ns.saturating_add(spec.ns_per_block.saturating_mul(blocks)),
        // More than any card has is a whole card.
        sms: spec.sms.unwrap_or(u32::MAX),
        count: 1,
    })
}

fn launch(function: Handle, shape: Shape, stream: Handle, arguments: Arguments) -> Outcome {
    let target = stream::resolve(stream)?;
    let kernel = kernel(function, &shape, arguments)?;
    stream::submit(&target, Work::Kernel(kernel))
}

/// The oldest interface, whose block is set apart and whose arguments too: they are taken as small.
fn launch_one(function: Handle, width: i32, height: i32, stream: Handle) -> Outcome {
    let grid = [width, height, 1].map(|one| u32::try_from(one).unwrap_or(0));
    launch(function, Shape { grid, block: [1; 3] }, stream, List::null())
}

/// How many a grid has of blocks, or a block of threads.
fn product(sides: [u32; 3]) -> u64 {
    sides.into_iter().fold(1, |all, side| all.saturating_mul(u64::from(side)))
}

/// All blocks of a cooperative launch must be on the card at once.
fn check_together(shape: &Shape) -> Outcome {
    let card = super::context::current()?.card;
    let sms = u64::from(super::device::facts(card as i32)?.sms);
    let (blocks, threads) = (product(shape.grid), product(shape.block));
    let each = (2048 / threads.clamp(1, 2048)).min(32);
    if blocks > sms * each { Err(cuda::COOPERATIVE_LAUNCH_TOO_LARGE) } else { Ok(()) }
}
