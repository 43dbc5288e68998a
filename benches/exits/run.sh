#!/usr/bin/env bash
# Trains the decoder of docs/llm-rerankers.md with and without self-distillation, and its compensations, and measures all.
#
#     benches/exits/run.sh FOLDER MEDQUAD ENCODER
#
# FOLDER is where everything goes; MEDQUAD has corpus.jsonl, queries.jsonl, qrels and bm25; ENCODER is a folder with
# all-MiniLM-L6. TAMIS is the program (default: target/debug/xtask), PYTHON has numpy, safetensors and tokenizers. What is there already
# is kept, and trainings go on where they were stopped: start it again after an interruption.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
tamis=$(realpath "${TAMIS:-$root/target/debug/xtask}")
python=${PYTHON:-python3}
medquad=$(realpath "$2") encoder=$(realpath "$3")
recipe=$root/xtask/recipes/exits-medquad.toml
mkdir -p "$1" && cd "$1"

[ -e start/config.json ] || "$python" "$root/benches/exits/start.py" "$encoder" "$medquad/corpus.jsonl" start
[ -e prepared/manifest.json ] || "$tamis" prepare --queries "$medquad/queries.jsonl" --corpus "$medquad/corpus.jsonl" \
    --qrels "$medquad/qrels/train.tsv" --run "$medquad/bm25/train.run" --depth 100 --require-positive --out prepared

# train NAME RECIPE [--set ...]
train() {
    name=$1 && shift
    [ -e "$name/checkpoint/model.safetensors" ] && return
    if [ -e "$name/recipe.toml" ]; then "$tamis" train --resume "$name"; else "$tamis" train "$@" --out "$name"; fi
}

# Every exit learns, from labels and from deeper exits.
train distilled "$recipe"
# The deepest exit alone learns.
sed '/^\[train.exits\]/,$d' "$recipe" > deepest.toml
train deepest deepest.toml
# Compensations: low-rank adapters on the distilled model, for depth and for each ratio.
adapt() {
    name=$1 && shift
    train "$name" "$recipe" --set 'model.path="distilled/checkpoint"' --set train.steps=60 --set train.lr=3e-4 \
        --set 'train.exits.loss={ method = "normal", mean = true }' \
        --set 'train.lora={ rank = 16, alpha = 32, train_head = false, targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "linear_head"] }' "$@"
}
adapt layer --set 'train.exits.ratios=[1]'
for ratio in 2 4; do adapt "ratio-$ratio" --set "train.exits.ratios=[$ratio]" --set train.exits.keep=1.0; done

# Every exit learns from labels alone, so that the share of self-distillation shows.
train labels "$recipe" --set 'train.exits.loss={ method = "normal", mean = true }'

# The grid of depth and width: on dev for the planner, on test for the table. PRECISION, QUERIES and DEPTH make it cheaper.
# grid NAME SPLIT MODEL [--adapter ...]
grid() {
    name=$1 split=$2 model=$3 && shift 3
    "$tamis" plan --model "$model" "$@" --queries "$medquad/queries.jsonl" --corpus "$medquad/corpus.jsonl" \
        --qrels "$medquad/qrels/$split.tsv" --run "$medquad/bm25/$split.run" --depth "${DEPTH:-50}" \
        --max-queries "${QUERIES:-200}" --precision "${PRECISION:-bf16}" --compress-layers 2 --ratios 1,2,4 \
        --budget-ms "${BUDGET:-200}" --runs --out "$name" > "$name.md"
}
adapters=(--adapter layer/checkpoint/adapter)
for ratio in 2 4; do adapters+=(--adapter "ratio-$ratio/checkpoint/adapter@ratio=$ratio"); done
grid plan dev distilled/checkpoint
grid test-deepest test deepest/checkpoint
grid test-distilled test distilled/checkpoint
grid test-compensated test distilled/checkpoint "${adapters[@]}"
[ ! -e labels/checkpoint ] || grid test-labels test labels/checkpoint

# Every exit and ratio beside the same of another model, with a randomisation test.
against() {
    for run in "$1"/runs/*.run; do
        name=$(basename "$run")
        [ ! -e "$2/runs/$name" ] || "$tamis" eval --qrels "$medquad/qrels/test.tsv" --run "$run" --baseline "$2/runs/$name" \
            -m nDCG@10 --missing skip --format markdown | sed "s/^/$1 beside $2, $name: /"
    done
}
{
    against test-distilled test-deepest
    against test-compensated test-distilled
    [ ! -e test-labels ] || against test-distilled test-labels
} > significance.md
