//! Measurements sent to a small MLflow on loopback that fails when it is told to.

mod server;

use std::collections::BTreeMap;
use std::fs;

use super::{Measured, Tracker, TrackingError};
use server::{Failure, Server};

fn measured(name: &str) -> Measured {
    Measured {
        name: name.to_owned(),
        parameters: vec![("depth".to_owned(), "10".to_owned())],
        metrics: vec![("ndcg_10".to_owned(), 0.5), ("map_10".to_owned(), 0.25)],
    }
}

fn check_runs(server: &Server, names: &[&str]) {
    let state = server.state.lock().unwrap();
    let found: Vec<&str> =
        state.runs.iter().map(|run| run.tags["mlflow.runName"].as_str()).collect();
    assert_eq!(found, names);
    for run in &state.runs {
        let expected = [("ndcg_10".to_owned(), 0.5), ("map_10".to_owned(), 0.25)];
        assert_eq!((run.metrics.as_slice(), run.is_finished), (&expected[..], true), "{run:?}");
        assert_eq!(run.parameters["depth"], "10");
    }
    assert!(state.requests.iter().all(|(_, token)| token.as_deref() == Some("Bearer secret")));
}

#[test]
fn a_measurement_reaches_the_server() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let tracker = server.tracker(folder.path());
    assert_eq!(tracker.track(measured("one"), 7).unwrap(), 1);
    assert_eq!(tracker.track(measured("two"), 8).unwrap(), 1);
    check_runs(&server, &["one", "two"]);
    assert!(!format!("{tracker:?}").contains("secret"));
}

/// Each request of a measurement fails once, before or after it was done, for good; the next
/// measurement sends what is missing, and nothing is there twice.
#[test]
fn whatever_fails_is_sent_again_and_nothing_twice() {
    for failure in [Failure::Refused, Failure::AfterTheDeed] {
        for request in 0..7 {
            let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
            let tracker = server.tracker(folder.path());
            // Two more tries, which begin from the first request, fail too.
            server.state.lock().unwrap().failing =
                (request..request + 3).map(|at| (at, failure)).collect();
            let error = tracker.track(measured("one"), 7);
            match error {
                Err(TrackingError::Server { problem, .. }) => {
                    assert!(problem.contains('5'), "{problem}")
                }
                other => panic!("{failure:?} of request {request}: {other:?}"),
            }
            server.state.lock().unwrap().failing.clear();
            assert_eq!(tracker.track(measured("two"), 8).unwrap(), 2, "{failure:?} of {request}");
            check_runs(&server, &["one", "two"]);
        }
    }
}

/// A failure that passes is not even noticed.
#[test]
fn a_request_is_tried_again() {
    for request in 0..7 {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        server.state.lock().unwrap().failing = BTreeMap::from([(request, Failure::Refused)]);
        assert_eq!(server.tracker(folder.path()).track(measured("one"), 7).unwrap(), 1);
        check_runs(&server, &["one"]);
    }
}

#[test]
fn much_is_sent_in_parts() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let many = Measured {
        name: "many".to_owned(),
        parameters: (0..250).map(|at| (format!("p{at}"), "x".repeat(600))).collect(),
        metrics: (0..2500).map(|at| (format!("{}{at}", "m".repeat(240)), f64::from(at))).collect(),
    };
    server.tracker(folder.path()).track(many, 7).unwrap();
    let state = server.state.lock().unwrap();
    assert_eq!((state.runs[0].metrics.len(), state.runs[0].parameters.len()), (2500, 250));
    assert_eq!(state.runs[0].parameters["p0"].len(), 500);
    let batches = state.requests.iter().filter(|(path, _)| path.ends_with("log-batch")).count();
    assert!((5..=7).contains(&batches), "{batches}");
}

#[test]
fn the_log_survives_a_cut_and_refuses_what_is_not_its_own() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let tracker = server.tracker(folder.path());
    tracker.track(measured("one"), 7).unwrap();
    let whole = fs::read_to_string(&tracker.log).unwrap();
    // The note that the first one is finished is cut off: it is sent again and found.
    fs::write(&tracker.log, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(tracker.track(measured("two"), 8).unwrap(), 2);
    check_runs(&server, &["one", "two"]);
    fs::write(&tracker.log, format!("{whole}not ours\n")).unwrap();
    let error = tracker.track(measured("three"), 9).unwrap_err();
    assert!(matches!(error, TrackingError::Line { line: 3, .. }), "{error}");
}

#[test]
fn what_mlflow_would_refuse_is_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = Tracker::from_environment("http://127.0.0.1:9/", "x", folder.path().join("log"));
    let check = |metric: (&str, f64), expected: &str| {
        let metrics = vec![(metric.0.to_owned(), metric.1)];
        let error = tracker.track(Measured { metrics, ..measured("bad") }, 7).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!tracker.log.exists(), "nothing is kept that can never be sent");
    };
    check(("ndcg@10", 0.5), "no name of MLflow's");
    check(("", 0.5), "no name of MLflow's");
    check(("ndcg", f64::NAN), "not a finite number");
    let error = tracker.track(measured("kept"), 7).unwrap_err();
    assert!(error.to_string().contains("kept in the log"), "{error}");
}
