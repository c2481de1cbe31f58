//! The ranking loss, against its definition in f64.

use super::{Memory, assert_alone_is_together, assert_within, on_host, random};
use crate::cuda::launch::PlanError;
use crate::cuda::plan::loss::{
    LossArgs, LossTiles, Ranking, RankingShape, ranking_choices, ranking_scores, ranking_slopes,
    ranking_value,
};
use crate::cuda::plan::rows::{Gather, SumRowsArgs, sum_rows};
use crate::cuda::record::Address;
use crate::encoder::scale_to_unit;

const HIDDEN: usize = 40;

/// A tenant's texts, each a row; the first are anchors, and their positives follow.
#[derive(Clone)]
struct Tenant {
    texts: usize,
    /// `[texts, HIDDEN]`, of length 1.
    rows: Vec<f32>,
    anchors: Vec<u32>,
    columns: Vec<u32>,
    excluded: Vec<(u32, u32)>,
    scale: f32,
    is_symmetric: bool,
    part: f32,
}

fn unit_rows(count: u32) -> Vec<f32> {
    let mut rows = random(count as usize * HIDDEN, count.into());
    for row in rows.chunks_mut(HIDDEN) {
        scale_to_unit(row);
    }
    rows
}

fn tenants() -> Vec<Tenant> {
    let pairs = |anchors: u32, more: u32, scale: f32, is_symmetric: bool| Tenant {
        texts: (2 * anchors + more) as usize,
        rows: unit_rows(2 * anchors + more),
        anchors: (0..anchors).map(|i| 2 * i).collect(),
        columns: (0..anchors).map(|i| 2 * i + 1).chain(2 * anchors..2 * anchors + more).collect(),
        excluded: Vec::new(),
        scale,
        is_symmetric,
        part: if is_symmetric { 0.25 } else { 1.0 },
    };
    // A text that is an anchor and a column as well, and columns that are left out.
    let mut shared = pairs(5, 30, 10.0, true);
    shared.columns.push(2);
    shared.excluded = vec![(0, 2), (1, 35), (4, 33), (2, 1)];
    vec![pairs(1, 2, 1.0, false), pairs(70, 21, 20.0, false), pairs(66, 0, 20.0, true), shared]
}

impl Tenant {
    fn shape(&self) -> RankingShape {
        let (anchors, columns) = (self.anchors.len(), self.columns.len());
        RankingShape { anchors, columns, is_symmetric: self.is_symmetric }
    }

    /// The loss, and its gradient by the rows.
    fn expected(&self) -> (f64, Vec<f64>) {
        let row = |text: u32| {
            self.rows[text as usize * HIDDEN..][..HIDDEN]
                .iter()
                .map(|&v| f64::from(v))
                .collect::<Vec<_>>()
        };
        let (anchors, columns) = (self.anchors.len(), self.columns.len());
        let mut scores = vec![vec![0.0; columns]; anchors];
        for (i, scores) in scores.iter_mut().enumerate() {
            for (j, score) in scores.iter_mut().enumerate() {
                let pairs = row(self.anchors[i]).into_iter().zip(row(self.columns[j]));
                *score = f64::from(self.scale) * pairs.map(|(a, b)| a * b).sum::<f64>();
            }
        }
        for &(i, j) in &self.excluded {
            scores[i as usize][j as usize] = f64::NEG_INFINITY;
        }
        let directions = if self.is_symmetric { 2.0 } else { 1.0 };
        let part = 1.0 / (anchors as f64 * directions);
        let (mut loss, mut slopes) = (0.0, vec![vec![0.0; columns]; anchors]);
        let mut choose = |places: Vec<(usize, usize)>, right: (usize, usize)| {
            let sum: f64 = places.iter().map(|&(i, j)| scores[i][j].exp()).sum();
            for &(i, j) in &places {
                slopes[i][j] += part * scores[i][j].exp() / sum;
            }
            slopes[right.0][right.1] -= part;
            loss += part * (sum.ln() - scores[right.0][right.1]);
        };
        for i in 0..anchors {
            choose((0..columns).map(|j| (i, j)).collect(), (i, i));
        }
        for j in (0..anchors).filter(|_| self.is_symmetric) {
            choose((0..anchors).map(|i| (i, j)).collect(), (j, j));
        }
        let mut gradient = vec![0.0; self.texts * HIDDEN];
        for (i, j) in (0..anchors).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            let (a, c) = (self.anchors[i], self.columns[j]);
            for (from, to) in [(a, c), (c, a)] {
                let into = gradient[to as usize * HIDDEN..][..HIDDEN].iter_mut();
                for (into, value) in into.zip(row(from)) {
                    *into += f64::from(self.scale * self.part) * slopes[i][j] * value;
                }
            }
        }
        (loss, gradient)
    }
}

/// Each tenant's loss, and the gradient by its rows.
fn run(memory: &Memory, tenants: &[Tenant], order: &[usize]) -> Vec<(f32, Vec<f32>)> {
    let memory = memory.fresh();
    let chosen: Vec<&Tenant> = order.iter().map(|&at| &tenants[at]).collect();
    let rows: Vec<f32> = chosen.iter().flat_map(|tenant| tenant.rows.clone()).collect();
    let (mut rankings, mut results, mut first) = (Vec::new(), Vec::new(), 0);
    for tenant in &chosen {
        let shape = tenant.shape();
        let numbers = |texts: &[u32]| texts.iter().map(|text| text + first).collect::<Vec<_>>();
        let (anchors, columns) = (numbers(&tenant.anchors), numbers(&tenant.columns));
        let bits = shape.excluded_bits(&tenant.excluded).unwrap();
        let is_whole = tenant.excluded.is_empty();
        let slopes = memory.blank_floats((shape.anchors + shape.columns) * HIDDEN);
        let loss = memory.blank_floats(1);
        rankings.push(Ranking {
            anchors: memory.numbers(&anchors).address(),
            columns: memory.numbers(&columns).address(),
            excluded: if is_whole { Address::NONE } else { memory.numbers(&bits).address() },
            scores: memory.blank_floats(shape.anchors * shape.columns).address(),
            highest: memory.blank_floats(shape.choices()).address(),
            divisors: memory.blank_floats(shape.choices()).address(),
            losses: memory.blank_keys(shape.choices()).address(),
            slopes: slopes.address(),
            loss: loss.address(),
            anchor_count: shape.anchors as u32,
            column_count: shape.columns as u32,
            is_symmetric: u32::from(shape.is_symmetric),
            scale: tenant.scale,
            part: tenant.part,
        });
        results.push((slopes, loss));
        first += tenant.texts as u32;
    }
    let shapes: Vec<RankingShape> = chosen.iter().map(|tenant| tenant.shape()).collect();
    let tiles = LossTiles::new(&shapes, HIDDEN).unwrap();
    let (rankings, rows) = (memory.table(&rankings).address(), memory.floats(&rows).address());
    let args = |tiles: &[_]| LossArgs {
        rankings,
        tiles: memory.table(tiles).address(),
        rows,
        tile_count: tiles.len() as u32,
        hidden: HIDDEN as u32,
    };
    memory.run(ranking_scores(args(&tiles.scores), &tiles));
    memory.run(ranking_choices(args(&tiles.choices), &tiles));
    memory.run(ranking_slopes(args(&tiles.slopes), &tiles));
    memory.run(ranking_value(args(&tiles.values)));
    let of = |(tenant, (slopes, loss)): (&&Tenant, &(super::memory::Buffer, _))| {
        let targets = [tenant.anchors.as_slice(), &tenant.columns].concat();
        let gather = Gather::new(tenant.texts, &targets).unwrap();
        let gradient = memory.blank_floats(tenant.texts * HIDDEN);
        let args = SumRowsArgs {
            from: slopes.address(),
            starts: memory.numbers(&gather.starts).address(),
            sources: memory.numbers(&gather.sources).address(),
            to: gradient.address(),
            rows: tenant.texts as u32,
            width: HIDDEN as u32,
        };
        memory.run(sum_rows(args, targets.len()));
        let loss: &super::memory::Buffer = loss;
        (loss.values()[0], gradient.values())
    };
    chosen.iter().zip(&results).map(of).collect()
}

#[test]
fn losses_and_slopes_are_those_of_the_definition() {
    on_host(|memory| {
        let tenants = tenants();
        let order: Vec<usize> = (0..tenants.len()).collect();
        for (at, (loss, gradient)) in run(memory, &tenants, &order).iter().enumerate() {
            let (expected, slopes) = tenants[at].expected();
            let error = (f64::from(*loss) - expected).abs();
            assert!(error <= 1e-5 * expected, "tenant {at}: {loss}, not {expected}");
            let slopes: Vec<f32> = slopes.iter().map(|&slope| slope as f32).collect();
            assert_within(1e-5, &format!("tenant {at}"), gradient, &slopes);
        }
    });
}

#[test]
fn a_tenant_has_the_same_bits_alone_and_among_others() {
    on_host(|memory| {
        let tenants = tenants();
        assert_alone_is_together(tenants.len(), |order| {
            let found = run(memory, &tenants, order);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            found.iter().map(|(loss, slopes)| [bits(&[*loss]), bits(slopes)].concat()).collect()
        });
    });
}

#[test]
fn a_value_that_is_not_a_number_is_seen_in_its_tenants_loss_and_in_no_other() {
    on_host(|memory| {
        let mut tenants = tenants();
        tenants[1].rows[0] = f32::NAN;
        let losses: Vec<f32> =
            run(memory, &tenants, &[1, 2]).iter().map(|(loss, _)| *loss).collect();
        assert!(losses[0].is_nan() && losses[1].is_finite(), "{losses:?}");
    });
}

#[test]
fn rankings_that_make_no_sense_are_refused() {
    let shape = RankingShape { anchors: 3, columns: 2, is_symmetric: false };
    let refused = LossTiles::new(&[shape], HIDDEN).unwrap_err();
    let what = "the columns of a ranking";
    assert_eq!(refused, PlanError::Length { what, found: 2, expected: 3 });
    let refused = shape.excluded_bits(&[(0, 2)]).unwrap_err();
    let (subject, what) = ("a ranking", "column");
    assert_eq!(refused, PlanError::NoRow { subject, what, found: 2, rows: 2 });
}
