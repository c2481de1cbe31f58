//! The dashboard in a real browser: each test opens it on a pool of its own and reads what a person
//! would read. Any error in the browser's console, a failed request included, fails the test.
//!
//! Pictures of what was shown last are kept in the build folder, below `dashboard`.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cotenant_api::{JobRequest, JobState, TenantRequest};
use serde_json::Value;

use crate::pool::Pool;
use crate::webdriver::{Browser, Key};

/// One card, so that a job that wants it whole makes every other wait.
const ONE_CARD: &str = "sim:1xH100";

/// Browsers are large and one test measures time, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A window that shows a pool.
struct Window {
    name: &'static str,
    pool: Pool,
    browser: Browser,
    _turn: MutexGuard<'static, ()>,
}

impl Window {
    /// A window of a pool of one card; none, said aloud, where this machine cannot show it.
    fn open(name: &'static str, page: &str) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = Pool::start(ONE_CARD);
        let browser = Browser::start()?;
        let window = Self { name, pool, browser, _turn: turn };
        window.go(page);
        window.browser.wait_for_text("#connection", "Live");
        Some(window)
    }

    fn go(&self, page: &str) {
        self.browser.open(&format!("{}/{page}", self.pool.address()));
    }

    fn submit(&self, job: &JobRequest) -> u64 {
        self.pool.client().submit(job, None).expect("the job is taken").row.id
    }

    /// Ends a test: nothing may have gone wrong in the browser but what the test meant to.
    fn finish(self, meant: &[&str]) {
        let mut console = self.browser.console();
        console.retain(|line| line.level == "SEVERE" || line.level == "WARNING");
        console.retain(|line| !meant.iter().any(|part| line.message.contains(part)));
        assert!(console.is_empty(), "the browser complains: {console:#?}");
    }
}

impl Drop for Window {
    /// Keeps a picture, of a test that failed above all.
    fn drop(&mut self) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
        let picture = self.browser.screenshot();
        if let (Some(picture), Ok(())) = (picture, std::fs::create_dir_all(&folder)) {
            let _ = std::fs::write(folder.join(format!("{}.png", self.name)), picture);
        }
    }
}

fn job(tenant: &str, command: &[&str]) -> JobRequest {
    JobRequest {
        tenant: Some(tenant.to_owned()),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        ..JobRequest::default()
    }
}

/// A job on a part of a card.
fn small_job(tenant: &str, command: &[&str]) -> JobRequest {
    let part = Some("10%".to_owned());
    JobRequest { memory: part.clone(), compute: part, ..job(tenant, command) }
}

/// A command that prints `ready` and runs until a file is there.
fn until_file(file: &Path) -> [String; 3] {
    let file = file.display();
    let script = format!("echo ready; while [ ! -e {file} ]; do sleep 0.05; done");
    ["sh".to_owned(), "-c".to_owned(), script]
}

fn texts(browser: &Browser, css: &str) -> Vec<String> {
    let script =
        format!("return Array.from(document.querySelectorAll({css:?}), (e) => e.innerText)");
    let texts = browser.script(&script);
    let texts = texts.as_array().expect("texts come as a list").iter();
    texts.map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_empty_pool_says_what_to_do() {
    let Some(window) = Window::open("empty", "") else { return };
    let browser = &window.browser;
    browser.wait_for_text("#glance", "1 card on 1 node");
    browser.wait_for_text("#savings", "No job holds a card.");
    browser.wait_for_text("main", "cotenant job submit -- PROGRAM");
    window.go("#/jobs");
    browser.wait_for_text("main .empty", "No job yet.");
    window.go("#/tenants");
    browser.wait_for_text("main", "default");
    window.go("#/jobs");
    browser.click("main .empty a");
    browser.wait_for_text("h1", "Submit a job");
    window.finish(&[]);
}

#[test]
fn a_job_is_submitted_through_the_form_and_followed_to_its_end() {
    let Some(window) = Window::open("submitted", "#/submit") else { return };
    let browser = &window.browser;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("go on");
    let [shell, option, script] = until_file(&file);
    let script = script.replace("go on", "go\\ on");
    browser.type_into("#field-command", &format!("{shell} {option} '{script}'"));
    browser.wait_for_text("#command-words", "3 words");
    browser.type_into("#field-tenant", "law");
    browser.type_into("#field-memory", "6GiB");
    browser.type_into("#field-compute", "12.5%");
    browser.choose("#field-policy", "burst");
    browser.click("#submit-form button[type=submit]");

    browser.wait_for_text("#job-title", "Job 1 sh");
    browser.wait_for_text("main .state", "running");
    browser.wait_for_text(".log", "ready");
    browser.wait_for_text("main", "6 GiB · 12.5% up to 100% · held by");
    let made = window.pool.client().job(1).expect("the job is there");
    assert_eq!(made.row.tenant, "law");
    assert_eq!(made.request.command, [shell, option, script]);

    std::fs::write(&file, "").expect("the file can be written");
    browser.wait_for_text("main .state", "succeeded");
    browser.wait_for_text("main", "This is the end.");
    assert!(browser.find("#cancel").is_none(), "a job that has ended cannot be cancelled");
    assert!(texts(browser, ".life li").len() >= 3, "its life is told");
    window.finish(&[]);
}

#[test]
fn what_the_pool_refuses_stands_beside_the_field() {
    let Some(window) = Window::open("refused", "#/submit") else { return };
    let browser = &window.browser;
    let submit = || browser.click("#submit-form button[type=submit]");
    submit();
    browser.wait_for_text("#wrong-command", "is missing");
    browser.type_into("#field-command", "true 'and");
    submit();
    browser.wait_for_text("#wrong-command", "has a ' that is not closed");
    browser.type_into("#field-command", "'");
    browser.type_into("#field-tenant", "law");
    browser.type_into("#field-memory", "8GiB");
    browser.type_into("#field-memory_limit", "4GiB");
    browser.type_into("#field-compute", "10%");
    submit();
    browser.wait_for_text("#wrong-memory_limit", "is less than what is kept for the job");
    assert_eq!(browser.text("#wrong-command"), "", "an old refusal is gone");
    let focus = browser.script("return document.activeElement.id");
    assert_eq!(focus, "field-memory_limit", "the field has the focus");
    // A refused request is an error to the browser, whoever meant it.
    window.finish(&["responded with a status of 4"]);
}

#[test]
fn a_waiting_job_shows_its_reason_and_starts_when_the_other_is_cancelled() {
    let Some(window) = Window::open("waiting", "") else { return };
    let browser = &window.browser;
    let first = window.submit(&job("law", &["sleep", "600"]));
    let second = window.submit(&job("code", &["true"]));
    browser.wait_for_text(".queue", "true");
    let client = window.pool.client();
    let reason = browser.wait_until("a reason", || {
        let explained = client.explain(second).expect("the job is there");
        explained.reasons.first().map(|reason| reason.message.clone())
    });
    browser.wait_for_text(".queue .reason", &reason);
    browser.click(".queue a.job");
    browser.wait_for_text("main .state", "queued");
    browser.wait_for_text(".reasons", &reason);

    window.go(&format!("#/jobs/{first}"));
    browser.wait_for_text("main .state", "running");
    browser.click("#cancel");
    browser.wait_for_text("#confirm-dialog", &format!("Cancel job {first}?"));
    browser.click("#confirm-dialog button[value=no]");
    let is_open = || browser.script("return document.querySelector('#confirm-dialog').open");
    browser.wait_until("the question to go", || (is_open() == false).then_some(()));
    let state = client.job(first).expect("the job is there").row.state;
    assert_eq!(state, JobState::Running, "who says no cancels nothing");
    browser.click("#cancel");
    browser.click("#confirm-yes");
    browser.wait_for_text("main .state", "cancelled");
    window.go(&format!("#/jobs/{second}"));
    browser.wait_for_text("main .state", "succeeded");
    window.finish(&[]);
}

#[test]
fn a_running_job_gets_other_amounts() {
    let Some(window) = Window::open("resized", "") else { return };
    let browser = &window.browser;
    let id = window.submit(&small_job("law", &["sleep", "600"]));
    window.go(&format!("#/jobs/{id}"));
    browser.wait_for_text("main", "10% · held by");
    browser.click("main > details > summary");
    browser.type_into("#resize-form input[name=compute]", "20%");
    browser.click("#resize-form button[type=submit]");
    browser.wait_for_text("main", "20% · held by");
    browser.wait_for_text("main", "has other limits");
    window.finish(&[]);
}

#[test]
fn use_is_drawn_with_the_minutes_before_the_page_was_opened() {
    let Some(window) = Window::open("use", "#/submit") else { return };
    let browser = &window.browser;
    let id = window.submit(&small_job("law", &["sh", "-c", "while :; do :; done"]));
    let client = window.pool.client();
    let readings = || client.job(id).expect("the job is there").usage.map(|usage| usage.at_ms);
    let first = browser.wait_until("the job's use to be known", readings);
    browser.wait_until("it to be read again", || readings().filter(|&at_ms| at_ms > first));
    // A line needs two readings, and this page was not there for the first of them.
    let points = |css: &str| {
        let script = format!("return document.querySelector({css:?})?.getAttribute('d') ?? ''");
        let line = browser.script(&script).as_str().unwrap_or_default().to_owned();
        line.contains('L').then_some(line)
    };
    let began = "window.asked = []; const real = fetch; \
                 window.fetch = (path, ...rest) => { asked.push(path); return real(path, ...rest); }";
    browser.script(began);
    window.go("#/");
    browser.wait_until("a line of the card's use", || points(".card .chart .compute"));
    browser.wait_until("a line of all cards' use", || points(".total .chart .used"));
    let asked =
        browser.script("return asked.filter((path) => path.includes('history=true')).length");
    assert!(asked.as_u64() >= Some(1), "the pool is asked for the minutes before");
    browser.wait_for_text(".slices", "uses ");
    browser.wait_for_text(".totals", "in use, 0.1 cards kept, of 1 card");
    assert!(browser.find(".slice-use").is_some(), "a slice's use is drawn in its bar");
    window.go(&format!("#/jobs/{id}"));
    browser.wait_until("a line of the job's use", || points(".use-now .chart .compute"));
    browser.wait_for_text("main", "uses ");
    window.finish(&[]);
}

#[test]
fn jobs_are_filtered_and_the_address_keeps_the_filter() {
    let Some(window) = Window::open("filtered", "#/jobs") else { return };
    let browser = &window.browser;
    for tenant in ["law", "code", "law"] {
        window.submit(&small_job(tenant, &["sleep", "600"]));
    }
    let named = JobRequest { name: Some("needle".to_owned()), ..small_job("code", &["true"]) };
    let named = window.submit(&named);
    browser.wait_for_text("#jobs-status", "4 jobs");

    browser.choose("#tenant", "law");
    browser.wait_for_text("#jobs-status", "2 jobs");
    assert!(texts(browser, "tbody tr").iter().all(|row| row.contains("law")));
    browser.reload();
    browser.wait_for_text("#jobs-status", "2 jobs");
    browser.choose("#state", "ended");
    browser.wait_for_text("main .empty", "No job is like that.");
    browser.click("main .empty button");
    browser.wait_for_text("#jobs-status", "4 jobs");

    browser.script("document.activeElement.blur()");
    browser.type_keys("/needle");
    browser.wait_for_text("#jobs-status", "1 job shown");
    assert_eq!(texts(browser, "tbody tr").len(), 1);
    browser.click("tbody a.job");
    browser.wait_for_text("#job-title", &format!("Job {named} needle"));
    window.finish(&[]);
}

#[test]
fn a_page_that_is_reloaded_goes_on_being_live() {
    let Some(window) = Window::open("reloaded", "#/jobs") else { return };
    let browser = &window.browser;
    let first = window.submit(&small_job("law", &["sleep", "600"]));
    browser.wait_for_text("tbody", "running");
    for _ in 0..3 {
        browser.reload();
        window.submit(&small_job("law", &["sleep", "600"]));
    }
    browser.wait_for_text("#jobs-status", "4 jobs");
    browser.wait_for_text("#connection", "Live");
    window.pool.client().cancel(first).expect("a job can be cancelled");
    browser.wait_for_text("tbody", "cancelled");
    window.finish(&[]);
}

#[test]
fn a_page_outlives_the_daemon() {
    let Some(window) = Window::open("restarted", "#/jobs") else { return };
    let browser = &window.browser;
    let before = window.submit(&small_job("law", &["sleep", "600"]));
    browser.wait_for_text("tbody", "running");
    browser.script(
        "window.said = [];
         new MutationObserver(() => said.push(document.querySelector('#connection').textContent))
           .observe(document.querySelector('#connection'), { childList: true, subtree: true, characterData: true });",
    );
    window.pool.restart();
    let said = browser.wait_until("the page to be connected again", || {
        let said = browser.script("return said.join(' ')");
        said.as_str().filter(|said| said.ends_with("Live")).map(str::to_owned)
    });
    assert!(said.starts_with("Reconnecting"), "the header said {said:?}");
    let after = window.submit(&small_job("law", &["sleep", "600"]));
    browser.wait_for(&format!("tbody a[href='#/jobs/{before}']"));
    browser.wait_for(&format!("tbody a[href='#/jobs/{after}']"));
    window.finish(&["net::ERR_", "responded with a status of 503"]);
}

#[test]
fn ten_thousand_jobs_are_shown_within_a_second() {
    const JOBS: u32 = 10_000;
    let Some(window) = Window::open("many", "#/tenants") else { return };
    let browser = &window.browser;
    let needle = JobRequest { name: Some("needle".to_owned()), ..job("law", &["sleep", "600"]) };
    let needle = window.submit(&needle);
    window.pool.submit_many(&job("law", &["true"]), JOBS - 1);
    browser.wait_for_text("#glance", "9,999 queued");
    let milliseconds = browser.script(
        "const began = performance.now();
         location.hash = '#/jobs';
         return new Promise((done) => {
           const look = () => document.querySelectorAll('tbody tr').length === 100
             ? done(performance.now() - began) : requestAnimationFrame(look);
           look();
         });",
    );
    let milliseconds = milliseconds.as_f64().expect("a time is a number");
    eprintln!("the first 100 of {JOBS} jobs were shown after {milliseconds:.0} ms");
    assert!(milliseconds < 1000.0, "it took {milliseconds} ms");
    browser.wait_for_text("#jobs-status", "100 of 10,000 jobs shown");
    browser.click("#more");
    browser.wait_for_text("#jobs-status", "200 of 10,000 jobs shown");
    browser.type_into("#filter", "needle");
    browser.wait_for(&format!("tbody tr:only-child a[href='#/jobs/{needle}']"));
    window.finish(&[]);
}

#[test]
fn a_narrow_window_needs_no_sideways_scrolling() {
    let Some(window) = Window::open("narrow", "") else { return };
    let browser = &window.browser;
    let long = JobRequest { name: Some("long".repeat(32)), ..small_job("law", &["sleep", "600"]) };
    let id = window.submit(&long);
    let tenant = "t".repeat(63);
    let set = window.pool.client().put_tenant(&tenant, &TenantRequest::default());
    set.expect("a tenant can be added");
    window.submit(&job(&tenant, &["true"]));
    assert_eq!(browser.resize(320, 640), 320);
    let pages = ["", "#/jobs", "#/tenants", "#/submit", &format!("#/jobs/{id}"), "#/jobs/2"];
    for page in pages {
        window.go(page);
        browser.wait_for_text("#glance", "1 running");
        browser.wait_until("the page to be there", || {
            browser.text("main").contains("Asking the pool").eq(&false).then_some(())
        });
        let width = browser.script("return document.documentElement.scrollWidth");
        assert_eq!(width, 320, "{page:?} is wider than the window");
    }
    window.finish(&[]);
}

#[test]
fn a_job_is_submitted_by_keyboard_alone() {
    let Some(window) = Window::open("keyboard", "") else { return };
    let browser = &window.browser;
    let tab_to = |what: &str, is_there: &str| {
        let script = format!("const e = document.activeElement; return {is_there};");
        for _ in 0..60 {
            browser.press(Key::Tab);
            if browser.script(&script) == true {
                return;
            }
        }
        panic!("{what} cannot be reached with Tab");
    };
    browser.press(Key::Tab);
    let first = browser.script("return document.activeElement.textContent");
    assert_eq!(first, "Skip to the content");
    tab_to("the link to the form", "e.getAttribute('href') === '#/submit'");
    browser.press(Key::Enter);
    browser.wait_for_text("h1", "Submit a job");
    tab_to("the command", "e.id === 'field-command'");
    browser.type_keys("true");
    tab_to("the tenant", "e.id === 'field-tenant'");
    browser.type_keys("law");
    tab_to("the button", "e.type === 'submit' && e.form?.id === 'submit-form'");
    let outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "the focus is seen");
    browser.press(Key::Enter);
    browser.wait_for_text("#job-title", "Job 1 true");
    browser.wait_for_text("main .state", "succeeded");
    let focus = browser.script("return document.activeElement.tagName");
    assert_eq!(focus, "H1", "the focus follows to the new page");
    window.finish(&[]);
}

#[test]
fn hostile_text_is_inert() {
    let Some(window) = Window::open("hostile", "") else { return };
    let browser = &window.browser;
    let name = "<img src=x onerror='owned=1'><script>owned=1</script>&amp;\u{202e}gnp";
    let shown = name.replace('\u{202e}', "\u{fffd}");
    let print = "printf '<b id=owned>x</b>\\033[31mred\\007\\n'; sleep 600";
    let hostile = JobRequest {
        name: Some(name.to_owned()),
        ..small_job("law", &["sh", "-c", print, "\u{1b}[2J<i id=owned>"])
    };
    let id = window.submit(&hostile);
    let waiting = JobRequest { name: Some(name.to_owned()), ..job("law", &["true"]) };
    let waiting = window.submit(&waiting);
    browser.wait_for_text(".queue", &shown);
    for page in [format!("#/jobs/{id}"), "#/jobs".to_owned(), format!("#/jobs/{waiting}")] {
        window.go(&page);
        browser.wait_for_text("main", &shown);
        let found =
            browser.script("return document.querySelector('main img, main script, #owned')");
        assert_eq!(found, Value::Null, "{page} has markup of a job's making");
    }
    window.go(&format!("#/jobs/{id}"));
    browser.wait_for_text(".log", "<b id=owned>x</b>red\u{2407}");
    browser.wait_for_text("main dl", "\u{241b}[2J<i id=owned>");
    assert_eq!(browser.script("return window.owned?.nodeType ?? window.owned"), Value::Null);
    window.finish(&[]);
}

#[test]
fn a_hidden_page_asks_nothing() {
    let Some(window) = Window::open("hidden", "") else { return };
    let browser = &window.browser;
    browser.script(
        "window.asked = 0;
         const real = window.fetch;
         window.fetch = (...given) => { asked++; return real(...given); };
         window.look = (state) => {
           Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
           document.dispatchEvent(new Event('visibilitychange'));
         };",
    );
    browser.wait_until("the page to ask", || {
        (browser.script("return asked").as_u64() > Some(1)).then_some(())
    });
    browser.script("look('hidden'); asked = 0;");
    browser.wait_for_text("#connection", "Paused");
    // While a job begins and ends, a page that listened would have asked.
    let id = window.submit(&small_job("law", &["sleep", "3"]));
    let client = window.pool.client();
    browser.wait_until("the job to end", || {
        let state = client.job(id).expect("the job is there").row.state;
        (state == JobState::Ended).then_some(())
    });
    assert_eq!(browser.script("return asked"), 0, "a hidden page asked the pool");
    browser.script("look('visible')");
    browser.wait_for_text("#connection", "Live");
    browser.wait_for_text("#glance", "1 ended");
    window.finish(&[]);
}
