//! What each kernel takes, and the least that it moves and computes.

use std::collections::BTreeMap;

use super::driver::{CudaError, Mark};
use super::launch::Cost;

/// What all launches of a kernel came to.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelUse {
    /// The kernel's name; `product` for those by cuBLASLt.
    pub kernel: &'static str,
    /// How often it was launched.
    pub launches: u64,
    /// Milliseconds that the card took, with a microsecond or two a launch for the marks around it.
    pub ms: f64,
    /// Bytes that it reads and writes, each once.
    pub bytes: u64,
    /// Multiplications and additions of its products.
    pub operations: u64,
}

/// Launches while they are timed.
#[derive(Default)]
pub(super) struct Profile {
    timed: Vec<Timed>,
}

struct Timed {
    kernel: &'static str,
    cost: Cost,
    begun: Mark,
    ended: Mark,
}

impl Profile {
    pub(super) fn add(&mut self, kernel: &'static str, cost: Cost, [begun, ended]: [Mark; 2]) {
        self.timed.push(Timed { kernel, cost, begun, ended });
    }

    /// What each kernel came to, the slowest first, where a number of a row has so many bytes; waits
    /// for all of them.
    pub(super) fn finish(self, real_bytes: u64) -> Result<Vec<KernelUse>, CudaError> {
        let mut all: BTreeMap<&'static str, KernelUse> = BTreeMap::new();
        for Timed { kernel, cost, begun, ended } in self.timed {
            let new = || KernelUse { kernel, launches: 0, ms: 0.0, bytes: 0, operations: 0 };
            let sum = all.entry(kernel).or_insert_with(new);
            sum.launches += 1;
            sum.ms += ended.ms_since(&begun)?;
            sum.bytes += cost.reals * real_bytes + cost.bytes;
            sum.operations += cost.operations;
        }
        let mut all: Vec<KernelUse> = all.into_values().collect();
        all.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        Ok(all)
    }
}
