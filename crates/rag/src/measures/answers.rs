//! Files of generated answers, each beside its reference.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use cotenant_eval::text::{Bleu, Language, Overlap, Pair, Rouge, Stemming, meteor, words};
use serde::Serialize;

use super::columns::{self, Gain, Mean};
use super::error::MeasureError;
use crate::data::lines::{Lines, ObjectLine};
use crate::tracking::Measured;

/// Longest answer or reference: the longest common subsequence takes time in proportion to the
/// product of both lengths.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most answers of a file.
const ANSWERS_MAX: usize = 1_000_000;
/// Reading a file of answers is not stopped.
static NEVER: AtomicBool = AtomicBool::new(false);

/// What is asked about answers.
#[derive(Clone, Debug)]
pub struct AnswersQuestion {
    /// The first file, or the only one: JSONL with `reference` and `answer`.
    pub before: PathBuf,
    /// A file to compare with the first, with the same references in the same order.
    pub after: Option<PathBuf>,
    /// The language of the answers.
    pub language: Language,
    /// Whether ROUGE compares stems.
    pub stemming: Stemming,
}

/// How good answers are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswersReport {
    /// Answers of each file.
    pub answers: usize,
    /// Each file.
    pub files: Vec<AnswersQuality>,
    /// What the second gains, if there are two.
    pub gains: Option<Vec<Gain>>,
}

impl AnswersReport {
    /// What of it is worth keeping: the means of the last file, and its gains over the first.
    pub fn measured(&self) -> Measured {
        let last = self.files.last().expect("a report has one file or two");
        let name = |file: &Path| file.file_name().unwrap_or_default().display().to_string();
        let mut parameters = vec![("answers".to_owned(), self.answers.to_string())];
        for (file, place) in self.files.iter().zip(1..) {
            parameters.push((format!("file_{place}"), name(&file.file)));
        }
        let mut metrics = columns::measured(&last.means, self.gains.as_deref(), "");
        metrics.push(("corpus_bleu".to_owned(), last.corpus_bleu));
        Measured { name: name(&last.file), parameters, metrics }
    }
}

/// How good the answers of one file are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswersQuality {
    /// The file.
    pub file: PathBuf,
    /// BLEU of all answers together, in `[0, 1]`.
    pub corpus_bleu: f64,
    /// The means of what is computed for each answer.
    pub means: Vec<Mean>,
}

/// One answer and its reference.
struct Answered {
    reference: String,
    answer: String,
}

/// One number an answer, for each metric.
struct Columns {
    columns: [(&'static str, Vec<f64>); 9],
    bleu: Bleu,
}

/// Scores answers, and compares the second file with the first.
///
/// # Errors
/// [`MeasureError`] if a file cannot be read or two files do not belong together.
pub fn compare_answers(question: &AnswersQuestion) -> Result<AnswersReport, MeasureError> {
    let before = read(&question.before)?;
    let after = question.after.as_deref().map(read).transpose()?;
    if let Some(after) = &after {
        check_pairs(&before, after)?;
    }
    let scored = [Some(&before), after.as_ref()].into_iter().flatten();
    let scored: Vec<Columns> = scored.map(|answers| Columns::new(answers, question)).collect();
    let files = [Some(&question.before), question.after.as_ref()].into_iter().flatten();
    let quality = |(file, scored): (&PathBuf, &Columns)| AnswersQuality {
        file: file.clone(),
        corpus_bleu: scored.bleu.score(),
        means: scored.columns.iter().map(|(name, column)| Mean::of(*name, column)).collect(),
    };
    let gains = match scored.as_slice() {
        [before, after] => {
            let columns = before.columns.iter().zip(&after.columns);
            Some(columns.map(|((name, one), (_, other))| Gain::of(*name, [one, other])).collect())
        }
        _ => None,
    };
    let files = files.zip(&scored).map(quality).collect();
    Ok(AnswersReport { answers: before.len(), files, gains })
}

impl Columns {
    fn new(answers: &[Answered], question: &AnswersQuestion) -> Self {
        let names = [
            "rouge1_precision",
            "rouge1_recall",
            "rouge1",
            "rouge2",
            "rougeL_precision",
            "rougeL_recall",
            "rougeL",
            "bleu",
            "meteor",
        ];
        let mut columns = names.map(|name| (name, Vec::with_capacity(answers.len())));
        let mut all = Bleu::default();
        for Answered { reference, answer } in answers {
            let rouge =
                Rouge::new(Pair { reference, answer }, question.language, question.stemming);
            let bleu = Bleu::new(&[reference], answer, question.language);
            all += bleu;
            let Rouge { one, two, longest } = rouge;
            let [one, longest] =
                [one, longest].map(|Overlap { precision, recall, f1 }| [precision, recall, f1]);
            let rest = [bleu.sentence_score(), meteor(&[words(reference)], &words(answer))];
            let values = one.into_iter().chain([two.f1]).chain(longest).chain(rest);
            for ((_, column), value) in columns.iter_mut().zip(values) {
                column.push(value);
            }
        }
        Self { columns, bleu: all }
    }
}

fn check_pairs(before: &[Answered], after: &[Answered]) -> Result<(), MeasureError> {
    if before.len() != after.len() {
        let problem = format!("{} answers stand against {}", before.len(), after.len());
        return Err(MeasureError::Unpaired { problem });
    }
    let mut pairs = before.iter().zip(after);
    match pairs.position(|(one, other)| one.reference != other.reference) {
        Some(place) => {
            let problem = format!("answer number {} has another reference", place + 1);
            Err(MeasureError::Unpaired { problem })
        }
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<Answered>, MeasureError> {
    let hint = "give a .jsonl file with a reference and an answer a line";
    let mut lines = Lines::open(path, hint, &NEVER).map_err(MeasureError::Answers)?;
    let mut answers = Vec::new();
    let problem =
        |line, problem: String| MeasureError::Answer { path: path.to_owned(), line, problem };
    while let Some((line, object)) = lines.next_object().map_err(MeasureError::Answers)? {
        if answers.len() == ANSWERS_MAX {
            return Err(problem(line, format!("there are more than {ANSWERS_MAX} answers")));
        }
        answers.push(answered((line, object)).map_err(|reason| problem(line, reason))?);
    }
    if answers.is_empty() { Err(problem(1, "there is no answer".to_owned())) } else { Ok(answers) }
}

fn answered((_, mut object): ObjectLine) -> Result<Answered, String> {
    let mut take = |key: &str| match object.remove(key) {
        Some(serde_json::Value::String(text)) if text.len() > TEXT_BYTES_MAX => {
            Err(format!("{key:?} has {} bytes, more than {TEXT_BYTES_MAX}", text.len()))
        }
        Some(serde_json::Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{key:?} is not text")),
        None => Err(format!("{key:?} is missing")),
    };
    Ok(Answered { reference: take("reference")?, answer: take("answer")? })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn two_files_of_answers_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let line = |reference: &str, answer: &str| {
            format!("{{\"reference\":\"{reference}\",\"answer\":\"{answer}\",\"id\":1}}\n")
        };
        let one = line("the cat sat on the mat", "a dog") + &line("it rains", "it rains");
        let two = line("the cat sat on the mat", "the cat sat on the mat") + &line("it rains", "");
        let question = AnswersQuestion {
            before: file("one", &one),
            after: Some(file("two", &two)),
            language: Language::English,
            stemming: Stemming::None,
        };
        let report = compare_answers(&question).unwrap();
        let rouge = |place: usize| &report.files[place].means[2];
        assert_eq!((rouge(0).metric.as_str(), rouge(0).mean, rouge(1).mean), ("rouge1", 0.5, 0.5));
        assert!(report.files[1].corpus_bleu > 0.7, "{report:?}");
        assert_eq!(report.measured().name, "two");
        let gains = report.gains.unwrap();
        assert_eq!((gains[2].difference, gains[2].randomisation_p), (0.0, 1.0));

        let check = |text: &str, expected: &str| {
            let other = AnswersQuestion { after: Some(file("bad", text)), ..question.clone() };
            let error = compare_answers(&other).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let error = format!("{error} {}", source.unwrap_or_default());
            assert!(error.contains(expected) && error.contains("hint: "), "{error}");
        };
        check(&line("it rains", "x"), "2 answers stand against 1");
        check(&(line("the cat", "x") + &line("it rains", "x")), "answer number 1 has another");
        check("\n{\"reference\":\"x\"}\n", "bad:2: \"answer\" is missing");
        check("{\"reference\":1,\"answer\":\"\"}\n", "\"reference\" is not text");
        check(&line(&"x".repeat(70_000), ""), "70000 bytes, more than 65536");
        check("", "there is no answer");
        check("[]", "not an object");
    }
}
