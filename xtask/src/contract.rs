//! Requests made from our own openapi.json against a live daemon on loopback, by Schemathesis: no
//! answer says that the server failed, and each is one that the contract foretells.
//!
//! The daemon has simulated cards, a folder of its own below the build folder, and no PATH, so that
//! what made-up jobs name is not found. The stream of events never ends and the end of the daemon
//! would end the run, so that both are left out.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command;
use crate::project::Project;

const FOLDER: &str = "target/contract";
const REQUIREMENTS: &str = "xtask/contract/requirements.txt";
const CONFIG: &str = "xtask/contract/schemathesis.toml";
/// Written last, with the requirements as they were installed: only then is the environment whole.
const INSTALLED: &str = "target/contract/venv/installed.txt";

/// How long getting Schemathesis may take.
const INSTALL_MAX: Duration = Duration::from_secs(120);
/// How long requests are made, in seconds, and how long the program that makes them may take.
const REQUESTS_S: &str = "30";
const RUN_MAX: Duration = Duration::from_secs(60);
/// How long jobs may take to end.
const STOP_MAX: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method,allow_header_conformance";
const LEFT_OUT: &str = "^/v1/(events|shutdown)$";

/// Makes requests for half a minute; what is missing is said, and is no error.
pub(crate) fn run(project: &Project) -> Result<Option<&'static str>, String> {
    if let Err(reason) = install(project) {
        println!("{reason}");
        return Ok(Some("Schemathesis cannot be had: it needs Python 3 and a package index"));
    }
    project.build_programs()?;
    let pool = Pool::start(project)?;
    // Work for the routes of one job: one that runs, and one that waits for its card.
    for arguments in [&["--memory", "10%", "--compute", "10%"][..], &[]] {
        let mut submit = pool.program();
        submit.args(["job", "submit", "--json"]).args(arguments).args(["--", "/bin/sleep", "90"]);
        command::capture(&mut submit)?;
    }
    let mut made = Command::new(python(project));
    made.current_dir(project.at(FOLDER))
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(project.at(CONFIG))
        .args(["run", &format!("{}/openapi.json", pool.address), "--checks", CHECKS])
        .args(["--exclude-path-regex", LEFT_OUT, "--phases", "coverage,fuzzing,stateful"])
        .args(["--max-time", REQUESTS_S, "--request-timeout", "10", "--warnings", "off"]);
    within(&mut made, RUN_MAX).map(|()| None)
}

fn python(project: &Project) -> PathBuf {
    project.at(FOLDER).join("venv/bin/python")
}

/// Makes the environment, unless it is there with these requirements.
fn install(project: &Project) -> Result<(), String> {
    let wanted = fs::read_to_string(project.at(REQUIREMENTS))
        .map_err(|error| format!("failed to read {REQUIREMENTS}: {error}"))?;
    if fs::read_to_string(project.at(INSTALLED)).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let venv = format!("{FOLDER}/venv");
    within(project.program("python3").args(["-m", "venv", "--clear", &venv]), INSTALL_MAX)?;
    let mut pip = Command::new(python(project));
    pip.current_dir(project.at("."))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--timeout", "10", "--retries", "1", "--requirement", REQUIREMENTS]);
    within(&mut pip, INSTALL_MAX)?;
    fs::write(project.at(INSTALLED), wanted)
        .map_err(|error| format!("failed to write {INSTALLED}: {error}"))
}

/// Runs a command that talks to the person itself, and ends it when its time is over.
fn within(command: &mut Command, time: Duration) -> Result<(), String> {
    let name = command::name(command);
    let failed = |error: std::io::Error| format!("failed to start {name}: {error}");
    let mut child = command.stdin(Stdio::null()).spawn().map_err(failed)?;
    let end = Instant::now() + time;
    loop {
        match child.try_wait().map_err(|error| format!("failed to wait for {name}: {error}"))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{name} ended with {status}")),
            None if Instant::now() < end => thread::sleep(LOOK),
            None => {
                // It may have ended just now, which is what is wanted.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name} took more than {} s", time.as_secs()));
            }
        }
    }
}

/// A daemon on a free port; it ends with this, and its jobs before it.
struct Pool {
    child: Child,
    program: PathBuf,
    address: String,
}

impl Pool {
    fn start(project: &Project) -> Result<Self, String> {
        let state = project.at(FOLDER).join("state");
        match fs::remove_dir_all(&state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("failed to remove {FOLDER}/state: {error}"));
            }
            _ => {}
        }
        // The program is built into the folder that we were built into.
        let ours = std::env::current_exe();
        let ours = ours.map_err(|error| format!("no path to this program: {error}"))?;
        let program = ours.with_file_name("cotenant");
        let mut child = Command::new(&program)
            .args(["up", "--cards", "sim:2xH100", "--listen", "127.0.0.1:0", "--state"])
            .arg(&state)
            .args(["--metrics-names", "dcgm,hami"])
            .env("PATH", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("failed to start cotenant up: {error}"))?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let Some(Ok(address)) = lines.next() else {
            let _ = child.kill();
            let _ = child.wait();
            return Err("cotenant up named no address".to_owned());
        };
        Ok(Self { child, program, address })
    }

    /// The program, asking this pool.
    fn program(&self) -> Command {
        let mut program = Command::new(&self.program);
        program.env("COTENANT_POOL", &self.address).env_remove("COTENANT_TOKEN");
        program
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Jobs outlive a daemon. What was made up has no program and has ended; these two are ended
        // here, unless somebody made a token meanwhile: then they end by themselves.
        for job in ["2", "1"] {
            command::succeeds(self.program().args(["job", "cancel", job]));
        }
        let mut follow = self.program();
        follow.args(["job", "logs", "-f", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = within(&mut follow, STOP_MAX);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
