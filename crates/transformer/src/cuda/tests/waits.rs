//! What the host sees of kernels that are wrong: without this, the other tests would say less.

use std::cell::Cell;

use crate::cuda::emulated::{Library, Shape};
use crate::cuda::launch::Arguments;
use crate::cuda::record::{Address, record};
use crate::cuda::source::for_host;

record! {
    /// Of every kernel below.
    BrokenArgs {
        out: Address,
    }
}

type Found = Result<Vec<u32>, String>;

const BROKEN: &str = "
struct BrokenArgs {
    u32 *out; // [64]
};
struct Numbers {
    u32 at[64];
};
// Reads what another thread may not have written yet.
KERNEL(forgets_a_barrier, BrokenArgs, 64) {
    SHARED(Numbers, numbers);
    numbers.at[threadIdx.x] = threadIdx.x;
    a.out[threadIdx.x] = numbers.at[63 - threadIdx.x];
}
KERNEL(has_its_barrier, BrokenArgs, 64) {
    SHARED(Numbers, numbers);
    numbers.at[threadIdx.x] = threadIdx.x;
    __syncthreads();
    a.out[threadIdx.x] = numbers.at[63 - threadIdx.x];
}
KERNEL(waits_in_part, BrokenArgs, 64) {
    if (threadIdx.x < 40) __syncthreads();
    a.out[threadIdx.x] = 0;
}
KERNEL(waits_at_two_places, BrokenArgs, 64) {
    if (threadIdx.x < 40) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    a.out[threadIdx.x] = 0;
}
KERNEL(shuffles_in_part, BrokenArgs, 64) {
    if (threadIdx.x % 2 == 0) a.out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x, 2);
}
KERNEL(multiplies_in_part, BrokenArgs, 64) {
    Block block = {};
    BlockSums sums = {};
    if (threadIdx.x % 2 == 0) add_by_rows(sums, block, block);
    a.out[threadIdx.x] = block.at[0];
}
struct Halves {
    bf16 at[16 * 16];
};
KERNEL(loads_from_within_a_vector, BrokenArgs, 64) {
    SHARED(Halves, halves);
    a.out[threadIdx.x] = load_block(&halves.at[2], 8).at[0];
}
KERNEL(loads_from_beyond, BrokenArgs, 64) {
    SHARED(Halves, halves);
    a.out[threadIdx.x] = load_block(&halves.at[0], 24).at[0];
}
KERNEL(shares_more_than_it_has, BrokenArgs, 64) {
    SHARED(Numbers, numbers);
    if (threadIdx.x == 0) (&numbers.at[0])[64 + blockIdx.x] = 1;
}
";

/// What a kernel leaves in 64 numbers, or what is wrong with it; with as many threads and bytes of
/// shared memory.
fn run(library: &Library, kernel: &str, [threads, bytes]: [u32; 2], seed: u64) -> Found {
    let out = vec![Cell::new(0_u32); 64];
    let address = Address(out[0].as_ptr().expose_provenance() as u64);
    let arguments = &Arguments::new(BrokenArgs { out: address });
    let (grid, block, shared_bytes) = ([1, 1, 1], [threads, 1, 1], bytes);
    library.run(kernel, &Shape { grid, block, shared_bytes, arguments, seed })?;
    Ok(out.iter().map(Cell::get).collect())
}

#[test]
fn what_is_wrong_with_a_kernel_is_seen() {
    let library = match Library::of(&for_host(BROKEN)) {
        Ok(library) => library,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let expected: Vec<u32> = (0..64).rev().collect();
    assert_eq!(run(&library, "has_its_barrier", [64, 256], 1).unwrap(), expected);
    let forgetful = [1, 2].map(|seed| run(&library, "forgets_a_barrier", [64, 256], seed).unwrap());
    assert_ne!(forgetful[0], forgetful[1], "an order of threads shows");
    assert!(forgetful.iter().all(|found| *found != expected));

    let apart = "threads of block (0, 0, 0) wait at different places";
    for (kernel, shape, message) in [
        ("waits_in_part", [64, 0], format!("waits_in_part: {apart}")),
        ("waits_at_two_places", [64, 0], format!("waits_at_two_places: {apart}")),
        ("shuffles_in_part", [64, 0], format!("shuffles_in_part: {apart}")),
        ("multiplies_in_part", [64, 0], format!("multiplies_in_part: {apart}")),
        (
            "loads_from_within_a_vector",
            [64, 512],
            "a row of a matrix begins at no multiple of 16 bytes".into(),
        ),
        ("loads_from_beyond", [64, 512], "a row of a matrix lies outside of shared memory".into()),
        (
            "shares_more_than_it_has",
            [64, 256],
            "shares_more_than_it_has writes beyond its 256 bytes of shared memory".into(),
        ),
        ("has_its_barrier", [32, 256], "has_its_barrier has blocks of 64 threads, not 32".into()),
        (
            "has_its_barrier",
            [64, 128],
            "has_its_barrier_body: a block shares 256 bytes, not 128".into(),
        ),
    ] {
        assert_eq!(run(&library, kernel, shape, 1), Err(message));
    }
}
