//! Many simulated experiments, each looked at after every unit.

use super::*;

const SEED: u64 = 20_261_128;

fn settings() -> Settings {
    Settings {
        name: "reranker".to_owned(),
        treatment_per_mille: 500,
        false_stops_per_mille: 50,
        relevant_difference: 0.0,
        guardrails: guardrail(0.0),
        units_max: 2000,
    }
}

fn guardrail(tolerance: f64) -> Vec<Guardrail> {
    vec![Guardrail { name: "latency".to_owned(), tolerance }]
}

/// Chances of an outcome of 1: of quality, and of the guardrail.
type Chances = [f64; 2];

/// Runs an experiment to its end; units and outcomes follow from the number of the stream.
fn run(settings: Settings, stream: u64, control: Chances, treatment: Chances) -> Reason {
    let draws = Draws::new(SEED + stream, Stream::Bootstrap);
    let mut experiment = Experiment::new(settings).unwrap();
    for place in 0.. {
        let unit = format!("{stream}/{place}");
        let chances = match experiment.assign(&unit) {
            Arm::Control => control,
            Arm::Treatment => treatment,
        };
        let drawn =
            |which: usize| f64::from(u8::from(draws.share(which as u64, place) < chances[which]));
        let guardrails = vec![drawn(1); experiment.settings.guardrails.len()];
        let outcome = Outcome { quality: drawn(0), guardrails };
        assert_eq!(experiment.record(&unit, &outcome), Ok(Recorded::Counted));
        if let Decision::Stop(reason) = experiment.decision() {
            return reason.clone();
        }
    }
    unreachable!("units are spent at some time")
}

/// The share of streams that stop for a difference.
fn false_stops(settings: &Settings, streams: u64, chances: Chances) -> f64 {
    let stops = (0..streams)
        .filter(|stream| {
            !matches!(run(settings.clone(), *stream, chances, chances), Reason::UnitsSpent(_))
        })
        .count();
    stops as f64 / streams as f64
}

#[test]
fn without_a_difference_few_experiments_ever_stop() {
    for (chances, treatment_per_mille) in [([0.3, 0.9], 500), ([0.5, 0.5], 500), ([0.1, 0.99], 100)]
    {
        let settings = Settings { treatment_per_mille, ..settings() };
        let stops = false_stops(&settings, 1000, chances);
        // 5 % of 1000 streams, with a standard deviation of 0.7 %.
        assert!(stops <= 0.05, "{stops} stop at {chances:?}, seed {SEED}");
    }
}

/// The same streams with the test that a person would make after each unit: if it were right too,
/// the test above would show nothing.
#[test]
fn a_test_for_one_look_is_wrong_when_looked_at_often() {
    let experiment = Experiment::new(settings()).unwrap();
    let stops = (0..300).filter(|stream| {
        let draws = Draws::new(SEED + stream, Stream::Bootstrap);
        let mut arms = [(0.0, 0.0); 2];
        (0..2000).any(|place| {
            let arm = experiment.assign(&format!("{stream}/{place}"));
            let tally = &mut arms[usize::from(arm == Arm::Treatment)];
            tally.0 += 1.0;
            tally.1 += f64::from(u8::from(draws.share(0, place) < 0.5));
            let [(n, a), (m, b)] = arms;
            let pooled = (a + b) / (n + m);
            let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
            n > 20.0 && m > 20.0 && (a / n - b / m).abs() > 1.96 * error
        })
    });
    let share = stops.count() as f64 / 300.0;
    assert!(share > 0.2, "{share} stop, seed {SEED}");
}

#[test]
fn differences_are_found() {
    let settings = Settings { units_max: 10_000, ..settings() };
    let mut units = Vec::new();
    for stream in 0..100 {
        match run(settings.clone(), stream, [0.5, 0.9], [0.6, 0.9]) {
            Reason::Better(effect) => {
                assert!(effect.low > 0.0 && effect.low < 0.1, "{effect:?}");
                units.push(effect.control_units + effect.treatment_units);
            }
            other => assert!(matches!(other, Reason::UnitsSpent(_)), "{other}"),
        }
    }
    units.sort_unstable();
    // A test for one look at a number of units fixed before needs 1040 for 90 % of these.
    assert!(units.len() >= 95, "{} of 100 found, seed {SEED}", units.len());
    assert!(units[units.len() / 2] < 4000, "half are found by {} units", units[units.len() / 2]);
}

#[test]
fn a_worse_guardrail_stops_a_better_treatment() {
    let settings = Settings { units_max: 20_000, ..settings() };
    let worse = run(settings.clone(), 1, [0.5, 0.95], [0.5, 0.7]);
    assert!(matches!(worse, Reason::GuardrailBroken { .. }), "{worse}");
    assert!(worse.to_string().contains("guardrail latency worse than tolerated"), "{worse}");
    let tolerated = Settings { guardrails: guardrail(0.5), ..settings.clone() };
    let better = run(tolerated, 1, [0.3, 0.95], [0.6, 0.7]);
    assert!(matches!(better, Reason::Better(_)), "{better}");
    let worse = run(settings, 1, [0.6, 0.9], [0.3, 0.9]);
    assert!(worse.to_string().starts_with("the treatment is worse: 0."), "{worse}");
}

#[test]
fn what_does_not_matter_ends_too() {
    let settings = Settings { relevant_difference: 0.1, units_max: 20_000, ..settings() };
    let reason = run(settings, 3, [0.5, 0.9], [0.5, 0.9]);
    assert!(matches!(reason, Reason::NoRelevantDifference(_)), "{reason}");
}

#[test]
fn assignment_sticks_and_is_even_and_independent() {
    let one = Experiment::new(settings()).unwrap();
    let other = Experiment::new(Settings { name: "prefix".to_owned(), ..settings() }).unwrap();
    let few = Experiment::new(Settings { treatment_per_mille: 100, ..settings() }).unwrap();
    let treated = |experiment: &Experiment, unit: u32| {
        usize::from(experiment.assign(&format!("user-{unit}")) == Arm::Treatment)
    };
    let mut table = [[0u32; 2]; 2];
    let mut few_treated = 0;
    for unit in 0..40_000 {
        table[treated(&one, unit)][treated(&other, unit)] += 1;
        few_treated += treated(&few, unit);
    }
    // 10 000 each with a standard deviation of 87, and 4000 with one of 60.
    assert!(table.as_flattened().iter().all(|count| count.abs_diff(10_000) < 435), "{table:?}");
    assert!(few_treated.abs_diff(4000) < 300, "{few_treated}");
    // Assignments outlive a version: these were written down once.
    let arms = ["", "a", "user-1", "user-2", "用户"].map(|unit| one.assign(unit) == Arm::Treatment);
    assert_eq!(arms, [false, false, true, true, false]);
}

#[test]
fn only_the_first_outcome_of_a_unit_counts() {
    let mut experiment = Experiment::new(Settings { units_max: 2, ..settings() }).unwrap();
    let outcome = Outcome { quality: 1.0, guardrails: vec![0.5] };
    assert!(!experiment.has_outcome("a"));
    assert_eq!(experiment.record("a", &outcome), Ok(Recorded::Counted));
    assert!(experiment.has_outcome("a") && !experiment.has_outcome("b"));
    assert_eq!(experiment.record("a", &outcome), Ok(Recorded::Repeated));
    let not = Outcome { quality: f64::NAN, ..outcome.clone() };
    let refused = experiment.record("b", &not);
    assert!(matches!(refused, Err(UnusableOutcome::Value { value }) if value.is_nan()));
    let none = Outcome { guardrails: Vec::new(), ..outcome.clone() };
    let refused = experiment.record("b", &none);
    assert_eq!(refused, Err(UnusableOutcome::Guardrails { given: 0, wanted: 1 }));
    assert_eq!(experiment.decision(), &Decision::Continue);
    assert_eq!(experiment.record("b", &outcome), Ok(Recorded::Counted));
    let Decision::Stop(Reason::UnitsSpent(effect)) = experiment.decision() else {
        panic!("two units are all");
    };
    assert_eq!(*effect, experiment.effect());
    assert_eq!(effect.control_units + effect.treatment_units, 2);
    assert_eq!(experiment.record("c", &outcome), Ok(Recorded::TooLate));
}

/// Users of the treatment who are not served well leave without a word, and those who stay are glad.
#[test]
fn outcomes_that_are_missing_on_one_side_stop_it() {
    let settings = Settings { guardrails: Vec::new(), units_max: 20_000, ..settings() };
    let draws = Draws::new(SEED, Stream::Bootstrap);
    let mut experiment = Experiment::new(settings).unwrap();
    for place in 0.. {
        let unit = format!("user-{place}");
        let quality = f64::from(u8::from(draws.share(0, place) < 0.7));
        let is_lost = draws.share(1, place) < 0.3 && experiment.assign(&unit) == Arm::Treatment;
        if !is_lost {
            experiment.record(&unit, &Outcome { quality, guardrails: Vec::new() }).unwrap();
        }
        if let Decision::Stop(reason) = experiment.decision() {
            assert!(matches!(reason, Reason::SampleMismatch(_)), "{reason}, seed {SEED}");
            assert!(reason.to_string().contains("are missing"), "{reason}");
            assert_eq!(reason.winner(), Arm::Control);
            return;
        }
    }
}

#[test]
fn settings_have_ranges() {
    let check = |settings: Settings, expected: &str| {
        let error = Experiment::new(settings).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("hint: "), "{error}");
    };
    check(Settings { treatment_per_mille: 0, ..settings() }, "0 ‰ of the units");
    check(Settings { treatment_per_mille: 1000, ..settings() }, "10 to 990");
    check(Settings { false_stops_per_mille: 0, ..settings() }, "0 ‰ false stops");
    check(Settings { relevant_difference: -0.1, ..settings() }, "-0.1");
    check(Settings { guardrails: guardrail(f64::NAN), ..settings() }, "NaN");
    let many = vec![guardrail(0.1).remove(0); GUARDRAILS_MAX + 1];
    check(Settings { guardrails: many, ..settings() }, "9 guardrails");
    check(Settings { units_max: UNITS_MAX + 1, ..settings() }, "10000001");
}
