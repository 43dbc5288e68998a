"""One peer of the decoder bench: answers requests on stdin with seconds on stdout.

    python benches/decoder/peer.py ENGINE MODEL_DIR

ENGINE is torch-f32 or torch-bf16. A request is a line `rows tokens`: that many rows of that many tokens, the ids of
xtask/src/bench/shape.rs; the answer is `seconds score`, where score is the first row's logit at the deepest exit. The
layers are those of transformers; of its output the last token alone meets the exit's row, as in Tamis.

Needs torch, transformers, safetensors.
"""

import json
import os
import sys
import time
from pathlib import Path

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(THREADS)
# Threads that spin after their work would slow down whoever is asked next.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["KMP_BLOCKTIME"] = "0"

import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import AutoModel  # noqa: E402

QUERY, QUESTION_MARK = 16, 1029


def ids_of(rows, tokens):
    word = lambda row, i: 1000 + (row * 4099 + i * 7919) % 20000  # noqa: E731
    document = tokens - QUERY - 1
    return torch.tensor([
        [word(row, i) for i in range(QUERY)]
        + [word(row, 1000 + i) for i in range(document)]
        + [QUESTION_MARK]
        for row in range(rows)
    ])


def main(engine, directory):
    torch.set_num_threads(THREADS)
    dtype = {"torch-f32": torch.float32, "torch-bf16": torch.bfloat16}[engine]
    model = AutoModel.from_pretrained(directory, dtype=dtype).eval()
    config = json.loads((directory / "config.json").read_text())
    place = (config["num_hidden_layers"] - config["start_layer"]) // config["layer_sep"]
    name = f"lm_head.{place}.linear_head.weight"
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    with safe_open(directory / index["weight_map"][name], "pt") as file:
        head = file.get_tensor(name).float()
    print("ready", flush=True)
    for line in sys.stdin:
        rows, tokens = map(int, line.split())
        ids = ids_of(rows, tokens)
        start = time.perf_counter()
        with torch.inference_mode():
            state = model(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
            scores = state.float() @ head.T
        seconds = time.perf_counter() - start
        print(seconds, scores[0, 0].item(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
