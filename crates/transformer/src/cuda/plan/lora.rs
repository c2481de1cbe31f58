//! The low-rank pairs of a batch on one group of linear layers, with ragged ranks.

use super::tile::{Side, Tile, count, expect_len, product_bytes, tiles};
use crate::backend::{Pair, Pairs};
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};

/// Ranks of a tile.
pub(in crate::cuda) const RANKS: usize = 16;
/// Rows or columns of a tile along all else.
pub(in crate::cuda) const WIDE: usize = 64;

record! {
    /// A pair on its segment.
    LoraPair {
        a: Address,
        b: Address,
        d_a: Address,
        d_b: Address,
        low: Address,
        d_low: Address,
        row_keys: Address,
        dropout_key: u64,
        site: u64,
        first_row: u32,
        rows: u32,
        rank: u32,
        inputs: u32,
        outputs: u32,
        column: u32,
        rate_per_mille: u32,
        kept: f32,
        scale: f32,
    }
}

record! {
    /// Of all five kernels; what one does not read may be left out.
    LoraArgs {
        pairs: Address,
        tiles: Address,
        x: Address,
        y: Address,
        dy: Address,
        dx: Address,
        texts: Address,
        offsets: Address,
        text_keys: Address,
        y_width: u32,
    }
}

/// Where the adapters and the pairs' own memory lie.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct LoraPlaces<'a> {
    /// One an adapter: its values, f32.
    pub adapters: &'a [Address],
    /// One a segment: its gradients, f32, as long as its adapter's values. Empty in a forward pass.
    pub gradients: &'a [Address],
    /// [`Scratch::low_values`] f32.
    pub low: Address,
    /// As many. Left out in a forward pass.
    pub d_low: Address,
    /// [`Scratch::row_keys`] u64.
    pub row_keys: Address,
}

/// How much memory the pairs of a batch need beside their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cuda) struct Scratch {
    /// Of each of `low` and `d_low`.
    pub low_values: usize,
    /// One a row of a pair.
    pub row_keys: usize,
}

/// What the kernels are told of the pairs, and of each launch's blocks.
#[derive(Clone, Debug, Default)]
pub(in crate::cuda) struct LoraTables {
    pub pairs: Vec<LoraPair>,
    /// Of [`lora_low`].
    pub low: Vec<Tile>,
    /// Of [`lora_up`].
    pub up: Vec<Tile>,
    /// Of [`lora_low_slopes`].
    pub low_slopes: Vec<Tile>,
    /// Of [`lora_pair_slopes`].
    pub pair_slopes: Vec<Tile>,
    /// Of [`lora_input_slopes`].
    pub input_slopes: Vec<Tile>,
}

/// The pairs that have rows.
fn busy(pairs: Pairs<'_>) -> impl Iterator<Item = Pair<'_>> {
    pairs.iter().filter(move |pair| !pairs.batch.rows(pair.segment).is_empty())
}

impl Scratch {
    /// What these pairs need.
    pub(in crate::cuda) fn of(pairs: Pairs<'_>) -> Self {
        busy(pairs).fold(Self::default(), |sum, pair| {
            let rows = pairs.batch.rows(pair.segment).len();
            Self {
                low_values: sum.low_values + rows * pair.entry.rank,
                row_keys: sum.row_keys + rows,
            }
        })
    }
}

impl LoraTables {
    /// The tables of a batch's pairs.
    pub(in crate::cuda) fn new(
        pairs: Pairs<'_>,
        places: &LoraPlaces<'_>,
    ) -> Result<Self, PlanError> {
        expect_len("the list of adapters", places.adapters.len(), pairs.adapters.len())?;
        if !places.gradients.is_empty() {
            let segments = pairs.batch.segments().len();
            expect_len("the list of gradients", places.gradients.len(), segments)?;
        }
        let mut tables = Self::default();
        let mut used = Scratch::default();
        let mut segment = None;
        for pair in busy(pairs) {
            let at = count("the pairs of a batch", tables.pairs.len())?;
            tables.add_tiles(at, &pair, pairs.batch.rows(pair.segment).len());
            // Pairs of a segment follow each other, and are added to its rows in their order.
            if segment.replace(pair.at) == Some(pair.at) {
                let tiles = tables.input_slopes.iter_mut().rev();
                let mine = tiles.take_while(|tile| tile.subject + tile.kind == at);
                mine.for_each(|tile| tile.kind += 1);
            } else {
                tables.add_input_tiles(at, &pair, pairs.batch.rows(pair.segment).len());
            }
            tables.pairs.push(record_of(pairs, &pair, places, &mut used));
        }
        Ok(tables)
    }

    /// The tiles of one pair.
    fn add_tiles(&mut self, at: u32, pair: &Pair<'_>, rows: usize) {
        let wide = |len| Side { len, step: WIDE };
        let ranks = Side { len: pair.entry.rank, step: RANKS };
        self.low.extend(tiles(at, 0, wide(rows), ranks));
        self.up.extend(tiles(at, 0, wide(rows), wide(pair.entry.outputs)));
        self.low_slopes.extend(tiles(at, 0, wide(rows), ranks));
        self.low_slopes.extend(tiles(at, 1, wide(rows), ranks));
        self.pair_slopes.extend(tiles(at, 0, ranks, wide(pair.entry.inputs)));
        self.pair_slopes.extend(tiles(at, 1, wide(pair.entry.outputs), ranks));
    }

    /// The tiles of a segment's first pair, for one pair.
    fn add_input_tiles(&mut self, at: u32, pair: &Pair<'_>, rows: usize) {
        let wide = |len| Side { len, step: WIDE };
        self.input_slopes.extend(tiles(at, 1, wide(rows), wide(pair.entry.inputs)));
    }
}

/// The pair as kernels read it, whose memory begins behind what is used.
fn record_of(
    pairs: Pairs<'_>,
    pair: &Pair<'_>,
    places: &LoraPlaces<'_>,
    used: &mut Scratch,
) -> LoraPair {
    let (entry, rows) = (pair.entry, pairs.batch.rows(pair.segment));
    let values = pair.segment.adapter.map_or(Address::NONE, |at| places.adapters[at]);
    let gradients = places.gradients.get(pair.at).copied().unwrap_or(Address::NONE);
    let dropout = pair.segment.dropout.as_ref();
    let rate_per_mille = dropout.map_or(0, |dropout| dropout.rate_per_mille);
    let record = LoraPair {
        a: values.plus_floats(entry.a.start),
        b: values.plus_floats(entry.b.start),
        d_a: gradients.plus_floats(entry.a.start),
        d_b: gradients.plus_floats(entry.b.start),
        low: places.low.plus_floats(used.low_values),
        d_low: places.d_low.plus_floats(used.low_values),
        row_keys: places.row_keys.plus_keys(used.row_keys),
        dropout_key: dropout.map_or(0, |dropout| dropout.key),
        site: (entry.site.layer as u64) << 8 | entry.site.module as u64,
        first_row: rows.start as u32,
        rows: rows.len() as u32,
        rank: entry.rank as u32,
        inputs: entry.inputs as u32,
        outputs: entry.outputs as u32,
        column: pair.column as u32,
        rate_per_mille,
        kept: 1000.0 / (1000 - rate_per_mille) as f32,
        scale: entry.scale,
    };
    used.low_values += rows.len() * entry.rank;
    used.row_keys += rows.len();
    record
}

/// What each launch costs at least.
impl LoraTables {
    /// Of so many products with `A`, and with `B`; of `A`, `B` and rows of the low rank read or
    /// written as often; and of so many numbers for each feature of what is read and what is written.
    fn cost(&self, (with_a, with_b): (u64, u64), (inputs, outputs): (u64, u64)) -> Cost {
        let mut cost = Cost::default();
        let mut segment = None;
        for pair in &self.pairs {
            let [rows, rank] = [pair.rows, pair.rank].map(u64::from);
            let (width_in, width_out) = (u64::from(pair.inputs), u64::from(pair.outputs));
            let features = with_a * width_in + with_b * width_out;
            // Pairs of a segment on the same layers read the same rows, but write their own.
            let is_first = segment.replace(pair.first_row) != Some(pair.first_row);
            let read = if is_first { inputs * width_in } else { 0 };
            cost = cost.and(Cost {
                reals: rows * (read + outputs * width_out),
                bytes: 4 * rank * (features + (with_a + with_b) * rows),
                operations: 2 * rows * rank * features,
            });
        }
        cost
    }
}

/// Bytes of a tile along the rank, and of the keys of its rows.
const LOW_BYTES: usize = product_bytes(WIDE, RANKS) + 8 * WIDE;

/// Forward, first: `low`.
pub(in crate::cuda) fn lora_low(
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let launch = Launch::new(Kernel::LoraLow, (tables.low.len() as u64, 1), LOW_BYTES, args);
    Launch::worth(launch, tables.cost((1, 0), (1, 0)))
}

/// Forward, second: `y`.
pub(in crate::cuda) fn lora_up(
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let launch =
        Launch::new(Kernel::LoraUp, (tables.up.len() as u64, 1), product_bytes(WIDE, WIDE), args);
    Launch::worth(launch, tables.cost((0, 1), (0, 2)))
}

/// Backward, first: `low` again, and `d_low`.
pub(in crate::cuda) fn lora_low_slopes(
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let launch =
        Launch::new(Kernel::LoraLowSlopes, (tables.low_slopes.len() as u64, 1), LOW_BYTES, args);
    Launch::worth(launch, tables.cost((1, 1), (1, 1)))
}

/// Backward, second: the gradients of `A` and `B`.
pub(in crate::cuda) fn lora_pair_slopes(
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let blocks = (tables.pair_slopes.len() as u64, 1);
    let launch = Launch::new(Kernel::LoraPairSlopes, blocks, product_bytes(WIDE, RANKS), args);
    Launch::worth(launch, tables.cost((1, 1), (1, 1)))
}

/// Backward, third, where it is wanted: `dx`.
pub(in crate::cuda) fn lora_input_slopes(
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let blocks = (tables.input_slopes.len() as u64, 1);
    let launch = Launch::new(Kernel::LoraInputSlopes, blocks, product_bytes(WIDE, WIDE), args);
    Launch::worth(launch, tables.cost((1, 0), (2, 0)))
}
