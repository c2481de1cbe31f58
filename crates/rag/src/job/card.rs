//! The base model on NVIDIA cards.

use std::path::Path;
use std::sync::Arc;

use cotenant_train::Limits;
use cotenant_transformer::random::mix;
use cotenant_transformer::{Backend, CudaDevice, CudaNotes, Encoder, Fault, Precision, open_cuda};

use super::base::BaseModel;
use super::error::JobError;
use crate::retrieval::{CardModel, Embedder, EmbeddingModel};

/// Tokens of a chunk: enough to fill a card with small products.
const CHUNK_TOKENS: usize = 16_384;
/// Chunks of a round.
const ROUND_CHUNKS: usize = 4;
/// The folder of compiled kernels, beside other things that are kept between runs.
const KERNELS: &str = "kernels";
/// Of cards, and no processor.
const ON_CARD: u64 = 0x6375_6461_0000_0000;

/// What training on cards needs.
pub(super) struct OnCards {
    /// The base model, on each of them.
    pub(super) encoders: Vec<Arc<Encoder<CudaDevice>>>,
    /// Differs from that of the model on a processor, whose bits differ.
    pub(super) fingerprint: u64,
    /// The number format of products.
    pub(super) precision: Precision,
    pub(super) limits: Limits,
}

impl OnCards {
    /// What embeds on the cards; so many threads prepare what they compute.
    pub(super) fn embedder(&self, threads: usize) -> Embedder {
        let cards = self.encoders.iter().map(|encoder| CardModel::new(Arc::clone(encoder)));
        Embedder {
            model: EmbeddingModel::Cards(cards.collect()),
            threads,
            chunk_tokens: self.limits.tokens_chunk,
            fingerprint: self.fingerprint,
            precision: self.precision,
        }
    }
}

/// Puts a base model on the first so many cards, and says what works less well there than it could.
/// Half of the memory that is free there is for tapes, and a quarter for adapters and their
/// optimizers.
pub(super) fn open(
    base: &BaseModel,
    limits: Limits,
    (precision, cards): (Precision, usize),
    cache: Option<&Path>,
) -> Result<(OnCards, Vec<String>), JobError> {
    let failed = |source| JobError::Device { source };
    let kernels = cache.map(|cache| cache.join(KERNELS));
    let mut encoders = Vec::new();
    let mut found: Vec<CudaNotes> = Vec::new();
    for ordinal in 0..cards {
        let (device, notes) = open_cuda(ordinal, precision, kernels.as_deref()).map_err(failed)?;
        if let Some(first) = found.first().filter(|first| first.bits() != notes.bits()) {
            return Err(failed(unlike(first, &notes)));
        }
        let (folder, weights) = (&base.folder, base.folder.weights()?);
        let encoder =
            Encoder::new(device, folder.config().clone(), weights, folder.pooling(), true);
        if let Some(fault) = encoder.backend().take_fault() {
            return Err(failed(fault));
        }
        encoders.push(Arc::new(encoder));
        found.push(notes);
    }
    let tokens_chunk = limits.tokens_chunk.max(CHUNK_TOKENS);
    let free_bytes = found.iter().map(|notes| notes.free_bytes).min().unwrap_or(0) as usize;
    let limits = Limits {
        // What comes to a card is in the order of one thread.
        threads: 1,
        tokens_chunk,
        round_tokens_max: tokens_chunk * ROUND_CHUNKS,
        tape_bytes_max: free_bytes / 2,
        kept_bytes_max: free_bytes / 4,
        ..limits
    };
    let fingerprint = found.first().map_or(0, |notes| fingerprint(base, precision, notes));
    let mut notes: Vec<String> = found.into_iter().flat_map(|notes| notes.notes).collect();
    notes.dedup();
    Ok((OnCards { encoders, fingerprint, precision, limits }, notes))
}

/// Keeps checkpoints and cached vectors apart whose bits differ: those of processors and of cards, of
/// two kinds of cards, and of two versions of what multiplies there.
fn fingerprint(base: &BaseModel, precision: Precision, notes: &CudaNotes) -> u64 {
    let precision = u64::from(precision == Precision::F32);
    let words = notes.bits().into_iter().flat_map(|word| word.bytes().chain([0]));
    words.fold(mix(&[base.fingerprint, ON_CARD, precision]), |hash, byte| mix(&[hash, byte.into()]))
}

/// Two cards that do not give the same bits.
fn unlike(first: &CudaNotes, other: &CudaNotes) -> Fault {
    let hint = "hint: choose cards of one kind that are as free as each other by \
                CUDA_VISIBLE_DEVICES, or use cards = 1";
    let [first, other] = [first, other].map(|notes| notes.bits().join(", "));
    Fault::Refused(format!(
        "the cards differ ({first}; {other}), so that results would depend on which card a tenant is \
         trained on\n{hint}"
    ))
}
