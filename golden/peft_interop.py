#!/usr/bin/env python3
"""Shows that adapters and merged models pass between Cotenant and the real peft and sentence-transformers.

Usage: peft_interop.py              all three steps below, in a temporary folder
       peft_interop.py make FOLDER  peft writes adapters of many kinds, and what they embed some texts as
       (COTENANT_INTEROP=FOLDER cargo test -p cotenant-transformer --test model_interop reads them, and writes its own)
       peft_interop.py check FOLDER peft and sentence-transformers read what was written, and embed the same

FOLDER holds base/ (a tiny model), texts.json, peft/KIND/ and expected.json from the first step;
cotenant/NAME/, merged/NAME/ and found.json from the second.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils import load_peft_weights
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer, BertForMaskedLM, PreTrainedTokenizerFast
from transformers.utils.logging import set_verbosity_error
import tokenizers

import tiny

HERE = pathlib.Path(__file__).resolve().parent
BASE = "bert-tiny"

set_verbosity_error()
warnings.simplefilter("ignore")

# Two computations of the same numbers in f32; the values are entries of vectors of length 1.
TOLERANCE = 2e-5

# What differs from rank 4, alpha 8, all six linear layers.
KINDS = {
    "plain": {},
    "two-targets": {"target_modules": ["query", "value"]},
    "rslora": {"use_rslora": True, "r": 3, "lora_alpha": 5},
    "patterns": {
        "rank_pattern": {"layer.0.attention.self.query": 2, "intermediate.dense": 6},
        "alpha_pattern": {"^encoder.layer.1.attention.self.value": 3, r"0\.output\.dense": 9.5},
    },
    "last-layer": {"layers_to_transform": [1], "layers_pattern": "layer"},
    "expression": {"target_modules": r".*layer\.1\..*(query|output\.dense)"},
    "short-dense": {"target_modules": ["dense", "key"], "exclude_modules": ["pooler.dense"]},
    "excluded": {"target_modules": ["output.dense"], "exclude_modules": ["attention.output.dense"]},
    "masked-lm": {"target_modules": ["query", "intermediate.dense"]},
    "gaussian": {"init_lora_weights": "gaussian", "target_modules": ["key"]},
}


def make(folder):
    write_base(folder / "base")
    words = lambda *ids: " ".join(f"w{at}" for at in ids)
    texts = [words(7, 8, 9), words(*range(10, 40)), "", words(99), words(*[50] * 60), "no such word"]
    (folder / "texts.json").write_text(json.dumps(texts))
    expected = {"base": embed(folder, AutoModel.from_pretrained(folder / "base"), texts)}
    for seed, (kind, changes) in enumerate(KINDS.items()):
        settings = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": tiny.TARGETS} | changes
        load = BertForMaskedLM if kind == "masked-lm" else AutoModel
        model = get_peft_model(load.from_pretrained(folder / "base"), LoraConfig(**settings)).eval()
        randomise(model, seed)
        model.save_pretrained(folder / "peft" / kind)
        encoder = model.base_model.model
        expected[kind] = embed(folder, getattr(encoder, "bert", encoder), texts)
    pipeline = SentenceTransformer(str(folder / "base"), device="cpu")
    pipeline.add_adapter(LoraConfig(r=4, target_modules=["query", "output.dense"], task_type="FEATURE_EXTRACTION"))
    randomise(pipeline, 100)
    pipeline.save_pretrained(str(folder / "peft" / "sentence-transformers"))
    expected["sentence-transformers"] = embed(folder, pipeline[0].auto_model, texts)
    (folder / "expected.json").write_text(json.dumps(expected))


def write_base(folder):
    """The tiny BERT with a tokenizer of the words w5, w6, ... that pads and truncates by itself, as published ones do."""
    tiny.save_model(BASE, folder)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {piece: at for at, piece in enumerate(special + [f"w{at}" for at in range(5, 100)])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    inner.normalizer = tokenizers.normalizers.BertNormalizer()
    inner.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    inner.enable_truncation(8)
    inner.enable_padding(length=8)
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, mask_token="[MASK]", model_max_length=48, **roles)
    fast.save_pretrained(folder)


def randomise(model, seed):
    """Draws both factors of every pair, since peft begins with B at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, value in sorted(tiny.lora_parameters(model).items()):
            value.copy_(0.15 * torch.randn(value.shape, generator=generator))


@torch.no_grad()
def embed(folder, model, texts):
    """Means of the token vectors, scaled to length 1."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    batch = tokenizer(texts, padding=True, truncation=True, max_length=48, return_tensors="pt")
    hidden = model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).tolist()


def check(folder):
    texts = json.loads((folder / "texts.json").read_text())
    found = json.loads((folder / "found.json").read_text())
    expected = json.loads((folder / "expected.json").read_text())
    written = sorted(path.name for path in (folder / "cotenant").iterdir())
    assert set(written) == set(found) and set(KINDS) < set(found), written
    for name in written:
        adapter = folder / "cotenant" / name
        pairs = check_modules(folder, adapter)
        with warnings.catch_warnings():
            # peft only warns of matrices that it does not find.
            warnings.simplefilter("error", UserWarning)
            model = PeftModel.from_pretrained(AutoModel.from_pretrained(folder / "base"), adapter)
        by_peft = embed(folder, model.base_model.model, texts)
        merged = SentenceTransformer(str(folder / "merged" / name), device="cpu")
        by_pipeline = merged.encode(texts, convert_to_numpy=False, convert_to_tensor=True).tolist()
        distances = [distance(found[name], by_peft), distance(found[name], by_pipeline)]
        if name in expected:
            distances.append(distance(found[name], expected[name]))
        effect = distance(found[name], expected["base"])
        print(f"{name:22} {pairs:3} pairs, effect {effect:.3f}, distances", *(f"{value:.1e}" for value in distances))
        assert effect > 100 * TOLERANCE, "the adapter does nothing, so its test shows nothing"
        assert max(distances) <= TOLERANCE


def check_modules(folder, adapter):
    """peft adapts exactly the modules whose matrices lie in the folder, with exactly their values; returns how many."""
    stored = load_peft_weights(str(adapter), device="cpu")
    model = get_peft_model(AutoModel.from_pretrained(folder / "base"), PeftConfig.from_pretrained(adapter))
    result = set_peft_model_state_dict(model, stored)
    missing = [key for key in result.missing_keys if "lora_" in key]
    assert not missing and not result.unexpected_keys, (missing, result.unexpected_keys)
    loaded = get_peft_model_state_dict(model)
    assert set(loaded) == set(stored) and all(torch.equal(loaded[key], stored[key]) for key in stored)
    adapted = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    assert {f"{name}.lora_A.weight" for name in adapted} == {key for key in stored if "lora_A" in key}
    return len(adapted)


def distance(left, right):
    return (torch.tensor(left) - torch.tensor(right)).abs().max().item()


def main(arguments):
    torch.set_num_threads(1)
    match arguments:
        case ["make", folder]:
            make(pathlib.Path(folder))
        case ["check", folder]:
            check(pathlib.Path(folder))
        case []:
            with tempfile.TemporaryDirectory() as folder:
                make(pathlib.Path(folder))
                test = ["cargo", "test", "--quiet", "-p", "cotenant-transformer", "--test", "model_interop"]
                environment = os.environ | {"COTENANT_INTEROP": folder}
                subprocess.run(test, cwd=HERE.parent, env=environment, check=True)
                check(pathlib.Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
