//! A small WebDriver client: starts `chromedriver`, opens one headless window, and speaks the
//! protocol's JSON over plain HTTP.
//!
//! Where chromedriver or Chromium is missing, [`Browser::start`] says so and gives none.

use std::fmt;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

/// How long the driver and the browser may take to start.
const START_WAIT: Duration = Duration::from_secs(30);
/// How long a state of the page is waited for.
pub(crate) const STATE_WAIT: Duration = Duration::from_secs(20);
/// How often a state is looked at while it is waited for.
const LOOK_EACH: Duration = Duration::from_millis(25);
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// The key under which the protocol hides an element's name.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A key that is no letter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    /// To the next control.
    Tab,
    /// Follows a link, presses a button, submits a form.
    Enter,
}

impl Key {
    fn code(self) -> char {
        match self {
            Key::Tab => '\u{e004}',
            Key::Enter => '\u{e007}',
        }
    }
}

/// A window of a browser, and the driver that holds it; both end when it is dropped.
pub(crate) struct Browser {
    driver: Child,
    agent: Agent,
    address: String,
    session: String,
    profile: tempfile::TempDir,
}

/// An element of the page that is shown.
#[derive(Clone, Debug)]
pub(crate) struct Element(String);

/// What the browser wrote to its console, a failed request included.
#[derive(Clone, Debug)]
pub(crate) struct ConsoleLine {
    /// `SEVERE` for errors, `WARNING`, `INFO` or `DEBUG`.
    pub(crate) level: String,
    /// What it says.
    pub(crate) message: String,
}

/// The driver refused a command: its stable word for why, and the words.
#[derive(Debug)]
pub(crate) struct DriverError {
    code: String,
    message: String,
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Browser {
    /// A browser with an empty profile, or none if this machine has none.
    pub(crate) fn start() -> Option<Self> {
        let program = PROGRAMS.into_iter().find_map(find_program);
        let (Some(program), Some(driver)) = (program, find_program("chromedriver")) else {
            eprintln!("skipped: no chromium and chromedriver on PATH");
            return None;
        };
        let port = free_port();
        let driver = Command::new(driver)
            .args([format!("--port={port}"), "--log-level=OFF".to_owned()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WAIT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let profile = tempfile::tempdir().expect("a folder for the profile can be made");
        let mut browser = Self {
            driver,
            agent: config.into(),
            address: format!("http://127.0.0.1:{port}"),
            session: String::new(),
            profile,
        };
        browser.open_session(&program);
        Some(browser)
    }

    fn open_session(&mut self, program: &str) {
        let deadline = Instant::now() + START_WAIT;
        while self.agent.get(format!("{}/status", self.address)).call().is_err() {
            assert!(Instant::now() < deadline, "chromedriver does not answer");
            thread::sleep(LOOK_EACH);
        }
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
        flags.push(format!("--user-data-dir={}", self.profile.path().display()));
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": flags, "binary": program },
        });
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let made = self.send("POST", "/session", &body).expect("a session can be opened");
        self.session = made["sessionId"].as_str().expect("a session has a name").to_owned();
    }

    /// Goes to an address.
    pub(crate) fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    /// Loads the page again.
    pub(crate) fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    /// Makes the window so large, as far as the browser allows; returns the page's inner width.
    pub(crate) fn resize(&self, width: u32, height: u32) -> u64 {
        // A window of a desktop has a least width, a device of the same browser has none.
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        let body = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.command("POST", "/goog/cdp/execute", &body);
        self.script("return innerWidth").as_u64().expect("a width is a number")
    }

    /// The first element that a CSS selector finds.
    pub(crate) fn find(&self, css: &str) -> Option<Element> {
        self.find_all(css).into_iter().next()
    }

    /// Every element that a CSS selector finds.
    pub(crate) fn find_all(&self, css: &str) -> Vec<Element> {
        let body = json!({ "using": "css selector", "value": css });
        let found = self.command("POST", "/elements", &body);
        let names = found.as_array().expect("elements come as a list").iter();
        names.filter_map(|name| Some(Element(name[ELEMENT].as_str()?.to_owned()))).collect()
    }

    /// The first element that a CSS selector finds, once there is one.
    pub(crate) fn wait_for(&self, css: &str) -> Element {
        self.wait_until(&format!("{css} to be there"), || self.find(css))
    }

    /// Presses what a CSS selector finds, once it can be pressed.
    pub(crate) fn click(&self, css: &str) {
        // A page that brings itself up to date may replace an element between look and press.
        self.wait_until(&format!("{css} to be pressed"), || {
            let Element(name) = self.find(css)?;
            self.try_command("POST", &format!("/element/{name}/click"), &json!({})).ok()
        });
    }

    /// Types into what a CSS selector finds.
    pub(crate) fn type_into(&self, css: &str, text: &str) {
        let Element(name) = self.wait_for(css);
        self.command("POST", &format!("/element/{name}/value"), &json!({ "text": text }));
    }

    /// Chooses an option of a list by its value.
    pub(crate) fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value={value:?}]"));
    }

    /// The text that a person sees of what a CSS selector finds first; empty if it finds nothing.
    pub(crate) fn text(&self, css: &str) -> String {
        let read = |Element(name)| {
            self.try_command("GET", &format!("/element/{name}/text"), &Value::Null).ok()
        };
        let text = self.find(css).and_then(read);
        text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Waits until the text of what a CSS selector finds holds some words; gives the text.
    pub(crate) fn wait_for_text(&self, css: &str, words: &str) -> String {
        self.wait_until(&format!("{css} to say {words:?}"), || {
            Some(self.text(css)).filter(|text| text.contains(words))
        })
    }

    /// Presses a key, wherever the focus is.
    pub(crate) fn press(&self, key: Key) {
        self.type_keys(&key.code().to_string());
    }

    /// Types letters, wherever the focus is.
    pub(crate) fn type_keys(&self, text: &str) {
        let strokes = text.chars().flat_map(|letter| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": letter.to_string() }))
        });
        let keyboard =
            json!({ "type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>() });
        self.command("POST", "/actions", &json!({ "actions": [keyboard] }));
    }

    /// Runs a script in the page and gives what it returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What the console got since it was last read.
    pub(crate) fn console(&self) -> Vec<ConsoleLine> {
        let lines = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let lines = lines.as_array().expect("the console comes as a list").iter();
        lines
            .map(|line| ConsoleLine { level: text(line, "level"), message: text(line, "message") })
            .collect()
    }

    /// What the window shows, as PNG; none if the browser is gone.
    pub(crate) fn screenshot(&self) -> Option<Vec<u8>> {
        let picture = self.try_command("GET", "/screenshot", &Value::Null).ok()?;
        picture.as_str().map(decode_base64)
    }

    /// Waits until `look` gives something; fails after [`STATE_WAIT`], saying what was waited for.
    pub(crate) fn wait_until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + STATE_WAIT;
        loop {
            if let Some(found) = look() {
                return found;
            }
            if Instant::now() >= deadline {
                panic!("waited {STATE_WAIT:?} for {what}; the page says:\n{}", self.text("body"));
            }
            thread::sleep(LOOK_EACH);
        }
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_command(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path} gave {error}"))
    }

    fn try_command(&self, method: &str, path: &str, body: &Value) -> Result<Value, DriverError> {
        self.send(method, &format!("/session/{}{path}", self.session), body)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, DriverError> {
        let url = format!("{}{path}", self.address);
        let answered = match method {
            "GET" => self.agent.get(&url).call(),
            "DELETE" => self.agent.delete(&url).call(),
            _ => {
                let request = self.agent.post(&url).content_type("application/json");
                request.send(body.to_string())
            }
        };
        let failed = |message: String| DriverError { code: "no answer".to_owned(), message };
        let mut response = answered.map_err(|error| failed(error.to_string()))?;
        let is_good = response.status().is_success();
        let body = response.body_mut().with_config().limit(64 << 20);
        let text = body.read_to_string().map_err(|error| failed(error.to_string()))?;
        let mut answer: Value =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let value = answer["value"].take();
        if is_good {
            return Ok(value);
        }
        let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Err(DriverError { code: word("error"), message: word("message") })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the session ends the browser; the driver alone would leave it running.
        let _ = self.try_command("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn find_program(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|file| file.is_file()).map(|file| file.display().to_string())
}

/// A port that nobody has now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound port has an address").port()
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let sixes: Vec<u32> = text.bytes().filter_map(value).map(u32::from).collect();
    let whole = |group: &[u32]| {
        let bits = (0..4).fold(0, |bits, at| bits << 6 | group.get(at).copied().unwrap_or(0));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    sixes.chunks(4).flat_map(whole).collect()
}
