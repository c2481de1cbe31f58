//! A real pool on the processor of this machine, in a folder of its own, ended with all it runs.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{Client, JobRequest, JobState, JobView, TenantRequest};
use serde_json::Value;

use crate::command;
use crate::project::Project;

const TENANT: &str = "bench";
const WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// A pool.
pub(super) struct Pool {
    daemon: Child,
    client: Client,
    folder: PathBuf,
}

impl Pool {
    /// Builds the program and starts a pool of this machine's processor.
    pub(super) fn start(project: &Project) -> Result<Self, String> {
        command::run(project.cargo().args([
            "build",
            "--quiet",
            "--package",
            "cotenant",
            "--bins",
        ]))?;
        let ours =
            env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
        let folder = env::temp_dir().join(format!("cotenant-bench-{}", std::process::id()));
        let state = folder.join("state");
        fs::create_dir_all(&state).map_err(|error| format!("failed to make a folder: {error}"))?;
        let port = free_port().map_err(|error| format!("no port is free: {error}"))?;
        let mut command = Command::new(ours.with_file_name("cotenant"));
        command.args(["up", "--json", "--cards", "cpu", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--state").arg(&state).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut daemon =
            command.spawn().map_err(|error| format!("failed to start cotenant up: {error}"))?;
        let stdout = daemon.stdout.take().expect("it is piped");
        let client = Client::new(&format!("http://127.0.0.1:{port}"), None);
        let pool = Self { daemon, client, folder };
        let first = BufReader::new(stdout).lines().next().and_then(Result::ok);
        let first: Option<Value> = first.and_then(|line| serde_json::from_str(&line).ok());
        first.ok_or("cotenant up said no address")?;
        let tenant = pool.client.put_tenant(TENANT, &TenantRequest::default());
        tenant.map_err(|error| format!("failed to add a tenant: {error}"))?;
        Ok(pool)
    }

    /// A file of the pool's folder.
    pub(super) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Submits a job, and waits until it runs in a control group.
    pub(super) fn begin(&self, job: &JobRequest) -> Result<u64, String> {
        let job = JobRequest { tenant: Some(TENANT.to_owned()), ..job.clone() };
        let view = self.client.submit(&job, None);
        let id = view.map_err(|error| format!("failed to submit a job: {error}"))?.row.id;
        let view = self.wait(id, |view| view.row.state == JobState::Running)?;
        let mut slices = view.members.iter().flat_map(|member| &member.slices);
        match slices.all(|slice| slice.enforced_by == "cgroup") {
            true => Ok(id),
            false => Err("control groups cannot be made here, so that nothing holds a job\n\
                          hint: run as a user who may write them"
                .to_owned()),
        }
    }

    /// Waits until a job has ended, and says how it did.
    pub(super) fn end(&self, id: u64, wait: Duration) -> Result<String, String> {
        thread::sleep(wait);
        let view = self.wait(id, |view| view.row.state == JobState::Ended)?;
        Ok(view.row.outcome.unwrap_or_default())
    }

    /// Ends a job.
    pub(super) fn cancel(&self, id: u64) -> Result<(), String> {
        let cancelled = self.client.cancel(id);
        cancelled.map_err(|error| format!("failed to cancel job {id}: {error}"))?;
        self.end(id, Duration::ZERO).map(drop)
    }

    fn wait(&self, id: u64, is_so: impl Fn(&JobView) -> bool) -> Result<JobView, String> {
        let until = Instant::now() + WAIT_MAX;
        loop {
            let view = self.client.job(id);
            let view = view.map_err(|error| format!("failed to look at job {id}: {error}"))?;
            if is_so(&view) {
                return Ok(view);
            }
            if Instant::now() > until || view.row.state == JobState::Ended {
                let (state, exit) = (view.row.state, view.exit.unwrap_or_default());
                return Err(format!("job {id} is {state:?} {exit}"));
            }
            thread::sleep(LOOK);
        }
    }

    /// Processor time of the daemon and of the supervisors of its jobs so far.
    pub(super) fn own_cpu(&self) -> Duration {
        let mut ticks = cpu_ticks(self.daemon.id());
        let folder = self.folder.display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if let Some(pid) = pid.filter(|_| line.contains("supervise") && line.contains(&folder))
            {
                ticks += cpu_ticks(pid);
            }
        }
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Pool {
    /// Jobs outlive a daemon, so that they are ended first.
    fn drop(&mut self) {
        let jobs = self.client.jobs(&Default::default()).map(|page| page.jobs).unwrap_or_default();
        for job in jobs.iter().filter(|job| job.state != JobState::Ended) {
            // What cannot be ended has ended, or nobody is left to tell.
            let _ = self.cancel(job.id);
        }
        if self.client.shutdown().is_err() {
            let _ = self.daemon.kill();
        }
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// User and system time of a process, in hundredths of a second as Linux counts them.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A name may have spaces; what follows it does not.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
