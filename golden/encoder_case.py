"""What a tiny encoder computes, text by text and so without any padding: activations, gradients, a short training run."""

import torch
from torch.nn.functional import normalize

import losses
import tiny

STEPS = 10
LEARNING_RATE = 1e-3

# How the six texts are read as anchors, positives and hard negatives.
RANKINGS = {
    "mnrl": lambda out: losses.ranking(out[:3], out[3:]),
    "mnrl_symmetric": lambda out: losses.ranking(out[:3], out[3:], symmetric=True),
    "mnrl_negative": lambda out: losses.ranking(out[:2], out[2:4], out[4:]),
}


class Recorder:
    """Collects every intermediate tensor of a model and hands out the embedding layer's output as a gradient leaf."""

    def __init__(self, model):
        self.values, self.inputs, self.handles = {}, [], []
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.handles.append(inner.embeddings.register_forward_hook(self._cut))
        for number, layer in enumerate(inner.encoder.layer):
            taps = {
                "query": layer.attention.self.query,
                "key": layer.attention.self.key,
                "value": layer.attention.self.value,
                "attention_output": layer.attention.output.dense,
                "attention_norm": layer.attention.output.LayerNorm,
                "intermediate": layer.intermediate.dense,
                "gelu": layer.intermediate,
                "output": layer.output.dense,
                "output_norm": layer.output.LayerNorm,
            }
            for tap, module in taps.items():
                self._record(f"layer.{number}.{tap}", module)
            context = self._saver(f"layer.{number}.context")
            self.handles.append(
                layer.attention.output.dense.register_forward_pre_hook(lambda _, args, save=context: save(args[0]))
            )

    def _saver(self, name):
        def save(value):
            self.values.setdefault(name, []).append(value)
            if value.requires_grad:
                value.retain_grad()

        return save

    def _record(self, name, module):
        save = self._saver(name)
        self.handles.append(module.register_forward_hook(lambda _, __, output: save(output)))

    def _cut(self, _module, _args, output):
        leaf = output.detach().requires_grad_()
        self.values.setdefault("embedding", []).append(leaf)
        return leaf

    def packed(self, name):
        """One tensor `[tokens, width]`, the texts end to end."""
        return torch.cat([value[0].detach() for value in self.values[name]])

    def packed_gradient(self, name):
        """The gradient of the tensor of that name, packed alike; zero for a text that the loss does not read."""
        rows = [value.grad if value.grad is not None else torch.zeros_like(value) for value in self.values[name]]
        return torch.cat([row[0] for row in rows])

    def close(self):
        for handle in self.handles:
            handle.remove()


def hidden_states(model, texts):
    """The last layer's `[tokens, hidden]` of each text, every text run alone."""
    return [model(input_ids=torch.tensor([text])).last_hidden_state[0] for text in texts]


def pooled(states, pooling):
    """`[texts, hidden]`, the mean over tokens or the first token."""
    return torch.stack([rows.mean(dim=0) if pooling == "mean" else rows[0] for rows in states])


def embeddings(model, texts):
    """The mean over tokens as a unit vector, `[texts, hidden]`: what sentence-transformers returns."""
    return normalize(pooled(hidden_states(model, texts), "mean"), dim=1)


def forward_tensors(model, texts, prefix):
    """Every intermediate tensor and the four ways to pool the last one."""
    recorder = Recorder(model)
    states = hidden_states(model, texts)
    tensors = {f"{prefix}.{name}": recorder.packed(name) for name in recorder.values}
    recorder.close()
    return tensors | pooled_tensors(states, prefix)


def pooled_tensors(states, prefix):
    """Mean and CLS pooling, bare and as unit vectors."""
    tensors = {}
    for pooling in ("mean", "cls"):
        value = pooled(states, pooling).detach()
        tensors[f"{prefix}.{pooling}"] = value
        tensors[f"{prefix}.{pooling}_normalized"] = normalize(value, dim=1)
    return tensors


def gradient_tensors(model, texts, prefix, loss_of, pooling="mean_normalized"):
    """Loss, its gradient by the embeddings and by both factors of every low-rank pair."""
    parameters = tiny.lora_parameters(model)
    recorder = Recorder(model)
    states = hidden_states(model, texts)
    out = pooled(states, pooling.removesuffix("_normalized"))
    out = normalize(out, dim=1) if pooling.endswith("_normalized") else out
    out.retain_grad()
    loss = loss_of(out)
    loss.backward()
    tensors = {f"{prefix}.loss": loss.detach(), f"{prefix}.d_out": out.grad}
    for key, value in parameters.items():
        tensors[f"{prefix}.{key}"] = value.grad.clone()
        value.grad = None
    inner = {name: recorder.packed_gradient(name) for name in ("embedding", "layer.0.output_norm")}
    recorder.close()
    return tensors, {f"{prefix}.d_{name}": value for name, value in inner.items()}


def training_tensors(model, texts):
    """Adapter weights after 1 and 10 AdamW steps on the ranking loss, and what each step saw."""
    parameters = tiny.lora_parameters(model)
    values = list(parameters.values())
    optimizer = torch.optim.AdamW(values, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: losses.linear(step, STEPS))
    tensors, curve = {}, {"loss": [], "gradient_norm": [], "learning_rate": []}
    for step in range(1, STEPS + 1):
        out = embeddings(model, texts)
        loss = RANKINGS["mnrl"](out)
        loss.backward()
        curve["loss"].append(loss.item())
        curve["gradient_norm"].append(torch.nn.utils.clip_grad_norm_(values, 1.0).item())
        curve["learning_rate"].append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step in (1, STEPS):
            tensors |= {f"trained.{step}.{key}": value.detach().clone() for key, value in parameters.items()}
    return tensors | {f"curve.{name}": torch.tensor(row, dtype=torch.float64) for name, row in curve.items()}


def cosent_tensors(out):
    """CoSENT on three scored pairs, texts 0..3 against texts 3..6."""
    leaf = out.detach().clone().requires_grad_()
    scores = torch.tensor([0.9, 0.1, 0.5], dtype=out.dtype)
    loss = losses.cosent(leaf[:3], leaf[3:], scores)
    loss.backward()
    return {"cosent.scores": scores, "cosent.loss": loss.detach(), "cosent.d_out": leaf.grad}


def check_padding(model, texts, expected):
    """Fails unless one padded batch gives the embeddings that the texts gave alone."""
    longest, pad = max(map(len, texts)), model.config.pad_token_id
    ids = torch.tensor([text + [pad] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    rows = [state[: len(text)] for state, text in zip(states, texts)]
    torch.testing.assert_close(pooled(rows, "mean"), expected, rtol=1e-4, atol=1e-5)


def case(name, dtype=torch.float32):
    """Every tensor of one case file, by name."""
    texts = tiny.make_texts(name)
    base = tiny.make_model(name).to(dtype)
    with torch.no_grad():
        tensors = forward_tensors(base, texts, "forward")
        check_padding(base, texts, tensors["forward.mean"])
    lengths = torch.tensor([0] + [len(text) for text in texts])
    tensors["tokens"] = torch.tensor([token for text in texts for token in text], dtype=torch.int32)
    tensors["offsets"] = lengths.cumsum(0).to(torch.int32)
    for adapter, (base_name, _) in tiny.ADAPTERS.items():
        if base_name == name and adapter != f"{name}-adapter":
            with torch.no_grad():
                out = embeddings(tiny.make_adapted(adapter, dtype), texts)
            tensors[f"adapted.{adapter}"] = out
    return tensors | adapter_tensors(name, texts, dtype)


def adapter_tensors(name, texts, dtype):
    """What the case file holds about the adapter on all six linear layers."""
    model = tiny.make_adapted(f"{name}-adapter", dtype)
    tensors = {f"adapter.{key}": value.detach().clone() for key, value in tiny.lora_parameters(model).items()}
    with torch.no_grad():
        tensors |= pooled_tensors(hidden_states(model, texts), "adapted")
    generator = torch.Generator().manual_seed(23)
    d_out = torch.randn(tensors["adapted.mean"].shape, generator=generator).to(dtype)
    tensors["d_out"] = d_out
    read = {"sum": "mean_normalized", "sum_cls": "cls"}
    for label, pooling in read.items():
        made, inner = gradient_tensors(model, texts, label, lambda out: (out * d_out).sum(), pooling)
        del made[f"{label}.d_out"]
        tensors |= made | (inner if label == "sum" else {})
    for label in tiny.MODELS[name]["rankings"]:
        tensors |= gradient_tensors(model, texts, label, RANKINGS[label])[0]
    return tensors | cosent_tensors(tensors["adapted.mean_normalized"]) | training_tensors(model, texts)
