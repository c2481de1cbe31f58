//! Reading an adapter folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::PeftConfig;
use super::keys::{Half, Key, head_key, key, parse, parse_head};
use super::{CONFIG_FILE, WEIGHTS_FILE};
use crate::adapter::head::HeadPart;
use crate::adapter::{Adapter, AdapterLayout, Head, HeadNames, Module, Site};
use crate::model::names::site_name;
use crate::model::tensor_file::TensorFile;
use crate::model::{EncoderConfig, ModelError};

impl Adapter {
    /// Reads an adapter that `peft` (or [`Adapter::save_peft`]) saved, for an encoder of this
    /// shape. Where its `modules_to_save` name a head, it is one that scores, and the whole head must
    /// be there: `pooler` and `classifier` of a BERT, `classifier` of a RoBERTa, with one label.
    ///
    /// Fails if a field of its configuration would change the mathematics in a way that is not
    /// implemented, if a tensor matches nothing in the encoder, and if one that the configuration
    /// names is missing; pickled weights are refused.
    pub fn load_peft(folder: &Path, config: &EncoderConfig) -> Result<Adapter, ModelError> {
        let peft = PeftConfig::read(folder)?;
        let mut file = open(folder)?;
        let names = file.names();
        let tensors = match_names(&names, &file, config)?;
        let pairs = tensors
            .pairs
            .iter()
            .map(|(&site, pair)| {
                let terms = terms(&peft, site, tensors.prefix);
                pair.check(terms, &file, config)?;
                Ok(terms)
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_targets(&tensors, &peft, config, folder)?;
        let layout = AdapterLayout::from_pairs(pairs, config);
        let layout = if peft.saves_head() { layout.with_head(config) } else { layout };
        check_head(layout.head(), &tensors, &file)?;
        let mut values = vec![0.0; layout.len()];
        for entry in layout.entries() {
            let pair = &tensors.pairs[&entry.site];
            let halves = [
                (Half::A, entry.a.clone(), [entry.rank, entry.inputs]),
                (Half::B, entry.b.clone(), [entry.outputs, entry.rank]),
            ];
            for (half, range, shape) in halves {
                let name = pair.name(half).expect("pairs with one half were refused");
                values[range].copy_from_slice(&file.read(name, &shape)?);
            }
        }
        if let Some(head) = layout.head() {
            for (part, name) in &tensors.head {
                values[part.range(head)].copy_from_slice(&file.read(name, &part.shape(head))?);
            }
        }
        Ok(Adapter { layout: Arc::new(layout), values })
    }
}

/// The tensors' names at the places that they belong to.
struct Tensors<'a> {
    pairs: BTreeMap<Site, Pair<'a>>,
    /// What the wrapped class puts in front of the encoder.
    prefix: &'a str,
    /// Parts of a head, each at most once, since a file's names are unlike.
    head: Vec<(HeadPart, &'a str)>,
}

#[derive(Default)]
struct Pair<'a> {
    a: Option<&'a str>,
    b: Option<&'a str>,
}

impl<'a> Pair<'a> {
    fn name(&self, half: Half) -> Option<&'a str> {
        match half {
            Half::A => self.a,
            Half::B => self.b,
        }
    }

    fn slot(&mut self, half: Half) -> &mut Option<&'a str> {
        match half {
            Half::A => &mut self.a,
            Half::B => &mut self.b,
        }
    }

    /// Checks that both matrices are there in their shapes, so that what is allocated for them is
    /// no more than the file holds.
    fn check(
        &self,
        (site, rank, scale): Terms,
        file: &TensorFile,
        config: &EncoderConfig,
    ) -> Result<(), ModelError> {
        let wrong = |tensor: &str, expected: String, found: String| ModelError::Tensor {
            path: file.path().to_owned(),
            tensor: tensor.to_owned(),
            expected,
            found,
            hint: "the adapter is incomplete, was edited, or is for another base model; check \
                   the base model, or save the adapter again with peft",
        };
        let (inputs, outputs) = site.module.shape(config);
        for (half, shape) in [(Half::A, [rank, inputs]), (Half::B, [outputs, rank])] {
            let Some(name) = self.name(half) else {
                let expected = "both matrices of the pair".to_owned();
                return Err(wrong(&key("", site, half), expected, "only the other".to_owned()));
            };
            let found = file.shape(name).unwrap_or_default();
            if found != shape {
                let expected =
                    format!("shape {shape:?}, with r or rank_pattern of {CONFIG_FILE} as rank");
                return Err(wrong(name, expected, format!("shape {found:?}")));
            }
        }
        if !scale.is_finite() {
            let expected = "a finite scale by lora_alpha or alpha_pattern".to_owned();
            return Err(wrong(&key("", site, Half::A), expected, scale.to_string()));
        }
        Ok(())
    }
}

/// A pair's site, rank and scale.
type Terms = (Site, usize, f32);

/// The pair at a site, as the configuration has it.
fn terms(peft: &PeftConfig, site: Site, prefix: &str) -> Terms {
    let module = format!("{prefix}{}", site_name(site));
    (site, peft.rank(&module), peft.scale(&module))
}

fn open(folder: &Path) -> Result<TensorFile, ModelError> {
    let path = folder.join(WEIGHTS_FILE);
    if let Some(file) = TensorFile::open(&path)? {
        return Ok(file);
    }
    let pickle: PathBuf = folder.join("adapter_model.bin");
    if pickle.exists() {
        let hint = "convert it where you trust it: PeftModel.from_pretrained(BASE, FOLDER)\
                    .save_pretrained(FOLDER, safe_serialization=True)";
        return Err(ModelError::Pickle { path: pickle, hint });
    }
    let hint = format!("an adapter folder holds {CONFIG_FILE} and {WEIGHTS_FILE}");
    Err(ModelError::Missing { path, hint })
}

/// Finds every tensor's place in the encoder; a name without one, or with one that is taken, is an
/// error that lists all such names.
fn match_names<'a>(
    names: &'a [String],
    file: &TensorFile,
    config: &EncoderConfig,
) -> Result<Tensors<'a>, ModelError> {
    let mut tensors = Tensors { pairs: BTreeMap::new(), prefix: "", head: Vec::new() };
    let mut unmatched = Vec::new();
    let head_names = Head::names_for(config);
    for name in names {
        if let Some(part) = parse_head(name, head_names) {
            tensors.head.push((part, name));
            continue;
        }
        let Some(Key { site, half, prefix }) = parse(name) else {
            unmatched.push(name.clone());
            continue;
        };
        if site.layer >= config.layers {
            unmatched.push(format!("{name} (the model has {} layers)", config.layers));
            continue;
        }
        tensors.prefix = prefix;
        if let Some(taken) = tensors.pairs.entry(site).or_default().slot(half).replace(name) {
            unmatched.push(format!("{name} (the same place as {taken})"));
        }
    }
    if unmatched.is_empty() && !names.is_empty() {
        return Ok(tensors);
    }
    if names.is_empty() {
        unmatched.push("(the file has no tensors)".to_owned());
    }
    Err(ModelError::Unmatched {
        path: file.path().to_owned(),
        names: unmatched,
        hint: "adapters of a BERT-family encoder's linear layers run: query, key, value, \
               attention.output.dense, intermediate.dense and output.dense, and beside them the \
               head of a reranker (pooler.dense and classifier of a BertForSequenceClassification, \
               classifier of a RobertaForSequenceClassification); leave out others and check that \
               the base model is the same",
    })
}

/// Why a classifier alone is no head. PEFT saves only what `modules_to_save` names; the pooler between
/// the encoder and the classifier may be the base's or one that was drawn at random, and scores by
/// another than the one it was trained with would be wrong without anybody noticing.
const POOLER_HINT: &str = "the folder has the classifier without the pooler that it was trained with, which may have been \
     drawn at random then; train it again with modules_to_save=[\"pooler\", \"classifier\"]";

/// Checks that a head is there whole and of its shapes where the configuration names one, and that
/// none is there where it does not, so that nothing is read that would then not be used.
fn check_head(
    head: Option<&Head>,
    tensors: &Tensors<'_>,
    file: &TensorFile,
) -> Result<(), ModelError> {
    let wrong = |tensor: &str, expected: String, found: String, hint| ModelError::Tensor {
        path: file.path().to_owned(),
        tensor: tensor.to_owned(),
        expected,
        found,
        hint,
    };
    let Some(head) = head else {
        let Some((_, name)) = tensors.head.first() else { return Ok(()) };
        let expected = "no head, since modules_to_save names none".to_owned();
        let hint = "set modules_to_save of adapter_config.json to [\"pooler\", \"classifier\"] if \
                    it is a reranker, or leave those tensors out";
        return Err(wrong(name, expected, "one".to_owned(), hint));
    };
    let hint = "a reranker's head has one label, and is saved whole: train it with num_labels=1 \
                and modules_to_save=[\"pooler\", \"classifier\"] (of a RoBERTa, [\"classifier\"])";
    for part in HeadPart::ALL {
        let shape = part.shape(head);
        let found = tensors.head.iter().find(|(found, _)| *found == part);
        let Some((_, name)) = found else {
            let name = head_key(head.names, part);
            let (expected, found) = (format!("shape {shape:?}"), "no such tensor".to_owned());
            let is_of_pooler = matches!(part, HeadPart::Dense | HeadPart::DenseBias);
            return Err(match head.names {
                HeadNames::Bert if is_of_pooler => wrong(&name, expected, found, POOLER_HINT),
                HeadNames::Bert | HeadNames::Roberta => wrong(&name, expected, found, hint),
            });
        };
        let found = file.shape(name).unwrap_or_default();
        if found != shape {
            let (expected, found) = (format!("shape {shape:?}"), format!("shape {found:?}"));
            return Err(wrong(name, expected, found, hint));
        }
    }
    Ok(())
}

/// Checks that the tensors are those that the configuration names, where names can tell.
fn check_targets(
    tensors: &Tensors,
    peft: &PeftConfig,
    config: &EncoderConfig,
    folder: &Path,
) -> Result<(), ModelError> {
    let all = (0..config.layers)
        .flat_map(|layer| Module::ALL.into_iter().map(move |module| Site { layer, module }));
    let mut wrong = Vec::new();
    for site in all {
        let name = site_name(site);
        let named = peft.adapts(&format!("{}{name}", tensors.prefix), site.layer);
        match (named, tensors.pairs.contains_key(&site)) {
            (Some(true), false) => wrong.push(format!("{name} (named, but without tensors)")),
            (Some(false), true) => wrong.push(format!("{name} (has tensors, but is not named)")),
            (Some(_) | None, _) => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ModelError::Unmatched {
        path: folder.join(CONFIG_FILE),
        names: wrong,
        hint: "target_modules and layers_to_transform must name what the tensors adapt: the two \
               files are not from one adapter, or the base model is another",
    })
}
