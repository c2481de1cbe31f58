//! Copies and fills. What is copied is there at once, while the stream takes its time for it.

use super::graph::Work;
use super::{memory, stream};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{self, In, driver};
use crate::state::Handle;

/// The driver's `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Copy2d {
    from: Side2d,
    to: Side2d,
    width: usize,
    height: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Side2d {
    x: usize,
    y: usize,
    kind: u32,
    host: u64,
    device: u64,
    array: usize,
    pitch: usize,
}

/// What shall happen to memory.
#[derive(Clone, Copy)]
enum Move {
    /// To, from, bytes; which of the two ends must be a card's.
    Copy { to: u64, from: u64, bytes: usize, checked: Checked },
    /// To, value, bytes of the value, how often.
    Fill { to: u64, value: u32, width: usize, count: usize },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checked {
    To,
    From,
    Both,
    Neither,
}

/// Whether a call returns before its work is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    UntilDone,
    No,
}

/// Up to this much of the program's own memory goes to a card without the call waiting.
const STAGED_BYTES_MAX: usize = 64 << 10;

const HOST: u32 = 1;
const DEVICE: u32 = 2;
const UNIFIED: u32 = 4;

driver! {
    3020 fn cuMemcpyHtoD_v2(to: u64, from: u64, bytes: usize) / cuMemcpyHtoD_v2_ptds {
        run(Move::Copy { to, from, bytes, checked: Checked::To }, 0, Wait::UntilDone)
    }

    3020 fn cuMemcpyDtoH_v2(to: u64, from: u64, bytes: usize) / cuMemcpyDtoH_v2_ptds {
        run(Move::Copy { to, from, bytes, checked: Checked::From }, 0, Wait::UntilDone)
    }

    3020 fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) / cuMemcpyDtoD_v2_ptds {
        run(Move::Copy { to, from, bytes, checked: Checked::Both }, 0, Wait::UntilDone)
    }

    4000 fn cuMemcpy(to: u64, from: u64, bytes: usize) / cuMemcpy_ptds {
        run(Move::Copy { to, from, bytes, checked: Checked::Neither }, 0, Wait::UntilDone)
    }

    3020 fn cuMemcpyHtoDAsync_v2(
        to: u64,
        from: u64,
        bytes: usize,
        stream: Handle,
    ) / cuMemcpyHtoDAsync_v2_ptsz {
        run(Move::Copy { to, from, bytes, checked: Checked::To }, stream, Wait::No)
    }

    3020 fn cuMemcpyDtoHAsync_v2(
        to: u64,
        from: u64,
        bytes: usize,
        stream: Handle,
    ) / cuMemcpyDtoHAsync_v2_ptsz {
        run(Move::Copy { to, from, bytes, checked: Checked::From }, stream, Wait::No)
    }

    3020 fn cuMemcpyDtoDAsync_v2(
        to: u64,
        from: u64,
        bytes: usize,
        stream: Handle,
    ) / cuMemcpyDtoDAsync_v2_ptsz {
        run(Move::Copy { to, from, bytes, checked: Checked::Both }, stream, Wait::No)
    }

    4000 fn cuMemcpyAsync(
        to: u64,
        from: u64,
        bytes: usize,
        stream: Handle,
    ) / cuMemcpyAsync_ptsz {
        run(Move::Copy { to, from, bytes, checked: Checked::Neither }, stream, Wait::No)
    }

    4000 fn cuMemcpyPeer(
        to: u64,
        _to_context: Handle,
        from: u64,
        _from_context: Handle,
        bytes: usize,
    ) / cuMemcpyPeer_ptds {
        run(Move::Copy { to, from, bytes, checked: Checked::Both }, 0, Wait::UntilDone)
    }

    4000 fn cuMemcpyPeerAsync(
        to: u64,
        _to_context: Handle,
        from: u64,
        _from_context: Handle,
        bytes: usize,
        stream: Handle,
    ) / cuMemcpyPeerAsync_ptsz {
        run(Move::Copy { to, from, bytes, checked: Checked::Both }, stream, Wait::No)
    }

    3020 fn cuMemcpy2D_v2(copy: In<Copy2d>) / cuMemcpy2D_v2_ptds {
        run_2d(copy.get()?, 0, Wait::UntilDone)
    }

    3020 fn cuMemcpy2DUnaligned_v2(copy: In<Copy2d>) / cuMemcpy2DUnaligned_v2_ptds {
        run_2d(copy.get()?, 0, Wait::UntilDone)
    }

    3020 fn cuMemcpy2DAsync_v2(copy: In<Copy2d>, stream: Handle) / cuMemcpy2DAsync_v2_ptsz {
        run_2d(copy.get()?, stream, Wait::No)
    }

    3020 fn cuMemsetD8_v2(to: u64, value: u8, count: usize) / cuMemsetD8_v2_ptds {
        run(Move::Fill { to, value: value.into(), width: 1, count }, 0, Wait::UntilDone)
    }

    3020 fn cuMemsetD16_v2(to: u64, value: u16, count: usize) / cuMemsetD16_v2_ptds {
        run(Move::Fill { to, value: value.into(), width: 2, count }, 0, Wait::UntilDone)
    }

    3020 fn cuMemsetD32_v2(to: u64, value: u32, count: usize) / cuMemsetD32_v2_ptds {
        run(Move::Fill { to, value, width: 4, count }, 0, Wait::UntilDone)
    }

    3020 fn cuMemsetD8Async(
        to: u64,
        value: u8,
        count: usize,
        stream: Handle,
    ) / cuMemsetD8Async_ptsz {
        run(Move::Fill { to, value: value.into(), width: 1, count }, stream, Wait::No)
    }

    3020 fn cuMemsetD16Async(
        to: u64,
        value: u16,
        count: usize,
        stream: Handle,
    ) / cuMemsetD16Async_ptsz {
        run(Move::Fill { to, value: value.into(), width: 2, count }, stream, Wait::No)
    }

    3020 fn cuMemsetD32Async(
        to: u64,
        value: u32,
        count: usize,
        stream: Handle,
    ) / cuMemsetD32Async_ptsz {
        run(Move::Fill { to, value, width: 4, count }, stream, Wait::No)
    }

    3020 fn cuMemsetD2D8_v2(to: u64, pitch: usize, value: u8, width: usize, height: usize)
        / cuMemsetD2D8_v2_ptds
    {
        let rows = Rows { to, pitch, value: value.into(), element: 1, width, height };
        fill_2d(rows, 0, Wait::UntilDone)
    }

    3020 fn cuMemsetD2D16_v2(to: u64, pitch: usize, value: u16, width: usize, height: usize)
        / cuMemsetD2D16_v2_ptds
    {
        let rows = Rows { to, pitch, value: value.into(), element: 2, width, height };
        fill_2d(rows, 0, Wait::UntilDone)
    }

    3020 fn cuMemsetD2D32_v2(to: u64, pitch: usize, value: u32, width: usize, height: usize)
        / cuMemsetD2D32_v2_ptds
    {
        let rows = Rows { to, pitch, value, element: 4, width, height };
        fill_2d(rows, 0, Wait::UntilDone)
    }

    3020 fn cuMemsetD2D32Async(
        to: u64,
        pitch: usize,
        value: u32,
        width: usize,
        height: usize,
        stream: Handle,
    ) / cuMemsetD2D32Async_ptsz {
        fill_2d(Rows { to, pitch, value, element: 4, width, height }, stream, Wait::No)
    }

    8000 fn cuMemPrefetchAsync(
        address: u64,
        bytes: usize,
        _device: i32,
        stream: Handle,
    ) / cuMemPrefetchAsync_ptsz {
        let target = stream::resolve(stream)?;
        memory::check_range(&target.driver.tables(), address, bytes)?;
        stream::submit(&target, Work::Copy(bytes as u64))
    }
}

fn run(what: Move, stream: Handle, wait: Wait) -> Outcome {
    let target = stream::resolve(stream)?;
    if wait == Wait::UntilDone {
        stream::refuse_capture(&target)?;
    }
    let bytes = {
        let tables = target.driver.tables();
        let check = |address, bytes| memory::check_range(&tables, address, bytes);
        match what {
            Move::Copy { to, from, bytes, checked } => {
                if matches!(checked, Checked::To | Checked::Both) {
                    check(to, bytes)?;
                }
                if matches!(checked, Checked::From | Checked::Both) {
                    check(from, bytes)?;
                }
                if (to == 0 || from == 0) && bytes > 0 {
                    return Err(cuda::INVALID_VALUE);
                }
                bytes
            }
            Move::Fill { to, width, count, .. } => {
                let bytes = width.checked_mul(count).ok_or(cuda::INVALID_VALUE)?;
                check(to, bytes)?;
                bytes
            }
        }
    };
    let is_waiting = wait == Wait::UntilDone || is_staged(&target, what, bytes);
    stream::submit(&target, Work::Copy(bytes as u64))?;
    perform(what);
    if is_waiting { stream::synchronize(&target) } else { Ok(()) }
}

/// Whether the host's end is memory that the driver does not know, which a card cannot reach by
/// itself: then no such call returns before it is done, but that of a little to a card.
fn is_staged(target: &stream::Target, what: Move, bytes: usize) -> bool {
    let Move::Copy { to, from, .. } = what else { return false };
    let tables = target.driver.tables();
    if tables.captures.is_capturing(target.id) {
        return false;
    }
    let is_known = |address| memory::check_range(&tables, address, bytes).is_ok();
    !is_known(to) || !is_known(from) && bytes > STAGED_BYTES_MAX
}

fn perform(what: Move) {
    match what {
        Move::Copy { to, from, bytes, .. } => ffi::copy(to, from, bytes),
        Move::Fill { to, value, width, count } => ffi::fill(to, value, width, count),
    }
}

/// Rows that are to be filled.
#[derive(Clone, Copy)]
struct Rows {
    to: u64,
    pitch: usize,
    value: u32,
    element: usize,
    width: usize,
    height: usize,
}

/// Fills row by row, as one piece of work.
fn fill_2d(rows: Rows, stream: Handle, wait: Wait) -> Outcome {
    let target = stream::resolve(stream)?;
    let Rows { to, pitch, value, element, width, height } = rows;
    let row = width.checked_mul(element).ok_or(cuda::INVALID_VALUE)?;
    let bytes = row.checked_mul(height).ok_or(cuda::INVALID_VALUE)?;
    if pitch < row {
        return Err(cuda::INVALID_VALUE);
    }
    for at in 0..height as u64 {
        let start = to + at * pitch as u64;
        memory::check_range(&target.driver.tables(), start, row)?;
        ffi::fill(start, value, element, width);
    }
    stream::submit(&target, Work::Copy(bytes as u64))?;
    match wait {
        Wait::UntilDone => stream::synchronize(&target),
        Wait::No => Ok(()),
    }
}

/// Copies row by row.
fn run_2d(copy: Copy2d, stream: Handle, wait: Wait) -> Outcome {
    let target = stream::resolve(stream)?;
    let starts = (start(&copy.from)?, start(&copy.to)?);
    let pitches = [copy.from.pitch, copy.to.pitch].map(|pitch| pitch.max(copy.width) as u64);
    for row in 0..copy.height as u64 {
        let (from, to) = (starts.0 + row * pitches[0], starts.1 + row * pitches[1]);
        for (side, address) in [(&copy.from, from), (&copy.to, to)] {
            if side.kind == DEVICE {
                memory::check_range(&target.driver.tables(), address, copy.width)?;
            }
        }
        ffi::copy(to, from, copy.width);
    }
    stream::submit(&target, Work::Copy((copy.width * copy.height) as u64))?;
    match wait {
        Wait::UntilDone => stream::synchronize(&target),
        Wait::No => Ok(()),
    }
}

fn start(side: &Side2d) -> Result<u64, Code> {
    let base = match side.kind {
        HOST => side.host,
        DEVICE | UNIFIED => side.device,
        // Nothing is in an array here.
        _ => return Err(cuda::NOT_SUPPORTED),
    };
    Ok(base + (side.y * side.pitch + side.x) as u64)
}
