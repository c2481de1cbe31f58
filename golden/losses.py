"""The contrastive losses and the learning-rate schedules, written out so that each term can be read.

Every function takes embeddings as `[texts, hidden]` tensors.
`reference_check` compares them with the classes of sentence-transformers, so they cannot drift from what users know.
"""

import math

import torch
from torch.nn.functional import normalize


def similarities(left, right, cosine):
    """`[len(left), len(right)]` cosines, or plain dot products for embeddings that are already unit vectors."""
    if cosine:
        left, right = normalize(left, dim=1), normalize(right, dim=1)
    return left @ right.T


def ranking(anchors, positives, negatives=None, *, scale=20.0, symmetric=False, cosine=True):
    """Multiple-negatives ranking loss, the mean over anchors.

    Each anchor chooses its positive among all positives and all hard negatives of the batch.
    `symmetric` averages that with each positive choosing its anchor among all anchors.
    """
    documents = positives if negatives is None else torch.cat([positives, negatives])
    logits = scale * similarities(anchors, documents, cosine)
    own = logits.diagonal()
    forward = torch.logsumexp(logits, dim=1)
    if not symmetric:
        return (forward - own).mean()
    backward = torch.logsumexp(scale * similarities(positives, anchors, cosine), dim=1)
    return ((forward + backward) / 2 - own).mean()


def cosent(left, right, scores, *, scale=20.0, cosine=True):
    """CoSENT: log(1 + the sum of exp(scale * (s_low - s_high)) over all pairs whose scores differ)."""
    if cosine:
        left, right = normalize(left, dim=1), normalize(right, dim=1)
    similarity = scale * (left * right).sum(dim=1)
    lower = scores[:, None] < scores[None, :]
    gaps = (similarity[:, None] - similarity[None, :])[lower]
    return torch.logsumexp(torch.cat([gaps.new_zeros(1), gaps]), dim=0)


def warmup_steps(steps):
    """A tenth of the run, at least one step."""
    return max(1, steps // 10)


def linear(step, steps):
    """Factor on the learning rate at `step` (from 0): linear warm-up, then linear decay towards zero."""
    warmup = warmup_steps(steps)
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (steps - step) / max(1, steps - warmup))


def cosine(step, steps):
    """Factor on the learning rate at `step` (from 0): linear warm-up, then half a cosine towards zero."""
    warmup = warmup_steps(steps)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def reference_check():
    """Fails unless the losses above equal those of sentence-transformers."""
    from sentence_transformers.sentence_transformer import losses

    generator = torch.Generator().manual_seed(5)
    anchors, positives, negatives = torch.randn(3, 6, 8, generator=generator)
    scores = torch.tensor([0.9, 0.1, 0.5, 0.5, 1.0, 0.0])
    both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    for symmetric, options in ((False, {}), (True, both)):
        theirs = losses.MultipleNegativesRankingLoss(None, scale=20.0, **options)
        for third in ([], [negatives]):
            expected = theirs.compute_loss_from_embeddings([anchors, positives, *third], None)
            ours = ranking(anchors, positives, *third, symmetric=symmetric)
            torch.testing.assert_close(ours, expected)
    expected = losses.CoSENTLoss(None, scale=20.0).compute_loss_from_embeddings([anchors, positives], scores)
    torch.testing.assert_close(cosent(anchors, positives, scores), expected)
