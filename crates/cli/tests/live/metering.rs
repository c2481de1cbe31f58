//! What jobs use, read of real processes: on simulated cards and on the processor.

use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{CardView, Client, JobRequest, JobView, SliceView, TenantRequest, UseView};

use crate::daemon::Daemon;

/// How long a use may take to be shown; the meter reads every two seconds, twice before it knows.
const USE_WAIT: Duration = Duration::from_secs(30);
const LOOK_EACH: Duration = Duration::from_millis(50);

/// A job on 30 % of each of so many cards.
fn job(cards: u32, script: &str) -> JobRequest {
    JobRequest {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        cards: Some(cards),
        memory: Some("10%".to_owned()),
        compute: Some("30%".to_owned()),
        ..JobRequest::default()
    }
}

fn slices(job: &JobView) -> Vec<&SliceView> {
    job.members.iter().flat_map(|member| &member.slices).collect()
}

/// The job, once what it uses is as it should be.
fn wait_for_use(client: &Client, id: u64, is_good: impl Fn(&UseView) -> bool) -> JobView {
    let deadline = Instant::now() + USE_WAIT;
    loop {
        let job = client.job(id).unwrap();
        if job.usage.as_ref().is_some_and(&is_good) {
            return job;
        }
        assert!(Instant::now() < deadline, "job {id} shows {:?}", job.usage);
        thread::sleep(LOOK_EACH);
    }
}

fn cards(client: &Client) -> Vec<CardView> {
    client.cards(None, 100).unwrap().cards
}

#[test]
fn use_on_simulated_cards_is_that_of_the_jobs_processes() {
    let daemon = Daemon::start("sim:3xH100");
    let client = daemon.client();
    // The inner shell is a child without an environment: it counts all the same. Nobody could find
    // it once its parents are gone, so it ends by itself.
    let busy = "env -i timeout 60 sh -c 'while :; do :; done'";
    let busy = client.submit(&job(2, busy), None).unwrap().row.id;
    let idle = client.submit(&job(1, "sleep 600"), None).unwrap().row.id;

    let spins = |used: &UseView| used.compute_per_mille > 50;
    let shown = wait_for_use(&client, busy, spins);
    let uses: Vec<&UseView> = slices(&shown).iter().filter_map(|it| it.usage.as_ref()).collect();
    assert_eq!(uses.len(), 2, "{shown:?}");
    let sum: u32 = uses.iter().map(|used| used.compute_per_mille).sum();
    assert_eq!(sum, shown.usage.as_ref().unwrap().compute_per_mille, "slices sum up to the job");
    let apart = uses[0].compute_per_mille.abs_diff(uses[1].compute_per_mille);
    assert!(apart <= 1, "equal slices share evenly: {uses:?}");
    assert!(sum <= 1200, "one core is about one card: {sum}");

    let still = wait_for_use(&client, idle, |used| used.compute_per_mille < 50);
    assert!(slices(&still).iter().all(|slice| slice.usage.is_some()), "{still:?}");
    let all = cards(&client);
    assert!(all.iter().all(|card| card.usage.is_some()), "{all:?}");
    for card in all {
        let of = |slice: &SliceView| slice.usage.as_ref().map_or(0, |used| used.compute_per_mille);
        let sum: u32 = card.slices.iter().map(of).sum();
        assert_eq!(card.usage.unwrap().compute_per_mille, sum.min(1000), "{}", card.id);
    }
}

#[test]
fn a_tenant_is_not_told_what_jobs_of_others_use() {
    let daemon = Daemon::start("sim:1xH100");
    let open = daemon.client();
    for tenant in ["law", "code"] {
        open.put_tenant(tenant, &TenantRequest::default()).unwrap();
    }
    let law = JobRequest { tenant: Some("law".to_owned()), ..job(1, "while :; do :; done") };
    let id = open.submit(&law, None).unwrap().row.id;
    wait_for_use(&open, id, |used| used.compute_per_mille > 50);
    let operator =
        Client::new(&daemon.address(), Some(open.create_token("operator").unwrap().token));
    let of = |tenant: &str| {
        Client::new(&daemon.address(), Some(operator.create_token(tenant).unwrap().token))
    };
    let shown = |client: &Client| {
        let slice = cards(client).remove(0).slices.remove(0);
        let total = client.pool().unwrap().usage.unwrap().compute_per_mille;
        (slice.tenant, slice.usage.is_some(), total > 0)
    };
    assert_eq!(shown(&of("law")), ("law".to_owned(), true, true));
    assert_eq!(shown(&of("code")), ("another".to_owned(), false, false));
}

#[test]
fn use_on_the_processor_is_that_of_each_job() {
    let daemon = Daemon::start("cpu");
    let client = daemon.client();
    let small = |script: &str| JobRequest { memory: Some("2%".to_owned()), ..job(1, script) };
    let busy = client.submit(&small("while :; do :; done"), None).unwrap().row.id;
    let idle = client.submit(&small("sleep 600"), None).unwrap().row.id;
    let busy = wait_for_use(&client, busy, |used| used.compute_per_mille > 20);
    let idle = wait_for_use(&client, idle, |used| used.compute_per_mille < 20);
    for shown in [&busy, &idle] {
        let of_slice = slices(shown)[0].usage.as_ref().unwrap();
        assert_eq!(of_slice.compute_per_mille, shown.usage.as_ref().unwrap().compute_per_mille);
    }
}
