//! What a card is asked to run, and what it cannot be asked.

use thiserror::Error;

use super::kernel::Kernel;
use super::record::Record;
use crate::backend::Fault;

/// Threads of a warp.
pub(super) const WARP: u64 = 32;
/// Blocks along the first side of a grid.
pub(super) const GRID_X_MAX: u64 = (1 << 31) - 1;
/// Blocks along each other side.
pub(super) const GRID_Y_MAX: u64 = 65_535;
/// Bytes of shared memory that a block has on every card without being opted in to more.
pub(super) const SHARED_BYTES_MAX: usize = 48 << 10;
/// Bytes of a kernel's arguments.
pub(super) const ARGUMENT_BYTES_MAX: usize = 4 << 10;

/// Why something cannot be launched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum PlanError {
    /// More blocks than a grid holds.
    #[error("{kernel} would need {blocks} blocks, more than {max}\nhint: use smaller batches")]
    Blocks {
        /// The kernel's name.
        kernel: &'static str,
        /// What it would need along one side.
        blocks: u64,
        /// The most.
        max: u64,
    },
    /// A count that kernels cannot hold.
    #[error("{what} counts {count}, more than {max}\nhint: use smaller batches")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The most.
        max: usize,
    },
    /// A head that attention has no kernel for.
    #[error("attention heads are {width} wide, not a multiple of 8 up to {max}")]
    HeadWidth {
        /// Features of a head.
        width: usize,
        /// The most.
        max: usize,
    },
    /// A number that names no row of a table, such as a token that the model does not know.
    #[error("{subject} has {what} {found}, and there are {rows}")]
    NoRow {
        /// What asks for it.
        subject: &'static str,
        /// What is looked up.
        what: &'static str,
        /// The row that is asked for.
        found: usize,
        /// The rows that are there.
        rows: usize,
    },
    /// Lengths that do not belong together.
    #[error("{what} has {found} values, not {expected}")]
    Length {
        /// What is too long or too short.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
}

impl From<PlanError> for Fault {
    fn from(error: PlanError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// A kernel's arguments, laid out as C lays out its struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// Whole words, so that the struct is aligned.
    words: Vec<u64>,
    bytes: usize,
}

impl Arguments {
    /// The arguments that a record holds.
    pub(super) fn new<R: Record>(record: R) -> Self {
        assert!(R::BYTES <= ARGUMENT_BYTES_MAX, "{} is too long for arguments", R::NAME);
        let mut bytes = vec![0; R::BYTES.next_multiple_of(size_of::<u64>())];
        record.write(&mut bytes);
        let (words, _) = bytes.as_chunks();
        let words = words.iter().map(|&word| u64::from_ne_bytes(word)).collect();
        Self { words, bytes: R::BYTES }
    }

    /// The struct's bytes, in whole words.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The struct's size.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The least that a launch moves and computes: what decides how fast it can be at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Numbers of rows that are read and written, each once.
    pub(super) reals: u64,
    /// Other bytes that are read and written, each once; tables are left out.
    pub(super) bytes: u64,
    /// Multiplications and additions of products. What is done value by value is left out, since
    /// bytes take longer.
    pub(super) operations: u64,
}

impl Cost {
    /// Of so many numbers as rows have them.
    pub(super) fn numbers(reals: u64) -> Self {
        Self { reals, ..Self::default() }
    }

    /// Of so many rows of so many numbers, so many times.
    pub(super) fn reals(numbers: [u32; 2], times: u64) -> Self {
        let [rows, width] = numbers.map(u64::from);
        Self::numbers(rows * width * times)
    }

    /// Of so many f32.
    pub(super) fn floats(values: u64) -> Self {
        Self { bytes: 4 * values, ..Self::default() }
    }

    /// Of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            reals: self.reals + other.reals,
            bytes: self.bytes + other.bytes,
            operations: self.operations + other.operations,
        }
    }

    /// With so many operations.
    pub(super) fn computing(self, operations: u64) -> Self {
        Self { operations: self.operations + operations, ..self }
    }
}

/// One launch of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What runs.
    pub(super) kernel: Kernel,
    /// Blocks along each side; none of them is 0.
    pub(super) grid: [u32; 3],
    /// Threads of a block along each side.
    pub(super) block: [u32; 3],
    /// Shared memory of a block.
    pub(super) shared_bytes: u32,
    /// What the kernel is given.
    pub(super) arguments: Arguments,
    /// What it moves and computes at least.
    pub(super) cost: Cost,
}

impl Launch {
    /// A launch, if there is one, with what it costs.
    pub(super) fn worth(
        planned: Result<Option<Self>, PlanError>,
        cost: Cost,
    ) -> Result<Option<Self>, PlanError> {
        planned.map(|launch| launch.map(|launch| Self { cost, ..launch }))
    }

    /// A launch of `columns` by `rows` blocks; `None` if that is no block at all.
    pub(super) fn new<R: Record>(
        kernel: Kernel,
        (columns, rows): (u64, u64),
        shared_bytes: usize,
        arguments: R,
    ) -> Result<Option<Self>, PlanError> {
        for (blocks, max) in [(columns, GRID_X_MAX), (rows, GRID_Y_MAX)] {
            if blocks > max {
                return Err(PlanError::Blocks { kernel: kernel.name(), blocks, max });
            }
        }
        assert!(shared_bytes <= SHARED_BYTES_MAX, "{} shares too much", kernel.name());
        if columns == 0 || rows == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            kernel,
            grid: [columns as u32, rows as u32, 1],
            block: [kernel.threads(), 1, 1],
            shared_bytes: shared_bytes as u32,
            arguments: Arguments::new(arguments),
            cost: Cost::default(),
        }))
    }

    /// A launch with one thread a value.
    pub(super) fn each<R: Record>(
        kernel: Kernel,
        values: u64,
        arguments: R,
    ) -> Result<Option<Self>, PlanError> {
        let blocks = values.div_ceil(u64::from(kernel.threads()));
        Self::new(kernel, (blocks, 1), 0, arguments)
    }

    /// A launch with one thread eight values.
    pub(super) fn eights<R: Record>(
        kernel: Kernel,
        values: u64,
        arguments: R,
    ) -> Result<Option<Self>, PlanError> {
        Self::each(kernel, values.div_ceil(8), arguments)
    }

    /// A launch with one warp a row.
    pub(super) fn warps<R: Record>(
        kernel: Kernel,
        rows: u64,
        arguments: R,
    ) -> Result<Option<Self>, PlanError> {
        Self::each(kernel, rows * WARP, arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Kernel, Launch, PlanError};
    use crate::cuda::record::{Address, bytes_of, record};

    record! {
        /// A field of each kind, with gaps before the second and behind the last.
        Mixed {
            first: u32,
            second: Address,
            third: f32,
            fourth: u64,
            fifth: u32,
        }
    }

    const MIXED: Mixed = Mixed { first: 1, second: Address(2), third: 1.0, fourth: 4, fifth: 5 };

    #[test]
    fn arguments_lie_as_c_lays_them_out() {
        let arguments = Arguments::new(MIXED);
        assert_eq!(arguments.bytes(), 40);
        let bytes = bytes_of(arguments.words());
        let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let fields = [0, 8, 16, 24, 32].map(number);
        assert_eq!(fields, [1, 2, 1.0_f32.to_bits(), 4, 5]);
    }

    #[test]
    fn a_grid_is_as_large_as_it_must_be_and_no_larger_than_it_can_be() {
        let each = |values| Launch::each(Kernel::Widen, values, MIXED);
        assert_eq!(each(0), Ok(None));
        assert_eq!(each(256).unwrap().unwrap().grid, [1, 1, 1]);
        assert_eq!(each(257).unwrap().unwrap().grid, [2, 1, 1]);
        let warps = Launch::warps(Kernel::Embed, 9, MIXED).unwrap().unwrap();
        assert_eq!((warps.grid, warps.block), ([2, 1, 1], [256, 1, 1]));
        let refused = Launch::new(Kernel::LinearForward, (1, 70_000), 0, MIXED).unwrap_err();
        let kernel = "linear_forward";
        assert_eq!(refused, PlanError::Blocks { kernel, blocks: 70_000, max: 65_535 });
    }
}
