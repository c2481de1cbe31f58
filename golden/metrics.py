"""Writes metrics.json: rankings with their metrics, and differences with their significance.

Straight from the definitions and with nothing but the standard library, so that it shares no
code, and no shortcut, with the crate that is tested against it.
"""

import itertools
import json
import math
import pathlib
import random

DEPTHS = (1, 3, 10)
MASK = (1 << 64) - 1


def dcg(grades):
    """Linear gain over log2(rank + 1), ranks from 1."""
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def metrics(ranking, judgments, depth):
    """The six metrics of one query; `judgments` maps a document to its grade."""
    relevant = {document for document, grade in judgments.items() if grade > 0}
    best = ranking[:depth]
    hits = [document in relevant for document in best]
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
    ideal = sorted((judgments[document] for document in relevant), reverse=True)[:depth]
    return {
        "ndcg": dcg([max(judgments.get(document, 0), 0) for document in best]) / dcg(ideal),
        "recall": sum(hits) / len(relevant),
        "precision": sum(hits) / depth,
        "mrr": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
        "map": sum(precisions) / len(relevant),
        "hit_rate": float(any(hits)),
    }


def make_query(rng, number):
    """A query of 12 documents with judgments from -1 to 3, ranked by scores that often tie."""
    documents = [f"d{index:02}" for index in range(12)]
    judged = rng.sample(documents, rng.randint(1, 6))
    judgments = {document: rng.choice((-1, 0, 1, 1, 2, 3)) for document in judged}
    if not any(grade > 0 for grade in judgments.values()):
        judgments[judged[0]] = 1
    retrieved = rng.sample(documents, rng.randint(0, 12) if number else 0)
    scores = {document: rng.randint(0, 8) / 8 for document in retrieved}
    ranking = sorted(scores, key=lambda document: (-scores[document], document))
    return {
        "scores": scores,
        "judgments": judgments,
        "ranking": ranking,
        "expected": {str(depth): metrics(ranking, judgments, depth) for depth in DEPTHS},
    }


def scramble(key):
    """One step of SplitMix64."""
    bits = (key + 0x9E3779B97F4A7C15) & MASK
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & MASK
    return bits ^ (bits >> 31)


def draw(seed, stream, sample, place):
    """The 64 bits that the crate documents for a seed, a use, a sample and a place in it."""
    return scramble(scramble(scramble(scramble(seed) ^ stream) ^ sample) ^ place)


def bootstrap(differences, samples, per_mille, seed):
    """Percentile interval of the mean of resampled differences."""
    count = len(differences)
    means = []
    for sample in range(samples):
        chosen = (draw(seed, 1, sample, place) * count >> 64 for place in range(count))
        means.append(math.fsum(differences[index] for index in chosen) / count)
    means.sort()
    cut = samples * (1000 - per_mille) // 2000
    return means[cut], means[-1 - cut]


def exact_p_value(differences):
    """Share of all sign assignments whose sum is as far from zero, in whole thousandths."""
    whole = [round(difference * 1000) for difference in differences]
    signs = itertools.product((1, -1), repeat=len(whole))
    sums = [abs(sum(sign * value for sign, value in zip(chosen, whole))) for chosen in signs]
    return sum(value >= abs(sum(whole)) for value in sums) / len(sums)


def make_comparison(rng, count, gain, per_mille):
    """Two systems whose scores are whole thousandths."""
    before = [rng.randint(0, 1000) for _ in range(count)]
    after = [min(1000, max(0, value + rng.randint(-300, 300) + gain)) for value in before]
    differences = [(new - old) / 1000 for old, new in zip(before, after)]
    seed, samples = rng.getrandbits(64), 4096
    low, high = bootstrap(differences, samples, per_mille, seed)
    return {
        "before": [value / 1000 for value in before],
        "after": [value / 1000 for value in after],
        "samples": samples,
        "confidence_per_mille": per_mille,
        "seed": str(seed),
        "expected": {
            "before": sum(before) / 1000 / count,
            "after": sum(after) / 1000 / count,
            "low": low,
            "high": high,
            "p_value": exact_p_value(differences),
        },
    }


def main():
    rng = random.Random(20260101)
    golden = {
        "written_by": "golden/metrics.py",
        "queries": [make_query(rng, number) for number in range(8)],
        "comparisons": [
            make_comparison(rng, 12, 60, 950),
            make_comparison(rng, 9, 0, 900),
            make_comparison(rng, 12, 200, 990),
        ],
    }
    path = pathlib.Path(__file__).with_name("metrics.json")
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
