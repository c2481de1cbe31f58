//! Products with frozen weights in bf16 by AMX, the matrix unit of Intel's server processors from
//! Sapphire Rapids on.
//!
//! Rust has no stable intrinsics for it, so the six instructions stand in inline assembly, in
//! [`tiles`]. Here is what surrounds them: who may use them, and the walk over panels and rows.

#[cfg(test)]
mod emulator;
#[cfg(test)]
mod tests;
mod tiles;

use std::arch::x86_64::{__cpuid_count, _xgetbv, CpuidResult};

use super::bf16::{Line, Panels16, ROWS};
use super::lanes::{Isa, LANES, Lanes, kernel};
use super::panels::{Operands, PANEL, Place};
use crate::backend::Target;

use self::tiles::{Sums, Tiles};

/// Proof that this process may use AMX.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amx {
    pub(super) isa: Isa,
}

impl Amx {
    /// The proof, if the processor has AMX, the system lets this process use it, and a small product
    /// comes out right. Takes some microseconds.
    pub(super) fn detect(isa: Isa) -> Option<Self> {
        // In this order, since each makes it safe to try the next.
        let amx = (has_instructions() && is_permitted()).then_some(Self { isa })?;
        amx.multiplies_rightly().then_some(amx)
    }

    /// The proof, or else one that holds by emulation.
    #[cfg(test)]
    pub(super) fn detect_or_emulate(isa: Isa) -> Self {
        Self::detect(isa).unwrap_or_else(|| {
            emulator::install();
            Self { isa }
        })
    }

    /// `y = x · panels (+ bias)` or `y += x · panels (+ bias)`, where the operands passed their check
    /// and `x` holds their rows rounded, in whole multiples of [`ROWS`].
    pub(super) fn multiply(self, panels: &Panels16, x: &[Line], operands: Operands<'_>) {
        let Operands { bias, y, target, .. } = operands;
        let (steps, n) = (panels.row_lines(), panels.columns());
        // One configuration serves every shape, since edges are padded. It is loaded for each product
        // and not once for each thread: tiles that are released between products need not be saved
        // when the system switches threads, which is 8 KiB, and let the core sleep.
        let tiles = Tiles::load(self);
        let mut sums = Sums::ZERO;
        let rows = (PASS_BYTES / (steps * size_of::<Line>())).max(1).next_multiple_of(2 * ROWS);
        for (x, y) in x.chunks(rows * steps).zip(y.chunks_mut(rows * n)) {
            for (at, panel) in panels.panels().enumerate() {
                let place = Place { column: at * PANEL, bias, target };
                for (x, y) in x.chunks(2 * ROWS * steps).zip(y.chunks_mut(2 * ROWS * n)) {
                    tiles.multiply(panel, x, &mut sums);
                    finish(self.isa, &place, &sums, n, y);
                }
            }
        }
    }

    /// Whether a product of small whole numbers is right, which bf16 and f32 hold exactly. A virtual
    /// machine may show AMX and not carry it out.
    fn multiplies_rightly(self) -> bool {
        let (m, k, n) = (2 * ROWS + 3, 5 * LANES, PANEL + 1);
        let value = |i: usize| ((i * 7 + i / 5) % 11) as f32 - 5.0;
        let x: Vec<f32> = (0..m * k).map(value).collect();
        let panels = Panels16::new(k, n, |p, j| value(3 * p + j));
        let mut y = vec![0.0; m * n];
        let operands = Operands { x: &x, bias: &[], y: &mut y, target: Target::Replace };
        panels.multiply(self.into(), &mut Vec::new(), operands);
        y.iter().enumerate().all(|(at, y)| {
            let row = x[at / n * k..][..k].iter().enumerate();
            *y == row.map(|(p, x)| x * value(3 * p + at % n)).sum::<f32>()
        })
    }
}

/// Bytes of left-hand rows that stay in the second-level cache while panels stream past.
const PASS_BYTES: usize = 512 << 10;

kernel! {
    fn finish(place: &Place<'_>, sums: &Sums, n: usize, y: &mut [f32]) {
        for (y, sums) in y.chunks_exact_mut(n).zip(sums.rows()) {
            place.finish([Lanes::load(sums), Lanes::load(&sums[LANES..])], y);
        }
    }
}

/// Whether the processor has tiles of the size used here and multiplies bf16, and the system keeps
/// their state.
fn has_instructions() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const TILE_STATES: u64 = 0b11 << 17;
    // Palette 1: 8 tiles of 1024 bytes in all 8192, rows of 64 bytes, 16 rows.
    const TOTAL_AND_TILE_BYTES: u32 = 1024 << 16 | 8192;
    const TILES_AND_ROW_BYTES: u32 = 8 << 16 | 64;

    if cpuid(0, 0).eax < 0x1D || cpuid(1, 0).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: OSXSAVE says that the instruction may be used.
    let kept = unsafe { _xgetbv(0) };
    let palette = cpuid(0x1D, 1);
    cpuid(7, 0).edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE
        && kept & TILE_STATES == TILE_STATES
        && palette.eax == TOTAL_AND_TILE_BYTES
        && palette.ebx == TILES_AND_ROW_BYTES
        && palette.ecx & 0xFFFF == 16
}

fn cpuid(leaf: u32, part: u32) -> CpuidResult {
    // SAFETY: every x86-64 processor has the instruction. Newer standard libraries call it safe.
    #[allow(unused_unsafe)]
    unsafe {
        __cpuid_count(leaf, part)
    }
}

/// Asks Linux, which keeps tile data only for processes that have asked, because it enlarges what a
/// switch of threads and a signal must save. Threads inherit the permission, and asking again is
/// harmless. An older system, or a sandbox that filters the call, refuses.
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}
