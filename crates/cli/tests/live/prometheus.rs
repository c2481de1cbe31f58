//! What `/metrics` shows, read by a real Prometheus and judged by its own linter.
//!
//! Where the two are not on this machine, each test says so and ends.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{Client, JobRequest, JobState};
use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;

use crate::daemon::Daemon;

const ANSWER_WAIT: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(50);

/// The scrape of `deploy/README.md`, which the test takes its configuration from.
const DOCUMENTED: &str = include_str!("../../../../deploy/README.md");
const DASHBOARD: &str = include_str!("../../../../deploy/grafana/cotenant.json");

fn program(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = places.find(|file| file.is_file()).map(|file| file.display().to_string());
    if found.is_none() {
        eprintln!("skipped: no {name} on PATH");
    }
    found
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into()
}

/// A pool in which everything that a dashboard shows is there: a job that runs, one that waits, a
/// tenant with a limit and a guarantee.
fn busy_pool(metrics_names: &[&str]) -> Daemon {
    let daemon = Daemon::start_with("sim:2xH100", metrics_names);
    let client = daemon.client();
    let law = cotenant_api::TenantRequest {
        guaranteed_compute: Some("100%".to_owned()),
        guaranteed_memory: Some("10GiB".to_owned()),
        limit_compute: Some("200%".to_owned()),
        limit_memory: Some("200GiB".to_owned()),
        ..Default::default()
    };
    client.put_tenant("law", &law).unwrap();
    let job = |cards, part: Option<&str>| JobRequest {
        tenant: Some("law".to_owned()),
        command: ["sleep", "600"].map(str::to_owned).to_vec(),
        cards: Some(cards),
        memory: part.map(str::to_owned),
        compute: part.map(str::to_owned),
        ..JobRequest::default()
    };
    let first = client.submit(&job(2, Some("20%")), None).unwrap().row.id;
    let second = client.submit(&job(1, None), None).unwrap().row.id;
    wait_until("one job runs and its use is known, and the other waits", || {
        let (first, second) = (client.job(first).ok()?, client.job(second).ok()?);
        let is_so = first.usage.is_some() && second.row.state == JobState::Queued;
        (is_so && second.row.waits.is_some()).then_some(())
    });
    daemon
}

fn wait_until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + ANSWER_WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {ANSWER_WAIT:?} until {what}");
        thread::sleep(LOOK_EACH);
    }
}

fn metrics(daemon: &Daemon) -> String {
    let mut answer = agent().get(format!("{}/metrics", daemon.address())).call().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.body_mut().read_to_string().unwrap()
}

/// The names that a page of figures has, whether or not there is a sample.
fn names(page: &str) -> Vec<&str> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

/// What `promtool check metrics` says of a page, line by line.
fn lint(promtool: &str, page: &str) -> Vec<String> {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().map(str::to_owned).collect()
}

#[test]
fn its_linter_is_silent_about_our_own_names() {
    let Some(promtool) = program("promtool") else { return };
    let daemon = busy_pool(&[]);
    let page = metrics(&daemon);
    assert!(names(&page).len() > 30, "{page}");
    assert!(names(&page).iter().all(|name| name.starts_with("cotenant_")), "{page}");
    assert_eq!(lint(&promtool, &page), Vec::<String>::new());
}

#[test]
fn names_of_others_are_there_when_they_are_asked_for() {
    let daemon = busy_pool(&["--metrics-names", "dcgm,hami"]);
    let page = metrics(&daemon);
    for sample in [
        "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"sim-n0-0\",device=\"sim-n0-0\",modelName=\"",
        "DCGM_FI_DEV_FB_FREE{gpu=\"1\",",
        "hami_gpu_core_allocated_ratio{",
        "hami_vgpu_memory_limit_bytes{namespace=\"law\",pod=\"job-1\",container=\"member-0\",\
         vdevice_index=\"1\",device_uuid=\"sim-n0-1\"} ",
    ] {
        assert!(page.contains(&format!("\n{sample}")), "no {sample}\n{page}");
    }
    let value = |start: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(start)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    // MiB and per cent, as those programs have it; ours are bytes and parts of one.
    let used_mib = value("DCGM_FI_DEV_FB_USED{gpu=\"0\"");
    let free_mib = value("DCGM_FI_DEV_FB_FREE{gpu=\"0\"");
    let all = value("cotenant_card_memory_bytes{node=\"sim-n0\",card=\"sim-n0-0\"}");
    assert_eq!((used_mib + free_mib) * 1048576.0, all);
    assert_eq!(value("hami_gpu_core_allocated_ratio{node=\"sim-n0\",device_index=\"0\""), 20.0);
    // What its linter says of names that others chose is theirs, and nothing else is wrong.
    let Some(promtool) = program("promtool") else { return };
    let complaints = lint(&promtool, &page);
    assert!(complaints.iter().all(|line| is_about_a_foreign_name(line)), "{complaints:#?}");
}

fn is_about_a_foreign_name(complaint: &str) -> bool {
    let is_label =
        complaint.ends_with("label names should be written in 'snake_case' not 'camelCase'");
    (complaint.starts_with("DCGM_FI_DEV_") && is_label)
        || complaint.starts_with("hami_gpu_shared_count non-histogram")
}

/// A Prometheus with a folder of its own, ended when it is dropped.
struct Prometheus {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Prometheus {
    fn start(program: &str, (config, token): (&str, &str)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        fs::write(&token_file, token).unwrap();
        let config = config.replace("/etc/prometheus/cotenant.token", &path(&token_file));
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", path(&folder.path().join("prometheus.yml"))))
            .arg(format!("--storage.tsdb.path={}", path(&folder.path().join("data"))))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, port, folder }
    }

    /// The samples that a query gives now; none if it is not up yet.
    fn query(&self, query: &str) -> Vec<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let Ok(mut answer) = agent().get(url).query("query", query).call() else {
            return Vec::new();
        };
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_ne!(value["status"], "error", "{query}: {value}");
        value["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// The scrape configuration that the documentation gives.
fn documented_config() -> &'static str {
    let block = DOCUMENTED.split("```yaml\n").nth(1).expect("there is a block of YAML");
    block.split("```").next().unwrap()
}

/// Every query of the dashboard, as it is for all tenants and nodes.
fn queries() -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    match (key.as_str(), value) {
                        ("expr", Value::String(query)) => found.push(query.clone()),
                        _ => walk(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(&serde_json::from_str(DASHBOARD).unwrap(), &mut found);
    let whole = |query: String| {
        query.replace("$tenant", ".*").replace("$node", ".*").replace("$__rate_interval", "1m")
    };
    found.into_iter().map(whole).collect()
}

/// Names of ours that a text holds.
fn our_names(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("cotenant_")).collect()
}

#[test]
fn every_name_on_the_grafana_dashboard_is_written() {
    let daemon = Daemon::start("sim:1xH100");
    let page = metrics(&daemon);
    let written = names(&page);
    let queries = queries();
    assert!(queries.len() > 10, "{queries:?}");
    for query in &queries {
        let used = our_names(query);
        assert!(!used.is_empty(), "{query} is about nothing of ours");
        for name in used {
            assert!(written.contains(&name), "{query}: nothing writes {name}");
        }
    }
    let text = DASHBOARD.to_owned();
    assert!(!text.contains("\"uid\": \"P"), "the data source is chosen, not wired");
}

#[test]
fn it_scrapes_a_pool_with_the_operators_token() {
    let Some(program) = program("prometheus") else { return };
    let daemon = busy_pool(&[]);
    let token = daemon.client().create_token("operator").unwrap().token;
    let refused = agent().get(format!("{}/metrics", daemon.address())).call().unwrap();
    assert_eq!(refused.status().as_u16(), 401, "without a token there are no figures");
    let law = Client::new(&daemon.address(), Some(token.clone())).create_token("law").unwrap();
    let bearer = format!("Bearer {}", law.token);
    let url = format!("{}/metrics", daemon.address());
    let refused = agent().get(&url).header("authorization", &bearer).call().unwrap();
    assert_eq!(refused.status().as_u16(), 403, "a tenant's token is not the operator's");

    let target = daemon.address().replace("http://", "");
    let config = documented_config().replace("127.0.0.1:7777", &target).replace("15s", "1s");
    assert!(config.contains(&target), "the documentation names the default address");
    let prometheus = Prometheus::start(&program, (&config, &token));
    wait_until("the pool is up for Prometheus", || {
        let up = prometheus.query("up{job=\"cotenant\"}");
        (up.first()?["value"][1] == "1").then_some(())
    });
    let value = |query: &str| -> Option<String> {
        Some(prometheus.query(query).first()?["value"][1].as_str()?.to_owned())
    };
    assert_eq!(value("sum(cotenant_card_slices)").as_deref(), Some("2"));
    assert_eq!(value("cotenant_jobs_waiting{reason=\"cards\"}").as_deref(), Some("1"));
    assert_eq!(value("cotenant_tenant_compute_kept_cards{tenant=\"law\"}").as_deref(), Some("0.4"));
    assert_eq!(value("cotenant_cards_saved").as_deref(), Some("0"));
    assert_eq!(value("cotenant_events_total{kind=\"job-placed\"}").as_deref(), Some("1"));
    // Every query of the dashboard is one that Prometheus understands, and has something to show.
    // Cards that do not say how warm they are are the exception.
    for query in queries() {
        let is_known = !query.contains("celsius") && !query.contains("watts");
        wait_until(&format!("{query} gives something"), || {
            (!prometheus.query(&query).is_empty() || !is_known).then_some(())
        });
    }
}
