//! Advice on a file of jobs, as a person and a program read it, and files that are none.

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
copies = 4
busy = "40%"

[[job]]
name = "rerank"
class = "online"
memory = "38GiB"
compute = "40%"
copies = 2
busy = "60%"

[[job]]
name = "embed"
memory = "12GiB"
compute = "20%"
policy = "burst"
copies = 6
busy = "80%"

[[job]]
name = "student code"
memory = "8GiB"
compute = "10%"
copies = 3
busy = "10%"
trusted = false

[[job]]
name = "pretrain"
cards = 2
busy = "95%"
"#;

fn check(jobs: &str, cards: &str, expected: Expect) {
    let place = Place::new();
    place.write("jobs.toml", jobs);
    let ran = place.run(&["advise", "jobs.toml", "--cards", cards]);
    ran.check(cards, 0, &[]);
    expected.assert_eq(&ran.stdout);
}

#[test]
fn a_set_is_advised_on_for_a_person() {
    check(
        JOBS,
        "sim:8xH100",
        expect![[r#"
        7 cards are needed for 16 jobs; without sharing 17, so that sharing saves 10.
        The cards: NVIDIA H100 80GB HBM3 with 80GiB; there are 8 now.

        the set                       cards  in MIG mode  expected use
        no card shared                   17            0         22.6%
        all shared, as the cards are      6            0         64.1%
        all shared, in MIG mode           –            –             –  embed: cannot lend or borrow
        each job where it should be       7            2           55%
        the same, online jobs apart       8            2         48.1%

        job           copies  class    of each card  runs   because
        search             4  online   22GiB, 30%    mps    a partition would be steadier, but more than a quarter of it would lie idle
        rerank             2  online   38GiB, 40%    mig    a partition of about its size keeps its answers as steady as alone
        embed              6  offline  12GiB, 20%    mps    its memory and compute are held, and what it leaves idle serves others
        student code       3  offline  8GiB, 10%     mig    hardware holds it, and nothing less holds code that is not trusted
        pretrain           1  offline  2 x whole     whole  it asks for whole cards

        held by     memory               compute              a fault ends         answers beside busy neighbours  idle share
        mig         hardware of its own  hardware of its own  the job              as alone                        lies idle
        mps         a limit              a limit              its neighbours, too  slower                          serves others
        time-slice  nothing              nothing              its neighbours, too  in turns                        serves others
        advisory    nothing              nothing              its neighbours, too  in turns                        serves others

        job           mig                         mps   time-slice  advisory
        search        3g.40gb, 18GiB, 12.8% lost  fits  fits        fits
        rerank        3g.40gb, 2GiB, 2.8% lost    fits  fits        fits
        embed         cannot lend or borrow       fits  fits        fits
        student code  1g.10gb, 2GiB, 4.2% lost    fits  fits        fits
        pretrain      7g.80gb                     fits  fits        fits

        cards  mode      on each            compute kept     memory kept
            1  ordinary  3 x search                  90%  66GiB of 80GiB
            1  ordinary  search, 3 x embed           90%  58GiB of 80GiB
            1  ordinary  3 x embed                   60%  36GiB of 80GiB
            2  ordinary  pretrain                   100%  80GiB of 80GiB
            1  MIG       2 x rerank                85.6%  80GiB of 80GiB
            1  MIG       3 x student code          42.6%  30GiB of 80GiB
    "#]],
    );
}

#[test]
fn cards_without_partitions_leave_out_what_they_cannot_do() {
    let jobs = "[[job]]\ncommand = ['x']\nmemory = '30GiB'\ncompute = '50%'\ncopies = 2\n";
    check(
        jobs,
        "sim:8xL40S",
        expect![[r#"
        2 cards are needed for 2 jobs, with sharing and without.
        The cards: NVIDIA L40S with 45.0GiB; there are 8 now.

        the set                       cards
        no card shared                    2
        all shared, as the cards are      2
        each job where it should be       2

        job  copies  class    of each card  runs  because
        x         2  offline  30GiB, 50%    mps   its memory and compute are held, and what it leaves idle serves others

        held by     memory   compute  a fault ends         answers beside busy neighbours  idle share
        mps         a limit  a limit  its neighbours, too  slower                          serves others
        time-slice  nothing  nothing  its neighbours, too  in turns                        serves others
        advisory    nothing  nothing  its neighbours, too  in turns                        serves others

        job  mps   time-slice  advisory
        x    fits  fits        fits

        cards  mode      on each  compute kept       memory kept
            2  ordinary  x                 50%  30GiB of 45.0GiB
    "#]],
    );
}

#[test]
fn a_job_without_a_place_is_named() {
    let jobs = "[[job]]\nname = 'small'\nmemory = '1GiB'\ncompute = '5%'\n\
                [[job]]\nname = 'large'\nmemory = '90GiB'\ncompute = '5%'\n";
    check(
        jobs,
        "sim:1xA100",
        expect![[r#"
        no number of such cards is enough for 2 jobs (large: too small).
        The cards: NVIDIA A100-SXM4-80GB with 80GiB; there is 1 now.

        the set                       cards  in MIG mode
        no card shared                    –            –  large: too small
        all shared, as the cards are      –            –  large: too small
        all shared, in MIG mode           –            –  large: too small
        each job where it should be       –            –  large: too small

        job    copies  class    of each card  runs     because
        small       1  offline  1GiB, 5%      mps      its memory and compute are held, and what it leaves idle serves others
        large       1  offline  90GiB, 5%     nowhere  too small

        held by     memory               compute              a fault ends         answers beside busy neighbours  idle share
        mig         hardware of its own  hardware of its own  the job              as alone                        lies idle
        mps         a limit              a limit              its neighbours, too  slower                          serves others
        time-slice  nothing              nothing              its neighbours, too  in turns                        serves others
        advisory    nothing              nothing              its neighbours, too  in turns                        serves others

        job    mig                         mps        time-slice  advisory
        small  1g.10gb, 8.6GiB, 9.2% lost  fits       fits        fits
        large  too small                   too small  too small   too small
    "#]],
    );
}

#[test]
fn a_program_reads_the_same() {
    let place = Place::new();
    place.write("jobs.toml", JOBS);
    let advice = place.json(&["advise", "jobs.toml", "--cards", "sim:8xH100"]);
    let cards = |kind: &str| {
        let layouts = advice["layouts"].as_array().unwrap();
        layouts.iter().find(|layout| layout["kind"] == kind).unwrap()["cards"].clone()
    };
    assert_eq!((cards("whole"), cards("advised")), (17.into(), 7.into()));
    assert_eq!(advice["cards_saved"], 10);
    let runs = advice["jobs"].as_array().unwrap().iter().map(|job| job["runs"].as_str().unwrap());
    assert_eq!(runs.collect::<Vec<_>>(), ["mps", "mig", "mps", "mig", "whole"]);
}

#[test]
fn what_is_no_set_of_jobs_is_refused() {
    let check = |jobs: Option<&str>, cards: &str, parts: &[&str]| {
        let place = Place::new();
        if let Some(jobs) = jobs {
            place.write("jobs.toml", jobs);
        }
        let ran = place.run(&["advise", "jobs.toml", "--cards", cards]);
        ran.check(&format!("{jobs:?} {cards}"), 1, &["error: failed to ", "hint: "]);
        ran.check(&format!("{jobs:?} {cards}"), 1, parts);
        assert!(ran.stdout.is_empty(), "stdout is data: {}", ran.stdout);
    };
    let one = "[[job]]\nname = 'a'\n";
    check(None, "cpu", &["read the jobs of jobs.toml", "hint: check its path"]);
    check(Some(""), "cpu", &["has no job; write a table [[job]]"]);
    check(Some("[[job]]\nname = 'a'\nbuzy = '3%'\n"), "cpu", &["line 3", "did you mean `busy`?"]);
    let half = format!("{one}\n[[job]]\nname = 'b'\nmemory = '1GiB'\n");
    check(Some(&half), "cpu", &["line 4: compute: is missing beside 'memory'"]);
    check(Some(one), "sim:1xH100,1xL4", &["sim-n0-0 and sim-n1-0 are not alike"]);
    check(Some(one), "sim:gone.toml", &["find the cards", "gone.toml"]);
}
