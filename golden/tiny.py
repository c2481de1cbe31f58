"""The tiny encoders, their adapters and their texts: everything drawn from fixed seeds, nothing trained."""

import json
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel
from transformers.utils.logging import disable_progress_bar

disable_progress_bar()

TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]

# Two shapes that differ in every number, so that a swapped dimension cannot go unseen.
MODELS = {
    "bert-tiny": {
        "seed": 11,
        "make": lambda: BertModel(
            BertConfig(
                vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                max_position_embeddings=48, type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0,
            )
        ),
        "ends": (2, 3),
        "first_word": 5,
        "lengths": [3, 5, 2, 17, 9, 33],
        "rankings": ("mnrl", "mnrl_symmetric", "mnrl_negative"),
    },
    "roberta-tiny": {
        "seed": 13,
        "make": lambda: RobertaModel(
            RobertaConfig(
                vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=56,
                max_position_embeddings=26, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
                bos_token_id=0, eos_token_id=2,
            ),
            add_pooling_layer=False,
        ),
        "ends": (0, 2),
        "first_word": 4,
        "lengths": [3, 6, 2, 18, 4, 5],
        "rankings": ("mnrl",),
    },
}

# Every adapter that is written as a PEFT folder: its base and what differs from rank 4, alpha 8, all six linear layers.
ADAPTERS = {
    "bert-tiny-adapter": ("bert-tiny", {}),
    "bert-tiny-rslora": ("bert-tiny", {"use_rslora": True, "r": 3, "lora_alpha": 5, "target_modules": ["query", "value"]}),
    "bert-tiny-patterns": (
        "bert-tiny",
        {
            "target_modules": ["query", "value", "intermediate.dense"],
            "rank_pattern": {"layer.0.attention.self.query": 2, "intermediate.dense": 6},
            "alpha_pattern": {"layer.1.attention.self.value": 3, "intermediate.dense": 9},
        },
    ),
    "bert-tiny-last-layer": ("bert-tiny", {"layers_to_transform": [1], "layers_pattern": "layer"}),
    "roberta-tiny-adapter": ("roberta-tiny", {}),
}


def make_model(name):
    """The frozen f32 model, in eval mode, with weights large enough that every nonlinearity bends."""
    spec = MODELS[name]
    model = spec["make"]().eval()
    model.set_attn_implementation("eager")
    generator = torch.Generator().manual_seed(spec["seed"])
    with torch.no_grad():
        for key, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if "LayerNorm" in key:
                value.copy_(1.0 + 0.3 * noise if key.endswith("weight") else 0.2 * noise)
            elif "embeddings" in key:
                value.copy_(0.5 * noise)
            else:
                value.copy_((0.3 if key.endswith("weight") else 0.2) * noise)
    return model.requires_grad_(False)


def make_texts(name):
    """Token ids of the six texts, each within the model's two special tokens."""
    spec = MODELS[name]
    generator = torch.Generator().manual_seed(spec["seed"] + 1)
    first, last = spec["ends"]
    vocab = make_model(name).config.vocab_size
    return [
        [first, *torch.randint(spec["first_word"], vocab, (length - 2,), generator=generator).tolist(), last]
        for length in spec["lengths"]
    ]


def make_adapted(adapter, dtype=torch.float32):
    """The base of `adapter` wrapped by peft, both low-rank factors drawn at random."""
    base, changes = ADAPTERS[adapter]
    settings = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS} | changes
    cfg = LoraConfig(task_type="FEATURE_EXTRACTION", lora_dropout=0.0, base_model_name_or_path=base, **settings)
    frozen = make_model(base)
    frozen.name_or_path = base
    model = get_peft_model(frozen, cfg).eval()
    generator = torch.Generator().manual_seed(MODELS[base]["seed"] + 100 + list(ADAPTERS).index(adapter))
    with torch.no_grad():
        for _, value in sorted(lora_parameters(model).items()):
            value.copy_(0.15 * torch.randn(value.shape, generator=generator))
    return model.to(dtype)


def lora_parameters(model):
    """The low-rank factors by the key that PEFT gives them in a file."""
    named = model.named_parameters()
    return {key.replace(".default", ""): value for key, value in named if "lora_" in key}


def save_model(name, folder):
    """A plain Hugging Face folder: config.json and model.safetensors."""
    model = make_model(name)
    model.config.architectures = [type(model).__name__]
    model.save_pretrained(folder)


def save_adapter(adapter, folder):
    """A real PEFT folder, without the model card, its JSON in a stable order."""
    base, _ = ADAPTERS[adapter]
    shutil.rmtree(folder, ignore_errors=True)
    model = make_adapted(adapter)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    cfg = json.loads(path.read_text())
    cfg["target_modules"] = sorted(cfg["target_modules"])
    path.write_text(json.dumps(cfg, indent=2, sort_keys=True) + "\n")
