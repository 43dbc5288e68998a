"""PyTorch's side of the training bench: answers requests on stdin with seconds on stdout.

    python benches/train/peer.py ENGINE MODEL_DIR

ENGINE is torch-f32 or torch-bf16 (autocast). A request is a line `rows tokens`: one step on that many
pairs of that many tokens, in groups of 8 of which the first is the positive: forward with the dropout
of the checkpoint's config, LCE, backward, clipping to 1, AdamW with PyTorch's numbers. The ids are those
of benches/forward/peers.py. The answer is `seconds loss peak`, peak in MiB. `cargo xtask bench train`
starts it and asks in turn.

Needs torch and transformers.
"""

import os
import resource
import sys
import time

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(THREADS)
# Threads that spin after their work would slow down whoever is asked next.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["KMP_BLOCKTIME"] = "0"

import torch  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "forward"))
from peers import pairs  # noqa: E402

GROUP = 8


def main():
    engine, directory = sys.argv[1:]
    torch.manual_seed(42)
    torch.set_num_threads(THREADS)
    model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1).train()
    still = lambda name: name.endswith("bias") or "LayerNorm" in name  # noqa: E731
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if not still(n)], "weight_decay": 0.01},
            {"params": [p for n, p in named if still(n)], "weight_decay": 0.0},
        ],
        lr=2e-5,
    )
    print("ready", flush=True)
    for line in sys.stdin:
        rows, tokens = map(int, line.split())
        ids, types = (torch.from_numpy(a) for a in pairs(rows, tokens))
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=engine == "torch-bf16"):
            out = model(input_ids=ids, token_type_ids=types, attention_mask=torch.ones_like(ids))
        scores = out.logits.float().view(-1, GROUP)
        loss = torch.nn.functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss = loss.item()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{seconds} {loss} {peak}", flush=True)


if __name__ == "__main__":
    main()
