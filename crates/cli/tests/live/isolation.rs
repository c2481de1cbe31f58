//! Bad neighbours on a real card: the processor, held by control groups.
//!
//! Shares of what both jobs used are compared, not speeds, so that whatever else the machine does
//! meets both sides.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{JobRequest, JobState, JobView, TenantRequest};

use crate::daemon::Daemon;

const STATE_WAIT: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(20);

/// Hundredths of a second of processor time, for each core, after which shares are looked at.
const TICKS_PER_CORE: u64 = 150;

fn job(script: String, memory: &str, compute: &str) -> JobRequest {
    JobRequest {
        command: vec!["sh".to_owned(), "-c".to_owned(), script],
        memory: Some(memory.to_owned()),
        compute: Some(compute.to_owned()),
        ..JobRequest::default()
    }
}

/// So many loops that never end.
fn loops(count: u64) -> String {
    format!("i=0; while [ $i -lt {count} ]; do (while :; do :; done) & i=$((i+1)); done; wait")
}

/// Processor time that the processes of a job have used, in hundredths of a second.
fn used(daemon: &Daemon, job: u64) -> u64 {
    let number = format!("COTENANT_JOB={job}");
    let is_of_job = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|&byte| byte == 0).any(|variable| variable == number.as_bytes())
    };
    let ticks = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
    };
    daemon.marked().into_iter().filter(is_of_job).map(ticks).sum()
}

fn wait_for(daemon: &Daemon, id: u64, state: JobState) -> JobView {
    let until = Instant::now() + STATE_WAIT;
    loop {
        let view = daemon.client().job(id).unwrap();
        if view.row.state == state {
            return view;
        }
        assert!(Instant::now() < until, "job {id} is not {state:?}: {view:#?}");
        thread::sleep(LOOK_EACH);
    }
}

#[test]
fn neighbours_that_spin_and_allocate_are_held() {
    let daemon = Daemon::start("cpu");
    let client = daemon.client();
    let cards = client.cards(None, 1).unwrap();
    if !cards.cards[0].rungs.iter().any(|rung| rung == "cgroup") {
        eprintln!("skipped: no control groups can be made here, so that nothing holds a neighbour");
        return;
    }
    client.put_tenant("default", &TenantRequest::default()).unwrap();
    let cores = thread::available_parallelism().unwrap().get() as u64;
    let submit = |job: &JobRequest| {
        let job = JobRequest { tenant: Some("default".to_owned()), ..job.clone() };
        client.submit(&job, None).unwrap().row.id
    };
    let fixed = submit(&job(loops(cores), "64MiB", "40%"));
    let spins =
        JobRequest { policy: Some("burst".to_owned()), ..job(loops(8 * cores), "64MiB", "40%") };
    let spinning = submit(&spins);
    let hungry = submit(&job("tail /dev/zero".to_owned(), "64MiB", "20%"));
    for id in [fixed, spinning] {
        wait_for(&daemon, id, JobState::Running);
    }
    assert_eq!(wait_for(&daemon, hungry, JobState::Ended).row.outcome.unwrap(), "out-of-memory");

    // Its two fifths are the job's, though eight times as many loops want them.
    let begun = (used(&daemon, fixed), used(&daemon, spinning));
    let until = Instant::now() + STATE_WAIT;
    let (mine, theirs) = loop {
        let mine = used(&daemon, fixed) - begun.0;
        let theirs = used(&daemon, spinning) - begun.1;
        if mine + theirs >= cores * TICKS_PER_CORE {
            break (mine, theirs);
        }
        assert!(Instant::now() < until, "the jobs use no time: {mine} and {theirs}");
        thread::sleep(LOOK_EACH);
    };
    let share = mine * 100 / (mine + theirs);
    assert!(share >= 30, "the job had {share} % of the time, and is due 40 %");
    let view = wait_for(&daemon, fixed, JobState::Running);
    assert_eq!((view.generation, view.row.outcome), (1, None), "nobody killed it");
    for id in [fixed, spinning] {
        client.cancel(id).unwrap();
        wait_for(&daemon, id, JobState::Ended);
    }
}
