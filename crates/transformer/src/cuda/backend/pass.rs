//! What kernels read of one pass, beside rows: the batch, its adapters, and what each launch on
//! their pairs does. All of it comes to the machine in two copies, before the pass begins.

use std::sync::Arc;

use super::tables::{Place, Placed, Tables};
use crate::adapter::Adapter;
use crate::backend::{Fault, Group, Pairs};
use crate::cuda::machine::Machine;
use crate::cuda::plan::attention::{AttentionSize, attention_tiles};
use crate::cuda::plan::batch::BatchTables;
use crate::cuda::plan::lora::{LoraPlaces, LoraTables, LoraTiles, Scratch};
use crate::cuda::record::{Address, floats_of};
use crate::cuda::source::Real;
use crate::packed::Packed;

/// Groups of linear layers, as [`Pass::group`] counts them.
const GROUPS: [Group; 4] =
    [Group::QueryKeyValue, Group::AttentionOutput, Group::Intermediate, Group::Output];

/// A pass under way.
pub(super) struct Pass<M: Machine> {
    batch: Placed<M>,
    tokens: Place,
    texts: Place,
    offsets: Place,
    firsts: Place,
    text_keys: Place,
    /// Of attention.
    tiles: (Place, AttentionSize),
    adapters: Option<AdapterValues<M>>,
    /// `[layers * groups]`, where pairs are adapted.
    pairs: Vec<Option<OnPairs>>,
    tables: Option<Placed<M>>,
    gradients: Option<Gradients<M>>,
    scratch: Option<[M::Buffer; 4]>,
}

/// Where the values of all adapters of a batch lie.
struct AdapterValues<M: Machine> {
    /// Where they were brought along: held for as long as kernels read it.
    _memory: Option<Placed<M>>,
    places: Vec<Address>,
}

/// The adapters that segments index.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub(super) adapters: &'a [&'a Adapter],
    /// Where their values lie if the machine keeps them; they are brought along else.
    pub(super) kept: Option<&'a [Address]>,
}

/// Gradients of all segments, end to end.
struct Gradients<M: Machine> {
    memory: M::Buffer,
    /// The first float of each segment's, and all floats.
    starts: Vec<usize>,
}

/// What the launches on one group of one layer read.
pub(super) struct OnPairs {
    pub(super) tables: LoraTables,
    pairs: Place,
    tiles: TilePlaces,
}

/// Where the tiles of each launch on pairs are.
#[derive(Clone, Copy)]
struct TilePlaces {
    low: Place,
    up: Place,
    low_slopes: Place,
    pair_slopes: Place,
    input_slopes: Place,
}

/// A launch on pairs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Low,
    Up,
    LowSlopes,
    PairSlopes,
    InputSlopes,
}

/// Where a pass finds what it reads of the batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchPlaces {
    pub(super) tokens: Address,
    pub(super) texts: Address,
    pub(super) offsets: Address,
    pub(super) firsts: Address,
    pub(super) text_keys: Address,
}

impl<M: Machine> Pass<M> {
    /// Brings a batch and its adapters to the machine, for such rows and heads so wide; with room for
    /// gradients where the pass is a backward one.
    pub(super) fn begin(
        machine: &M,
        (batch, real, head_width): (&Packed, Real, usize),
        slots: Slots<'_>,
        (is_backward, room): (bool, &mut Vec<u8>),
    ) -> Result<Self, Fault> {
        let of_batch = BatchTables::new(batch)?;
        let mut tables = Tables::on(room);
        let tokens = tables.numbers(batch.tokens());
        let texts = tables.numbers(&of_batch.texts);
        let offsets = tables.numbers(&of_batch.offsets);
        let firsts = tables.numbers(&of_batch.firsts);
        let text_keys = tables.numbers(&of_batch.text_keys);
        let planned = attention_tiles(&of_batch.offsets, real, head_width)?;
        let size = AttentionSize::new(&of_batch.offsets, planned.len());
        let tiles = (tables.records(&planned), size);
        let mut pass = Self {
            batch: tables.upload(machine)?,
            tokens,
            texts,
            offsets,
            firsts,
            text_keys,
            tiles,
            adapters: None,
            pairs: Vec::new(),
            tables: None,
            gradients: None,
            scratch: None,
        };
        if batch.segments().iter().any(|segment| segment.adapter.is_some()) {
            pass.bring_adapters(machine, slots, room)?;
            if is_backward {
                pass.make_room(machine, batch, slots.adapters)?;
            }
            pass.plan_pairs(machine, (batch, real), slots.adapters, (is_backward, room))?;
        }
        Ok(pass)
    }

    fn bring_adapters(
        &mut self,
        machine: &M,
        slots: Slots<'_>,
        room: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if let Some(kept) = slots.kept {
            self.adapters = Some(AdapterValues { _memory: None, places: kept.to_vec() });
            return Ok(());
        }
        let mut tables = Tables::on(room);
        let places: Vec<Place> =
            slots.adapters.iter().map(|adapter| tables.numbers(&adapter.values)).collect();
        let memory = tables.upload(machine)?;
        let places = places.into_iter().map(|place| memory.at(machine, place)).collect();
        self.adapters = Some(AdapterValues { _memory: Some(memory), places });
        Ok(())
    }

    fn make_room(
        &mut self,
        machine: &M,
        batch: &Packed,
        adapters: &[&Adapter],
    ) -> Result<(), Fault> {
        let mut starts = vec![0];
        for segment in batch.segments() {
            let values = segment.adapter.map_or(0, |at| adapters[at].layout.len());
            starts.push(starts[starts.len() - 1] + values);
        }
        let mut memory = machine.buffer(4 * starts[starts.len() - 1])?;
        machine.clear(&mut memory)?;
        self.gradients = Some(Gradients { memory, starts });
        Ok(())
    }

    /// Lays out what the launches on all pairs read.
    fn plan_pairs(
        &mut self,
        machine: &M,
        (batch, real): (&Packed, Real),
        adapters: &[&Adapter],
        (is_backward, room): (bool, &mut Vec<u8>),
    ) -> Result<(), Fault> {
        let last = |adapter: &&Adapter| adapter.layout.entries().last().map(|it| it.site.layer);
        let layers = adapters.iter().filter_map(last).max().map_or(0, |layer| layer + 1);
        let sites: Vec<Pairs<'_>> = (0..layers)
            .flat_map(|layer| GROUPS.map(|group| Pairs { batch, adapters, layer, group }))
            .collect();
        let needs = sites.iter().map(|&pairs| Scratch::of(pairs, real));
        let most = needs.fold(Scratch::default(), Scratch::or);
        let low = machine.buffer(4 * most.low_values)?;
        let [d_low, partial, masks] = match is_backward {
            true => [4 * most.low_values, 4 * most.partial_values, most.mask_bytes],
            false => [0; 3],
        };
        let [d_low, partial, masks] =
            [machine.buffer(d_low)?, machine.buffer(partial)?, machine.buffer(masks)?];
        let of_backward =
            |buffer| if is_backward { machine.address(buffer) } else { Address::NONE };
        let gradients = self.gradients(machine);
        let places = LoraPlaces {
            adapters: self.adapters.as_ref().map_or(&[], |adapters| &adapters.places),
            gradients: &gradients,
            low: machine.address(&low),
            d_low: of_backward(&d_low),
            partial: of_backward(&partial),
            masks: of_backward(&masks),
        };
        let mut tables = Tables::on(room);
        for (at, pairs) in sites.into_iter().enumerate() {
            let below = at.checked_sub(GROUPS.len()).and_then(|at| self.pairs[at].as_ref());
            let plan = || OnPairs::plan((pairs, real), &places, (below, is_backward), &mut tables);
            self.pairs.push((!pairs.is_empty()).then(plan).transpose()?);
        }
        self.tables = Some(tables.upload(machine)?);
        self.scratch = Some([low, d_low, partial, masks]);
        Ok(())
    }

    pub(super) fn batch(&self, machine: &M) -> BatchPlaces {
        let at = |place| self.batch.at(machine, place);
        BatchPlaces {
            tokens: at(self.tokens),
            texts: at(self.texts),
            offsets: at(self.offsets),
            firsts: at(self.firsts),
            text_keys: at(self.text_keys),
        }
    }

    /// What launches on a group of a layer read, if anything is adapted there.
    pub(super) fn group(&self, layer: usize, group: Group) -> Option<&OnPairs> {
        let at = GROUPS.iter().position(|&it| it == group)?;
        self.pairs.get(layer * GROUPS.len() + at)?.as_ref()
    }

    /// Where the pairs of a group are, and the tiles of a launch on them.
    pub(super) fn places(&self, machine: &M, group: &OnPairs, step: Step) -> (Address, Address) {
        let tiles = match step {
            Step::Low => group.tiles.low,
            Step::Up => group.tiles.up,
            Step::LowSlopes => group.tiles.low_slopes,
            Step::PairSlopes => group.tiles.pair_slopes,
            Step::InputSlopes => group.tiles.input_slopes,
        };
        let tables = self.tables.as_ref();
        let at = |place| tables.map_or(Address::NONE, |tables| tables.at(machine, place));
        (at(group.pairs), at(tiles))
    }

    /// The tiles of attention, and how much they do.
    pub(super) fn tiles(&self, machine: &M) -> (Address, AttentionSize) {
        let (place, size) = self.tiles;
        (self.batch.at(machine, place), size)
    }

    /// Where each segment's gradients lie; none in a forward pass.
    pub(super) fn gradients(&self, machine: &M) -> Vec<Address> {
        self.gradients.as_ref().map_or_else(Vec::new, |gradients| gradients.places(machine))
    }

    /// Copies the gradients of all segments to the host.
    pub(super) fn collect(&self, machine: &M, to: &mut [Vec<f32>]) -> Result<(), Fault> {
        let Some(Gradients { memory, starts }) = &self.gradients else { return Ok(()) };
        let mut bytes = vec![0; 4 * starts[starts.len() - 1]];
        machine.download(memory, &mut bytes)?;
        let mut values = floats_of(&bytes);
        for (to, range) in to.iter_mut().zip(starts.windows(2)) {
            to.clear();
            to.extend(values.by_ref().take(range[1] - range[0]));
        }
        Ok(())
    }
}

impl<M: Machine> Gradients<M> {
    fn places(&self, machine: &M) -> Vec<Address> {
        let first = machine.address(&self.memory);
        let segments = self.starts.split_last().map_or(&[][..], |(_, starts)| starts);
        segments.iter().map(|&start| first.plus_floats(start)).collect()
    }
}

impl OnPairs {
    /// Lays out what launches read; tiles are those of the layer below where pairs have the same shapes.
    fn plan(
        pairs: (Pairs<'_>, Real),
        places: &LoraPlaces<'_>,
        (below, is_backward): (Option<&Self>, bool),
        to: &mut Tables<'_>,
    ) -> Result<Self, Fault> {
        let below_tables = below.map(|below| &below.tables);
        let tables = LoraTables::new(pairs, places, (below_tables, is_backward))?;
        let is_same = |below: &&Self| Arc::ptr_eq(&below.tables.tiles, &tables.tiles);
        let tiles = match below.filter(is_same) {
            Some(below) => below.tiles,
            None => TilePlaces::of(&tables.tiles, to),
        };
        Ok(Self { pairs: to.records(&tables.pairs), tiles, tables })
    }
}

impl TilePlaces {
    fn of(tiles: &LoraTiles, to: &mut Tables<'_>) -> Self {
        Self {
            low: to.records(&tiles.low),
            up: to.records(&tiles.up),
            low_slopes: to.records(&tiles.low_slopes),
            pair_slopes: to.records(&tiles.pair_slopes),
            input_slopes: to.records(&tiles.input_slopes),
        }
    }
}
