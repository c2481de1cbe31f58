//! Adapters that the machine keeps: their slabs, and rounds over them.
//!
//! A slab is one piece of memory: values, the running means, and the gradient of a step that has
//! begun. Its page, as long, is taken with it and stays, so that putting a slab aside never fails for
//! want of memory.

use std::ops::Range;
use std::sync::Arc;

use super::floats::Floats;
use super::rankings::{Judged, Rows};
use super::tables::{Placed, Tables};
use super::{Cuda, CudaWorkspace, run, short};
use crate::adapter::Adapter;
use crate::backend::{Fault, Pools};
use crate::cuda::launch::Launch;
use crate::cuda::machine::Machine;
use crate::cuda::plan::optimizer::{
    Slab, Step, StepArgs, Sum, SumArgs, adamw_step, gradient_norm, gradient_squares, norm_tiles,
    parts, step_tiles, sum_gradients,
};
use crate::cuda::record::{Address, bytes_of, floats_of};
use crate::keeper::{AdamStep, Ending, Judging, Keeper, Member, SlabState, Verdict};
use crate::packed::Packed;

/// An adapter's state.
pub struct CudaSlab<M: Machine> {
    /// Values of the adapter.
    count: usize,
    page: M::Page,
    place: Place<M>,
}

/// Where a state is.
enum Place<M: Machine> {
    /// In the page.
    Aside,
    /// On its way from the page to the machine.
    Arriving(M::Arriving),
    /// On the machine; the page is from before. A round under way holds it too.
    There(Arc<M::Buffer>),
    /// Nowhere: the machine failed on the way.
    Lost,
}

/// The slabs of a round's members.
pub(super) struct KeptSlabs<M: Machine> {
    slabs: Vec<(Arc<M::Buffer>, usize)>,
}

impl<M: Machine> KeptSlabs<M> {
    /// Where the values of these adapters lie, which are the members.
    pub(super) fn values(
        &self,
        machine: &M,
        adapters: &[&Adapter],
    ) -> Result<Vec<Address>, String> {
        let lengths = adapters.iter().map(|adapter| adapter.layout.len());
        if !lengths.eq(self.slabs.iter().map(|(_, count)| *count)) {
            return Err("the adapters of a pass are not those of its round".to_owned());
        }
        Ok(self.slabs.iter().map(|(slab, _)| machine.address(slab)).collect())
    }
}

/// A round under way; nothing of it is there once something has failed.
pub struct CudaRound<M: Machine> {
    memory: Option<RoundMemory<M>>,
    members: Vec<Kept>,
    /// Held until it ends.
    _slabs: Vec<Arc<M::Buffer>>,
    /// Once it is judged.
    judged: Option<Judged<M>>,
    texts: usize,
    hidden: usize,
}

impl<M: Machine> CudaRound<M> {
    /// Whether rows of texts from `text` on are all there.
    fn holds(&self, text: usize, rows: &[f32]) -> bool {
        text * self.hidden + rows.len() <= self.texts * self.hidden
    }
}

struct RoundMemory<M: Machine> {
    /// `[texts, hidden]`, f32: pooled, and scaled once they are judged.
    rows: M::Buffer,
    /// `[texts]`
    lengths: M::Buffer,
    /// `[texts, hidden]`, f32, by scaled rows, and by pooled ones once they are settled.
    slopes: M::Buffer,
    /// Of all members' gradients, end to end.
    sums: M::Buffer,
    /// `[members, 2]`: loss, and norm.
    verdicts: M::Buffer,
}

/// A member of a round.
#[derive(Clone, Copy)]
struct Kept {
    slab: Address,
    sum: Address,
    count: usize,
}

impl Kept {
    /// Where an array of the slab begins.
    fn part(self, at: usize) -> Address {
        self.slab.plus_floats(at * self.count)
    }

    /// The gradient of a step that has begun.
    fn gradient(self) -> Address {
        self.part(3)
    }

    /// More for its sum.
    fn more(self, terms: Vec<Address>) -> SumOf {
        SumOf { to: self.sum, count: self.count, terms, is_added: true }
    }
}

impl<M: Machine> Keeper<Cuda<M>> for Cuda<M> {
    type Slab = CudaSlab<M>;
    type Round = CudaRound<M>;

    fn take(&self, state: &SlabState) -> Result<CudaSlab<M>, Fault> {
        let SlabState { values, mean, square, gradient } = state;
        let count = values.len();
        let mut bytes = Vec::with_capacity(SlabState::bytes(count));
        for part in [values, mean, square, gradient] {
            bytes.extend(bytes_of(part));
            let missing = 4 * (count - part.len());
            bytes.resize(bytes.len() + missing, 0);
        }
        Ok(CudaSlab { count, page: self.machine.page(&bytes)?, place: Place::Aside })
    }

    fn bring(&self, slab: &mut CudaSlab<M>) {
        if matches!(slab.place, Place::Aside)
            && let Some(arriving) = self.attempt(|machine| machine.bring(&mut slab.page))
        {
            slab.place = Place::Arriving(arriving);
        }
    }

    fn put_aside(&self, slab: &mut CudaSlab<M>) {
        self.settle(slab);
        if self.fault().is_some() {
            return;
        }
        slab.place = match std::mem::replace(&mut slab.place, Place::Lost) {
            Place::There(buffer) => match Arc::try_unwrap(buffer) {
                Ok(buffer) => match self.machine.put_aside(buffer, &mut slab.page) {
                    Ok(()) => Place::Aside,
                    Err((buffer, fault)) => {
                        self.fault().get_or_insert(fault);
                        buffer.map_or(Place::Lost, |buffer| Place::There(Arc::new(buffer)))
                    }
                },
                Err(shared) => Place::There(shared),
            },
            other => other,
        };
    }

    fn read(&self, slab: &CudaSlab<M>) -> Result<SlabState, Fault> {
        let mut bytes = vec![0; SlabState::bytes(slab.count)];
        match &slab.place {
            Place::There(buffer) => self.machine.download(buffer, &mut bytes)?,
            // What is on its way is in the page as well.
            Place::Aside | Place::Arriving(_) => self.machine.read_page(&slab.page, &mut bytes)?,
            Place::Lost => {
                let words = "an adapter was lost with its card\nhint: go on from the checkpoint";
                return Err(Fault::Lost(words.to_owned()));
            }
        }
        let mut values = floats_of(&bytes);
        let mut part = || values.by_ref().take(slab.count).collect();
        Ok(SlabState { values: part(), mean: part(), square: part(), gradient: part() })
    }

    fn begin(
        &self,
        workspace: &mut CudaWorkspace<M>,
        members: &mut [Member<'_, CudaSlab<M>>],
        (texts, hidden): (usize, usize),
    ) -> CudaRound<M> {
        members.iter_mut().for_each(|member| self.settle(member.slab));
        let begun = self.attempt(|machine| {
            let values = members.iter().map(|member| member.slab.count).sum();
            let memory = RoundMemory::new(machine, (members.len(), values), (texts, hidden))?;
            let kept = memory.members(machine, members)?;
            let going_on = members.iter().zip(&kept).filter(|(member, _)| member.goes_on);
            let sums: Vec<SumOf> =
                going_on.map(|(_, kept)| kept.more(vec![kept.gradient()])).collect();
            Sums::new(machine, &sums)?.launch(machine)?;
            Ok((memory, kept))
        });
        let (memory, kept) =
            begun.map_or((None, Vec::new()), |(memory, kept)| (Some(memory), kept));
        let there = |member: &Member<'_, CudaSlab<M>>| match &member.slab.place {
            Place::There(buffer) => Some((Arc::clone(buffer), member.slab.count)),
            Place::Aside | Place::Arriving(_) | Place::Lost => None,
        };
        let slabs: Vec<(Arc<M::Buffer>, usize)> = members.iter().filter_map(there).collect();
        let held = slabs.iter().map(|(slab, _)| Arc::clone(slab)).collect();
        // Of a round that is not there, too, no values are read from the host.
        workspace.kept = Some(KeptSlabs { slabs });
        CudaRound { memory, members: kept, _slabs: held, judged: None, texts, hidden }
    }

    fn pool(
        &self,
        workspace: &mut CudaWorkspace<M>,
        pools: Pools<'_>,
        x: &Floats<M>,
        (round, text): (&mut CudaRound<M>, usize),
    ) {
        let (Some(pass), Some(memory)) = (&workspace.pass, &round.memory) else { return };
        if let Some(first) = self.first_of(round, pools, text) {
            let out = self.machine.address(&memory.rows).plus_floats(first);
            self.pool_to(pass, (pools, round.hidden), x, out);
        }
    }

    fn judge(&self, round: &mut CudaRound<M>, judgings: &[Judging<'_>]) {
        let CudaRound { memory: Some(memory), members, texts, hidden, .. } = round else { return };
        if judgings.len() != members.len() {
            return self.refuse("a round has one judging for each member");
        }
        let [rows, lengths, slopes, verdicts] =
            [&memory.rows, &memory.lengths, &memory.slopes, &memory.verdicts]
                .map(|buffer| self.machine.address(buffer));
        let places = Rows { rows, lengths, slopes, verdicts, texts: *texts, hidden: *hidden };
        round.judged = self.attempt(|machine| Judged::judge(machine, places, judgings));
    }

    fn write_loss(&self, round: &mut CudaRound<M>, member: usize, loss: f32) {
        let Some(memory) = &round.memory else { return };
        if member >= round.members.len() {
            return self.refuse("a loss is of no member of its round");
        }
        self.write_from(&memory.verdicts, 2 * member, &[loss]);
    }

    fn read_values(&self, round: &CudaRound<M>, member: usize, part: Range<usize>) -> Vec<f32> {
        let kept = round.members.get(member).filter(|kept| part.end <= kept.count);
        if kept.is_none() && round.memory.is_some() {
            self.refuse("values are asked for of no member of a round");
        }
        self.read_part(kept.map(|kept| kept.part(0).plus_floats(part.start)), part.len())
    }

    fn settle(&self, round: &mut CudaRound<M>) {
        match &round.judged {
            Some(judged) => drop(self.attempt(|machine| judged.settle(machine))),
            None if round.memory.is_none() => {}
            None => self.refuse("a round is settled that was not judged"),
        }
    }

    fn pool_backward(
        &self,
        workspace: &mut CudaWorkspace<M>,
        pools: Pools<'_>,
        (round, text): (&CudaRound<M>, usize),
        dx: &mut Floats<M>,
    ) {
        let (Some(pass), Some(memory)) = (&workspace.pass, &round.memory) else { return };
        if let Some(first) = self.first_of(round, pools, text) {
            let d_out = self.machine.address(&memory.slopes).plus_floats(first);
            self.unpool_from(pass, (pools, round.hidden), d_out, dx);
        }
    }

    fn sum(&self, workspace: &mut CudaWorkspace<M>, batch: &Packed, round: &mut CudaRound<M>) {
        let Some(pass) = &workspace.pass else { return };
        self.attempt(|machine| {
            let places = pass.gradients(machine);
            let mut terms = vec![Vec::new(); round.members.len()];
            for (segment, place) in batch.segments().iter().zip(places) {
                segment.adapter.into_iter().for_each(|at| terms[at].push(place));
            }
            let sums = round.members.iter().zip(terms).filter(|(_, terms)| !terms.is_empty());
            let sums: Vec<SumOf> = sums.map(|(member, terms)| member.more(terms)).collect();
            Sums::new(machine, &sums)?.launch(machine)
        });
    }

    fn begin_helping(
        &self,
        workspace: &mut CudaWorkspace<M>,
        values: &[&[f32]],
        (texts, hidden): (usize, usize),
    ) -> CudaRound<M> {
        let begun = self.attempt(|machine| {
            let memory = RoundMemory::new(machine, (0, 0), (texts, hidden))?;
            let brought = values
                .iter()
                .map(|values| Ok((Arc::new(machine.upload(&bytes_of(values))?), values.len())));
            Ok((memory, brought.collect::<Result<Vec<_>, Fault>>()?))
        });
        let (memory, slabs) =
            begun.map_or((None, Vec::new()), |(memory, slabs)| (Some(memory), slabs));
        let held = slabs.iter().map(|(slab, _)| Arc::clone(slab)).collect();
        workspace.kept = Some(KeptSlabs { slabs });
        CudaRound { memory, members: Vec::new(), _slabs: held, judged: None, texts, hidden }
    }

    fn read_rows(&self, round: &CudaRound<M>) -> Vec<f32> {
        let mut rows = vec![0.0; round.texts * round.hidden];
        if let Some(memory) = &round.memory {
            self.download_from(&memory.rows, &mut rows);
        }
        rows
    }

    fn write_rows(&self, round: &mut CudaRound<M>, text: usize, rows: &[f32]) {
        let Some(memory) = &round.memory else { return };
        match round.holds(text, rows) {
            true => self.write_from(&memory.rows, text * round.hidden, rows),
            false => self.refuse("rows go beyond their round"),
        }
    }

    fn read_slopes(&self, round: &CudaRound<M>, texts: Range<usize>) -> Vec<f32> {
        if texts.end > round.texts || texts.start > texts.end {
            self.refuse("slopes are asked for beyond their round");
        }
        let first = texts.start * round.hidden;
        let slopes = round.memory.as_ref().map(|memory| self.machine.address(&memory.slopes));
        self.read_part(slopes.map(|slopes| slopes.plus_floats(first)), texts.len() * round.hidden)
    }

    fn write_slopes(&self, round: &mut CudaRound<M>, text: usize, slopes: &[f32]) {
        let Some(memory) = &round.memory else { return };
        match round.holds(text, slopes) {
            true => self.write_from(&memory.slopes, text * round.hidden, slopes),
            false => self.refuse("slopes go beyond their round"),
        }
    }

    fn add_gradient(
        &self,
        round: &mut CudaRound<M>,
        (member, first): (usize, usize),
        gradient: &[f32],
    ) {
        if round.memory.is_none() {
            return;
        }
        let end = first.saturating_add(gradient.len());
        match round.members.get(member).filter(|kept| end <= kept.count) {
            Some(&kept) => {
                let brought = self.wide(gradient);
                let terms = vec![self.at(&brought)];
                let (to, count) = (kept.sum.plus_floats(first), gradient.len());
                let sum = SumOf { to, count, terms, is_added: true };
                self.attempt(|machine| Sums::new(machine, &[sum])?.launch(machine));
            }
            None => self.refuse("a gradient is of no member of its round"),
        }
    }

    fn leave(&self, workspace: &mut CudaWorkspace<M>) {
        workspace.kept = None;
        workspace.pass = None;
    }

    fn end(&self, workspace: &mut CudaWorkspace<M>, round: &mut CudaRound<M>, endings: &[Ending]) {
        workspace.kept = None;
        workspace.pass = None;
        let CudaRound { memory: Some(memory), members, .. } = round else { return };
        if endings.len() != members.len() {
            return self.refuse("a round has one ending for each member");
        }
        self.attempt(|machine| {
            let verdicts = machine.address(&memory.verdicts);
            let all = || members.iter().enumerate().zip(endings);
            let steps: Vec<Step> = all()
                .filter_map(|((at, member), ending)| match ending {
                    Ending::Step(step) => {
                        Some(step_of(*member, verdicts.plus_floats(2 * at), *step))
                    }
                    Ending::Keep => None,
                })
                .collect();
            let kept: Vec<Kept> = all()
                .filter_map(|((_, member), ending)| match ending {
                    Ending::Step(_) => None,
                    Ending::Keep => Some(*member),
                })
                .collect();
            end(machine, &steps, &kept)
        });
    }

    fn verdicts(&self, round: CudaRound<M>) -> Vec<Verdict> {
        let mut values = vec![0.0; 2 * round.members.len()];
        if let Some(memory) = round.memory {
            let (len, has_failed) = (values.len(), self.fault().is_some());
            self.download_wide(&Floats::new(memory.verdicts, len), &mut values);
            let mut fault = self.fault();
            *fault = fault.take().map(|fault| if has_failed { fault } else { final_one(fault) });
        }
        let (pairs, _) = values.as_chunks::<2>();
        pairs.iter().map(|&[loss, gradient_norm]| Verdict { loss, gradient_norm }).collect()
    }
}

impl<M: Machine> Cuda<M> {
    /// The first f32 of a batch's rows in a round, from a text on, if they are all there.
    fn first_of(&self, round: &CudaRound<M>, pools: Pools<'_>, text: usize) -> Option<usize> {
        if text + pools.batch.texts() > round.texts {
            self.refuse("a pass has more texts than are left of its round");
            return None;
        }
        Some(text * round.hidden)
    }

    /// So many f32 of a round, on the host.
    fn read_part(&self, from: Option<Address>, count: usize) -> Vec<f32> {
        let mut values = vec![0.0; count];
        let Some(from) = from else { return values };
        let part = self.wide_room(count);
        self.copy_part(from, self.at(&part), count);
        self.download_wide(&part, &mut values);
        values
    }

    /// Puts f32 of the host into a buffer of a round, from a value on.
    fn write_from(&self, buffer: &M::Buffer, first: usize, values: &[f32]) {
        let part = self.wide(values);
        let to = self.machine.address(buffer).plus_floats(first);
        self.copy_part(self.at(&part), to, values.len());
    }

    fn copy_part(&self, from: Address, to: Address, count: usize) {
        let copied = SumOf { to, count, terms: vec![from], is_added: false };
        self.attempt(|machine| Sums::new(machine, &[copied])?.launch(machine));
    }

    /// What arrives is there, for what is asked for from now on.
    fn settle(&self, slab: &mut CudaSlab<M>) {
        if let Place::Arriving(_) = slab.place
            && let Place::Arriving(arriving) = std::mem::replace(&mut slab.place, Place::Aside)
            && let Some(buffer) = self.attempt(|machine| machine.arrive(arriving))
        {
            slab.place = Place::There(Arc::new(buffer));
        }
    }
}

impl<M: Machine> RoundMemory<M> {
    /// Memory for so many members, of so many values together.
    fn new(
        machine: &M,
        (members, values): (usize, usize),
        (texts, hidden): (usize, usize),
    ) -> Result<Self, Fault> {
        let zeros = |bytes| {
            let mut buffer = machine.buffer(bytes)?;
            machine.clear(&mut buffer)?;
            Ok::<_, Fault>(buffer)
        };
        Ok(Self {
            rows: machine.buffer(4 * texts * hidden)?,
            lengths: machine.buffer(4 * texts)?,
            slopes: machine.buffer(4 * texts * hidden)?,
            sums: zeros(4 * values)?,
            verdicts: zeros(8 * members)?,
        })
    }

    /// Where the members' slabs and sums lie.
    fn members(
        &self,
        machine: &M,
        members: &[Member<'_, CudaSlab<M>>],
    ) -> Result<Vec<Kept>, Fault> {
        let first = machine.address(&self.sums);
        let mut start = 0;
        let mut kept = Vec::with_capacity(members.len());
        for Member { slab, .. } in members {
            let Place::There(buffer) = &slab.place else {
                let words = "an adapter was not brought to its card";
                return Err(Fault::Refused(words.to_owned()));
            };
            let (sum, count) = (first.plus_floats(start), slab.count);
            kept.push(Kept { slab: machine.address(buffer), sum, count });
            start += count;
        }
        Ok(kept)
    }
}

/// Sums that are ready to be launched.
struct Sums<M: Machine> {
    _tables: Placed<M>,
    launch: Option<Launch>,
}

/// One of them.
struct SumOf {
    to: Address,
    count: usize,
    /// In the order of adding.
    terms: Vec<Address>,
    /// Whether they are added to what is there.
    is_added: bool,
}

impl<M: Machine> Sums<M> {
    fn new(machine: &M, sums: &[SumOf]) -> Result<Self, Fault> {
        let mut first_term = 0;
        let record = |sum: &SumOf| {
            let record = Sum {
                to: sum.to,
                count: short(sum.count),
                first_term,
                term_count: short(sum.terms.len()),
                is_added: u32::from(sum.is_added),
            };
            first_term += record.term_count;
            record
        };
        let records: Vec<Sum> = sums.iter().map(record).collect();
        let counts: Vec<u32> = records.iter().map(|record| record.count).collect();
        let terms: Vec<u64> = sums.iter().flat_map(|sum| &sum.terms).map(|term| term.0).collect();
        let tiles = step_tiles(&counts);
        let mut room = Vec::new();
        let mut tables = Tables::on(&mut room);
        let (sums, terms) = (tables.records(&records), tables.numbers(&terms));
        let blocks = tables.records(&tiles);
        let there = tables.upload(machine)?;
        let at = |place| there.at(machine, place);
        let args = SumArgs { sums: at(sums), terms: at(terms), tiles: at(blocks) };
        Ok(Self { launch: sum_gradients(args, &records, tiles.len())?, _tables: there })
    }

    fn launch(self, machine: &M) -> Result<(), Fault> {
        run(machine, self.launch)
    }
}

/// A fault of a round that has ended: it must not be run again.
fn final_one(fault: Fault) -> Fault {
    match fault {
        Fault::OutOfMemory(words) => Fault::Refused(words),
        fault @ (Fault::Lost(_) | Fault::Refused(_)) => fault,
    }
}

/// Steps these, and keeps the sums of those. Nothing is launched before all is there that it takes.
fn end<M: Machine>(machine: &M, steps: &[Step], kept: &[Kept]) -> Result<(), Fault> {
    let keep = |member: &Kept| {
        let (to, terms) = (member.gradient(), vec![member.sum]);
        SumOf { to, count: member.count, terms, is_added: false }
    };
    let sums = Sums::new(machine, &kept.iter().map(keep).collect::<Vec<_>>())?;
    let counts: Vec<u32> = steps.iter().map(|step| step.count).collect();
    let parts_of = |step: &Step| parts(step.count as usize);
    let squares = machine.buffer(8 * steps.iter().map(parts_of).sum::<usize>())?;
    let mut next = machine.address(&squares);
    let place = |step: &Step| {
        let squares = next;
        next = next.plus_keys(parts_of(step));
        Step { squares, ..*step }
    };
    let steps: Vec<Step> = steps.iter().map(place).collect();
    let (of_norms, of_steps) = (norm_tiles(&counts), step_tiles(&counts));
    let mut room = Vec::new();
    let mut tables = Tables::on(&mut room);
    let records = tables.records(&steps);
    let blocks = [&of_norms, &of_steps].map(|tiles| tables.records(tiles));
    let there = tables.upload(machine)?;
    let [norm, step] = blocks.map(|tiles| StepArgs {
        steps: there.at(machine, records),
        tiles: there.at(machine, tiles),
    });
    let launches = [
        gradient_squares(norm, &steps, of_norms.len())?,
        gradient_norm(norm, &steps)?,
        adamw_step(step, &steps, of_steps.len())?,
    ];
    let launched = sums
        .launch(machine)
        .and_then(|()| launches.into_iter().try_for_each(|launch| run(machine, launch)));
    launched.map_err(final_one)
}

fn step_of(member: Kept, verdict: Address, step: AdamStep) -> Step {
    let slab = Slab {
        values: member.part(0),
        gradient: member.sum,
        mean: member.part(1),
        square: member.part(2),
        squares: Address::NONE,
        norm: verdict.plus_floats(1),
        loss: verdict,
        count: short(member.count),
    };
    Step::new(slab, step)
}
