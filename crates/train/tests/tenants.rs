//! What tenants go through: faults that end one tenant alone, evaluations that keep the best
//! adapter, and what is reported on the way.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{TestTexts, alone, encoder, ended, join, limits, round, tenant, trainer};
use cotenant_train::{Evaluation, Event, Example, FinishReason, Length, Limits, Loss, TenantError};
use cotenant_train::{Settings, SettingsError, TenantId, TenantSpec, TextError, Texts};
use cotenant_transformer::{Adapter, AdapterLayout, LayerChoice};
use proptest::prelude::{ProptestConfig, any, proptest};

/// Pairs over 40 texts, each text in one pair, so that there is something to learn.
fn pairs(settings: Settings) -> TenantSpec {
    let pair = |i| Example::Pair { anchor: i, positive: 20 + i, negatives: Vec::new() };
    TenantSpec {
        name: "pairs".into(),
        examples: (0..20).map(pair).collect(),
        texts: Arc::new(TestTexts::random(40, 3)),
        settings,
        adapter: None,
    }
}

fn ten_steps() -> Settings {
    Settings { length: Length::Steps(10), batch: 8, learning_rate: 0.01, ..Settings::default() }
}

fn finished(events: &[Event]) -> Vec<(TenantId, &FinishReason)> {
    let reason = |event| match event {
        &Event::TenantFinished { tenant, ref reason } => Some((tenant, reason)),
        Event::StepFinished { .. } | Event::EvaluationDue { .. } | Event::ScoreCompared { .. } => {
            None
        }
    };
    events.iter().filter_map(reason).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_tenant_that_fails_disturbs_nobody(seed in any::<u64>(), threads in 1usize..3) {
        let encoder = encoder();
        let mut trainer = trainer(&encoder, Limits { threads, tokens_chunk: 400, ..limits() });
        let healthy = [tenant(seed), tenant(seed ^ 1)];
        let settings = Settings { evaluation: None, ..ten_steps() };
        let layout = AdapterLayout::from_spec(&settings.lora, encoder.config()).unwrap();
        let huge = Adapter { values: vec![1e30; layout.len()], layout: Arc::new(layout) };
        let wild = TenantSpec { adapter: Some(huge.clone()), ..pairs(settings.clone()) };
        let texts = Arc::new(TestTexts { bad: Some(7), ..TestTexts::random(40, 3) });
        let broken = TenantSpec { name: "broken".into(), texts, ..pairs(settings) };
        let all = [healthy[0].clone(), wild, broken, healthy[1].clone()];
        let ids = join(&mut trainer, all);
        while !trainer.is_done() {
            round(&mut trainer);
        }
        let outcomes: Vec<_> = ids.iter().map(|id| trainer.remove(*id).unwrap()).collect();
        let not_finite = FinishReason::NotFinite { what: "loss".into(), step: 1 };
        assert_eq!(outcomes[1].reason, not_finite);
        assert_eq!(outcomes[1].adapter, huge, "the values before the step that was not taken");
        let FinishReason::BadText { text: 7, ref reason } = outcomes[2].reason else {
            panic!("{}", outcomes[2].reason)
        };
        assert_eq!(reason, "line 7 of train.jsonl is not UTF-8");
        for (at, spec) in [(0, &healthy[0]), (3, &healthy[1])] {
            assert_eq!(ended(&outcomes[at]), alone(&encoder, spec.clone()));
        }
    }
}

#[test]
fn training_lowers_the_loss() {
    let mut trainer = trainer(&encoder(), limits());
    let id = trainer.add(pairs(Settings { length: Length::Epochs(20), ..ten_steps() })).unwrap();
    while !trainer.is_done() {
        round(&mut trainer);
    }
    let losses = trainer.progress(id).unwrap().losses;
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    assert_eq!(losses.len(), 60);
    let (first, last) = (mean(&losses[..6]), mean(&losses[54..]));
    assert!(last < 0.5 * first, "{first} -> {last}");
}

#[test]
fn texts_that_the_model_cannot_take_end_the_tenant() {
    for (tokens, expected) in [
        (vec![], "it has no tokens"),
        (vec![1; 65], "it has 65 tokens, but the model takes 64"),
        (vec![1, 60, 2], "token 60 is outside of the vocabulary of 60"),
    ] {
        let mut texts = TestTexts::random(40, 3);
        texts.texts[5] = tokens.into();
        let mut trainer = trainer(&encoder(), limits());
        let texts = Arc::new(texts);
        trainer.add(TenantSpec { texts, ..pairs(ten_steps()) }).unwrap();
        let mut events = Vec::new();
        while !trainer.is_done() {
            events.extend(trainer.run_round());
        }
        let reason = FinishReason::BadText { text: 5, reason: expected.into() };
        assert_eq!(finished(&events), [(TenantId(0), &reason)]);
    }
}

/// Scores in the order of evaluations, the step and score of the adapter that is kept, and why
/// training ended.
#[track_caller]
fn check_evaluation(
    (every_steps, patience): (u64, Option<u32>),
    scores: &[f64],
    (step, score): (u64, f64),
    reason: &FinishReason,
) {
    let evaluation = Some(Evaluation { every_steps, patience });
    let mut trainer = trainer(&encoder(), limits());
    let id = trainer.add(pairs(Settings { evaluation, ..ten_steps() })).unwrap();
    let mut scores = scores.iter();
    let mut judged = Vec::new();
    while !trainer.is_done() {
        for event in trainer.run_round() {
            if let Event::EvaluationDue { tenant, step } = event {
                assert_eq!(tenant, id);
                judged.push((step, trainer.adapter(id).unwrap().clone()));
                assert_eq!(trainer.run_round(), [], "it waits and is called for once");
                let score = *scores.next().expect("no more evaluations than expected");
                trainer.report_score(id, score).unwrap();
            }
        }
    }
    assert_eq!(scores.len(), 0, "as many evaluations as expected");
    let outcome = trainer.remove(id).unwrap();
    assert_eq!(&outcome.reason, reason);
    assert_eq!(outcome.progress.best, Some((step, score)));
    assert_eq!(outcome.adapter_step, step);
    let kept = judged.iter().find(|(at, _)| *at == step).map(|(_, adapter)| adapter);
    assert_eq!(Some(&outcome.adapter), kept.map(|kept| &**kept));
}

#[test]
fn the_best_adapter_is_kept_and_patience_ends_training() {
    let (completed, stopped) = (&FinishReason::Completed, &FinishReason::EarlyStopped);
    check_evaluation((4, None), &[0.1, 0.3, 0.2, 0.25], (4, 0.3), completed);
    check_evaluation((5, None), &[0.1, 0.3, 0.4], (10, 0.4), completed);
    // Never below where it started, and of equals the earlier one.
    check_evaluation((5, None), &[0.5, 0.3, 0.4], (0, 0.5), completed);
    check_evaluation((5, None), &[0.5, 0.5, 0.5], (0, 0.5), completed);
    check_evaluation((2, Some(2)), &[0.1, 0.3, 0.2, 0.3], (2, 0.3), stopped);
    check_evaluation((2, Some(2)), &[0.1, 0.0, 0.2, 0.0, 0.3, 0.0], (8, 0.3), completed);
    check_evaluation((3, Some(1)), &[0.1, f64::NAN], (0, 0.1), stopped);
}

#[test]
fn scores_that_nobody_waits_for_are_refused() {
    let mut trainer = trainer(&encoder(), limits());
    let id = trainer.add(pairs(ten_steps())).unwrap();
    let not_due = TenantError::NotDue { tenant: id, name: "pairs".into() };
    assert_eq!(trainer.report_score(id, 0.5), Err(not_due));
    let unknown = TenantId(9);
    assert_eq!(trainer.report_score(unknown, 0.5), Err(TenantError::Unknown { tenant: unknown }));
}

#[test]
fn a_tenant_can_be_removed_at_any_time() {
    let mut trainer = trainer(&encoder(), limits());
    let id = trainer.add(pairs(ten_steps())).unwrap();
    (0..3).for_each(|_| drop(round(&mut trainer)));
    let standing = trainer.adapter(id).unwrap().clone();
    let outcome = trainer.remove(id).unwrap();
    assert_eq!((outcome.reason, outcome.adapter_step), (FinishReason::Removed, 3));
    assert_eq!(outcome.adapter, *standing);
    assert!(trainer.remove(id).is_none() && trainer.is_done());
    let again = trainer.add(pairs(ten_steps())).unwrap();
    assert_ne!(again, id, "an id is never used twice");
}

#[test]
fn steps_report_what_they_took() {
    let mut trainer = trainer(&encoder(), limits());
    let settings = Settings { accumulate: 2, warmup_per_mille: 0, ..ten_steps() };
    trainer.add(pairs(settings)).unwrap();
    assert_eq!(trainer.run_round(), [], "the step's second batch is missing");
    let events = trainer.run_round();
    let [
        Event::StepFinished {
            step: 1, loss, gradient_norm, learning_rate, pairs: 16, tokens, ..
        },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert!(loss.is_finite() && gradient_norm > 0.0 && learning_rate == 0.01);
    let counters = trainer.counters();
    assert_eq!((counters.rounds, counters.steps, counters.pairs), (2, 1, 16));
    assert_eq!(counters.tokens, tokens);
    assert!(counters.forward.as_nanos() > 0 && counters.backward.as_nanos() > 0);
    assert!(counters.planning >= counters.data_stall);
}

#[test]
fn an_accumulated_step_is_the_mean_of_its_batches() {
    // A step this small moves no value by as much as its last digit, so both batches see the same
    // adapter.
    let first_steps = |accumulate, rounds: usize| {
        let mut trainer = trainer(&encoder(), limits());
        let settings = Settings { accumulate, learning_rate: 1e-20, ..ten_steps() };
        trainer.add(pairs(settings)).unwrap();
        let of_step = |event| match event {
            Event::StepFinished { loss, gradient_norm, .. } => Some((loss, gradient_norm)),
            Event::EvaluationDue { .. }
            | Event::ScoreCompared { .. }
            | Event::TenantFinished { .. } => None,
        };
        let events = (0..rounds).flat_map(|_| trainer.run_round());
        events.filter_map(of_step).collect::<Vec<_>>()
    };
    let [(loss_a, norm_a), (loss_b, norm_b)] = first_steps(1, 2)[..] else { panic!("two steps") };
    let [(loss, norm)] = first_steps(2, 2)[..] else { panic!("one step") };
    assert!((loss - (loss_a + loss_b) / 2.0).abs() < 1e-6, "{loss} of {loss_a} and {loss_b}");
    let (low, high) = ((norm_a - norm_b).abs() / 2.0, (norm_a + norm_b) / 2.0);
    assert!(norm > low && norm < 1.0001 * high, "{norm} of {norm_a} and {norm_b}");
}

#[test]
fn weights_divide_the_machine() {
    let mut trainer = trainer(&encoder(), limits());
    let steps = Length::Steps(300);
    let ids = [1, 3].map(|weight| {
        let settings = Settings { weight, length: steps, batch: 4, ..ten_steps() };
        let name = format!("weight {weight}");
        trainer.add(TenantSpec { name, ..pairs(settings) }).unwrap()
    });
    (0..200).for_each(|_| drop(round(&mut trainer)));
    let [light, heavy] = ids.map(|id| trainer.progress(id).unwrap().tokens as f64);
    assert!((heavy / light - 3.0).abs() < 0.2, "{heavy} to {light}");
}

#[track_caller]
fn check_refused(spec: TenantSpec, expected: &str) {
    let error: SettingsError = trainer(&encoder(), limits()).add(spec).unwrap_err();
    let chain = std::error::Error::source(&error).map(|source| format!(": {source}"));
    let message = format!("{error}{}", chain.unwrap_or_default());
    assert!(message.contains(expected), "{message}");
}

#[test]
fn what_cannot_be_trained_is_refused_with_its_name() {
    let with = |change: fn(&mut Settings)| {
        let mut settings = ten_steps();
        change(&mut settings);
        pairs(settings)
    };
    check_refused(with(|s| s.batch = 0), "batch is 0, but must be at least 1");
    check_refused(with(|s| s.learning_rate = f32::NAN), "learning_rate is NaN");
    check_refused(with(|s| s.dropout_per_mille = 1000), "dropout is 1000");
    check_refused(with(|s| s.length = Length::Epochs(0)), "epochs is 0");
    check_refused(with(|s| s.lora.rank = 0), "rank must be at least 1");
    check_refused(with(|s| s.lora.layers = LayerChoice::Top(3)), "layer 3 does not exist");
    check_refused(with(|s| s.loss = Loss::CoSent { scale: 20.0 }), "example 0 is a pair");
    check_refused(with(|s| s.batch = 1), "no batch holds two examples");
    check_refused(TenantSpec { examples: Vec::new(), ..pairs(ten_steps()) }, "no examples");
    let config = common::config();
    let layout = Arc::new(AdapterLayout::from_spec(&ten_steps().lora, &config).unwrap());
    for (values, expected) in [
        (vec![0.0; layout.len() - 1], "values instead of"),
        (vec![f32::INFINITY; layout.len()], "not a finite number"),
    ] {
        let adapter = Some(Adapter { layout: Arc::clone(&layout), values });
        check_refused(TenantSpec { adapter, ..pairs(ten_steps()) }, expected);
    }
    let empty = Adapter { layout: Arc::default(), values: Vec::new() };
    check_refused(TenantSpec { adapter: Some(empty), ..pairs(ten_steps()) }, "adapts nothing");
}

/// Texts that are prepared only when somebody waits for one of them.
struct SlowTexts {
    texts: TestTexts,
    prepared: AtomicBool,
}

impl Texts for SlowTexts {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        self.prepared.store(true, Ordering::Relaxed);
        self.texts.tokens(text)
    }

    fn is_ready(&self, _text: u32) -> bool {
        self.prepared.load(Ordering::Relaxed)
    }

    fn key(&self, text: u32) -> u64 {
        self.texts.key(text)
    }
}

#[test]
fn a_tenant_with_slow_texts_keeps_nobody_waiting() {
    let encoder = encoder();
    let mut trainer = trainer(&encoder, limits());
    let (texts, prepared) = (TestTexts::random(40, 3), AtomicBool::new(false));
    let texts = Arc::new(SlowTexts { texts, prepared });
    let slow = TenantSpec { name: "slow".into(), texts, ..pairs(ten_steps()) };
    let ids = join(&mut trainer, [slow, pairs(ten_steps())]);
    (0..10).for_each(|_| drop(round(&mut trainer)));
    let steps: Vec<u64> = ids.iter().map(|id| trainer.progress(*id).unwrap().step).collect();
    assert_eq!(steps, [0, 10], "the other goes ahead");
    while !trainer.is_done() {
        round(&mut trainer);
    }
    let outcomes: Vec<_> = ids.iter().map(|id| ended(&trainer.remove(*id).unwrap())).collect();
    assert_eq!(outcomes[0], outcomes[1], "waiting changed nothing");
}

#[test]
fn names_are_unique() {
    let mut trainer = trainer(&encoder(), limits());
    trainer.add(pairs(ten_steps())).unwrap();
    let error = trainer.add(pairs(ten_steps())).unwrap_err();
    assert_eq!(error, SettingsError::NameTaken { name: "pairs".into() });
}
