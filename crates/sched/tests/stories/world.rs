//! A pool in memory that lines of text drive.
//!
//! `cards NODE COUNT MODEL MIB [mig] [rack=R] [nvlink=N]`, `tenant NAME [key=value…]`,
//! `submit TENANT [key=value…]`, `plan`, `started JOB…`, `failed JOB`, `exit JOB CODE`,
//! `exit-on NODE JOB CODE`, `oom JOB`,
//! `lost NODE`, `runs NODE [JOB:GENERATION…]`, `tick SECONDS`, `cancel JOB`, `resize JOB key=value…`,
//! `policy NAME`, `expect COPIES [key=value…]`, `latency JOB MS`, `busy-card JOB`, `busy JOB`, `drain NODE on|off`, `show`, `explain JOB`.

use std::fmt::Write as _;

use cotenant_sched::{
    Command, Effects, Event, Exit, Job, Phase, Placing, Plan, PoolPolicy, Reason, Run,
    StartFailure, State, plan, step,
};
use cotenant_types::{
    Amount, Ask, Card, CardKind, CardShare, Class, Generation, Idle, JobId, JobTerms, Load,
    Mebibytes, MemoryAsk, MigGeometry, MigProfile, Moment, Near, NodeName, Place, Placement,
    Policy, Preempt, Quota, Rung, Seconds, Share, Signal, Site, Span, Watermark,
};

#[derive(Default)]
pub(crate) struct World {
    state: State,
    now: Moment,
    last: Plan,
    placing: Placing,
    expected: Vec<Ask>,
}

impl World {
    /// Carries out a line; what it printed, each line with its end.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (&verb, rest) = words.split_first().expect("a line has a verb");
        let event = match (verb, rest) {
            ("cards", rest) => cards(rest),
            ("tenant", [name, rest @ ..]) => {
                Event::TenantSet { tenant: name.parse().unwrap(), quota: quota(rest) }
            }
            ("submit", [tenant, rest @ ..]) => {
                let job = self.state.next_job();
                Event::JobSubmitted { job, terms: terms(tenant, rest) }
            }
            ("policy", [name]) => {
                let policy: PoolPolicy = name.parse().unwrap();
                self.placing = Placing::new(policy);
                return String::new();
            }
            ("expect", [copies, rest @ ..]) => {
                let asks = vec![ask(None, rest); copies.parse().unwrap()];
                self.expected.extend(asks);
                self.placing.expect_asks(self.expected.iter().cloned());
                return String::new();
            }
            ("plan", []) => return self.plan(),
            ("started", ids) => {
                let runs: Vec<Run> = ids.iter().flat_map(|id| self.runs(id)).collect();
                return runs.into_iter().map(|run| self.take(Event::Started { run })).collect();
            }
            ("failed", [id]) => {
                let run = self.runs(id).remove(0);
                Event::StartFailed { run, why: StartFailure::Broken("no such program".to_owned()) }
            }
            ("busy-card", [id]) => {
                let run = self.runs(id).remove(0);
                Event::StartFailed { run, why: StartFailure::Busy("in use".to_owned()) }
            }
            ("exit", [id, code]) => return self.exit(id, Exit::Code(code.parse().unwrap())),
            ("exit-on", [node, id, code]) => {
                let run = self.runs(id).into_iter().find(|run| run.node.as_str() == *node);
                let exit = Exit::Code(code.parse().unwrap());
                Event::Exited { run: run.expect("it is there"), exit, peak: None }
            }
            ("oom", [id]) => return self.exit(id, Exit::OutOfMemory),
            ("lost", [node]) => Event::NodeLost { node: node.parse().unwrap() },
            ("runs", [node, runs @ ..]) => {
                let run = |text: &&str| {
                    let (job, generation) = text.split_once(':').unwrap();
                    (id(job), Generation(generation.parse().unwrap()))
                };
                let runs = runs.iter().map(run).collect();
                Event::RunsReported { node: node.parse().unwrap(), runs }
            }
            ("tick", [seconds]) => {
                self.now = self.now.after(Seconds(seconds.parse().unwrap()));
                Event::Ticked
            }
            ("cancel", [job]) => Event::CancelRequested { job: id(job) },
            ("resize", [job, rest @ ..]) => {
                let old = self.state.job(id(job)).unwrap().terms.ask.clone();
                Event::ResizeRequested { job: id(job), ask: ask(Some(old), rest) }
            }
            ("latency", [job, ms]) => {
                let latency_ms = Some(ms.parse().unwrap());
                Event::LoadReported { job: id(job), load: Load { latency_ms, usage: None } }
            }
            ("busy", [job]) => Event::JobBusy { job: id(job) },
            ("failing", [node, cards @ ..]) => Event::FailingReported {
                node: node.parse().unwrap(),
                cards: cards.iter().map(|card| card.parse().unwrap()).collect(),
            },
            ("drain", [node, on]) => {
                Event::DrainSet { node: node.parse().unwrap(), is_draining: *on == "on" }
            }
            ("show", []) => return self.show(),
            ("explain", [job]) => return self.explain(id(job)),
            _ => panic!("nobody knows what {line:?} means"),
        };
        self.take(event)
    }

    fn take(&mut self, event: Event) -> String {
        match step(&mut self.state, self.now, event) {
            Ok(effects) => told(&effects),
            Err(refusal) => format!("refused: {refusal}\n"),
        }
    }

    /// Plans until nothing more comes of it.
    fn plan(&mut self) -> String {
        let mut text = String::new();
        loop {
            self.last = plan(&self.state, self.now, &mut self.placing);
            if self.last.is_empty() {
                return text;
            }
            text.push_str(&self.take(Event::Planned(self.last.clone())));
        }
    }

    fn exit(&mut self, id: &str, exit: Exit) -> String {
        let runs = self.runs(id);
        runs.into_iter()
            .map(|run| self.take(Event::Exited { run, exit: exit.clone(), peak: None }))
            .collect()
    }

    /// The parts of a job that may still run.
    fn runs(&self, job: &str) -> Vec<Run> {
        let job = self.state.job(id(job)).expect("the job is alive");
        let Some(placement) = job.placement() else { panic!("job {} holds nothing", job.id) };
        let mut nodes: Vec<NodeName> = placement.0.iter().map(|it| it.node.clone()).collect();
        nodes.dedup();
        let run = |node| Run { job: job.id, generation: job.generation, node };
        nodes.into_iter().map(run).collect()
    }

    fn show(&self) -> String {
        let mut text = String::new();
        for job in self.state.jobs() {
            let Job { id, generation, terms, .. } = job;
            let phase = match &job.phase {
                Phase::Queued { .. } => "queued",
                Phase::Starting { .. } => "starting",
                Phase::Running { .. } => "running",
                Phase::Stopping { .. } => "stopping",
            };
            write!(text, "  {id} {} {phase} #{generation}", terms.tenant).unwrap();
            if let Some(placement) = job.placement() {
                write!(text, " on {}", slices(placement)).unwrap();
            }
            text.push('\n');
        }
        text
    }

    fn explain(&self, job: JobId) -> String {
        let none: &[Reason] = &[];
        let reasons = self.last.waits.get(&job).map_or(none, |reasons| reasons);
        reasons.iter().map(|reason| format!("  {}\n", shown(reason))).collect()
    }
}

fn shown(reason: &Reason) -> String {
    match reason {
        Reason::Cards { members_placed, members, cards, lacks, help } => {
            let lacks: Vec<String> = lacks
                .iter()
                .map(|lack| format!("{} {} {:?}", lack.cards, lack.model, lack.lack))
                .collect();
            let (lacks, placed) = (lacks.join(", "), format!("{members_placed} of {members}"));
            format!("cards: {placed} members x {cards}; {lacks}; {help:?}")
        }
        Reason::Quota { tenant, held, wanted, limit } => format!(
            "quota: {tenant} holds {} and would hold {} more, of {}",
            amount(held),
            amount(wanted),
            amount(limit)
        ),
        Reason::Reserved { job, at } => format!("reserved: for job {job} at {} s", at.0 / 1000),
        other => format!("{other:?}"),
    }
}

fn amount(amount: &Amount) -> String {
    format!("{}m/{}", amount.compute_milli, amount.memory)
}

fn told(effects: &Effects) -> String {
    let mut text = String::new();
    for news in &effects.news {
        writeln!(text, "  {news:?}").unwrap();
    }
    for command in &effects.commands {
        let line = match command {
            Command::Start { run, first_member, members, members_all } => {
                let last = *first_member as usize + members.len() - 1;
                let slices = slices(&Placement(members.clone()));
                format!("start {} members {first_member}-{last} of {members_all} {slices}", of(run))
            }
            Command::Stop { run, signal, grace } => {
                format!("stop {} with {signal:?} and {grace}", of(run))
            }
            Command::Kill { run } => format!("kill {}", of(run)),
            Command::SetLimits { run, members } => {
                format!("limit {} {}", of(run), slices(&Placement(members.clone())))
            }
            Command::GiveNotice { run, at } => {
                format!("notice {} at {} s", of(run), at.0 / 1000)
            }
        };
        writeln!(text, "  -> {line}").unwrap();
    }
    text
}

fn of(run: &Run) -> String {
    format!("{}#{} on {}", run.job, run.generation, run.node)
}

fn slices(placement: &Placement) -> String {
    let slice = |slice: &cotenant_types::Slice| {
        let range = |a: String, b: String| if a == b { a } else { format!("{a}-{b}") };
        let memory = range(slice.memory.request.to_string(), slice.memory.limit.to_string());
        let compute = range(slice.compute.request.to_string(), slice.compute.limit.to_string());
        let mig = slice.mig.as_ref().map(|mig| format!(" {}@{}", mig.profile, mig.start));
        let mig = mig.unwrap_or_default();
        format!("[{} {memory} {compute}{mig} {}]", slice.card, slice.enforced_by)
    };
    placement.slices().map(slice).collect::<Vec<_>>().join(" ")
}

fn id(text: &str) -> JobId {
    text.parse().unwrap()
}

fn keys<'a>(words: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    words.iter().map(|word| word.split_once('=').unwrap_or((word, ""))).collect()
}

fn cards(words: &[&str]) -> Event {
    let [node, count, model, memory, rest @ ..] = words else {
        panic!("cards NODE COUNT MODEL MIB")
    };
    let node: NodeName = node.parse().unwrap();
    let mut rungs = vec![Rung::Mps, Rung::TimeSlice];
    let (mut mig, mut rack, mut near) = (None, String::new(), u32::MAX);
    for (key, value) in keys(rest) {
        match key {
            "mig" => (mig, rungs) = (Some(geometry()), vec![Rung::Mig]),
            "rack" => rack = value.to_owned(),
            "nvlink" => near = value.parse().unwrap(),
            _ => panic!("no card has {key}"),
        }
    }
    let card = |index: u32| Card {
        id: format!("{node}-{index}").parse().unwrap(),
        node: node.clone(),
        index,
        kind: CardKind::Sim,
        model: (*model).to_owned(),
        memory: Mebibytes(memory.parse().unwrap()),
        cores: 0,
        site: Site { nvlink: index / near, numa: index / near, rack: rack.clone() },
        rungs: rungs.clone(),
        mig: mig.clone(),
    };
    let cards = (0..count.parse().unwrap()).map(card).collect();
    Event::CardsReported { node: node.clone(), cards }
}

fn geometry() -> MigGeometry {
    let profile = |name: &str, memory, compute, width, starts: &[u8], count_max| MigProfile {
        name: name.to_owned(),
        memory: Mebibytes(memory),
        compute: Share::from_per_mille(compute).unwrap(),
        width,
        starts: starts.to_vec(),
        count_max,
    };
    let profiles = vec![
        profile("1g", 10_000, 140, 1, &[0, 1, 2, 3, 4, 5, 6], 7),
        profile("3g", 40_000, 420, 4, &[0, 4], 2),
        profile("7g", 80_000, 980, 8, &[0], 1),
    ];
    MigGeometry { slots: 8, profiles }
}

fn quota(words: &[&str]) -> Quota {
    let mut quota = Quota::default();
    let cards = |value: &str| {
        let compute_milli = value.parse().unwrap();
        Amount { compute_milli, memory: Mebibytes(u64::MAX / 4) }
    };
    for (key, value) in keys(words) {
        match key {
            "parent" => quota.parent = Some(value.parse().unwrap()),
            "weight" => quota.weight = value.parse().unwrap(),
            "guaranteed" => quota.guaranteed = cards(value),
            "limit" => quota.limit = Some(cards(value)),
            _ => panic!("no tenant has {key}"),
        }
    }
    quota
}

fn terms(tenant: &str, words: &[&str]) -> JobTerms {
    let mut terms = JobTerms {
        tenant: tenant.parse().unwrap(),
        ask: ask(None, words),
        class: Class::Offline,
        priority: 0,
        time_limit: None,
        deadline: None,
        retries: 0,
        preempt: None,
        idle: None,
        watermark: None,
    };
    let seconds = |value: &str| Seconds(value.parse().unwrap());
    for (key, value) in keys(words) {
        match key {
            "online" => terms.class = Class::Online,
            "priority" => terms.priority = value.parse().unwrap(),
            "limit" => terms.time_limit = Some(seconds(value)),
            "deadline" => terms.deadline = Some(Moment(0).after(seconds(value))),
            "retries" => terms.retries = value.parse().unwrap(),
            "soft" => terms.preempt = Some(Preempt { signal: Signal::Usr1, grace: Seconds(30) }),
            "mark" => {
                let latency_ms = Some(value.parse().unwrap());
                terms.watermark = Some(Watermark { latency_ms, usage: None });
            }
            "idle" => terms.idle = Some(Idle { after: seconds(value), notice: Seconds(60) }),
            _ => {}
        }
    }
    terms
}

fn ask(old: Option<Ask>, words: &[&str]) -> Ask {
    let mut ask = old.unwrap_or(Ask {
        members: 1,
        cards: 1,
        share: CardShare::Whole,
        policy: Policy::Fixed,
        place: Place::Binpack,
        same: None,
        prefer: None,
        foretold: None,
        models: Vec::new(),
        rung_min: None,
    });
    for (key, value) in keys(words) {
        match key {
            "members" => ask.members = value.parse().unwrap(),
            "cards" => ask.cards = value.parse().unwrap(),
            "part" => ask.share = part(value),
            "burst" => ask.policy = Policy::Burst,
            "spread" => ask.place = Place::Spread,
            "model" => ask.models = vec![value.to_owned()],
            "same" => ask.same = near(value),
            "foretold" => ask.foretold = Some(Mebibytes(value.parse().unwrap())),
            "prefer" => ask.prefer = near(value),
            _ => {}
        }
    }
    if let (Policy::Burst, CardShare::Part { compute, .. }) = (ask.policy, &mut ask.share) {
        compute.limit = Share::WHOLE;
    }
    ask
}

fn near(name: &str) -> Option<Near> {
    let near = [("nvlink", Near::Nvlink), ("numa", Near::Numa), ("rack", Near::Rack)];
    near.into_iter().find(|(known, _)| *known == name).map(|(_, near)| near)
}

/// Reads `4000/250`: MiB and per mille.
fn part(text: &str) -> CardShare {
    let (memory, compute) = text.split_once('/').unwrap();
    let memory = MemoryAsk::Mib(Mebibytes(memory.parse().unwrap()));
    let compute = Share::from_per_mille(compute.parse().unwrap()).unwrap();
    CardShare::Part {
        memory: Span { request: memory, limit: memory },
        compute: Span { request: compute, limit: compute },
    }
}
