//! The base model on an NVIDIA card.

use std::path::Path;
use std::sync::Arc;

use cotenant_train::{Base, Limits};
use cotenant_transformer::{Backend, CudaDevice, Encoder, Precision, open_cuda};

use super::base::BaseModel;
use super::error::JobError;
use crate::retrieval::{Embedder, EmbeddingModel, Turn};

/// Tokens of a chunk: enough to fill a card with small products.
const CHUNK_TOKENS: usize = 16_384;
/// Chunks of a round.
const ROUND_CHUNKS: usize = 4;
/// The folder of compiled kernels, beside other things that are kept between runs.
const KERNELS: &str = "kernels";
/// Keeps checkpoints and cached prefixes of cards apart from those of processors, whose bits differ.
const ON_CARD: u64 = 0x6375_6461_0000_0000;

/// What training on a card needs.
pub(super) struct OnCard {
    pub(super) base: Base<CudaDevice>,
    pub(super) limits: Limits,
}

impl OnCard {
    /// What embeds on the card; so many threads prepare what it computes.
    pub(super) fn embedder(&self, threads: usize) -> Embedder {
        Embedder {
            model: EmbeddingModel::Card(Arc::clone(&self.base.encoder), Turn::default()),
            threads,
            chunk_tokens: self.limits.tokens_chunk,
            fingerprint: self.base.fingerprint,
        }
    }
}

/// Puts a base model on the first card, and says what works less well there than it could. Half of
/// the memory that is free there is for tapes, and a quarter for adapters and their optimizers.
pub(super) fn open(
    base: &BaseModel,
    limits: Limits,
    (precision, cache): (Precision, Option<&Path>),
) -> Result<(OnCard, Vec<String>), JobError> {
    let failed = |source| JobError::Device { source };
    let kernels = cache.map(|cache| cache.join(KERNELS));
    let (device, found) = open_cuda(0, precision, kernels.as_deref()).map_err(failed)?;
    let (folder, weights) = (&base.folder, base.folder.weights()?);
    let encoder = Encoder::new(device, folder.config().clone(), weights, folder.pooling(), true);
    if let Some(fault) = encoder.backend().take_fault() {
        return Err(failed(fault));
    }
    let of_precision = if precision == Precision::F32 { 1 } else { 2 };
    let fingerprint = base.fingerprint ^ ON_CARD ^ of_precision;
    let tokens_chunk = limits.tokens_chunk.max(CHUNK_TOKENS);
    let limits = Limits {
        // The card is one; what comes to it is in the order of one thread.
        threads: 1,
        tokens_chunk,
        round_tokens_max: tokens_chunk * ROUND_CHUNKS,
        tape_bytes_max: (found.free_bytes / 2) as usize,
        kept_bytes_max: (found.free_bytes / 4) as usize,
        ..limits
    };
    let base = Base { encoder: Arc::new(encoder), fingerprint };
    Ok((OnCard { base, limits }, found.notes))
}
