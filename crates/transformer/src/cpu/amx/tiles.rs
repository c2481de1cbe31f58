//! The tile registers: configured, multiplied and released.
//!
//! Eight registers of 16 rows of 64 bytes. `tdpbf16ps sums, x, panel` adds to 16 × 16 sums the
//! product of 16 rows of 16 pairs and 16 pairs of 16 columns. Four sums in flight hide its latency,
//! and each tile that is loaded serves two of them.

use std::arch::asm;
use std::marker::PhantomData;

use super::super::bf16::{Line, ROWS};
use super::super::lanes::LANES;
use super::super::panels::PANEL;
use super::Amx;

/// The sums of two tiles of rows and one panel: `[2 * ROWS, PANEL]`.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Sums(pub(super) [f32; 2 * ROWS * PANEL]);

impl Sums {
    pub(super) const ZERO: Self = Self([0.0; 2 * ROWS * PANEL]);

    /// `PANEL` sums for each row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.0.chunks_exact(PANEL)
    }
}

/// This thread's tile registers, configured until dropped.
pub(super) struct Tiles {
    /// Registers belong to a thread, so the value stays there.
    thread: PhantomData<*mut ()>,
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row, for each of sixteen registers, of which the palette has eight.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight registers whole.
static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Bytes from one pair of a panel to the next.
const PAIR_BYTES: usize = 4 * PANEL;

// The assembly below counts on these.
const _: () = assert!(size_of::<Config>() == 64 && size_of::<Line>() == 64);
const _: () = assert!(PAIR_BYTES == 128 && ROWS == 16 && LANES == 16);

impl Tiles {
    /// Configures the registers.
    pub(super) fn load(_proof: Amx) -> Self {
        // SAFETY: the proof says that the processor knows the instruction; it reads 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, preserves_flags));
        }
        Self { thread: PhantomData }
    }

    /// Multiplies one or two tiles of rows, each `steps` lines, by a panel of `steps` times sixteen
    /// pairs. One tile of rows leaves the other half of `sums` as it was.
    ///
    /// A sum is a chain over `k` in one order, whatever stands in other rows.
    pub(super) fn multiply(&self, panel: &[Line], x: &[Line], sums: &mut Sums) {
        let steps = panel.len() / (2 * LANES);
        let tiles = x.len() / (ROWS * steps.max(1));
        assert!(steps > 0 && panel.len() == steps * 2 * LANES, "a panel of whole tiles");
        assert!((1..=2).contains(&tiles) && x.len() == tiles * ROWS * steps, "one or two tiles");
        // SAFETY: `self` is the proof of the instructions and that the registers are configured:
        // nothing between `load` and here uses tiles. The lengths were just checked.
        unsafe {
            if tiles == 1 {
                one_tile(panel.as_ptr(), x.as_ptr(), sums, steps);
            } else {
                two_tiles(panel.as_ptr(), x.as_ptr(), sums, steps);
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as in `load`; nothing is left in the registers that anyone needs.
        unsafe {
            asm!("tilerelease", options(nostack, preserves_flags));
        }
    }
}

// A tile's address is a base and, as the index, the bytes from one row to the next; `* 1` says which
// of two registers is the index.

/// # Safety
/// The tiles are configured, `x` is two tiles of rows of `steps` lines, and `panel` is `steps` times
/// sixteen pairs. `steps` is not 0.
unsafe fn two_tiles(panel: *const Line, x: *const Line, sums: &mut Sums, steps: usize) {
    // SAFETY: the caller vouches for what is read, and `sums` has 32 rows of 128 bytes.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{upper} + {row} * 1]",
            "tileloadd tmm6, [{panel} + {pair} * 1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{panel} + {pair} * 1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {row} * 1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {upper}, 64",
            "add {lower}, 64",
            "add {panel}, 16 * 128",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {pair} * 1], tmm0",
            "tilestored [{sums} + {pair} * 1 + 64], tmm1",
            "tilestored [{sums} + {pair} * 1 + 16 * 128], tmm2",
            "tilestored [{sums} + {pair} * 1 + 16 * 128 + 64], tmm3",
            upper = inout(reg) x => _,
            lower = inout(reg) x.add(ROWS * steps) => _,
            panel = inout(reg) panel => _,
            steps = inout(reg) steps => _,
            row = in(reg) steps * size_of::<Line>(),
            pair = in(reg) PAIR_BYTES,
            sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// # Safety
/// As [`two_tiles`], but `x` is one tile of rows.
unsafe fn one_tile(panel: *const Line, x: *const Line, sums: &mut Sums, steps: usize) {
    // SAFETY: as in `two_tiles`; the first 16 rows of `sums` are written.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{upper} + {row} * 1]",
            "tileloadd tmm6, [{panel} + {pair} * 1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{panel} + {pair} * 1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {upper}, 64",
            "add {panel}, 16 * 128",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {pair} * 1], tmm0",
            "tilestored [{sums} + {pair} * 1 + 64], tmm1",
            upper = inout(reg) x => _,
            panel = inout(reg) panel => _,
            steps = inout(reg) steps => _,
            row = in(reg) steps * size_of::<Line>(),
            pair = in(reg) PAIR_BYTES,
            sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
