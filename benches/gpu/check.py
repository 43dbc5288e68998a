"""Builds Tamis for machines with a GPU, and checks it there beside PyTorch.

    python benches/gpu/check.py build --out gpu
    python gpu/check.py run --fixtures FIXTURES --out record.md

`build` needs the workspace and Rust, but no GPU: it makes one program for each kind of device,
`tamis-cuda` and `tamis-wgpu`, stripped and each under 50 MB, and puts them beside this script and
what else it needs into one folder that can be carried.

`run` needs that folder alone (see README.md here). Its steps:

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
# Beside this script where it was carried to.
PEERS = os.path.join(HERE, "peers.py")
if not os.path.exists(PEERS):
    PEERS = os.path.join(os.path.dirname(HERE), "forward", "peers.py")

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

# What the largest program may take.
MOST_MEGABYTES = 50
# A program that is carried: functions with the same code are one, addresses are fixed when it is
# linked, and without unwinding (the profile aborts) no tables of it.
FLAGS = "-C relocation-model=static -C force-unwind-tables=no -C link-arg=-Wl,--icf=all"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)

    building = steps.add_parser("build", help="make the programs, and the folder to carry")
    building.add_argument("--device", action="append", help="cuda, wgpu or cpu; may be repeated")
    building.add_argument("--config", action="append", default=[], help="passed on to cargo")
    building.add_argument("--out", default="gpu", help="the folder")

    running = steps.add_parser("run", help="check them where the GPU is")
    running.add_argument("--programs", default=HERE, help="the folder of the programs")
    running.add_argument("--fixtures", help="a folder whose models/ has golden values")
    running.add_argument("--device", action="append", help="cuda, wgpu or cpu; may be repeated")
    running.add_argument("--precisions", default="f32,bf16", help="of Tamis and PyTorch")
    running.add_argument("--shapes", default="32x128,32x256,1x128", help="pairs x tokens")
    running.add_argument("--rounds", type=int, default=15)
    running.add_argument("--warm-up", type=int, default=5)
    running.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    running.add_argument("--tiny", action="store_true", help="a tiny model alone, to try the script")
    running.add_argument("--no-torch", action="store_true", help="without the peer")
    running.add_argument("--timeout", type=float, default=900, help="seconds for one command")
    running.add_argument("--out", default="gpu-record.md", help="where the record goes")
    return parser.parse_args()


def devices(args):
    return args.device or ["cuda", "wgpu"]


def build(args):
    """One program for each kind of device, so that none carries the kernels of another."""
    workspace = os.path.dirname(os.path.dirname(HERE))
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = next(line.split()[1] for line in version.splitlines() if line.startswith("host:"))
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(workspace, "target"))
    # A folder of its own: other flags would rebuild everything. Cargo runs elsewhere.
    target = os.path.abspath(os.path.join(target, "gpu"))
    os.makedirs(args.out, exist_ok=True)
    failed = False
    for device in devices(args):
        # Flags reach what is built for a named target alone, not the macros that run while building.
        command = ["cargo", "build", "--package", "xtask", "--profile", "gpu", "--target", host]
        command += ["--target-dir", target]
        command += [] if device == "cpu" else ["--features", device]
        command += [part for config in args.config for part in ("--config", config)]
        flags = {"RUSTFLAGS": FLAGS} if "linux" in host else {}
        print("+", " ".join(command), flush=True)
        if subprocess.run(command, cwd=workspace, env={**os.environ, **flags}).returncode != 0:
            return 1
        program = os.path.join(args.out, f"tamis-{device}")
        shutil.copy2(os.path.join(target, host, "gpu", "xtask"), program)
        megabytes = os.path.getsize(program) / 1e6
        fits = megabytes <= MOST_MEGABYTES
        failed |= not fits
        print(f"{program}: {megabytes:.1f} MB" + ("" if fits else f", above {MOST_MEGABYTES}"))
    for script in (os.path.abspath(__file__), PEERS):
        shutil.copy2(script, os.path.join(args.out, os.path.basename(script)))
    return 1 if failed else 0


def program(args, device):
    """That of `cuda:1` is that of `cuda`."""
    kind = device.split(":")[0]
    return os.path.join(os.path.abspath(args.programs), f"tamis-{kind}")


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
    for device in devices(args):
        version = first([program(args, device), "--version"])
        size = os.path.getsize(program(args, device)) / 1e6
        lines.append(f"tamis-{device}: {version}, {size:.1f} MB")
    record.add("# Tamis on a GPU, beside PyTorch\n")
    record.add(f"{datetime.date.today().isoformat()}. " + "; ".join(lines) + ".\n")
    record.add("```text\npython check.py " + " ".join(sys.argv[1:]) + "\n```\n")


def parity(record, args, device):
    models = os.path.join(args.fixtures, "models")
    # On a GPU the whole encoder is bfloat16; PyTorch's own drifts by up to 2.7e-2 on these models.
    half = "2e-2" if device == "cpu" else "3e-2"
    for precision, tolerance in (("f32", "1e-3"), ("bf16", half)):
        if precision not in args.precisions.split(","):
            continue
        command = [program(args, device), "parity", models, "--device", device]
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


def sees(device):
    """Whether PyTorch computes where Tamis does."""
    import torch

    return device == "cpu" or torch.cuda.is_available()


def speed(record, args, device, name, folder):
    precisions = args.precisions.split(",")
    if device == "wgpu":
        precisions = [p for p in precisions if p == "f32"]
    command = [program(args, device), "bench", "forward", "--model", folder, "--device", device]
    command += ["--precisions", ",".join(precisions), "--shapes", args.shapes]
    command += ["--rounds", str(args.rounds), "--warm-up", str(args.warm_up)]
    command += ["--threads", str(args.threads), "--out", folder + ".table"]
    beside = not args.no_torch and sees(device)
    if beside:
        peers = ",".join(f"torch-{precision}" for precision in precisions)
        command += ["--python", sys.executable, "--script", PEERS, "--peers", peers]
    status, _, err, seconds = run(command, args.timeout)
    record.add(f"## Forward on {device}, {name} size ({seconds:.0f} s)\n")
    if not beside:
        record.add("Without PyTorch" + (".\n" if args.no_torch else ", which sees no GPU here.\n"))
    if status == 0:
        with open(folder + ".table", encoding="utf-8") as table:
            record.add(table.read())
    else:
        record.add(f"```text\n{err.strip()}\n```\n")
        record.fail(f"forward on {device}, {name} (status {status})")


def main():
    args = arguments()
    if args.step == "build":
        return build(args)
    missing = [p for p in (program(args, device) for device in devices(args)) if not os.path.exists(p)]
    if missing:
        print(f"{missing[0]}: no such program; `check.py build` makes it", file=sys.stderr)
        return 1
    record = Record(os.path.abspath(args.out))
    machine(record, args)
    if args.fixtures:
        for device in devices(args):
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
            for device in devices(args):
                speed(record, args, device, name, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record.add("failed: " + "; ".join(record.failures) if record.failures else "Nothing failed.")
    return 1 if record.failures else 0


if __name__ == "__main__":
    sys.exit(main())
