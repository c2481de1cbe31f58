//! `cotenant simulate --jobs`: what a person and a program read, and what is refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::Place;
use expect_test::{Expect, expect};

const JOBS: &str = r#"
[[job]]
name = "search"
class = "online"
memory = "22GiB"
compute = "30%"
copies = 2

[[job]]
name = "tune"
memory = "12GiB"
compute = "20%"
copies = 3
every_s = 1800
runs_s = 2400

[[job]]
name = "nightly"
start_s = 36000
runs_s = 3600
runs_vary = false
"#;

const SIMULATE: [&str; 7] =
    ["simulate", "--jobs", "jobs.toml", "--cards", "sim:8xH100", "--seeds", "1..2"];

fn place(jobs: &str) -> Place {
    let place = Place::new();
    place.write("jobs.toml", jobs);
    place
}

fn check((jobs, more): (&str, &[&str]), expected: Expect) {
    let ran = place(jobs).run(&[&SIMULATE[..], more].concat());
    ran.check("simulate", 0, &[]);
    expected.assert_eq(&ran.stdout);
}

#[test]
fn people_read_how_many_cards_and_what_they_cost() {
    check(
        (JOBS, &["--target-wait", "10m", "--price", "2.49", "--currency", "EUR"]),
        expect![[r#"
            3 cards are enough; without sharing 9, so that sharing saves 6, or 10906.20 EUR a month.
            The goal: of the jobs of each kind, 95 of 100 start within 10m, online ones within 0s; of those that run for ever, all.
            Simulated: 1d, 2 times over; in the first 2h 24m only jobs that come once are counted.
            The cards: NVIDIA H100 80GB HBM3 with 80GiB, 8 in a node.

            the pool             cards  enough  compute kept  online wait: mean  95 of 100  offline wait: mean  95 of 100  EUR a month
            shared as asked for      2  no             69.7%                 0s         0s              5m 56s    19m 39s      3635.40
            shared as asked for      3  yes            47.3%                 0s         0s                  0s         0s      5453.10
            not shared               8  no             73.6%                 0s         0s              2m 46s    18m 57s     14541.60
            not shared               9  yes            65.6%                 0s         0s                 49s     6m 20s     16359.30

            job      class    came  shared: mean  95 of 100  longest  not shared: mean  95 of 100  longest
            search   online      4            0s         0s       0s                0s         0s       0s
            tune     offline   244            0s         0s       0s               49s     6m 20s  23m 48s
            nightly  offline     2            0s         0s       0s                0s         0s       0s
        "#]],
    );
    check(
        (JOBS, &["--cards-max", "3", "--target-wait", "0s"]),
        expect![[r#"
        3 cards are enough; without sharing more than 3 would be needed.
        The goal: of the jobs of each kind, 95 of 100 start within 0s, online ones within 0s; of those that run for ever, all.
        Simulated: 1d, 2 times over; in the first 2h 24m only jobs that come once are counted.
        The cards: NVIDIA H100 80GB HBM3 with 80GiB, 8 in a node.

        the pool             cards  enough  compute kept  online wait: mean  95 of 100  offline wait: mean  95 of 100
        shared as asked for      2  no             69.7%                 0s         0s              5m 54s    19m 39s
        shared as asked for      3  yes            47.3%                 0s         0s                  0s         0s
        not shared               3  no              100%                 0s         0s              8h 52m     16h 3m

        job      class    came  shared: mean  95 of 100  longest  not shared: mean  95 of 100       longest
        search   online      4            0s         0s       0s                0s         0s            0s
        tune     offline   244            0s         0s       0s            8h 50m     16h 3m  over 17h 20m
        nightly  offline     2            0s         0s       0s               14h        14h      over 14h
    "#]],
    );
    let one = "[[job]]\nname = 'one'\nruns_s = 60\n";
    check(
        (one, &["--hours", "1", "--price", "3"]),
        expect![[r#"
        1 card is enough, with sharing and without.
        The goal: of the jobs of each kind, 95 of 100 start within 5m, online ones within 0s; of those that run for ever, all.
        Simulated: 1h, 2 times over; in the first 6m only jobs that come once are counted.
        The cards: NVIDIA H100 80GB HBM3 with 80GiB, 8 in a node.

        the pool             cards  enough  compute kept  offline wait: mean  95 of 100   a month
        shared as asked for      1  yes               0%                  0s         0s   2190.00
        not shared               1  yes               0%                  0s         0s   2190.00

        job  class    came  shared: mean  95 of 100  longest  not shared: mean  95 of 100  longest
        one  offline     2            0s         0s       0s                0s         0s       0s
    "#]],
    );
}

#[test]
fn programs_read_the_same() {
    let place = place(JOBS);
    let price = ["--target-wait", "10m", "--price", "2.49", "--currency", "EUR"];
    let found = place.json(&[&SIMULATE[..], &price].concat());
    assert_eq!(found["price_millionths_per_hour"], 2_490_000);
    assert_eq!((&found["warm_up_s"], &found["target"]["offline_s"]), (&8640.into(), &600.into()));
    for sharing in ["shared", "whole"] {
        let cards = found["cards"][sharing].as_u64().unwrap();
        let of = |pool: &&serde_json::Value| pool["sharing"] == sharing;
        let pools: Vec<_> = found["pools"].as_array().unwrap().iter().filter(of).collect();
        let shown = pools.iter().map(|pool| (pool["cards"].clone(), pool["is_enough"].clone()));
        let expected = [(cards - 1, false), (cards, true)];
        let expected = expected.map(|(cards, enough)| (cards.into(), enough.into()));
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(pools[1]["month_hundredths"], cards * 181_770);
        let p95 = &pools[1]["jobs"][1]["p95_wait_ms"];
        assert!(p95.as_u64().unwrap() <= 600_000, "{p95}");
    }
    assert_eq!(found, place.json(&[&SIMULATE[..], &price].concat()));
}

#[test]
fn what_the_simulation_cannot_tell_is_said() {
    let long = "[[job]]\nname = 'long'\nevery_s = 30000\nruns_s = 36000\n\
                [[job]]\nname = 'rare'\nevery_s = 31536000\nruns_s = 60\n";
    let ran = place(long).run(&[&SIMULATE[..5], &["--seeds", "1"]].concat());
    ran.check("warnings", 0, &["warning: jobs of 'long' run for 10h, longer than the 2h 24m"]);
    ran.check("warnings", 0, &["warning: no job of 'rare' came while jobs count"]);
}

#[test]
fn what_makes_no_simulation_is_refused() {
    let check = |jobs: &str, more: &[&str], parts: &[&str]| {
        let ran = place(jobs).run(&[&SIMULATE[..5], more].concat());
        ran.check(jobs, 1, &["error: failed to ", "hint: "]);
        ran.check(jobs, 1, parts);
        assert!(ran.stdout.is_empty(), "stdout is data: {}", ran.stdout);
    };
    check("", &[], &["read the jobs of jobs.toml", "has no job"]);
    check("[[job]]\nname = 'a'\nruns = 3\n", &[], &["line 3", "did you mean `runs_s`?"]);
    check("[[job]]\nname = 'a'\nevery_s = 3\n", &[], &["every_s: needs 'runs_s' beside it"]);
    let late = "[[job]]\nname = 'a'\nstart_s = 86400\n";
    check(late, &[], &["'a' first comes after 1d, when 1d are over", "hint: ask for more --hours"]);
    let many = "[[job]]\nname = 'a'\nevery_s = 1\nruns_s = 1\n";
    check(many, &[], &["about 867000 jobs would come with 10 seeds; at most 100000"]);
    let large = "[[job]]\nname = 'a'\nmemory = '90GiB'\ncompute = '5%'\n";
    check(large, &[], &["'a' finds room on no number of such cards: too small"]);
}

#[test]
fn arguments_are_of_a_trace_or_of_jobs() {
    let place = place(JOBS);
    let check = |arguments: &[&str], part: &str| {
        let ran = place.run(&[&["simulate"], arguments].concat());
        ran.check(&arguments.join(" "), 2, &[part]);
    };
    check(&[], "--nodes <NODES.csv>");
    check(&["--nodes", "n.csv"], "--pods <PODS.csv>");
    let jobs = ["--jobs", "jobs.toml"];
    for trace in ["--nodes", "--pods", "--mix", "--html"] {
        check(&[&jobs[..], &[trace, "file"]].concat(), "cannot be used with");
    }
    check(&[&jobs[..], &["--policy", "fgd"]].concat(), "cannot be used with");
    check(&[&jobs[..], &["--arrival", "shuffled"]].concat(), "cannot be used with");
    let tables = ["--nodes", "n.csv", "--pods", "p.csv"];
    for (name, value) in [
        ("--target-wait", "5m"),
        ("--target-wait-online", "5m"),
        ("--hours", "3"),
        ("--cards", "cpu"),
        ("--cards-max", "3"),
        ("--price", "3"),
    ] {
        check(&[&tables[..], &[name, value]].concat(), "cannot be used with");
    }
    check(&[&jobs[..], &["--currency", "EUR"]].concat(), "--price <PRICE>");
    for (name, value) in [
        ("--target-wait", "5"),
        ("--hours", "0"),
        ("--hours", "8761"),
        ("--cards-max", "4097"),
        ("--price", "-1"),
    ] {
        check(&[&jobs[..], &[&format!("{name}={value}")]].concat(), "invalid value");
    }
}
