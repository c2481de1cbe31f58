//! How fast the trainer is, and how fast the card would let it be.

use std::time::Duration;

use cotenant_transformer::{Backend, Fault, Precision, TapeMode};

use super::super::place::{Opened, Place, Stage};
use super::super::rates::{Rates, floor_ms, operations, rates_of};
use super::super::report::{Bar, Figure, Rows, short};
use super::super::scene::{Amount, plain_tenant};
use super::super::work::{Batch, Buffers, Run, Speed, pass, train_for};
use super::same::{large_batch, slopes};

pub(super) const SEED: u64 = 16;
/// Tokens of a timed pass.
const TOKENS: usize = 16_384;
/// More steps than any run has time for.
const STEPS: u64 = 1_000_000_000;
/// Rounds before the clock begins: buffers have their sizes then, and kernels are loaded.
const WARM_UP_ROUNDS: usize = 8;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let opened = match open(stage) {
        Ok(opened) => opened,
        Err(fault) => {
            rows.cannot("bf16", &stage.missing(fault)?);
            return Ok(());
        }
    };
    let rates = rates_of(&opened.notes.card);
    if rates.is_none() {
        rows.cannot("floors", &format!("the rates of {} are not known here", opened.notes.card));
    }
    let span = Duration::from_millis(stage.pick(10_000, 300));
    for tenants in stage.pick(&[1, 8, 32][..], &[1, 2]) {
        let mut run = start(stage, &opened, *tenants)?;
        say_speed(rows, *tenants, &train_for(&mut run, span)?);
    }
    passes(stage, (&opened, rates), rows)
}

/// The model that speed is of, in bf16.
pub(super) fn open<P: Place>(stage: &Stage<'_, P>) -> Result<Opened<P::Device>, Fault> {
    if P::IS_EMULATED {
        let why = "how long kernels take on the processor says nothing";
        return Err(Fault::Refused(why.to_owned()));
    }
    stage.open(Precision::Bf16, (stage.shape(), SEED))
}

/// Tenants that train, warm.
pub(super) fn start<P: Place>(
    stage: &Stage<'_, P>,
    opened: &Opened<P::Device>,
    tenants: u64,
) -> Result<Run<P::Device>, String> {
    let amount = Amount { pairs: 2048, batch: 32, steps: STEPS };
    let mut run = Run::new(&opened.encoder, &opened.limits)?;
    for number in 0..tenants {
        run.add(plain_tenant(number, stage.shape().vocab, amount, SEED))?;
    }
    (0..stage.pick(WARM_UP_ROUNDS, 1)).try_for_each(|_| run.round())?;
    Ok(run)
}

/// Trains so many tenants for so long, from when `go` returns; `done` is called while the memory is
/// still held.
pub(super) fn contend<P: Place>(
    stage: &Stage<'_, P>,
    (tenants, span): (u64, Duration),
    go: impl FnOnce() -> Result<(), String>,
    done: impl FnOnce(&Speed) -> Result<(), String>,
) -> Result<(), String> {
    let opened = open(stage).map_err(|fault| fault.to_string())?;
    let mut run = start(stage, &opened, tenants)?;
    go()?;
    done(&train_for(&mut run, span)?)
}

fn say_speed(rows: &mut Rows, tenants: u64, speed: &Speed) {
    let phases = [
        ("planning", speed.ms_a_round(|counters| counters.planning)),
        ("forward", speed.ms_a_round(|counters| counters.forward)),
        ("loss", speed.ms_a_round(|counters| counters.loss)),
        ("backward", speed.ms_a_round(|counters| counters.backward)),
        ("optimizer", speed.ms_a_round(|counters| counters.optimizer)),
    ];
    let phases = phases.map(|(name, ms)| format!("{name} {} ms", short(ms))).join(", ");
    let who = if tenants == 1 { "tenant".to_owned() } else { "tenants fused".to_owned() };
    let what = format!("bf16, {tenants} {who}, batches of 32 pairs");
    let figures =
        [("pairs/s", speed.rate(|now| now.pairs)), ("tokens/s", speed.rate(|now| now.tokens))];
    for (unit, value) in figures {
        let detail = format!("a round: {phases}");
        rows.add(Figure { what: &what, value, unit, bar: Bar::Measured, detail });
    }
}

/// Times passes over one large batch of one adapter, each beside the least that the card takes.
fn passes<P: Place>(
    stage: &Stage<'_, P>,
    (opened, rates): (&Opened<P::Device>, Option<Rates>),
    rows: &mut Rows,
) -> Result<(), String> {
    let config = opened.encoder.config();
    let tokens = stage.pick(TOKENS, 1024);
    let batch = large_batch(config, tokens)?;
    let slopes = slopes(&batch.packed, config.hidden);
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    let mut buffers = Buffers::default();
    for _ in 0..stage.pick(30, 3) {
        let passed = pass(&opened.encoder, (&batch, &slopes), (TapeMode::Full, &mut buffers))?;
        forward.push(passed.forward.as_secs_f64() * 1000.0);
        backward.push(passed.backward.as_secs_f64() * 1000.0);
    }
    let (of_forward, of_backward) = operations(config, &batch.packed, &batch.scene());
    let bytes = bytes_least(opened, &batch);
    let found = [("forward", forward, of_forward), ("backward", backward, of_backward)];
    for (name, mut times, operations) in found {
        times.sort_by(f64::total_cmp);
        let ms = times[times.len() / 2];
        let what = format!("bf16, a pass {name} of {} tokens", batch.packed.tokens().len());
        let of_what = format!("{} GFLOP, {} MB", short(operations / 1e9), short(bytes / 1e6));
        let floor = rates.map(|rates| (rates, floor_ms(rates, operations, bytes)));
        let beside = floor.map_or_else(String::new, |(_, ms)| format!(", floor {} ms", short(ms)));
        let (bar, detail) = (Bar::Measured, format!("{of_what}{beside}"));
        rows.add(Figure { what: &what, value: ms, unit: "ms", bar, detail: detail.clone() });
        let Some((rates, floor)) = floor else { continue };
        let used = operations / (ms / 1000.0) / rates.operations * 100.0;
        let shares = [("of the card's operations", used), ("of its floor", floor / ms * 100.0)];
        for (share, value) in shares {
            let (what, detail) = (format!("{what}, {share}"), detail.clone());
            rows.add(Figure { what: &what, value, unit: "%", bar, detail });
        }
    }
    Ok(())
}

/// Bytes that a pass moves at least: the frozen layers' weights and the tape's rows once, each
/// number in two bytes.
fn bytes_least<B: Backend>(opened: &Opened<B>, batch: &Batch) -> f64 {
    let config = opened.encoder.config();
    let layer = 4 * config.hidden * config.hidden + 2 * config.hidden * config.intermediate;
    let tape = opened.encoder.tape_bytes(batch.packed.tokens().len(), 0, TapeMode::Full);
    (2 * config.layers * layer) as f64 + tape as f64 / 2.0
}
