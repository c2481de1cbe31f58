//! What a person or a program reads of a diagnosis.

use serde::Serialize;

use crate::diagnose::{Diagnosis, Finding, time};
use crate::observed::Note;

/// A diagnosis for programs; its keys stay.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// For how long the program was watched.
    pub watched_s: f64,
    /// `card` or `processor`: what would be busy if nothing were in its way.
    pub of: &'static str,
    /// The time that shares are of.
    pub window_s: f64,
    /// How much of it that was busy.
    pub busy: f64,
    /// Causes, the costliest first; none if there is nothing to say.
    pub findings: Vec<ReportedFinding>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

/// A finding for programs.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedFinding {
    /// The cause by name.
    pub cause: &'static str,
    /// Its share of the window.
    pub share: f64,
    /// Its time.
    pub cost_s: f64,
    /// What it is.
    pub what: &'static str,
    /// What it was seen by.
    pub seen: String,
    /// What to change.
    pub remedy: &'static str,
}

impl Diagnosis {
    /// For programs.
    #[must_use]
    pub fn report(&self) -> Report {
        let seconds = |ns: u64| (ns as f64 / 1e6).round() / 1e3;
        let finding = |finding: &Finding| ReportedFinding {
            cause: finding.cause.name(),
            share: f64::from(finding.share_milli) / 1e3,
            cost_s: seconds(finding.cost_ns),
            what: finding.cause.what(),
            seen: finding.seen.clone(),
            remedy: finding.cause.remedy(),
        };
        Report {
            watched_s: seconds(self.wall_ns),
            of: if self.has_card { "card" } else { "processor" },
            window_s: seconds(self.window_ns),
            busy: f64::from(self.busy_milli) / 1e3,
            findings: self.findings.iter().map(finding).collect(),
            notes: self.notes.iter().map(Note::text).collect(),
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![self.headline()];
        for (at, finding) in self.findings.iter().enumerate() {
            let percent = percent(finding.share_milli);
            lines.push(String::new());
            lines.push(format!("{}. {percent} of the time {}.", at + 1, finding.cause.what()));
            if !finding.seen.is_empty() {
                lines.push(format!("   seen: {}", finding.seen));
            }
            lines.push(format!("   try:  {}", finding.cause.remedy()));
        }
        if !self.notes.is_empty() {
            lines.push(String::new());
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {}", note.text())));
        lines.join("\n")
    }

    fn headline(&self) -> String {
        let busy = percent(self.busy_milli);
        let window = time(self.window_ns);
        let is_busy = match self.has_card {
            true => format!("The card had work for {busy} of the {window} since its first."),
            false => format!("It computed for {busy} of {window}; it used no card that was seen."),
        };
        let is_well = self.findings.is_empty() && !self.notes.contains(&Note::Brief);
        match is_well {
            true => format!("{is_busy} Nothing in particular keeps it from more."),
            false => is_busy,
        }
    }
}

impl Note {
    /// As a sentence.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::NoLibrary(why) => {
                let why = why.replace('\n', "; ");
                format!("what the program asks of a card was not seen: failed to {why}")
            }
            Self::CardUnseen { pid } => format!(
                "what process {pid} asks of a card was not seen, since the preload library could \
                 not enter it: it may be linked statically, or run with more rights than its caller"
            ),
            Self::Denied { processes } => format!(
                "what {processes} of its processes wait for could not be looked at, only whether \
                 they run: they belong to another user, or this system forbids it"
            ),
            Self::TooMany => {
                "it has more processes or threads than are looked at; the rest is left out"
                    .to_owned()
            }
            Self::SeveralUseCards { processes } => format!(
                "{processes} of its processes used cards; all this is of the one that submitted most"
            ),
            Self::Brief => "it ended before much could be seen".to_owned(),
        }
    }
}

fn percent(milli: u32) -> String {
    format!("{} %", (milli + 5) / 10)
}
