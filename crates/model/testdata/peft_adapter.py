#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2"]
# ///
"""An adapter that a run of Tamis saved, loaded by PEFT: its scores must be those of the run's merged checkpoint.

    peft_adapter.py BASE CHECKPOINT

BASE is the model that the run began with (`model.path` of its recipe, with `[train.lora]`), CHECKPOINT is the run's: a merged model with the
adapter in the folder `adapter`. Prints the largest difference of logits in f32 on the CPU and fails when it is larger than 1e-5.
"""
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

PAIRS = [
    ("what causes a fever", "Fever is a temporary rise in body temperature, a part of the response of the immune system."),
    ("fever", "A fever."),
    ("a query without a document", "-"),
]

base, checkpoint = sys.argv[1:3]
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
batch = tokenizer([q for q, _ in PAIRS], [d for _, d in PAIRS], truncation="only_second", max_length=64, padding=True, return_tensors="pt")
load = lambda folder: AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
plain = load(base)
adapted = PeftModel.from_pretrained(plain, f"{checkpoint}/adapter").eval()
trained = sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)
with torch.inference_mode():
    found, expected = adapted(**batch).logits, load(checkpoint).eval()(**batch).logits
difference = (found - expected).abs().max().item()
print(f"{trained} numbers in the adapter's matrices; scores {expected.flatten().tolist()}; the largest difference is {difference:.1e}")
sys.exit(0 if difference <= 1e-5 and trained > 0 else 1)
