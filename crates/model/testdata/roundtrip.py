#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "sentence-transformers==6.2.0"]
# ///
"""What this crate saves, loaded by transformers and sentence-transformers: the scores must be equal.

    roundtrip.py ORIGINALS SAVED

compares every folder of SAVED, which the example `resave` of this crate writes, with the folder of that name in ORIGINALS: logits by
AutoModelForSequenceClassification of both, and CrossEncoder(..).predict of both, in f32 on the CPU. transformers must not report a
missing, unexpected or mismatched tensor. Prints a table and fails when a difference is larger than 1e-6.
"""
import os
import sys

import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

PAIRS = [
    ("what causes a fever", "Fever is a temporary rise in body temperature, a part of the response of the immune system."),
    ("fever", "A fever."),
    ("", "a document without a query"),
    ("a query without a document", "-"),
    ("naïve café 北京 🔥", "x != y ± 3.14159 — [SEP] </s> <pad> spelt out"),
]

originals, saved = sys.argv[1:3]
worst = 0.0
print(f"{'model':24} {'labels':>6} {'transformers':>13} {'sentence-transformers':>22}")
for name in sorted(os.listdir(saved)):
    logits, predictions = [], []
    for folder in (os.path.join(originals, name), os.path.join(saved, name)):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        batch = tokenizer([q for q, _ in PAIRS], [d for _, d in PAIRS], truncation="only_second", max_length=64, padding=True,
                          return_tensors="pt")
        if not os.path.exists(os.path.join(folder, "modules.json")):
            model, report = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
            problems = {what: list(found) for what, found in report.items() if found}
            if problems:
                sys.exit(f"{folder}: {problems}")
            with torch.inference_mode():
                logits.append(model.eval()(**batch).logits)
        encoder = CrossEncoder(folder, max_length=64, device="cpu")
        predictions.append(torch.tensor(encoder.predict(PAIRS, activation_fn=torch.nn.Identity())))
    difference = lambda both: (both[0] - both[1]).abs().max().item() if both else float("nan")
    differences = [difference(logits), difference(predictions)]
    labels = 1 if predictions[0].ndim == 1 else predictions[0].shape[1]
    print(f"{name:24} {labels:6} {differences[0]:13.1e} {differences[1]:22.1e}")
    worst = max(worst, *(d for d in differences if d == d))
print(f"the largest difference is {worst:.1e}")
sys.exit(0 if worst <= 1e-6 else 1)
