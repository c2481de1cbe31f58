//! Many simulated experiments, each looked at after every unit.

use super::*;

const SEED: u64 = 20_261_128;

fn settings() -> Settings {
    Settings {
        name: "reranker".to_owned(),
        treatment_per_mille: 500,
        false_stops_per_mille: 50,
        relevant_difference: 0.0,
        guardrail_tolerance: Some(0.0),
        units_max: 2000,
    }
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
        let outcome = Outcome { quality: drawn(0), guardrail: drawn(1) };
        assert_eq!(experiment.record(&unit, outcome), Ok(Recorded::Counted));
        if let Decision::Stop(reason) = experiment.decision() {
            return reason;
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
    assert!(matches!(worse, Reason::GuardrailBroken(_)), "{worse}");
    assert!(worse.to_string().contains("guardrail worse than tolerated"), "{worse}");
    let tolerated = Settings { guardrail_tolerance: Some(0.5), ..settings.clone() };
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
    let outcome = Outcome { quality: 1.0, guardrail: 0.5 };
    assert_eq!(experiment.record("a", outcome), Ok(Recorded::Counted));
    assert_eq!(experiment.record("a", outcome), Ok(Recorded::Repeated));
    let not = Outcome { quality: f64::NAN, ..outcome };
    assert!(experiment.record("b", not).unwrap_err().value.is_nan());
    assert_eq!(experiment.decision(), Decision::Continue);
    assert_eq!(experiment.record("b", outcome), Ok(Recorded::Counted));
    let Decision::Stop(Reason::UnitsSpent(effect)) = experiment.decision() else {
        panic!("two units are all");
    };
    assert_eq!(effect, experiment.effect());
    assert_eq!(effect.control_units + effect.treatment_units, 2);
    assert_eq!(experiment.record("c", outcome), Ok(Recorded::TooLate));
    // Without a guardrail its number is not read.
    let without = Settings { guardrail_tolerance: None, ..settings() };
    let mut without = Experiment::new(without).unwrap();
    let outcome = Outcome { guardrail: f64::NAN, ..outcome };
    assert_eq!((without.record("a", outcome), without.guardrail()), (Ok(Recorded::Counted), None));
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
    check(Settings { guardrail_tolerance: Some(f64::NAN), ..settings() }, "NaN");
    check(Settings { units_max: UNITS_MAX + 1, ..settings() }, "10000001");
}
