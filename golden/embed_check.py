#!/usr/bin/env python3
"""Embeds texts with the real libraries, so that what `cotenant` writes can be compared with what others make of it.

Usage: embed_check.py FOLDER TEXTS OUT.safetensors [--base MODEL_FOLDER]

FOLDER is a sentence-transformers model, or a PEFT adapter if it holds adapter_config.json.
An adapter is loaded by peft on the plain Hugging Face model --base (default: base_model_name_or_path of the adapter),
its output averaged over tokens and scaled to unit length.
TEXTS is a UTF-8 file with one text a line, or a safetensors file with `tokens` and `offsets` as in golden/, for which
no tokenizer is needed (then FOLDER may also be a plain Hugging Face model).
OUT gets `embeddings`, f32 `[texts, hidden]`; each text is run alone, so nothing is padded.
"""

import argparse
import json
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize


def read_lines(path):
    """The texts of a file, one a line; only a line feed ends a line."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def read_tokens(path):
    """The token ids of a packed safetensors file, one list a text."""
    tensors = load_file(path)
    offsets = tensors["offsets"].tolist()
    return [tensors["tokens"][start:end].tolist() for start, end in zip(offsets, offsets[1:])]


def tokenize(folder, lines):
    """Token ids with special tokens, cut to the length that the model folder declares."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    declared = folder / "sentence_bert_config.json"
    longest = json.loads(declared.read_text())["max_seq_length"] if declared.exists() else tokenizer.model_max_length
    return [tokenizer(line, padding=False, truncation=True, max_length=longest)["input_ids"] for line in lines]


def plain_model(folder, adapter):
    """The Hugging Face model of a folder, wrapped by peft if there is an adapter."""
    from peft import PeftModel
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    return PeftModel.from_pretrained(model, adapter).eval() if adapter else model


@torch.no_grad()
def embed_tokens(model, texts):
    """Mean over tokens, scaled to unit length."""
    states = [model(input_ids=torch.tensor([text])).last_hidden_state[0] for text in texts]
    return normalize(torch.stack([rows.mean(dim=0) for rows in states]), dim=1)


def embed_sentences(folder, lines):
    """What a user of sentence-transformers gets."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(lines, batch_size=1, convert_to_tensor=True, show_progress_bar=False).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("texts", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--base", type=pathlib.Path, help="the Hugging Face model below a PEFT adapter")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    packed = args.texts.suffix == ".safetensors"
    adapter = args.folder / "adapter_config.json"
    if adapter.exists() or packed:
        base = args.base or args.folder
        if adapter.exists() and not args.base:
            base = pathlib.Path(json.loads(adapter.read_text())["base_model_name_or_path"])
        texts = read_tokens(args.texts) if packed else tokenize(base, read_lines(args.texts))
        vectors = embed_tokens(plain_model(base, args.folder if adapter.exists() else None), texts)
    else:
        vectors = embed_sentences(args.folder, read_lines(args.texts))
    save_file({"embeddings": vectors.contiguous()}, args.out)
    print(json.dumps({"texts": vectors.shape[0], "hidden": vectors.shape[1]}))


if __name__ == "__main__":
    main()
