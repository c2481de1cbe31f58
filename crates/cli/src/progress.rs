//! Progress bars over a run's events.

use std::collections::BTreeMap;
use std::sync::Mutex;

use cotenant_rag::job::{Observer, RunEvent, Stage};
use cotenant_rag::models::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::console::Console;

/// Draws a bar for each stage under way, and writes what stays above the bars.
pub(crate) struct Bars {
    screen: MultiProgress,
    bars: Mutex<BTreeMap<(String, Stage), ProgressBar>>,
    losses: Mutex<BTreeMap<String, String>>,
    quiet: bool,
}

impl Bars {
    /// Bars on stderr; none if quiet, and none but lines where stderr is no terminal.
    pub(crate) fn new(quiet: bool) -> Self {
        let screen = MultiProgress::new();
        Self { screen, bars: Mutex::default(), losses: Mutex::default(), quiet }
    }

    fn say(&self, text: String) {
        if self.quiet {
            return;
        }
        if self.screen.is_hidden() {
            Console { json: false, quiet: false }.say(&text);
        } else {
            // A terminal that cannot be written to has nobody to tell.
            let _ = self.screen.println(text);
        }
    }

    fn started(&self, tenant: &str, stage: Stage, total: u64) {
        if self.screen.is_hidden() {
            return self.say(label(tenant, stage));
        }
        let template = if total == 0 {
            "{msg} {spinner} {elapsed}"
        } else {
            "{msg} {wide_bar} {pos}/{len} {elapsed} left {eta} {prefix}"
        };
        let style = ProgressStyle::with_template(template).expect("a template of our own");
        let bar = self.screen.add(ProgressBar::new(total).with_style(style));
        bar.set_message(label(tenant, stage));
        self.bars.lock().expect("no thread panicked").insert((tenant.to_owned(), stage), bar);
    }

    fn with_bar(&self, tenant: &str, stage: Stage, act: impl FnOnce(&ProgressBar)) {
        let bars = self.bars.lock().expect("no thread panicked");
        if let Some(bar) = bars.get(&(tenant.to_owned(), stage)) {
            act(bar);
        }
    }

    fn loss(&self, tenant: &str, loss: f32) {
        let mut losses = self.losses.lock().expect("no thread panicked");
        losses.insert(tenant.to_owned(), format!("{tenant} {loss:.3}"));
        let all = losses.values().cloned().collect::<Vec<_>>().join("  ");
        self.with_bar("", Stage::Train, |bar| bar.set_prefix(format!("loss {all}")));
    }
}

/// A bar for work of which it turns out as it goes how much there is.
pub(crate) struct Counting(ProgressBar);

impl Counting {
    /// A bar on stderr; none if quiet, nor where stderr is no terminal.
    pub(crate) fn new(what: &str, quiet: bool) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}");
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let bar = bar.with_style(style.expect("a template of our own"));
        bar.set_message(what.to_owned());
        Self(bar)
    }

    /// So much is done of so much.
    pub(crate) fn show(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// It is done.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn label(tenant: &str, stage: Stage) -> String {
    if tenant.is_empty() {
        return stage.title().to_owned();
    }
    format!("{tenant}: {}", stage.title())
}

impl Observer for Bars {
    fn on_event(&self, event: &RunEvent) {
        if self.quiet {
            return;
        }
        match event {
            RunEvent::Warned { tenant, message } => {
                self.say(format!("warning: {tenant}: {message}"))
            }
            RunEvent::StageStarted { tenant, stage, total } => self.started(tenant, *stage, *total),
            RunEvent::StageAdvanced { tenant, stage, by } => {
                self.with_bar(tenant, *stage, |bar| bar.inc(*by));
            }
            RunEvent::StageFinished { tenant, stage } => {
                self.with_bar(tenant, *stage, |bar| bar.finish_and_clear());
            }
            RunEvent::StepFinished { tenant, loss, .. } => self.loss(tenant, *loss),
            RunEvent::Scored { tenant, step, ndcg10, improved } => {
                let kept = if *improved { ", kept" } else { "" };
                self.say(format!("{tenant}: nDCG@10 {ndcg10:.4} on dev after step {step}{kept}"));
            }
            RunEvent::TenantFinished { tenant, reason, failed } => {
                let how = if *failed { "stopped" } else { "finished" };
                self.say(format!("{tenant}: training {how}: {reason}"));
            }
            RunEvent::CheckpointWritten => {}
        }
    }
}

/// Draws a model's download.
pub(crate) struct Download {
    bar: ProgressBar,
    console: Console,
}

impl Download {
    /// A download that has not begun.
    pub(crate) fn new(console: &Console) -> Self {
        let bar = if console.quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let style = ProgressStyle::with_template("{msg} {bytes} {bytes_per_sec} {elapsed}")
            .expect("a template of our own");
        Self { bar: bar.with_style(style), console: *console }
    }

    /// Shows how far it is.
    pub(crate) fn on_progress(&self, progress: &Progress) {
        match progress {
            Progress::Trying { source } => self.console.say(&format!("fetching from {source}")),
            Progress::Bytes { file, done, total } => {
                self.bar.set_message(file.clone());
                if let Some(total) = total {
                    self.bar.set_length(*total);
                }
                self.bar.set_position(*done);
            }
            Progress::Verifying { file } => self.bar.set_message(format!("verifying {file}")),
            Progress::Installed { folder } => {
                self.bar.finish_and_clear();
                self.console.say(&format!("model in {}", folder.display()));
            }
        }
    }
}
