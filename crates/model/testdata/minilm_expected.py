#!/usr/bin/env python3
"""Hidden states of the real MiniLM for `parity::with_models`.

    minilm_expected.py MODELS

reads MODELS/minilm-l6 and writes MODELS/minilm-l6-expected.safetensors: five padded pairs and the hidden states after the
embeddings and after every layer, by transformers in f32 with eager attention.
"""
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

models = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(f"{models}/minilm-l6")
model = AutoModel.from_pretrained(f"{models}/minilm-l6", attn_implementation="eager").eval()
long = "Fever is a temporary rise in body temperature, a part of the response of the immune system. " * 12
pairs = [
    ("what causes a fever", long),
    ("fever", "A fever."),
    ("How is Marfan syndrome inherited?", "It is inherited in an autosomal dominant pattern; about 25 % of cases are new."),
    ("", "a document without a query"),
    ("naïve café 北京", "x != y ± 3.14159 [SEP]"),
]
batch = tokenizer([q for q, _ in pairs], [d for _, d in pairs], truncation="only_second", max_length=128, padding=True, return_tensors="pt")
with torch.inference_mode():
    states = model(**batch, output_hidden_states=True).hidden_states
tensors = {name: batch[name].contiguous() for name in ("input_ids", "token_type_ids", "attention_mask")}
tensors |= {f"hidden_states.{i}": state.contiguous() for i, state in enumerate(states)}
save_file(tensors, f"{models}/minilm-l6-expected.safetensors")
