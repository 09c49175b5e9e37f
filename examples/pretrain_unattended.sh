#!/usr/bin/env bash
# Pre-train in pieces from a folder of shards to exported checkpoints, on a machine without network.
#
#   examples/pretrain_unattended.sh DATA OUT [MINUTES] [PIECE] [RECIPE] [START_FROM]
#
# Run it repeatedly with the same OUT. Every call trains for at most PIECE minutes (default: 9), saves the full state in
# OUT/run, and exports fp16 checkpoints to OUT/average and OUT/last (11 MB each for tiny). The schedule ends after
# MINUTES of training (default: 27). To continue on another machine, copy OUT/last there and give it as START_FROM: a
# new run starts from its weights with a new warm-up.
#
# Missing packages are installed from the folder .wheelhouse, filled beforehand on a machine with network:
#   pip download --dest .wheelhouse --no-deps soundfile soxr omegaconf antlr4-python3-runtime
set -euo pipefail
data=$1 out=$2 minutes=${3:-27} piece=${4:-9} recipe=${5:-tiny_gpu} start_from=${6:-}
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD HF_HUB_OFFLINE=1

for package in soundfile soxr omegaconf typer safetensors; do
  python3 -c "import $package" 2>/dev/null || python3 -m pip install --no-index --find-links .wheelhouse "$package"
done

mkdir -p "$out"
python3 -m aasp_features.train pretrain --data "$data" --out "$out/run" --recipe "$recipe" \
  --max-time "$minutes" --stop-after "$piece" ${start_from:+--start-from "$start_from"} run.steps=100000000 ${SETTINGS:-}
for which in average last; do
  python3 -m aasp_features.train export "$out/run" --out "$out/$which" --name "aasp-$recipe-run" --which "$which"
done
tail -n 1 "$out/run/metrics.jsonl"
