//! Products of rows with frozen weights, by cuBLASLt.
//!
//! A row's bits must not depend on how many rows there are. So for each kind of product one
//! algorithm is chosen, once, for a reference number of rows, and used for every number of rows; it
//! must take small and large numbers alike, and must not cut the inner dimension into pieces that
//! are summed apart (split-K), as how that is cut may depend on the rows.
//!
//! What is relied on, and no card has confirmed here yet:
//! - an algorithm with its configuration computes each element of the result by the same operations
//!   in the same order, in whatever row of whatever tile it stands and however many rows there are;
//! - no algorithm without split-K cuts the inner dimension by itself, as those called "stream-K" do;
//! - the heuristic gives the same answer to the same question on every card of a kind, with one
//!   version of the library. Another version, or another kind of card, may give other bits.
//!
//! Where that turns out to be wrong for a kind of product, it must be computed by our own kernel,
//! whose order is fixed. From 13.4 on the library has an attribute for this
//! (`CUBLASLT_MATMUL_DESC_BATCH_INVARIANCE_FLAGS`), which is not used, since nothing here could try it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::sys::cublasStatus_t;

use super::card::Card;
use super::error::CudaError;
use super::light::{ALIGNMENT, Addresses, Algorithm, Light, Prepared};
use super::memory::Buffer;
use super::operands::Product;
use super::target::Version;

/// Memory that algorithms may use, as NVIDIA advises for its newest cards.
const WORKSPACE_BYTES: usize = 32 << 20;
/// With less of the card free, a product that fails for no other reason had no room.
const ROOM_BYTES: u64 = 64 << 20;
const DOING: &str = "a product";
/// The number of rows for which algorithms are chosen: about the tokens of a step.
const REFERENCE_ROWS: usize = 8192;
/// Numbers of rows that an algorithm must take.
const ROWS_TO_TAKE: [usize; 6] = [1, 2, 17, 128, 1000, 1 << 17];

/// Products on one card.
#[derive(Debug)]
pub(crate) struct Products {
    // Before the card, as its handle is of the card's context.
    light: Light,
    workspace: Buffer,
    chosen: Mutex<HashMap<Product, Option<Algorithm>>>,
    card: Card,
}

/// Why products are those of our own kernel: a note, and no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoProducts {
    reason: String,
    /// The newest CUDA that the driver speaks.
    driver: Version,
}

impl fmt::Display for NoProducts {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "products are computed by Cotenant's own kernel, which is slower: cuBLASLt cannot be \
             used: {}\n\
             hint: pip install '{package}=={major}.*', or install CUDA's toolkit, or set \
             COTENANT_CUBLASLT to libcublasLt.so.{major} or its folder",
            self.reason,
            package = self.driver.package("nvidia-cublas"),
            major = self.driver.major,
        )
    }
}

/// The operands of a product.
#[derive(Debug)]
pub(crate) struct Factors<'a> {
    /// Rows of `x` and `y`.
    pub(crate) rows: usize,
    /// `[rows, inner]`.
    pub(crate) x: &'a Buffer,
    /// As the product says.
    pub(crate) weights: &'a Buffer,
    /// `[outputs]`, where the product has a bias.
    pub(crate) bias: Option<&'a Buffer>,
    /// `[rows, outputs]`.
    pub(crate) y: &'a mut Buffer,
    /// Whether the result is added to what `y` holds.
    pub(crate) adds: bool,
}

impl Products {
    /// Finds cuBLASLt for a card.
    pub(crate) fn open(card: &Card) -> Result<Self, NoProducts> {
        let driver = card.facts().driver;
        let note = |reason| NoProducts { reason, driver };
        card.bind().map_err(|error| note(error.to_string()))?;
        let light = Light::open(driver).map_err(note)?;
        let workspace = card.buffer(WORKSPACE_BYTES).map_err(|error| note(error.to_string()))?;
        Ok(Self { light, workspace, chosen: Mutex::default(), card: card.clone() })
    }

    /// The library and its version.
    pub(crate) fn name(&self) -> String {
        format!("cuBLASLt {}", self.light.version())
    }

    /// Submits `y = x · W`, with bias and sum as wanted. `false` says that nothing was done, and that
    /// no product of this kind can be, whatever its rows: our own kernel does them all.
    pub(crate) fn multiply(
        &self,
        product: &Product,
        factors: Factors<'_>,
    ) -> Result<bool, CudaError> {
        check_lengths(product, &factors)?;
        let Some(algorithm) = self.algorithm(product)? else { return Ok(false) };
        if factors.rows == 0 {
            return Ok(true);
        }
        self.card.bind()?;
        let bias = factors.bias.map_or(0, Buffer::address);
        let prepared = refused(&self.card, Prepared::new(product, factors.rows, bias))?;
        let at = Addresses {
            weights: factors.weights.address(),
            x: factors.x.address(),
            y: factors.y.address(),
            keep: if factors.adds { 1.0 } else { 0.0 },
            workspace: self.workspace.address(),
            // An algorithm may want more for some numbers of rows than for those it was chosen by.
            workspace_bytes: self.workspace.len(),
        };
        // SAFETY: the buffers are as long as was checked and given back only in the stream's order.
        // The workspace is as long as candidates may want, and used here alone.
        let submitted =
            unsafe { self.light.multiply(self.card.compute(), &prepared, &algorithm, &at) };
        refused(&self.card, submitted)?;
        Ok(true)
    }

    /// The algorithm of a kind of product, chosen when it is first wanted.
    fn algorithm(&self, product: &Product) -> Result<Option<Algorithm>, CudaError> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        match chosen.entry(*product) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => {
                self.card.bind()?;
                Ok(*entry.insert(refused(&self.card, self.choose(product))?))
            }
        }
    }

    fn choose(&self, product: &Product) -> Result<Option<Algorithm>, CublasError> {
        // Any bias will do, as nothing is computed.
        let bias = self.workspace.address();
        let workspace_bytes = self.workspace.len() as u64;
        let reference = Prepared::new(product, REFERENCE_ROWS, bias)?;
        let candidates = self.light.candidates(&reference, workspace_bytes)?;
        let others = ROWS_TO_TAKE.map(|rows| Prepared::new(product, rows, bias));
        let others = others.into_iter().collect::<Result<Vec<_>, _>>()?;
        let takes_all = |algorithm: &Algorithm| {
            let takes = |one: &Prepared| self.light.can(one, algorithm, workspace_bytes);
            keeps_inner_whole(algorithm.pieces, algorithm.reduction)
                && algorithm.workspace_bytes <= workspace_bytes
                && others.iter().all(takes)
        };
        Ok(candidates.into_iter().find(takes_all))
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        // The library gives back what it has of the thread's context; without one it does not.
        drop(self.card.bind());
    }
}

/// Whether an algorithm sums each element in one piece: cut into none, or told so by 0.
fn keeps_inner_whole(pieces: i32, reduction: u32) -> bool {
    matches!(pieces, 0 | 1) && reduction == 0
}

fn check_lengths(product: &Product, factors: &Factors<'_>) -> Result<(), CudaError> {
    let lengths = product.lengths(factors.rows);
    if factors.bias.is_some() != product.has_bias {
        let found = factors.bias.map_or(0, Buffer::len);
        return Err(CudaError::Length { what: "a product's bias", found, expected: lengths.bias });
    }
    let mut buffers = vec![
        ("a product's x", factors.x, lengths.x),
        ("a product's weights", factors.weights, lengths.weights),
        ("a product's y", &*factors.y, lengths.y),
    ];
    buffers.extend(factors.bias.map(|bias| ("a product's bias", bias, lengths.bias)));
    for (what, buffer, expected) in buffers {
        // A buffer may have room for more rows.
        if buffer.len() < expected {
            return Err(CudaError::Length { what, found: buffer.len(), expected });
        }
        assert!(buffer.address().is_multiple_of(u64::from(ALIGNMENT)), "buffers are aligned");
    }
    Ok(())
}

/// What the library answered, as an error of the card.
fn refused<T>(card: &Card, answer: Result<T, CublasError>) -> Result<T, CudaError> {
    use cublasStatus_t::{
        CUBLAS_STATUS_ALLOC_FAILED as NO_MEMORY, CUBLAS_STATUS_INVALID_VALUE as NO_SUCH_THING,
        CUBLAS_STATUS_NOT_SUPPORTED as NOT_SUPPORTED,
    };
    answer.map_err(|error| {
        let no_room = CudaError::NoRoom { ordinal: card.facts().ordinal, doing: DOING };
        let refusal = CudaError::Refused { doing: DOING, code: error.to_string() };
        match error.0 {
            NO_SUCH_THING | NOT_SUPPORTED => refusal,
            // It may be what went wrong on the card before, or that the library's own code, which
            // comes to the card when it is first wanted, had no room. Then what is free in this
            // process's hands is given back, for another try.
            status => match card.memory() {
                Err(before) => before,
                Ok(memory) if status == NO_MEMORY || memory.free < ROOM_BYTES => {
                    card.trim().err().filter(CudaError::ends_context).unwrap_or(no_room)
                }
                Ok(_) => refusal,
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::keeps_inner_whole;

    #[test]
    fn only_sums_in_one_piece_are_taken() {
        assert!(keeps_inner_whole(1, 0));
        assert!(keeps_inner_whole(0, 0));
        assert!(!keeps_inner_whole(2, 0));
        assert!(!keeps_inner_whole(1, 1));
        assert!(!keeps_inner_whole(-1, 0));
    }
}
