//! Groups of MPS with a control program of our own, which fails in every way that is asked for.
//!
//! Each test has a folder with a link to that program, the groups' folder, and the files by which
//! the program is told how to behave. Clients are real processes; which of them is a client of
//! which server is what the program says.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cotenant_device::{
    CardSettings, ClientCard, ComputeMode, ComputeModes, MpsClient, MpsConfig, MpsError, MpsGroups,
    Unattached, Waits,
};
use cotenant_types::{CardId, Mebibytes};
use tempfile::TempDir;

/// Compute modes of cards that are not there, and what was done to them.
#[derive(Clone, Debug, Default)]
struct Modes(Arc<Mutex<BTreeMap<CardId, ComputeMode>>>);

impl Modes {
    fn put(&self, card: &str, mode: ComputeMode) {
        self.0.lock().unwrap().insert(card.parse().unwrap(), mode);
    }

    fn get(&self, card: &str) -> ComputeMode {
        self.read(&card.parse().unwrap()).unwrap()
    }
}

impl ComputeModes for Modes {
    fn read(&self, card: &CardId) -> Result<ComputeMode, String> {
        if card.as_str() == "GPU-gone" {
            return Err("the card fell off the bus".to_owned());
        }
        Ok(self.0.lock().unwrap().get(card).copied().unwrap_or(ComputeMode::Default))
    }

    fn set(&self, card: &CardId, mode: ComputeMode) -> Result<(), String> {
        if card.as_str() == "GPU-root-only" && mode == ComputeMode::Exclusive {
            return Err("insufficient permissions".to_owned());
        }
        self.0.lock().unwrap().insert(card.clone(), mode);
        Ok(())
    }
}

struct World {
    folder: TempDir,
    modes: Modes,
    settings: CardSettings,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mps/nvidia-cuda-mps-control");
        symlink(ours, folder.path().join("control")).unwrap();
        Self { folder, modes: Modes::default(), settings: CardSettings::Keep }
    }

    fn groups(&self) -> MpsGroups {
        let millis = Duration::from_millis;
        let config = MpsConfig {
            folder: self.at("g"),
            program: self.at("control"),
            waits: Waits { start: millis(20_000), answer: millis(20_000), quit: millis(20_000) },
            settings: self.settings,
            modes: Box::new(self.modes.clone()),
        };
        MpsGroups::open(config).unwrap()
    }

    /// Groups that do not wait long for what will not come.
    fn hasty(&self) -> MpsGroups {
        let millis = Duration::from_millis;
        let config = MpsConfig {
            folder: self.at("g"),
            program: self.at("control"),
            waits: Waits { start: millis(900), answer: millis(300), quit: millis(300) },
            settings: self.settings,
            modes: Box::new(self.modes.clone()),
        };
        MpsGroups::open(config).unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.at(name)).unwrap();
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.at(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Numbers of daemons that were started and run.
    fn daemons(&self) -> Vec<u32> {
        let folders = fs::read_dir(self.at("g")).into_iter().flatten().flatten();
        let pids = folders.filter_map(|it| fs::read_to_string(it.path().join("pipe/control")).ok());
        let alive = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
        };
        pids.filter_map(|pid| pid.trim().parse().ok()).filter(alive).collect()
    }

    fn groups_left(&self) -> usize {
        fs::read_dir(self.at("g")).map_or(0, |entries| entries.count())
    }
}

/// A test that fails leaves no daemon behind: they end as soon as they are told so.
impl Drop for World {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.at("g")).into_iter().flatten().flatten() {
            let _ = fs::write(entry.path().join("pipe/quit"), "");
        }
        self.daemons().iter().for_each(|&pid| kill(pid));
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn client(name: &str, percent: u32, cards: &[(&str, u64)]) -> MpsClient {
    let card = |&(id, memory): &(&str, u64)| ClientCard {
        card: id.parse().unwrap(),
        memory: Mebibytes(memory),
    };
    let cards = cards.iter().map(card).collect();
    MpsClient { name: name.to_owned(), uid: own_uid(), percent, cards }
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn clients_share_a_daemon_that_ends_with_the_last() {
    let world = World::new();
    let mut groups = world.groups();
    let joined = groups.join(&client("a", 30, &[("GPU-1", 2048)])).unwrap();
    assert_eq!(joined.notes.len(), 1, "{:?}", joined.notes);
    assert!(joined.notes[0].contains("nvidia-smi -i GPU-1 -c EXCLUSIVE_PROCESS"));
    let pipe = joined.env["CUDA_MPS_PIPE_DIRECTORY"].clone();
    assert_eq!(joined.control.pipe(), Path::new(&pipe));
    let log = &joined.env["CUDA_MPS_LOG_DIRECTORY"];
    assert_eq!(world.lines("started"), [format!("GPU-1 {pipe} {log}")]);
    for path in [&pipe, log] {
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid()), (0o700, own_uid()));
    }
    assert_eq!(
        world.lines("said"),
        ["set_default_active_thread_percentage 30", "set_default_device_pinned_mem_limit 0 2G"]
    );
    // A second, larger one raises what the running server allows, and what the next one would.
    world.remove("said");
    world.write("servers", "77\n");
    let second = groups.join(&client("b", 60, &[("GPU-1", 1000)])).unwrap();
    assert_eq!(second.env, joined.env);
    assert_eq!(
        world.lines("said"),
        [
            "set_default_active_thread_percentage 60",
            "set_default_device_pinned_mem_limit 0 2G",
            "set_active_thread_percentage 77 60",
            "set_device_pinned_mem_limit 77 0 2G"
        ]
    );
    assert_eq!(world.lines("started").len(), 1);
    assert_eq!(world.daemons().len(), 1);
    // It leaves, and the server allows less again.
    world.remove("said");
    groups.leave("b").unwrap();
    assert_eq!(world.lines("said")[2], "set_active_thread_percentage 77 30");
    groups.leave("nobody").unwrap();
    assert_eq!(world.daemons().len(), 1);
    groups.leave("a").unwrap();
    assert!(world.daemons().is_empty());
    assert_eq!(world.groups_left(), 0);
}

#[test]
fn groups_with_other_cards_have_other_daemons() {
    let world = World::new();
    let mut groups = world.groups();
    let one = groups.join(&client("a", 30, &[("GPU-1", 1024)])).unwrap();
    let two = groups.join(&client("b", 30, &[("GPU-1", 1024), ("GPU-2", 512)])).unwrap();
    assert_ne!(one.env, two.env);
    assert_eq!(world.daemons().len(), 2);
    assert!(world.lines("started")[1].starts_with("GPU-1,GPU-2 "), "{:?}", world.lines("started"));
    assert!(world.lines("said").contains(&"set_default_device_pinned_mem_limit 1 512M".to_owned()));
    assert!(groups.retain(&BTreeSet::new()).is_empty());
    assert_eq!((world.daemons().len(), world.groups_left()), (0, 0));
}

#[test]
fn a_daemon_is_found_again_after_a_restart() {
    let world = World::new();
    let mut groups = world.groups();
    groups.join(&client("a", 30, &[("GPU-1", 1024)])).unwrap();
    groups.join(&client("b", 30, &[("GPU-1", 1024)])).unwrap();
    groups.join(&client("c", 30, &[("GPU-2", 1024)])).unwrap();
    let before: BTreeSet<u32> = world.daemons().into_iter().collect();
    drop(groups);
    let mut groups = world.groups();
    assert!(groups.look().is_empty());
    assert!(groups.retain(&names(&["b"])).is_empty());
    let after = world.daemons();
    assert_eq!(after.len(), 1, "the group that nobody is in has ended");
    assert!(before.contains(&after[0]), "the other goes on");
    groups.join(&client("b", 10, &[("GPU-1", 1024)])).unwrap();
    assert_eq!(world.daemons(), after, "and nobody starts a second beside it");
    assert!(groups.control_of("b").unwrap().servers().unwrap().is_empty());
    assert!(groups.control_of("a").is_none());
}

#[test]
fn the_death_of_a_daemon_or_server_is_said_and_mended() {
    let world = World::new();
    let mut groups = world.groups();
    let wished = client("a", 30, &[("GPU-1", 1024)]);
    groups.join(&wished).unwrap();
    world.write("servers", "77\n");
    assert!(groups.look().is_empty());
    world.write("servers", "");
    let down = groups.look();
    assert_eq!(down.len(), 1);
    assert!(down[0].why.contains("MPS server 77 died"), "{down:?}");
    assert!(groups.look().is_empty(), "it is said once");
    kill(world.daemons()[0]);
    let down = loop {
        let down = groups.look();
        if !down.is_empty() {
            break down;
        }
    };
    assert!(down[0].why.contains("control daemon has ended"), "{down:?}");
    assert_eq!(down[0].clients, ["a"]);
    assert_eq!(down[0].cards, ["GPU-1".parse().unwrap()]);
    groups.join(&wished).unwrap();
    assert!(groups.look().is_empty());
    assert_eq!(world.lines("started").len(), 2);
}

/// What a join gives that must fail; nothing is left of it.
fn refusal(world: &World, wished: &MpsClient) -> String {
    let error = world.hasty().join(wished).unwrap_err();
    assert_eq!(world.daemons(), [], "{error}");
    assert_eq!(world.groups_left(), 0, "{error}");
    let source = std::error::Error::source(&error).map_or(String::new(), |it| format!(": {it}"));
    format!("{error}{source}")
}

#[test]
fn what_the_control_program_does_wrong_is_said() {
    let check = |file: &str, text: &str, expected: &str| {
        let world = World::new();
        world.write(file, text);
        let message = refusal(&world, &client("a", 30, &[("GPU-1", 1024)]));
        assert!(message.contains(expected), "{file}: {message}");
        // It does better, and so does the next try.
        world.remove(file);
        world.groups().join(&client("a", 30, &[("GPU-1", 1024)])).unwrap();
    };
    check("refuse", "An instance of this daemon is already running\n", "is already running");
    check("mute", "", "did not answer 'its start' within 900 ms");
    check("slow", "", "did not answer 'its start'");
    check("flood", "", "more than 65536 bytes");
    check("answer", "no such thing\u{1b}[31m\n", "\"no such thing?[31m\"");
    check("deny", "Permission denied\n", "only the user that started");
    check("forget", "", "give each program 300 thousandths of a card and gives 1000");
}

#[test]
fn without_the_program_it_is_said_where_it_comes_from() {
    let world = World::new();
    world.remove("control");
    let message = refusal(&world, &client("a", 30, &[("GPU-1", 1024)]));
    assert!(message.contains("comes with the NVIDIA driver"), "{message}");
}

#[test]
fn a_daemon_that_does_not_quit_is_killed() {
    let world = World::new();
    world.groups().join(&client("a", 30, &[("GPU-1", 1024)])).unwrap();
    world.write("stubborn", "");
    world.hasty().leave("a").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((world.daemons().len(), world.groups_left()), (0, 0));
}

#[test]
fn clients_of_another_user_are_refused() {
    let world = World::new();
    let mut wished = client("a", 30, &[("GPU-1", 1024)]);
    wished.uid += 1;
    let message = refusal(&world, &wished);
    assert!(message.contains("MPS serves one user at a time"), "{message}");
    assert!(world.lines("started").is_empty());
}

#[test]
fn modes_of_cards_change_only_by_permission_and_are_put_back() {
    let mut world = World::new();
    world.modes.put("GPU-2", ComputeMode::Prohibited);
    world.modes.put("GPU-3", ComputeMode::Exclusive);
    let on = |card| client("a", 30, &[(card, 1024)]);
    let message = refusal(&world, &on("GPU-2"));
    assert!(message.contains("nvidia-smi -i GPU-2 -c EXCLUSIVE_PROCESS"), "{message}");
    let message = refusal(&world, &on("GPU-gone"));
    assert!(message.contains("fell off the bus"), "{message}");
    let mut groups = world.groups();
    groups.join(&on("GPU-1")).unwrap();
    assert_eq!(world.modes.get("GPU-1"), ComputeMode::Default);
    groups.leave("a").unwrap();
    // A card that is exclusive has one server: ours, or none of ours.
    assert!(groups.join(&on("GPU-3")).unwrap().notes.is_empty());
    let both = client("b", 30, &[("GPU-3", 1), ("GPU-1", 1)]);
    assert!(matches!(groups.join(&both), Err(MpsError::Exclusive { .. })));
    groups.leave("a").unwrap();
    assert_eq!(world.modes.get("GPU-3"), ComputeMode::Exclusive);

    world.settings = CardSettings::MayChange;
    let message = refusal(&world, &on("GPU-root-only"));
    assert!(message.contains("insufficient permissions"), "{message}");
    let mut groups = world.groups();
    let cards = client("a", 30, &[("GPU-1", 1024), ("GPU-2", 1024)]);
    assert!(groups.join(&cards).unwrap().notes.is_empty());
    for card in ["GPU-1", "GPU-2"] {
        assert_eq!(world.modes.get(card), ComputeMode::Exclusive);
    }
    // Another process puts them back: what they were is in the record.
    drop(groups);
    world.groups().leave("a").unwrap();
    assert_eq!(world.modes.get("GPU-1"), ComputeMode::Default);
    assert_eq!(world.modes.get("GPU-2"), ComputeMode::Prohibited);
}

/// A program that stands for a tenant's: it waits until its input ends.
fn program(env: &BTreeMap<&'static str, String>) -> Child {
    Command::new("cat").envs(env).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_program_is_held_only_when_a_server_names_it() {
    let world = World::new();
    let mut groups = world.groups();
    let joined = groups.join(&client("a", 30, &[("GPU-1", 1024)])).unwrap();
    let mut started = program(&joined.env);
    let pid = started.id();
    let wait =
        |millis| joined.control.wait_for_client(&|| vec![pid], Duration::from_millis(millis));
    world.write("servers", "77\n78\n");
    world.write("clients.77", "1\n");
    let error = wait(100).unwrap_err();
    assert!(matches!(error, Unattached::NoCuda { .. }), "{error}");
    world.write("clients.78", &format!("1\n{pid}\n"));
    let attached = wait(20_000).unwrap();
    assert_eq!((attached.server, attached.client), (78, pid));
    world.write("clients.78", "x");
    let error = wait(20_000).unwrap_err();
    assert!(matches!(error, Unattached::Control(MpsError::Unclear { .. })), "{error}");
    world.remove("clients.78");
    drop(started.stdin.take());
    started.wait().unwrap();
    let error = wait(20_000).unwrap_err();
    assert!(matches!(error, Unattached::Gone), "{error}");
    kill(world.daemons()[0]);
    while groups.look().is_empty() {}
    let error = joined.control.wait_for_client(&|| vec![pid], Duration::ZERO).unwrap_err();
    assert!(matches!(error, Unattached::Control(MpsError::NotRunning)), "{error}");
}

#[test]
fn a_server_that_dies_under_a_waiting_program_is_noticed() {
    let world = World::new();
    let mut groups = world.groups();
    let joined = groups.join(&client("a", 30, &[("GPU-1", 1024)])).unwrap();
    let mut started = program(&joined.env);
    let pid = started.id();
    world.write("servers", "77\n");
    // The program is asked for once in each look: at the second one the server is gone.
    let processes = || {
        world.write("servers", "");
        vec![pid]
    };
    let waited = joined.control.wait_for_client(&processes, Duration::from_secs(20));
    assert!(matches!(waited, Err(Unattached::ServerDied { server: 77 })), "{waited:?}");
    drop(started.stdin.take());
    started.wait().unwrap();
}
