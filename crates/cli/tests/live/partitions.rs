//! Jobs on cards in MIG mode, in a real daemon over an NVML of our own.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{JobRequest, JobState};
use cotenant_fake_cards::{Cards, Description, Recorded, install};
use tempfile::TempDir;

use crate::daemon::Daemon;

const ANSWERS: &str = include_str!("../../../device/tests/nvidia/answers/h100-mig.txt");
const WAIT: Duration = Duration::from_secs(30);
const LOOK_EACH: Duration = Duration::from_millis(20);

/// Two cards in MIG mode, and the daemon that finds them.
struct World {
    cards: Cards,
    daemon: Daemon,
    folder: TempDir,
}

impl World {
    fn new(flags: &[&str], prepare: impl FnOnce(&Cards)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cards");
        let words = "name=NVIDIA_H100,memory=80GiB,sms=132,mig=on,count=2";
        let description = Description::parse(words, "driver=12040").unwrap();
        let cards = Cards::create(&file, &description).unwrap();
        let recorded = Recorded::parse(ANSWERS).unwrap();
        (0..2).for_each(|card| cards.play(card, &recorded));
        prepare(&cards);
        let lib = folder.path().join("lib");
        install(&lib, &[]).unwrap();
        let env = [("COTENANT_FAKE_DRIVER", file), ("LD_LIBRARY_PATH", lib)];
        let daemon = Daemon::start_in("auto", flags, &env);
        Self { cards, daemon, folder }
    }

    /// Submits a job that shows what it sees, and waits for a file or ends at once.
    fn submit(&self, memory: &str) -> (u64, PathBuf) {
        let client = self.daemon.client();
        let go = self.folder.path().join("go").display().to_string();
        let script = format!(
            "echo \"$CUDA_VISIBLE_DEVICES $COTENANT_MEMORY_MIB\"; until [ -e {go} ]; do sleep 0.02; done"
        );
        let request = JobRequest {
            command: ["sh", "-c", &script].map(str::to_owned).to_vec(),
            memory: Some(memory.to_owned()),
            compute: Some("10%".to_owned()),
            enforced_by: Some("mig".to_owned()),
            ..JobRequest::default()
        };
        (client.submit(&request, None).unwrap().row.id, PathBuf::from(go))
    }

    #[track_caller]
    fn wait_for(&self, id: u64, wanted: JobState) {
        let end = Instant::now() + WAIT;
        loop {
            let job = self.daemon.client().job(id).unwrap();
            if job.row.state == wanted {
                return;
            }
            assert!(Instant::now() < end && job.row.state != JobState::Ended, "{job:?}");
            thread::sleep(LOOK_EACH);
        }
    }

    fn wait<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + WAIT;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "{} partitions are there", self.there().len());
            thread::sleep(LOOK_EACH);
        }
    }

    fn there(&self) -> Vec<String> {
        let of = |card| self.cards.partitions(card);
        let all = of(0).into_iter().chain(of(1));
        all.map(|one| format!("{}@{}", one.profile.name(), one.start)).collect()
    }

    /// What the job printed.
    fn printed(&self, id: u64) -> String {
        let runs = self.daemon.folder().join("runs").join(id.to_string()).join("1");
        self.wait(|| {
            let node = fs::read_dir(&runs).ok()?.flatten().next()?.path();
            let text = fs::read_to_string(node.join("stdout.0")).ok()?;
            text.lines().next().map(str::to_owned)
        })
    }
}

#[test]
fn a_job_has_a_partition_from_before_its_start_to_after_its_end() {
    let mut world = World::new(&["--change-card-settings"], |_| {});
    let (id, go) = world.submit("30GiB");
    world.wait_for(id, JobState::Running);
    let seen = world.printed(id);
    assert!(seen.starts_with("MIG-") && seen.ends_with(" 40448"), "{seen}");
    assert_eq!(world.there(), ["3g.40gb@4"]);

    // A daemon that dies takes nothing with it, and the next one finds what it made.
    world.daemon.kill();
    assert_eq!(world.there(), ["3g.40gb@4"]);
    world.daemon.start_again(None);
    world.daemon.wait_for_answer();
    let shown = world.daemon.client().job(id).unwrap();
    assert_eq!(shown.members[0].slices[0].mig.as_deref(), Some("3g.40gb@4"));
    assert_eq!(world.there(), ["3g.40gb@4"]);
    fs::write(go, "").unwrap();
    world.wait_for(id, JobState::Ended);
    world.wait(|| world.there().is_empty().then_some(()));
}

#[test]
fn a_job_that_ends_while_no_daemon_is_there_leaves_no_partition() {
    let mut world = World::new(&["--change-card-settings"], |_| {});
    let (id, go) = world.submit("9GiB");
    world.wait_for(id, JobState::Running);
    world.daemon.kill();
    fs::write(go, "").unwrap();
    world.wait(|| world.daemon.marked().is_empty().then_some(()));
    assert_eq!(world.there(), ["1g.10gb@6"]);
    world.daemon.start_again(None);
    world.daemon.wait_for_answer();
    world.wait(|| world.there().is_empty().then_some(()));
    world.wait_for(id, JobState::Ended);
}

#[test]
fn without_permission_a_job_gets_what_is_there_or_waits() {
    let world = World::new(&[], |cards| {
        let id = cards.make_partition(1, 9, Some(4)).unwrap();
        cards.make_compute(1, id, 3).unwrap();
    });
    let (first, go) = world.submit("30GiB");
    world.wait_for(first, JobState::Running);
    assert!(world.printed(first).starts_with("MIG-"));
    // The only partition is held, and none is made.
    let (second, _) = world.submit("9GiB");
    world.wait_for(second, JobState::Queued);
    assert_eq!(world.there(), ["3g.40gb@4"]);
    fs::write(go, "").unwrap();
    world.wait_for(first, JobState::Ended);
    world.wait_for(second, JobState::Ended);
    assert_eq!(world.there(), ["3g.40gb@4"], "it is somebody else's");
    let changing = ["nvmlDeviceCreateGpuInstanceWithPlacement", "nvmlGpuInstanceDestroy"];
    let calls = world.cards.calls();
    assert!(changing.iter().all(|name| !calls.contains_key(*name)), "{calls:?}");
}
