//! Members that the preload library holds: given their pages before they start, and told while they
//! run what their neighbours do and what the driver saw of them.
//!
//! ```text
//! start, resize   slices            -> slices.N.json, then the page in slice.N/
//! each 10 ms      who wants compute -> what each must know of its neighbours
//! each 2 s        the driver's view -> compute that it saw, memory beyond what was asked for
//! ```

mod neighbours;
mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotenant_device::{Held, ProcessUse, SlicePages, SliceUsage};
use cotenant_sched::Run;
use cotenant_types::limits::{LimitPage, OnFailure, SLICE_VARIABLE};
use cotenant_types::{CardId, MemberSlices, Policy};
use rustix::time::{ClockId, clock_gettime};

use super::folder::{self, RunFolder};
use super::said::{MemberOf, Said, member_name, whole};
use neighbours::{Part, neighbours};
pub(crate) use page::Intercepts;

/// What loads the library before a program's own.
pub(super) const PRELOAD: &str = "LD_PRELOAD";

/// How soon a neighbour that begins to work has its own again, and what it costs when all are busy.
const TEND_EACH: Duration = Duration::from_millis(10);
/// How often it is looked whether there is anything to tend.
const LOOK_EACH: Duration = Duration::from_millis(100);
/// Who wanted nothing for so long is idle. It is the time that a slice may catch up with, so that a
/// pause between two kernels does not make it idle.
const ACTIVE_NS: u64 = 200_000_000;
/// How long a slice that must give back submits nothing: as long as work lasts that it may have
/// under way.
const GIVE_BACK_NS: u64 = 100_000_000;
/// Looks in a row after which a program that uses a card without the library is told of.
const UNHELD_LOOKS: u32 = 3;

/// What members held at one time by the library's count, by name and place on the page.
#[derive(Default)]
pub(crate) struct HeldBefore(BTreeMap<String, Vec<u64>>);

/// What the library counted of a member, by card.
pub(crate) type Counted = BTreeMap<CardId, SliceUsage>;

/// The members that the preload library holds, for the executor and the meter.
#[derive(Clone)]
pub(crate) struct Intercepted(Arc<Mutex<Inner>>);

struct Inner {
    /// The library, or why there is none.
    library: Result<PathBuf, String>,
    /// What becomes of a program that it cannot hold.
    unheld: OnFailure,
    members: BTreeMap<String, Member>,
    said: Said,
}

struct Member {
    folder: RunFolder,
    number: u32,
    intercepts: Intercepts,
    pages: SlicePages,
    page: LimitPage,
    /// What the driver saw, by place on the page.
    seen: Vec<Seen>,
}

/// What the driver saw of a slice.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// When it was last looked; 0 for never.
    at_ns: u64,
    busy_ns: u64,
    /// The driver says how busy processes keep the card.
    is_told: bool,
    /// Looks in a row at which it had memory of the card of which the library knew nothing.
    unheld: u32,
}

impl Intercepted {
    /// No members yet, the library that is to hold them, and what becomes of those that it cannot
    /// hold.
    pub(crate) fn open(library: Result<PathBuf, String>, unheld: OnFailure) -> Self {
        let (members, said) = (BTreeMap::new(), Said::default());
        Self(Arc::new(Mutex::new(Inner { library, unheld, members, said })))
    }

    /// Makes ready what a member with these slices needs of the library; gives the variables that
    /// it is told by, none if the library holds none of them.
    pub(super) fn join(
        &self,
        member: MemberOf<'_>,
        (held, policy): (&[Held<'_>], Policy),
    ) -> Result<BTreeMap<String, String>, String> {
        let Some(intercepts) = Intercepts::of(held, policy) else { return Ok(BTreeMap::new()) };
        let mut inner = self.lock();
        let library = inner.library.clone()?;
        let kept = member.folder.write_intercepts(member.number, &intercepts);
        kept.map_err(|error| format!("failed to keep its slices: {error}"))?;
        inner.take_up(member, intercepts)?;
        inner.tend();
        let slice = member.folder.slice(member.number).canonicalize();
        let slice = slice.map_err(|error| format!("failed to find its slice's pages: {error}"))?;
        let variables = [(PRELOAD, library), (SLICE_VARIABLE, slice)];
        Ok(variables.map(|(name, path)| (name.to_owned(), path.display().to_string())).into())
    }

    /// Holds members of a run to other limits.
    pub(super) fn set_limits(
        &self,
        run: &Run,
        numbered: impl Iterator<Item = (u32, MemberSlices)>,
    ) {
        let mut inner = self.lock();
        for (number, slices) in numbered {
            let name = member_name(run, number);
            let Some(member) = inner.members.get_mut(&name) else { continue };
            if let Err(why) = member.resize(&slices.slices) {
                inner.said.say(&name, &why);
            }
        }
        inner.tend();
    }

    /// Lets go of members of a run that has ended or will never begin.
    pub(super) fn leave(&self, run: &Run, numbers: impl Iterator<Item = u32>) {
        let mut inner = self.lock();
        for number in numbers {
            let name = member_name(run, number);
            inner.members.remove(&name);
            inner.said.remove(&name);
        }
    }

    /// After a restart: keeps the members of runs that have not ended.
    pub(super) fn adopt(&self, runs: &Path) {
        let mut inner = self.lock();
        for (folder, file) in folder::alive(runs) {
            for member in &file.members {
                let number = member.number;
                let Ok(intercepts) = folder.read_intercepts(number) else { continue };
                let member = MemberOf { run: &file.run, folder: &folder, number };
                if let Err(why) = inner.take_up(member, intercepts) {
                    inner.said.say(&member.name(), &why);
                }
            }
        }
        inner.tend();
    }

    /// Tells each what its neighbours do; gives how long that holds.
    pub(crate) fn tend(&self) -> Duration {
        match self.lock().tend() {
            true => TEND_EACH,
            false => LOOK_EACH,
        }
    }

    /// What members hold before the driver is asked: what they free while it is would seem to be
    /// held beside what the library counts.
    pub(crate) fn held(&self) -> HeldBefore {
        let inner = self.lock();
        let held = |member: &Member| {
            let places = 0..member.page.cards.len();
            places.map(|place| member.pages.usage(place).map_or(0, |usage| usage.held.0)).collect()
        };
        let members = inner.members.iter().map(|(name, member)| (name.clone(), held(member)));
        HeldBefore(members.collect())
    }

    /// Whether any member is held.
    pub(crate) fn holds_any(&self) -> bool {
        !self.lock().members.is_empty()
    }

    /// Passes on what the driver saw of members, whose processes are told by the members' names;
    /// gives what the library counted of each.
    pub(crate) fn look(
        &self,
        before: &HeldBefore,
        processes: &[ProcessUse],
        pids: &BTreeMap<String, Vec<u32>>,
    ) -> BTreeMap<String, Counted> {
        let mut inner = self.lock();
        let Inner { members, said, .. } = &mut *inner;
        let mut counted = BTreeMap::new();
        for (name, member) in members {
            let own = pids.get(name).map(Vec::as_slice).unwrap_or_default();
            let of_member = processes.iter().filter(|it| own.contains(&it.pid));
            let of_member: Vec<&ProcessUse> = of_member.collect();
            let before = before.0.get(name).map(Vec::as_slice).unwrap_or_default();
            match member.look(before, &of_member, &mut |what| said.say(name, what)) {
                Ok(usage) => drop(counted.insert(name.clone(), usage)),
                Err(why) => said.say(name, &why),
            }
        }
        counted
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Makes the pages of a member whose slices are kept; neighbours are told of it later.
    fn take_up(&mut self, member: MemberOf<'_>, intercepts: Intercepts) -> Result<(), String> {
        self.said.add(member);
        let (folder, number) = (member.folder.clone(), member.number);
        let page = intercepts.page(self.unheld)?;
        let pages = SlicePages::create(&folder.slice(number), &page);
        let pages = pages.map_err(|error| whole(&error))?;
        let seen = vec![Seen::default(); page.cards.len()];
        let name = member.name();
        self.members.insert(name, Member { folder, number, intercepts, pages, page, seen });
        Ok(())
    }

    /// Tells each what its neighbours do; says whether that may change soon.
    fn tend(&mut self) -> bool {
        let now_ns = steady_ns();
        let mut by_card: BTreeMap<CardId, Vec<(String, usize)>> = BTreeMap::new();
        for (name, member) in &self.members {
            for (place, slice) in member.intercepts.slices.iter().enumerate() {
                by_card.entry(slice.card.clone()).or_default().push((name.clone(), place));
            }
        }
        let mut may_change = false;
        for places in by_card.values() {
            let part = |(name, place): &(String, usize)| self.members[name].part(*place, now_ns);
            let parts: Vec<Part> = places.iter().map(part).collect();
            may_change |= parts.len() > 1 && parts.iter().any(|it| it.policy != Policy::Fixed);
            for ((name, place), told) in places.iter().zip(neighbours(&parts)) {
                let member = self.members.get_mut(name).expect("it was there");
                if std::mem::replace(&mut member.page.cards[*place].neighbours, told) != told
                    && let Err(why) = member.write()
                {
                    self.said.say(name, &why);
                }
            }
        }
        may_change
    }
}

impl Member {
    fn resize(&mut self, slices: &[cotenant_types::Slice]) -> Result<(), String> {
        let must_give_back = self.intercepts.resize(slices);
        let kept = self.folder.write_intercepts(self.number, &self.intercepts);
        kept.map_err(|error| format!("failed to keep its new limits: {error}"))?;
        let until_ns = steady_ns() + GIVE_BACK_NS;
        let new = self.intercepts.page(self.page.on_failure)?;
        for (card, new) in self.page.cards.iter_mut().zip(new.cards) {
            (card.memory, card.compute) = (new.memory, new.compute);
            if must_give_back {
                card.hold_until_ns = until_ns;
            }
        }
        self.write()
    }

    /// A slice among those of its card. What cannot be read is taken to work.
    fn part(&self, place: usize, now_ns: u64) -> Part {
        let wanted_at_ns = self.pages.wanted_at_ns(place).unwrap_or(now_ns);
        let slice = &self.intercepts.slices[place];
        Part {
            policy: self.intercepts.policy,
            compute: slice.compute,
            is_active: now_ns.saturating_sub(wanted_at_ns) < ACTIVE_NS,
        }
    }

    fn look(
        &mut self,
        before: &[u64],
        processes: &[&ProcessUse],
        say: &mut impl FnMut(&str),
    ) -> Result<Counted, String> {
        let now_ns = steady_ns();
        let mut counted = Counted::new();
        for (place, slice) in self.intercepts.slices.iter().enumerate() {
            let on_card = || processes.iter().filter(|it| it.card == slice.card);
            let usage = self.pages.usage(place).map_err(|error| whole(&error))?;
            let (seen, card) = (&mut self.seen[place], &mut self.page.cards[place]);
            let memory: u64 =
                on_card().filter_map(|it| it.memory_used).map(|it| page::bytes(it).0).sum();
            let held = before.get(place).map_or(usage.held.0, |before| usage.held.0.max(*before));
            card.overhead.0 = memory.saturating_sub(held);
            // Each process that the library is in has registered, whichever cards it uses.
            let users = on_card().filter(|it| it.memory_used.is_some_and(|used| used.0 > 0));
            let is_unheld = users.count() > usage.processes as usize;
            seen.unheld = if is_unheld { seen.unheld + 1 } else { 0 };
            if seen.unheld == UNHELD_LOOKS {
                say(&format!(
                    "a program uses card {} without the preload library, so that nothing holds it \
                     to its slice; it may be linked statically, or clear LD_PRELOAD",
                    slice.card
                ));
            }
            seen.is_told |= on_card().any(|it| it.compute.is_some());
            if seen.is_told {
                let milli =
                    on_card().filter_map(|it| it.compute).map(|it| u64::from(it.per_mille()));
                let span_ns = now_ns - if seen.at_ns == 0 { now_ns } else { seen.at_ns };
                seen.busy_ns += span_ns.saturating_mul(milli.sum::<u64>().min(1000)) / 1000;
                (card.seen_busy_ns, card.seen_at_ns) = (seen.busy_ns, now_ns);
            }
            seen.at_ns = now_ns;
            counted.insert(slice.card.clone(), usage);
        }
        self.write()?;
        Ok(counted)
    }

    fn write(&mut self) -> Result<(), String> {
        self.pages.write(&self.page).map_err(|error| whole(&error))
    }
}

/// The machine's steady clock, by which the library goes.
fn steady_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let whole = |part: i64| u64::try_from(part).unwrap_or(0);
    whole(time.tv_sec) * 1_000_000_000 + whole(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cotenant_types::limits::{
        HeaderWord, LIMITS_FILE, Neighbours, SlotWord, USAGE_FILE, UsageLayout,
    };
    use cotenant_types::{Card, CardKind, Generation, JobId, Mebibytes, Rung, Share, Site, Slice};

    use super::page::tests::{CARD, slice};
    use super::*;
    use crate::executor::folder::{MemberFile, RunFile};

    fn card() -> Card {
        Card {
            id: CARD.parse().unwrap(),
            node: "here".parse().unwrap(),
            index: 0,
            kind: CardKind::Nvidia,
            model: String::new(),
            memory: Mebibytes(81_920),
            cores: 0,
            site: Site::default(),
            rungs: vec![Rung::Intercept],
            mig: None,
        }
    }

    /// A run of one member that has been written down.
    fn run(runs: &Path, job: u64) -> (Run, RunFolder) {
        let run = Run { job: JobId(job), generation: Generation(1), node: "here".parse().unwrap() };
        let folder = RunFolder::of(runs, &run);
        folder.create().unwrap();
        let members = vec![MemberFile { number: 0, env: BTreeMap::new(), group: None }];
        let (program, place) = (vec!["true".to_owned()], runs.to_owned());
        folder.write_run(&RunFile { run: run.clone(), program, folder: place, members }).unwrap();
        (run, folder)
    }

    fn join(
        held_by: &Intercepted,
        (run, folder): &(Run, RunFolder),
        (slice, policy): (&Slice, Policy),
    ) -> Result<BTreeMap<String, String>, String> {
        let member = MemberOf { run, folder, number: 0 };
        held_by.join(member, (&[Held { slice, card: &card(), partition: None }], policy))
    }

    fn page((_, folder): &(Run, RunFolder)) -> cotenant_types::limits::CardLimit {
        let bytes = fs::read(folder.slice(0).join(LIMITS_FILE)).unwrap();
        let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
        LimitPage::from_words(&words.collect::<Vec<u64>>()).unwrap().cards[0]
    }

    fn set_limits(held_by: &Intercepted, (run, _): &(Run, RunFolder), slice: Slice) {
        let slices = MemberSlices { node: run.node.clone(), slices: vec![slice] };
        held_by.set_limits(run, [(0, slices)].into_iter());
    }

    fn process(pid: u32, compute: Option<u32>, mib: u64) -> ProcessUse {
        let compute = compute.map(|milli| Share::from_per_mille(milli).unwrap());
        let memory_used = Some(Mebibytes(mib));
        ProcessUse { card: CARD.parse().unwrap(), pid, compute, memory_used }
    }

    #[test]
    fn members_are_told_of_their_slices_and_neighbours() {
        let temporary = tempfile::tempdir().unwrap();
        let runs = temporary.path().join("runs");
        let (one, other) = (run(&runs, 1), run(&runs, 2));
        let held_by = Intercepted::open(Ok("/lib/the library.so".into()), OnFailure::Refuse);
        let (borrower, fixed) = (slice(CARD, 10, (200, 1000)), slice(CARD, 20, (300, 300)));
        let env = join(&held_by, &one, (&borrower, Policy::Burst)).unwrap();
        assert_eq!(env[PRELOAD], "/lib/the library.so");
        let folder = one.1.slice(0).canonicalize().unwrap();
        assert_eq!(env[SLICE_VARIABLE], folder.display().to_string());
        assert_eq!(page(&one).neighbours, Neighbours::default());
        assert_eq!(held_by.tend(), LOOK_EACH);
        join(&held_by, &other, (&fixed, Policy::Fixed)).unwrap();
        let idle = Neighbours { count: 1, ..Neighbours::default() };
        assert_eq!([page(&one).neighbours, page(&other).neighbours], [idle, idle]);
        assert_eq!(held_by.tend(), TEND_EACH);

        // What is taken back is not used up first; what is resized otherwise holds nobody.
        set_limits(&held_by, &one, slice(CARD, 10, (200, 200)));
        let squeezed = page(&one);
        assert!(squeezed.hold_until_ns > steady_ns());
        assert_eq!(squeezed.compute.limit.per_mille(), 200);
        set_limits(&held_by, &other, slice(CARD, 30, (100, 100)));
        assert_eq!((page(&other).hold_until_ns, page(&other).memory.unwrap().0), (0, 30 << 20));

        // A daemon that comes back in the middle of a write knows what holds.
        let limits = fs::File::options().write(true).open(one.1.slice(0).join(LIMITS_FILE));
        std::os::unix::fs::FileExt::write_all_at(&limits.unwrap(), &[9; 40], 8).unwrap();
        let later = Intercepted::open(Err("there is no library".to_owned()), OnFailure::Refuse);
        other.1.write_exit(&cotenant_sched::Exit::Lost).unwrap();
        later.adopt(&runs);
        assert_eq!(page(&one).compute.limit.per_mille(), 200);
        assert_eq!(page(&one).neighbours, Neighbours::default());
        assert_eq!(later.lock().members.len(), 1);
        let why = join(&later, &other, (&fixed, Policy::Fixed)).unwrap_err();
        assert_eq!(why, "there is no library");
        later.leave(&one.0, [0, 1].into_iter());
        assert!(later.lock().members.is_empty());
    }

    #[test]
    fn what_the_driver_saw_is_passed_on_and_who_goes_around_is_told_of() {
        let temporary = tempfile::tempdir().unwrap();
        let one = run(&temporary.path().join("runs"), 1);
        let held_by = Intercepted::open(Ok("/lib/library.so".into()), OnFailure::Refuse);
        join(&held_by, &one, (&slice(CARD, 10, (200, 200)), Policy::Fixed)).unwrap();
        let pids = BTreeMap::from([("job-1-1-0".to_owned(), vec![7, 8])]);
        let look = |processes: &[ProcessUse]| {
            held_by.look(&held_by.held(), processes, &pids);
            page(&one)
        };
        assert_eq!(look(&[process(7, None, 0)]).seen_at_ns, 0, "the driver says nothing of it");
        let first =
            look(&[process(7, Some(500), 3), process(8, None, 4), process(9, Some(900), 9)]);
        assert_eq!((first.overhead.0, first.seen_busy_ns > 0), (7 << 20, true));
        let since = |earlier: u64, later: u64| (later - earlier) as f64;
        let next = look(&[process(7, Some(250), 3)]);
        let part =
            since(first.seen_busy_ns, next.seen_busy_ns) / since(first.seen_at_ns, next.seen_at_ns);
        assert!((0.24..=0.25).contains(&part), "{part}");
        let idle = look(&[]);
        assert_eq!((idle.seen_busy_ns, idle.overhead.0), (next.seen_busy_ns, 0));
        assert!(idle.seen_at_ns > next.seen_at_ns, "nothing was seen, and that is something");

        let said = || fs::read_to_string(one.1.log("stderr", 0)).unwrap_or_default();
        look(&[process(7, Some(250), 3)]);
        look(&[process(7, Some(250), 3)]);
        assert_eq!(said(), "", "it may be about to register");
        look(&[process(7, Some(250), 3)]);
        look(&[process(7, Some(250), 3)]);
        let told = said();
        assert_eq!(told.matches("without the preload library").count(), 1, "{told}");
    }

    /// What is freed between the driver's look and the library's is no overhead; and of several
    /// processes, one that is not registered is enough to be told of.
    #[test]
    fn what_is_freed_meanwhile_is_no_overhead_and_one_around_is_told_of() {
        let temporary = tempfile::tempdir().unwrap();
        let one = run(&temporary.path().join("runs"), 1);
        let held_by = Intercepted::open(Ok("/lib/library.so".into()), OnFailure::Refuse);
        join(&held_by, &one, (&slice(CARD, 10, (200, 200)), Policy::Fixed)).unwrap();
        let pids = BTreeMap::from([("job-1-1-0".to_owned(), vec![7, 8])]);
        let usage = fs::File::options().write(true).open(one.1.slice(0).join(USAGE_FILE)).unwrap();
        let put = |word: usize, value: u64| {
            let at = word as u64 * 8;
            std::os::unix::fs::FileExt::write_all_at(&usage, &value.to_ne_bytes(), at).unwrap();
        };
        put(HeaderWord::SLOTS_USED, 1);
        put(UsageLayout::slot(0, SlotWord::OWNER), 7);
        put(UsageLayout::slot(0, SlotWord::HELD), 900 << 20);
        let before = held_by.held();
        put(UsageLayout::slot(0, SlotWord::HELD), 100 << 20);
        held_by.look(&before, &[process(7, None, 1000)], &pids);
        assert_eq!(page(&one).overhead.0, 100 << 20);
        held_by.look(&held_by.held(), &[process(7, None, 150)], &pids);
        assert_eq!(page(&one).overhead.0, 50 << 20);

        let said = || fs::read_to_string(one.1.log("stderr", 0)).unwrap_or_default();
        assert_eq!(said(), "");
        for _ in 0..UNHELD_LOOKS {
            held_by.look(&held_by.held(), &[process(7, None, 150), process(8, None, 5)], &pids);
        }
        assert!(said().contains("without the preload library"), "{}", said());
    }

    #[test]
    fn whole_cards_and_other_rungs_are_not_the_librarys() {
        let temporary = tempfile::tempdir().unwrap();
        let one = run(&temporary.path().join("runs"), 1);
        let held_by = Intercepted::open(Err("there is no library".to_owned()), OnFailure::Refuse);
        let own = slice(CARD, 10, (200, 200));
        for slice in
            [Slice { whole: true, ..own.clone() }, Slice { enforced_by: Rung::TimeSlice, ..own }]
        {
            assert_eq!(join(&held_by, &one, (&slice, Policy::Fixed)), Ok(BTreeMap::new()));
        }
    }
}
