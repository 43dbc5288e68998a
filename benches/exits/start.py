"""Turns an encoder into the decoder that benches/exits/run.sh trains: a folder that `cargo xtask train` starts from.

    python benches/exits/start.py ENCODER CORPUS OUT

ENCODER is all-MiniLM-L6: six post-norm layers, 384 wide. OUT is a Llama of as many layers, with an exit after every second. What
it computes is close to what the encoder does without positions and under a causal mask:

- A norm's shift goes into the biases that follow it, and its mean is zero because nothing that is written to the
  residual stream has one.
- A post-norm layer scales the stream after every block, a pre-norm one never does. So the stream is kept in other units,
  dimension by dimension: `h = v / units`, and blocks write in those of where they stand. What a norm divides by
  differs from token to token; the units take its mean over CORPUS's first documents.
- The gate of the feed-forward block is the encoder's GELU, and lets everything through: its other half is a bias of one.
- Turning by places is slowed down a thousandfold, so that it does nothing.

Heads begin at zero. Needs numpy, safetensors, tokenizers.
"""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

SEPARATION = 2
EPSILON = 1e-12


def rms(x):
    return np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def main(encoder, corpus, out):
    config = json.loads((encoder / "config.json").read_text())
    hidden, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    width = hidden // heads
    source = {name.removeprefix("bert."): value.astype(np.float64) for name, value in load_file(encoder / "model.safetensors").items()}
    get = lambda name: (source[f"{name}.weight"], source[f"{name}.bias"])  # noqa: E731

    # A few rows, to see how large the stream becomes.
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    with corpus.open() as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(24), lines)]
    rows = [np.array(tokenizer.encode(text).ids) for text in texts if text]

    centred = lambda x: x - x.mean(axis=0)  # noqa: E731  the outputs of a map come first
    words = source["embeddings.word_embeddings.weight"]
    words = words + source["embeddings.token_type_embeddings.weight"][0]
    words = words + source["embeddings.position_embeddings.weight"][:64].mean(axis=0)
    words = words - words.mean(axis=1, keepdims=True)

    stream = [words[row] for row in rows]
    units = np.ones(hidden)
    gamma, beta = get("embeddings.LayerNorm")
    tensors = {"model.embed_tokens.weight": words}

    def norm():
        """The weight of a norm here, and what it makes of the stream, still without its shift."""
        sizes = np.concatenate([rms(units * h) / rms(h) for h in stream]).mean()
        weight = gamma * units / sizes
        return weight, [h / rms(h) * weight for h in stream]

    def write(weight, bias, updates):
        """A block's last map in the units after it; `updates` are what it reads."""
        nonlocal units, stream
        units = units * gamma / np.concatenate([rms(units * h) for h in stream]).mean()
        weight = centred(weight) / units[:, None]
        bias = centred(bias + beta) / units
        stream = [h + update @ weight.T + bias for h, update in zip(stream, updates)]
        return weight, bias

    def put(name, weight, bias):
        tensors[f"{name}.weight"] = weight
        tensors[f"{name}.bias"] = bias

    for index in range(layers):
        theirs, ours = f"encoder.layer.{index}", f"model.layers.{index}"
        tensors[f"{ours}.input_layernorm.weight"], normed = norm()
        maps = []
        for name, own in [("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")]:
            weight, bias = get(f"{theirs}.attention.self.{name}")
            bias = bias + weight @ beta
            put(f"{ours}.self_attn.{own}", weight, bias)
            maps.append((weight, bias))
        contexts = []
        for x in normed:
            q, k, v = ((x @ weight.T + bias).reshape(len(x), heads, width) for weight, bias in maps)
            scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(width)
            scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
            contexts.append(np.einsum("hqk,khd->qhd", scores, v).reshape(len(x), hidden))
        put(f"{ours}.self_attn.o_proj", *write(*get(f"{theirs}.attention.output.dense"), contexts))
        gamma, beta = get(f"{theirs}.attention.output.LayerNorm")

        tensors[f"{ours}.post_attention_layernorm.weight"], normed = norm()
        weight, bias = get(f"{theirs}.intermediate.dense")
        bias = bias + weight @ beta
        put(f"{ours}.mlp.gate_proj", weight, bias)
        put(f"{ours}.mlp.up_proj", np.zeros_like(weight), np.ones_like(bias))
        inner = [gelu(x @ weight.T + bias) for x in normed]
        put(f"{ours}.mlp.down_proj", *write(*get(f"{theirs}.output.dense"), inner))
        gamma, beta = get(f"{theirs}.output.LayerNorm")
    tensors["model.norm.weight"], _ = norm()
    exits = range(SEPARATION, layers + 1, SEPARATION)
    for place, _ in enumerate(exits):
        tensors[f"lm_head.{place}.linear_head.weight"] = np.zeros((1, hidden))

    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": words.shape[0],
        "hidden_size": hidden,
        "intermediate_size": config["intermediate_size"],
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": width,
        "max_position_embeddings": 512,
        "rms_norm_eps": EPSILON,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "linear", "factor": 1000.0},
        "hidden_act": "gelu",
        "attention_bias": True,
        "mlp_bias": True,
        "pad_token_id": 0,
        "layer_wise": True,
        "start_layer": exits.start,
        "layer_sep": exits.step,
    }
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(encoder / name, out / name)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{sum(value.size for value in tensors.values()) / 1e6:.1f} M parameters")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
