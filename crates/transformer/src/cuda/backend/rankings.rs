//! The losses of a round: one launch for each part of them, whatever tenants there are.

use super::tables::{Place, Placed, Tables};
use super::{run, short};
use crate::backend::Fault;
use crate::cuda::machine::Machine;
use crate::cuda::plan::loss::{
    LossArgs, LossTiles, Ranking, RankingShape, ranking_choices, ranking_scores, ranking_slopes,
    ranking_value,
};
use crate::cuda::plan::pool::{AS_IS, UnitArgs, UnitBackwardArgs, unit_backward, unit_forward};
use crate::cuda::plan::rows::{Gather, SumRowsArgs, sum_rows};
use crate::cuda::record::Address;
use crate::keeper::{Judging, RoundRanking};

/// What is judged, and where it is written how good it is.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// `[texts, hidden]`, f32: pooled before, scaled then.
    pub(super) rows: Address,
    /// `[texts]`, what each row was divided by.
    pub(super) lengths: Address,
    /// `[texts, hidden]`, f32, by scaled rows, and by pooled ones in the end.
    pub(super) slopes: Address,
    /// `[members, 2]`: the loss, and what others write.
    pub(super) verdicts: Address,
    pub(super) texts: usize,
    pub(super) hidden: usize,
}

/// Rows that were judged.
pub(super) struct Judged<M: Machine> {
    at: Rows,
    /// `[texts]`, how they are scaled.
    modes: (Placed<M>, Place),
}

/// What a member that the host judges is ranked by: nothing.
const NO_RANKING: RoundRanking<'_> = RoundRanking {
    anchors: &[],
    columns: &[],
    excluded: &[],
    scale: 0.0,
    is_symmetric: false,
    part: 0.0,
};

/// Tables of a round's rankings on a machine.
struct Listed<M: Machine> {
    there: Placed<M>,
    tiles: LossTiles,
    /// Of each launch: its tiles and how many they are.
    scores: (Place, u32),
    choices: (Place, u32),
    slopes: (Place, u32),
    values: (Place, u32),
    /// Which slopes are added to which text's.
    starts: Place,
    sources: Place,
    /// Of each ranking: anchors, columns, and what is left out.
    numbers: Vec<[Option<Place>; 3]>,
}

impl<M: Machine> Judged<M> {
    /// Scales all rows, and judges those of members that have a ranking.
    pub(super) fn judge(machine: &M, at: Rows, judgings: &[Judging<'_>]) -> Result<Self, Fault> {
        let mut scaled = vec![0; at.texts];
        for judging in judgings {
            let Judging::Host { unscaled } = judging else { continue };
            for &text in *unscaled {
                let mode = scaled.get_mut(text as usize);
                *mode.ok_or_else(|| Fault::Refused("a judged text is of no round".to_owned()))? =
                    AS_IS;
            }
        }
        let mut room = Vec::new();
        let mut tables = Tables::on(&mut room);
        let modes = tables.numbers(&scaled);
        let judged = Self { at, modes: (tables.upload(machine)?, modes) };
        let Rows { rows, lengths, .. } = at;
        let (texts, hidden) = (short(at.texts), short(at.hidden));
        let modes = judged.modes(machine);
        run(machine, unit_forward(UnitArgs { rows, lengths, modes, texts, hidden })?)?;
        let rankings: Vec<RoundRanking<'_>> = judgings
            .iter()
            .map(|judging| match judging {
                Judging::Ranking(ranking) => *ranking,
                Judging::Host { .. } => NO_RANKING,
            })
            .collect();
        at.rank(machine, &rankings)?;
        Ok(judged)
    }

    fn modes(&self, machine: &M) -> Address {
        let (there, place) = &self.modes;
        there.at(machine, *place)
    }

    /// Slopes by scaled rows become those by pooled ones.
    pub(super) fn settle(&self, machine: &M) -> Result<(), Fault> {
        let Rows { rows, lengths, slopes, .. } = self.at;
        let (texts, hidden) = (short(self.at.texts), short(self.at.hidden));
        let modes = self.modes(machine);
        let args = UnitBackwardArgs { rows, lengths, modes, slopes, texts, hidden };
        run(machine, unit_backward(args)?)
    }
}

impl Rows {
    /// Judges by rankings; slopes are those by scaled rows.
    fn rank<M: Machine>(&self, machine: &M, rankings: &[RoundRanking<'_>]) -> Result<(), Fault> {
        let Self { rows, slopes, .. } = *self;
        let (texts, hidden) = (short(self.texts), short(self.hidden));
        let shapes: Vec<RankingShape> = rankings.iter().map(shape).collect();
        let listed = self.list(machine, rankings, &shapes)?;
        let total = |count: fn(RankingShape) -> usize| shapes.iter().map(|&it| count(it)).sum();
        let terms: usize = total(|it| it.anchors + it.columns);
        let choices: usize = total(RankingShape::choices);
        let scores: usize = total(|it| it.anchors * it.columns);
        let parts = machine.buffer(4 * terms * self.hidden)?;
        let floats = machine.buffer(4 * (scores + 2 * choices))?;
        let losses = machine.buffer(8 * choices)?;
        let mut places = Places {
            slopes: machine.address(&parts),
            floats: machine.address(&floats),
            losses: machine.address(&losses),
            verdict: self.verdicts,
            hidden: self.hidden,
        };
        let from = places.slopes;
        let at = |place| listed.there.at(machine, place);
        let record =
            |((ranking, shape), numbers): ((&RoundRanking<'_>, &RankingShape), &[_; 3])| {
                let numbers: [Option<Place>; 3] = *numbers;
                places.take(ranking, *shape, numbers.map(|place| place.map_or(Address::NONE, at)))
            };
        let records: Vec<Ranking> =
            rankings.iter().zip(&shapes).zip(&listed.numbers).map(record).collect();
        let mut room = Vec::new();
        let mut tables = Tables::on(&mut room);
        let records = tables.records(&records);
        let records_there = tables.upload(machine)?;
        let args = |(tiles, tile_count)| LossArgs {
            rankings: records_there.at(machine, records),
            tiles: at(tiles),
            rows,
            tile_count,
            hidden,
        };
        let all = &listed.tiles;
        run(machine, ranking_scores(args(listed.scores), all)?)?;
        run(machine, ranking_choices(args(listed.choices), all)?)?;
        run(machine, ranking_slopes(args(listed.slopes), all)?)?;
        run(machine, ranking_value(args(listed.values))?)?;
        let (starts, sources) = (at(listed.starts), at(listed.sources));
        let sums = SumRowsArgs { from, starts, sources, to: slopes, rows: texts, width: hidden };
        run(machine, sum_rows(sums, terms)?)
    }

    /// Brings what the launches read to the machine, but for the rankings themselves.
    fn list<M: Machine>(
        &self,
        machine: &M,
        rankings: &[RoundRanking<'_>],
        shapes: &[RankingShape],
    ) -> Result<Listed<M>, Fault> {
        let tiles = LossTiles::new(shapes, self.hidden)?;
        // Nobody computes slopes for a ranking without anchors, nor has room for them.
        let ranked = rankings.iter().filter(|it| !it.anchors.is_empty());
        let targets: Vec<u32> =
            ranked.flat_map(|it| it.anchors.iter().chain(it.columns)).copied().collect();
        let gather = Gather::new(self.texts, &targets)?;
        let mut room = Vec::new();
        let mut tables = Tables::on(&mut room);
        let [scores, choices, slopes, values] =
            [&tiles.scores, &tiles.choices, &tiles.slopes, &tiles.values]
                .map(|tiles| (tables.records(tiles), short(tiles.len())));
        let (starts, sources) = (tables.numbers(&gather.starts), tables.numbers(&gather.sources));
        let mut numbers = Vec::with_capacity(rankings.len());
        for (ranking, shape) in rankings.iter().zip(shapes) {
            let (anchors, columns) =
                (tables.numbers(ranking.anchors), tables.numbers(ranking.columns));
            let excluded = match ranking.excluded {
                [] => None,
                excluded => Some(tables.numbers(&shape.excluded_bits(excluded)?)),
            };
            numbers.push([Some(anchors), Some(columns), excluded]);
        }
        let there = tables.upload(machine)?;
        Ok(Listed { there, tiles, scores, choices, slopes, values, starts, sources, numbers })
    }
}

fn shape(ranking: &RoundRanking<'_>) -> RankingShape {
    let (anchors, columns) = (ranking.anchors.len(), ranking.columns.len());
    let columns = if anchors == 0 { 0 } else { columns };
    RankingShape { anchors, columns, is_symmetric: ranking.is_symmetric }
}

/// Where the next ranking writes what it comes to.
struct Places {
    /// `[anchors + columns, hidden]`
    slopes: Address,
    /// Scores, then for each choice the highest of them and the divisor.
    floats: Address,
    /// `[choices]`, f64.
    losses: Address,
    /// Its verdict, which begins with the loss.
    verdict: Address,
    hidden: usize,
}

impl Places {
    /// The places of one ranking, which the next one's come behind.
    fn take(
        &mut self,
        ranking: &RoundRanking<'_>,
        shape: RankingShape,
        [anchors, columns, excluded]: [Address; 3],
    ) -> Ranking {
        let (scores, choices) = (shape.anchors * shape.columns, shape.choices());
        let record = Ranking {
            anchors,
            columns,
            excluded,
            scores: self.floats,
            highest: self.floats.plus_floats(scores),
            divisors: self.floats.plus_floats(scores + choices),
            losses: self.losses,
            slopes: self.slopes,
            loss: self.verdict,
            anchor_count: short(shape.anchors),
            column_count: short(shape.columns),
            is_symmetric: u32::from(shape.is_symmetric),
            scale: ranking.scale,
            part: ranking.part,
        };
        self.slopes = self.slopes.plus_floats((shape.anchors + shape.columns) * self.hidden);
        self.floats = self.floats.plus_floats(scores + 2 * choices);
        self.losses = self.losses.plus_keys(choices);
        self.verdict = self.verdict.plus_floats(2);
        record
    }
}
