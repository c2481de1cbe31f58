#!/usr/bin/env python3
"""Writes golden/encoder/: tiny models, adapters as PEFT folders, and what PyTorch and peft compute with them.

Usage: make_encoder.py [--out FOLDER] [--minilm MODEL_FOLDER] [--check]
--minilm also writes minilm.safetensors beside the encoder folder, from sentences.txt.
--check writes nothing: it compares each tensor in f32 with itself in f64 and prints the distance, from which tolerances follow.
"""

import argparse
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from safetensors.torch import save_file

import encoder_case
import losses
import tiny

HERE = pathlib.Path(__file__).resolve().parent


def loss_tensors():
    """The losses on random unit embeddings, with gradients by cosine and by dot product, and the schedules."""
    generator = torch.Generator().manual_seed(31)
    draw = lambda rows: torch.nn.functional.normalize(torch.randn(rows, 16, generator=generator), dim=1)
    inputs = {"anchors": draw(5), "positives": draw(5), "negatives": draw(5)}
    tensors = {f"mnrl.{name}": value for name, value in inputs.items()}
    variants = {
        "plain": (0, False), "symmetric": (0, True), "negative": (5, False),
        "symmetric_negative": (5, True), "ragged": (3, False),
    }
    for name, (negatives, symmetric) in variants.items():
        for cosine in (True, False):
            leaves = {key: value.clone().requires_grad_() for key, value in inputs.items()}
            third = leaves["negatives"][:negatives] if negatives else None
            loss = losses.ranking(leaves["anchors"], leaves["positives"], third, symmetric=symmetric, cosine=cosine)
            tensors |= gradients_of(loss, leaves, f"mnrl.{name}", cosine)
    tensors |= {"cosent.left": draw(8), "cosent.right": draw(8)}
    tensors["cosent.scores"] = torch.tensor([0.0, 0.25, 1.0, 0.5, 0.5, 0.75, 0.25, 0.1])
    for cosine in (True, False):
        leaves = {key: tensors[f"cosent.{key}"].clone().requires_grad_() for key in ("left", "right")}
        loss = losses.cosent(leaves["left"], leaves["right"], tensors["cosent.scores"], cosine=cosine)
        tensors |= gradients_of(loss, leaves, "cosent", cosine)
    for steps in (1, 10, 37):
        for shape in (losses.linear, losses.cosine):
            factors = [shape(step, steps) for step in range(steps)]
            tensors[f"schedule.{shape.__name__}.{steps}"] = torch.tensor(factors, dtype=torch.float64)
    return tensors


def gradients_of(loss, leaves, prefix, cosine):
    """The loss and its gradient by each input that it reads."""
    loss.backward()
    kind = "cosine" if cosine else "dot"
    read = {key: leaf for key, leaf in leaves.items() if leaf.grad is not None}
    return {f"{prefix}.loss": loss.detach()} | {f"{prefix}.d_{key}_{kind}": leaf.grad for key, leaf in read.items()}


def write(tensors, path):
    """Contiguous tensors, and a scalar as a tensor of one element."""
    save_file({name: value.detach().reshape(value.shape or (1,)).contiguous() for name, value in tensors.items()}, path)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB, {len(tensors)} tensors", file=sys.stderr)


def write_minilm(model_folder, path):
    """Token ids and embeddings of sentences.txt by the real model, each sentence alone so that nothing is padded."""
    from sentence_transformers import SentenceTransformer

    sentences = (HERE / "sentences.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    model = SentenceTransformer(model_folder, device="cpu")
    model.max_seq_length = 256
    ids = [model.preprocess([sentence])["input_ids"][0].tolist() for sentence in sentences]
    vectors = model.encode(sentences, batch_size=1, convert_to_tensor=True, normalize_embeddings=True)
    lengths = torch.tensor([0] + [len(row) for row in ids])
    tensors = {
        "tokens": torch.tensor([token for row in ids for token in row], dtype=torch.int32),
        "offsets": lengths.cumsum(0).to(torch.int32),
        "embeddings": vectors.float(),
    }
    write(tensors, path)


def check():
    """Prints how far f32 is from f64, the largest over the tensors of each group."""
    for name in tiny.MODELS:
        single, double = encoder_case.case(name), encoder_case.case(name, torch.float64)
        worst = {}
        for key, value in single.items():
            if value.dtype is torch.int32:
                continue
            gap = (value.double() - double[key]).abs().max().item()
            group = key.split(".base_model")[0].split(".layer.")[0]
            old = worst.get(group, (0.0, 0.0))
            worst[group] = (max(old[0], gap), max(old[1], gap / max(double[key].abs().max().item(), 1e-30)))
        for group, (gap, share) in sorted(worst.items()):
            print(f"{name:14} {group:34} max abs {gap:.1e}  of the largest value {share:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "encoder")
    parser.add_argument("--minilm", help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    losses.reference_check()
    if args.check:
        return check()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in tiny.MODELS:
        tiny.save_model(name, args.out / name)
        write(encoder_case.case(name), args.out / f"{name}.case.safetensors")
    for adapter in tiny.ADAPTERS:
        tiny.save_adapter(adapter, args.out / adapter)
    write(loss_tensors(), args.out / "losses.safetensors")
    if args.minilm:
        write_minilm(args.minilm, args.out.parent / "minilm.safetensors")


if __name__ == "__main__":
    main()
