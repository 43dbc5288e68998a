#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "transformers==5.23.0"]
# ///
"""Scores of a tiny BERT PreTTR with a segment-block mask and a compressor, for `tests/it/split.rs`.

    prettr.py > prettr.json

The layers are those of transformers, called one by one with the mask of each: in the first `join` layers a token sees the tokens of its
own segment. Rows are padded in the middle, after the query, so that documents start at one position. Weights follow from their names by
the rule of `variants.py`.
"""
import json
import sys

import torch
from transformers import BertConfig, BertModel

MASK = 0xFFFFFFFF
CONFIG = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12,
          "max_position_embeddings": 28, "type_vocab_size": 2}
PAIRS = [([2, 7, 8, 9, 3], [11, 12, 3]), ([2, 5, 3], [1, 6, 4, 7, 15, 3]), ([2, 4, 5, 6, 3], [10, 3])]
PADDED = 6


def values(name, shape):
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) & MASK
    n = 1
    for size in shape:
        n *= size
    scale = name.endswith("weight") and len(shape) == 1
    out = []
    for place in range(n):
        x = (place * 2654435761 + seed) & MASK
        for _ in range(2):
            x = ((x ^ (x >> 16)) * 0x045D9F3B) & MASK
        x ^= x >> 16
        value = (x / 4294967296.0 - 0.5) * 1.2
        out.append(value * 0.5 + 1.0 if scale else value)
    return torch.tensor(out, dtype=torch.float64).to(torch.float32).reshape(shape)


def score(model, extra, join, width, half):
    ids = torch.zeros(len(PAIRS), PADDED + 8, dtype=torch.long)
    real, types = torch.zeros_like(ids), torch.zeros_like(ids)
    types[:, PADDED:] = 1
    for row, (query, document) in enumerate(PAIRS):
        ids[row, :len(query)] = torch.tensor(query)
        ids[row, PADDED:PADDED + len(document)] = torch.tensor(document)
        real[row, :len(query)] = 1
        real[row, PADDED:PADDED + len(document)] = 1
    x = model.embeddings(input_ids=ids, token_type_ids=types)
    apart = types[:, None, :, None] != types[:, None, None, :]
    for index, layer in enumerate(model.encoder.layer):
        mask = (1 - real[:, None, None, :].float()) * -10000.0 + torch.zeros(len(PAIRS), 1, ids.shape[1], 1)
        if index < join:
            mask = mask + apart.float() * -10000.0
        x = layer(x, mask)
        x = x[0] if isinstance(x, tuple) else x
        if width and index == join - 1:
            z = torch.nn.functional.gelu(x @ extra["compressor.down.weight"].T + extra["compressor.down.bias"])
            z = z.half().float() if half else z
            x = torch.nn.functional.layer_norm(z @ extra["compressor.up.weight"].T + extra["compressor.up.bias"], (8,),
                                               extra["compressor.norm.weight"], extra["compressor.norm.bias"], 1e-12)
    return (x[:, 0] @ extra["_classification_layer.weight"].T + extra["_classification_layer.bias"])[:, 0].tolist()


torch.set_grad_enabled(False)
model = BertModel(BertConfig(**CONFIG, attn_implementation="eager"), add_pooling_layer=False).eval()
model.load_state_dict({name: values(name, tensor.shape) if tensor.is_floating_point() else tensor
                       for name, tensor in model.state_dict().items()})
shapes = {name: list(tensor.shape) for name, tensor in model.named_parameters()}
shapes |= {"_classification_layer.weight": [1, 8], "_classification_layer.bias": [1]}
width = {"compressor.down.weight": [4, 8], "compressor.down.bias": [4], "compressor.up.weight": [8, 4], "compressor.up.bias": [8],
         "compressor.norm.weight": [8], "compressor.norm.bias": [8]}
extra = {name: values(name, shape) for name, shape in (shapes | width).items()}
cases = []
for join in range(4):
    for size, half in [(0, False), (4, False), (4, True)] if join else [(0, False)]:
        keys = {"join_layer_idx": join, "compress_size": size, "compress_fp16": half}
        cases.append({"config": keys, "scores": score(model, extra, join, size, half)})
json.dump({"config": CONFIG | {"model_type": "bert", "architectures": ["PreTTR"]}, "pairs": PAIRS, "padded": PADDED, "tensors": shapes,
           "compressor": width, "cases": cases}, sys.stdout, indent=None)
print()
