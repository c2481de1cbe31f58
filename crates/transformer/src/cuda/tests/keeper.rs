//! Adapters that the machine keeps: rounds over them against the same passes by the host.

use super::encoder::{adapter, batch, check, host, on_cpu, on_kernels};
use crate::adapter::Adapter;
use crate::backend::{Backend, Fault};
use crate::cuda::emulated::EmulatedDevice as Kernels;
use crate::cuda::source::Real;
use crate::encoder::{Encoder, Forward, Round, Scratch, Start, Tape, TapeMode};
use crate::keeper::{AdamStep, Ending, Judging, Keeper, Member, RoundRanking, SlabState, Verdict};
use crate::packed::Packed;

type Slab = <Kernels as Keeper<Kernels>>::Slab;

/// Anchors and columns among a tenant's two texts.
const RANKING: ([u32; 1], [u32; 2]) = ([0], [1, 0]);
const SCALE: f32 = 3.0;
const PART: f32 = 0.5;

fn step(steps: u64) -> AdamStep {
    AdamStep {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        learning_rate: 0.01,
        weight_decay: 0.01,
        norm_max: Some(1.0),
        steps,
    }
}

fn state(adapter: &Adapter) -> SlabState {
    let zeros = vec![0.0; adapter.values.len()];
    let (mean, square, gradient) = (zeros.clone(), zeros, Vec::new());
    SlabState { values: adapter.values.clone(), mean, square, gradient }
}

/// A round over tenants' texts, all in one batch or one batch a tenant.
struct Scene<'a> {
    encoder: &'a Encoder<Kernels>,
    adapters: Vec<Adapter>,
    batches: Vec<Packed>,
}

impl<'a> Scene<'a> {
    /// Of these tenants, in this order. The adapters' values are nowhere but in their slabs.
    fn new(encoder: &'a Encoder<Kernels>, order: &[usize], is_split: bool) -> Self {
        let place = |packed: &Packed| {
            let mut placed = Packed::default();
            for segment in packed.segments() {
                let tenant = segment.adapter.expect("every text here is a tenant's");
                let at = order.iter().position(|&it| it == tenant);
                let texts = segment.texts.clone().map(|text| packed.text(text));
                placed.push(texts, at, segment.dropout.clone());
            }
            placed
        };
        let groups: Vec<&[usize]> = if is_split { order.chunks(1).collect() } else { vec![order] };
        let batches = groups.into_iter().map(|group| place(&batch(encoder.config(), group)));
        let adapters = order
            .iter()
            .map(|&tenant| Adapter { values: Vec::new(), ..tenant_adapter(encoder, tenant) });
        Self { encoder, adapters: adapters.collect(), batches: batches.collect() }
    }

    /// Runs the round, and then another if that was what is asked for.
    fn run(&self, slabs: &mut [Slab], goes_on: bool, ending: Ending) -> Vec<Verdict> {
        self.run_judged(slabs, (goes_on, ending), &|round| self.rank(round))
    }

    /// The same, judged otherwise.
    fn run_judged(
        &self,
        slabs: &mut [Slab],
        (goes_on, ending): (bool, Ending),
        judge: &dyn Fn(&mut Round<'_, Kernels>),
    ) -> Vec<Verdict> {
        let keeper = self.encoder.backend().keeper().unwrap();
        slabs.iter_mut().for_each(|slab| keeper.bring(slab));
        let mut members: Vec<Member<'_, Slab>> =
            slabs.iter_mut().map(|slab| Member { slab, goes_on }).collect();
        let texts = self.batches.iter().map(Packed::texts).sum();
        let mut scratch = Scratch::default();
        let mut round = Round::begin((self.encoder, keeper), &mut scratch, &mut members, texts);
        let adapters: Vec<&Adapter> = self.adapters.iter().collect();
        let (mut tapes, mut text) = (Vec::new(), 0);
        for batch in &self.batches {
            let forward = Forward { batch, adapters: &adapters, start: Start::Tokens };
            let mut tape = Tape::default();
            round.forward(&forward, Some((TapeMode::Full, &mut tape)), &mut scratch, text);
            tapes.push((tape, text));
            text += batch.texts();
        }
        judge(&mut round);
        for (batch, (tape, text)) in self.batches.iter().zip(&mut tapes) {
            let forward = Forward { batch, adapters: &adapters, start: Start::Tokens };
            round.backward(&forward, &mut scratch, tape, *text);
        }
        round.end(&mut scratch, &vec![ending; self.adapters.len()]);
        round.verdicts()
    }

    /// Judges each tenant by its two texts, which follow each other.
    fn rank(&self, round: &mut Round<'_, Kernels>) {
        let numbers = |rows: &[u32], at: usize| -> Vec<u32> {
            rows.iter().map(|row| row + 2 * at as u32).collect()
        };
        let numbers: Vec<_> = (0..self.adapters.len())
            .map(|at| (numbers(&RANKING.0, at), numbers(&RANKING.1, at)))
            .collect();
        let judgings: Vec<Judging<'_>> = numbers
            .iter()
            .map(|(anchors, columns)| {
                Judging::Ranking(RoundRanking {
                    anchors,
                    columns,
                    excluded: &[],
                    scale: SCALE,
                    is_symmetric: false,
                    part: PART,
                })
            })
            .collect();
        round.judge(&judgings);
        round.settle();
    }
}

fn tenant_adapter<B: Backend>(encoder: &Encoder<B>, tenant: usize) -> Adapter {
    adapter(encoder.config(), [4, 3][tenant], [2, 5][tenant])
}

fn slabs(encoder: &Encoder<Kernels>, order: &[usize]) -> Vec<Slab> {
    let keeper = encoder.backend().keeper().unwrap();
    let take = |&tenant: &usize| keeper.take(&state(&tenant_adapter(encoder, tenant))).unwrap();
    order.iter().map(take).collect()
}

/// What each tenant has after two batches of one step and two steps of one batch, in the order of
/// tenants, with all verdicts.
fn train(
    encoder: &Encoder<Kernels>,
    order: &[usize],
    is_split: bool,
) -> Vec<(SlabState, Vec<Verdict>)> {
    let keeper = encoder.backend().keeper().unwrap();
    let scene = Scene::new(encoder, order, is_split);
    let mut slabs = slabs(encoder, order);
    let mut verdicts = vec![Vec::new(); order.len()];
    for (goes_on, ending) in
        [(false, Ending::Keep), (true, Ending::Step(step(1))), (false, Ending::Step(step(2)))]
    {
        let found = scene.run(&mut slabs, goes_on, ending);
        verdicts.iter_mut().zip(found).for_each(|(all, found)| all.push(found));
    }
    assert_eq!(encoder.backend().take_fault(), None);
    let states = slabs.iter().map(|slab| keeper.read(slab).unwrap());
    let mut found: Vec<_> = order.iter().zip(states.zip(verdicts)).collect();
    found.sort_by_key(|(tenant, _)| **tenant);
    found.into_iter().map(|(_, found)| found).collect()
}

/// The loss of two texts, and its gradient by the adapter, by the processor; the loss in f64.
fn expected(tenant: usize, values: &[f32]) -> (f64, Vec<f32>) {
    let cpu = on_cpu("bert-tiny");
    let hidden = cpu.config().hidden;
    let adapter = Adapter { values: values.to_vec(), ..tenant_adapter(&cpu, tenant) };
    let mut adapters = vec![&adapter; 2];
    adapters.truncate(tenant + 1);
    let batch = batch(cpu.config(), &[tenant]);
    let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; 2 * hidden];
    cpu.forward(&forward, TapeMode::Full, &mut scratch, &mut tape, &mut out);
    let (loss, slopes) = loss_of(&out);
    let mut gradients = vec![Vec::new()];
    cpu.backward(&forward, &mut scratch, &mut tape, &slopes, &mut gradients);
    (loss, gradients.remove(0))
}

/// The loss of two rows, and its gradient by them.
fn loss_of(rows: &[f32]) -> (f64, Vec<f32>) {
    // One anchor, row 0; columns row 1 (right) and row 0 itself.
    let (first, second) = rows.split_at(rows.len() / 2);
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum() };
    let scale = f64::from(SCALE);
    let (right, wrong) = (scale * dot(first, second), scale * dot(first, first));
    let weight = wrong.exp() / (right.exp() + wrong.exp());
    // By the scores: -weight for the right one, weight for the other.
    let slope = (f64::from(PART * SCALE) * weight) as f32;
    let by_first: Vec<f32> = first.iter().zip(second).map(|(f, s)| slope * (2.0 * f - s)).collect();
    let by_second: Vec<f32> = first.iter().map(|f| -slope * f).collect();
    (-(1.0 - weight).ln(), [by_first, by_second].concat())
}

#[test]
fn a_round_is_what_the_processor_makes_of_it() {
    for (real, tolerance) in [(Real::Float, 1e-4), (Real::Bf16, 0.1)] {
        let Some(host) = host(real) else { return };
        let encoder = on_kernels(host, "bert-tiny");
        let keeper = encoder.backend().keeper().unwrap();
        let scene = Scene::new(&encoder, &[0, 1], false);
        let mut slabs = slabs(&encoder, &[0, 1]);
        let verdicts = scene.run(&mut slabs, false, Ending::Keep);
        for (tenant, (slab, verdict)) in slabs.iter().zip(&verdicts).enumerate() {
            let found = keeper.read(slab).unwrap();
            let before = state(&tenant_adapter(&encoder, tenant));
            assert_eq!((&found.values, &found.mean), (&before.values, &before.mean));
            let (loss, gradient) = expected(tenant, &before.values);
            let error = (f64::from(verdict.loss) - loss).abs() / loss;
            assert!(error < f64::from(tolerance), "{real:?} {tenant}: {verdict:?}, not {loss}");
            check(&format!("{real:?} {tenant}"), &found.gradient, &gradient, tolerance);
        }
    }
}

/// Members that the host judges, by the rows that it reads, and one beside them that the device does.
#[test]
fn a_member_that_the_host_judges_is_what_the_device_makes_of_it() {
    for (real, tolerance) in [(Real::Float, 1e-5), (Real::Bf16, 0.02)] {
        let Some(host) = host(real) else { return };
        let encoder = on_kernels(host, "bert-tiny");
        let (keeper, hidden) = (encoder.backend().keeper().unwrap(), encoder.config().hidden);
        let scene = Scene::new(&encoder, &[0, 1], false);
        let mut ranked = slabs(&encoder, &[0, 1]);
        let expected = scene.run(&mut ranked, false, Ending::Keep);
        let ours = Judging::Host { unscaled: &[] };
        let theirs = Judging::Ranking(RoundRanking {
            anchors: &[2],
            columns: &[3, 2],
            excluded: &[],
            scale: SCALE,
            is_symmetric: false,
            part: PART,
        });
        for judgings in [[ours, theirs], [ours, ours]] {
            let mut slabs = slabs(&encoder, &[0, 1]);
            let found = scene.run_judged(&mut slabs, (false, Ending::Keep), &|round| {
                round.judge(&judgings);
                let rows = round.rows();
                for (member, judging) in judgings.iter().enumerate() {
                    let Judging::Host { .. } = judging else { continue };
                    let first = 2 * member;
                    let own = &rows[first * hidden..(first + 2) * hidden];
                    let (loss, slopes) = loss_of(own);
                    round.take_slopes(first, &slopes);
                    round.take_loss(member, loss as f32);
                }
                round.settle();
            });
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error = (found.loss - expected.loss).abs() / expected.loss;
                assert!(error < tolerance, "{real:?} {at}: {found:?}, not {expected:?}");
            }
            for (at, (found, expected)) in slabs.iter().zip(&ranked).enumerate() {
                let [found, expected] =
                    [found, expected].map(|slab| keeper.read(slab).unwrap().gradient);
                check(&format!("{real:?} {at}"), &found, &expected, tolerance);
                let is_theirs = matches!(judgings[at], Judging::Ranking(_));
                assert!(!is_theirs || found == expected, "who is beside it changes no bit");
            }
        }
        assert_eq!(encoder.backend().take_fault(), None);
    }
}

/// Rows that a head reads are as they were pooled, and so are their slopes; its values can be read, and
/// what their gradient is can be added.
#[test]
fn rows_that_a_head_reads_keep_their_length() {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let (keeper, hidden) = (encoder.backend().keeper().unwrap(), encoder.config().hidden);
    let scene = Scene::new(&encoder, &[0, 1], false);
    let mut slabs = slabs(&encoder, &[0, 1]);
    let before = keeper.read(&slabs[1]).unwrap();
    let length = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
    let verdicts = scene.run_judged(&mut slabs, (false, Ending::Keep), &|round| {
        let pooled = round.rows();
        let (scaled, unscaled) =
            (Judging::Host { unscaled: &[] }, Judging::Host { unscaled: &[2] });
        round.judge(&[scaled, unscaled]);
        let rows = round.rows();
        for (at, (row, pooled)) in
            rows.chunks_exact(hidden).zip(pooled.chunks_exact(hidden)).enumerate()
        {
            assert!((length(pooled) - 1.0).abs() > 1e-3, "a row of length 1 shows nothing");
            match at {
                2 => assert_eq!(row, pooled, "row {at}"),
                _ => assert!((length(row) - 1.0).abs() < 1e-6, "row {at}"),
            }
        }
        let slopes: Vec<f32> = (0..4 * hidden).map(|i| i as f32).collect();
        round.take_slopes(0, &slopes);
        assert_eq!(round.values(1, 3..7), before.values[3..7]);
        round.take_gradient(1, 5, &[2.0, 3.0]);
        round.take_loss(1, 0.25);
        round.settle();
        let settled = round.slopes(0..4);
        assert_eq!(settled[2 * hidden..3 * hidden], slopes[2 * hidden..3 * hidden]);
        assert_ne!(settled[..hidden], slopes[..hidden]);
        // So that nothing but what was added is in the sums.
        round.take_slopes(0, &vec![0.0; 4 * hidden]);
    });
    assert_eq!(verdicts.iter().map(|it| it.loss).collect::<Vec<_>>(), [0.0, 0.25]);
    let found = keeper.read(&slabs[1]).unwrap().gradient;
    let mut expected = vec![0.0; found.len()];
    expected[5..7].copy_from_slice(&[2.0, 3.0]);
    assert_eq!(found, expected);
    assert_eq!(encoder.backend().take_fault(), None);
}

/// One batch more adds as much again, and what is stepped on is the sum; a step alone begins anew.
#[test]
fn batches_of_a_step_are_added_up_and_a_new_step_begins_at_zero() {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let keeper = encoder.backend().keeper().unwrap();
    let scene = Scene::new(&encoder, &[0, 1], false);
    let norm = |gradient: &[f32]| {
        gradient.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt() as f32
    };
    let mut slabs = slabs(&encoder, &[0, 1]);
    scene.run(&mut slabs, false, Ending::Keep);
    let once: Vec<SlabState> = slabs.iter().map(|slab| keeper.read(slab).unwrap()).collect();
    let verdicts = scene.run(&mut slabs, true, Ending::Step(step(1)));
    for (verdict, once) in verdicts.iter().zip(&once) {
        let expected = 2.0 * norm(&once.gradient);
        assert!((verdict.gradient_norm / expected - 1.0).abs() < 1e-5, "{verdict:?} {expected}");
    }
    let stepped: Vec<SlabState> = slabs.iter().map(|slab| keeper.read(slab).unwrap()).collect();
    assert!(stepped.iter().zip(&once).all(|(after, before)| after.values != before.values));
    scene.run(&mut slabs, false, Ending::Keep);
    for (tenant, (slab, stepped)) in slabs.iter().zip(&stepped).enumerate() {
        let found = keeper.read(slab).unwrap();
        let (_, gradient) = expected(tenant, &stepped.values);
        check(&format!("{tenant} after a step"), &found.gradient, &gradient, 1e-4);
    }
}

/// The project's promise, for all that a round does.
#[test]
fn a_tenant_has_the_same_bits_alone_among_others_and_in_another_order() {
    for real in Real::ALL {
        let Some(host) = host(real) else { return };
        let encoder = on_kernels(host, "bert-tiny");
        let together = train(&encoder, &[0, 1], false);
        assert!(together == train(&encoder, &[1, 0], false), "{real:?}: in another order");
        assert!(together == train(&encoder, &[0, 1], true), "{real:?}: a batch each");
        for (tenant, together) in together.iter().enumerate() {
            assert!(train(&encoder, &[tenant], false)[0] == *together, "{real:?}: {tenant} alone");
        }
    }
}

#[test]
fn a_slab_is_the_same_wherever_it_is() {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let keeper = encoder.backend().keeper().unwrap();
    let scene = Scene::new(&encoder, &[0, 1], false);
    let mut slabs = slabs(&encoder, &[0, 1]);
    let taken = state(&tenant_adapter(&encoder, 0));
    let found = keeper.read(&slabs[0]).unwrap();
    assert_eq!((found.values, found.mean), (taken.values, taken.mean), "aside at first");
    scene.run(&mut slabs, false, Ending::Step(step(1)));
    for slab in &mut slabs {
        let there = keeper.read(slab).unwrap();
        keeper.put_aside(slab);
        assert_eq!(keeper.read(slab).unwrap(), there, "aside");
        keeper.put_aside(slab);
        keeper.bring(slab);
        assert_eq!(keeper.read(slab).unwrap(), there, "on its way");
        keeper.bring(slab);
        keeper.put_aside(slab);
        assert_eq!(keeper.read(slab).unwrap(), there, "turned back on its way");
    }
    assert_eq!(encoder.backend().take_fault(), None);
}

/// However early memory runs out, slabs are as they were, and the round can be run again.
#[test]
fn a_round_that_runs_out_of_memory_has_changed_nothing() {
    runs_out_of_memory(&|scene, round| scene.rank(round));
    // Judged by the host, which asks for all that it can ask for.
    runs_out_of_memory(&|scene, round| {
        round.judge(&[Judging::Host { unscaled: &[] }, Judging::Host { unscaled: &[2] }]);
        let hidden = scene.encoder.config().hidden;
        for member in 0..2 {
            let own = 2 * member * hidden..2 * (member + 1) * hidden;
            let slopes = loss_of(&round.rows()[own]).1;
            let head = round.values(member, 3..7);
            round.take_slopes(2 * member, &slopes);
            round.take_gradient(member, 3, &head);
            round.take_loss(member, 0.5);
        }
        round.settle();
    });
}

fn runs_out_of_memory(judge: &dyn Fn(&Scene<'_>, &mut Round<'_, Kernels>)) {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let keeper = encoder.backend().keeper().unwrap();
    let machine = encoder.backend().machine();
    let scene = Scene::new(&encoder, &[0, 1], true);
    let mut slabs = slabs(&encoder, &[0, 1]);
    let read = |slabs: &[Slab]| -> Vec<SlabState> {
        slabs.iter().map(|slab| keeper.read(slab).unwrap()).collect()
    };
    let judge = |round: &mut Round<'_, Kernels>| judge(&scene, round);
    scene.run_judged(&mut slabs, (false, Ending::Keep), &judge);
    let before = read(&slabs);
    let mut left = 0;
    while left < 10_000 {
        machine.leave(left);
        scene.run_judged(&mut slabs, (true, Ending::Step(step(1))), &judge);
        machine.leave(usize::MAX);
        match encoder.backend().take_fault() {
            None => break,
            Some(Fault::OutOfMemory(_)) => assert!(read(&slabs) == before, "with {left} buffers"),
            Some(fault) => panic!("with {left} buffers: {fault:?}"),
        }
        left += 1;
    }
    assert!((20..10_000).contains(&left), "{left} buffers for a round");
    assert!(read(&slabs) != before, "it was stepped in the end");
}

/// Another machine runs the second tenant's texts, and gives what the owner would have computed.
#[test]
fn a_round_that_is_helped_has_the_bits_of_one_that_is_not() {
    for real in Real::ALL {
        let Some(host) = host(real) else { return };
        let [encoder, other] = [(); 2].map(|()| on_kernels(host, "bert-tiny"));
        let keeper = encoder.backend().keeper().unwrap();
        let scene = Scene::new(&encoder, &[0, 1], true);
        let mut alone = slabs(&encoder, &[0, 1]);
        let expected = scene.run(&mut alone, false, Ending::Step(step(1)));

        let mut slabs = slabs(&encoder, &[0, 1]);
        slabs.iter_mut().for_each(|slab| keeper.bring(slab));
        let values: Vec<Vec<f32>> =
            slabs.iter().map(|slab| keeper.read(slab).unwrap().values).collect();
        let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
        let mut members: Vec<Member<'_, Slab>> =
            slabs.iter_mut().map(|slab| Member { slab, goes_on: false }).collect();
        let (mut scratch, mut others) = (Scratch::default(), Scratch::default());
        let mut round = Round::begin((&encoder, keeper), &mut scratch, &mut members, 4);
        let theirs = other.backend().keeper().unwrap();
        let mut help = Round::help((&other, theirs), &mut others, &values, 2);

        let adapters: Vec<&Adapter> = scene.adapters.iter().collect();
        let forward = |batch| Forward { batch, adapters: &adapters, start: Start::Tokens };
        let [first, second] = [&scene.batches[0], &scene.batches[1]].map(forward);
        let (mut tape, mut their_tape) = (Tape::default(), Tape::default());
        round.forward(&first, Some((TapeMode::Full, &mut tape)), &mut scratch, 0);
        help.forward(&second, Some((TapeMode::Full, &mut their_tape)), &mut others, 0);
        round.take_rows(2, &help.rows());
        scene.rank(&mut round);
        help.take_slopes(0, &round.slopes(2..4));
        round.backward(&first, &mut scratch, &mut tape, 0);
        let mut gradients = vec![Vec::new()];
        help.differentiate(&second, &mut others, &mut their_tape, (0, &mut gradients));
        help.leave(&mut others);
        round.take_gradient(1, 0, &gradients[0]);
        round.end(&mut scratch, &[Ending::Step(step(1)); 2]);
        assert_eq!(round.verdicts(), expected, "{real:?}");
        for (found, expected) in slabs.iter().zip(&alone) {
            assert!(keeper.read(found).unwrap() == keeper.read(expected).unwrap(), "{real:?}");
        }
        assert_eq!([&encoder, &other].map(|it| it.backend().take_fault()), [None, None]);
    }
}

/// Something that is asked of a round.
type Asking<'a> = dyn Fn(&mut Round<'_, Kernels>, &mut Scratch<Kernels>) + 'a;

/// What makes no sense is refused before anything is launched.
#[test]
fn parts_that_do_not_belong_to_a_round_are_refused() {
    let Some(host) = host(Real::Float) else { return };
    let encoder = on_kernels(host, "bert-tiny");
    let keeper = encoder.backend().keeper().unwrap();
    let scene = Scene::new(&encoder, &[0, 1], false);
    let wrong: [(&str, &Asking<'_>); 9] = [
        ("rows go beyond", &|round, _| round.take_rows(3, &[0.0; 128])),
        ("slopes are asked for beyond", &|round, _| drop(round.slopes(3..5))),
        ("slopes go beyond", &|round, _| round.take_slopes(3, &[0.0; 128])),
        ("of no member", &|round, _| round.take_gradient(2, 0, &[0.0; 8])),
        ("a loss is of no member", &|round, _| round.take_loss(2, 0.0)),
        ("values are asked for", &|round, _| drop(round.values(1, 0..1 << 20))),
        ("one judging for each member", &|round, _| round.judge(&[])),
        ("that was not judged", &|round, _| round.settle()),
        ("one ending for each member", &|round, scratch| round.end(scratch, &[Ending::Keep])),
    ];
    for (why, act) in wrong {
        let mut slabs = slabs(&encoder, &[0, 1]);
        slabs.iter_mut().for_each(|slab| keeper.bring(slab));
        let mut members: Vec<Member<'_, Slab>> =
            slabs.iter_mut().map(|slab| Member { slab, goes_on: false }).collect();
        let mut scratch = Scratch::default();
        let mut round = Round::begin((&encoder, keeper), &mut scratch, &mut members, 4);
        let launches = encoder.backend().machine().launches();
        act(&mut round, &mut scratch);
        assert_eq!(encoder.backend().machine().launches(), launches, "{why}");
        let fault = encoder.backend().take_fault();
        assert!(matches!(&fault, Some(Fault::Refused(it)) if it.contains(why)), "{why}: {fault:?}");
    }
    // A pass with more texts than its round has, and with adapters that are not its members.
    let mut slabs = slabs(&encoder, &[0, 1]);
    slabs.iter_mut().for_each(|slab| keeper.bring(slab));
    let mut members: Vec<Member<'_, Slab>> =
        slabs.iter_mut().map(|slab| Member { slab, goes_on: false }).collect();
    let mut scratch = Scratch::default();
    let mut round = Round::begin((&encoder, keeper), &mut scratch, &mut members, 3);
    let [adapters, others] = [0, 1].map(|first: usize| -> Vec<&Adapter> {
        [first, 1 - first].iter().map(|&at| &scene.adapters[at]).collect()
    });
    let forward = |adapters| Forward { batch: &scene.batches[0], adapters, start: Start::Tokens };
    round.forward(&forward(&adapters), None, &mut scratch, 0);
    let fault = encoder.backend().take_fault();
    assert!(matches!(&fault, Some(Fault::Refused(it)) if it.contains("more texts")), "{fault:?}");
    round.forward(&forward(&others), None, &mut scratch, 0);
    let fault = encoder.backend().take_fault();
    assert!(matches!(&fault, Some(Fault::Refused(it)) if it.contains("adapters of")), "{fault:?}");
}
