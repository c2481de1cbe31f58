#!/usr/bin/env python3
"""Times others on the work of the encoder's inference: token ids to embeddings of all-MiniLM-L6-v2 or a model like it.

--dump FILE      writes the token ids of mixed texts of a BEIR folder (queries and documents in turn) and stops
--engine torch   the model of sentence-transformers with its pooling and normalising, f32 or bf16 weights
--engine onnx    onnxruntime on a graph exported from the same weights, f32, or int8 by its dynamic quantisation

Texts are sorted by length and run in batches of --batch, padded to the longest, as sentence-transformers does;
tokenising and sorting are done before the clock starts. One pass over all texts comes before the clock; then passes
are timed until --seconds of CPU time are used.
One JSON line on stdout. `tokens` counts real tokens, not padding.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a sentence-transformers folder with mean pooling")
    parser.add_argument("--texts", help="a file that --dump wrote")
    parser.add_argument("--dump", metavar="FILE")
    parser.add_argument("--data", nargs="*", default=[], help="BEIR folders, for --dump")
    parser.add_argument("--count", type=int, default=256, help="texts of each folder, for --dump")
    parser.add_argument("--tokens-max", type=int, default=256, help="for --dump")
    parser.add_argument("--engine", choices=["torch", "onnx"], default="torch")
    parser.add_argument("--dtype", choices=["f32", "bf16", "int8"], default="f32")
    parser.add_argument("--graphs", default=".", help="folder where exported graphs are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--out", help="writes the embeddings as little-endian f32")
    return parser.parse_args()


def dump(args):
    """Queries and documents of each folder, half and half, drawn and mixed by a fixed seed."""
    from transformers import AutoTokenizer

    import beir_data

    draw, texts = random.Random(7), []
    for folder in args.data:
        queries, corpus = beir_data.read_queries(folder), beir_data.read_corpus(folder)
        for source in (queries, corpus):
            texts += draw.sample(sorted(source.values()), args.count // 2)
    draw.shuffle(texts)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer(texts, padding=False, truncation=True, max_length=args.tokens_max)["input_ids"]
    pathlib.Path(args.dump).write_text(json.dumps(ids, separators=(",", ":")))
    lengths = sorted(map(len, ids))
    padded = sum(max(lengths[at : at + 32]) * len(lengths[at : at + 32]) for at in range(0, len(lengths), 32))
    print(json.dumps({"texts": len(ids), "tokens": sum(lengths), "tokens_padded": padded}))


def padded_batches(texts, size):
    """`(indices, ids, mask)` by length, longest first, each batch as wide as its longest text."""
    import numpy as np

    order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
    batches = []
    for at in range(0, len(order), size):
        indices = order[at : at + size]
        width = len(texts[indices[0]])
        ids = np.zeros((len(indices), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, index in enumerate(indices):
            ids[row, : len(texts[index])] = texts[index]
            mask[row, : len(texts[index])] = 1
        batches.append((indices, ids, mask))
    return batches


def torch_engine(args):
    """A function from ids and mask to embeddings, by the modules of sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(args.threads)
    model = SentenceTransformer(args.model, device="cpu").eval()
    if args.dtype == "bf16":
        model = model.to(torch.bfloat16)

    def run(ids, mask):
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        with torch.inference_mode():
            return model(features)["sentence_embedding"].float().numpy()

    return run


def export(args, path):
    """The graph of the encoder with pooling and normalising."""
    import torch
    from transformers import BertModel

    class Embedder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertModel.from_pretrained(args.model, add_pooling_layer=False, attn_implementation="eager")

        def forward(self, input_ids, attention_mask):
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weights = attention_mask.unsqueeze(2).to(states.dtype)
            mean = (states * weights).sum(dim=1) / weights.sum(dim=1)
            return torch.nn.functional.normalize(mean, dim=1)

    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {"input_ids": {0: "texts", 1: "tokens"}, "attention_mask": {0: "texts", 1: "tokens"}}
    torch.onnx.export(
        Embedder().eval(), (ids, torch.ones_like(ids)), str(path), dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask"], output_names=["embedding"],
        dynamic_axes=axes | {"embedding": {0: "texts"}},
    )


def graph(args):
    """The path of the graph, made if it is not there: fused as onnxruntime does for BERT, then quantised if asked."""
    folder = pathlib.Path(args.graphs)
    fused = folder / "encoder-fused.onnx"
    if not fused.exists():
        from onnxruntime.transformers import optimizer

        plain = folder / "encoder.onnx"
        export(args, plain)
        made = optimizer.optimize_model(str(plain), model_type="bert", num_heads=12, hidden_size=384, opt_level=1)
        made.save_model_to_file(str(fused))
    if args.dtype == "f32":
        return fused
    quantised = folder / "encoder-int8.onnx"
    if not quantised.exists():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # Fused nodes are not onnx's own, so the types behind them cannot be inferred.
        extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(fused, quantised, per_channel=True, weight_type=QuantType.QInt8, extra_options=extra)
    return quantised


def onnx_engine(args):
    """A function from ids and mask to embeddings, by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # A thread that spins while it waits would be counted as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(graph(args)), options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def main():
    args = parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    if args.dump:
        dump(args)
        return
    import numpy as np

    texts = json.loads(pathlib.Path(args.texts).read_text())
    batches = padded_batches(texts, args.batch)
    run = torch_engine(args) if args.engine == "torch" else onnx_engine(args)
    out = np.zeros((len(texts), run(*batches[-1][1:]).shape[1]), dtype=np.float32)
    for indices, ids, mask in batches:
        out[indices] = run(ids, mask)
    wall, cpu, passes = time.perf_counter(), time.process_time(), 0
    while passes == 0 or time.process_time() - cpu < args.seconds:
        for indices, ids, mask in batches:
            out[indices] = run(ids, mask)
        passes += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if args.out:
        out.astype("<f4").tofile(args.out)
    tokens = passes * sum(map(len, texts))
    report = {
        "name": f"{args.engine} {args.dtype}", "threads": args.threads, "batch": args.batch,
        "tokens": tokens, "passes": passes, "wall_s": round(wall, 3), "cpu_s": round(cpu, 3),
        "tokens_per_s": round(tokens / wall, 1), "tokens_per_cpu_s": round(tokens / cpu, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
