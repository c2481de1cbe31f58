//! `cotenant simulate` on small traces: what a person and a program read, the page, and what is said
//! of traces that are none.

#![allow(clippy::unwrap_used)]

mod common;

use common::Place;
use serde_json::Value;

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\n\
    n1,32000,65536,4,T4\nn2,32000,65536,4,T4\nn3,64000,131072,2,V100M32\n";

const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n\
    p1,4000,1024,1,500,\np2,4000,1024,1,500,T4\np3,8000,2048,1,1000,\np4,1000,512,0,0,\n\
    p5,8000,4096,2,1000,T4|V100M32\np6,4000,1024,1,300,\np7,64000,1024,1,200,\n";

fn place() -> Place {
    let place = Place::new();
    place.write("nodes.csv", NODES);
    place.write("pods.csv", PODS);
    place
}

const SIMULATE: [&str; 5] = ["simulate", "--nodes", "nodes.csv", "--pods", "pods.csv"];

#[test]
fn programs_read_one_object() {
    let place = place();
    let found = place.json(&[&SIMULATE[..], &["--seeds", "42..44"]].concat());
    let policies = found["policies"].as_array().unwrap();
    let names: Vec<&str> = policies.iter().map(|it| it["policy"].as_str().unwrap()).collect();
    let all = ["random", "dot-product", "clustering", "packing", "best-fit", "fgd", "bid-price"];
    assert_eq!(names, all);
    for policy in policies {
        assert!(policy["decisions_per_s"].as_f64().unwrap() > 0.0);
        let seeds = policy["seeds"].as_array().unwrap();
        assert_eq!(seeds.iter().map(|it| it["seed"].clone()).collect::<Vec<_>>(), [42, 43, 44]);
        for seed in seeds {
            let curve: Vec<f64> = serde_json::from_value(seed["allocation_pct"].clone()).unwrap();
            assert_eq!(curve.len(), 131);
            assert!(curve[130] > 50.0 && curve[130] <= 100.0, "{curve:?}");
            assert!(seed["placed"].as_u64().unwrap() > 0);
            // No node has the processors that this share wants beside what others have of them.
            assert!(seed["rejected"]["share"].as_u64().unwrap() > 0, "{seed}");
        }
    }
}

#[test]
fn the_same_seeds_give_the_same_answers() {
    let place = place();
    let ask = |more: &[&str]| {
        let mut found = place.json(&[&SIMULATE[..], &["--seeds", "1..2"], more].concat());
        for policy in found["policies"].as_array_mut().unwrap() {
            policy["decisions_per_s"] = Value::Null;
        }
        found
    };
    assert_eq!(ask(&[]), ask(&[]));
    assert_ne!(ask(&[]), ask(&["--arrival", "shuffled"]));
    assert_eq!(ask(&["--mix", "pods.csv"]), ask(&[]));
}

#[test]
fn people_read_tables_and_a_page() {
    let place = place();
    let arguments = ["--policy", "fgd,bid-price,fgd", "--seeds", "7", "--html", "page.html"];
    let ran = place.run(&[&SIMULATE[..], &arguments].concat());
    ran.check("simulate", 0, &["3 nodes, 10 cards, 7 jobs", "page in page.html"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let firsts: Vec<&str> =
        lines.iter().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(
        firsts,
        ["policy", "fgd", "bid-price", "", "found", "fgd", "bid-price"],
        "{lines:?}"
    );
    assert!(lines[4].contains("cpu-only") && lines[4].contains("2-cards"), "{lines:?}");
    let page = String::from_utf8(place.read("page.html")).unwrap();
    for part in
        ["<!doctype html>", "Content-Security-Policy", "fgd", "bid-price", "cpu-only", "</html>"]
    {
        assert!(page.contains(part), "{part}");
    }
    let opened = page.matches("<svg").count();
    assert_eq!((opened, page.matches("</svg>").count()), (opened, opened));
    assert!(opened >= 7 && !page.contains("<script") && !page.contains("NaN"), "{opened}");
}

/// Two nodes of two cards; five jobs that come while all cards are taken, two of them offline.
fn timed_place() -> Place {
    let place = place();
    place.write(
        "nodes.csv",
        "sn,cpu_milli,memory_mib,gpu,model\na,9000,9000,2,T4\nb,9000,9000,2,T4\n",
    );
    let rows: String = (0..12)
        .map(|at| {
            let (service, comes) = (["LS", "BE"][at % 2], 3 * at);
            let ends = comes + 20 + at;
            format!("p{at},1000,10,1,500,{service},{comes},{ends},{comes}\nq{at},1000,10,2,1000,LS,{comes},{ends},{comes}\n")
        })
        .collect();
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time,scheduled_time";
    place.write("pods.csv", format!("{header}\n{rows}"));
    place
}

#[test]
fn replays_in_time_tell_waits_in_a_table_an_object_and_a_page() {
    let place = timed_place();
    let arguments = ["--arrival", "timed", "--seeds", "1..2", "--policy", "fgd,bid-price"];
    let ask = |more: &[&str]| place.run(&[&SIMULATE[..], &arguments, more].concat());
    let beyond = ["--beyond", "ratio+moves,nothing,departures", "--wait-s", "100"];
    let ran = ask(&[&beyond[..], &["--html", "page.html", "--keep", "2"]].concat());
    ran.check("timed", 0, &["0 jobs never ran", "page in page.html"]);
    let lines: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    let rows = [
        ["policy", "beyond"],
        ["fgd", "nothing"],
        ["fgd", "ratio+moves"],
        ["bid-price", "nothing"],
        ["bid-price", "ratio+moves"],
        ["bid-price", "departures"],
    ];
    assert_eq!(lines, rows);
    let page = String::from_utf8(place.read("page.html")).unwrap();
    for part in [
        "<!doctype html>",
        "How long jobs wait",
        "bid-price, ratio+moves",
        "Fewest cards",
        "1 times as fast on 2 of the nodes",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let opened = page.matches("<svg").count();
    assert_eq!((opened, page.matches("</svg>").count()), (3, 3));
    assert!(!page.contains("<script") && !page.contains("NaN"));

    let object: Value =
        serde_json::from_str(&ask(&[&beyond[..], &["--json"]].concat()).stdout).unwrap();
    let ways = object["ways"].as_array().unwrap();
    assert_eq!(ways.len(), 5);
    for way in ways {
        for seed in way["seeds"].as_array().unwrap() {
            assert_eq!(seed["jobs"], 24, "{way}");
            assert_eq!(seed["wait_percentiles_s"].as_array().unwrap().len(), 101);
            assert!((2..=4).contains(&seed["fewest_cards"].as_u64().unwrap()), "{seed}");
        }
    }
    assert_eq!(ways[0]["wait_against_first"]["difference_s"], 0.0);
    assert!(ways[0]["seeds"][0]["wait_mean_ms"].as_u64().unwrap() > 0);
}

#[test]
fn what_cannot_stand_beside_a_policy_is_refused() {
    let place = timed_place();
    let ask = |more: &[&str]| place.run(&[&SIMULATE[..], &["--arrival", "timed"], more].concat());
    let ran = ask(&["--policy", "fgd", "--beyond", "departures"]);
    ran.check("departures", 1, &["find a policy", "hint: departures go with bid-price only"]);
    let ran = ask(&["--beyond", "both"]);
    ran.check("both", 2, &["\"both\" is none of nothing, departures, ratio, moves"]);
    place.write("pods.csv", PODS);
    ask(&[]).check("no times", 1, &["failed to read the times in pods.csv"]);
}

#[test]
fn names_of_files_are_inert_on_the_page() {
    let place = place();
    place.write("<b onclick=x>.csv", PODS);
    let arguments = ["simulate", "--nodes", "nodes.csv", "--pods", "<b onclick=x>.csv", "--seeds"];
    let ran = place.run(&[&arguments[..], &["1", "--html", "page.html"]].concat());
    ran.check("simulate", 0, &[]);
    let page = String::from_utf8(place.read("page.html")).unwrap();
    assert!(page.contains("&lt;b onclick=x&gt;.csv") && !page.contains("<b onclick"));
}

#[test]
fn unknown_models_are_named() {
    let place = place();
    place.write("pods.csv", format!("{PODS}p8,1,1,1,100,H100|T4\np9,1,1,1,100,H200\n"));
    let ran = place.run(&[&SIMULATE[..], &["--seeds", "1"]].concat());
    ran.check("simulate", 0, &["warning: jobs name models that no node has: H100, H200"]);
}

#[test]
fn what_is_no_trace_is_refused() {
    let check = |file: &str, content: &[u8], parts: &[&str]| {
        let place = place();
        place.write(file, content);
        let ran = place.run(&SIMULATE);
        ran.check(file, 1, &["error: failed to read the ", file, "  because: ", "hint: "]);
        ran.check(file, 1, parts);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    };
    check("nodes.csv", b"", &["there is no header"]);
    check("nodes.csv", b"sn,gpu\nn1,4\n", &["the column 'cpu_milli'"]);
    check("nodes.csv", b"\xff", &["it is not UTF-8 at byte 0"]);
    let pods = |row: &str| format!("name,cpu_milli,memory_mib,num_gpu,gpu_milli\n{row}\n");
    check("pods.csv", pods("p,1,1,2,500").as_bytes(), &["line 2", "wants 2 cards and 500"]);
    check("pods.csv", pods("p,-1,1,1,500").as_bytes(), &["line 2", "cpu_milli is '-1'"]);
    let place = place();
    let ran = place.run(&["simulate", "--nodes", "none.csv", "--pods", "pods.csv"]);
    ran.check("missing", 1, &["failed to read the nodes in none.csv", "hint: check the path"]);
    let ran =
        place.run(&[&SIMULATE[..], &["--html", "none/page.html"], &["--seeds", "1"]].concat());
    ran.check("page", 1, &["failed to write the page in none/page.html", "hint: "]);
    for wrong in [["--seeds", "9..1"], ["--policy", "best"], ["--arrival", "never"]] {
        place.run(&[&SIMULATE[..], &wrong].concat()).check(wrong[0], 2, &[]);
    }
}
