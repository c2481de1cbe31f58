//! A disk that is full below the server's index and experiments.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::server::{Reply, Server, place_with};
use crate::common::data::text;

/// A disk of a few MiB in memory, unmounted in the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "none"])
            .arg(&folder)
            .output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(folder))
    }

    /// Fills what is left.
    fn fill(&self) {
        let block = vec![7_u8; 64 << 10];
        let mut written: usize = 0;
        while fs::write(self.0.join(format!("filler-{written}")), &block).is_ok() {
            written += 1;
            assert!(written < 1000, "the disk is small");
        }
    }

    fn make_room(&self) {
        for entry in fs::read_dir(&self.0).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("filler-") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Where it fails, the next mount lies above it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn add(server: &Server, ids: std::ops::Range<usize>, words: usize) -> Reply {
    let document = |id| json!({ "id": format!("d{id}"), "text": text(id, words) });
    let documents: Vec<Value> = ids.map(document).collect();
    server.post("/v1/documents", &json!({ "tenant": "law", "documents": documents }))
}

#[test]
fn a_full_disk_is_told_and_searches_go_on() {
    let place = place_with(&["law"]);
    let Some(disk) = SmallDisk::mount(place.at("disk")) else {
        eprintln!("skipped: this test mounts a small disk, which it may not do here");
        return;
    };
    let arguments =
        ["--adapters", "adapters", "--index", "disk/index", "--experiments", "disk/experiments"];
    let server = Server::start(place, &arguments);
    add(&server, 0..10, 9).ok();
    let experiment = json!({
        "tenant": "law", "name": "x", "control": {}, "treatment": { "mode": "text" },
    });
    server.post("/v1/experiments", &experiment).ok();
    let search = |user: &str| {
        let body = json!({ "tenant": "law", "query": text(7, 9), "user": user });
        server.post("/v1/search", &body).ok()
    };
    let say = |user: &str| {
        let id = search(user)["experiment"]["feedback_id"].clone();
        let body = json!({ "tenant": "law", "feedback_id": id, "clicked_rank": 1 });
        server.post("/v1/feedback", &body)
    };
    say("anna").ok();
    disk.fill();
    let (mut refused, mut next) = (None, 10);
    while refused.is_none() {
        let reply = add(&server, next..next + 10, 60);
        match reply.status {
            200 => next += 10,
            _ => refused = Some(reply),
        }
        assert!(next < 10_000, "the disk is full");
    }
    let refused = refused.unwrap();
    assert_eq!(refused.status, 507, "{refused:?}");
    assert!(refused.text.contains("hint: searches go on"), "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "no_room");
    let mut told = 0;
    for user in 0..200 {
        let reply = say(&format!("user-{user}"));
        assert!(matches!(reply.status, 200 | 507), "{reply:?}");
        told += u32::from(reply.status == 507);
    }
    assert!(told > 0, "feedback that is not kept is not acknowledged");
    assert_eq!(search("anna")["results"][0]["id"], "d7", "searches go on");
    let count = || server.get("/v1/documents?tenant=law").ok()["documents"].as_u64().unwrap();
    assert_eq!(count(), next as u64, "nothing of what was refused is there");
    disk.make_room();
    add(&server, next..next + 10, 60).ok();
    assert_eq!(say("new").ok()["result"], "counted");
    // All that was acknowledged is there after a kill, and no more.
    let subjects = |server: &Server| {
        let metric = server.get("/v1/experiments?tenant=law").ok()["metric"].clone();
        let units = |name: &str| metric[name].as_u64().unwrap();
        units("control_subjects") + units("treatment_subjects")
    };
    let (documents, counted) = (count(), subjects(&server));
    assert_eq!(counted, u64::from(2 + 200 - told));
    let server = Server::start(server.kill(), &arguments);
    assert_eq!(subjects(&server), counted);
    let found = server.get("/v1/documents?tenant=law").ok();
    assert_eq!(found["documents"], json!(documents));
    drop(server);
    drop(disk);
}
