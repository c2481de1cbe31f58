//! Packs the pieces of a round's plans into chunks.
//!
//! A chunk is what one thread runs at once. Pieces of different tenants share a chunk while their
//! adapters begin at the same layer and they fit its tokens, so that small tenants do not run in
//! small products. How pieces are joined changes no result.

/// A plan's pieces as the packer sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanShape {
    /// The lowest layer that its adapter changes; backward ends there.
    pub(crate) first_layer: usize,
    /// Tokens of each piece, in order.
    pub(crate) pieces: Vec<usize>,
}

/// One piece of one plan of the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The plan, from 0.
    pub(crate) plan: usize,
    /// The piece of that plan, from 0.
    pub(crate) piece: usize,
}

/// What one thread runs at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkShape {
    /// The lowest layer that its adapters change.
    pub(crate) first_layer: usize,
    /// Its pieces, in order; one segment each.
    pub(crate) parts: Vec<Part>,
    /// Tokens of all parts.
    pub(crate) tokens: usize,
}

/// Joins pieces by first fit; a plan's pieces keep their order.
pub(crate) fn pack(plans: &[PlanShape], tokens_chunk: usize) -> Vec<ChunkShape> {
    let mut chunks: Vec<ChunkShape> = Vec::new();
    for (plan, shape) in plans.iter().enumerate() {
        let mut from = 0;
        for (piece, &tokens) in shape.pieces.iter().enumerate() {
            let fits = |chunk: &ChunkShape| {
                chunk.first_layer == shape.first_layer && chunk.tokens + tokens <= tokens_chunk
            };
            let at = chunks[from..].iter().position(fits).map_or(chunks.len(), |at| from + at);
            if at == chunks.len() {
                chunks.push(ChunkShape { first_layer: shape.first_layer, ..ChunkShape::default() });
            }
            chunks[at].parts.push(Part { plan, piece });
            chunks[at].tokens += tokens;
            from = at;
        }
    }
    debug_assert_eq!(verify(plans, &chunks, tokens_chunk), Ok(()));
    chunks
}

/// Checks that each piece is packed exactly once, in its plan's order, with others of its first
/// layer, and that no chunk is too large unless a single piece is. Only tests and debug builds run
/// it; it shares nothing with [`pack`].
pub(crate) fn verify(
    plans: &[PlanShape],
    chunks: &[ChunkShape],
    tokens_chunk: usize,
) -> Result<(), String> {
    let mut next = vec![0; plans.len()];
    for (at, chunk) in chunks.iter().enumerate() {
        let mut tokens = 0;
        for part in &chunk.parts {
            let shape = plans.get(part.plan).ok_or(format!("chunk {at}: no plan {}", part.plan))?;
            if part.piece != next[part.plan] {
                return Err(format!("chunk {at}: {part:?}, expected piece {}", next[part.plan]));
            }
            next[part.plan] += 1;
            if shape.first_layer != chunk.first_layer {
                return Err(format!(
                    "chunk {at}: {part:?} adapts from layer {}",
                    shape.first_layer
                ));
            }
            tokens += shape.pieces.get(part.piece).ok_or(format!("chunk {at}: no {part:?}"))?;
        }
        if chunk.parts.is_empty() || tokens != chunk.tokens {
            return Err(format!("chunk {at}: {tokens} tokens counted as {}", chunk.tokens));
        }
        if tokens > tokens_chunk && chunk.parts.len() > 1 {
            return Err(format!("chunk {at}: {tokens} tokens, more than {tokens_chunk}"));
        }
    }
    for (plan, shape) in plans.iter().enumerate() {
        if next[plan] != shape.pieces.len() {
            return Err(format!("plan {plan}: {} of {} pieces", next[plan], shape.pieces.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{ChunkShape, PlanShape, pack, verify};

    fn plans(shapes: &[(usize, &[usize])]) -> Vec<PlanShape> {
        let plan = |&(first_layer, pieces): &(usize, &[usize])| PlanShape {
            first_layer,
            pieces: pieces.to_vec(),
        };
        shapes.iter().map(plan).collect()
    }

    fn check(shapes: &[(usize, &[usize])], expected: &[&[(usize, usize)]]) {
        let chunks = pack(&plans(shapes), 100);
        let parts: Vec<Vec<(usize, usize)>> = chunks
            .iter()
            .map(|chunk| chunk.parts.iter().map(|part| (part.plan, part.piece)).collect())
            .collect();
        assert_eq!(parts, expected, "{shapes:?}");
    }

    #[test]
    fn small_pieces_share_a_chunk() {
        check(&[(0, &[60]), (0, &[40]), (0, &[30])], &[&[(0, 0), (1, 0)], &[(2, 0)]]);
        check(&[(0, &[90, 90]), (0, &[20, 10])], &[&[(0, 0)], &[(0, 1)], &[(1, 0), (1, 1)]]);
        check(&[(0, &[90, 60]), (0, &[10, 10])], &[&[(0, 0), (1, 0)], &[(0, 1), (1, 1)]]);
        check(&[(0, &[10]), (4, &[10]), (4, &[10])], &[&[(0, 0)], &[(1, 0), (2, 0)]]);
        check(&[(0, &[500]), (0, &[1])], &[&[(0, 0)], &[(1, 0)]]);
        check(&[], &[]);
    }

    #[test]
    fn the_verifier_finds_each_kind_of_fault() {
        let plans = plans(&[(0, &[50, 50]), (2, &[10])]);
        let good = pack(&plans, 60);
        assert_eq!(verify(&plans, &good, 60), Ok(()));
        type Spoil = fn(&mut Vec<ChunkShape>);
        let faults: [(&str, Spoil); 6] = [
            ("expected piece", |chunks| chunks.swap(0, 1)),
            ("expected piece", |chunks| chunks.push(chunks[0].clone())),
            ("of 2 pieces", |chunks| drop(chunks.remove(1))),
            ("of 1 pieces", |chunks| drop(chunks.pop())),
            ("counted as", |chunks| chunks[0].tokens += 1),
            ("adapts from layer", |chunks| chunks[2].first_layer = 0),
        ];
        for (message, spoil) in faults {
            let mut chunks = good.clone();
            spoil(&mut chunks);
            let error = verify(&plans, &chunks, 60).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(verify(&plans, &pack(&plans, 200), 60).unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn every_packed_round_is_valid(
            shapes in prop::collection::vec(
                (0usize..3, prop::collection::vec(1usize..200, 0..9)), 0..9),
            tokens_chunk in 1usize..300,
        ) {
            let plans: Vec<PlanShape> = shapes
                .into_iter()
                .map(|(first_layer, pieces)| PlanShape { first_layer, pieces })
                .collect();
            let chunks = pack(&plans, tokens_chunk);
            assert_eq!(verify(&plans, &chunks, tokens_chunk), Ok(()));
        }
    }
}
