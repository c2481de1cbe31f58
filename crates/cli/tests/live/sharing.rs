//! Jobs beside each other: what is learned of them, who gives back to whom, and who stays away.

use std::thread;

use cotenant_api::{JobRequest, JobState, JobView, LoadRequest, NodeRequest, WatermarkRequest};

use crate::access::status;
use crate::daemon::{Daemon, wait};

fn job(toml: &str) -> JobRequest {
    cotenant_api::parse_job(toml).unwrap()
}

fn runs(view: &JobView) -> bool {
    view.row.state == JobState::Running
}

#[test]
fn a_drained_machine_gets_no_new_jobs() {
    let daemon = Daemon::start("sim:2x1xH100");
    let client = daemon.client();
    let nodes = client.nodes().unwrap().nodes;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["sim-n0", "sim-n1"]);
    let drain = |name: &str, draining: bool| client.put_node(name, &NodeRequest { draining });
    assert!(drain("sim-n0", true).unwrap().draining);
    assert_eq!(status(drain("sim-n9", true)), 404);

    let whole = job("command = ['sleep', '1000']");
    let [first, second] = [(), ()].map(|()| client.submit(&whole, None).unwrap().row.id);
    let placed = wait(&client, first, runs);
    assert_eq!(placed.members[0].node, "sim-n1");
    let reasons = loop {
        let reasons = client.explain(second).unwrap().reasons;
        if !reasons.is_empty() {
            break reasons;
        }
        thread::yield_now();
    };
    assert!(reasons[0].message.contains("out of use"), "{reasons:?}");
    let node = |name: &str| {
        client.nodes().unwrap().nodes.into_iter().find(|node| node.name == name).unwrap()
    };
    assert_eq!((node("sim-n0").jobs, node("sim-n1").jobs), (0, 1));

    drain("sim-n0", false).unwrap();
    assert_eq!(wait(&client, second, runs).members[0].node, "sim-n0");
}

#[test]
fn a_neighbour_gives_back_while_an_online_job_suffers() {
    let daemon = Daemon::start("sim:1xH100");
    let client = daemon.client();
    let part = |compute: &str| JobRequest {
        memory: Some("10GiB".to_owned()),
        compute: Some(compute.to_owned()),
        ..job("command = ['sleep', '1000']")
    };
    let mark = WatermarkRequest { latency_ms: Some(100), usage: None };
    let online =
        JobRequest { class: Some("online".to_owned()), watermark: Some(mark), ..part("40%") };
    let offline = JobRequest { policy: Some("burst".to_owned()), ..part("20%") };
    let online = client.submit(&online, None).unwrap().row.id;
    let offline = client.submit(&offline, None).unwrap().row.id;
    wait(&client, online, runs);
    wait(&client, offline, runs);

    let report = |id: u64, latency_ms: u32| {
        client.report_load(id, &LoadRequest { latency_ms: Some(latency_ms), usage: None })
    };
    let resized = |times: usize, why: &'static str| {
        move |view: &JobView| {
            let changes = view.life.iter().filter(|event| event.kind == "job-resized");
            let changes: Vec<_> = changes.collect();
            changes.len() == times && changes[times - 1].text.ends_with(why)
        }
    };
    report(online, 80).unwrap();
    report(online, 120).unwrap();
    wait(&client, offline, resized(1, "an online neighbour needs what it borrows"));
    report(online, 95).unwrap();
    report(online, 50).unwrap();
    wait(&client, offline, resized(2, "it may borrow again"));
    assert_eq!(status(report(offline, 1)), 409, "it has no mark");
    assert_eq!(status(client.report_load(online, &LoadRequest::default())), 422);
}

#[test]
fn a_busy_online_job_need_not_report() {
    let daemon = Daemon::start("sim:1xH100");
    let client = daemon.client();
    let online = job("command = ['timeout', '60', 'sh', '-c', 'while :; do :; done']\n\
                      memory = '10%'\ncompute = '10%'\nclass = 'online'\n\
                      watermark = { usage = '50%' }");
    let offline = job("command = ['sleep', '60']\nmemory = '10%'\ncompute = '10%'\n\
                       policy = 'burst'");
    client.submit(&online, None).unwrap();
    let offline = client.submit(&offline, None).unwrap().row.id;
    wait(&client, offline, |view| view.life.iter().any(|event| event.kind == "job-resized"));
}

#[test]
fn the_memory_of_a_job_is_learned_from_its_runs() {
    let daemon = Daemon::start("cpu");
    let client = daemon.client();
    // Holds 64 MB for as long as its input stays open.
    let hold = "command = ['sh', '-c', '(head -c 64000000 /dev/zero; sleep 1) | tail -c 64000000 \
                > /dev/null']\nname = 'holder'\ncompute = '20%'\n";
    let auto = job(&format!("{hold}memory = 'auto'"));
    assert_eq!(status(client.submit(&auto, None)), 422, "nothing is known of it");
    let foretold = JobRequest { estimate: Some("500MiB".to_owned()), ..auto.clone() };
    let first = client.submit(&foretold, None).unwrap();
    assert_eq!(first.request.memory.as_deref(), Some("550MiB"), "a tenth is to spare");
    let ended = wait(&client, first.row.id, |view| view.row.state == JobState::Ended);
    let held_by = ended.row.outcome.as_deref();
    assert_eq!(held_by, Some("succeeded"), "{:?}", ended.exit);
    let Some(peak) = ended.peak_memory_mib else {
        println!("skipped: there are no control groups here, so memory is not measured");
        return;
    };
    assert!((61..200).contains(&peak), "{peak} MiB");
    let second = client.submit(&auto, None).unwrap();
    let kept = format!("{}MiB", (peak * 1100).div_ceil(1000));
    assert_eq!(second.request.memory.as_deref(), Some(kept.as_str()));
    let ended = wait(&client, second.row.id, |view| view.row.state == JobState::Ended);
    assert_eq!(ended.row.outcome.as_deref(), Some("succeeded"), "{:?}", ended.exit);
}
