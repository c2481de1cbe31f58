//! Folds looks into counts.

use std::collections::BTreeSet;

use super::files::Files;
use super::look::Seen;
use super::page::TracePage;
use super::tree::Tree;
use crate::card::CardCounts;
use crate::held::{Doing, Held, Lead, held};
use crate::observed::{Note, Observed, ProcessCounts};

/// Looks after which a process must have loaded the library if it ever does.
const LOOKS_UNTIL_LOADED: u64 = 20;
/// Files are looked at in one look of so many.
const LOOKS_PER_FILES: u64 = 2;
/// In such a look, the files of so many processes.
const PROCESSES_OF_FILES: usize = 4;
/// Below this, a program ended before much was seen.
const LOOKS_FEW: u64 = 20;

/// How long a look stands for at most, in periods: where the watcher itself was held up, nobody
/// knows what happened meanwhile.
const PERIODS_MAX: u64 = 4;

/// Counts that grow with every look.
#[derive(Debug, Default)]
pub(super) struct Tally {
    observed: Observed,
    files: Files,
    has_card: bool,
    users: BTreeSet<u64>,
    denied: BTreeSet<u32>,
    checked: BTreeSet<u32>,
}

/// A moment at which the program was looked at.
pub(super) struct Moment<'a> {
    pub(super) tree: &'a Tree,
    pub(super) seen: &'a Seen,
    pub(super) page: Option<&'a TracePage>,
    /// Since the look before.
    pub(super) passed_ns: u64,
    pub(super) period_ns: u64,
}

impl Tally {
    /// Takes in a look.
    pub(super) fn add(&mut self, moment: &Moment<'_>) {
        let Moment { tree, seen, .. } = moment;
        self.observed.looks += 1;
        self.observed.wall_ns += moment.passed_ns;
        let cards = moment.page.map(TracePage::read).unwrap_or_default();
        self.users.extend(cards.iter().map(CardCounts::pid));
        let card = cards.into_iter().max_by_key(CardCounts::submissions);
        if card.is_some() && !self.has_card {
            self.begin_card();
        }
        let lead = self.lead(tree, card.as_ref());
        let is_idle = card.as_ref().is_none_or(CardCounts::is_waiting_for_program);
        if let Some(card) = card {
            self.observed.card = Some(card);
        }
        if is_idle {
            let held = held(lead, &seen.threads);
            let ns = moment.passed_ns.min(moment.period_ns * PERIODS_MAX);
            *self.observed.held.entry(held).or_default() += ns;
            if held == Held::ByWriting {
                for (pid, file) in &seen.written {
                    self.files.waited(&tree.proc, *pid, *file, ns);
                }
            }
        }
        if self.observed.looks.is_multiple_of(LOOKS_PER_FILES) {
            self.look_at_files(tree, seen);
        }
        self.check(tree, lead.pid, moment.page.is_some());
    }

    /// Takes in what processes used.
    pub(super) fn count(&mut self, tree: &Tree, grown: &[(u32, ProcessCounts)]) {
        let lead = self.lead(tree, self.observed.card.as_ref()).pid;
        for (pid, counts) in grown {
            let sum = match *pid == lead {
                true => &mut self.observed.lead,
                false => &mut self.observed.others,
            };
            *sum = sum.plus(*counts);
        }
        let denied = tree.processes.iter().filter(|(_, process)| process.is_denied());
        self.denied.extend(denied.map(|(pid, _)| *pid));
    }

    /// All that was seen.
    pub(super) fn finish(mut self, tree: &Tree, page: Option<&TracePage>) -> Observed {
        // The last calls were made after the last look.
        let cards = page.map(TracePage::read).unwrap_or_default();
        let last = cards.into_iter().max_by_key(CardCounts::submissions);
        if let Some(last) = last {
            self.observed.card = Some(last);
        }
        let notes = &mut self.observed.notes;
        if !self.denied.is_empty() {
            notes.push(Note::Denied { processes: self.denied.len() as u64 });
        }
        if tree.is_cut {
            notes.push(Note::TooMany);
        }
        if self.users.len() > 1 {
            notes.push(Note::SeveralUseCards { processes: self.users.len() as u64 });
        }
        if self.observed.looks < LOOKS_FEW {
            notes.push(Note::Brief);
        }
        notes.sort();
        self.observed.files = self.files.read();
        self.observed.written = self.files.written();
        self.observed.cores = std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
        self.observed
    }

    /// With the first work for a card begins what counts: what came before made the program ready.
    fn begin_card(&mut self) {
        self.has_card = true;
        self.observed.held.clear();
        self.observed.lead = ProcessCounts::default();
        self.observed.others = ProcessCounts::default();
        self.files = Files::default();
    }

    /// Who submits; where nobody does, or it is counted elsewhere, the process that does the work.
    fn lead(&self, tree: &Tree, card: Option<&CardCounts>) -> Lead {
        let submits = card.and_then(|card| {
            let pid = u32::try_from(card.pid()).ok()?;
            let tid = u32::try_from(card.thread()).ok()?;
            let process = tree.processes.get(&pid)?;
            process.threads.contains_key(&tid).then_some(Lead { pid, tid, submits: true })
        });
        submits.unwrap_or_else(|| {
            let pid = tree.worker();
            Lead { pid, tid: pid, submits: false }
        })
    }

    fn look_at_files(&mut self, tree: &Tree, seen: &Seen) {
        let brings = |doing| matches!(doing, Doing::Runs | Doing::ReadsFile | Doing::OpensFile);
        let busy = seen.threads.iter().filter(|thread| brings(thread.doing));
        let pids: BTreeSet<u32> = busy.map(|thread| thread.pid).collect();
        self.files.look(&tree.proc, pids.into_iter().take(PROCESSES_OF_FILES));
    }

    /// Whether the process that matters has loaded the library.
    fn check(&mut self, tree: &Tree, pid: u32, has_library: bool) {
        let looks = tree.processes.get(&pid).map_or(0, |process| process.looks);
        if !has_library || looks < LOOKS_UNTIL_LOADED || !self.checked.insert(pid) {
            return;
        }
        let is_loaded = tree.proc.maps(pid, &["libcotenant_shim.so"]);
        if is_loaded.is_some_and(|found| !found[0]) {
            self.observed.notes.push(Note::CardUnseen { pid });
        }
    }
}
