#!/usr/bin/env python3
"""Measures how much retrieval quality a number format keeps: nDCG@10 of exact search over a BEIR folder's test queries.

Texts are tokenised here and embedded by PROGRAM, the release build of cotenant-transformer's example `embed_speed`,
in each of --precisions. One JSON line for each on stdout; `retained` is by the first of them.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

DEPTH = 10


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", metavar="PROGRAM")
    parser.add_argument("--data", required=True, help="a BEIR folder")
    parser.add_argument("--model", required=True, help="a sentence-transformers folder")
    parser.add_argument("--precisions", default="f32,bf16,int8")
    parser.add_argument("--tokens-max", type=int, default=256)
    return parser.parse_args()


def embed(args, precision, texts):
    """The program's embeddings `[texts, hidden]` in the order of a file of token ids, and the seconds they took."""
    import numpy as np

    with tempfile.NamedTemporaryFile() as out:
        command = [args.program, "--model", args.model, "--texts", texts, "--precision", precision]
        command += ["--out", out.name, "--warmup", "0", "--seconds", "0"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        values = np.fromfile(out.name, dtype="<f4")
    return values, report["cpu_s"]


def ndcg(judged, ranking):
    """nDCG at DEPTH with the judgement as gain, as trec_eval computes it."""
    import numpy as np

    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    gains = [max(judged.get(document, 0), 0) for document in ranking[:DEPTH]]
    best = sorted((score for score in judged.values() if score > 0), reverse=True)[:DEPTH]
    return float(np.dot(gains, discounts[: len(gains)]) / np.dot(best, discounts[: len(best)])) if best else 0.0


def main():
    import numpy as np
    from transformers import AutoTokenizer

    import beir_data

    args = parse_args()
    corpus, queries = beir_data.read_corpus(args.data), beir_data.read_queries(args.data)
    judged = beir_data.read_judgements(args.data, "test")
    documents, asked = list(corpus), list(judged)
    texts = [corpus[document] for document in documents] + [queries[query] for query in asked]
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer(texts, padding=False, truncation=True, max_length=args.tokens_max)["input_ids"]
    baseline = None
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(ids, file)
        file.flush()
        for precision in args.precisions.split(","):
            values, cpu_s = embed(args, precision, file.name)
            values = values.reshape(len(texts), -1)
            scores = values[len(documents) :] @ values[: len(documents)].T
            order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
            found = [ndcg(judged[query], [documents[at] for at in row]) for query, row in zip(asked, order)]
            mean = sum(found) / len(found)
            baseline = baseline or mean
            report = {
                "data": pathlib.Path(args.data).name, "precision": precision, "queries": len(asked),
                "documents": len(documents), "ndcg_at_10": round(mean, 4), "retained": round(mean / baseline, 4),
                "tokens_per_cpu_s": round(sum(map(len, ids)) / cpu_s),
            }
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
