//! Models from the Hugging Face hub, or from a mirror that answers the same addresses.
//!
//! A file is `ENDPOINT/ID/resolve/main/FILE`. Redirects are followed by hand: the token goes to the
//! endpoint alone, never to the store that it points to, and the hash that the endpoint gives for
//! large files (`x-linked-etag`) is checked.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Timeout};

use super::Progress;
use super::install::{FILE_BYTES_MAX, REQUIRED};

/// Files that a model may do without.
const OPTIONAL: &[&str] = &[
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "2_Normalize/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "README.md",
];
/// Longest that a connection may take to come about, name look-up and TLS included.
const CONNECT_SECONDS_MAX: u64 = 15;
/// Longest until an answer's head is there once it was asked for.
const ANSWER_SECONDS_MAX: u64 = 60;
/// Longest without a single byte before a download counts as stalled.
const STALL_SECONDS_MAX: u64 = 30;
/// Most redirects from a file's address to the file.
const REDIRECTS_MAX: usize = 8;

/// Where models are asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Hub {
    /// The address in front of every id, without a slash at its end.
    pub endpoint: String,
    /// A token for models that are not public.
    pub token: Option<String>,
    /// How long it may take to answer.
    pub waits: Waits,
}

/// How long a download waits for the other side before it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// For a connection, name look-up and TLS included.
    pub connect: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// For the next byte, however long the whole download takes.
    pub stall: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(CONNECT_SECONDS_MAX),
            answer: Duration::from_secs(ANSWER_SECONDS_MAX),
            stall: Duration::from_secs(STALL_SECONDS_MAX),
        }
    }
}

impl Hub {
    /// The public hub, or what `HF_ENDPOINT` and `HF_TOKEN` say.
    pub fn from_environment() -> Self {
        let filled = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let endpoint = filled("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            token: filled("HF_TOKEN"),
            waits: Waits::default(),
        }
    }
}

/// Shows that there is a token, never the token.
impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "(hidden)");
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("token", &token)
            .field("waits", &self.waits)
            .finish()
    }
}

/// Whether a text could be a hub id: an organisation and a name.
pub(super) fn is_id(base: &str) -> bool {
    let plain = |part: &str| {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (1..=96).contains(&part.len()) && part.chars().all(legal) && !part.starts_with('.')
    };
    base.split_once('/').is_some_and(|(organisation, name)| plain(organisation) && plain(name))
}

/// Downloads a model's files into a folder.
pub(super) fn download(
    hub: &Hub,
    id: &str,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), String> {
    let agent: Agent = Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_resolve(Some(hub.waits.connect))
        .timeout_connect(Some(hub.waits.connect))
        .timeout_recv_response(Some(hub.waits.answer))
        .timeout_per_read(Some(hub.waits.stall))
        .timeout_per_write(Some(hub.waits.stall))
        .user_agent(concat!("cotenant/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let files = REQUIRED.iter().map(|name| (name, true));
    for (name, required) in files.chain(OPTIONAL.iter().map(|name| (name, false))) {
        let url = format!("{}/{id}/resolve/main/{name}", hub.endpoint);
        let found = fetch(&agent, hub, &url)?;
        let Some(found) = found else {
            if required {
                return Err(format!(
                    "{url}: there is no such file (only safetensors weights in one \
                                    file and a tokenizer.json can be used)"
                ));
            }
            continue;
        };
        let target = Target { name, folder, waits: hub.waits };
        write(found, &target, progress).map_err(|reason| format!("{url}: {reason}"))?;
    }
    Ok(())
}

/// A file's content on its way, and the hash it should have.
struct Found {
    response: Response<Body>,
    sha256: Option<String>,
}

/// Follows a file's address; `None` if there is no such file.
fn fetch(agent: &Agent, hub: &Hub, url: &str) -> Result<Option<Found>, String> {
    let origin = authority(&hub.endpoint);
    let mut at = url.to_owned();
    let mut sha256 = None;
    for _ in 0..=REDIRECTS_MAX {
        let mut request = agent.get(&at);
        if let Some(token) = hub.token.as_ref().filter(|_| authority(&at) == origin) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response =
            request.call().map_err(|error| format!("{at}: {}", told(&error, hub.waits)))?;
        sha256 = sha256.or_else(|| linked_hash(&response));
        match response.status().as_u16() {
            200 => return Ok(Some(Found { response, sha256 })),
            404 => return Ok(None),
            301 | 302 | 303 | 307 | 308 => {
                let location = header(&response, "location");
                let location = location.ok_or_else(|| format!("{at}: redirects nowhere"))?;
                at = absolute(&at, location)?;
            }
            401 | 403 => {
                return Err(format!("{at}: not allowed; set HF_TOKEN if the model is not public"));
            }
            status => return Err(format!("{at}: the server answered {status}")),
        }
    }
    Err(format!("{url}: more than {REDIRECTS_MAX} redirects"))
}

/// Scheme, host and port.
fn authority(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    Some((uri.scheme_str()?.to_owned(), uri.authority()?.host().to_owned() + &port(&uri)))
}

fn port(uri: &Uri) -> String {
    uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default()
}

/// A redirect's target; a relative one keeps scheme and host, and https is never left.
fn absolute(from: &str, location: &str) -> Result<String, String> {
    if location.starts_with('/') && !location.starts_with("//") {
        let (scheme, host) = authority(from).ok_or_else(|| format!("{from}: not an address"))?;
        return Ok(format!("{scheme}://{host}{location}"));
    }
    let secure = location.starts_with("https://");
    if secure || location.starts_with("http://") && !from.starts_with("https://") {
        return Ok(location.to_owned());
    }
    Err(format!("{from}: redirects to {location:?}, which is not followed"))
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// The SHA-256 that the hub gives for files in its large-file store.
fn linked_hash(response: &Response<Body>) -> Option<String> {
    let tag = header(response, "x-linked-etag")?.trim_matches('"').to_ascii_lowercase();
    (tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(tag)
}

/// Where a file goes, and how long its bytes may take.
struct Target<'a> {
    name: &'a str,
    folder: &'a Path,
    waits: Waits,
}

/// Why a request failed, with the wait that ran out where one did.
fn told(error: &ureq::Error, waits: Waits) -> String {
    let ran_out = |what: &str, wait: Duration| format!("{what} for {} s", wait.as_secs_f32());
    match error {
        ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => {
            ran_out("the other side stalled: no byte moved", waits.stall)
        }
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            ran_out("no connection came about", waits.connect)
        }
        ureq::Error::Timeout(Timeout::RecvResponse) => ran_out("no answer came", waits.answer),
        other => other.to_string(),
    }
}

fn write(
    found: Found,
    target: &Target<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), String> {
    let Target { name, folder, waits } = *target;
    let told_of = |error: std::io::Error| error.to_string();
    let length = header(&found.response, "content-length");
    let total: Option<u64> = length.and_then(|length| length.parse().ok());
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(told_of)?;
    let mut file = File::create_new(&path).map_err(told_of)?;
    let mut hasher = Sha256::new();
    let mut body = found.response.into_body().into_reader().take(FILE_BYTES_MAX + 1);
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    loop {
        let read =
            body.read(&mut buffer).map_err(|error| told(&ureq::Error::from(error), waits))?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).map_err(told_of)?;
        hasher.update(&buffer[..read]);
        done += read as u64;
        progress(Progress::Bytes { file: name.to_owned(), done, total });
    }
    if done > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    if let Some(total) = total.filter(|&total| total != done) {
        return Err(format!("it ended after {done} of {total} bytes"));
    }
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match found.sha256.filter(|expected| *expected != digest) {
        Some(expected) => Err(format!("its SHA-256 is {digest}, not {expected}")),
        None => Ok(()),
    }
}
