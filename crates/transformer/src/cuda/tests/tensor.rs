//! Blocks and products of tensor cores, against the tables of NVIDIA's manual: PTX ISA, "Matrix
//! Fragments for mma.m16n8k16 with floating point type" and "ldmatrix".

use std::cell::Cell;

use crate::cuda::emulated::{Library, Shape};
use crate::cuda::launch::Arguments;
use crate::cuda::record::{Address, record};
use crate::cuda::source::for_host;

record! {
    /// Of the kernel below.
    BlocksArgs {
        from: Address,
        blocks: Address,
        sums: Address,
    }
}

const KERNEL: &str = "
struct BlocksArgs {
    const u32 *from; // [2, 16, 16], whole numbers of two matrices
    u32 *blocks;     // [4, 32, 4]: both matrices as they lie, then both across
    float *sums;     // [2, 32, 8]: by rows and by columns
};
struct Matrices {
    bf16 at[2][16][24];
};
KERNEL(blocks, BlocksArgs, 32) {
    SHARED(Matrices, matrices);
    for (u32 i = threadIdx.x; i < 512; i += 32) {
        store(&matrices.at[i / 256][i / 16 % 16][i % 16], (float)a.from[i]);
    }
    __syncthreads();
    Block left = load_block(&matrices.at[0][0][0], 24), right = load_block(&matrices.at[1][0][0], 24);
    Block left_across = load_block_across(&matrices.at[0][0][0], 24);
    Block right_across = load_block_across(&matrices.at[1][0][0], 24);
    BlockSums rows, columns;
    rows.clear();
    columns.clear();
    add_by_rows(rows, left, right);
    add_by_columns(columns, left, right_across);
    for (u32 i = 0; i < 4; i++) {
        a.blocks[4 * lane() + i] = left.at[i];
        a.blocks[128 + 4 * lane() + i] = right.at[i];
        a.blocks[256 + 4 * lane() + i] = left_across.at[i];
        a.blocks[384 + 4 * lane() + i] = right_across.at[i];
    }
    for (u32 i = 0; i < 8; i++) {
        a.sums[8 * lane() + i] = rows.at[i / 4][i % 4];
        a.sums[256 + 8 * lane() + i] = columns.at[i / 4][i % 4];
    }
}
";

type Matrix = [[u32; 16]; 16];

/// A whole number as bf16, which holds it exactly.
fn bf16(number: u32) -> u32 {
    (number as f32).to_bits() >> 16
}

/// The pair of numbers that a lane's register `i` of a left factor holds, the first in the lower half:
/// `group = lane / 4`, `place = lane % 4`; rows `group` and `group + 8`, columns `2 place` and, from the
/// third register on, `2 place + 8`.
fn left_register(matrix: &Matrix, lane: usize, i: usize) -> u32 {
    let (row, column) = (lane / 4 + i % 2 * 8, lane % 4 * 2 + i / 2 * 8);
    bf16(matrix[row][column]) | bf16(matrix[row][column + 1]) << 16
}

/// Where a lane's sum `i` of eight columns is.
fn sum_place(lane: usize, i: usize) -> (usize, usize) {
    (lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2)
}

fn transposed(matrix: &Matrix) -> Matrix {
    std::array::from_fn(|row| std::array::from_fn(|column| matrix[column][row]))
}

#[test]
fn blocks_and_sums_lie_as_the_manual_lays_them_out() {
    let library = match Library::of(&for_host(KERNEL)) {
        Ok(library) => library,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let matrix = |seed: usize| -> Matrix {
        std::array::from_fn(|row| {
            std::array::from_fn(|column| ((row * 16 + column) * (2 * seed + 1) % 251) as u32)
        })
    };
    let (left, right) = (matrix(1), matrix(7));
    let from: Vec<Cell<u32>> =
        left.iter().chain(&right).flatten().map(|&number| Cell::new(number)).collect();
    let blocks = vec![Cell::new(0_u32); 4 * 128];
    let sums = vec![Cell::new(0.0_f32); 2 * 256];
    let arguments = &Arguments::new(BlocksArgs {
        from: Address(from[0].as_ptr().expose_provenance() as u64),
        blocks: Address(blocks[0].as_ptr().expose_provenance() as u64),
        sums: Address(sums[0].as_ptr().expose_provenance() as u64),
    });
    let (grid, block, shared_bytes) = ([1, 1, 1], [32, 1, 1], 2 * 16 * 24 * 2);
    library.run("blocks", &Shape { grid, block, shared_bytes, arguments, seed: 3 }).unwrap();

    let across = |matrix: &Matrix, lane: usize, i: usize| {
        // Its quarters come in the order of memory: the second is below the first.
        left_register(&transposed(matrix), lane, [0, 2, 1, 3][i])
    };
    for lane in 0..32 {
        for i in 0..4 {
            let found = |at: usize| blocks[128 * at + 4 * lane + i].get();
            assert_eq!(found(0), left_register(&left, lane, i), "lane {lane}, register {i}");
            assert_eq!(found(1), left_register(&right, lane, i), "lane {lane}, register {i}");
            assert_eq!(found(2), across(&left, lane, i), "lane {lane}, register {i}");
            assert_eq!(found(3), across(&right, lane, i), "lane {lane}, register {i}");
        }
        for (half, i) in (0..2).flat_map(|half| (0..4).map(move |i| (half, i))) {
            let (row, column) = sum_place(lane, i);
            let column = column + 8 * half;
            let products = |right: &dyn Fn(usize) -> u32| {
                (0..16).map(|p| left[row][p] * right(p)).sum::<u32>() as f32
            };
            let found = |at: usize| sums[256 * at + 8 * lane + 4 * half + i].get();
            assert_eq!(found(0), products(&|p| right[column][p]), "lane {lane}, sum {i} by rows");
            assert_eq!(
                found(1),
                products(&|p| right[p][column]),
                "lane {lane}, sum {i} by columns"
            );
        }
    }
}
