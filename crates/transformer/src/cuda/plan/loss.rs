//! Multiple-negatives ranking, tenant by tenant.

use super::tile::{Side, Tile, product_bytes, tiles};
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};

/// Rows and columns of a tile.
pub(in crate::cuda) const LOSS_TILE: usize = 64;

record! {
    /// A tenant's ranking.
    Ranking {
        anchors: Address,
        columns: Address,
        excluded: Address,
        scores: Address,
        highest: Address,
        divisors: Address,
        losses: Address,
        slopes: Address,
        loss: Address,
        anchor_count: u32,
        column_count: u32,
        is_symmetric: u32,
        scale: f32,
        part: f32,
    }
}

record! {
    /// Of all four kernels.
    LossArgs {
        rankings: Address,
        tiles: Address,
        rows: Address,
        tile_count: u32,
        hidden: u32,
    }
}

/// How large a tenant's ranking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cuda) struct RankingShape {
    /// At most as many as columns: an anchor's positive is the column of its number.
    pub anchors: usize,
    pub columns: usize,
    pub is_symmetric: bool,
}

impl RankingShape {
    /// Choices that the loss is the mean of.
    pub(in crate::cuda) fn choices(self) -> usize {
        if self.is_symmetric { 2 * self.anchors } else { self.anchors }
    }

    /// Whether every anchor has a positive.
    fn check(self) -> Result<Self, PlanError> {
        let (found, expected) = (self.columns.min(self.anchors), self.anchors);
        super::tile::expect_len("the columns of a ranking", found, expected)?;
        Ok(self)
    }

    /// One bit a score: those that count neither as right nor as wrong.
    pub(in crate::cuda) fn excluded_bits(
        self,
        excluded: &[(u32, u32)],
    ) -> Result<Vec<u32>, PlanError> {
        let words = self.columns.div_ceil(32);
        let mut bits = vec![0; self.anchors * words];
        for &(anchor, column) in excluded {
            let (anchor, column) = (anchor as usize, column as usize);
            for (what, found, rows) in
                [("anchor", anchor, self.anchors), ("column", column, self.columns)]
            {
                if found >= rows {
                    return Err(PlanError::NoRow { subject: "a ranking", what, found, rows });
                }
            }
            bits[anchor * words + column / 32] |= 1 << (column % 32);
        }
        Ok(bits)
    }
}

/// Each launch's tiles.
#[derive(Clone, Debug, Default)]
pub(in crate::cuda) struct LossTiles {
    /// Of [`ranking_scores`].
    pub scores: Vec<Tile>,
    /// Of [`ranking_choices`].
    pub choices: Vec<Tile>,
    /// Of [`ranking_slopes`].
    pub slopes: Vec<Tile>,
    /// Of [`ranking_value`].
    pub values: Vec<Tile>,
    /// Scores of all rankings.
    pub score_count: u64,
    /// Their anchors and columns.
    pub term_count: u64,
    /// Features of a row.
    pub hidden: u64,
}

impl LossTiles {
    /// The tiles of these tenants' rankings; one without anchors has none, and its loss is 0.
    pub(in crate::cuda) fn new(shapes: &[RankingShape], hidden: usize) -> Result<Self, PlanError> {
        let mut all = Self { hidden: hidden as u64, ..Self::default() };
        let side = |len| Side { len, step: LOSS_TILE };
        let one = Side { len: 1, step: 1 };
        for (subject, shape) in (0..).zip(shapes) {
            let shape = shape.check()?;
            if shape.anchors == 0 {
                continue;
            }
            all.score_count += (shape.anchors * shape.columns) as u64;
            all.term_count += (shape.anchors + shape.columns) as u64;
            let (anchors, columns) = (side(shape.anchors), side(shape.columns));
            all.scores.extend(tiles(subject, 0, anchors, columns));
            all.choices.extend(tiles(subject, 0, Side { len: shape.choices(), step: 1 }, one));
            all.slopes.extend(tiles(subject, 0, anchors, side(hidden)));
            all.slopes.extend(tiles(subject, 1, columns, side(hidden)));
            all.values.extend(tiles(subject, 0, one, one));
        }
        Ok(all)
    }
}

/// First: all scores.
pub(in crate::cuda) fn ranking_scores(
    args: LossArgs,
    all: &LossTiles,
) -> Result<Option<Launch>, PlanError> {
    let bytes = product_bytes(LOSS_TILE, LOSS_TILE);
    let launch = Launch::new(Kernel::RankingScores, (args.tile_count.into(), 1), bytes, args);
    let cost = Cost::floats(all.term_count * all.hidden + all.score_count);
    Launch::worth(launch, cost.computing(2 * all.score_count * all.hidden))
}

/// Second: softmax and cross entropy of each choice.
pub(in crate::cuda) fn ranking_choices(
    args: LossArgs,
    all: &LossTiles,
) -> Result<Option<Launch>, PlanError> {
    let launch = Launch::warps(Kernel::RankingChoices, args.tile_count.into(), args);
    Launch::worth(launch, Cost::floats(all.score_count))
}

/// Third: the gradient by each anchor and column.
pub(in crate::cuda) fn ranking_slopes(
    args: LossArgs,
    all: &LossTiles,
) -> Result<Option<Launch>, PlanError> {
    let bytes = product_bytes(LOSS_TILE, LOSS_TILE);
    let launch = Launch::new(Kernel::RankingSlopes, (args.tile_count.into(), 1), bytes, args);
    let cost = Cost::floats(2 * all.term_count * all.hidden + all.score_count);
    Launch::worth(launch, cost.computing(4 * all.score_count * all.hidden))
}

/// Fourth: each tenant's loss.
pub(in crate::cuda) fn ranking_value(args: LossArgs) -> Result<Option<Launch>, PlanError> {
    Launch::warps(Kernel::RankingValue, args.tile_count.into(), args)
}
