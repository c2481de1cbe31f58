//! What the host sees of kernels that are wrong: without this, the other tests would say less.

use super::host::{Library, Shape};
use crate::cuda::launch::Arguments;
use crate::cuda::record::{Address, record};
use crate::cuda::source::for_host;

record! {
    /// Of every kernel below.
    BrokenArgs {
        out: Address,
    }
}

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
KERNEL(shares_more_than_it_has, BrokenArgs, 64) {
    SHARED(Numbers, numbers);
    if (threadIdx.x == 0) (&numbers.at[0])[64 + blockIdx.x] = 1;
}
";

/// What the kernel leaves in 64 numbers, or what is wrong with it.
fn run(library: &Library, kernel: &str, seed: u64) -> Result<Vec<u32>, String> {
    let out = vec![std::cell::Cell::new(0_u32); 64];
    let address = Address(out[0].as_ptr().expose_provenance() as u64);
    let arguments = &Arguments::new(BrokenArgs { out: address });
    let shared_bytes =
        if kernel.contains("barrier") || kernel.contains("shares") { 256 } else { 0 };
    let shape = Shape { grid: [1, 1, 1], block: [64, 1, 1], shared_bytes, arguments, seed };
    library.run(kernel, &shape)?;
    Ok(out.iter().map(std::cell::Cell::get).collect())
}

#[test]
fn what_is_wrong_with_a_kernel_is_seen() {
    let library = match Library::of(&for_host(BROKEN)) {
        Ok(library) => library,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let expected: Vec<u32> = (0..64).rev().collect();
    assert_eq!(run(&library, "has_its_barrier", 1).unwrap(), expected);
    let forgetful = [1, 2].map(|seed| run(&library, "forgets_a_barrier", seed).unwrap());
    assert_ne!(forgetful[0], forgetful[1], "an order of threads shows");
    assert!(forgetful.iter().all(|found| *found != expected));
    for kernel in ["waits_in_part", "waits_at_two_places", "shuffles_in_part"] {
        let expected = format!("{kernel}: threads of block (0, 0, 0) wait at different places");
        assert_eq!(run(&library, kernel, 1).unwrap_err(), expected);
    }
    let message = run(&library, "shares_more_than_it_has", 1).unwrap_err();
    assert_eq!(message, "shares_more_than_it_has writes beyond its 256 bytes of shared memory");
}

#[test]
fn a_launch_that_does_not_fit_its_kernel_is_refused() {
    let library = match Library::of(&for_host(BROKEN)) {
        Ok(library) => library,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let arguments = &Arguments::new(BrokenArgs { out: Address::NONE });
    let right = Shape { grid: [1, 1, 1], block: [64, 1, 1], shared_bytes: 256, arguments, seed: 1 };
    let kernel = "has_its_barrier";
    let threads = Shape { block: [32, 1, 1], ..right };
    let message = library.run(kernel, &threads).unwrap_err();
    assert_eq!(message, "has_its_barrier has blocks of 64 threads, not 32");
    let out = vec![std::cell::Cell::new(0_u32); 64];
    let address = Address(out[0].as_ptr().expose_provenance() as u64);
    let arguments = &Arguments::new(BrokenArgs { out: address });
    let shared =
        Shape { grid: [1, 1, 1], block: [64, 1, 1], shared_bytes: 128, arguments, seed: 1 };
    let message = library.run(kernel, &shared).unwrap_err();
    assert_eq!(message, "has_its_barrier_body: a block shares 256 bytes, not 128");
}
