#!/usr/bin/env python3
"""Shows that a reranker that Cotenant trained gives the same scores in peft and in sentence-transformers.

Usage: rerank_interop.py COTENANT RUN TENANT QUERY...

COTENANT is the program, RUN the folder of a run in f32. For each query the program is asked for the
tenant's passages; peft (AutoModelForSequenceClassification with the adapter's folder) and CrossEncoder
(with what `cotenant export` merges) then score the same pairs.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from peft import PeftModel
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# Two computations of the same numbers in f32, after the sigmoid.
TOLERANCE = 2e-4


def main(program, run, tenant, queries):
    torch.set_num_threads(1)
    summary = json.loads((pathlib.Path(run) / "run.json").read_text())
    tokens_max = next(one["tokens_max"] for one in summary["tenants"] if one["name"] == tenant)
    by_peft = from_peft(pathlib.Path(run), tenant, summary["base_folder"], tokens_max)
    with tempfile.TemporaryDirectory() as folder:
        merged = str(pathlib.Path(folder) / "merged")
        ask(program, "export", "--run", run, "--tenant", tenant, "--format", "sentence-transformers", "--to", merged)
        cross = CrossEncoder(merged, max_length=tokens_max, device="cpu")
    worst = 0.0
    for query in queries:
        found = ask(program, "search", "--run", run, "--tenant", tenant, "-k", "10", query)["passages"]
        pairs = [(query, passage["text"]) for passage in found]
        ours = torch.tensor([passage["score"] for passage in found])
        for name, scores in (("peft", by_peft(pairs)), ("CrossEncoder", torch.tensor(cross.predict(pairs)))):
            apart = (scores - ours).abs().max().item()
            print(f"{name:12} {len(pairs)} pairs, scores {ours.min():.4f} to {ours.max():.4f}, apart {apart:.1e}")
            worst = max(worst, apart)
    assert worst <= TOLERANCE, worst


def from_peft(run, tenant, base, tokens_max):
    tokenizer = AutoTokenizer.from_pretrained(base)
    bare = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    model = PeftModel.from_pretrained(bare, run / "tenants" / tenant / "adapter").eval()

    @torch.no_grad()
    def scores(pairs):
        queries, texts = zip(*pairs)
        cut = {"truncation": "only_second", "max_length": tokens_max, "padding": True, "return_tensors": "pt"}
        return torch.sigmoid(model(**tokenizer(list(queries), list(texts), **cut)).logits[:, 0])

    return scores


def ask(program, *arguments):
    done = subprocess.run([program, *arguments, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
