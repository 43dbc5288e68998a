#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0"]
# ///
"""Golden values for `cargo xtask parity` and the tests of this crate.

    parity_expected.py MODEL [--out FOLDER] [--pairs FILE] [--max-length N]

writes expected.json and expected.safetensors into MODEL (or FOLDER): pairs of texts, their padded token ids, and what transformers
computes for them in f32 on the CPU with eager attention: logits, where the model has a classification head, and the hidden states
after the first and the last layer (transformers' numbering: 0 is the output of the embeddings). MODEL may have any architecture
that transformers loads with AutoModelForSequenceClassification or AutoModel. FILE has one pair per line, separated by a tab.
"""
import argparse
import json
import os

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

LONG = "Fever is a temporary rise in body temperature, a part of the response of the immune system. " * 12
PAIRS = [
    ("what causes a fever", LONG),
    ("fever", "A fever."),
    ("How is Marfan syndrome inherited?", "It is inherited in an autosomal dominant pattern; about 25 % of cases are new."),
    ("", "a document without a query"),
    ("a query without a document", ""),
    ("naïve café 北京 🔥", "x != y ± 3.14159 — tab\there, [SEP] </s> <pad> [PAD] spelt out"),
]

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--out")
parser.add_argument("--pairs")
parser.add_argument("--max-length", type=int, default=128)
args = parser.parse_args()
out = args.out or args.model

pairs = PAIRS
if args.pairs:
    with open(args.pairs, encoding="utf-8") as file:
        pairs = [tuple(line.rstrip("\n").split("\t", 1)) for line in file]

config = AutoConfig.from_pretrained(args.model)
tokenizer = AutoTokenizer.from_pretrained(args.model)
classifies = (config.architectures or [""])[0].endswith("ForSequenceClassification")
kind = AutoModelForSequenceClassification if classifies else AutoModel
model = kind.from_pretrained(args.model, attn_implementation="eager", dtype=torch.float32).eval()
call = {"padding": "longest", "truncation": "only_second", "max_length": args.max_length}
batch = tokenizer([q for q, _ in pairs], [d for _, d in pairs], return_tensors="pt", **call)
with torch.inference_mode():
    result = model(**batch, output_hidden_states=True)

expected = {
    "case": os.path.basename(os.path.normpath(args.model)),
    "kind": "encoder_seqcls",
    "tokenizer_call": call,
    "pairs": [{"query": q, "passage": d} for q, d in pairs],
    "batch": {name: tensor.tolist() for name, tensor in batch.items()},
    "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
}
if classifies:
    expected["logits"] = result.logits.tolist()
with open(os.path.join(out, "expected.json"), "w", encoding="utf-8") as file:
    json.dump(expected, file, ensure_ascii=False, indent=1)
    file.write("\n")
# ModernBERT's last state is taken after the final norm by some versions and before it by others.
last = len(result.hidden_states) - (2 if config.model_type == "modernbert" else 1)
states = {f"hidden_states.{i}": result.hidden_states[i].contiguous() for i in {1, last}}
save_file(states, os.path.join(out, "expected.safetensors"))
