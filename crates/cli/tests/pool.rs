//! The commands over a pool, run against one that gives canned answers: what a person reads, what
//! a program reads, what the pool is asked, and what is said where it refuses or is silent.

#![allow(clippy::unwrap_used)]

mod common;
mod fake;

use std::net::TcpListener;

use common::{Place, Ran};
use expect_test::{Expect, expect};
use fake::{Answer, FakePool, settled, views};
use serde_json::{Value, json};

fn ok(value: &Value) -> Answer {
    Answer::Json(200, value.clone())
}

/// One command, the answer to each route that it asks, and what it prints.
#[track_caller]
fn check(arguments: &[&str], routes: &[(&str, Value)], expected: Expect) -> FakePool {
    let routes: Vec<_> = routes.iter().map(|(route, value)| (*route, ok(value))).collect();
    let pool = FakePool::new(&routes);
    let people = pool.run(arguments);
    people.check(&format!("{arguments:?}"), 0, &[]);
    expected.assert_eq(&people.stdout.replace(pool.address(), "http://pool"));
    pool.seen();
    pool
}

/// The same command prints this and nothing else with `--json`.
#[track_caller]
fn check_json(pool: &FakePool, arguments: &[&str], expected: &Value) {
    let ran = pool.run(&[&["--json"], arguments].concat());
    ran.check(&format!("{arguments:?}"), 0, &[]);
    assert_eq!(ran.stdout.lines().count(), 1, "one line of data: {}", ran.stdout);
    assert_eq!(&serde_json::from_str::<Value>(&ran.stdout).unwrap(), expected, "{arguments:?}");
}

#[test]
fn devices_are_listed_over_all_pages() {
    let (one, two) = (views::card("n1", 0), views::card("n1", 1));
    let route = "GET /v1/cards";
    let pages = || {
        let first = views::cards(&[views::card("n1", 0)], 2, Some("n1-0"));
        let second = views::cards(&[views::card("n1", 1)], 2, None);
        FakePool::new(&[(route, ok(&first)), (route, ok(&second))])
    };
    let pool = pages();
    let people = pool.run(&["devices"]);
    expect![[r#"
        node  card  model                  GiB used / kept / all  compute kept  slices  held by   health
        n1       0  NVIDIA H100 80GB HBM3         10 / 12 / 79.6           60%       2  mps shim  ok
        n1       1  NVIDIA H100 80GB HBM3         10 / 12 / 79.6           60%       2  mps shim  ok
    "#]]
    .assert_eq(&people.stdout);
    let lines = ["GET /v1/cards?limit=1000", "GET /v1/cards?limit=1000&after=n1-0"];
    assert_eq!(pool.lines(), lines);
    check_json(&pages(), &["devices"], &views::cards(&[one, two], 2, None));
}

#[test]
fn a_large_pool_is_shown_by_machine() {
    let cards: Vec<Value> = (0..300)
        .map(|at| match views::card(&format!("n{:02}", at / 8), at % 8) {
            card if at == 9 => views::with(card, json!({ "health": "lost: fell off the bus" })),
            card => card,
        })
        .collect();
    let pool = FakePool::new(&[("GET /v1/cards", ok(&views::cards(&cards, 300, None)))]);
    let people = pool.run(&["devices"]);
    assert_eq!(people.stdout.lines().count(), 39, "{}", people.stdout);
    let head: Vec<&str> = people.stdout.lines().take(3).collect();
    expect![[r#"
        node  cards  models                 GiB used / kept / all  compute kept  slices  health
        n00       8  NVIDIA H100 80GB HBM3        80 / 96 / 637.2          480%      16  ok
        n01       8  NVIDIA H100 80GB HBM3        80 / 96 / 637.2          480%      16  1 lost: fell off the bus, 7 ok"#]]
    .assert_eq(&head.join("\n"));
    assert!(people.stderr.contains("cotenant devices --all"), "{}", people.stderr);
    let all = pool.run(&["devices", "--all"]);
    assert_eq!(all.stdout.lines().count(), 301);
    check_json(&pool, &["devices"], &views::cards(&cards, 300, None));
}

#[test]
fn jobs_are_listed() {
    let waits = "24GiB on a card: the largest gap is 10GiB, on n1-0, until job 3 ends or is moved";
    let page = json!({
        "jobs": [
            views::with(views::row(19), json!({ "name": "法律", "waits": waits })),
            views::with(views::row(17), json!({ "state": "running", "started_ms": views::ago_ms(3630) })),
            views::with(views::row(3), json!({
                "state": "ended", "outcome": "timed-out", "started_ms": 0, "ended_ms": 60_000,
            })),
        ],
        "total": 3,
    });
    let pool = check(
        &["job", "list"],
        &[("GET /v1/jobs", page.clone())],
        expect![[r#"
            job  name      tenant  state        for  asks for                    waits for
             19  法律      law     queued     2h 5m  1 card, 6GiB and 30% of it  24GiB on a card: the largest gap is 10GiB, on n1-0, until jo…
             17  train.py  law     running       1h  1 card, 6GiB and 30% of it
              3  train.py  law     timed-out     1m  1 card, 6GiB and 30% of it
        "#]],
    );
    check_json(&pool, &["job", "list", "--tenant", "law", "--state", "queued"], &page);
    assert_eq!(pool.lines(), ["GET /v1/jobs?tenant=law&state=queued&limit=50"]);
}

#[test]
fn pages_of_jobs_are_one_list() {
    let page = |ids: &[u64], next: Option<u64>| {
        let rows: Vec<Value> = ids.iter().map(|&id| views::row(id)).collect();
        let mut page = json!({ "jobs": rows, "total": 5 });
        if let Some(next) = next {
            page["next_before"] = next.into();
        }
        page
    };
    let check = |flags: &[&str], shown: usize, asked: &[&str], said: &str| {
        let pool = FakePool::new(&[
            ("GET /v1/jobs", ok(&page(&[5, 4], Some(4)))),
            ("GET /v1/jobs", ok(&page(&[3, 2], Some(2)))),
            ("GET /v1/jobs", ok(&page(&[1], None))),
        ]);
        let ran = pool.run(&[&["job", "list"], flags].concat());
        ran.check(&format!("{flags:?}"), 0, &[said]);
        assert_eq!(ran.stdout.lines().count(), shown + 1, "{}", ran.stdout);
        assert_eq!(pool.lines(), asked);
    };
    let (first, second) = ("GET /v1/jobs?limit=2", "GET /v1/jobs?before=4&limit=1000");
    check(&["--limit", "2"], 2, &[first], "2 of 5 jobs; --all lists every one");
    let all = ["GET /v1/jobs?limit=1000", second, "GET /v1/jobs?before=2&limit=1000"];
    check(&["--all"], 5, &all, "");
    let four = ["GET /v1/jobs?limit=4", "GET /v1/jobs?before=4&limit=2"];
    check(&["--limit", "4"], 4, &four, "4 of 5 jobs");
}

#[test]
fn a_job_is_shown_whole() {
    let mut job = views::running(17);
    job["submitted_ms"] = 951_827_696_000_u64.into();
    let pool = FakePool::new(&[("GET /v1/jobs/17", ok(&job))]);
    let people = pool.run(&["job", "show", "17"]);
    people.check("show", 0, &[]);
    // Moments that move with the clock.
    let fixed = people.stdout.lines().filter(|line| !line.contains(" ago"));
    expect![[r#"
        job 17: train.py
          state         running
          tenant        law
          kind          command, offline, priority 0
          asks for      1 card, 6GiB and 30% of it
          uses          25.5% of compute, 5GiB
          starts        1, 2 retries left
          command       python train.py --note 'it'\''s'
          folder        /data/law
          environment   A
          models        H100
          time limit    1h
          makes room    SIGTERM, then 1m
          idle          after 10m, with 1m of notice
        slices
          member 0  n1  n1-0  30%, 6GiB to 8GiB  held by mps
          member 0  n1  n1-1  30%, 6GiB to 8GiB  held by mps
        life
          2000-02-29 12:34:56 UTC  queued
          2000-02-29 12:34:59 UTC  started on n1"#]]
    .assert_eq(&fixed.collect::<Vec<_>>().join("\n"));
    assert!(people.stdout.contains("submitted     2000-02-29 12:34:56 UTC, "));
    check_json(&pool, &["job", "show", "17"], &job);
}

#[test]
fn a_job_that_waits_is_explained() {
    let explained = json!({
        "id": 17, "state": "queued",
        "reasons": [
            {
                "code": "quota", "message": "law holds 400% of its 400%",
                "help": ["raise it: cotenant tenant quota law", "wait for job 3"],
                "facts": { "limit_milli": 4000 },
            },
            { "code": "memory", "message": "no card has 24GiB", "help": [], "facts": {} },
        ],
    });
    let pool = check(
        &["job", "explain", "17"],
        &[("GET /v1/jobs/17/explain", explained.clone())],
        expect![[r#"
            job 17 waits:
              law holds 400% of its 400%
                try: raise it: cotenant tenant quota law
                try: wait for job 3
              no card has 24GiB
        "#]],
    );
    check_json(&pool, &["job", "explain", "17"], &explained);
    for (state, expected) in [
        ("queued", "job 3 waits, and nothing stands in its way\n"),
        ("running", "job 3 runs\n"),
        ("ended", "job 3 has ended\n"),
    ] {
        let explained = json!({ "id": 3, "state": state, "reasons": [] });
        let pool = FakePool::new(&[("GET /v1/jobs/3/explain", ok(&explained))]);
        assert_eq!(pool.run(&["job", "explain", "3"]).stdout, expected);
    }
}

#[test]
fn jobs_are_submitted_with_a_key_and_the_folder() {
    let job = views::job(17);
    let pool = FakePool::new(&[("POST /v1/jobs", Answer::Json(201, job.clone()))]);
    let submit = ["job", "submit", "--tenant", "law", "--compute", "30%", "--", "x", "--json"];
    let people = pool.run(&submit);
    people.check("submit", 0, &["cotenant job logs -f 17", "cotenant job explain 17"]);
    assert_eq!(people.stdout, "job 17 is queued\n");
    check_json(&pool, &submit, &job);
    let seen = pool.seen();
    let folder = pool.place.at("").canonicalize().unwrap();
    let body = json!({
        "tenant": "law", "command": ["x", "--json"], "folder": folder, "compute": "30%",
    });
    let keys: Vec<&str> = seen.iter().map(|seen| &*seen.headers["idempotency-key"]).collect();
    assert_ne!(keys[0], keys[1], "each submission has a key of its own");
    assert!(seen.iter().all(|seen| seen.body == body && seen.line == "POST /v1/jobs"), "{seen:?}");
    pool.run(&[&["job", "submit", "--key", "mine"], &submit[2..]].concat());
    assert_eq!(pool.seen()[0].headers["idempotency-key"], "mine");
}

#[test]
fn a_lost_answer_submits_nothing_twice() {
    for lost in [Answer::HangUp, Answer::Half] {
        let route = "POST /v1/jobs";
        let job = views::job(17);
        let pool = FakePool::new(&[(route, lost.clone()), (route, Answer::Json(201, job))]);
        let ran = pool.run(&["job", "submit", "--", "x"]);
        ran.check(&format!("{lost:?}"), 0, &["asking once more with the same key"]);
        assert_eq!(ran.stdout, "job 17 is queued\n");
        let seen = pool.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0], seen[1], "the same job under the same key");
    }
    let pool = FakePool::new(&[("POST /v1/jobs", Answer::HangUp)]);
    let ran = pool.run(&["job", "submit", "--", "x"]);
    ran.check("a pool that dies", 1, &["error: failed to reach the pool at "]);
    assert_eq!(pool.seen().len(), 2, "once more, and no oftener");
}

#[test]
fn job_files_are_read_and_flags_go_before_them() {
    let pool = FakePool::new(&[("POST /v1/jobs", Answer::Json(201, views::job(1)))]);
    pool.place.write("jobs/a.toml", "train = 'w.toml'\ntenant = 'law'\ncompute_total = '60%'\n");
    pool.run(&["job", "submit", "jobs/a.toml", "--tenant", "med", "--compute", "10%"]);
    let workspace = pool
        .place
        .at("jobs/w.toml")
        .canonicalize()
        .unwrap_or_else(|_| pool.place.at("").canonicalize().unwrap().join("jobs/w.toml"));
    let body = json!({ "tenant": "med", "train": workspace, "compute": "10%" });
    assert_eq!(pool.seen()[0].body, body);

    pool.place.write("typo.toml", "command = ['x']\nmemroy = '1GiB'\n");
    pool.place.write("large.toml", "#".repeat(3 << 20));
    pool.place.write("latin.toml", b"name = '\xe9'");
    for (file, parts) in [
        ("typo.toml", &["read the job file typo.toml", "line 2", "did you mean `memory`?"][..]),
        ("none.toml", &["read the job file none.toml", "No such file"]),
        ("large.toml", &["more than 1048576"]),
        ("latin.toml", &["UTF-8"]),
        (".", &["read the job file ."]),
    ] {
        let ran = pool.run(&["job", "submit", file]);
        ran.check(file, 1, &["error: failed to ", "  because: ", "hint: "]);
        ran.check(file, 1, parts);
    }
    assert!(pool.seen().is_empty(), "a bad file is not sent");
}

#[test]
fn waiting_ends_with_the_job() {
    let queued = views::job(17);
    for (outcome, code, text) in [
        ("succeeded", 0, "job 17: succeeded after 3m 20s (exit status 1)\n"),
        ("out-of-memory", 1, "job 17: out-of-memory after 3m 20s (exit status 1)\n"),
        ("cancelled", 1, "job 17: cancelled after 3m 20s (exit status 1)\n"),
    ] {
        let ended = views::ended(17, outcome);
        let route = "GET /v1/jobs/17";
        let run = |arguments: &[&str]| {
            let pool = FakePool::new(&[
                ("POST /v1/jobs", Answer::Json(201, queued.clone())),
                (route, ok(&queued)),
                (route, ok(&views::running(17))),
                (route, Answer::HangUp),
                (route, ok(&ended)),
            ]);
            pool.run(arguments)
        };
        let ran = run(&["job", "submit", "--wait", "--", "x"]);
        let said = ["job 17 is queued\n", "job 17 is running\n", "the pool does not answer"];
        ran.check(outcome, code, &said);
        assert_eq!(ran.stdout, text);
        let ran = run(&["job", "submit", "--wait", "--json", "--", "x"]);
        ran.check(outcome, code, &[]);
        assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), ended);
    }
}

#[test]
fn logs_are_the_jobs_own_bytes() {
    let route = "GET /v1/jobs/17/log";
    let parts = |is_open: bool| {
        vec![(route, Answer::Log(b"a\x1b[1m\xff", 6, true)), (route, Answer::Log(b"", 6, is_open))]
    };
    let pool = FakePool::new(&parts(true));
    let output = pool.command(&["job", "logs", "17"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"a\x1b[1m\xff", "open or not, it prints what there is");
    let lines = ["?stream=stdout&member=0&offset=0", "?stream=stdout&member=0&offset=6"];
    assert_eq!(pool.lines(), lines.map(|query| format!("{route}{query}")));

    let flags = ["--stderr", "--member", "2", "--tail", "1KiB"];
    let pool = FakePool::new(&parts(false));
    pool.run(&[&["job", "logs", "17"], &flags[..], &["--json"]].concat());
    assert_eq!(pool.lines()[0], format!("{route}?stream=stderr&member=2&offset=-1024"));
    let pool = FakePool::new(&parts(false));
    let object = json!({
        "id": 17, "stream": "stdout", "member": 0, "text": "a\u{1b}[1m\u{fffd}", "next_offset": 6,
        "is_open": false,
    });
    check_json(&pool, &["job", "logs", "17"], &object);

    let pool = FakePool::new(&[(route, Answer::Log(b"again", 0, true))]);
    let ran = pool.run(&["job", "logs", "17"]);
    ran.check("a log that stands still", 1, &["goes on at 0, which is not behind 0", "hint: "]);
}

#[test]
fn logs_are_followed_to_their_end() {
    let route = "GET /v1/jobs/17/log";
    let routes = [
        (route, Answer::Log(b"", 0, true)),
        (route, Answer::Log(b"one\n", 4, true)),
        (route, Answer::HangUp),
        (route, Answer::Log(b"", 4, true)),
        (route, Answer::Log(b"two\n", 8, false)),
        (route, Answer::Log(b"", 8, false)),
    ];
    let pool = FakePool::new(&routes);
    let ran = pool.run(&["job", "logs", "-f", "17"]);
    ran.check("follow", 0, &["the pool does not answer"]);
    assert_eq!(ran.stdout, "one\ntwo\n");
    let asked = pool.lines();
    let offsets: Vec<_> = asked.iter().map(|line| line.rsplit('=').next().unwrap()).collect();
    assert_eq!(offsets, ["0", "0", "4", "4", "4", "8"], "no byte is asked for twice");

    let pool = FakePool::new(&routes);
    let ran = pool.run(&["job", "logs", "-f", "17", "--json"]);
    let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].clone();
    assert_eq!(ran.stdout.lines().map(text).collect::<Vec<_>>(), ["one\n", "two\n", ""]);
    let nobody = FakePool::new(&[(route, Answer::HangUp)]).run(&["job", "logs", "-f", "17"]);
    nobody.check("a pool that was never there", 1, &["failed to reach the pool"]);
}

#[test]
fn jobs_are_cancelled_one_by_one() {
    let stopping = views::with(views::running(17), json!({ "state": "stopping" }));
    let pool = FakePool::new(&[
        ("POST /v1/jobs/17/cancel", ok(&stopping)),
        ("POST /v1/jobs/18/cancel", ok(&views::ended(18, "succeeded"))),
    ]);
    let ran = pool.run(&["job", "cancel", "17", "99", "18"]);
    let because = "error: failed to cancel job 99\n  because: there is none";
    ran.check("one of three is not there", 1, &[because]);
    assert_eq!(ran.stdout, "job 17 is stopping\njob 18 has ended: succeeded\n");
    check_json(&pool, &["job", "cancel", "17"], &stopping);
}

#[test]
fn a_job_is_resized_in_what_is_named() {
    let pool = check(
        &["job", "resize", "17", "--compute", "50%", "--memory-limit", "9GiB"],
        &[("POST /v1/jobs/17/resize", views::running(17))],
        expect!["job 17 asks for 1 card, 6GiB and 30% of it now\n"],
    );
    pool.run(&["job", "resize", "17", "--compute", "50%", "--memory-limit", "9GiB"]);
    assert_eq!(pool.seen()[0].body, json!({ "compute": "50%", "memory_limit": "9GiB" }));
}

#[test]
fn tenants_are_added_listed_and_get_tokens() {
    let orphan = json!({ "parent": null, "limit": null });
    let mut alone = views::with(views::tenant("alone"), orphan);
    alone.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let list = json!({ "tenants": [alone, views::tenant("law")] });
    let pool = check(
        &["tenant", "list"],
        &[("GET /v1/tenants", list.clone())],
        expect![[r#"
            tenant  below  weight  guaranteed   limit     holds  running  waiting
            alone   –           3  250% 40GiB       –  30% 6GiB        1        2
            law     firm        3  250% 40GiB  400% –  30% 6GiB        1        2
        "#]],
    );
    check_json(&pool, &["tenant", "list"], &list);

    pool.then("PUT /v1/tenants/med", ok(&views::tenant("med")));
    pool.seen();
    let ran = pool.run(&["tenant", "add", "med", "--parent", "law", "--limit-compute", "400%"]);
    ran.check("add", 0, &["cotenant tenant token med"]);
    assert_eq!(ran.stdout, "tenant med is added\n");
    assert_eq!(pool.seen()[1].body, json!({ "parent": "law", "limit_compute": "400%" }));
    check_json(&pool, &["tenant", "add", "med"], &views::tenant("med"));
    let again = pool.run(&["tenant", "add", "law"]);
    again.check("add what is there", 1, &["failed to add tenant law", "hint: change its quota"]);

    let token = json!({ "tenant": "law", "token": "cot_abc" });
    pool.then("POST /v1/tenants/law/token", Answer::Json(201, token.clone()));
    let ran = pool.run(&["tenant", "token", "law"]);
    ran.check("token", 0, &["shown this once"]);
    assert_eq!(ran.stdout, "cot_abc\n", "the token alone, to be kept in a variable");
    check_json(&pool, &["tenant", "token", "law"], &token);
}

#[test]
fn a_quota_keeps_what_is_not_named() {
    let pool = FakePool::new(&[
        ("GET /v1/tenants", ok(&json!({ "tenants": [views::tenant("law")] }))),
        ("PUT /v1/tenants/law", ok(&views::tenant("law"))),
    ]);
    let quota = |flags: &[&str]| {
        let ran = pool.run(&[&["tenant", "quota", "law"], flags].concat());
        ran.check(&format!("{flags:?}"), 0, &[]);
        assert!(ran.stdout.contains("law     firm"), "{}", ran.stdout);
        pool.seen().into_iter().map(|seen| seen.body).collect::<Vec<_>>()
    };
    let kept = json!({
        "parent": "firm", "weight": 3, "guaranteed_compute": "2500‰",
        "guaranteed_memory": "40960MiB", "limit_compute": "4000‰",
    });
    assert_eq!(quota(&[]), [Value::Null], "without flags it is only shown");
    let heavy = views::with(kept.clone(), json!({ "weight": 9 }));
    assert_eq!(quota(&["--weight", "9"]), [Value::Null, heavy]);
    let mut free = views::with(kept, json!({ "limit_memory": "80GiB" }));
    free.as_object_mut().unwrap().retain(|key, _| key != "parent" && key != "limit_compute");
    let flags = ["--no-parent", "--limit-compute", "none", "--limit-memory", "80GiB"];
    assert_eq!(quota(&flags), [Value::Null, free]);
    check_json(&pool, &["tenant", "quota", "law", "--weight", "9"], &views::tenant("law"));
    let unknown = pool.run(&["tenant", "quota", "med"]);
    unknown.check("nobody's quota", 1, &["find tenant med", "hint: add it with"]);
}

#[test]
fn top_prints_a_frame_where_there_is_no_terminal() {
    let other = views::with(views::card("n1", 1), json!({ "slices": [], "health": "draining" }));
    let mut other = views::with(other, json!({ "model": "cpu" }));
    other.as_object_mut().unwrap().remove("usage");
    let page = views::cards(&[views::card("n1", 0), other], 2, None);
    let routes = [("GET /v1/pool", views::pool()), ("GET /v1/cards", page.clone())];
    let pool = check(
        &["top"],
        &routes,
        expect![[r#"
            cotenant 0.1.0 at http://pool, up 2h 5m: 1 machine, 2 cards
            kept  compute [||||||||||||||||||            ] 120% of 200%  memory [|||||                         ] 24/159.3GiB
            jobs  3 queued, 2 running
            saved 7 cards: 9 jobs hold 2, alone they would hold 9

            n1 0  NVIDIA H100 80GB HBM3  47°C  350W
              compute [|||||||||||||||||             ]    56%  memory [||||                          ] 10/79.6GiB
              job 17     law          [||||||| ] 25.5% of 30%          [||      ] 1.6GiB of 6GiB to 8GiB    mps
              job 18     law          [        ] – of 30%              [        ] – of 6GiB to 8GiB         mps

            n1 1  cpu  draining
              79.6GiB; what it uses is not known
        "#]],
    );
    let once = pool.run(&["top", "--once"]);
    assert!(!once.stdout.contains('\x1b'), "no escapes");
    let frame = views::with(page, json!({ "pool": views::pool() }));
    let json = pool.run(&["top", "--json"]);
    let shown: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(shown["cards"], frame["cards"]);
    assert_eq!(shown["pool"]["savings"], frame["pool"]["savings"]);
    pool.seen();
    let mut many = pool.place.shell("\"$0\" top --interval-s 1 --json | head -n 2");
    let ran = Ran::of(many.env("COTENANT_POOL", pool.address()).output().unwrap());
    assert_eq!(ran.stdout.lines().count(), 2, "frames go on until nobody reads: {}", ran.stderr);
}

#[test]
fn the_pool_is_asked_to_end() {
    let pool = FakePool::new(&[("POST /v1/shutdown", Answer::Json(202, Value::Null))]);
    let ran = pool.run(&["down"]);
    ran.check("down", 0, &[]);
    assert!(ran.stdout.contains("ends; jobs that run go on"), "{}", ran.stdout);
    check_json(&pool, &["down"], &json!({ "ending": pool.address() }));
}

#[test]
fn refusals_say_why_and_what_to_try() {
    let refuse = |status: u16, hint: Option<&str>| {
        Answer::Json(status, views::problem("code", "cards: 0 is not within 1 and 64", hint))
    };
    let hinted = refuse(422, Some("ask for 1"));
    let bare = refuse(401, None);
    for (arguments, route, what) in [
        (&["devices"][..], "GET /v1/cards", "list the pool's cards"),
        (&["job", "submit", "--", "x"], "POST /v1/jobs", "submit the job"),
        (&["job", "list"], "GET /v1/jobs", "list jobs"),
        (&["job", "show", "17"], "GET /v1/jobs/17", "show job 17"),
        (&["job", "logs", "17"], "GET /v1/jobs/17/log", "read what job 17 printed"),
        (&["job", "cancel", "17"], "POST /v1/jobs/17/cancel", "cancel job 17"),
        (&["job", "explain", "17"], "GET /v1/jobs/17/explain", "explain job 17"),
        (&["job", "resize", "17", "--memory", "1"], "POST /v1/jobs/17/resize", "resize job 17"),
        (&["tenant", "list"], "GET /v1/tenants", "list tenants"),
        (&["tenant", "token", "law"], "POST /v1/tenants/law/token", "make a token for law"),
        (&["top"], "GET /v1/pool", "show the pool"),
        (&["down"], "POST /v1/shutdown", "end the pool"),
    ] {
        let pool = FakePool::new(&[(route, hinted.clone())]);
        let ran = pool.run(arguments);
        let error = format!(
            "error: failed to {what}\n  because: cards: 0 is not within 1 and 64\nhint: ask for 1\n"
        );
        ran.check(what, 1, &[]);
        assert_eq!(ran.stderr, error);
        assert_eq!(ran.stdout, "");
        let pool = FakePool::new(&[(route, bare.clone())]);
        let ran = pool.run(&[&["--json"], arguments].concat());
        ran.check(what, 1, &["hint: put a token into COTENANT_TOKEN"]);
        let error: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(error["error"][0], what);
        let strange = Answer::Json(200, json!("something else"));
        let ran = FakePool::new(&[(route, strange)]).run(arguments);
        if what != "end the pool" && what != "read what job 17 printed" {
            ran.check(what, 1, &["none of a Cotenant pool", "hint: "]);
        }
    }
}

#[test]
fn the_pool_is_looked_for_where_it_may_be() {
    let place = Place::new();
    // A port that was free a moment ago: nobody answers there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let nobody = Ran::of(settled(&place, &["devices", "--pool", &free]).output().unwrap());
    let error = format!("error: failed to reach the pool at http://{free}\n  because: ");
    nobody.check("nobody", 1, &[&error, "\nhint: start one with: cotenant up"]);

    let empty = views::cards(&[], 0, None);
    let pool = FakePool::new(&[("GET /v1/cards", ok(&empty))]);
    place.write("state/address", format!("{}\n", pool.address()));
    place.write("xdg/cotenant/address", pool.address());
    place.write("home/.local/state/cotenant/address", pool.address());
    place.write("bad/address", "ftp://here");
    let ask = |change: &dyn Fn(&mut std::process::Command)| {
        let mut command = settled(&place, &["devices"]);
        change(&mut command);
        Ran::of(command.output().unwrap())
    };
    ask(&|_| {}).check("the state folder", 0, &[]);
    ask(&|command| {
        command.env_remove("COTENANT_STATE").env("XDG_STATE_HOME", place.at("xdg"));
    })
    .check("the user's state", 0, &[]);
    ask(&|command| {
        command.env("COTENANT_STATE", "").env_remove("XDG_STATE_HOME");
        command.env("HOME", place.at("home"));
    })
    .check("the user's home", 0, &[]);
    ask(&|command| {
        command.env("COTENANT_POOL", &free);
    })
    .check("the environment goes first", 1, &[&error]);
    ask(&|command| {
        command.env("COTENANT_STATE", place.at("bad"));
    })
    .check("no address", 1, &["failed to use \"ftp://here\" of ", "hint: write it as"]);
    pool.seen();
    ask(&|command| {
        command.env("COTENANT_TOKEN", "cot_abc");
        command.args(["--pool", pool.address()]).env("COTENANT_POOL", &free);
    })
    .check("the flag goes first", 0, &[]);
    assert_eq!(pool.seen()[0].headers["authorization"], "Bearer cot_abc");
    let ran = ask(&|command| {
        command.env("COTENANT_TOKEN", "a b");
    });
    ran.check("no token", 1, &["use the token in COTENANT_TOKEN", "hint: "]);
    assert!(!ran.stderr.contains("a b"), "a token is not shown");
}

#[test]
fn hostile_names_reach_no_terminal() {
    let evil = "x\x1b[2J\u{9b}31m\r\u{202e}\nhint: run rm";
    let shown = "x\\u{1b}[2J\\u{9b}31m\\r\\u{202e}\\nhint: run rm";
    let named = json!({ "name": evil, "tenant": evil, "asks": evil, "waits": evil });
    let mut job = views::with(views::running(17), named.clone());
    job["members"][0]["node"] = evil.into();
    job["life"][0]["text"] = evil.into();
    job["request"]["command"] = json!([evil]);
    let mut card = views::with(views::card("n1", 0), json!({ "node": evil, "health": evil }));
    card["slices"][0]["tenant"] = evil.into();
    card["slices"][0]["enforced_by"] = evil.into();
    let mut reasons = json!({ "id": 17, "state": "queued", "reasons": [] });
    reasons["reasons"] = json!([{ "code": "x", "message": evil, "help": [evil], "facts": {} }]);
    let tenants = json!({ "tenants": [views::with(views::tenant("x"), json!({ "name": evil }))] });
    let refused = Answer::Json(422, views::problem("x", evil, Some(evil)));
    let pool = FakePool::new(&[
        ("GET /v1/pool", ok(&views::with(views::pool(), json!({ "version": evil })))),
        ("GET /v1/cards", ok(&views::cards(&[card], 1, None))),
        ("GET /v1/jobs", ok(&json!({ "jobs": [views::with(views::row(17), named)], "total": 1 }))),
        ("GET /v1/jobs/17", ok(&job)),
        ("GET /v1/jobs/17/explain", ok(&reasons)),
        ("GET /v1/tenants", ok(&tenants)),
        ("POST /v1/tenants/x/token", refused),
    ]);
    for arguments in [
        &["top"][..],
        &["devices"],
        &["job", "list"],
        &["job", "show", "17"],
        &["job", "explain", "17"],
        &["tenant", "list"],
        &["tenant", "token", "x"],
    ] {
        let ran = pool.run(arguments);
        let text = ran.stdout + &ran.stderr;
        assert!(text.contains(shown) || text.contains(&shown[..20]), "{arguments:?}: {text}");
        let is_harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(is_harmful), "{arguments:?}: {text:?}");
        assert!(!text.contains("\nhint: run rm"), "{arguments:?}: {text:?}");
        let json = pool.run(&[&["--json"], arguments].concat()).stdout;
        assert!(!json.trim_end().contains(|c: char| c.is_control()), "{arguments:?}: {json:?}");
        // Errors are made of messages that were spelt out already.
        let spelt = ["\\u001b[2J\\u009b31m", "\\\\u{1b}[2J\\\\u{9b}31m"];
        assert!(spelt.iter().any(|spelt| json.contains(spelt)), "{arguments:?}: {json}");
    }
}
