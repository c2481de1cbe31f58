//! Experiments as the server runs them: statistics over many simulated users, and files that
//! outlive whatever happens to them.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::file::{read, with_sum, written};
use super::*;

const SEED: u64 = 20_261_128;
const NOW_S: u64 = 1_800_000_000;

/// A request with what differs from the usual.
fn request(more: Value) -> ExperimentRequest {
    let mut request = json!({
        "name": "words", "control": { "mode": "hybrid" }, "treatment": { "mode": "text" },
        "metric": { "worst": 0, "best": 10 },
    });
    let more = more.as_object().unwrap();
    request.as_object_mut().unwrap().extend(more.clone());
    serde_json::from_value(request).unwrap()
}

fn plan(more: Value) -> Plan {
    Plan::decide(request(more)).unwrap()
}

fn head(stream: u64, request: ExperimentRequest) -> Head {
    let key = to_hex(&Sha256::digest(format!("{SEED}/{stream}")));
    Head { format: FORMAT, tenant: "law".to_owned(), key, started_s: NOW_S, request }
}

/// A number in `[0, 1)` that follows from what it is for.
fn share(parts: [u64; 3]) -> f64 {
    let digest = Sha256::digest(format!("{SEED}/{parts:?}"));
    let bytes: [u8; 8] = digest[..8].try_into().unwrap();
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}

/// How users of a variant fare: how often they are glad, and how often their search fails.
type Fares = [f64; 2];

/// Runs an experiment on simulated users until it stops.
fn run(stream: u64, more: &Value, control: Fares, treatment: Fares) -> Stop {
    let mut trial = Trial::begin(&head(stream, request(more.clone()))).unwrap();
    for user in 0.. {
        let enrolled = trial.enrol(&format!("user-{user}"), NOW_S);
        let unit = enrolled.unit.unwrap();
        let [glad, fails] = match enrolled.variant {
            Variant::Control => control,
            Variant::Treatment => treatment,
        };
        let marks = match share([stream, user, 0]) < fails {
            true => trial.plan.marks_of_failure(),
            false => {
                let value = if share([stream, user, 1]) < glad { 10.0 } else { 0.0 };
                let said = Said { value: Some(value), ..Said::default() };
                trial.plan.marks(&said, 1000).unwrap()
            }
        };
        assert_eq!(trial.foresee(unit, NOW_S), Recorded::Counted);
        trial.record(unit, &marks).unwrap();
        if let Some(stop) = trial.due_stop(NOW_S) {
            return stop;
        }
    }
    unreachable!("subjects are spent at some time")
}

#[test]
fn without_a_difference_no_more_stop_than_may() {
    for (more, fares) in [
        (json!({ "subjects_max": 1000 }), [0.5, 0.0]),
        (
            json!({ "subjects_max": 1000, "guardrails": {
            "errors": { "tolerance": 0 }, "latency": { "within_ms": 50, "tolerance": 0 } } }),
            [0.3, 0.2],
        ),
    ] {
        let stops = (0..400).map(|stream| run(stream, &more, fares, fares));
        let wrong = stops.filter(|stop| stop.code != StopCode::SubjectsSpent).count();
        // 5 % of 400, and one in a thousand for a mismatch.
        assert!(wrong <= 20, "{wrong} of 400 stop for {more}, seed {SEED}");
    }
}

#[test]
fn a_difference_is_found_and_the_winner_serves() {
    let more = json!({ "subjects_max": 20_000 });
    let stops: Vec<Stop> = (0..20).map(|it| run(it, &more, [0.4, 0.0], [0.6, 0.0])).collect();
    let better = stops.iter().filter(|stop| stop.code == StopCode::Better);
    assert!(better.clone().count() >= 19, "seed {SEED}: {stops:?}");
    for stop in better {
        assert_eq!(stop.serves, Variant::Treatment);
        assert!(stop.reason.starts_with("the treatment is better: 0."), "{}", stop.reason);
    }
    let worse = run(1, &more, [0.6, 0.0], [0.4, 0.0]);
    assert_eq!((worse.code, worse.serves), (StopCode::Worse, Variant::Control));
    // What is glad where it answers, and answers less often, is stopped by that.
    let more = json!({ "subjects_max": 20_000, "guardrails": { "errors": { "tolerance": 0.01 } } });
    let failing = run(2, &more, [0.5, 0.0], [0.7, 0.3]);
    assert_eq!((failing.code, failing.serves), (StopCode::GuardrailBroken, Variant::Control));
    assert!(failing.reason.contains("the guardrail errors worse"), "{}", failing.reason);
    let more = json!({ "subjects_max": 20_000, "relevant_difference": 0.2 });
    let same = run(3, &more, [0.5, 0.0], [0.5, 0.0]);
    assert_eq!((same.code, same.serves), (StopCode::NoRelevantDifference, Variant::Control));
}

/// A server's experiments in a folder that is thrown away.
struct Place {
    folder: TempDir,
    experiments: Option<Experiments>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self { folder, experiments: None };
        place.reopen();
        place
    }

    fn reopen(&mut self) {
        self.experiments = None;
        let meters = Arc::new(Meters::new());
        self.experiments = Some(Experiments::open(self.folder.path(), meters).unwrap());
    }

    fn it(&self) -> &Experiments {
        self.experiments.as_ref().unwrap()
    }

    /// An id for a user's search that took so many milliseconds.
    fn ticket(&self, tenant: &str, user: &str, ms: u64) -> Option<String> {
        let enrolled = self.it().enrol(tenant, user, NOW_S).unwrap();
        enrolled.ticket(Duration::from_millis(ms))
    }

    fn say(&self, tenant: &str, id: &str, value: f64) -> Result<Recorded, ExperimentError> {
        let said = Said { value: Some(value), ..Said::default() };
        self.it().feedback(tenant, (id, &said), NOW_S)
    }

    fn subjects(&self, tenant: &str) -> u64 {
        let effect = self.it().show(tenant, NOW_S).unwrap().effect;
        effect.control_units + effect.treatment_units
    }

    fn file(&self, tenant: &str) -> PathBuf {
        self.it().path(&stem(tenant))
    }
}

#[test]
fn a_user_keeps_its_variant_and_feedback_counts_once_over_restarts() {
    let mut place = Place::new();
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
    let variant = |place: &Place, user: u32| {
        place.it().enrol("law", &format!("user-{user}"), NOW_S).unwrap().variant
    };
    let before: Vec<Variant> = (0..100).map(|user| variant(&place, user)).collect();
    let treated = before.iter().filter(|variant| **variant == Variant::Treatment).count();
    assert!((25..=75).contains(&treated), "{treated} of 100");
    let ids: Vec<String> =
        (0..10).map(|user| place.ticket("law", &format!("user-{user}"), 5).unwrap()).collect();
    for id in &ids[..5] {
        assert_eq!(place.say("law", id, 5.0).unwrap(), Recorded::Counted);
        assert_eq!(place.say("law", id, 5.0).unwrap(), Recorded::Repeated);
    }
    for _ in 0..2 {
        place.reopen();
        assert_eq!(place.subjects("law"), 5);
        let after: Vec<Variant> = (0..100).map(|user| variant(&place, user)).collect();
        assert_eq!(before, after);
        assert_eq!(place.say("law", &ids[0], 9.0).unwrap(), Recorded::Repeated);
    }
    assert_eq!(place.say("law", &ids[5], 5.0).unwrap(), Recorded::Counted, "ids outlive it too");
    let file = std::fs::read_to_string(place.file("law")).unwrap();
    assert!(!file.contains("user-"), "nobody's name is kept");
}

#[test]
fn what_is_no_feedback_of_this_experiment_changes_nothing() {
    let place = Place::new();
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
    place.it().begin("bio", &plan(json!({ "metric": null })), NOW_S).unwrap();
    let (law, bio) = (place.ticket("law", "a", 1).unwrap(), place.ticket("bio", "a", 1).unwrap());
    assert!(matches!(place.say("law", &bio, 1.0), Err(ExperimentError::UnknownId)));
    assert!(matches!(place.say("none", &law, 1.0), Err(ExperimentError::Absent)));
    for value in [-0.1, 10.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(place.say("law", &law, value), Err(ExperimentError::Unusable(_))));
    }
    let rank = |rank| Said { clicked_rank: Some(rank), ..Said::default() };
    assert!(place.it().feedback("law", (&law, &rank(1)), NOW_S).is_err());
    assert!(place.say("bio", &bio, 1.0).is_err(), "it wants a rank");
    let with = Said { guardrail: Some(1.0), ..rank(1) };
    assert!(place.it().feedback("bio", (&bio, &with), NOW_S).is_err(), "it has no guardrail");
    assert_eq!((place.subjects("law"), place.subjects("bio")), (0, 0));
    assert_eq!(place.it().feedback("bio", (&bio, &rank(4)), NOW_S).unwrap(), Recorded::Counted);
    let effect = place.it().show("bio", NOW_S).unwrap().effect;
    assert_eq!(effect.control.or(effect.treatment), Some(0.25));
    let again = place.it().begin("law", &plan(json!({})), NOW_S);
    assert!(matches!(again, Err(ExperimentError::Taken { name }) if name == "words"));
}

#[test]
fn guardrails_take_what_the_server_measured_and_what_is_given() {
    let place = Place::new();
    let guardrails = json!({ "guardrails": {
        "latency": { "within_ms": 50, "tolerance": 0.1 }, "errors": { "tolerance": 0.1 },
        "given": { "name": "cost", "worst": 8, "best": 0, "tolerance": 0.1 },
    } });
    place.it().begin("law", &plan(guardrails), NOW_S).unwrap();
    let say = |user: &str, ms: u64| {
        let id = place.ticket("law", user, ms).unwrap();
        let said = Said { value: Some(10.0), guardrail: Some(2.0), ..Said::default() };
        place.it().feedback("law", (&id, &said), NOW_S).unwrap();
    };
    // Until both variants have had a user in time and one that waited.
    (0..40).for_each(|user| say(&format!("user-{user}"), 40 + user));
    let failed = place.it().enrol("law", "failed", NOW_S).unwrap();
    place.it().fail("law", &failed, NOW_S).unwrap();
    let standing = place.it().show("law", NOW_S).unwrap();
    let names: Vec<&str> = standing.guardrails.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(names, ["latency", "errors", "cost"]);
    let sum = |effect: &Effect| {
        let of = |mean: Option<f64>, units: u64| mean.unwrap_or(0.0) * units as f64;
        of(effect.control, effect.control_units) + of(effect.treatment, effect.treatment_units)
    };
    let sums: Vec<f64> = standing.guardrails.iter().map(|it| sum(&it.2)).collect();
    // 11 were answered within 50 ms, 40 at all, and cost 2 of 8; one failed.
    let expected = [11.0, 40.0, 30.0];
    assert!(sums.iter().zip(expected).all(|(sum, it)| (sum - it).abs() < 1e-9), "{sums:?}");
}

#[test]
fn an_experiment_whose_time_is_over_serves_the_control_for_good() {
    let mut place = Place::new();
    place.it().begin("law", &plan(json!({ "hours_max": 2 })), NOW_S).unwrap();
    let users: Vec<String> = (0..50).map(|user| format!("user-{user}")).collect();
    let id = place.ticket("law", "user-1", 5).unwrap();
    let over_s = NOW_S + 2 * 3600;
    let settings = |place: &Place, now_s: u64| {
        let all = users.iter().map(|user| place.it().enrol("law", user, now_s).unwrap());
        all.map(|enrolled| (enrolled.variant, enrolled.unit.is_some())).collect::<Vec<_>>()
    };
    assert!(settings(&place, over_s - 1).iter().any(|it| it.0 == Variant::Treatment));
    assert_eq!(settings(&place, over_s), [(Variant::Control, false)].repeat(50));
    let said = Said { value: Some(1.0), ..Said::default() };
    let late = place.it().feedback("law", (&id, &said), over_s).unwrap();
    assert_eq!(late, Recorded::TooLate);
    // A clock that goes back does not bring it back, nor does a restart.
    place.reopen();
    assert_eq!(settings(&place, NOW_S), [(Variant::Control, false)].repeat(50));
    let stop = place.it().show("law", NOW_S).unwrap().stop.unwrap();
    assert_eq!((stop.code, stop.stopped_s), (StopCode::TimeOut, over_s));
    assert!(stop.reason.starts_with("2 hours are over"), "{}", stop.reason);
    assert_eq!(place.say("law", &id, 1.0).unwrap(), Recorded::TooLate);
    place.it().forget("law").unwrap();
    assert!(place.it().enrol("law", "user-1", NOW_S).is_none());
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
    assert!(matches!(place.say("law", &id, 1.0), Err(ExperimentError::UnknownId)));
}

#[test]
fn a_file_that_is_cut_anywhere_has_what_was_acknowledged_before() {
    let mut place = Place::new();
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
    let (file, mut lengths) = (place.file("law"), Vec::new());
    for user in 0..4 {
        lengths.push(std::fs::metadata(&file).unwrap().len());
        let id = place.ticket("law", &format!("user-{user}"), 5).unwrap();
        place.say("law", &id, 5.0).unwrap();
    }
    let whole = std::fs::read(&file).unwrap();
    for &cut in &lengths {
        std::fs::write(&file, &whole[..cut as usize]).unwrap();
        place.reopen();
        let error = place.it().show("law", NOW_S).unwrap_err().to_string();
        assert!(error.contains("bytes were acknowledged"), "cut at {cut}: {error}");
    }
    // A power cut may take the mark too.
    std::fs::remove_file(mark_of(&file)).unwrap();
    for cut in lengths[0]..=whole.len() as u64 {
        std::fs::write(&file, &whole[..cut as usize]).unwrap();
        place.reopen();
        let acknowledged = lengths.iter().filter(|length| **length <= cut).count() as u64 - 1;
        let whole_too = u64::from(cut == whole.len() as u64);
        assert_eq!(place.subjects("law"), acknowledged + whole_too, "cut at {cut}");
    }
    // Damage before the last line is told to its tenant and to nobody else.
    place.it().begin("bio", &plan(json!({})), NOW_S).unwrap();
    for at in (0..lengths[2] as usize).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        std::fs::write(&file, bytes).unwrap();
        place.reopen();
        let error = place.it().show("law", NOW_S).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        assert!(place.it().enrol("law", "user-1", NOW_S).is_none(), "searches go on");
        assert_eq!(place.subjects("bio"), 0);
    }
    place.it().forget("law").unwrap();
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
}

/// The end follows from the outcomes, and is a line of its own behind them. A server that was killed
/// before it wrote that line must not acknowledge what does not count any more.
#[test]
fn outcomes_behind_an_end_that_was_not_written_are_too_late() {
    let mut place = Place::new();
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
    let waiting = place.ticket("law", "waiting", 5).unwrap();
    for user in 0.. {
        let enrolled = place.it().enrol("law", &format!("user-{user}"), NOW_S).unwrap();
        let Some(id) = enrolled.ticket(Duration::from_millis(5)) else { break };
        let value = if enrolled.variant == Variant::Treatment { 10.0 } else { 0.0 };
        place.say("law", &id, value).unwrap();
        assert!(user < 1000, "it stops by itself");
    }
    let (file, subjects) = (place.file("law"), place.subjects("law"));
    let text = std::fs::read_to_string(&file).unwrap();
    let end = text.trim_end().rfind('\n').unwrap() + 1;
    assert!(text[end..].contains("\"stop\""), "{}", &text[end..]);
    std::fs::write(&file, &text[..end]).unwrap();
    std::fs::remove_file(mark_of(&file)).unwrap();
    place.reopen();
    for user in 0..20 {
        let enrolled = place.it().enrol("law", &format!("new-{user}"), NOW_S).unwrap();
        assert_eq!((enrolled.variant, enrolled.unit), (Variant::Treatment, None));
    }
    assert_eq!(place.say("law", &waiting, 5.0).unwrap(), Recorded::TooLate);
    assert_eq!(place.subjects("law"), subjects);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text[end..].contains("\"stop\""), "it is written now: {}", &text[end..]);
}

#[test]
fn a_search_belongs_to_the_experiment_that_decided_about_it() {
    let place = Place::new();
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
    let enrolled = place.it().enrol("law", "anna", NOW_S).unwrap();
    place.it().forget("law").unwrap();
    place.it().begin("law", &plan(json!({ "name": "another" })), NOW_S).unwrap();
    let id = enrolled.ticket(Duration::ZERO).unwrap();
    assert!(matches!(place.say("law", &id, 1.0), Err(ExperimentError::UnknownId)));
    place.it().fail("law", &enrolled, NOW_S).unwrap();
    assert_eq!(place.subjects("law"), 0);
}

#[test]
fn files_of_others_stay_and_one_that_went_can_be_forgotten() {
    let mut place = Place::new();
    place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
    let (own, other) = (place.file("bio").display().to_string() + DRAFT, "notes.new");
    let other = place.folder.path().join(other);
    std::fs::write(&own, "half a line").unwrap();
    std::fs::write(&other, "a person's").unwrap();
    place.reopen();
    assert!(!Path::new(&own).exists() && other.exists());
    std::fs::remove_file(place.file("law")).unwrap();
    place.it().forget("law").unwrap();
    assert!(matches!(place.it().show("law", NOW_S), Err(ExperimentError::Absent)));
}

#[test]
fn a_folder_is_one_servers_and_subjects_have_a_bound() {
    let place = Place::new();
    let other = Experiments::open(place.folder.path(), Arc::new(Meters::new()));
    assert!(matches!(other.err(), Some(ExperimentError::InUse { .. })));
    let many = plan(json!({ "subjects_max": 250_000 }));
    for tenant in 0..20 {
        place.it().begin(&format!("tenant-{tenant}"), &many, NOW_S).unwrap();
    }
    let full = place.it().begin("law", &many, NOW_S);
    assert!(matches!(full, Err(ExperimentError::TooMany { left: 0, .. })));
    place.it().forget("tenant-3").unwrap();
    place.it().begin("law", &many, NOW_S).unwrap();
}

#[test]
fn what_cannot_be_an_experiment_is_refused_in_words() {
    let check = |more: Value, words: &str| {
        let error = Plan::decide(request(more)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    check(json!({ "name": "" }), "the experiment's name must have 1 to 96 bytes");
    check(json!({ "metric": { "worst": 1, "best": 1 } }), "its ends must differ");
    check(json!({ "metric": { "worst": -1e300, "best": 1 } }), "within 1e12 of 0");
    check(json!({ "treatment_per_mille": 1000 }), "hint: treat 10 to 990");
    check(json!({ "false_stops_per_mille": 0 }), "hint: allow 1 to 500");
    check(json!({ "relevant_difference": 2 }), "outcomes lie between 0 and 1");
    check(json!({ "subjects_max": 250_001 }), "subjects_max is 250001");
    check(json!({ "hours_max": 0 }), "hours_max is 0");
    let latency = json!({ "latency": { "within_ms": 0, "tolerance": 0.1 } });
    check(json!({ "guardrails": latency }), "within_ms is 0");
    check(json!({ "guardrails": { "errors": { "tolerance": -1 } } }), "no difference");
}

#[test]
fn a_line_is_the_same_once_it_is_written_and_read_again() {
    let path = Path::new("file");
    let text = written(0, &Line::Head(Box::new(head(1, request(json!({}))))));
    let (lines, whole) = read(path, text.as_bytes()).unwrap();
    assert_eq!((written(0, &lines[0]), whole), (text.clone(), text.len()));
    let moved = format!("{text}{text}");
    assert_eq!(read(path, moved.as_bytes()).unwrap().1, text.len(), "a line has its number");
    let senseless = with_sum(0, "{}");
    assert!(matches!(read(path, senseless.as_bytes()), Err(ExperimentError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens in whatever order, each user's first outcome counts and no other.
    #[test]
    fn it_knows_what_a_map_of_first_outcomes_knows(
        steps in prop::collection::vec((0u8..8, 0u8..12, 0u8..=10), 1..60)
    ) {
        let mut place = Place::new();
        place.it().begin("law", &plan(json!({})), NOW_S).unwrap();
        let mut first: BTreeMap<String, (Variant, f64)> = BTreeMap::new();
        for (what, user, value) in steps {
            let user = format!("user-{user}");
            let enrolled = place.it().enrol("law", &user, NOW_S).unwrap();
            let variant = enrolled.variant;
            match what {
                0 => place.reopen(),
                1 => {
                    place.it().fail("law", &enrolled, NOW_S).unwrap();
                    first.entry(user).or_insert((variant, 0.0));
                }
                _ => {
                    let id = place.ticket("law", &user, 5).unwrap();
                    let expected = match first.contains_key(&user) {
                        true => Recorded::Repeated,
                        false => Recorded::Counted,
                    };
                    prop_assert_eq!(place.say("law", &id, f64::from(value)).unwrap(), expected);
                    first.entry(user).or_insert((variant, f64::from(value) / 10.0));
                }
            }
            let effect = place.it().show("law", NOW_S).unwrap().effect;
            for (variant, units, mean) in [
                (Variant::Control, effect.control_units, effect.control),
                (Variant::Treatment, effect.treatment_units, effect.treatment),
            ] {
                let of = first.values().filter(|it| it.0 == variant).map(|it| it.1);
                let expected: Vec<f64> = of.collect();
                prop_assert_eq!(units, expected.len() as u64);
                let sum: f64 = expected.iter().sum();
                prop_assert!((mean.unwrap_or(0.0) * units as f64 - sum).abs() < 1e-9);
            }
        }
    }
}
