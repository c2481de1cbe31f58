//! Embedding tables and layer norms.

use crate::cuda::kernel::Kernel;
use crate::cuda::launch::{Cost, Launch, PlanError};
use crate::cuda::record::{Address, record};
use crate::packed::Packed;

record! {
    /// Of [`embed`].
    EmbedArgs {
        words: Address,
        positions: Address,
        kinds: Address,
        gain: Address,
        bias: Address,
        tokens: Address,
        texts: Address,
        offsets: Address,
        firsts: Address,
        x: Address,
        rows: u32,
        hidden: u32,
        position_offset: u32,
        eps: f32,
    }
}

record! {
    /// Of [`add_norm`].
    AddNormArgs {
        x: Address,
        delta: Address,
        gain: Address,
        bias: Address,
        normalised: Address,
        scales: Address,
        y: Address,
        rows: u32,
        hidden: u32,
        eps: f32,
    }
}

record! {
    /// Of [`norm_again`].
    NormAgainArgs {
        normalised: Address,
        gain: Address,
        bias: Address,
        y: Address,
        rows: u32,
        hidden: u32,
    }
}

record! {
    /// Of [`norm_backward`].
    NormBackwardArgs {
        normalised: Address,
        scales: Address,
        gain: Address,
        dy: Address,
        rows: u32,
        hidden: u32,
    }
}

/// Rows of a model's embedding tables.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct TableRows {
    pub words: usize,
    pub positions: usize,
    /// Token types, 1 or 2.
    pub kinds: usize,
}

/// `x = norm(words + kinds + positions)`; a batch that reads beyond the tables is refused.
pub(in crate::cuda) fn embed(
    args: EmbedArgs,
    batch: &Packed,
    tables: TableRows,
) -> Result<Option<Launch>, PlanError> {
    for at in 0..batch.texts() {
        let text = batch.text(at);
        let no_row = |what, found: usize, rows| {
            if found < rows {
                return Ok(());
            }
            Err(PlanError::NoRow { subject: "a text", what, found, rows })
        };
        let word = text.tokens.iter().max().copied().unwrap_or(0);
        no_row("token", word as usize, tables.words)?;
        let position = text.tokens.len() - 1 + args.position_offset as usize;
        no_row("position", position, tables.positions)?;
        no_row("token type", usize::from(text.first < text.tokens.len()), tables.kinds)?;
    }
    let cost = Cost::reals([args.rows, args.hidden], 2);
    Launch::worth(Launch::warps(Kernel::Embed, args.rows.into(), args), cost)
}

/// `y = norm(x + delta)`, with a tape where its addresses are given.
pub(in crate::cuda) fn add_norm(args: AddNormArgs) -> Result<Option<Launch>, PlanError> {
    let (rows, is_taped) = (u64::from(args.rows), args.normalised != Address::NONE);
    let cost = match is_taped {
        true => Cost::reals([args.rows, args.hidden], 4).and(Cost::floats(rows)),
        false => Cost::reals([args.rows, args.hidden], 3),
    };
    Launch::worth(Launch::warps(Kernel::AddNorm, rows, args), cost)
}

/// `y` of [`add_norm`] again.
pub(in crate::cuda) fn norm_again(args: NormAgainArgs) -> Result<Option<Launch>, PlanError> {
    let cost = Cost::reals([args.rows, args.hidden], 2);
    Launch::worth(Launch::warps(Kernel::NormAgain, args.rows.into(), args), cost)
}

/// `dy` becomes the gradient of the norm's input.
pub(in crate::cuda) fn norm_backward(args: NormBackwardArgs) -> Result<Option<Launch>, PlanError> {
    let rows = u64::from(args.rows);
    let cost = Cost::reals([args.rows, args.hidden], 3).and(Cost::floats(rows));
    Launch::worth(Launch::warps(Kernel::NormBackward, rows, args), cost)
}
