"""Serves a cross-encoder with sentence-transformers behind FastAPI, as people do it, to be measured beside tamis-serve.

    pip install sentence-transformers fastapi uvicorn uvloop httptools
    python benches/serve/peer.py MODEL_DIR [--port 3100] [--max-length 512] [--max-pairs 64] [--wait-ms 5] [--queue 1024]

`POST /rerank` speaks TEI's format, so the same load goes to both. Requests that arrive while a batch is computed
are put together into the next one, up to --max-pairs pairs; an idle server waits --wait-ms for company, as the
usual batching libraries do. Inside a batch `CrossEncoder.predict` sorts by length and pads. Beyond --queue waiting
requests the answer is 429. One process, because a second one would have to share the same cores; two threads, or
BENCH_THREADS.
"""

import argparse
import asyncio
import os
import time

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
os.environ["OMP_NUM_THREADS"] = str(THREADS)
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import torch  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from sentence_transformers import CrossEncoder  # noqa: E402


class Request(BaseModel):
    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False


def failure(status, kind, text):
    return JSONResponse({"error": text, "error_type": kind}, status, {"retry-after": "1"} if status == 429 else None)


def application(model, given):
    waiting = asyncio.Queue()
    counted = {"requests": 0, "batches": 0, "pairs": 0, "seconds": 0.0}

    async def batches():
        while True:
            entries = [await waiting.get()]
            pairs = len(entries[0][0])
            # A short pause lets those that were sent at the same time come in.
            end = time.monotonic() + given.wait_ms / 1000
            while pairs < given.max_pairs:
                try:
                    entry = waiting.get_nowait() if not waiting.empty() else await asyncio.wait_for(waiting.get(), max(0.0, end - time.monotonic()))
                except asyncio.TimeoutError:
                    break
                entries.append(entry)
                pairs += len(entry[0])
            entries = [entry for entry in entries if not entry[1].cancelled()]
            if not entries:
                continue
            start = time.perf_counter()
            try:
                flat = [pair for entry in entries for pair in entry[0]]
                scores = await asyncio.to_thread(model.predict, flat, batch_size=32, activation_fn=torch.nn.Identity(), show_progress_bar=False)
            except Exception as error:
                for _, future in entries:
                    future.set_exception(error)
                continue
            counted["batches"] += 1
            counted["pairs"] += len(flat)
            counted["seconds"] += time.perf_counter() - start
            at = 0
            for own, future in entries:
                if not future.cancelled():
                    future.set_result(scores[at:at + len(own)])
                at += len(own)

    async def lifespan(_):
        task = asyncio.create_task(batches())
        yield
        task.cancel()

    from contextlib import asynccontextmanager
    app = FastAPI(lifespan=asynccontextmanager(lifespan))

    @app.post("/rerank")
    async def rerank(request: Request):
        if not request.texts:
            return failure(400, "Empty", "`texts` cannot be empty")
        if waiting.qsize() >= given.queue:
            return failure(429, "Overloaded", "the queue is full")
        future = asyncio.get_running_loop().create_future()
        counted["requests"] += 1
        waiting.put_nowait(([(request.query, text) for text in request.texts], future))
        try:
            scores = torch.as_tensor(await future)
        except Exception as error:
            return failure(424, "Backend", str(error))
        if not request.raw_scores:
            scores = torch.sigmoid(scores)
        scores = scores.tolist()
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return [{"index": index, "score": scores[index]} | ({"text": request.texts[index]} if request.return_text else {}) for index in order]

    @app.get("/health")
    async def health():
        return {}

    @app.get("/counts")
    async def counts():
        return counted

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--hostname", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3100)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--max-pairs", type=int, default=64)
    parser.add_argument("--wait-ms", type=float, default=5.0)
    parser.add_argument("--queue", type=int, default=1024)
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    model = CrossEncoder(given.model, max_length=given.max_length, device="cpu")
    model.predict([("warm", "up")] * 4, show_progress_bar=False)
    uvicorn.run(application(model, given), host=given.hostname, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
