"""Draws the decoder that benches/exits/run.sh trains: a folder that `cargo xtask train` starts from.

    python benches/exits/start.py ENCODER OUT

A Llama of 8 layers, 256 wide, with an exit after every second layer. Its word vectors are those of ENCODER (all-MiniLM-L6)
on their 256 directions of most variance, so that words that mean the same begin alike; its tokenizer is ENCODER's. All
other weights are drawn. Half of the heads have equal maps for queries and keys, so that they begin by looking for
their own word (Trockman and Kolter 2023, "Mimetic Initialization of Self-Attention Layers"). Heads begin at zero.

Needs numpy, safetensors.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, WIDTH = 256, 512, 8, 8, 4, 32
EXITS = range(2, LAYERS + 1, 2)


def main(encoder, out):
    rng = np.random.default_rng(42)
    words = load_file(encoder / "model.safetensors")
    words = next(words[name] for name in words if name.endswith("word_embeddings.weight"))
    words = words.astype(np.float64)
    words -= words.mean(axis=0)
    _, directions = np.linalg.eigh(words.T @ words)
    words = words @ directions[:, ::-1][:, :HIDDEN]
    # The last directions vary least, and would be lost beside the first.
    words /= words.std(axis=0)
    words *= 0.3

    draw = lambda *shape, std=0.02: rng.normal(0.0, std, shape)  # noqa: E731
    tensors = {"model.embed_tokens.weight": words, "model.norm.weight": np.ones(HIDDEN)}
    for index in range(LAYERS):
        layer = f"model.layers.{index}"
        keys = draw(KV_HEADS, WIDTH, HIDDEN, std=0.05)
        queries = draw(HEADS, WIDTH, HIDDEN, std=0.05)
        # Heads of queries come in pairs, one pair for every head of keys.
        queries[::2] = keys
        tensors |= {
            f"{layer}.self_attn.q_proj.weight": queries.reshape(-1, HIDDEN),
            f"{layer}.self_attn.k_proj.weight": keys.reshape(-1, HIDDEN),
            f"{layer}.self_attn.v_proj.weight": draw(KV_HEADS * WIDTH, HIDDEN, std=0.05),
            f"{layer}.self_attn.o_proj.weight": draw(HIDDEN, HEADS * WIDTH, std=0.05),
            f"{layer}.mlp.gate_proj.weight": draw(INNER, HIDDEN, std=0.05),
            f"{layer}.mlp.up_proj.weight": draw(INNER, HIDDEN, std=0.05),
            f"{layer}.mlp.down_proj.weight": draw(HIDDEN, INNER),
            f"{layer}.input_layernorm.weight": np.ones(HIDDEN),
            f"{layer}.post_attention_layernorm.weight": np.ones(HIDDEN),
        }
    for place, _ in enumerate(EXITS):
        tensors[f"lm_head.{place}.linear_head.weight"] = np.zeros((1, HIDDEN))

    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": words.shape[0],
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": WIDTH,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "pad_token_id": 0,
        "layer_wise": True,
        "start_layer": EXITS.start,
        "layer_sep": EXITS.step,
    }
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(encoder / name, out / name)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{sum(value.size for value in tensors.values()) / 1e6:.1f} M parameters")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
