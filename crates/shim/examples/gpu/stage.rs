//! The card, and tenants on it with the library and without.

use std::cell::{Cell, RefCell};
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use cotenant_fake_cards::tenant::TenantProcess;
use cotenant_types::limits::{SLICE_FOLDER, SLICE_VARIABLE};
use tempfile::TempDir;

use super::bar::Bar;
use super::options::{Options, Pace};
use super::slice::{Limits, Slice};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// What the card is.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) cuda: u64,
    pub(crate) uuid: [u8; 16],
    pub(crate) sms: u64,
    pub(crate) compute: (u64, u64),
    pub(crate) memory_bytes: u64,
    pub(crate) is_fake: bool,
}

/// Where checks play.
pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    pub(crate) facts: Facts,
    folder: TempDir,
    slices: Cell<u32>,
    /// A program without the library that asks NVML and never uses the card.
    watcher: RefCell<Tenant>,
}

/// A program on the card.
pub(crate) struct Tenant(TenantProcess);

/// An amount of work that was timed on the bare card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    loops: u64,
    sms: u64,
    /// Kernels of one submission, where it is a graph.
    nodes: Option<u64>,
    /// What one submission takes of the whole card.
    pub(crate) bare_ns: f64,
}

impl<'a> Stage<'a> {
    /// Finds the card.
    pub(crate) fn open(options: &'a Options) -> Result<Self, String> {
        if Path::new(SLICE_FOLDER).exists() {
            return Err(format!(
                "{SLICE_FOLDER} exists, and is every program's slice here\n\
                 hint: run this outside a slice"
            ));
        }
        let folder = tempfile::tempdir().map_err(|error| format!("make a folder: {error}"))?;
        let mut watcher = Tenant::start(program(None, options)?)?;
        let mut asked = Tenant::start(program(None, options)?)?;
        asked.ask("init").map_err(no_card)?;
        let facts = asked.ask("facts")?;
        let [sms, major, minor, cuda] = numbers(&facts)?;
        let card = watcher.ask("nvml card 0").map_err(no_card)?;
        let words: Vec<&str> = card.split(' ').collect();
        let [name, uuid, ..] = words[..] else { return Err(format!("'{card}' is no card")) };
        let [memory_bytes] = numbers(&asked.ask("total")?)?;
        let facts = Facts {
            name: name.replace('_', " "),
            driver: watcher.ask("nvml driver")?,
            cuda: cuda as u64,
            uuid: uuid_bytes(uuid).ok_or_else(|| format!("'{uuid}' names no card"))?,
            sms: sms as u64,
            compute: (major as u64, minor as u64),
            memory_bytes: memory_bytes as u64,
            is_fake: facts.ends_with("fake"),
        };
        if facts.compute.0 < 7 {
            let (major, minor) = facts.compute;
            return Err(no_card(format!("{} has compute capability {major}.{minor}", facts.name)));
        }
        let (slices, watcher) = (Cell::new(0), RefCell::new(watcher));
        Ok(Self { options, facts, folder, slices, watcher })
    }

    /// A folder with limits.
    pub(crate) fn slice(&self, limits: Limits) -> Result<Slice, String> {
        self.slices.set(self.slices.get() + 1);
        let folder = self.folder.path().join(format!("slice{}", self.slices.get()));
        Slice::create(folder, self.facts.uuid, limits, self.options.loosen_percent)
            .map_err(|error| format!("make a slice: {error}"))
    }

    /// A program that has the card to itself, as far as it knows.
    pub(crate) fn bare(&self) -> Result<Tenant, String> {
        let mut tenant = Tenant::start(program(None, self.options)?)?;
        tenant.ask("init")?;
        Ok(tenant)
    }

    /// A program in a slice.
    pub(crate) fn tenant(&self, slice: &Slice) -> Result<Tenant, String> {
        let mut tenant = Tenant::start(program(Some(slice), self.options)?)?;
        tenant.ask("init")?;
        Ok(tenant)
    }

    /// Insists that the library is in a slice's programs, for checks that hold without it too.
    pub(crate) fn insist(&self, slice: &Slice) -> Result<(), String> {
        let [total] = numbers(&self.tenant(slice)?.ask("total")?)?;
        match slice.limits.memory {
            Some(limit) if total == limit as f64 => Ok(()),
            Some(limit) => Err(format!("the library is not in: {total} bytes, not {limit}")),
            None => Err("the slice has no memory limit to know the library by".to_owned()),
        }
    }

    /// Another program in a slice, or outside.
    pub(crate) fn put(&self, command: &mut Command, slice: Option<&Slice>) {
        set_up(command, slice, self.options);
    }

    /// Asks NVML from outside.
    pub(crate) fn watch(&self, line: &str) -> Result<String, String> {
        self.watcher.borrow_mut().ask(line)
    }

    /// What the card's memory holds, as NVML says from outside.
    pub(crate) fn used(&self) -> Result<u64, String> {
        let [used] = numbers(&self.watch("nvml used 0")?)?;
        Ok(used as u64)
    }

    /// One of two, by the pace.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        match self.options.pace {
            Pace::Full => full,
            Pace::Quick => quick,
        }
    }

    /// How far a figure may be off.
    pub(crate) fn around(&self, wanted: f64, off: f64, off_quick: f64) -> Bar {
        Bar::around(wanted, self.pick(off, off_quick))
    }

    /// A memory limit that is large, and well within the card.
    pub(crate) fn memory_limit(&self) -> u64 {
        (self.facts.memory_bytes / 4).min(self.pick(8 * GIB, GIB)) / (64 * MIB) * (64 * MIB)
    }

    /// Work whose submissions take about so long on the bare card; of a graph, its kernels do.
    pub(crate) fn load(&self, kernel_ns: u64, nodes: Option<u64>) -> Result<Load, String> {
        let mut tenant = self.bare()?;
        let mut load = Load { loops: 1_000_000, sms: self.facts.sms, nodes: None, bare_ns: 1.0 };
        // The first span is for the card's clocks to rise.
        for ms in [self.pick(500, 50), self.pick(300, 50)] {
            load.bare_ns = per_submission(&tenant.ask(&load.spend(ms))?)?;
        }
        load.loops = (kernel_ns as f64 / (load.bare_ns / load.loops as f64)).max(1.0) as u64;
        load.nodes = nodes;
        load.prepare(&mut tenant)?;
        // What the machine does meanwhile only ever leaves gaps between kernels, so the least counts;
        // and many kernels wait, so that there are few.
        let line = format!("{} ahead=32", load.spend(self.pick(250, 80)));
        load.bare_ns = f64::INFINITY;
        for _ in 0..self.pick(5, 4) {
            load.bare_ns = load.bare_ns.min(per_submission(&tenant.ask(&line)?)?);
        }
        // The known amount of work is what all figures of compute stand on.
        let wanted_ns = (kernel_ns * nodes.unwrap_or(1)) as f64;
        match (wanted_ns * 0.5..wanted_ns * 2.0).contains(&load.bare_ns) {
            true => Ok(load),
            false => Err(format!(
                "{} loops take {:.0} ns where {wanted_ns} were wanted",
                load.loops, load.bare_ns
            )),
        }
    }
}

impl Load {
    /// Makes what a program needs for it.
    pub(crate) fn prepare(&self, tenant: &mut Tenant) -> Result<(), String> {
        let Some(nodes) = self.nodes else { return Ok(()) };
        tenant.ask(&format!("graph g {} {nodes} {}", self.loops, self.shape())).map(drop)
    }

    /// The line for so many milliseconds of it.
    pub(crate) fn spend(&self, ms: u64) -> String {
        match self.nodes {
            Some(_) => format!("spend {ms} graph=g"),
            None => format!("spend {ms} loops={} {}", self.loops, self.shape()),
        }
    }

    /// The part of the card that an answer means, in per cent.
    pub(crate) fn share(&self, answer: &str) -> Result<f64, String> {
        let [count, wall_ns] = numbers(answer)?;
        Ok(count * self.bare_ns * 100.0 / wall_ns.max(1.0))
    }

    fn shape(&self) -> String {
        format!("blocks={} threads=256", self.sms * 4)
    }
}

/// Nanoseconds of a submission.
pub(crate) fn per_submission(answer: &str) -> Result<f64, String> {
    let [count, wall_ns] = numbers(answer)?;
    Ok(wall_ns / count.max(1.0))
}

impl Tenant {
    fn start(command: Command) -> Result<Self, String> {
        TenantProcess::spawn(command).map(Self).map_err(|error| {
            format!("a tenant does not start: {error}\nhint: the NVIDIA driver must be installed")
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// What stands behind `ok`; an error is what the tenant said instead.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String, String> {
        self.tell(line)?;
        self.answer(line)
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<(), String> {
        self.0.tell(line).map_err(|error| format!("{line}: {error}"))
    }

    pub(crate) fn answer(&mut self, line: &str) -> Result<String, String> {
        let answer = self.0.answer(line).map_err(|error| format!("{line}: {error}"))?;
        match answer.strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(format!("{line}: {answer}")),
        }
    }

    /// Insists that the driver refuses for want of memory.
    pub(crate) fn must_lack_memory(&mut self, line: &str) -> Result<(), String> {
        match self.ask(line) {
            Ok(_) => Err(format!("'{line}' was granted")),
            Err(said) if said.contains("error 2 ") => Ok(()),
            Err(said) => Err(said),
        }
    }

    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.0.kill().map_err(|error| error.to_string())
    }
}

/// The first numbers of an answer.
pub(crate) fn numbers<const N: usize>(answer: &str) -> Result<[f64; N], String> {
    let mut words = answer.split(' ');
    let mut numbers = [0.0; N];
    for number in &mut numbers {
        let word = words.next().unwrap_or_default();
        *number = word.parse().map_err(|_| format!("'{answer}' has not {N} numbers"))?;
    }
    Ok(numbers)
}

fn program(slice: Option<&Slice>, options: &Options) -> Result<Command, String> {
    let own = env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let mut command = Command::new(own);
    command.arg("tenant").stderr(Stdio::inherit());
    set_up(&mut command, slice, options);
    Ok(command)
}

fn set_up(command: &mut Command, slice: Option<&Slice>, options: &Options) {
    command.env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    for name in ["LD_PRELOAD", SLICE_VARIABLE, "CUDA_VISIBLE_DEVICES"] {
        command.env_remove(name);
    }
    if let (Some(slice), Some(library)) = (slice, &options.library) {
        command.env("LD_PRELOAD", library).env(SLICE_VARIABLE, slice.folder());
    }
}

fn no_card(said: String) -> String {
    format!(
        "there is no card that can be used here: {said}\n\
         hint: this needs an NVIDIA card of compute capability 7.0 or newer and its driver"
    )
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.strip_prefix("GPU-")?.bytes().filter(|byte| *byte != b'-').collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect::<Option<Vec<u8>>>()?.try_into().ok()
}
