#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "sentence-transformers==6.2.0"]
# ///
"""Logits of tiny models of every architecture, for `tests/it/variants.rs`.

    variants.py > variants.json

Weights follow from a tensor's name and the place of each value in it, by the same rule here and there, so that no weights are kept:
the file holds configurations, the tensors' names and shapes in transformers, token ids, and logits in f32 with eager attention.
"""
import json
import sys

import torch
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

MASK = 0xFFFFFFFF
# Rows of token ids; id 1 is RoBERTa's padding token, spelt out in a text. The longest is longer than every window and bucket.
ROWS = [
    [2, 7, 8, 9, 3, 11, 12, 3],
    [2, 5, 3, 1, 6, 3],
    [2, 4, 5, 6, 7, 8, 9, 10, 3, 11, 12, 13, 14, 15, 16, 17, 18, 19, 4, 5, 6, 7, 3],
]
# The second text begins after the first separator, id 3.
TYPES = [[int(3 in row[:place]) for place in range(len(row))] for row in ROWS]

BERT = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
        "max_position_embeddings": 28, "type_vocab_size": 2, "num_labels": 1}
ROBERTA = BERT | {"type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
MODERN = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 10,
          "max_position_embeddings": 28, "local_attention": 6, "num_labels": 1, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
          "cls_token_id": 2, "sep_token_id": 3}
DEBERTA = BERT | {"type_vocab_size": 0, "relative_attention": True, "position_biased_input": False, "pooler_hidden_size": 8,
                  "layer_norm_eps": 1e-7}
VARIANTS = {
    "bert": ("bert", BERT),
    "bert with three labels, relu and three segments": ("bert", BERT | {"num_labels": 3, "hidden_act": "relu", "type_vocab_size": 3}),
    "roberta": ("roberta", ROBERTA),
    "roberta with another padding token": ("roberta", ROBERTA | {"pad_token_id": 3, "num_labels": 3}),
    "xlm-roberta": ("xlm-roberta", ROBERTA),
    "camembert": ("camembert", ROBERTA | {"hidden_act": "gelu_new"}),
    "distilbert": ("distilbert", {"vocab_size": 20, "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12,
                                  "max_position_embeddings": 28, "num_labels": 1}),
    "distilbert with two labels": ("distilbert", {"vocab_size": 20, "dim": 8, "n_layers": 1, "n_heads": 4, "hidden_dim": 12,
                                                  "max_position_embeddings": 28, "activation": "relu", "num_labels": 2}),
    "electra": ("electra", BERT | {"embedding_size": 6}),
    "electra of one width": ("electra", BERT | {"embedding_size": 8}),
    "albert": ("albert", BERT | {"embedding_size": 6}),
    "albert with groups": ("albert", BERT | {"embedding_size": 4, "num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2,
                                             "hidden_act": "gelu", "num_labels": 3}),
    "modernbert": ("modernbert", MODERN),
    "modernbert with biases and the mean": ("modernbert", MODERN | {
        "classifier_pooling": "mean", "norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True,
        "hidden_activation": "silu", "classifier_activation": "relu", "num_labels": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 500.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 90.0}}}),
    "deberta-v3": ("deberta-v2", DEBERTA | {"pos_att_type": ["p2c", "c2p"], "share_att_key": True, "position_buckets": 4,
                                            "norm_rel_ebd": "layer_norm"}),
    "deberta-v2 with a convolution": ("deberta-v2", DEBERTA | {
        "pos_att_type": "c2p|p2c", "share_att_key": True, "position_buckets": 4, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3,
        "conv_act": "gelu", "num_labels": 3}),
    "deberta-v2 with one layer, groups and a wide convolution": ("deberta-v2", DEBERTA | {
        "pos_att_type": ["c2p", "p2c"], "share_att_key": False, "num_hidden_layers": 1, "conv_kernel_size": 5, "conv_groups": 2}),
    "deberta-v2 with projections of positions": ("deberta-v2", DEBERTA | {
        "pos_att_type": ["c2p", "p2c"], "share_att_key": False, "max_relative_positions": 6}),
    "deberta-v2 from content to position": ("deberta-v2", DEBERTA | {
        "pos_att_type": ["c2p"], "position_biased_input": True, "type_vocab_size": 2, "embedding_size": 6}),
    "deberta-v2 from position to content": ("deberta-v2", DEBERTA | {"pos_att_type": ["p2c"], "position_buckets": 6}),
    "deberta-v2 without relative positions": ("deberta-v2", DEBERTA | {
        "relative_attention": False, "position_biased_input": True, "pos_att_type": ["c2p"], "pooler_hidden_act": "tanh"}),
}


def weights(name, shape):
    """Values between -0.6 and 0.6, or around 1 for the scale of a norm."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) & MASK
    n = 1
    for size in shape:
        n *= size
    values = []
    for place in range(n):
        x = (place * 2654435761 + seed) & MASK
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & MASK
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & MASK
        x ^= x >> 16
        values.append((x / 4294967296.0 - 0.5) * 1.2)
    values = torch.tensor(values, dtype=torch.float64)
    scale = name.endswith("weight") and len(shape) == 1
    return (values * 0.5 + 1 if scale else values).to(torch.float32).reshape(shape)


variants = []
for name, (model_type, numbers) in VARIANTS.items():
    config = AutoConfig.for_model(model_type, **numbers, attn_implementation="eager")
    model = AutoModelForSequenceClassification.from_config(config).eval()
    tensors = {key: list(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: weights(key, shape) for key, shape in tensors.items()})
    segments = numbers.get("type_vocab_size", 0) > 1
    logits = []
    for ids, types in zip(ROWS, TYPES):
        extra = {"token_type_ids": torch.tensor([types])} if segments else {}
        with torch.inference_mode():
            logits.append(model(input_ids=torch.tensor([ids]), **extra).logits[0].tolist())
    saved = {key: value for key, value in config.to_dict().items() if key in numbers or key in ("model_type", "id2label", "label2id")}
    variants.append({"name": name, "class": type(model).__name__, "config": saved, "tensors": tensors, "logits": logits})

# A head in modules of sentence-transformers, on encoders without one.
MODULAR = {
    "modular modernbert": ("modernbert", MODERN, "cls", "sentence_transformers.base.modules"),
    "modular bert with the mean": ("bert", BERT, "mean", "sentence_transformers.models"),
}
for name, (model_type, numbers, pooling, package) in MODULAR.items():
    config = AutoConfig.for_model(model_type, **numbers, attn_implementation="eager")
    model = AutoModel.from_config(config, **({"add_pooling_layer": False} if model_type == "bert" else {})).eval()
    modules = [
        ("1_Pooling", Pooling(8, pooling)),
        ("2_Dense", Dense(8, 6, bias=False, activation_function=torch.nn.GELU())),
        ("3_LayerNorm", LayerNorm(6)),
        ("4_Dense", Dense(6, 1, activation_function=torch.nn.Identity(), module_output_name="scores")),
    ]
    tensors = {}
    for prefix, module in [("", model)] + [(f"{path}/", module) for path, module in modules]:
        shapes = {key: list(value.shape) for key, value in module.state_dict().items()}
        module.load_state_dict({key: weights(prefix + key, shape) for key, shape in shapes.items()})
        tensors |= {prefix + key: shape for key, shape in shapes.items()}
    logits = []
    for ids, types in zip(ROWS, TYPES):
        extra = {"token_type_ids": torch.tensor([types])} if model_type == "bert" else {}
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([ids]), **extra).last_hidden_state
            features = {"token_embeddings": hidden, "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
            for _, module in modules:
                features = module(features)
        logits.append(features["scores"][0].tolist())
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"}]
    listed += [{"idx": i + 1, "name": str(i + 1), "path": path, "type": f"{package}.{type(module).__name__}"}
               for i, (path, module) in enumerate(modules)]
    files = {"modules.json": listed} | {f"{path}/config.json": module.get_config_dict() for path, module in modules}
    saved = {key: value for key, value in config.to_dict().items() if key in numbers or key == "model_type"}
    saved["architectures"] = [type(model).__name__]
    variants.append({"name": name, "class": type(model).__name__, "config": saved, "tensors": tensors, "logits": logits, "files": files})

lines = [json.dumps(variant, sort_keys=True) for variant in variants]
head = json.dumps({"rows": ROWS, "type_ids": TYPES}, sort_keys=True)
sys.stdout.write(head[:-1] + ',\n"variants": [\n' + ",\n".join(lines) + "\n]}\n")
