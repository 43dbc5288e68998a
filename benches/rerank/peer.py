"""Reranks a run with sentence-transformers, as `cargo xtask rerank` does, and tells pairs per second.

    python benches/rerank/peer.py MODEL_DIR QUERIES.jsonl CORPUS.jsonl RUN OUT.run [f32|bf16] [MAX_LENGTH]

Time is that of `CrossEncoder.predict` over all pairs in one call, from texts to scores; loading the
model and the files is left out, as it is in what `cargo xtask rerank` prints. Two threads, or
BENCH_THREADS.
"""

import json
import os
import sys
import time

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import torch  # noqa: E402
from sentence_transformers import CrossEncoder  # noqa: E402


def texts(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            parts = [item.get("title", ""), item["text"]]
            yield item["_id"], " ".join(part for part in parts if part)


def main():
    model_dir, queries, corpus, run, out, *rest = sys.argv[1:]
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[rest[0] if rest else "f32"]
    max_length = int(rest[1]) if len(rest) > 1 else 128
    torch.set_num_threads(THREADS)
    with open(run, encoding="utf-8") as lines:
        candidates = [line.split()[:3:2] for line in lines]
    queries = dict(texts(queries))
    wanted = {document for _, document in candidates}
    documents = {key: text for key, text in texts(corpus) if key in wanted}
    pairs = [(queries[query], documents[document]) for query, document in candidates]
    model = CrossEncoder(model_dir, max_length=max_length, device="cpu")
    model.model.to(dtype)
    start = time.perf_counter()
    scores = model.predict(pairs, batch_size=32, activation_fn=torch.nn.Identity())
    seconds = time.perf_counter() - start
    print(f"scored {len(pairs)} pairs in {seconds:.1f} s ({len(pairs) / seconds:.1f} pairs/s)")
    with open(out, "w", encoding="utf-8") as file:
        for (query, document), score in zip(candidates, scores):
            file.write(f"{query} Q0 {document} 0 {float(score)} sentence-transformers\n")


if __name__ == "__main__":
    main()
