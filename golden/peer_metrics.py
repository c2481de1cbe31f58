"""Writes peer_metrics.json: what trec_eval and scipy compute for rankings and paired samples.

trec_eval runs as pytrec_eval; its scores are 32-bit numbers, ties go to the larger id, and the
rank column of a run is not read.
"""

import json
import pathlib
import random

import numpy
import pytrec_eval
from scipy import stats

DEPTHS = (1, 5, 10)
MEASURES = {
    "ndcg_cut." + ",".join(map(str, DEPTHS)),
    "recall." + ",".join(map(str, DEPTHS)),
    "P." + ",".join(map(str, DEPTHS)),
    "map_cut." + ",".join(map(str, DEPTHS)),
    "success." + ",".join(map(str, DEPTHS)),
    "recip_rank",
}


def make_rankings(rng):
    """Forty queries with graded judgments, scores that often tie, and documents nobody judged."""
    run, qrels = {}, {}
    for number in range(40):
        documents = [f"{rng.choice('abAB')}{index}" for index in range(30)]
        judged = rng.sample(documents, rng.randint(1, 12))
        grades = {document: rng.choice((-1, 0, 0, 1, 1, 2, 3, 4)) for document in judged}
        grades[judged[0]] = rng.randint(1, 4)
        qrels[f"q{number}"] = grades
        ranked = rng.sample(documents, rng.randint(1, 30))
        run[f"q{number}"] = {document: rng.randint(-4, 8) / 8 for document in ranked}
    # Two scores that differ as 64-bit numbers and tie as 32-bit ones.
    run["q0"] = {"a1": 1.0, "b1": 1.0 + 1e-12, "c1": 0.5}
    qrels["q0"] = {"a1": 1, "b1": 0, "c1": 2}
    return run, qrels


def trec(run, qrels):
    run_lines = [
        f"{query} Q0 {document} 0 {score!r} peer"
        for query, documents in run.items()
        for document, score in documents.items()
    ]
    qrels_lines = [
        f"{query} 0 {document} {grade}"
        for query, documents in qrels.items()
        for document, grade in documents.items()
    ]
    expected = pytrec_eval.RelevanceEvaluator(qrels, MEASURES).evaluate(run)
    return {"run": "\n".join(run_lines), "qrels": "\n".join(qrels_lines), "expected": expected}


def paired(rng, count, gain):
    before = [rng.randint(0, 1000) / 1000 for _ in range(count)]
    after = [min(1.0, max(0.0, value + rng.uniform(-0.3, 0.3) + gain)) for value in before]
    differences = numpy.array(after) - numpy.array(before)
    found = stats.ttest_rel(after, before)
    interval = found.confidence_interval(0.95)
    return {
        "before": before,
        "after": after,
        "t": found.statistic,
        "degrees": int(found.df),
        "p_value": found.pvalue,
        "low": interval.low,
        "high": interval.high,
        "effect": differences.mean() / differences.std(ddof=1),
    }


def bca(rng, count, samples):
    """The BCa interval of a skewed sample's mean; another generator, so equal only by and large."""
    sample = [rng.expovariate(4.0) for _ in range(count)]
    interval = stats.bootstrap(
        (sample,), numpy.mean, n_resamples=samples, confidence_level=0.95, method="BCa",
        rng=numpy.random.default_rng(7), batch=1000,
    ).confidence_interval
    return {"sample": sample, "low": interval.low, "high": interval.high}


def main():
    rng = random.Random(20261128)
    golden = {
        "written_by": "golden/peer_metrics.py",
        "trec": trec(*make_rankings(rng)),
        "paired": [paired(rng, count, gain) for count, gain in ((2, 0.1), (5, 0.0), (30, 0.05), (300, 0.02), (300, 0.2))],
        "bca": [bca(rng, count, 200_000) for count in (15, 60)],
        "normal": [[p, stats.norm.ppf(p)] for p in (1e-9, 1e-4, 0.025, 0.3, 0.5, 0.9, 0.975, 1 - 1e-9)],
        "student": [[p, degrees, stats.t.ppf(p, degrees)] for p in (0.6, 0.975, 0.9999) for degrees in (1, 2, 7, 40, 1000)],
    }
    path = pathlib.Path(__file__).with_name("peer_metrics.json")
    path.write_text(json.dumps(golden, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
