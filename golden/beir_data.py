"""Reads a BEIR folder and draws training batches from it in an order that depends on the seed alone."""

import json
import pathlib
import random


def read_jsonl(path):
    """The objects of a file that holds one JSON object a line."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_corpus(folder):
    """Text of each document by id: its title and its text, joined by a space."""
    rows = read_jsonl(pathlib.Path(folder) / "corpus.jsonl")
    return {row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in rows}


def read_queries(folder):
    """Text of each query by id."""
    return {row["_id"]: row["text"] for row in read_jsonl(pathlib.Path(folder) / "queries.jsonl")}


def read_judgements(folder, split):
    """Score of each judged document by query id, in the order of the file."""
    judged = {}
    lines = (pathlib.Path(folder) / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        query, document, score = line.split("\t")
        judged.setdefault(query, {})[document] = int(score)
    return judged


def training_pairs(folder):
    """`(query text, document text)` of every positive judgement of the train split."""
    corpus, queries = read_corpus(folder), read_queries(folder)
    judged = read_judgements(folder, "train")
    positives = ((query, document) for query in judged for document, score in judged[query].items() if score > 0)
    return [(queries[query], corpus[document]) for query, document in positives]


def epoch_batches(pairs, size, seed, epoch):
    """Batches of at most `size` pairs in which no text stands twice, filled greedily from one shuffle.

    A pair whose query or document is already in the batch waits for a later one.
    A batch of one pair has no negative and is left out.
    """
    waiting = list(pairs)
    random.Random(seed * 1000 + epoch).shuffle(waiting)
    while waiting:
        batch, later, seen = [], [], set()
        for anchor, positive in waiting:
            if len(batch) < size and anchor not in seen and positive not in seen:
                batch.append((anchor, positive))
                seen.update((anchor, positive))
            else:
                later.append((anchor, positive))
        if len(batch) < 2:
            return
        yield batch
        waiting = later


def full_batches(pairs, size, seed, count):
    """`count` batches of exactly `size` pairs, from as many epochs as it takes."""
    batches, epoch = [], 0
    while len(batches) < count:
        full = [batch for batch in epoch_batches(pairs, size, seed, epoch) if len(batch) == size]
        if not full:
            raise SystemExit(f"the data has no batch of {size} pairs without a repeated text; try a smaller --batch")
        batches += full
        epoch += 1
    return batches[:count]
