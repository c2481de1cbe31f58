//! Jobs on NVIDIA cards of our own making, held by the preload library: a real daemon finds the
//! cards through their NVML, real programs use them through their driver, and what they really had
//! is read from the cards.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

use cotenant_api::{Client, JobRequest, JobState, LoadRequest, ResizeRequest, WatermarkRequest};
use cotenant_fake_cards::{Cards, Description, install, tenant};
use tempfile::TempDir;

use crate::daemon::{Daemon, signal, until, wait};

const MS: u64 = 1_000_000;
const GIB: u64 = 1 << 30;
const LINES: &str = "TEST_LINES";
const ANSWERS: &str = "TEST_ANSWERS";

/// Cards, their driver, and a pool that has them.
struct Scene {
    cards: Cards,
    daemon: Daemon,
    folder: TempDir,
}

/// A job whose program does as it is told.
struct Tenant {
    id: u64,
    pid: u32,
    lines: File,
    answers: BufReader<File>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = "time=real,context=0B,granularity=512B";
        let description = Description::parse("name=H100,memory=8GiB,sms=100", settings).unwrap();
        let cards = Cards::create(&folder.path().join("cards"), &description).unwrap();
        install(&folder.path().join("driver"), &[]).unwrap();
        let driver = ("LD_LIBRARY_PATH", folder.path().join("driver"));
        let env = [("COTENANT_FAKE_DRIVER", cards.path().to_owned()), driver];
        let daemon = Daemon::start_in("nvidia", &[], &env);
        Self { cards, daemon, folder }
    }

    fn client(&self) -> Client {
        self.daemon.client()
    }

    /// Starts a job of this request, whose program is the test [`the_program_of_a_job`].
    fn start(&self, request: JobRequest) -> Tenant {
        self.start_by(&[], request)
    }

    /// Starts one with these arguments of `env`.
    fn start_by(&self, starter: &[&str], request: JobRequest) -> Tenant {
        let pipe = |name: &str| {
            let count = fs::read_dir(self.folder.path()).unwrap().count();
            let path = self.folder.path().join(format!("{name}{count}"));
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        let (lines, answers) = (pipe("lines"), pipe("answers"));
        let program = std::env::current_exe().unwrap().display().to_string();
        let arguments = ["--ignored", "--exact", "intercepted::the_program_of_a_job"];
        // A job cannot be given variables that look like the pool's.
        let (driver, cards) = (self.folder.path().join("driver"), self.cards.path().display());
        let cards = format!("COTENANT_FAKE_DRIVER={cards}");
        let words = [&["env"], starter, &[&cards, &program], &arguments].concat();
        let env = [(LINES, &lines), (ANSWERS, &answers), ("LD_LIBRARY_PATH", &driver)];
        let env = env.into_iter().map(|(name, path)| (name.to_owned(), path.display().to_string()));
        let job = JobRequest {
            command: words.into_iter().map(str::to_owned).collect(),
            env: env.collect(),
            ..request
        };
        let id = self.client().submit(&job, None).unwrap().row.id;
        wait(&self.client(), id, |view| view.row.state == JobState::Running);
        // A pipe opens when the program has opened its other end.
        let lines = File::options().write(true).open(lines).unwrap();
        let answers = BufReader::new(File::open(answers).unwrap());
        let mut tenant = Tenant { id, pid: 0, lines, answers };
        let ready = tenant.answer();
        tenant.pid = ready.strip_prefix("ready ").and_then(|pid| pid.parse().ok()).expect(&ready);
        assert_eq!(tenant.ask("init"), "ok");
        tenant
    }

    /// What `/metrics` says, by name alone.
    fn figures(&self) -> Vec<(String, f64)> {
        let address = format!("{}/metrics", self.daemon.address());
        let text = ureq::get(&address).call().unwrap().body_mut().read_to_string().unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| {
            let (labelled, value) = line.rsplit_once(' ')?;
            let name = labelled.split('{').next()?.to_owned();
            Some((name, value.parse().ok()?))
        };
        lines.filter_map(value).collect()
    }

    /// The part of the card that jobs get that work side by side for so long, in thousandths. They
    /// have worked before, so that nothing is left over to catch up with.
    fn shares(&self, tenants: &mut [&mut Tenant], ms: u64) -> Vec<f64> {
        self.work(tenants, 400);
        let pids: Vec<u32> = tenants.iter().map(|tenant| tenant.pid).collect();
        let busy = || pids.iter().map(|&pid| self.cards.process(pid).unwrap().cards[0].busy_ns);
        let (before, from): (Vec<u64>, u64) = (busy().collect(), self.cards.now_ns());
        self.work(tenants, ms);
        let span = (self.cards.now_ns() - from) as f64;
        let parts = busy().zip(before).map(|(now, before)| (now - before) as f64 * 1000.0 / span);
        parts.collect()
    }

    fn work(&self, tenants: &mut [&mut Tenant], ms: u64) {
        let until = self.cards.now_ns() + ms * MS;
        tenants.iter_mut().for_each(|tenant| tenant.tell(&format!("work {MS} {until}")));
        for tenant in tenants {
            let answer = tenant.answer();
            assert!(answer.starts_with("ok "), "{answer}");
        }
    }
}

impl Tenant {
    fn tell(&mut self, line: &str) {
        writeln!(self.lines, "{line}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }
}

fn job(memory: &str, compute: &str, policy: &str) -> JobRequest {
    JobRequest {
        memory: Some(memory.to_owned()),
        compute: Some(compute.to_owned()),
        policy: Some(policy.to_owned()),
        enforced_by: Some("intercept".to_owned()),
        ..JobRequest::default()
    }
}

/// Looks up to five times whether shares are what they should be. Other tests take from them now and
/// then, so that one look must find enough; no look may find too much.
#[track_caller]
fn check_shares(expected: &[f64], mut look: impl FnMut() -> Vec<f64>) {
    let mut seen = Vec::new();
    for _ in 0..5 {
        let got = look();
        seen.push(got.clone());
        let errors = || got.iter().zip(expected).map(|(got, expected)| got - expected);
        assert!(errors().all(|error| error <= 40.0), "{seen:.0?} instead of {expected:?}");
        if errors().all(|error| error >= -90.0) {
            return;
        }
    }
    panic!("{seen:.0?} instead of {expected:?}");
}

/// The program of the jobs: it does what the lines of a pipe say.
#[test]
#[ignore = "it is the program of other tests' jobs"]
fn the_program_of_a_job() {
    let [lines, answers] = [LINES, ANSWERS].map(|name| std::env::var(name).unwrap());
    let lines = BufReader::new(File::open(lines).unwrap());
    let answers = File::options().write(true).open(answers).unwrap();
    tenant::run(lines, answers).unwrap();
}

#[test]
fn a_job_is_held_to_its_slice_and_resized_live() {
    let mut scene = Scene::new();
    let client = scene.client();
    let mut tenant = scene.start(job("1GiB", "30%", "fixed"));
    let slice = &client.job(tenant.id).unwrap().members[0].slices[0];
    assert_eq!((&*slice.enforced_by, slice.compute_per_mille), ("intercept", 300));
    assert_eq!(tenant.ask("total"), format!("ok {GIB}"), "the card is its slice");
    assert!(tenant.ask(&format!("alloc a {}", GIB + 1)).starts_with("error 2 "));
    assert_eq!(tenant.ask(&format!("alloc a {}", GIB)), "ok");
    check_shares(&[300.0], || scene.shares(&mut [&mut tenant], 1000));

    until("figures", || {
        let figures = scene.figures();
        let is_so =
            |name: &str, least: f64| figures.iter().any(|(n, value)| n == name && *value >= least);
        is_so("cotenant_slice_refused_allocations_total", 1.0)
            && is_so("cotenant_slice_charged_seconds_total", 0.2)
            && is_so("cotenant_slice_waited_seconds_total", 0.2)
            && is_so("cotenant_slice_submissions_total", 100.0)
            && is_so("cotenant_slice_memory_used_bytes", GIB as f64)
    });
    let resize = |memory: Option<&str>, compute: Option<&str>, id: u64| {
        let [memory, compute] = [memory, compute].map(|it| it.map(str::to_owned));
        let (memory_limit, compute_limit) = (memory.clone(), compute.clone());
        client.resize(id, &ResizeRequest { memory, memory_limit, compute, compute_limit }).unwrap()
    };
    resize(Some("2GiB"), Some("70%"), tenant.id);
    until("more memory", || tenant.ask(&format!("alloc b {GIB}")) == "ok");
    check_shares(&[700.0], || scene.shares(&mut [&mut tenant], 1000));

    // The daemon dies. Limits stay, and the next one changes them.
    scene.daemon.kill();
    assert!(tenant.ask("alloc c 512").starts_with("error 2 "));
    scene.daemon.start_again(None);
    scene.daemon.wait_for_answer();
    wait(&client, tenant.id, |view| view.row.state == JobState::Running);
    resize(None, Some("20%"), tenant.id);
    check_shares(&[200.0], || scene.shares(&mut [&mut tenant], 1500));
    assert!(tenant.ask("alloc c 512").starts_with("error 2 "));

    // What a job held is free when it is killed, and its folder tells the next nothing.
    signal(tenant.pid.try_into().unwrap(), "KILL");
    let mut next = scene.start(job("8GiB", "100%", "fixed"));
    assert_eq!(next.ask(&format!("alloc a {}", 8 * GIB)), "ok");
}

#[test]
fn what_is_idle_is_borrowed_and_given_back() {
    let scene = Scene::new();
    let client = scene.client();
    let mark = WatermarkRequest { latency_ms: Some(100), usage: None };
    let mut online = scene.start(JobRequest {
        class: Some("online".to_owned()),
        watermark: Some(mark),
        ..job("1GiB", "50%", "fixed")
    });
    let burst =
        JobRequest { compute_limit: Some("100%".to_owned()), ..job("1GiB", "20%", "burst") };
    let mut offline = scene.start(burst);
    check_shares(&[1000.0], || scene.shares(&mut [&mut offline], 800));
    check_shares(&[500.0, 500.0], || scene.shares(&mut [&mut online, &mut offline], 1500));

    // While the online job suffers, the other has what is kept for it and no more.
    let report = |latency_ms| {
        let load = LoadRequest { latency_ms: Some(latency_ms), usage: None };
        client.report_load(online.id, &load).unwrap();
    };
    report(150);
    wait(&client, offline.id, |view| view.life.iter().any(|event| event.kind == "job-resized"));
    check_shares(&[200.0], || scene.shares(&mut [&mut offline], 1000));
    report(10);
    wait(&client, offline.id, |view| {
        view.life.iter().filter(|event| event.kind == "job-resized").count() == 2
    });
    check_shares(&[1000.0], || scene.shares(&mut [&mut offline], 800));
}

/// An Xid that only a reset mends; the next daemon knows nothing of it, as after a reset.
#[test]
fn a_card_that_fails_gets_nothing_new_until_it_is_well() {
    let mut scene = Scene::new();
    let client = scene.client();
    let mut tenant = scene.start(job("1GiB", "30%", "fixed"));
    scene.cards.report_xid(0, 48);
    let health = || client.cards(None, 1).unwrap().cards[0].health.clone();
    until("the failure", || health().starts_with("failing: "));
    let command = vec!["true".to_owned()];
    let next = client.submit(&JobRequest { command, ..job("1GiB", "30%", "fixed") }, None);
    let next = next.unwrap().row.id;
    until("a reason", || !client.explain(next).unwrap().reasons.is_empty());
    let reasons = client.explain(next).unwrap().reasons;
    assert!(reasons[0].message.contains("out of use"), "{reasons:?}");
    assert!(reasons[0].help[0].contains("failing cards"), "{reasons:?}");
    assert_eq!(tenant.ask("alloc a 512"), "ok", "what runs there goes on");

    scene.daemon.kill();
    scene.daemon.start_again(None);
    scene.daemon.wait_for_answer();
    until("the end of the next job", || client.job(next).unwrap().row.state == JobState::Ended);
    let view = client.job(tenant.id).unwrap();
    assert_eq!(view.row.state, JobState::Running, "{view:?}");
}

#[test]
fn a_program_without_the_library_is_told_of() {
    let scene = Scene::new();
    let mut tenant = scene.start_by(&["-u", "LD_PRELOAD"], job("1GiB", "30%", "fixed"));
    assert_eq!(tenant.ask(&format!("alloc a {}", 2 * GIB)), "ok", "nothing holds it");
    until("the notice", || {
        let log = scene.client().log(tenant.id, ("stderr", 0), 0).unwrap();
        String::from_utf8_lossy(&log.bytes).contains("without the preload library")
    });
}

#[test]
fn without_a_driver_a_pool_of_nvidia_cards_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let up = Command::new(env!("CARGO_BIN_EXE_cotenant"))
        .args(["up", "--cards", "nvidia", "--listen", "127.0.0.1:0", "--state"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&up.stderr);
    if up.status.success() || said.contains("pool is up") {
        eprintln!("this machine has NVIDIA cards; not tested: a pool without");
        return;
    }
    assert!(said.contains("libnvidia-ml.so.1 is not found"), "{said}");
    assert!(said.contains("hint: install the NVIDIA driver"), "{said}");
}
