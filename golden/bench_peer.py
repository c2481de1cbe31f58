#!/usr/bin/env python3
"""Times torch and peft on the work of `cotenant train`: one LoRA tenant, multiple-negatives ranking loss, AdamW.

--mode padded    as sentence-transformers runs it: anchors padded to the longest anchor, positives to the longest positive
--mode bucketed  as an expert would: all texts of the step sorted by length and run in groups, the same loss
--mode packed    stricter still: no padding at all, every matrix product over all tokens of the step at once

All compute the same function on the same batches; dropout is off, and tokenising is done before the clock starts.
--dtype bf16 is torch.autocast for the CPU.
One JSON line on stdout; `steps` counts the timed steps, before which three more run unmeasured.
`loss_first` is the loss of the very first step, on the untouched model, and `loss_last` that of the last one.
"""

import argparse
import contextlib
import functools
import json
import os
import resource
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

WARMUP = 3
LEARNING_RATE = 5e-4


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a BEIR folder")
    parser.add_argument("--model", required=True, help="a BERT folder with tokenizer")
    parser.add_argument("--mode", choices=["padded", "bucketed", "packed"], default="padded")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32, help="pairs a step")
    parser.add_argument("--tokens-max", type=int, default=128)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--targets", default="query,value")
    parser.add_argument("--dump-batches", metavar="FILE", help="write the token ids of every step")
    parser.add_argument("--dump-only", action="store_true", help="stop once the batches are written")
    return parser.parse_args()


def tokenized_steps(args):
    """For each step, the token ids of its anchors and of its positives."""
    from transformers import AutoTokenizer

    import beir_data

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    pairs = beir_data.training_pairs(args.data)
    steps = []
    for batch in beir_data.full_batches(pairs, args.batch, args.seed, WARMUP + args.steps):
        anchors, positives = (list(column) for column in zip(*batch))
        cut = functools.partial(tokenizer, padding=False, truncation=True, max_length=args.tokens_max)
        steps.append({"anchors": cut(anchors)["input_ids"], "positives": cut(positives)["input_ids"]})
    return steps


def dump(args, steps):
    """The batches as one JSON object, so that another program can train on exactly the same ones."""
    head = {"warmup": WARMUP, "batch": args.batch, "tokens_max": args.tokens_max, "seed": args.seed}
    with open(args.dump_batches, "w", encoding="utf-8") as out:
        json.dump(head | {"steps": steps}, out, separators=(",", ":"))
        out.write("\n")


def load_model(args):
    """The frozen encoder with a fresh adapter, dropout off."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BertModel

    torch.manual_seed(args.seed)
    base = BertModel.from_pretrained(args.model, add_pooling_layer=False, attn_implementation="sdpa")
    cfg = LoraConfig(
        task_type="FEATURE_EXTRACTION", r=args.rank, lora_alpha=2 * args.rank, lora_dropout=0.0,
        target_modules=args.targets.split(","),
    )
    return get_peft_model(base, cfg).eval()


def embed(model, texts):
    """Unit vectors `[texts, hidden]` of one padded batch, and the number of tokens computed."""
    import torch
    from torch.nn.functional import normalize

    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    needed = mask if any(len(text) < longest for text in texts) else None
    states = model(input_ids=ids, attention_mask=needed).last_hidden_state.float()
    weights = mask.unsqueeze(2).to(states.dtype)
    return normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=1), ids.numel()


def embed_padded(model, step):
    """Anchors and positives, each column padded to its longest text."""
    (anchors, first), (positives, second) = embed(model, step["anchors"]), embed(model, step["positives"])
    return anchors, positives, first + second


def contender(args, model):
    """The function that embeds one step in the chosen mode."""
    if args.mode == "padded":
        return embed_padded
    import torch_expert

    attention = torch_expert.prepare(model, args.mode, args.dtype == "bf16")
    if args.mode == "bucketed":
        return functools.partial(torch_expert.embed_bucketed, embed)
    return functools.partial(torch_expert.embed_packed, attention)


def train(args, model, steps):
    """Runs every step and returns the losses, and the computed tokens, wall and CPU seconds of the timed ones."""
    import torch

    import losses

    run = contender(args, model)
    values = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(values, lr=LEARNING_RATE, weight_decay=0.01, fused=args.mode != "padded" or None)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: losses.linear(step, len(steps)))
    cast = torch.autocast("cpu", torch.bfloat16) if args.dtype == "bf16" else contextlib.nullcontext()
    curve, computed, wall, cpu = [], 0, 0.0, 0.0
    for number, step in enumerate(steps):
        if number == WARMUP:
            computed, wall, cpu = 0, time.perf_counter(), time.process_time()
        with cast:
            anchors, positives, tokens = run(model, step)
        loss = losses.ranking(anchors, positives, cosine=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(values, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        curve.append(loss.item())
        computed += tokens
    return curve, computed, time.perf_counter() - wall, time.process_time() - cpu


def shared_mib():
    """Resident pages of files, such as libraries: processes that run the same program hold them once."""
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssFile"].split()[0]) // 1024


def main():
    args = parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    steps = tokenized_steps(args)
    if args.dump_batches:
        dump(args, steps)
        if args.dump_only:
            return
    import torch

    torch.set_num_threads(args.threads)
    curve, computed, wall, cpu = train(args, load_model(args), steps)
    pairs = args.steps * args.batch
    real = sum(len(text) for step in steps[WARMUP:] for column in step.values() for text in column)
    report = {
        "name": f"torch {args.mode} {args.dtype}", "mode": args.mode, "dtype": args.dtype, "threads": args.threads,
        "steps": args.steps, "pairs": pairs, "tokens_real": real, "tokens_padded": computed,
        "wall_s": round(wall, 3), "cpu_s": round(cpu, 3),
        "pairs_per_s": round(pairs / wall, 3), "pairs_per_cpu_s": round(pairs / cpu, 3),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "shared_mib": shared_mib(),
        "loss_first": round(curve[0], 5), "loss_last": round(curve[-1], 5),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
