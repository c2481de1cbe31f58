//! Members that MPS holds: served before they start, watched for whether they really are, let go
//! when their run has ended.
//!
//! CUDA says nothing where it runs without MPS, so that a member which no server names is not held
//! whatever its slice says. It is told so, and of the death of a server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use cotenant_device::{
    CardSettings, Held, MpsClient, MpsConfig, MpsGroups, NvidiaModes, Unattached, Waits,
    marked_processes,
};
use cotenant_sched::Run;

use super::folder::{self, MARK, MEMBER};
use super::said::{MemberOf, Said, member_name, whole};

/// How long a member has to use CUDA for the first time; it may read much before.
const ATTACH_WAIT: Duration = Duration::from_secs(600);

/// The members that MPS holds, for the executor, its watchers and the meter.
#[derive(Clone)]
pub(crate) struct Served(Arc<Mutex<Inner>>);

struct Inner {
    /// Or why there are none.
    groups: Result<MpsGroups, String>,
    said: Said,
}

impl Served {
    /// Members of a pool that keeps its groups in a folder, and may change settings of cards or not.
    pub(crate) fn open(folder: &Path, settings: CardSettings) -> Self {
        Self::with(MpsConfig {
            folder: folder.to_owned(),
            program: "nvidia-cuda-mps-control".into(),
            waits: Waits::default(),
            settings,
            modes: Box::new(NvidiaModes),
        })
    }

    fn with(config: MpsConfig) -> Self {
        let groups = MpsGroups::open(config).map_err(|error| whole(&error));
        Self(Arc::new(Mutex::new(Inner { groups, said: Said::default() })))
    }

    /// Makes ready what a member with these slices needs of MPS; gives the variables that it is
    /// told by, none if MPS holds none of them.
    pub(super) fn join(
        &self,
        member: MemberOf<'_>,
        held: &[Held<'_>],
    ) -> Result<BTreeMap<String, String>, String> {
        let name = member.name();
        let uid = rustix::process::geteuid().as_raw();
        let client = MpsClient::of(&name, uid, held).map_err(|error| whole(&error))?;
        let Some(client) = client else { return Ok(BTreeMap::new()) };
        let mut inner = self.lock();
        let groups = inner.groups.as_mut().map_err(|why| why.clone())?;
        let joined = groups.join(&client).map_err(|error| whole(&error))?;
        inner.said.add(member);
        for note in &joined.notes {
            inner.said.say(&name, note);
        }
        let env = joined.env.into_iter();
        Ok(env.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Watches, from a thread of its own, whether a member that has started becomes a client.
    pub(super) fn watch(&self, member: MemberOf<'_>) {
        let name = member.name();
        let control = self.lock().groups.as_ref().ok().and_then(|it| it.control_of(&name));
        let Some(control) = control else { return };
        let (mark, number) = (member.folder.mark(), member.number.to_string());
        let served = self.clone();
        thread::spawn(move || {
            let processes = || {
                let marked = marked_processes(&[MARK, MEMBER]).into_iter();
                let ours = marked.filter(|it| it.marks == [mark.as_str(), number.as_str()]);
                ours.map(|it| it.pid).collect::<Vec<u32>>()
            };
            match control.wait_for_client(&processes, ATTACH_WAIT) {
                // One that has ended says by its end what there is to say.
                Ok(_) | Err(Unattached::Gone) => {}
                Err(why) => served.lock().said.say(&name, &whole(&why)),
            }
        });
    }

    /// Lets go of members of a run that has ended or will never begin.
    pub(super) fn leave(&self, run: &Run, numbers: impl Iterator<Item = u32>) {
        let mut inner = self.lock();
        for number in numbers {
            let name = member_name(run, number);
            let left = inner.groups.as_mut().ok().and_then(|groups| groups.leave(&name).err());
            if let Some(error) = left {
                inner.said.say(&name, &whole(&error));
            }
            inner.said.remove(&name);
        }
    }

    /// After a restart: keeps the members of runs that have not ended, and lets go of all others.
    pub(super) fn adopt(&self, runs: &Path) {
        let mut inner = self.lock();
        for (folder, file) in folder::alive(runs) {
            for member in &file.members {
                let member = MemberOf { run: &file.run, folder: &folder, number: member.number };
                inner.said.add(member);
            }
        }
        let alive = inner.said.names();
        if let Ok(groups) = inner.groups.as_mut() {
            // What cannot be ended now is found again at the next start.
            let _ = groups.retain(&alive);
        }
    }

    /// Looks whether daemons and servers live, and tells those that they served.
    pub(crate) fn look(&self) {
        let mut inner = self.lock();
        let down = inner.groups.as_mut().map(MpsGroups::look).unwrap_or_default();
        for group in down {
            group.clients.iter().for_each(|name| inner.said.say(name, &group.why));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cotenant_device::{ComputeMode, ComputeModes};
    use cotenant_types::{
        Card, CardId, CardKind, Generation, JobId, Mebibytes, Rung, Share, Site, Slice, Span,
    };

    use super::*;
    use crate::executor::folder::{MemberFile, RunFile, RunFolder};

    #[derive(Debug)]
    struct Open;

    impl ComputeModes for Open {
        fn read(&self, _: &CardId) -> Result<ComputeMode, String> {
            Ok(ComputeMode::Default)
        }

        fn set(&self, card: &CardId, _: ComputeMode) -> Result<(), String> {
            Err(format!("nobody may change {card}"))
        }
    }

    fn served(folder: &Path) -> Served {
        let seconds = Duration::from_secs(20);
        Served::with(MpsConfig {
            folder: folder.join("m"),
            program: folder.join("control"),
            waits: Waits { start: seconds, answer: seconds, quit: seconds },
            settings: CardSettings::Keep,
            modes: Box::new(Open),
        })
    }

    fn held(rung: Rung) -> (Card, Slice) {
        let card = Card {
            id: "GPU-1".parse().unwrap(),
            node: "here".parse().unwrap(),
            index: 0,
            kind: CardKind::Nvidia,
            model: String::new(),
            memory: Mebibytes(81_920),
            cores: 0,
            site: Site::default(),
            rungs: vec![rung],
            mig: None,
        };
        let compute = Share::from_per_mille(300).unwrap();
        let slice = Slice {
            card: card.id.clone(),
            memory: Span { request: Mebibytes(2048), limit: Mebibytes(2048) },
            compute: Span { request: compute, limit: compute },
            whole: false,
            enforced_by: rung,
            mig: None,
        };
        (card, slice)
    }

    /// A run of one member that has been written down.
    fn run(runs: &Path) -> (Run, RunFolder) {
        let run = Run { job: JobId(7), generation: Generation(1), node: "here".parse().unwrap() };
        let folder = RunFolder::of(runs, &run);
        folder.create().unwrap();
        let member = MemberFile { number: 0, env: BTreeMap::new(), group: None };
        let (program, place) = (vec!["true".to_owned()], runs.to_owned());
        let members = vec![member];
        folder.write_run(&RunFile { run: run.clone(), program, folder: place, members }).unwrap();
        (run, folder)
    }

    #[test]
    fn a_member_is_served_from_before_its_start_to_its_end() {
        let temporary = tempfile::tempdir().unwrap();
        let fake = "../device/tests/mps/nvidia-cuda-mps-control";
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join(fake);
        std::os::unix::fs::symlink(fake, temporary.path().join("control")).unwrap();
        let runs = temporary.path().join("runs");
        let (run, folder) = run(&runs);
        let member = MemberOf { run: &run, folder: &folder, number: 0 };
        let served_now = served(temporary.path());
        let join = |served: &Served, rung| {
            let (card, slice) = held(rung);
            served.join(member, &[Held { slice: &slice, card: &card, partition: None }])
        };
        assert_eq!(join(&served_now, Rung::TimeSlice), Ok(BTreeMap::new()));
        let env = join(&served_now, Rung::Mps).unwrap();
        let pipe = Path::new(&env["CUDA_MPS_PIPE_DIRECTORY"]);
        assert!(pipe.join("control").exists());
        let said = || fs::read_to_string(folder.log("stderr", 0)).unwrap();
        assert!(said().contains("[cotenant: card GPU-1 is in compute mode default"), "{}", said());

        // Another daemon of the pool finds it, and keeps it as long as the run has not ended.
        let later = served(temporary.path());
        later.adopt(&runs);
        assert!(pipe.join("control").exists());
        later.look();
        let before = said();
        let number: i32 = fs::read_to_string(pipe.join("control")).unwrap().trim().parse().unwrap();
        let daemon = rustix::process::Pid::from_raw(number).unwrap();
        rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
        while said() == before {
            later.look();
        }
        let told = said();
        assert!(told.contains("control daemon has ended"), "{told}");
        later.look();
        assert_eq!(said(), told, "it is said once");
        later.leave(&run, [0].into_iter());
        assert!(!pipe.exists());
        later.leave(&run, [0].into_iter());
    }

    #[test]
    fn without_a_control_program_a_member_does_not_start() {
        let temporary = tempfile::tempdir().unwrap();
        let (run, folder) = run(&temporary.path().join("runs"));
        let (card, slice) = held(Rung::Mps);
        let member = MemberOf { run: &run, folder: &folder, number: 0 };
        let refused = served(temporary.path())
            .join(member, &[Held { slice: &slice, card: &card, partition: None }]);
        let why = refused.unwrap_err();
        assert!(why.contains("comes with the NVIDIA driver") && why.contains("(os error"), "{why}");
    }
}
