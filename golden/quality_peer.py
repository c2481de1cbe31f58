#!/usr/bin/env python3
"""Trains an encoder with the real sentence-transformers and says what that does to retrieval on the test split.

Usage: quality_peer.py MODEL BEIR_FOLDER... [--mode full|lora|none] [--seed 7] [--save FOLDER]

Multiple-negatives ranking loss (scale 20, in-batch negatives), AdamW with weight decay 0.01, a tenth of the steps as
warm-up and then linear decay, gradient clip 1.0, f32, the base model's own dropout active.
Evaluation is exact cosine search over the whole corpus with nDCG@10 (linear gain), R@10 and MRR@10 as trec_eval has them.
One JSON line a set on stdout, with the metrics before and after; progress goes to stderr.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy
import torch
from peft import LoraConfig
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import beir_data
import losses

DEPTH = 10


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folders", nargs="+", metavar="BEIR_FOLDER")
    parser.add_argument("--mode", choices=["full", "lora", "none"], default="full", help="none evaluates only")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32, help="pairs a step")
    parser.add_argument("--learning-rate", type=float, help="default 2e-5 for full, 5e-4 for lora")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--targets", default="query,value")
    parser.add_argument("--tokens-max", type=int, default=128, help="while training")
    parser.add_argument("--eval-tokens-max", type=int, default=256)
    parser.add_argument("--steps-max", type=int, help="stop early, to try the script")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save", type=pathlib.Path, help="keep each tuned model under FOLDER/SET")
    return parser.parse_args()


def evaluate(model, folder, tokens_max):
    """nDCG@10, R@10 and MRR@10, averaged over the queries of the test split."""
    model.max_seq_length = tokens_max
    corpus, queries = beir_data.read_corpus(folder), beir_data.read_queries(folder)
    judged = beir_data.read_judgements(folder, "test")
    documents = list(corpus)
    embed = lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    scores = embed([queries[query] for query in judged]) @ embed([corpus[document] for document in documents]).T
    best = numpy.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    rows = [measure([documents[place] for place in row], judged[query]) for query, row in zip(judged, best)]
    return dict(zip(("ndcg10", "recall10", "mrr10"), numpy.mean(rows, axis=0).round(4).tolist()))


def measure(found, relevant):
    """nDCG, recall and reciprocal rank of one ranking."""
    discounts = 1.0 / numpy.log2(numpy.arange(2, DEPTH + 2))
    gains = numpy.array([max(0, relevant.get(document, 0)) for document in found])
    ideal = numpy.array(sorted((score for score in relevant.values() if score > 0), reverse=True))
    if len(ideal) == 0:
        return 0.0, 0.0, 0.0
    ndcg = gains @ discounts[: len(gains)] / (ideal[:DEPTH] @ discounts[: len(ideal)])
    hits = numpy.flatnonzero(gains)
    return ndcg, len(hits) / len(ideal), 1.0 / (hits[0] + 1) if len(hits) else 0.0


def train(model, folder, args):
    """Tunes the model in place and returns what that took."""
    model.max_seq_length = args.tokens_max
    if args.mode == "lora":
        model.add_adapter(
            LoraConfig(
                task_type="FEATURE_EXTRACTION", r=args.rank, lora_alpha=2 * args.rank, lora_dropout=0.0,
                target_modules=args.targets.split(","),
            )
        )
    pairs = beir_data.training_pairs(folder)
    steps = [
        batch for epoch in range(args.epochs) for batch in beir_data.epoch_batches(pairs, args.batch, args.seed, epoch)
    ][: args.steps_max]
    values = [value for value in model.parameters() if value.requires_grad]
    rate = args.learning_rate or (2e-5 if args.mode == "full" else 5e-4)
    optimizer = torch.optim.AdamW(values, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: losses.linear(step, len(steps)))
    loss_of = MultipleNegativesRankingLoss(model)
    model.train()
    curve, tokens, wall, cpu = [], 0, time.perf_counter(), time.process_time()
    for number, batch in enumerate(steps, start=1):
        features = [model.preprocess(list(column)) for column in zip(*batch)]
        tokens += sum(int(column["attention_mask"].sum()) for column in features)
        loss = loss_of(features, None)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(values, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        curve.append(loss.item())
        print(f"step {number}/{len(steps)} loss {curve[-1]:.4f}", file=sys.stderr, flush=True)
    return {
        "trainable": sum(value.numel() for value in values), "pairs": len(pairs), "steps": len(steps),
        "learning_rate": rate, "tokens": tokens,
        "wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1),
        "loss_first10": round(float(numpy.mean(curve[:10])), 4), "loss_last10": round(float(numpy.mean(curve[-10:])), 4),
    }


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    for folder in map(pathlib.Path, args.folders):
        torch.manual_seed(args.seed)
        random.seed(args.seed)
        model = SentenceTransformer(args.model, device="cpu")
        report = {"set": folder.name, "mode": args.mode, "seed": args.seed}
        report["before"] = evaluate(model, folder, args.eval_tokens_max)
        if args.mode != "none":
            report |= train(model, folder, args)
            report["after"] = evaluate(model, folder, args.eval_tokens_max)
            if args.save:
                model.save_pretrained(str(args.save / folder.name))
        report["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
