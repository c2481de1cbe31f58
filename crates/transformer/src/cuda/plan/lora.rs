//! The low-rank pairs of a batch on one group of linear layers, with ragged ranks.

use std::sync::Arc;

use super::tile::{Side, Tile, count, expect_len, product_bytes, tensor_product_bytes, tiles};
use crate::backend::{Pair, Pairs};
use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};
use crate::cuda::source::Real;

/// Ranks of a tile.
pub(in crate::cuda) const RANKS: usize = 16;
/// Rows or columns of a tile along all else.
pub(in crate::cuda) const WIDE: usize = 64;
/// Values of a pair whose slabs a block adds.
pub(in crate::cuda) const SUMMED: usize = 256;
/// Rows of a slab at least: a product's first step hides behind none.
const SLAB_ROWS_MIN: u32 = 256;
/// Blocks for the gradients of a pair with which it is cut into no more slabs: more than an H200 or B200
/// has multiprocessors.
const SLAB_BLOCKS_MAX: u32 = 192;

record! {
    /// A pair on its segment.
    LoraPair {
        a: Address,
        b: Address,
        d_a: Address,
        d_b: Address,
        low: Address,
        d_low: Address,
        partial: Address,
        masks: Address,
        dropout_key: u64,
        site: u64,
        first_row: u32,
        rows: u32,
        rank: u32,
        inputs: u32,
        outputs: u32,
        slab_rows: u32,
        column: u32,
        dropped_below: u32,
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
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cuda) struct LoraPlaces<'a> {
    /// One an adapter: its values, f32.
    pub adapters: &'a [Address],
    /// One a segment: its gradients, f32, as long as its adapter's values. Empty in a forward pass.
    pub gradients: &'a [Address],
    /// [`Scratch::low_values`] f32.
    pub low: Address,
    /// As many. Left out in a forward pass.
    pub d_low: Address,
    /// [`Scratch::partial_values`] f32. Left out in a forward pass.
    pub partial: Address,
    /// [`Scratch::mask_bytes`]. Left out in a forward pass.
    pub masks: Address,
}

/// How much memory the pairs of a batch need beside their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cuda) struct Scratch {
    /// Of each of `low` and `d_low`.
    pub low_values: usize,
    /// Of what gradients are by slabs.
    pub partial_values: usize,
    /// Of what dropout keeps.
    pub mask_bytes: usize,
}

/// What the kernels are told of the pairs, and of each launch's blocks.
#[derive(Clone, Debug, Default)]
pub(in crate::cuda) struct LoraTables {
    pub pairs: Vec<LoraPair>,
    pub tiles: Arc<LoraTiles>,
}

/// The blocks of each launch: the same for all pairs of the same shapes, as those of most layers are.
/// Those of a backward pass are laid out for such a pass alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cuda) struct LoraTiles {
    /// Of [`lora_low`].
    pub low: Vec<Tile>,
    /// Of [`lora_up`].
    pub up: Vec<Tile>,
    /// Of [`lora_low_slopes`].
    pub low_slopes: Vec<Tile>,
    /// Of [`lora_pair_slopes`].
    pub pair_slopes: Vec<Tile>,
    /// Of [`lora_input_slopes`], those first that add slabs.
    pub input_slopes: Vec<Tile>,
    /// How many add slabs.
    pub sums: usize,
}

/// The pairs that have rows.
fn busy(pairs: Pairs<'_>) -> impl Iterator<Item = Pair<'_>> {
    pairs.iter().filter(move |pair| !pairs.batch.rows(pair.segment).is_empty())
}

/// What a pair's `low` takes, so that the next one's begins at whole vectors of 16 bytes.
fn low_values(rows: usize, rank: usize) -> usize {
    (rows * rank).next_multiple_of(4)
}

/// Slabs of such a pair: one in f32, whose sums are those of the CPU, and else as many as give the card
/// enough blocks. It is the pair's own shape that says so, and nothing beside it.
fn slabs(real: Real, [rows, rank, inputs, outputs]: [u32; 4]) -> u32 {
    let tiles = |len: u32, step: usize| len.div_ceil(step as u32);
    let blocks = tiles(rank, RANKS) * (tiles(inputs, WIDE) + tiles(outputs, WIDE));
    match real {
        Real::Float => 1,
        Real::Bf16 => (rows / SLAB_ROWS_MIN).clamp(1, SLAB_BLOCKS_MAX.div_ceil(blocks.max(1))),
    }
}

impl LoraPair {
    fn slabs(&self) -> u32 {
        self.rows.div_ceil(self.slab_rows)
    }

    /// Values of its matrices.
    fn values(&self) -> usize {
        self.rank as usize * (self.inputs as usize + self.outputs as usize)
    }
}

impl Scratch {
    /// What these pairs need on such rows.
    pub(in crate::cuda) fn of(pairs: Pairs<'_>, real: Real) -> Self {
        let mut used = Self::default();
        for pair in busy(pairs) {
            used = used.and(Self::of_pair(shape_of(pairs, &pair), real, dropped_below(&pair)));
        }
        used
    }

    /// What a pair of such a shape needs.
    fn of_pair(shape: [u32; 4], real: Real, dropped_below: u32) -> Self {
        let slabs = slabs(real, shape) as usize;
        let [rows, rank, inputs, outputs] = shape.map(|len| len as usize);
        let is_masked = dropped_below > 0;
        Self {
            low_values: low_values(rows, rank),
            partial_values: if slabs > 1 { slabs * rank * (inputs + outputs) } else { 0 },
            mask_bytes: if is_masked { rows * inputs.div_ceil(8) } else { 0 },
        }
    }

    /// What both need, one behind the other.
    fn and(self, other: Self) -> Self {
        Self {
            low_values: self.low_values + other.low_values,
            partial_values: self.partial_values + other.partial_values,
            mask_bytes: self.mask_bytes + other.mask_bytes,
        }
    }

    /// What each of two needs.
    pub(in crate::cuda) fn or(self, other: Self) -> Self {
        Self {
            low_values: self.low_values.max(other.low_values),
            partial_values: self.partial_values.max(other.partial_values),
            mask_bytes: self.mask_bytes.max(other.mask_bytes),
        }
    }
}

impl LoraTables {
    /// The tables of a batch's pairs on such rows, in a backward pass or a forward one; of other pairs of
    /// the same pass and the same shapes the tiles are taken over.
    pub(in crate::cuda) fn new(
        (pairs, real): (Pairs<'_>, Real),
        places: &LoraPlaces<'_>,
        (like, is_backward): (Option<&Self>, bool),
    ) -> Result<Self, PlanError> {
        expect_len("the list of adapters", places.adapters.len(), pairs.adapters.len())?;
        if !places.gradients.is_empty() {
            let segments = pairs.batch.segments().len();
            expect_len("the list of gradients", places.gradients.len(), segments)?;
        }
        let mut used = Scratch::default();
        let records: Vec<LoraPair> =
            busy(pairs).map(|pair| record_of((pairs, real), &pair, places, &mut used)).collect();
        count("the pairs of a batch", records.len())?;
        let tiles = match like.filter(|like| are_alike(&like.pairs, &records)) {
            Some(like) => Arc::clone(&like.tiles),
            None => Arc::new(LoraTiles::new(&records, is_backward)),
        };
        Ok(Self { pairs: records, tiles })
    }
}

/// Whether pairs have the same tiles.
fn are_alike(some: &[LoraPair], others: &[LoraPair]) -> bool {
    let shape = |pair: &LoraPair| [pair.first_row, pair.rows, pair.rank, pair.inputs, pair.outputs];
    some.iter().map(shape).eq(others.iter().map(shape))
}

impl LoraTiles {
    fn new(pairs: &[LoraPair], is_backward: bool) -> Self {
        let mut all = Self::default();
        for (at, pair) in (0..).zip(pairs) {
            all.add_forward(at, pair);
        }
        if is_backward {
            all.add_backward(pairs);
        }
        all
    }

    fn add_forward(&mut self, at: u32, pair: &LoraPair) {
        let [rows, outputs] = [pair.rows, pair.outputs].map(wide);
        self.low.extend(tiles(at, 0, rows, ranks(pair)));
        self.up.extend(tiles(at, 0, rows, outputs));
    }

    fn add_backward(&mut self, pairs: &[LoraPair]) {
        for (at, pair) in (0..).zip(pairs) {
            let [rows, inputs, outputs] = [pair.rows, pair.inputs, pair.outputs].map(wide);
            self.low_slopes.extend(tiles(at, 0, rows, ranks(pair)));
            self.low_slopes.extend(tiles(at, 1, rows, ranks(pair)));
            for slab in 0..pair.slabs() {
                self.pair_slopes.extend(tiles(at, 2 * slab, ranks(pair), inputs));
                self.pair_slopes.extend(tiles(at, 2 * slab + 1, outputs, ranks(pair)));
            }
            if pair.slabs() > 1 {
                let (values, one) =
                    (Side { len: pair.values(), step: SUMMED }, Side { len: 1, step: 1 });
                self.input_slopes.extend(tiles(at, 0, values, one));
            }
        }
        self.sums = self.input_slopes.len();
        // Pairs of a segment follow each other, and are added to its rows in their order.
        let mut first = 0;
        for segment in pairs.chunk_by(|pair, next| pair.first_row == next.first_row) {
            let count = segment.len() as u32;
            let (rows, inputs) = (wide(segment[0].rows), wide(segment[0].inputs));
            self.input_slopes.extend(tiles(first, count, rows, inputs));
            first += count;
        }
    }
}

fn ranks(pair: &LoraPair) -> Side {
    Side { len: pair.rank as usize, step: RANKS }
}

/// A side that is not the rank.
fn wide(len: u32) -> Side {
    Side { len: len as usize, step: WIDE }
}

/// Rows, rank, inputs and outputs of a pair on its segment.
fn shape_of(pairs: Pairs<'_>, pair: &Pair<'_>) -> [u32; 4] {
    let rows = pairs.batch.rows(pair.segment).len();
    [rows, pair.entry.rank, pair.entry.inputs, pair.entry.outputs].map(|len| len as u32)
}

/// The pair as kernels read it, whose memory begins behind what is used.
fn record_of(
    (pairs, real): (Pairs<'_>, Real),
    pair: &Pair<'_>,
    places: &LoraPlaces<'_>,
    used: &mut Scratch,
) -> LoraPair {
    let (entry, shape) = (pair.entry, shape_of(pairs, pair));
    let values = pair.segment.adapter.map_or(Address::NONE, |at| places.adapters[at]);
    let gradients = places.gradients.get(pair.at).copied().unwrap_or(Address::NONE);
    let dropped_below = dropped_below(pair);
    let needs = Scratch::of_pair(shape, real, dropped_below);
    let only_if = |bytes: usize, place: Address| if bytes > 0 { place } else { Address::NONE };
    let [rows, rank, inputs, outputs] = shape;
    let record = LoraPair {
        a: values.plus_floats(entry.a.start),
        b: values.plus_floats(entry.b.start),
        d_a: gradients.plus_floats(entry.a.start),
        d_b: gradients.plus_floats(entry.b.start),
        low: places.low.plus_floats(used.low_values),
        d_low: places.d_low.plus_floats(used.low_values),
        partial: only_if(needs.partial_values, places.partial.plus_floats(used.partial_values)),
        masks: only_if(needs.mask_bytes, places.masks.plus(used.mask_bytes)),
        dropout_key: pair.segment.dropout.as_ref().map_or(0, |dropout| dropout.key),
        site: (entry.site.layer as u64) << 8 | entry.site.module as u64,
        first_row: pairs.batch.rows(pair.segment).start as u32,
        rows,
        rank,
        inputs,
        outputs,
        slab_rows: rows.div_ceil(slabs(real, shape)),
        column: pair.column as u32,
        dropped_below,
        kept: 1000.0 / (1000 - rate_per_mille(pair)) as f32,
        scale: entry.scale,
    };
    *used = used.and(needs);
    record
}

fn rate_per_mille(pair: &Pair<'_>) -> u32 {
    pair.segment.dropout.as_ref().map_or(0, |dropout| dropout.rate_per_mille)
}

/// The draw, of 2^32, from which on features are kept at the pair's rate, which is below 1000: the same
/// as `draw * 1000 < rate << 32`, which the CPU asks.
fn dropped_below(pair: &Pair<'_>) -> u32 {
    (u64::from(rate_per_mille(pair)) << 32).div_ceil(1000) as u32
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

    /// Of the values of all slabs and so many times more, of pairs that have several.
    fn slab_cost(&self, more: i64) -> Cost {
        let in_slabs = self.pairs.iter().filter(|pair| pair.slabs() > 1);
        let values = |pair: &LoraPair| (i64::from(pair.slabs()) + more) * pair.values() as i64;
        Cost::floats(in_slabs.map(values).sum::<i64>().unsigned_abs())
    }

    /// Of all masks of dropout, written or read.
    fn mask_cost(&self) -> Cost {
        let masked = self.pairs.iter().filter(|pair| pair.dropped_below > 0);
        let bytes = masked.map(|pair| u64::from(pair.rows) * u64::from(pair.inputs.div_ceil(8)));
        Cost { bytes: bytes.sum(), ..Cost::default() }
    }
}

/// Bytes of shared memory that the tiles of a product of pairs take.
fn tile_bytes(real: Real, rows: usize, columns: usize) -> usize {
    match real {
        Real::Float => product_bytes(rows, columns),
        Real::Bf16 => tensor_product_bytes(rows, columns),
    }
}

/// The same of a tile along the rank, with the keys of its rows.
fn low_bytes(real: Real) -> usize {
    tile_bytes(real, WIDE, RANKS) + 8 * WIDE
}

/// Forward, first: `low`.
pub(in crate::cuda) fn lora_low(
    real: Real,
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let launch =
        Launch::new(Kernel::LoraLow, (tables.tiles.low.len() as u64, 1), low_bytes(real), args);
    Launch::worth(launch, tables.cost((1, 0), (1, 0)))
}

/// Forward, second: `y`.
pub(in crate::cuda) fn lora_up(
    real: Real,
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let blocks = (tables.tiles.up.len() as u64, 1);
    let launch = Launch::new(Kernel::LoraUp, blocks, tile_bytes(real, WIDE, WIDE), args);
    Launch::worth(launch, tables.cost((0, 1), (0, 2)))
}

/// Backward, first: `low` again, and `d_low`.
pub(in crate::cuda) fn lora_low_slopes(
    real: Real,
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let blocks = (tables.tiles.low_slopes.len() as u64, 1);
    let launch = Launch::new(Kernel::LoraLowSlopes, blocks, low_bytes(real), args);
    Launch::worth(launch, tables.cost((1, 1), (1, 1)).and(tables.mask_cost()))
}

/// Backward, second: the gradients of `A` and `B`.
pub(in crate::cuda) fn lora_pair_slopes(
    real: Real,
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let blocks = (tables.tiles.pair_slopes.len() as u64, 1);
    let launch = Launch::new(Kernel::LoraPairSlopes, blocks, tile_bytes(real, WIDE, RANKS), args);
    let cost = tables.cost((1, 1), (1, 1)).and(tables.mask_cost());
    // Each slab has values of its own, in place of those that are counted already.
    Launch::worth(launch, cost.and(tables.slab_cost(-1)))
}

/// Backward, third: `dx`, where it is wanted, and gradients that are in slabs.
pub(in crate::cuda) fn lora_input_slopes(
    real: Real,
    args: LoraArgs,
    tables: &LoraTables,
) -> Result<Option<Launch>, PlanError> {
    let (blocks, cost) = match args.dx {
        Address::NONE => (tables.tiles.sums, Cost::default()),
        _ => (tables.tiles.input_slopes.len(), tables.cost((1, 0), (2, 0)).and(tables.mask_cost())),
    };
    let shared = tile_bytes(real, WIDE, WIDE);
    let launch = Launch::new(Kernel::LoraInputSlopes, (blocks as u64, 1), shared, args);
    // Values of all slabs are read, and their sums written.
    Launch::worth(launch, cost.and(tables.slab_cost(1)))
}
