"""Parity and speed of a built Tamis on a GPU, beside PyTorch, as one record.

    python benches/gpu/check.py --binary ./tamis --fixtures FIXTURES --out record.md

Needs nothing of the workspace but the binary and benches/forward/peers.py: both can be carried to a
machine without Rust (see README.md here). Steps:

1. parity: the golden folders FIXTURES/models/* on every device, f32 (1e-3) and bf16
   (2e-2 on a CPU, 3e-2 where the whole encoder is bfloat16);
2. two models with random weights, of MiniLM-L6's and BERT-base's size, are written with transformers;
3. `bench forward`: Tamis and PyTorch eager in turns on the same token ids, f32 and bf16, medians;
4. the record is written, whatever failed; the exit status is 1 when something did.

With `--device cpu` everything runs on the CPU, to try the script itself where there is no GPU.
"""

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# Name, and what makes transformers' BertConfig that size.
SIZES = {
    "minilm-l6": dict(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    ),
    "bert-base": dict(
        hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072
    ),
}
# For trying the script itself.
TINY = {
    "tiny": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
}
VOCABULARY = 30522


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True, help="the xtask binary")
    parser.add_argument("--fixtures", help="a folder whose models/ has golden values")
    parser.add_argument("--device", action="append", help="cuda, wgpu or cpu; may be repeated")
    parser.add_argument("--precisions", default="f32,bf16", help="of Tamis and PyTorch")
    parser.add_argument("--shapes", default="32x128,32x256,1x128", help="pairs x tokens")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tiny", action="store_true", help="a tiny model alone, to try the script")
    parser.add_argument("--no-torch", action="store_true", help="without the peer")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one command")
    parser.add_argument("--out", default="gpu-record.md", help="where the record goes")
    return parser.parse_args()


class Record:
    """Markdown that is on disk after every step, so that a machine that is taken away leaves it."""

    def __init__(self, path):
        self.path, self.text, self.failures = path, "", []

    def add(self, text):
        self.text += text + "\n"
        print(text, flush=True)
        temporary = self.path + ".part"
        with open(temporary, "w", encoding="utf-8") as out:
            out.write(self.text)
        os.replace(temporary, self.path)

    def fail(self, what):
        self.failures.append(what)
        self.add(f"**FAILED: {what}**\n")


def run(command, timeout):
    """Exit status (124: too long), standard output, the end of standard error, seconds."""
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        decode = lambda b: b.decode(errors="replace") if isinstance(b, bytes) else (b or "")  # noqa: E731
        status, out, err = 124, decode(late.stdout), decode(late.stderr)
    except OSError as error:
        status, out, err = 126, "", str(error)
    return status, out, err[-4000:], time.perf_counter() - start


def machine(record, args):
    def first(command):
        status, out, _, _ = run(command, 60)
        return out.strip().splitlines()[0] if status == 0 and out.strip() else None

    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    gpu = first(query) or "no NVIDIA GPU"
    lines = [f"GPU: {gpu}", f"CPU: {platform.processor() or platform.machine()}, {os.cpu_count()} cores"]
    lines.append(f"CPython {platform.python_version()}")
    try:
        import torch
        import transformers

        lines.append(f"PyTorch {torch.__version__}, transformers {transformers.__version__}")
    except ImportError as error:
        lines.append(f"no PyTorch: {error}")
        args.no_torch = True
    version = first([args.binary, "--version"])
    size = os.path.getsize(args.binary) / 1e6
    lines.append(f"binary: {version}, {size:.1f} MB")
    record.add("# Tamis on a GPU, beside PyTorch\n")
    record.add(f"{datetime.date.today().isoformat()}. " + "; ".join(lines) + ".\n")
    record.add("```text\npython benches/gpu/check.py " + " ".join(sys.argv[1:]) + "\n```\n")


def parity(record, args, device):
    models = os.path.join(args.fixtures, "models")
    # On a GPU the whole encoder is bfloat16; PyTorch's own drifts by up to 2.7e-2 on these models.
    half = "2e-2" if device == "cpu" else "3e-2"
    for precision, tolerance in (("f32", "1e-3"), ("bf16", half)):
        if precision not in args.precisions.split(","):
            continue
        command = [args.binary, "parity", models, "--device", device]
        command += ["--precision", precision, "--tolerance", tolerance]
        status, out, err, seconds = run(command, args.timeout)
        record.add(f"## Parity on {device}, {precision}, within {tolerance} ({seconds:.0f} s)\n")
        record.add(f"```text\n{out.rstrip()}\n```\n")
        if status != 0:
            if "does not compute in it" in err + out:
                record.add(f"{device} does not compute in {precision}.\n")
            else:
                record.add(f"```text\n{err.strip()}\n```\n")
                record.fail(f"parity on {device} in {precision} (status {status})")


def write_model(folder, shape):
    """A random cross-encoder with a tokenizer of as many words as the model knows."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(num_labels=1, vocab_size=VOCABULARY, **shape)
    BertForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    taken = {id: word for word, id in special.items()}
    vocabulary = {taken.get(id, f"w{id}"): id for id in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 101), ("[SEP]", 102)],
    )
    tokenizer.save(os.path.join(folder, "tokenizer.json"))


def speed(record, args, device, name, folder):
    precisions = args.precisions.split(",")
    if device == "wgpu":
        precisions = [p for p in precisions if p == "f32"]
    command = [args.binary, "bench", "forward", "--model", folder, "--device", device]
    command += ["--precisions", ",".join(precisions), "--shapes", args.shapes]
    command += ["--rounds", str(args.rounds), "--warm-up", str(args.warm_up)]
    command += ["--threads", str(args.threads), "--out", folder + ".table"]
    if not args.no_torch:
        peers = ",".join(f"torch-{precision}" for precision in precisions)
        script = os.path.join(os.path.dirname(HERE), "forward", "peers.py")
        command += ["--python", sys.executable, "--script", script, "--peers", peers]
    status, _, err, seconds = run(command, args.timeout)
    record.add(f"## Forward on {device}, {name} size ({seconds:.0f} s)\n")
    if status == 0:
        with open(folder + ".table", encoding="utf-8") as table:
            record.add(table.read())
    else:
        record.add(f"```text\n{err.strip()}\n```\n")
        record.fail(f"forward on {device}, {name} (status {status})")


def main():
    args = arguments()
    args.binary = os.path.abspath(args.binary)
    devices = args.device or ["cuda", "wgpu"]
    record = Record(os.path.abspath(args.out))
    machine(record, args)
    if args.fixtures:
        for device in devices:
            parity(record, args, device)
    folder = tempfile.mkdtemp(prefix="tamis-gpu-")
    try:
        for name, shape in (TINY if args.tiny else SIZES).items():
            place = os.path.join(folder, name)
            try:
                write_model(place, shape)
            except ImportError as error:
                record.fail(f"writing the {name} model: {error}")
                continue
            for device in devices:
                speed(record, args, device, name, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record.add("failed: " + "; ".join(record.failures) if record.failures else "Nothing failed.")
    return 1 if record.failures else 0


if __name__ == "__main__":
    sys.exit(main())
