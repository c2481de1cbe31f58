//! Ten steps of PyTorch and peft, taken by the trainer on the device in f32: `golden/README.md` of the
//! project says what the files hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cotenant_train::{Base, Decay, Event, Example, Length, Limits, Loss, Settings, TenantSpec};
use cotenant_train::{TextError, Texts, Trainer};
use cotenant_transformer::{Adapter, Encoder, ModelFolder, Pooling, Precision};
use safetensors::SafeTensors;

use super::super::place::{Place, Stage};
use super::super::report::{Bar, Figure, Rows};
use super::super::work::apart;

const MODELS: [&str; 2] = ["bert-tiny", "roberta-tiny"];
const STEPS: u64 = 10;
/// Losses and norms of gradients, as a part of the largest: sums in another order, each step on what
/// the steps before left.
const CURVE: f64 = 2e-5;
/// Weights after all steps, likewise: where a gradient is nearly 0, AdamW makes a step of its sign.
const WEIGHTS: f64 = 1e-4;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let Some(folder) = folder() else {
        rows.cannot("golden", "there is no folder `golden` beside this program");
        return Ok(());
    };
    for model in MODELS {
        let trained = train(stage, &folder, model)?;
        let case = Case::open(&folder, model)?;
        let spoil = stage.spoilt() as f64;
        for (what, found, bar) in [
            ("losses", case.apart("curve.loss", &trained.losses)?, CURVE),
            ("norms of gradients", case.apart("curve.gradient_norm", &trained.norms)?, CURVE),
            ("weights after 10 steps", case.weights_apart(&trained.adapter)?, WEIGHTS),
        ] {
            rows.add(Figure {
                what: &format!("f32, {model}, {what}, off PyTorch's"),
                value: found + spoil,
                unit: "of the largest",
                bar: Bar::AtMost(bar),
                detail: String::new(),
            });
        }
    }
    Ok(())
}

/// The folder beside this program, or that of the project which built it.
fn folder() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.parent()?.join("golden");
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/encoder");
    [beside, project].into_iter().find(|folder| folder.join(MODELS[0]).is_dir())
}

/// What a training came to.
struct Trained {
    losses: Vec<f32>,
    norms: Vec<f32>,
    adapter: Arc<Adapter>,
}

fn train<P: Place>(stage: &Stage<'_, P>, folder: &Path, model: &str) -> Result<Trained, String> {
    let opened = ModelFolder::open(&folder.join(model)).map_err(|error| error.to_string())?;
    let weights = opened.weights().map_err(|error| error.to_string())?;
    let adapter = Adapter::load_peft(&folder.join(format!("{model}-adapter")), opened.config());
    let adapter = Some(adapter.map_err(|error| error.to_string())?);
    let (device, _) = stage.place.open(Precision::F32).map_err(|fault| fault.to_string())?;
    let config = opened.config().clone();
    let encoder = Arc::new(Encoder::new(device, config, weights, Pooling::Mean, true));
    let base = Base { encoder, fingerprint: 1 };
    let mut trainer = Trainer::new(base, Limits::default()).map_err(|error| error.to_string())?;
    let pair = |i| Example::Pair { anchor: i, positive: 3 + i, negatives: Vec::new() };
    let tenant = TenantSpec {
        name: model.to_owned(),
        examples: (0..3).map(pair).collect(),
        texts: Arc::new(GoldenTexts(Case::open(folder, model)?.texts()?)),
        settings: settings(),
        adapter,
    };
    let id = trainer.add(tenant).map_err(|error| error.to_string())?;
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    while !trainer.is_done() {
        for event in trainer.run_round() {
            if let Event::StepFinished { loss, gradient_norm, .. } = event {
                losses.push(loss);
                norms.push(gradient_norm);
            }
        }
        trainer.fault().map_or(Ok(()), |fault| Err(fault.to_string()))?;
    }
    let adapter = trainer.adapter(id).map_err(|error| error.to_string())?;
    Ok(Trained { losses, norms, adapter })
}

fn settings() -> Settings {
    Settings {
        loss: Loss::Mnrl { scale: 20.0, symmetric: false },
        batch: 3,
        length: Length::Steps(STEPS),
        learning_rate: 1e-3,
        weight_decay: 0.01,
        warmup_per_mille: 100,
        decay: Decay::Linear,
        clip_norm: Some(1.0),
        ..Settings::default()
    }
}

/// The golden texts as a tenant's.
struct GoldenTexts(Vec<Arc<[u32]>>);

impl Texts for GoldenTexts {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        let none = || TextError { reason: "there is no such golden text".to_owned() };
        self.0.get(text as usize).cloned().ok_or_else(none)
    }

    fn key(&self, text: u32) -> u64 {
        text.into()
    }
}

/// A golden file.
struct Case {
    bytes: Vec<u8>,
}

impl Case {
    fn open(folder: &Path, model: &str) -> Result<Self, String> {
        let path = folder.join(format!("{model}.case.safetensors"));
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { bytes })
    }

    /// A tensor's values, of so many bytes each.
    fn values<const N: usize, T>(
        &self,
        name: &str,
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, String> {
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|error| error.to_string())?;
        let tensor = tensors.tensor(name).map_err(|error| error.to_string())?;
        if tensor.dtype().bitsize() != 8 * N {
            return Err(format!("{name} has values of {} bits", tensor.dtype().bitsize()));
        }
        let (values, _) = tensor.data().as_chunks::<N>();
        Ok(values.iter().map(|value| read(*value)).collect())
    }

    fn texts(&self) -> Result<Vec<Arc<[u32]>>, String> {
        let tokens = self.values("tokens", u32::from_le_bytes)?;
        let offsets = self.values("offsets", u32::from_le_bytes)?;
        let text = |ends: &[u32]| tokens[ends[0] as usize..ends[1] as usize].into();
        Ok(offsets.windows(2).map(text).collect())
    }

    fn apart(&self, name: &str, found: &[f32]) -> Result<f64, String> {
        let expected = self.values(name, |bytes| f64::from_le_bytes(bytes) as f32)?;
        Ok(apart(found, &expected))
    }

    /// The largest error of any matrix.
    fn weights_apart(&self, adapter: &Adapter) -> Result<f64, String> {
        let mut most = 0.0_f64;
        for entry in adapter.layout.entries() {
            let (layer, module) = (entry.site.layer, entry.site.module.path());
            let key = format!("trained.{STEPS}.base_model.model.encoder.layer.{layer}.{module}");
            for (matrix, range) in [("lora_A", &entry.a), ("lora_B", &entry.b)] {
                let expected =
                    self.values(&format!("{key}.{matrix}.weight"), f32::from_le_bytes)?;
                let found = apart(&adapter.values[range.clone()], &expected);
                most = if found > most || found.is_nan() { found } else { most };
            }
        }
        Ok(most)
    }
}
