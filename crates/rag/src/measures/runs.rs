//! One or two TREC runs beside judgments.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cotenant_eval::trec::{Qrels, Run, TrecError, judged};
use cotenant_eval::{Evaluation, Judged, Metric, Ties};
use serde::Serialize;

use super::columns::{self, Gain, Mean};
use super::error::MeasureError;
use crate::tracking::Measured;

/// Largest file of a run or of judgments.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// What is asked about runs.
#[derive(Clone, Debug)]
pub struct RunsQuestion {
    /// The first run, or the only one.
    pub before: PathBuf,
    /// A run to compare with the first.
    pub after: Option<PathBuf>,
    /// The judgments, of TREC or BEIR.
    pub qrels: PathBuf,
    /// Documents of each ranking that are looked at; at least 1.
    pub depth: usize,
    /// Which of two documents with one score comes first.
    pub ties: Ties,
}

/// How good runs are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunsReport {
    /// Documents of each ranking that were looked at.
    pub depth: usize,
    /// Judged queries with a relevant document; one that a run lacks scores 0.
    pub queries: usize,
    /// Each run.
    pub runs: Vec<RunQuality>,
    /// What the second gains, if there are two.
    pub gains: Option<Vec<Gain>>,
}

impl RunsReport {
    /// What of it is worth keeping: the means of the last run, and its gains over the first.
    pub fn measured(&self) -> Measured {
        let last = self.runs.last().expect("a report has one run or two");
        let mut parameters = vec![("depth".to_owned(), self.depth.to_string())];
        parameters.push(("queries".to_owned(), self.queries.to_string()));
        for (run, place) in self.runs.iter().zip(1..) {
            parameters.push((format!("run_{place}"), run.tag.clone()));
        }
        let suffix = format!("_{}", self.depth);
        let metrics = columns::measured(&last.means, self.gains.as_deref(), &suffix);
        Measured { name: last.tag.clone(), parameters, metrics }
    }
}

/// How good one run is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunQuality {
    /// Its file.
    pub file: PathBuf,
    /// The name that it has for itself.
    pub tag: String,
    /// Judged queries that it has no document for.
    pub missing: usize,
    /// Each metric.
    pub means: Vec<Mean>,
}

/// Scores runs, and compares the second with the first.
///
/// # Errors
/// [`MeasureError`] if a file cannot be read, or no query has a relevant document.
pub fn compare_runs(question: &RunsQuestion) -> Result<RunsReport, MeasureError> {
    let qrels = read(&question.qrels, Qrels::parse)?;
    let mut evaluations = Vec::new();
    let mut runs = Vec::new();
    for file in [Some(&question.before), question.after.as_ref()].into_iter().flatten() {
        let run = read(file, Run::parse)?;
        let judged = judged(&run, &qrels, question.ties);
        if judged.is_empty() {
            return Err(MeasureError::NothingRelevant { path: question.qrels.clone() });
        }
        let missing = judged.iter().filter(|(_, judged)| judged.grades().is_empty()).count();
        let judged: Vec<Judged> = judged.into_iter().map(|(_, judged)| judged).collect();
        let evaluation = Evaluation::new(question.depth, &judged);
        let mean = |metric: Metric| Mean::of(metric.name(), &evaluation.column(metric));
        let means = Metric::ALL.map(mean).to_vec();
        let tag = run.tag().to_owned();
        runs.push(RunQuality { file: file.clone(), tag, missing, means });
        evaluations.push(evaluation);
    }
    let gains = match evaluations.as_slice() {
        [before, after] => Some(Metric::ALL.map(|metric| {
            Gain::of(metric.name(), [&before.column(metric), &after.column(metric)])
        })),
        _ => None,
    };
    let queries = evaluations[0].queries().len();
    let gains = gains.map(|gains| gains.to_vec());
    Ok(RunsReport { depth: question.depth, queries, runs, gains })
}

/// Reads a file of TREC's, with a bound on its size.
pub(super) fn read<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, TrecError>,
) -> Result<T, MeasureError> {
    let of_system = |source| MeasureError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(of_system)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(of_system)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(MeasureError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    let text = String::from_utf8(bytes).map_err(|error| MeasureError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    parse(&text).map_err(|source| MeasureError::Trec { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn two_runs_are_compared_query_by_query() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let lines = |documents: [&str; 2]| -> String {
            let queries = documents.iter().zip(1..);
            queries.map(|(document, query)| format!("{query} Q0 {document} 1 1.0 run\n")).collect()
        };
        let question = RunsQuestion {
            before: file("before", &lines(["a", "x"])),
            after: Some(file("after", &lines(["a", "b"]))),
            qrels: file("qrels", "1 0 a 1\n2 0 b 1\n3 0 c 1\n4 0 d 0\n"),
            depth: 10,
            ties: Ties::default(),
        };
        let report = compare_runs(&question).unwrap();
        assert_eq!((report.queries, report.runs[1].missing), (3, 1));
        let gain = &report.gains.as_ref().unwrap()[0];
        let measured = report.measured();
        assert_eq!(measured.parameters[3], ("run_2".to_owned(), "run".to_owned()));
        assert_eq!(measured.metrics.len(), 18);
        assert_eq!(measured.metrics[0], ("ndcg_10".to_owned(), 2.0 / 3.0));
        assert_eq!(measured.metrics[7].0, "ndcg_10_gain_p");
        assert_eq!((gain.metric.as_str(), gain.randomisation_p), ("ndcg", 1.0));
        assert!((gain.difference - 1.0 / 3.0).abs() < 1e-12, "{gain:?}");

        let alone = compare_runs(&RunsQuestion { after: None, ..question.clone() }).unwrap();
        assert_eq!((alone.gains, &alone.runs[0]), (None, &report.runs[0]));
        let same = RunsQuestion { after: Some(question.before.clone()), ..question.clone() };
        let gain = &compare_runs(&same).unwrap().gains.unwrap()[0];
        assert_eq!((gain.difference, gain.low, gain.high, gain.student_p), (0.0, 0.0, 0.0, None));

        let nothing = RunsQuestion { qrels: file("none", "1 0 a 0\n"), ..question.clone() };
        let error = compare_runs(&nothing).unwrap_err().to_string();
        assert!(error.contains("no query has a relevant document"), "{error}");
        fs::write(&question.qrels, b"1 0 \xff 0\n").unwrap();
        let error = compare_runs(&question).unwrap_err().to_string();
        assert!(error.contains("byte 4 is not UTF-8"), "{error}");
    }
}
