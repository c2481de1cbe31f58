//! Attention of each text over itself.

use super::tile::{Side, Tile, tiles};
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, Record, record};

/// Features of the widest head.
pub(in crate::cuda) const HEAD_WIDTH_MAX: usize = 128;
/// Heads are read four features at a time, and rows begin at whole vectors of eight.
const HEAD_WIDTH_STEP: usize = 8;
/// Tokens of the longest text: what encoders of long texts read. The kernels have no limit of their
/// own, but one block meets every row of its text.
pub(in crate::cuda) const TEXT_TOKENS_MAX: usize = 8192;
/// Threads of a block.
const THREADS: usize = 64;
/// Rows that a block keeps in shared memory of either side.
const SLICE: usize = 32;

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

/// Threads that share a row of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    One,
    Two,
    Four,
}

impl Share {
    fn of(width: usize) -> Result<Self, PlanError> {
        if width == 0 || !width.is_multiple_of(HEAD_WIDTH_STEP) || width > HEAD_WIDTH_MAX {
            return Err(PlanError::HeadWidth { width, max: HEAD_WIDTH_MAX });
        }
        Ok(match width {
            1..=32 => Self::One,
            33..=64 => Self::Two,
            _ => Self::Four,
        })
    }

    fn threads(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Two slices, whose rows are 9 vectors a thread, and what is known of the rows' softmax.
    fn shared_bytes(self) -> usize {
        SLICE * (2 * self.threads() * 9 * 16 + 3 * 4)
    }
}

/// Floats of `softmax`, which the two backward launches share.
pub(in crate::cuda) fn softmax_values(tokens: usize, heads: usize) -> usize {
    3 * tokens * heads
}

/// Rows of a text that one block computes, of heads so wide.
pub(in crate::cuda) fn rows_of_block(width: usize) -> Result<usize, PlanError> {
    Ok(THREADS / Share::of(width)?.threads())
}

/// The blocks of a batch, the same for all three kernels: `offsets` are those of
/// [`BatchTables`](super::batch::BatchTables).
pub(in crate::cuda) fn attention_tiles(
    offsets: &[u32],
    width: usize,
) -> Result<Vec<Tile>, PlanError> {
    let step = rows_of_block(width)?;
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
    args: AttentionArgs,
    size: AttentionSize,
) -> Result<Option<Launch>, PlanError> {
    let kernels = [Kernel::Attention32, Kernel::Attention64, Kernel::Attention128];
    let shape = (args.width, args.heads);
    Launch::worth(launch(kernels, shape, size.tiles, args), size.cost(2, 4, shape))
}

/// The first launch of backward: the gradient by queries, and `softmax`.
pub(in crate::cuda) fn attention_queries(
    args: AttentionBackwardArgs,
    size: AttentionSize,
) -> Result<Option<Launch>, PlanError> {
    let kernels =
        [Kernel::AttentionQueries32, Kernel::AttentionQueries64, Kernel::AttentionQueries128];
    let shape = (args.width, args.heads);
    let softmax = Cost::floats(softmax_values(size.rows, args.heads as usize) as u64);
    Launch::worth(launch(kernels, shape, size.tiles, args), size.cost(3, 5, shape).and(softmax))
}

/// The second launch of backward: the gradients by keys and values.
pub(in crate::cuda) fn attention_keys(
    args: AttentionBackwardArgs,
    size: AttentionSize,
) -> Result<Option<Launch>, PlanError> {
    let kernels = [Kernel::AttentionKeys32, Kernel::AttentionKeys64, Kernel::AttentionKeys128];
    let shape = (args.width, args.heads);
    let softmax = Cost::floats(softmax_values(size.rows, args.heads as usize) as u64);
    Launch::worth(launch(kernels, shape, size.tiles, args), size.cost(4, 6, shape).and(softmax))
}

/// A launch over all tiles and heads, of the kernel for heads up to 32, 64 or 128 features.
fn launch<R: Record>(
    [one, two, four]: [Kernel; 3],
    (width, heads): (u32, u32),
    tiles: usize,
    args: R,
) -> Result<Option<Launch>, PlanError> {
    let share = Share::of(width as usize)?;
    let kernel = match share {
        Share::One => one,
        Share::Two => two,
        Share::Four => four,
    };
    Launch::new(kernel, (tiles as u64, heads.into()), share.shared_bytes(), args)
}
