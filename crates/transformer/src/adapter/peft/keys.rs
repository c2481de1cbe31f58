//! Names of an adapter's tensors.

use crate::adapter::head::HeadPart;
use crate::adapter::{HeadNames, Module, Site};
use crate::model::names::site_name;

/// What `peft` puts in front of every name.
const WRAPPER: &str = "base_model.model.";

/// What the wrapped class puts in front of the encoder: the attribute of a model with a head, of a
/// sentence-transformers pipeline, or of both.
const PREFIXES: [&str; 7] =
    ["bert.", "roberta.", "xlm_roberta.", "model.", "auto_model.", "0.auto_model.", "0.model."];

/// Which matrix of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// `[rank, inputs]`
    A,
    /// `[outputs, rank]`
    B,
}

impl Half {
    fn suffix(self) -> &'static str {
        match self {
            Half::A => ".lora_A.weight",
            Half::B => ".lora_B.weight",
        }
    }
}

/// A tensor's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) site: Site,
    pub(super) half: Half,
    /// What stands between peft's wrapper and `encoder.layer`, for example `bert.`.
    pub(super) prefix: &'a str,
}

/// The name that `peft` gives a part of a head.
pub(super) fn head_key(names: HeadNames, part: HeadPart) -> String {
    format!("{WRAPPER}{}", part.name(names))
}

/// The part of a head that a tensor's name means.
pub(super) fn parse_head(key: &str, names: HeadNames) -> Option<HeadPart> {
    let name = key.strip_prefix(WRAPPER).unwrap_or(key);
    HeadPart::ALL.into_iter().find(|part| part.name(names) == name)
}

/// Takes a tensor's name apart; `None` if it names nothing that an encoder has.
pub(super) fn parse(key: &str) -> Option<Key<'_>> {
    let name = key.strip_prefix(WRAPPER).unwrap_or(key);
    let (half, name) = [Half::A, Half::B]
        .into_iter()
        .find_map(|half| Some((half, name.strip_suffix(half.suffix())?)))?;
    let mut bare = name;
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| bare.strip_prefix(prefix)) {
        bare = rest;
    }
    let prefix = &name[..name.len() - bare.len()];
    let (layer, path) = bare.strip_prefix("encoder.layer.")?.split_once('.')?;
    let module = Module::ALL.into_iter().find(|module| module.path() == path)?;
    let canonical = layer == "0" || !layer.starts_with('0');
    let layer = layer.bytes().all(|byte| byte.is_ascii_digit()).then(|| layer.parse().ok())??;
    canonical.then_some(Key { site: Site { layer, module }, half, prefix })
}

/// The name that `peft` gives a tensor of an adapter on a bare encoder, or on one behind a prefix.
pub(super) fn key(prefix: &str, site: Site, half: Half) -> String {
    format!("{WRAPPER}{prefix}{}{}", site_name(site), half.suffix())
}

#[cfg(test)]
mod tests {
    use super::{Half, Key, head_key, key, parse, parse_head};
    use crate::adapter::head::HeadPart;
    use crate::adapter::{HeadNames, Module, Site};

    #[test]
    fn a_written_key_is_read_back() {
        for module in Module::ALL {
            for layer in [0, 1, 10, 511] {
                for half in [Half::A, Half::B] {
                    let site = Site { layer, module };
                    for prefix in ["", "bert.", "roberta."] {
                        let key = key(prefix, site, half);
                        assert_eq!(parse(&key), Some(Key { site, half, prefix }), "{key}");
                    }
                }
            }
        }
        for names in [HeadNames::Bert, HeadNames::Roberta] {
            for part in HeadPart::ALL {
                let key = head_key(names, part);
                assert_eq!(parse_head(&key, names), Some(part), "{key}");
                assert_eq!(parse(&key), None, "{key}");
            }
        }
    }

    #[test]
    fn keys_match_by_suffix_behind_known_prefixes() {
        let query = Site { layer: 3, module: Module::Query };
        let cases = [
            ("base_model.model.encoder.layer.3.attention.self.query.lora_A.weight", Some("")),
            (
                "base_model.model.bert.encoder.layer.3.attention.self.query.lora_A.weight",
                Some("bert."),
            ),
            ("roberta.encoder.layer.3.attention.self.query.lora_A.weight", Some("roberta.")),
            (
                "base_model.model.0.auto_model.bert.encoder.layer.3.attention.self.query.lora_A.weight",
                Some("0.auto_model.bert."),
            ),
            ("base_model.model.gpt.encoder.layer.3.attention.self.query.lora_A.weight", None),
            ("base_model.model.encoder.layer.03.attention.self.query.lora_A.weight", None),
            ("base_model.model.encoder.layer.+3.attention.self.query.lora_A.weight", None),
            ("base_model.model.encoder.layer..attention.self.query.lora_A.weight", None),
            (
                "base_model.model.encoder.layer.99999999999999999999.output.dense.lora_A.weight",
                None,
            ),
            ("base_model.model.encoder.layer.3.attention.self.query.lora_A.default.weight", None),
            ("base_model.model.encoder.layer.3.attention.self.query.lora_magnitude_vector", None),
            ("base_model.model.encoder.layer.3.crossattention.self.query.lora_A.weight", None),
            ("base_model.model.embeddings.word_embeddings.lora_embedding_A", None),
            ("base_model.model.pooler.dense.lora_A.weight", None),
        ];
        for (name, prefix) in cases {
            let expected = prefix.map(|prefix| Key { site: query, half: Half::A, prefix });
            assert_eq!(parse(name), expected, "{name}");
        }
    }
}
