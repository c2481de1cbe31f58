//! Kills the real daemon and its supervisors at random and at named points, and looks at what
//! remains: each job writes its start and its end into a file of its own.
//!
//! `COTENANT_CRASH_ROUNDS=200` kills so often; `COTENANT_CRASH_SEED` chooses when.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{JobRequest, JobState, JobView};

use crate::daemon::{Daemon, signal};

const ROUNDS: u64 = 100;
const END_WAIT: Duration = Duration::from_secs(120);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers that are the same for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A job that writes into a file of its own when it starts and when it ends.
fn job(folder: &Path, name: &str, seconds: &str) -> JobRequest {
    let file = folder.join(format!("told-{name}"));
    let script = format!(
        "echo start $COTENANT_GENERATION >> {0}; sleep {seconds}; echo end $COTENANT_GENERATION >> {0}",
        file.display()
    );
    JobRequest {
        name: Some(name.to_owned()),
        command: vec!["sh".to_owned(), "-c".to_owned(), script],
        memory: Some("1%".to_owned()),
        compute: Some("5%".to_owned()),
        retries: Some(100),
        ..JobRequest::default()
    }
}

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    Daemon,
    /// Who dies between a job's end and writing it down leaves nobody who knows of it, so such a
    /// job may be tried again.
    SupervisorsToo,
}

/// What a job told: starts of rising number, the last of them ended, nothing of an earlier start
/// after a later one began, and no start after an end.
fn check_told(folder: &Path, name: &str, victims: Victims) {
    let text = fs::read_to_string(folder.join(format!("told-{name}"))).unwrap_or_default();
    let mut last = 0;
    let mut has_ended = false;
    for line in text.lines() {
        let (word, generation) = line.split_once(' ').unwrap();
        let generation: u32 = generation.parse().unwrap();
        match word {
            "start" => {
                let may_begin = !has_ended || victims == Victims::SupervisorsToo;
                assert!(generation > last && may_begin, "job {name} ran twice: {text}");
            }
            _ => assert!(generation == last && !has_ended, "job {name} is mixed up: {text}"),
        }
        (last, has_ended) = (generation, word == "end");
    }
    assert!(has_ended, "job {name} never ended: {text:?}");
}

fn wait_for_all(daemon: &Daemon, ids: &[u64]) {
    let client = daemon.client();
    let deadline = Instant::now() + END_WAIT;
    for &id in ids {
        loop {
            let job = client.job(id).unwrap_or_else(|error| panic!("job {id} is lost: {error}"));
            if job.row.state == JobState::Ended {
                assert_eq!(job.row.outcome.as_deref(), Some("succeeded"), "{job:#?}");
                break;
            }
            assert!(Instant::now() < deadline, "job {id} never ends: {job:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Nothing runs, nothing is held, no control group is left.
fn check_nothing_is_left(daemon: &Daemon) {
    assert_eq!(daemon.marked(), Vec::<i32>::new(), "processes are left");
    let cards = daemon.client().cards(None, 100).unwrap();
    assert!(cards.cards.iter().all(|card| card.slices.is_empty()), "slices are left: {cards:#?}");
}

#[test]
fn kills_of_the_daemon_lose_nothing_and_nothing_runs_twice() {
    kill_often(Victims::Daemon);
}

#[test]
fn kills_of_supervisors_lose_no_job_and_leave_nothing_behind() {
    kill_often(Victims::SupervisorsToo);
}

fn kill_often(victims: Victims) {
    let seed = number("COTENANT_CRASH_SEED", 11);
    eprintln!("replay with: COTENANT_CRASH_SEED={seed} cargo test -p cotenant --test live kills");
    let mut dice = Dice(seed.max(1));
    let mut daemon = Daemon::start("cpu");
    let folder = daemon.folder().to_owned();
    let mut acknowledged = Vec::new();
    let mut names = Vec::new();
    for round in 0..number("COTENANT_CRASH_ROUNDS", ROUNDS) {
        let client = daemon.client();
        for at in 0..1 + dice.below(3) {
            let name = format!("{round}-{at}");
            let seconds = format!("0.{}", dice.below(9));
            let key = format!("key-{name}");
            let made = client.submit(&job(&folder, &name, &seconds), Some(&key)).unwrap();
            let again = client.submit(&job(&folder, &name, &seconds), Some(&key)).unwrap();
            assert_eq!(made.row.id, again.row.id, "a key gives one job");
            acknowledged.push(made.row.id);
            names.push(name);
        }
        thread::sleep(Duration::from_millis(dice.below(250)));
        let supervisors = match victims {
            Victims::Daemon => Vec::new(),
            Victims::SupervisorsToo => daemon.supervisors(),
        };
        if !supervisors.is_empty() && dice.below(2) == 0 {
            let victim = supervisors[dice.below(supervisors.len() as u64) as usize];
            signal(victim, "KILL");
        }
        daemon.kill();
        daemon.start_again(None);
        daemon.wait_for_answer();
    }
    wait_for_all(&daemon, &acknowledged);
    names.iter().for_each(|name| check_told(&folder, name, victims));
    check_nothing_is_left(&daemon);
}

#[test]
fn a_death_at_each_named_point_is_survived() {
    let points = [
        "before-commit",
        "after-commit",
        "after-answers",
        "after-run-folder",
        "after-run-file",
        "after-supervisor",
        "after-stop-file",
    ];
    for point in points {
        let mut daemon = Daemon::start("cpu");
        let folder = daemon.folder().to_owned();
        daemon.kill();
        daemon.start_again(Some(point));
        let client = daemon.client();
        let deadline = Instant::now() + END_WAIT;
        let mut id = None;
        while !daemon.has_ended() {
            assert!(Instant::now() < deadline, "{point} was never reached");
            id = id.or_else(|| {
                let made = client.submit(&job(&folder, "j", "0.2"), Some("j")).ok()?;
                Some(made.row.id)
            });
            if let (Some(_), "after-stop-file") = (id, point) {
                let long = JobRequest {
                    name: Some("long".to_owned()),
                    command: vec!["sleep".to_owned(), "100".to_owned()],
                    ..job(&folder, "long", "1")
                };
                let runs = |job: &JobView| job.row.state == JobState::Running;
                if let Some(long) = client.submit(&long, Some("long")).ok().filter(runs) {
                    // The answer may be lost with the daemon.
                    let _ = client.cancel(long.row.id);
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
        daemon.start_again(None);
        daemon.wait_for_answer();
        let made = daemon.client().submit(&job(&folder, "j", "0.2"), Some("j")).unwrap();
        assert!(id.is_none_or(|id| id == made.row.id), "{point}: an acknowledged job was lost");
        wait_for_all(&daemon, &[made.row.id]);
        check_told(&folder, "j", Victims::Daemon);
    }
}
