//! Attention of each text over itself.

use super::tile::{Side, Tile, tiles};
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};
use crate::cuda::source::Real;

/// Features of the widest head.
pub(in crate::cuda) const HEAD_WIDTH_MAX: usize = 128;
/// Heads are read four features at a time, and rows begin at whole vectors of eight.
const HEAD_WIDTH_STEP: usize = 8;
/// Tokens of the longest text: what encoders of long texts read. The kernels have no limit of their
/// own, but one block meets every row of its text.
pub(in crate::cuda) const TEXT_TOKENS_MAX: usize = 8192;
record! {
    /// Of [`attention`].
    AttentionArgs {
        qkv: Address,
        context: Address,
        offsets: Address,
        tiles: Address,
        heads: u32,
        width: u32,
        scale: f32,
    }
}

record! {
    /// Of [`attention_queries`] and, behind it, of [`attention_keys`].
    AttentionBackwardArgs {
        qkv: Address,
        d_context: Address,
        d_qkv: Address,
        softmax: Address,
        offsets: Address,
        tiles: Address,
        heads: u32,
        width: u32,
        scale: f32,
    }
}

/// Forward, by queries and by keys: kernels that share a way to work.
struct Kernels {
    forward: Kernel,
    queries: Kernel,
    keys: Kernel,
    /// The formats of rows that they read.
    reals: &'static [Real],
    /// Features of the widest head that they take.
    width: usize,
    /// Rows of a text that a block takes.
    rows: usize,
    shared_bytes: usize,
}

/// All of them, the faster and the narrower first.
const KERNELS: [Kernels; 5] = {
    use Kernel as K;
    [
        by_tensors(
            [K::TensorAttention32, K::TensorAttentionQueries32, K::TensorAttentionKeys32],
            32,
        ),
        by_tensors(
            [K::TensorAttention64, K::TensorAttentionQueries64, K::TensorAttentionKeys64],
            64,
        ),
        by_threads([K::Attention32, K::AttentionQueries32, K::AttentionKeys32], 32),
        by_threads([K::Attention64, K::AttentionQueries64, K::AttentionKeys64], 64),
        by_threads([K::Attention128, K::AttentionQueries128, K::AttentionKeys128], HEAD_WIDTH_MAX),
    ]
};

/// A block takes 32 rows of a text, and keeps 64 of either side: each is a vector of 8 longer than its
/// head, beside what is known of the rows' softmax.
const fn by_tensors([forward, queries, keys]: [Kernel; 3], width: usize) -> Kernels {
    let shared_bytes = 64 * (2 * 2 * (width + 8) + 3 * 4);
    Kernels { forward, queries, keys, reals: &[Real::Bf16], width, rows: 32, shared_bytes }
}

/// A thread has 32 features of a row, a block 64 threads. It keeps 32 rows of either side, 9 vectors a
/// thread, beside what is known of the rows' softmax.
const fn by_threads([forward, queries, keys]: [Kernel; 3], width: usize) -> Kernels {
    let threads = width / 32;
    let shared_bytes = 32 * (2 * 9 * 16 * threads + 3 * 4);
    Kernels { forward, queries, keys, reals: &Real::ALL, width, rows: 64 / threads, shared_bytes }
}

/// The kernels for such rows and heads.
fn kernels(real: Real, width: usize) -> Result<&'static Kernels, PlanError> {
    let refused = PlanError::HeadWidth { width, max: HEAD_WIDTH_MAX };
    if width == 0 || !width.is_multiple_of(HEAD_WIDTH_STEP) {
        return Err(refused);
    }
    let fits = |kernels: &&Kernels| kernels.width >= width && kernels.reals.contains(&real);
    KERNELS.iter().find(fits).ok_or(refused)
}

/// Floats of `softmax`, which the two backward launches share.
pub(in crate::cuda) fn softmax_values(tokens: usize, heads: usize) -> usize {
    3 * tokens * heads
}

/// Rows of a text that one block computes, of heads so wide.
pub(in crate::cuda) fn rows_of_block(real: Real, width: usize) -> Result<usize, PlanError> {
    Ok(kernels(real, width)?.rows)
}

/// The blocks of a batch, the same for all three kernels: `offsets` are those of
/// [`BatchTables`](super::batch::BatchTables).
pub(in crate::cuda) fn attention_tiles(
    offsets: &[u32],
    real: Real,
    width: usize,
) -> Result<Vec<Tile>, PlanError> {
    let step = rows_of_block(real, width)?;
    let mut all = Vec::new();
    for (text, rows) in offsets.windows(2).enumerate() {
        let len = (rows[1] - rows[0]) as usize;
        if len > TEXT_TOKENS_MAX {
            let what = "a text's tokens";
            return Err(PlanError::Count { what, count: len, max: TEXT_TOKENS_MAX });
        }
        all.extend(tiles(text as u32, 0, Side { len, step }, Side { len: 1, step: 1 }));
    }
    Ok(all)
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cuda) struct AttentionSize {
    /// Blocks a head.
    pub tiles: usize,
    pub rows: usize,
    /// Two rows of one text, each with each.
    pub pairs: usize,
}

impl AttentionSize {
    /// Of texts that begin at these rows, in so many tiles.
    pub(in crate::cuda) fn new(offsets: &[u32], tiles: usize) -> Self {
        let lengths = offsets.windows(2).map(|rows| (rows[1] - rows[0]) as usize);
        let rows = offsets.last().map_or(0, |&rows| rows as usize);
        Self { tiles, rows, pairs: lengths.map(|len| len * len).sum() }
    }

    /// A block a tile and head.
    fn grid(self, (_, heads): (u32, u32)) -> (u64, u64) {
        (self.tiles as u64, heads.into())
    }

    /// The cost of so many products of pairs, and of so many rows of all heads.
    fn cost(self, products: u64, rows: u64, (width, heads): (u32, u32)) -> Cost {
        let features = u64::from(width) * u64::from(heads);
        Cost {
            reals: rows * self.rows as u64 * features,
            operations: 2 * products * self.pairs as u64 * features,
            bytes: 0,
        }
    }
}

/// `context`.
pub(in crate::cuda) fn attention(
    real: Real,
    args: AttentionArgs,
    size: AttentionSize,
) -> Result<Option<Launch>, PlanError> {
    let kernels = kernels(real, args.width as usize)?;
    let shape = (args.width, args.heads);
    let launch = Launch::new(kernels.forward, size.grid(shape), kernels.shared_bytes, args);
    Launch::worth(launch, size.cost(2, 4, shape))
}

/// The first launch of backward: the gradient by queries, and `softmax`.
pub(in crate::cuda) fn attention_queries(
    real: Real,
    args: AttentionBackwardArgs,
    size: AttentionSize,
) -> Result<Option<Launch>, PlanError> {
    let kernels = kernels(real, args.width as usize)?;
    let shape = (args.width, args.heads);
    let softmax = Cost::floats(softmax_values(size.rows, args.heads as usize) as u64);
    let launch = Launch::new(kernels.queries, size.grid(shape), kernels.shared_bytes, args);
    Launch::worth(launch, size.cost(3, 5, shape).and(softmax))
}

/// The second launch of backward: the gradients by keys and values.
pub(in crate::cuda) fn attention_keys(
    real: Real,
    args: AttentionBackwardArgs,
    size: AttentionSize,
) -> Result<Option<Launch>, PlanError> {
    let kernels = kernels(real, args.width as usize)?;
    let shape = (args.width, args.heads);
    let softmax = Cost::floats(softmax_values(size.rows, args.heads as usize) as u64);
    let launch = Launch::new(kernels.keys, size.grid(shape), kernels.shared_bytes, args);
    Launch::worth(launch, size.cost(4, 6, shape).and(softmax))
}
