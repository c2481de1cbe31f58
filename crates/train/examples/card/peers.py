"""One LoRA tenant by sentence-transformers and peft in bf16, as the check `peers` runs it.

Usage: peers.py FOLDER SECONDS; FOLDER has the model's shape and pairs of texts as token ids.
Says `ready` after some steps, goes on when a line comes, trains for so many seconds, says how many pairs a second
that was, and ends at the next line. The model is made at random and read from nowhere; each id is one word of its
tokenizer, so that texts have the lengths that Cotenant's have.
"""

import json
import os
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from datasets import Dataset
from peft import LoraConfig
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MultipleNegativesRankingLoss
from sentence_transformers.models import Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, TrainerCallback

WARMUP_STEPS = 20
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def save_base(shape, folder):
    """A model of the shape with random weights, and a tokenizer of words that are ids."""
    config = BertConfig(
        vocab_size=shape["vocab"], hidden_size=shape["hidden"], num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"], intermediate_size=shape["intermediate"],
        max_position_embeddings=shape["positions"],
    )
    BertModel(config).save_pretrained(folder)
    words = SPECIAL + [f"w{token}" for token in range(len(SPECIAL), shape["vocab"])]
    tokenizer = Tokenizer(WordLevel({word: token for token, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    ends = [(word, SPECIAL.index(word)) for word in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=shape["positions"], pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    ).save_pretrained(folder)


def open_model(shape):
    """The model with a fresh adapter; its base is frozen."""
    with tempfile.TemporaryDirectory() as folder:
        save_base(shape, folder)
        base = Transformer(folder)
        model = SentenceTransformer(modules=[base, Pooling(shape["hidden"], pooling_mode="mean")])
    model.add_adapter(
        LoraConfig(
            r=shape["rank"], lora_alpha=2 * shape["rank"], lora_dropout=0.0, target_modules=["query", "value"]
        )
    )
    return model


def read_pairs(folder):
    """Pairs as words, less the two that the tokenizer adds."""
    with open(os.path.join(folder, "pairs.jsonl"), encoding="ascii") as lines:
        pairs = [json.loads(line) for line in lines]
    anchors, positives = ([" ".join(f"w{token}" for token in ids[1:-1]) for ids in side] for side in zip(*pairs))
    return Dataset.from_dict({"anchor": list(anchors), "positive": list(positives)})


def finish_device():
    """Waits for what was submitted."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def wait_for_line():
    """Ends this program if nobody is there any more."""
    if not sys.stdin.readline():
        sys.exit(1)


class Clock(TrainerCallback):
    """Times the steps after the warm-up."""

    def __init__(self, seconds, batch):
        self.seconds, self.batch, self.begun = seconds, batch, None

    def on_step_end(self, args, state, control, **_):
        if self.begun is None:
            if state.global_step < WARMUP_STEPS:
                return
            finish_device()
            print("ready", flush=True)
            wait_for_line()
            self.begun = time.perf_counter()
        elif time.perf_counter() - self.begun >= self.seconds:
            finish_device()
            pairs = (state.global_step - WARMUP_STEPS) * self.batch
            rate = pairs / (time.perf_counter() - self.begun)
            print(json.dumps({"pairs_a_second": rate}), flush=True)
            wait_for_line()
            control.should_training_stop = True


def main():
    folder, seconds = sys.argv[1], float(sys.argv[2])
    with open(os.path.join(folder, "shape.json"), encoding="ascii") as file:
        shape = json.load(file)
    torch.manual_seed(7)
    model = open_model(shape)
    with tempfile.TemporaryDirectory() as out:
        args = SentenceTransformerTrainingArguments(
            output_dir=out, max_steps=1_000_000, per_device_train_batch_size=shape["batch"], learning_rate=1e-3,
            bf16=True, dataloader_drop_last=True, save_strategy="no", logging_strategy="no", report_to=[],
            disable_tqdm=True, use_cpu=not torch.cuda.is_available(),
        )
        trainer = SentenceTransformerTrainer(
            model=model, args=args, train_dataset=read_pairs(folder), loss=MultipleNegativesRankingLoss(model),
            callbacks=[Clock(seconds, shape["batch"])],
        )
        trainer.train()


if __name__ == "__main__":
    main()
