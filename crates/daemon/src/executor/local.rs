//! Runs jobs as processes of this machine, whatever node a simulated pool says they are on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use cotenant_api::JobRequest;
use cotenant_device::{Cgroups, CpuLimits, Held, OWNED_VARIABLES, environment};
use cotenant_sched::{Command, Event, Exit, Run, StartFailure};
use cotenant_types::{Card, CardId, CardKind, MemberSlices, Policy, Rung};

use super::folder::{self, MARK, MEMBER, MemberFile, RunFile, RunFolder, StopFile};
use super::holders::Holders;
use super::intercepted::PRELOAD;
use super::partitions;
use super::said::{MemberOf, member_name};
use super::served::Served;
use super::{Errand, Executor, Tell, supervise};
use crate::fail_at::Point;

/// What a job inherits of the daemon's environment; all else is its own or its slice's.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "USER", "TMPDIR"];

/// The cards of this machine, as they were last found.
pub(crate) type Cards = Arc<Mutex<BTreeMap<CardId, Card>>>;

/// Jobs as process groups, in control groups where there are any.
pub(crate) struct LocalExecutor {
    runs: PathBuf,
    address: String,
    cards: Cards,
    holders: Holders,
    tell: Arc<Tell>,
}

impl LocalExecutor {
    /// An executor that keeps its runs in a folder, and tells jobs the pool's address.
    pub(crate) fn new(
        (runs, address): (PathBuf, String),
        (cards, holders): (Cards, Holders),
        tell: Tell,
    ) -> Self {
        Self { runs, address, cards, holders, tell: Arc::new(tell) }
    }

    fn start(
        &self,
        run: &Run,
        (first, members, all): (u32, &[MemberSlices], u32),
        request: &JobRequest,
    ) {
        let folder = RunFolder::of(&self.runs, run);
        match folder.create() {
            Ok(true) => {}
            Ok(false) if self.was_begun(run, &folder) => return,
            // The daemon died before it had a supervisor for it.
            Ok(false) => {}
            Err(error) => return self.not_started(run, &error.to_string()),
        }
        Point::AfterRunFolder.pass();
        let prepared = self.prepare(run, &folder, (first, members, all), request);
        Point::AfterRunFile.pass();
        let spawned = prepared.and_then(|()| {
            spawn(&folder).map_err(|error| format!("failed to start its supervisor: {error}"))
        });
        match spawned {
            Ok(supervisor) => {
                Point::AfterSupervisor.pass();
                self.watch(run.clone(), folder, Some(supervisor));
            }
            Err(why) => {
                // Nothing was started, and nothing of this generation will be.
                let _ = folder.write_exit(&Exit::Lost);
                self.holders.leave_members(run, (first..).take(members.len()));
                self.not_started(run, &why);
            }
        }
    }

    /// Whether a supervisor has the run in hand, or had: then what is known of it is told again.
    /// Two supervisors of a run do no harm: the second waits for the lock, and finds the exit.
    fn was_begun(&self, run: &Run, folder: &RunFolder) -> bool {
        if folder.is_started() {
            (self.tell)(Event::Started { run: run.clone() });
        }
        if let Some(exit) = folder.read_exit() {
            (self.tell)(exited(run, folder, exit));
            return true;
        }
        folder.is_begun() || folder.try_lock().is_none()
    }

    fn not_started(&self, run: &Run, why: &str) {
        let why = StartFailure::Broken(why.to_owned());
        (self.tell)(Event::StartFailed { run: run.clone(), why });
    }

    fn prepare(
        &self,
        run: &Run,
        folder: &RunFolder,
        (first, members, all): (u32, &[MemberSlices], u32),
        request: &JobRequest,
    ) -> Result<(), String> {
        let program = match &request.train {
            Some(workspace) => {
                let ours = std::env::current_exe().map_err(|error| error.to_string())?;
                vec![ours.display().to_string(), "train".to_owned(), workspace.clone()]
            }
            None => request.command.clone(),
        };
        let work = folder.path().join("work");
        let place = match &request.folder {
            Some(folder) => PathBuf::from(folder),
            None => {
                fs::create_dir_all(&work).map_err(|error| error.to_string())?;
                work
            }
        };
        let policy = policy_of(request);
        let mut files = Vec::with_capacity(members.len());
        for (number, member) in (first..).zip(members) {
            let group = self.group(run, number, (member, policy))?;
            let mut env = self.env(MemberOf { run, folder, number }, (member, policy))?;
            let inherited =
                INHERITED.iter().filter_map(|&name| Some((name, std::env::var(name).ok()?)));
            let ours = [
                ("COTENANT_POOL", self.address.clone()),
                ("COTENANT_JOB", run.job.to_string()),
                ("COTENANT_GENERATION", run.generation.to_string()),
                (MEMBER, number.to_string()),
                ("COTENANT_MEMBERS", all.to_string()),
                ("COTENANT_NOTICE", folder.path().join("notice.json").display().to_string()),
                (MARK, folder.mark()),
            ];
            let theirs = request.env.iter().filter(|(name, _)| !is_ours(name));
            if let (Some(ours), Some(theirs)) = (env.get_mut(PRELOAD), request.env.get(PRELOAD)) {
                *ours = format!("{ours}:{theirs}");
            }
            let mut whole: BTreeMap<String, String> =
                inherited.map(|(name, value)| (name.to_owned(), value)).collect();
            whole.extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
            whole.append(&mut env);
            whole.extend(ours.map(|(name, value)| (name.to_owned(), value)));
            files.push(MemberFile { number, env: whole, group });
        }
        let run = RunFile { run: run.clone(), program, folder: place, members: files };
        folder.write_run(&run).map_err(|error| format!("failed to write run.json: {error}"))
    }

    /// What tells a member of its slices, and of the server or library that holds it to them.
    fn env(
        &self,
        place: MemberOf<'_>,
        (member, policy): (&MemberSlices, Policy),
    ) -> Result<BTreeMap<String, String>, String> {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.holders.partitioned.take(place, (&member.slices, &cards))?;
        let mut held = Vec::new();
        for slice in &member.slices {
            let card = cards.get(&slice.card).ok_or_else(|| format!("{} is gone", slice.card))?;
            let partition = taken.get(&slice.card).map(String::as_str);
            held.push(Held { slice, card, partition });
        }
        let variables = environment(&held).map_err(|error| error.to_string())?;
        let mut whole = self.holders.served.join(place, &held)?;
        whole.append(&mut self.holders.intercepted.join(place, (&held, policy))?);
        whole.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok(whole)
    }

    /// The control group that holds a member to its slice of the processor, if one is to.
    fn group(
        &self,
        run: &Run,
        number: u32,
        (member, policy): (&MemberSlices, Policy),
    ) -> Result<Option<String>, String> {
        let name = member_name(run, number);
        let Some(limits) = self.limits(member, policy) else {
            return partitions::hold_by_driver(&name, member);
        };
        let groups = Cgroups::open().map_err(|error| error.to_string())?;
        groups.create(&name, &limits).map_err(|error| error.to_string())?;
        partitions::hold_by_driver(&name, member)?;
        Ok(Some(name))
    }

    fn limits(&self, member: &MemberSlices, policy: Policy) -> Option<CpuLimits> {
        let held = member.slices.iter().find(|slice| slice.enforced_by == Rung::Cgroup)?;
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        let card = cards.get(&held.card).filter(|card| card.kind == CardKind::Cpu)?;
        Some(CpuLimits::of(held, policy, card.cores))
    }

    fn stop(&self, run: &Run, stop: StopFile) {
        let folder = RunFolder::of(&self.runs, run);
        let tell = |exit| (self.tell)(exited(run, &folder, exit));
        if folder.create().is_err() {
            // It is asked again.
            return;
        }
        if let Some(exit) = folder.read_exit() {
            return tell(exit);
        }
        match folder.try_lock().filter(|_| !folder.is_begun()) {
            // It never ran, and never will: whoever starts it late finds the exit.
            Some(_lock) => {
                if folder.write_exit(&Exit::Lost).is_ok() {
                    self.holders.leave(run, &folder);
                    tell(Exit::Lost);
                }
            }
            None => {
                // If it cannot be written, it is asked again.
                let _ = folder.write_stop(stop);
                Point::AfterStopFile.pass();
            }
        }
    }

    fn set_limits(&self, run: &Run, members: &[MemberSlices]) {
        let folder = RunFolder::of(&self.runs, run);
        let Ok(file) = folder.read_run() else { return };
        let numbers = file.members.iter().map(|member| member.number);
        self.holders.intercepted.set_limits(run, numbers.zip(members.iter().cloned()));
        let Ok(groups) = Cgroups::open() else { return };
        for (member, slices) in file.members.iter().zip(members) {
            let group = member.group.as_ref().and_then(|name| groups.find(name).ok().flatten());
            if let Some(group) = &group {
                // What the driver refuses stays as it was, and is told again with the next change.
                let _ = partitions::resize_by_driver(group, slices);
            }
            // A squeezed job is held to its limits whatever its policy allows otherwise.
            if let (Some(group), Some(limits)) = (group, self.limits(slices, Policy::Fixed)) {
                let _ = group.set(&limits);
            }
        }
    }

    /// Watches a run that had not ended when it was looked at. If it has by now, its watcher tells
    /// so after it was given back as alive, which is the order that does no harm.
    fn take_over(&self, run: Run, folder: RunFolder, alive: &mut Vec<Run>) {
        if folder.is_started() {
            alive.push(run.clone());
        }
        if folder.is_begun() || folder.try_lock().is_none() {
            self.watch(run, folder, None);
        }
    }

    /// Says what becomes of a run, from a thread that waits for its supervisor's end.
    fn watch(&self, run: Run, folder: RunFolder, supervisor: Option<std::process::Child>) {
        let (tell, holders) = (self.tell.clone(), self.holders.clone());
        thread::spawn(move || {
            if let Some(mut supervisor) = supervisor {
                let lines = supervisor.stdout.take().map(BufReader::new);
                let first = lines.and_then(|lines| lines.lines().next()?.ok());
                if first.as_deref() == Some("started") {
                    tell(Event::Started { run: run.clone() });
                    watch_served(&holders.served, &run, &folder);
                }
                let _ = supervisor.wait();
            }
            let exit = wait_for_end(&folder);
            holders.leave(&run, &folder);
            tell(exited(&run, &folder, exit));
        });
    }
}

impl Executor for LocalExecutor {
    fn carry_out(&mut self, errand: Errand) {
        match &errand.command {
            Command::Start { run, first_member, members, members_all } => {
                let request = errand.request.as_deref().expect("a start says what to start");
                self.start(run, (*first_member, members, *members_all), request);
            }
            Command::Stop { run, signal, grace } => {
                self.stop(run, StopFile { signal: Some(*signal), grace_ms: grace.to_ms() });
            }
            Command::Kill { run } => self.stop(run, StopFile { signal: None, grace_ms: 0 }),
            Command::SetLimits { run, members } => self.set_limits(run, members),
            Command::GiveNotice { run, at } => {
                let _ = RunFolder::of(&self.runs, run).write_notice(at.0);
            }
        }
    }

    /// What has ended is told before anything is given back: who holds a run to be alive and does
    /// not find it among those given back has been told how it ended.
    fn adopt(&mut self, held: &[Run]) -> Vec<Run> {
        let mut alive = Vec::new();
        let mut known = BTreeSet::new();
        for run in held {
            let folder = RunFolder::of(&self.runs, run);
            known.insert(folder.path().to_owned());
            match end_of(&folder) {
                Some(exit) => (self.tell)(exited(run, &folder, exit)),
                None => self.take_over(run.clone(), folder, &mut alive),
            }
        }
        let strays = folder::all(&self.runs)
            .into_iter()
            .filter(|folder| !known.contains(folder.path()) && folder.read_exit().is_none());
        for folder in strays {
            if let Ok(file) = folder.read_run() {
                self.take_over(file.run, folder, &mut alive);
            }
        }
        self.holders.adopt(&self.runs);
        alive
    }
}

/// Watches whether those of a run's members that MPS is to hold are held.
fn watch_served(served: &Served, run: &Run, folder: &RunFolder) {
    let members = folder.read_run().map(|file| file.members).unwrap_or_default();
    for member in members {
        served.watch(MemberOf { run, folder, number: member.number });
    }
}

/// What is told of a run that has ended.
fn exited(run: &Run, folder: &RunFolder, exit: Exit) -> Event {
    Event::Exited { run: run.clone(), exit, peak: folder.read_peak() }
}

/// How a run ended, if it has: a supervisor writes that down before it lets go of the lock.
fn end_of(folder: &RunFolder) -> Option<Exit> {
    if let Some(exit) = folder.read_exit() {
        return Some(exit);
    }
    if !folder.path().exists() || folder.try_lock().is_none() {
        return None;
    }
    // Nobody has it in hand: it ended just now, or its supervisor died, or it never began.
    folder.read_exit().or_else(|| folder.is_begun().then(|| wait_for_end(folder)))
}

/// Waits until a supervisor is gone; if it did not say how its job ended, ends what it left.
fn wait_for_end(folder: &RunFolder) -> Exit {
    let Ok(lock) = folder.lock_file() else { return Exit::Lost };
    if lock.lock().is_err() {
        return Exit::Lost;
    }
    if let Some(exit) = folder.read_exit() {
        return exit;
    }
    if let Ok(run) = folder.read_run() {
        for group in supervise::groups(&run) {
            let _ = group.kill_all();
            let _ = group.remove();
        }
    }
    kill_marked(folder);
    // Under the lock: a supervisor that is only now being born finds the exit and ends.
    let _ = folder.write_exit(&Exit::Lost);
    Exit::Lost
}

/// Kills every process that carries the run's mark in its environment.
fn kill_marked(folder: &RunFolder) {
    let mark = format!("{MARK}={}", folder.mark());
    loop {
        let mut found = false;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { continue };
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environ.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes()) {
                let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                found |= killed.is_ok();
            }
        }
        if !found {
            return;
        }
        thread::yield_now();
    }
}

fn spawn(folder: &RunFolder) -> io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt;
    let errors = fs::File::create(folder.path().join("supervisor.log"))?;
    Program::new(std::env::current_exe()?)
        .args(["internal", "supervise"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .spawn()
}

fn policy_of(request: &JobRequest) -> Policy {
    match request.policy.as_deref() {
        Some("burst") => Policy::Burst,
        Some("contend") => Policy::Contend,
        _ => Policy::Fixed,
    }
}

fn is_ours(name: &str) -> bool {
    OWNED_VARIABLES.contains(&name) || name.starts_with("COTENANT_")
}
