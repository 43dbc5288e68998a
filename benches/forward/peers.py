"""One peer of the forward bench: answers requests on stdin with seconds on stdout.

    python benches/forward/peers.py ENGINE MODEL_DIR

ENGINE is torch-f32, torch-bf16, onnxruntime-f32 or onnxruntime-int8. A request is a line `rows
tokens`: that many pairs of that many tokens each, made by the same rule as in xtask/src/bench.rs.
The answer is `seconds score`, where score is the first row's logit. With BENCH_DEVICE=cuda, PyTorch
computes on the GPU; seconds then include copies to it and back. `cargo xtask bench forward`
starts one process per engine and asks each in turn, so that only one computes at a time.

Needs torch, transformers; for ONNX Runtime also onnxruntime, onnx and onnxscript.
"""

import os
import sys
import tempfile
import time

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(THREADS)
# Threads that spin after their work would slow down whoever is asked next.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["KMP_BLOCKTIME"] = "0"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402

CLS, SEP, QUERY = 101, 102, 16


def pairs(rows, tokens):
    ids = np.zeros((rows, tokens), dtype=np.int64)
    types = np.zeros((rows, tokens), dtype=np.int64)
    for row in range(rows):
        word = lambda i: 1000 + (row * 4099 + i * 7919) % 20000  # noqa: E731
        query = [word(i) for i in range(QUERY)]
        document = [word(1000 + i) for i in range(tokens - QUERY - 3)]
        ids[row] = [CLS, *query, SEP, *document, SEP]
        types[row, QUERY + 2 :] = 1
    return ids, types


def torch_engine(directory, dtype):
    torch.set_num_threads(THREADS)
    model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1).eval()
    model = model.to(DEVICE, dtype)

    def run(ids, types):
        ids, types = torch.from_numpy(ids).to(DEVICE), torch.from_numpy(types).to(DEVICE)
        with torch.inference_mode():
            out = model(input_ids=ids, token_type_ids=types, attention_mask=torch.ones_like(ids))
        return out.logits.float().cpu().numpy()

    return run


def onnx_engine(directory, int8):
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1).eval()
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "model.onnx")
    ids, types = (torch.from_numpy(a) for a in pairs(2, 32))
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    shape = {0: rows, 1: tokens}
    torch.onnx.export(
        model,
        (),
        path,
        kwargs={"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types},
        input_names=["input_ids", "attention_mask", "token_type_ids"],
        dynamic_shapes={"input_ids": shape, "attention_mask": shape, "token_type_ids": shape},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if int8:
        import onnx

        # Shapes noted by the exporter contradict those that the quantiser infers.
        graph = onnx.load(path)
        del graph.graph.value_info[:]
        onnx.save(graph, path)
        quantised = path + ".int8"
        quantize_dynamic(path, quantised, weight_type=QuantType.QInt8, per_channel=True)
        path = quantised
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(ids, types):
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
        return session.run(None, feed)[0]

    return run


def main():
    engine, directory = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # exporters print; only answers may reach stdout
    if engine == "torch-f32":
        run = torch_engine(directory, torch.float32)
    elif engine == "torch-bf16":
        run = torch_engine(directory, torch.bfloat16)
    elif engine in ("onnxruntime-f32", "onnxruntime-int8"):
        run = onnx_engine(directory, engine.endswith("int8"))
    else:
        sys.exit(f"unknown engine {engine}")
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        rows, tokens = map(int, line.split())
        ids, types = pairs(rows, tokens)
        start = time.perf_counter()
        logits = run(ids, types)
        seconds = time.perf_counter() - start
        print(f"{seconds} {float(logits.reshape(-1)[0])}", file=out, flush=True)


if __name__ == "__main__":
    main()
