"""What someone who knows torch well does to train on a CPU without computing padding.

What was tried on 2 cores of a Zen 4 (MiniLM, LoRA on query and value): torch.compile of the layers reached the same
speed as eager once warm, and telling glibc to keep freed memory changed nothing, so neither is here.
In bf16 the attention kernel of torch is several times slower than in f32 on a processor without AMX, so attention runs
in whichever of the two is faster on the machine at hand; it is timed once, before the clock starts.
"""

import time

import torch
from torch.nn.functional import normalize, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

# What starting one more group costs, in tokens: measured as the slope of step time over the number of groups.
GROUP_COST_TOKENS = 34


class Attention:
    """Scaled dot-product attention for transformers: in groups with a mask, or text by text over a packed row."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lengths = None

    def __call__(self, _module, query, key, value, mask, scaling=None, **_):
        inputs = [tensor.to(self.dtype) for tensor in (query, key, value)]
        with torch.autocast("cpu", enabled=False):
            if self.lengths is None:
                out = scaled_dot_product_attention(*inputs, attn_mask=mask, scale=scaling)
            else:
                texts = zip(*(tensor.split(self.lengths, dim=2) for tensor in inputs))
                out = torch.cat([scaled_dot_product_attention(*text, scale=scaling) for text in texts], dim=2)
        return out.transpose(1, 2).to(query.dtype), None


def prepare(model, mode, bf16):
    """Installs the attention and, for bf16, keeps the frozen matrices in bf16: autocast would cast them at every use."""
    dtype = torch.float32
    if bf16:
        dtype = faster_attention()
        for module in model.modules():
            if type(module) is torch.nn.Linear and not module.weight.requires_grad:
                module.to(torch.bfloat16)
    attention = Attention(dtype)
    AttentionInterface.register("expert", attention)
    AttentionMaskInterface.register("expert", sdpa_mask if mode == "bucketed" else lambda *_, **__: None)
    model.get_base_model().set_attn_implementation("expert")
    return attention


def faster_attention():
    """The faster type for attention, forward and backward, on eight texts of 128 tokens."""
    mask = torch.ones(8, 1, 128, 128, dtype=torch.bool)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        query = torch.randn(8, 12, 128, 32).to(dtype).requires_grad_()
        runs = []
        for _ in range(4):
            start = time.process_time()
            scaled_dot_product_attention(query, query, query, attn_mask=mask).sum().backward()
            runs.append(time.process_time() - start)
        seconds[dtype] = min(runs)
    return min(seconds, key=seconds.get)


def groups(lengths):
    """Cuts ascending lengths into the ranges that cost least, padding and the cost of each group together."""
    best = [(0, 0)]
    for end in range(1, len(lengths) + 1):
        longest = lengths[end - 1]
        costs = [(best[start][0] + (end - start) * longest + GROUP_COST_TOKENS, start) for start in range(end)]
        best.append(min(costs))
    cuts, end = [], len(lengths)
    while end:
        start = best[end][1]
        cuts.append((start, end))
        end = start
    return cuts[::-1]


def embed_bucketed(embed, model, step):
    """All texts sorted by length and run in groups, put back in order afterwards."""
    texts = step["anchors"] + step["positives"]
    order = sorted(range(len(texts)), key=lambda text: len(texts[text]))
    cuts = groups([len(texts[text]) for text in order])
    parts = [embed(model, [texts[text] for text in order[start:end]]) for start, end in cuts]
    rows = torch.cat([vectors for vectors, _ in parts])[torch.argsort(torch.tensor(order))]
    half = len(step["anchors"])
    return rows[:half], rows[half:], sum(tokens for _, tokens in parts)


def embed_packed(attention, model, step):
    """All texts end to end as one row: no padding anywhere, attention text by text."""
    texts = step["anchors"] + step["positives"]
    attention.lengths = [len(text) for text in texts]
    ids = torch.tensor([[token for text in texts for token in text]])
    positions = torch.cat([torch.arange(length) for length in attention.lengths])[None]
    states = model(input_ids=ids, position_ids=positions).last_hidden_state[0].float()
    rows = normalize(torch.stack([text.mean(dim=0) for text in states.split(attention.lengths)]), dim=1)
    half = len(step["anchors"])
    return rows[:half], rows[half:], ids.numel()
