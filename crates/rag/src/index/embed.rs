//! Vectors of texts, by a base model and an adapter.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cotenant_transformer::{Adapter, Tokenizer};

use super::maker::{adapter_digest, maker_name};
use crate::job::{BaseModel, JobError};
use crate::retrieval::NotEmbedded;
use crate::tokens::{TokenOptions, TokenStore};
use crate::workspace::Limits;

/// A base model, with an adapter or without, that embeds texts.
pub struct TextEmbedder {
    base: BaseModel,
    adapter: Option<(String, Adapter)>,
    limits: Limits,
    /// In front of each text.
    prefix: String,
}

impl TextEmbedder {
    /// Loads the adapter, if there is one.
    pub fn new(
        base: BaseModel,
        adapter: Option<&Path>,
        limits: Limits,
        prefix: &str,
    ) -> Result<Self, JobError> {
        let named = |folder: &Path| {
            let name =
                folder.file_name().map_or_else(String::new, |it| it.to_string_lossy().into());
            Ok::<_, JobError>((name, base.adapter(folder)?))
        };
        let adapter = adapter.map(named).transpose()?;
        Ok(Self { base, adapter, limits, prefix: prefix.to_owned() })
    }

    /// What makes its vectors, as the name of an embedding says it: `MODEL@HASH`.
    pub fn maker(&self) -> String {
        let adapter = self.adapter.as_ref().map(|(name, it)| (name.as_str(), adapter_digest(it)));
        let adapter = adapter.as_ref().map(|(name, digest)| (*name, digest.as_str()));
        maker_name(&self.base.digest, adapter)
    }

    /// Values of a vector.
    pub fn dimensions(&self) -> usize {
        self.base.encoder.config().hidden
    }

    /// The vectors of a tenant's texts, in their order: `[dimensions]` each, of unit length.
    pub fn embed<'a>(
        &self,
        tenant: &str,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Vec<f32>>, JobError> {
        let texts: Vec<String> =
            texts.into_iter().map(|text| format!("{}{text}", self.prefix)).collect();
        let ids: Vec<u32> = (0..texts.len() as u32).collect();
        let tokenizer: Arc<Tokenizer> = Arc::clone(&self.base.tokenizer);
        let options = TokenOptions {
            tokens_max: self.base.folder.tokens_max(),
            threads: 1,
            cache: None,
            fingerprint: self.base.fingerprint,
        };
        let table = TokenStore::new(texts, tokenizer, options);
        let embedder = self.base.embedder(&self.limits);
        let on_done = |_| ControlFlow::Continue(());
        let adapter = self.adapter.as_ref().map(|(_, adapter)| adapter);
        let vectors = embedder.embed(&table, &ids, adapter, &on_done);
        let vectors = vectors.map_err(|reason| match reason {
            NotEmbedded::Text(source) => JobError::Text { tenant: tenant.to_owned(), source },
            NotEmbedded::Device(source) => JobError::Device { source },
            NotEmbedded::Stopped => JobError::Stopped,
        })?;
        Ok((0..vectors.len()).map(|at| vectors.row(at).to_vec()).collect())
    }
}
