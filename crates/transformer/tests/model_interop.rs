//! The middle step of golden/peft_interop.py: reads what the real peft wrote, compares embeddings,
//! and writes adapters and merged models for peft and sentence-transformers to read.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cotenant_transformer::{
    Adapter, AdapterLayout, Cpu, Encoder, Forward, LayerChoice, LoraSpec, ModelFolder, Module,
    Packed, Precision, Scratch, Site, Start, export_merged,
};

/// Two computations of the same numbers in f32, of entries of vectors of length 1.
const TOLERANCE: f32 = 2e-5;

type Embeddings = Vec<Vec<f32>>;

#[test]
fn adapters_pass_between_peft_and_us() {
    let Some(folder) = std::env::var_os("COTENANT_INTEROP").map(PathBuf::from) else {
        eprintln!("skipped: run by golden/peft_interop.py, which sets COTENANT_INTEROP");
        return;
    };
    let base = ModelFolder::open(&folder.join("base")).unwrap();
    let texts: Vec<String> = read(&folder.join("texts.json"));
    let expected: BTreeMap<String, Embeddings> = read(&folder.join("expected.json"));
    let encoder = encoder(&base);
    let mut found = BTreeMap::new();
    let mut adapters = own_adapters(&base);
    for (kind, expected) in &expected {
        let adapter = match kind.as_str() {
            "base" => None,
            kind => {
                let folder = folder.join("peft").join(kind);
                Some(Adapter::load_peft(&folder, base.config()).unwrap())
            }
        };
        let embeddings = embed(&encoder, &base, &texts, adapter.as_ref());
        let worst = distance(&embeddings, expected);
        assert!(worst <= TOLERANCE, "{kind}: {worst}");
        adapters.extend(adapter.map(|adapter| (kind.clone(), adapter)));
    }
    for (name, adapter) in adapters {
        let written = folder.join("cotenant").join(&name);
        adapter.save_peft(&written, "base").unwrap();
        assert_eq!(Adapter::load_peft(&written, base.config()).unwrap(), adapter, "{name}");
        export_merged(&base, &adapter, &folder.join("merged").join(&name)).unwrap();
        found.insert(name, embed(&encoder, &base, &texts, Some(&adapter)));
    }
    fs::write(folder.join("found.json"), serde_json::to_vec(&found).unwrap()).unwrap();
}

/// Layouts that peft's configuration has no short way to say, and every way to be asked for.
fn own_adapters(base: &ModelFolder) -> Vec<(String, Adapter)> {
    let config = base.config();
    let spec = |targets: &[Module], rslora, layers| {
        let spec = LoraSpec { rank: 3, alpha: 7.0, rslora, targets: targets.to_vec(), layers };
        AdapterLayout::from_spec(&spec, config).unwrap()
    };
    let site = |layer, module| Site { layer, module };
    let mixed = vec![
        (site(0, Module::Query), 4, 2.0),
        (site(0, Module::Output), 4, 2.0),
        (site(1, Module::AttentionOutput), 2, 0.3),
        (site(1, Module::Key), 5, 1.0 / 3.0),
    ];
    let layouts = [
        ("own-all", spec(&Module::ALL, false, LayerChoice::All)),
        ("own-rslora", spec(&[Module::Query, Module::Value], true, LayerChoice::All)),
        ("own-output", spec(&[Module::Output], false, LayerChoice::All)),
        ("own-attention-output", spec(&[Module::AttentionOutput], false, LayerChoice::All)),
        ("own-top", spec(&[Module::Output, Module::Key], false, LayerChoice::Top(1))),
        ("own-first", spec(&[Module::Intermediate], false, LayerChoice::Only(vec![0]))),
        ("own-mixed", AdapterLayout::from_pairs(mixed, config)),
    ];
    let filled = |layout| {
        let mut adapter = Adapter::initial(Arc::new(layout), 1);
        for entry in adapter.layout.clone().entries() {
            for (at, value) in adapter.values[entry.b.clone()].iter_mut().enumerate() {
                *value = ((at * 37 % 101) as f32 / 101.0 - 0.5) * 0.6;
            }
        }
        adapter
    };
    layouts.map(|(name, layout)| (name.to_owned(), filled(layout))).into()
}

fn encoder(base: &ModelFolder) -> Encoder<Cpu> {
    let cpu = Cpu::new(Precision::F32).unwrap();
    let weights = base.weights().unwrap();
    Encoder::new(cpu, base.config().clone(), weights, base.pooling(), base.normalize())
}

fn embed(
    encoder: &Encoder<Cpu>,
    base: &ModelFolder,
    texts: &[String],
    adapter: Option<&Adapter>,
) -> Embeddings {
    let tokenizer = base.tokenizer().unwrap();
    let ids: Vec<Vec<u32>> =
        texts.iter().map(|text| tokenizer.encode(text, base.tokens_max()).unwrap()).collect();
    let mut batch = Packed::default();
    batch.push(ids.iter().map(Vec::as_slice), adapter.map(|_| 0), None);
    let adapters: Vec<&Adapter> = adapter.into_iter().collect();
    let forward = Forward { batch: &batch, adapters: &adapters, start: Start::Tokens };
    let mut out = vec![0.0; texts.len() * base.config().hidden];
    encoder.embed(&forward, &mut Scratch::default(), &mut out);
    out.chunks_exact(base.config().hidden).map(<[f32]>::to_vec).collect()
}

fn distance(left: &Embeddings, right: &Embeddings) -> f32 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().flatten().zip(right.iter().flatten());
    pairs.map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
