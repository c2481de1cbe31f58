//! Checkpoints of a tiny training.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use cotenant_train::{
    Base, CheckpointError, Evaluation, Example, Length, Limits, Settings, TenantSpec, TextError,
    Texts, Trainer, assemble_checkpoint,
};
use cotenant_transformer::{
    Cpu, Encoder, EncoderConfig, EncoderWeights, LayerChoice, LayerWeights, Linear, LoraSpec,
    Module, Norm, Pooling, Precision,
};

use crate::Verdict;
use crate::memory;
use crate::message;
use crate::scratch::Scratch;

const FILE: &str = "run.checkpoint";
const HIDDEN: usize = 4;
const WORDS: usize = 8;
/// Bytes in front of the description: magic, format, length.
const HEAD_BYTES: usize = 20;
/// More rounds than the tiny training has.
const ROUNDS_MAX: usize = 40;

/// A checkpoint, as the file itself and as a description followed by sections (see
/// [`checkpoint_seed`]), since nobody guesses hashes: what is resumed is written again as the same
/// checkpoint, and trains to its end.
pub fn checkpoint(bytes: &[u8]) -> Verdict {
    match check(bytes) {
        Verdict::Accepted => Verdict::Accepted,
        Verdict::Refused => check(&assemble(bytes)),
    }
}

/// A good input after so many rounds: the description as JSON, a zero byte, and each section as the
/// number of its values in one byte and the values.
pub fn checkpoint_seed(rounds: usize) -> Vec<u8> {
    let scratch = Scratch::new(&[]);
    let mut trainer = trainer();
    (0..rounds).for_each(|_| round(&mut trainer));
    let path = scratch.at(FILE);
    trainer.checkpoint(&path).expect("there is room for a small file");
    let file = fs::read(path).expect("it was written");
    let mut sections = Sections(&file[HEAD_BYTES - 8..]);
    let mut seed = sections.next().expect("there is a description").to_vec();
    seed.push(0);
    for section in sections {
        seed.push((section.len() / 4) as u8);
        seed.extend(section);
    }
    seed
}

/// The sections of a good checkpoint: each a length, bytes and a hash.
struct Sections<'a>(&'a [u8]);

impl<'a> Iterator for Sections<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<8>()?;
        let (section, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        self.0 = &rest[8..];
        Some(section)
    }
}

fn assemble(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let mut rest = bytes.get(end + 1..).unwrap_or_default();
    let mut sections = Vec::new();
    while let Some((&values, after)) = rest.split_first() {
        let (section, after) = after.split_at(after.len().min(4 * usize::from(values)));
        sections.push(section);
        rest = after;
    }
    assemble_checkpoint(&bytes[..end], &sections)
}

fn check(file: &[u8]) -> Verdict {
    let scratch = Scratch::new(&[(FILE, file)]);
    let mut trainer = trainer();
    let resumed = memory::bounded(file.len(), || trainer.resume(&scratch.at(FILE)));
    if let Err(error) = resumed {
        message::check(&error, scratch.path());
        return Verdict::Refused;
    }
    let (written, rewritten) = (scratch.at("written"), scratch.at("rewritten"));
    trainer.checkpoint(&written).expect("there is room for a small file");
    resume(&written).and_then(|trainer| trainer.checkpoint(&rewritten)).expect("it is whole");
    let same = fs::read(written).ok() == fs::read(rewritten).ok();
    assert!(same, "it changed when it was read and written");
    (0..ROUNDS_MAX).for_each(|_| round(&mut trainer));
    assert!(trainer.is_done(), "it never ends: {:?}", trainer.tenants());
    Verdict::Accepted
}

fn resume(path: &Path) -> Result<Trainer<Cpu>, CheckpointError> {
    let mut trainer = trainer();
    trainer.resume(path)?;
    Ok(trainer)
}

fn round(trainer: &mut Trainer<Cpu>) {
    trainer.run_round();
    for (id, step) in trainer.awaiting_score() {
        trainer.report_score(id, step as f64).expect("it waits for a score");
    }
}

/// A tenant that is judged after each of its four steps of two batches.
fn trainer() -> Trainer<Cpu> {
    static ENCODER: OnceLock<Arc<Encoder<Cpu>>> = OnceLock::new();
    let base = Base { encoder: Arc::clone(ENCODER.get_or_init(encoder)), fingerprint: 1 };
    let mut trainer = Trainer::new(base, Limits::default()).expect("the limits are good");
    let settings = Settings {
        lora: LoraSpec {
            rank: 1,
            alpha: 1.0,
            rslora: false,
            targets: vec![Module::Query],
            layers: LayerChoice::All,
        },
        batch: 2,
        length: Length::Epochs(2),
        accumulate: 2,
        evaluation: Some(Evaluation { every_steps: 1, patience: Some(2) }),
        ..Settings::default()
    };
    let pair = |i| Example::Pair { anchor: i, positive: i + 6, negatives: Vec::new() };
    let examples = (0..6).map(pair).collect();
    let texts = Arc::new(TwoWords);
    let spec = TenantSpec { name: "a".to_owned(), examples, texts, settings, adapter: None };
    trainer.add(spec).expect("the tenant is good");
    trainer
}

fn encoder() -> Arc<Encoder<Cpu>> {
    let config = EncoderConfig {
        hidden: HIDDEN,
        layers: 1,
        heads: 1,
        intermediate: HIDDEN,
        vocab: WORDS,
        positions: 4,
        token_types: 1,
        norm_eps: 1e-6,
        position_offset: 0,
    };
    let values = |len: usize| (0..len).map(|i| (i * 7 % 13) as f32 / 13.0 - 0.4).collect();
    let norm = || Norm { gain: vec![1.0; HIDDEN], bias: vec![0.0; HIDDEN] };
    let (inputs, outputs) = (HIDDEN, HIDDEN);
    let linear =
        || Linear { weight: values(inputs * outputs), bias: values(outputs), inputs, outputs };
    let layer = LayerWeights {
        query: linear(),
        key: linear(),
        value: linear(),
        attention_output: linear(),
        attention_norm: norm(),
        intermediate: linear(),
        output: linear(),
        output_norm: norm(),
    };
    let weights = EncoderWeights {
        words: values(WORDS * HIDDEN),
        positions: values(config.positions * HIDDEN),
        token_types: values(HIDDEN),
        norm: norm(),
        layers: vec![layer],
    };
    let cpu = Cpu::new(Precision::F32).expect("every processor has f32");
    Arc::new(Encoder::new(cpu, config, weights, Pooling::Mean, true))
}

/// Texts of two words each.
struct TwoWords;

impl Texts for TwoWords {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        Ok([text % WORDS as u32, text / 2].into())
    }

    fn key(&self, text: u32) -> u64 {
        u64::from(text)
    }
}
