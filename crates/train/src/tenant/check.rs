//! What a tenant brings, checked against the model.

use cotenant_transformer::{Adapter, AdapterLayout, EncoderConfig, Text};

use crate::hash::{Hasher, hash_bytes};
use crate::spec::{Example, Loss, SettingsError, Texts};

/// Refuses token ids and types that the model does not have, and texts it has no positions for.
pub(super) fn check_tokens(text: Text<'_>, config: &EncoderConfig) -> Result<(), String> {
    let Text { tokens, first } = text;
    let longest = config.tokens_max();
    if tokens.is_empty() {
        return Err("it has no tokens".into());
    }
    if tokens.len() > longest {
        return Err(format!("it has {} tokens, but the model takes {longest}", tokens.len()));
    }
    if first > tokens.len() || (first < tokens.len() && config.token_types < 2) {
        let (types, all) = (config.token_types, tokens.len());
        return Err(format!("{first} of its {all} tokens have type 0, and the model has {types}"));
    }
    match tokens.iter().find(|&&token| token as usize >= config.vocab) {
        Some(token) => {
            Err(format!("token {token} is outside of the vocabulary of {}", config.vocab))
        }
        None => Ok(()),
    }
}

/// Refuses an adapter that does not fit the model, or whose head the loss does not read.
pub(super) fn check_adapter(
    adapter: Adapter,
    config: &EncoderConfig,
    loss: Loss,
) -> Result<Adapter, SettingsError> {
    let entries = adapter.layout.entries();
    let pairs = entries.iter().map(|entry| (entry.site, entry.rank, entry.scale)).collect();
    let expected = layout_for(loss, AdapterLayout::from_pairs(pairs, config), config);
    let wrong_layer = entries.iter().find(|entry| entry.site.layer >= config.layers);
    let reason = if let Some(entry) = wrong_layer {
        format!("it adapts layer {}, but the model has {}", entry.site.layer, config.layers)
    } else if entries.is_empty() {
        "it adapts nothing".into()
    } else if adapter.layout.head().is_some() != expected.head().is_some() {
        "only a reranker has a head, and each reranker has one".into()
    } else if *adapter.layout != expected {
        "its matrices have other shapes".into()
    } else if adapter.values.len() != adapter.layout.len() {
        format!("it has {} values instead of {}", adapter.values.len(), adapter.layout.len())
    } else if adapter.values.iter().any(|value| !value.is_finite()) {
        "a value is not a finite number".into()
    } else {
        return Ok(adapter);
    };
    Err(SettingsError::BeginAdapter { reason })
}

/// The layout that a loss trains: with a head where it is over scores.
pub(super) fn layout_for(
    loss: Loss,
    layout: AdapterLayout,
    config: &EncoderConfig,
) -> AdapterLayout {
    match loss {
        Loss::Mnrl { .. } | Loss::CoSent { .. } => layout,
        Loss::Lce => layout.with_head(config),
    }
}

/// Tells whether a checkpoint belongs to these examples and texts.
pub(super) fn hash_data(examples: &[Example], texts: &dyn Texts) -> u64 {
    let mut hasher = Hasher::new(hash_bytes(0, b"examples"));
    for example in examples {
        match example {
            Example::Pair { anchor, positive, negatives } => {
                hasher.word(negatives.len() as u64);
                for &text in [anchor, positive].into_iter().chain(negatives) {
                    hasher.word(text.into());
                    hasher.word(texts.key(text));
                }
            }
            Example::Scored { left, right, score } => {
                hasher.word(u64::from(score.to_bits()) << 32);
                for &text in [left, right] {
                    hasher.word(text.into());
                    hasher.word(texts.key(text));
                }
            }
            Example::Choice { right, wrong } => {
                hasher.word(wrong.len() as u64);
                for one in [right].into_iter().chain(wrong) {
                    hasher.word(u64::from(one.prior.to_bits()) << 32 | u64::from(one.text));
                    hasher.word(texts.key(one.text));
                }
            }
        }
    }
    hasher.finish()
}
