//! Tenants beside one another.

use std::time::Duration;

use super::super::bar::Bar;
use super::super::look::{Looks, Watched};
use super::super::report::{Figure, Rows};
use super::super::slice::{Limits, Slice};
use super::super::stage::{Load, Stage, Tenant};

const US: u64 = 1000;
const MS: u64 = 1_000_000;

/// A tenant with its slice and what it does.
struct Player {
    slice: Slice,
    tenant: Tenant,
    load: Load,
}

impl Player {
    fn new(stage: &Stage<'_>, limits: Limits, load: Load) -> Result<Self, String> {
        let slice = stage.slice(limits)?;
        let mut tenant = stage.tenant(&slice)?;
        load.prepare(&mut tenant)?;
        Ok(Self { slice, tenant, load })
    }
}

/// All work for so long, while a pool looks; the shares that they got.
fn together(
    stage: &Stage<'_>,
    looks: &mut Looks,
    players: &mut [&mut Player],
    ms: u64,
) -> Result<Vec<f64>, String> {
    for player in players.iter_mut() {
        player.tenant.tell(&player.load.spend(ms))?;
    }
    let mut slices: Vec<Watched<'_>> = players
        .iter_mut()
        .map(|player| Watched { pids: vec![player.tenant.pid()], slice: &mut player.slice })
        .collect();
    looks.pass_on(stage, &mut slices, Duration::from_millis(ms))?;
    let answers = players.iter_mut().map(|player| {
        let answer = player.tenant.answer("spend")?;
        player.load.share(&answer)
    });
    answers.collect()
}

/// Two fixed tenants that both want all they can get.
pub(super) fn pair(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let (warm_ms, ms) = stage.pick((6000, 4000), (2200, 1000));
    let loads = [stage.load(MS, None)?, stage.load(200 * US, None)?, stage.load(10 * MS, None)?];
    for (first, second, kinds) in [
        (loads[0], loads[0], "kernels of 1 ms"),
        (loads[1], loads[2], "kernels of 0.2 ms beside kernels of 10 ms"),
    ]
    .into_iter()
    .take(stage.pick(2, 1))
    {
        let mut one = Player::new(stage, Limits::fixed(300).beside(600), first)?;
        let mut other = Player::new(stage, Limits::fixed(600).beside(300), second)?;
        let mut looks = Looks::default();
        let mut players = [&mut one, &mut other];
        together(stage, &mut looks, &mut players, warm_ms)?;
        let shares = together(stage, &mut looks, &mut players, ms)?;
        for (got, wanted) in shares.into_iter().zip([30.0, 60.0]) {
            rows.add(Figure {
                metric: "IS-003",
                what: format!("share of the one with {wanted} % of two, {kinds}"),
                value: Some(got),
                unit: "%",
                bar: stage.pick(Bar::around(wanted, 2.0), Bar::Between(wanted * 0.5, wanted * 1.2)),
                detail: format!("after {} s", warm_ms / 1000),
            });
        }
    }
    Ok(())
}

/// A fixed tenant by itself, and beside one that takes whatever it gets.
pub(super) fn full_load(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let (warm_ms, ms) = stage.pick((5000, 3000), (1200, 1000));
    let small = stage.load(MS, None)?;
    let loads = [("20 ms", stage.load(20 * MS, None)?), ("1 ms", small)];
    for (kernels, load) in loads.into_iter().take(stage.pick(2, 1)) {
        let mut tenant = Player::new(stage, Limits::fixed(400).beside(500), small)?;
        let mut looks = Looks::default();
        together(stage, &mut looks, &mut [&mut tenant], warm_ms)?;
        let alone = together(stage, &mut looks, &mut [&mut tenant], ms)?[0];
        let mut loud = Player::new(stage, Limits::burst(500).beside(400), load)?;
        let mut both = [&mut tenant, &mut loud];
        together(stage, &mut looks, &mut both, warm_ms)?;
        let spans = windows(stage, &mut looks, &mut both)?;
        let shares = together(stage, &mut looks, &mut both, ms)?;
        let (beside, neighbour) = (shares[0], shares[1]);
        let detail = format!("{alone:.1} % alone, {beside:.1} % beside {neighbour:.1} %");
        let row = |metric, what: &str, value, unit, bar| Figure {
            metric,
            what: format!("{what}, kernels of {kernels} next door"),
            value: Some(value),
            unit,
            bar,
            detail: detail.clone(),
        };
        let moved = (alone - beside).abs() * 100.0 / alone;
        let bar = Bar::AtMost(stage.pick(5.0, 35.0));
        rows.add(row("IS-009", "a fixed tenant is moved by full load", moved, "%", bar));
        let kept = beside * 100.0 / alone;
        let bar = Bar::AtLeast(stage.pick(95.0, 65.0));
        rows.add(row("IS-006", "what a fixed tenant keeps", kept, "%", bar));
        // Without anything that holds it, a tenant alone would have the whole card.
        let bar = stage.pick(Bar::around(40.0, 2.0), Bar::Between(20.0, 48.0));
        rows.add(row("IS-006", "its share alone, of 40 %", alone, "%", bar));
        rows.add(row("IS-007", "spread of spans of 0.1 s", spread(&spans), "CV", Bar::Measured));
    }
    Ok(())
}

/// Short spans of the first player while the others work on.
fn windows(
    stage: &Stage<'_>,
    looks: &mut Looks,
    players: &mut [&mut Player],
) -> Result<Vec<f64>, String> {
    let (count, ms) = (stage.pick(20, 5), 100);
    let (first, others) = players.split_first_mut().ok_or("nobody plays")?;
    for other in others.iter_mut() {
        other.tenant.tell(&other.load.spend(count * ms))?;
    }
    let mut spans = Vec::new();
    for _ in 0..count {
        spans.extend(together(stage, looks, &mut [&mut **first], ms)?);
    }
    for other in others {
        other.tenant.answer("spend")?;
    }
    Ok(spans)
}

/// The coefficient of variation.
fn spread(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (square / values.len() as f64).sqrt() / mean
}

/// Four tenants with the same share each.
pub(super) fn fair(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let (warm_ms, ms) = stage.pick((4000, 4000), (1500, 1000));
    let load = stage.load(MS, None)?;
    // On a busy machine, four that nothing holds may have less of the card than a quarter.
    let (milli, most_milli) = stage.pick((200, 220), (100, 150));
    let mut all = (0..4)
        .map(|_| Player::new(stage, Limits::fixed(milli).beside(milli * 3), load))
        .collect::<Result<Vec<_>, _>>()?;
    let mut players: Vec<&mut Player> = all.iter_mut().collect();
    let mut looks = Looks::default();
    together(stage, &mut looks, &mut players, warm_ms)?;
    let shares = together(stage, &mut looks, &mut players, ms)?;
    let (sum, squares) =
        (shares.iter().sum::<f64>(), shares.iter().map(|one| one * one).sum::<f64>());
    rows.add(Figure {
        metric: "IS-008",
        what: "Jain's index of four tenants".to_owned(),
        value: Some(sum * sum / (4.0 * squares)),
        unit: "",
        bar: Bar::AtLeast(stage.pick(0.99, 0.9)),
        detail: format!("{shares:.1?} %"),
    });
    let most = shares.into_iter().fold(0.0, f64::max);
    rows.add(Figure {
        metric: "IS-003",
        what: format!("the most that one of four had, of {} %", milli / 10),
        value: Some(most),
        unit: "%",
        bar: Bar::AtMost(f64::from(most_milli) / 10.0),
        detail: String::new(),
    });
    Ok(())
}
