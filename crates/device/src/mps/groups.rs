//! All groups of a pool: clients join and leave, daemons are started, found again, ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Child;

use cotenant_types::CardId;

use super::compute_mode::{ComputeMode, ComputeModes, ModePlan, open_note, plan_mode};
use super::control::{Control, Waits};
use super::error::MpsError;
use super::facts::Mark;
use super::folder::{self, FormerMode, GroupFolder, Record};
use super::limits::{Ceiling, MpsClient};
use super::plan::{self, Joining};
use crate::settings::CardSettings;

/// What groups are run with.
#[derive(Debug)]
pub struct MpsConfig {
    /// Where groups have their folders; nothing else may be in it. A short path: sockets allow no
    /// long one.
    pub folder: PathBuf,
    /// `nvidia-cuda-mps-control`, by its path or by a name that is looked for along `PATH`.
    pub program: PathBuf,
    /// How long anything may take.
    pub waits: Waits,
    /// Whether compute modes may be changed.
    pub settings: CardSettings,
    /// Where they are read and set.
    pub modes: Box<dyn ComputeModes>,
}

/// The groups of a pool. Whoever owns it is the only one that may use its folder.
#[derive(Debug)]
pub struct MpsGroups {
    config: MpsConfig,
    own_uid: u32,
    groups: BTreeMap<String, Record>,
    /// Daemons that this process has started itself.
    children: BTreeMap<String, Child>,
    /// Servers that were seen, to notice when one is gone.
    servers: BTreeMap<String, BTreeSet<u32>>,
}

/// What a client that may start needs.
#[derive(Debug)]
pub struct Joined {
    /// Variables beside those of [`environment`](crate::environment()).
    pub env: BTreeMap<&'static str, String>,
    /// Whom to ask whether it became a client.
    pub control: Control,
    /// Sentences for people.
    pub notes: Vec<String>,
}

/// A group that serves no longer, or no longer all of its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDown {
    /// Its cards.
    pub cards: Vec<CardId>,
    /// Names of its clients.
    pub clients: Vec<String>,
    /// What happened, in words.
    pub why: String,
}

impl MpsGroups {
    /// Finds the groups that an earlier process has left, with what runs of them.
    pub fn open(mut config: MpsConfig) -> Result<Self, MpsError> {
        // Programs look for their pipes from folders of their own.
        config.folder = std::path::absolute(&config.folder)
            .map_err(|source| folder::failed(&config.folder, source))?;
        let mut groups = BTreeMap::new();
        for name in folder::names(&config.folder)? {
            if let Some(record) = GroupFolder::at(&config.folder, &name).read()? {
                groups.insert(name, record);
            }
        }
        let own_uid = rustix::process::geteuid().as_raw();
        let (children, servers) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { config, own_uid, groups, children, servers })
    }

    /// Makes ready what a client needs, before it is started: its group's daemon runs, and the
    /// limits hold. A client that is in it already may join again, also with other limits.
    pub fn join(&mut self, client: &MpsClient) -> Result<Joined, MpsError> {
        let Joining { group, mut record, is_new } = plan::join(&self.groups, client, self.own_uid)?;
        let folder = GroupFolder::at(&self.config.folder, &group);
        let mut notes = Vec::new();
        let plans = if is_new { self.plan_modes(&group, &record)? } else { Vec::new() };
        folder.create(record.uid)?;
        record.clients.push(client.clone());
        for (card, plan) in plans {
            match plan {
                ModePlan::Keep => {}
                ModePlan::KeepOpen => notes.push(open_note(&card)),
                ModePlan::MakeExclusive => record.former.push(self.former_mode(card)?),
            }
        }
        // From here on all that was done is found again and undone, whatever happens.
        folder.write(&record)?;
        self.groups.insert(group.clone(), record);
        match self.make_ready(&group) {
            Ok(control) => Ok(Joined { env: control.client_environment(), control, notes }),
            Err(error) => {
                // The first error is the news.
                let _ = self.leave(&client.name);
                Err(error)
            }
        }
    }

    /// Takes a client that has ended out of its group; one that is in none is fine. With the last
    /// one, the daemon ends and the cards get their modes back.
    pub fn leave(&mut self, name: &str) -> Result<(), MpsError> {
        let Some(group) = plan::of_client(&self.groups, name).map(str::to_owned) else {
            return Ok(());
        };
        let Some(record) = self.groups.get_mut(&group) else { return Ok(()) };
        record.clients.retain(|client| client.name != name);
        if record.clients.is_empty() {
            return self.end(&group);
        }
        let record = record.clone();
        GroupFolder::at(&self.config.folder, &group).write(&record)?;
        match (record.daemon, Ceiling::of(&record.clients)) {
            (Some(daemon), Some(ceiling)) if daemon.is_alive() => {
                self.control(&group, &record).apply(&ceiling)
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Takes out every client but these: after a restart, those that ended meanwhile. Groups that
    /// nobody is in are ended. What failed is said, and the rest is done.
    pub fn retain(&mut self, alive: &BTreeSet<String>) -> Vec<MpsError> {
        let clients = self.groups.values().flat_map(|record| &record.clients);
        let gone: Vec<String> = clients
            .map(|client| client.name.clone())
            .filter(|name| !alive.contains(name))
            .collect();
        let mut errors: Vec<_> = gone.iter().filter_map(|name| self.leave(name).err()).collect();
        let is_empty = |(_, record): &(&String, &Record)| record.clients.is_empty();
        let empty: Vec<String> =
            self.groups.iter().filter(is_empty).map(|(name, _)| name.clone()).collect();
        errors.extend(empty.iter().filter_map(|name| self.end(name).err()));
        errors
    }

    /// Whom to ask about a client; none if it is in no group.
    pub fn control_of(&self, name: &str) -> Option<Control> {
        let group = plan::of_client(&self.groups, name)?;
        Some(self.control(group, self.groups.get(group)?))
    }

    /// Looks at every group, and gives those whose daemon is gone or does not answer, or whose
    /// server has died since the last look. Cards of these have
    /// [`Health::MpsDown`](crate::Health::MpsDown).
    pub fn look(&mut self) -> Vec<GroupDown> {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        names.iter().filter_map(|name| self.look_at(name)).collect()
    }

    fn look_at(&mut self, name: &str) -> Option<GroupDown> {
        let record = self.groups.get(name).filter(|record| !record.clients.is_empty())?.clone();
        let control = self.control(name, &record);
        let why = match self.is_alive(name, record.daemon) {
            false => {
                self.servers.remove(name);
                format!("the MPS control daemon has ended; it said \"{}\"", control.said())
            }
            true => match control.servers() {
                Ok(servers) => {
                    let now: BTreeSet<u32> = servers.into_iter().collect();
                    let seen = self.servers.insert(name.to_owned(), now.clone());
                    let died = seen.and_then(|seen| seen.difference(&now).next().copied())?;
                    format!("the MPS server {died} died; its clients have lost their work")
                }
                Err(error) => error.to_string(),
            },
        };
        let clients = record.clients.into_iter().map(|client| client.name).collect();
        Some(GroupDown { cards: record.cards, clients, why })
    }

    fn control(&self, group: &str, record: &Record) -> Control {
        let folder = GroupFolder::at(&self.config.folder, group);
        let served = (record.uid, record.cards.as_slice());
        Control::new(&self.config.program, folder, served, self.config.waits)
    }

    fn is_alive(&mut self, group: &str, daemon: Option<Mark>) -> bool {
        // Only its parent can let a process that ended go.
        let _ = self.children.get_mut(group).map(Child::try_wait);
        daemon.is_some_and(Mark::is_alive)
    }

    fn plan_modes(
        &self,
        group: &str,
        record: &Record,
    ) -> Result<Vec<(CardId, ModePlan)>, MpsError> {
        let plan = |card: &CardId| {
            let mode = self.config.modes.read(card).map_err(|why| refused(card, why))?;
            let neighbours = plan::neighbours(&self.groups, group, card);
            Ok((card.clone(), plan_mode((card, mode), self.config.settings, neighbours)?))
        };
        record.cards.iter().map(plan).collect()
    }

    fn former_mode(&self, card: CardId) -> Result<FormerMode, MpsError> {
        let mode = self.config.modes.read(&card).map_err(|why| refused(&card, why))?;
        Ok(FormerMode { card, mode })
    }

    /// Puts a card into a mode; one that is in it is left alone, which needs no permission.
    fn set_mode(&self, card: &CardId, mode: ComputeMode) -> Result<(), MpsError> {
        let set = || match self.config.modes.read(card)? == mode {
            true => Ok(()),
            false => self.config.modes.set(card, mode),
        };
        set().map_err(|why| refused(card, why))
    }

    /// Sets the modes that were planned, starts the daemon unless it runs, and sets the limits.
    fn make_ready(&mut self, group: &str) -> Result<Control, MpsError> {
        let mut record = self.groups.get(group).cloned().ok_or(MpsError::NotRunning)?;
        let control = self.control(group, &record);
        if self.config.settings == CardSettings::MayChange {
            for FormerMode { card, .. } in &record.former {
                self.set_mode(card, ComputeMode::Exclusive)?;
            }
        }
        if !self.is_alive(group, record.daemon) {
            self.servers.remove(group);
            let (child, daemon) = control.start()?;
            self.children.insert(group.to_owned(), child);
            record.daemon = Some(daemon);
            self.groups.insert(group.to_owned(), record.clone());
            GroupFolder::at(&self.config.folder, group).write(&record)?;
        }
        if let Some(ceiling) = Ceiling::of(&record.clients) {
            control.apply(&ceiling)?;
        }
        Ok(control)
    }

    /// Ends a group: its daemon, its changes of modes, its folder, in that order, so that one that
    /// cannot be ended whole is found again.
    fn end(&mut self, group: &str) -> Result<(), MpsError> {
        let Some(record) = self.groups.get(group).cloned() else { return Ok(()) };
        let folder = GroupFolder::at(&self.config.folder, group);
        folder.write(&record)?;
        if let Some(daemon) = record.daemon {
            let child = self.children.remove(group);
            self.control(group, &record).quit(daemon, child)?;
        }
        for FormerMode { card, mode } in &record.former {
            self.set_mode(card, *mode)?;
        }
        folder.remove()?;
        self.groups.remove(group);
        self.servers.remove(group);
        Ok(())
    }
}

fn refused(card: &CardId, why: String) -> MpsError {
    MpsError::Mode { card: card.clone(), why }
}
