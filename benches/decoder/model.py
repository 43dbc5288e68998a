"""Draws a decoder with exits for `cargo xtask bench decoder`, in bfloat16 and in several files.

    python benches/decoder/model.py TOKENIZER OUT [HIDDEN] [LAYERS] [INNER] [WORDS]

TOKENIZER is a tokenizer.json with fewer words than WORDS. Weights are random: speed and memory do not depend on them.

Needs torch, safetensors.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file


def main(tokenizer, out, hidden=768, layers=8, inner=2048, words=32000):
    torch.manual_seed(42)
    heads, kv_heads, width = hidden // 64, hidden // 128, 64
    draw = lambda *shape: (torch.randn(shape) * 0.02).bfloat16()  # noqa: E731
    files = [{"model.embed_tokens.weight": draw(words, hidden)}]
    for index in range(layers):
        if index % 2 == 0:
            files.append({})
        layer = f"model.layers.{index}"
        files[-1] |= {
            f"{layer}.self_attn.q_proj.weight": draw(heads * width, hidden),
            f"{layer}.self_attn.k_proj.weight": draw(kv_heads * width, hidden),
            f"{layer}.self_attn.v_proj.weight": draw(kv_heads * width, hidden),
            f"{layer}.self_attn.o_proj.weight": draw(hidden, heads * width),
            f"{layer}.mlp.gate_proj.weight": draw(inner, hidden),
            f"{layer}.mlp.up_proj.weight": draw(inner, hidden),
            f"{layer}.mlp.down_proj.weight": draw(hidden, inner),
            f"{layer}.input_layernorm.weight": torch.ones(hidden).bfloat16(),
            f"{layer}.post_attention_layernorm.weight": torch.ones(hidden).bfloat16(),
        }
    files[-1]["model.norm.weight"] = torch.ones(hidden).bfloat16()
    for place in range(layers // 2):
        files[-1][f"lm_head.{place}.linear_head.weight"] = draw(1, hidden)
    out.mkdir(parents=True, exist_ok=True)
    weight_map = {}
    for place, tensors in enumerate(files, 1):
        name = f"model-{place:05}-of-{len(files):05}.safetensors"
        save_file(tensors, out / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    size = sum(tensor.nbytes for tensors in files for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": words,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
        "layer_wise": True,
        "start_layer": 2,
        "layer_sep": 2,
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    settings = {
        "max_length": 512,
        "query_max_length": 256,
        "truncation": "second-only",
        "template": {"segments": [{"text": "{query}"}, {"text": "{document}"}, {"text": "?"}]},
    }
    (out / "tamis.json").write_text(json.dumps(settings, indent=2) + "\n")
    shutil.copy(tokenizer, out / "tokenizer.json")
    print(f"{size / 2e6:.0f} M parameters, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
