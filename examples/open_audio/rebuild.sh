#!/usr/bin/env bash
# Train aasp-tiny-open-3 again with the same number of steps: four runs, each from the weights of the one before. The
# last two are averaged with their initial weights.
#
#   examples/open_audio/rebuild.sh DATA GRAPHS OUT
#
# DATA is a folder of audio files or .tar shards, GRAPHS the folder of the teachers' ONNX files (see examples/teachers).
# The result is OUT/open-3/checkpoint. After an interruption, run the same command again. The weights differ slightly
# from the shipped ones: those runs had time budgets in minutes, some changed their settings on the way (RUNS.md), the
# first one measured the log-mel statistics itself, and processors round differently.
#
# Environment variables: THREADS (2), WORKERS (2, processes that run the teachers), TEACHERS (examples/teachers) and
# SETTINGS ("key=value …" for all runs).
set -euo pipefail
data=$1 graphs=$2 out=$3
examples=$(cd "$(dirname "$0")/.." && pwd)
export OMP_NUM_THREADS=1 # the parts of a batch use the cores
read -ra extra <<<"${SETTINGS:-}"

# learn NAME START WEIGHTS MIXED [setting …]: train from START's weights and export to OUT/NAME/checkpoint. WEIGHTS is
# average (the running average) or last (the last step's), MIXED the share that START keeps.
learn() {
  local name=$1 start=$2 weights=$3 mixed=$4
  shift 4
  [ -d "$out/$name/checkpoint" ] && return
  aasp-train pretrain --recipe tiny_distilled --data "$data" --out "$out/$name" --start-from "$start" \
    "distillation.teachers=${TEACHERS:-$examples/teachers}" "distillation.graphs=$graphs" \
    "distillation.workers=${WORKERS:-2}" "distillation.parts=${THREADS:-2}" "$@" ${extra[@]+"${extra[@]}"}
  rm -rf "$out/$name/exported"
  local mix=()
  [ "$mixed" = 0 ] || mix=(--mix "$start=$mixed")
  aasp-train export "$out/$name" --out "$out/$name/exported" --name aasp-tiny-mine-1 --which "$weights" ${mix[@]+"${mix[@]}"}
  mv "$out/$name/exported" "$out/$name/checkpoint"
}

learn first aasp-tiny-pack-1 average 0 run.steps=5444 distillation.crops=64256 \
  "distillation.features=$out/features-by-second" distillation.last_layers=4 distillation.longer_from=0 \
  optimizer.hold=0.56 distillation.token_dropping_until=0.8
learn open-1 "$out/first/checkpoint" last 0 run.steps=6770 distillation.crops=90109 \
  "distillation.features=$out/features-by-recording" distillation.last_layers=4 distillation.crop.by_duration=0 \
  distillation.longer_from=0.6 optimizer.hold=0.45 distillation.token_dropping_until=0.85

learn open-2 "$out/open-1/checkpoint" last 0.55 run.steps=1977 distillation.crops=60160 \
  "distillation.features=$out/features-by-recording" distillation.crop.by_duration=0 distillation.last_layers=1 \
  distillation.longer_from=0.75 optimizer.learning_rate=6e-4 optimizer.warm_up=0.04 optimizer.hold=0.3 \
  distillation.token_dropping_until=0.8 objective.weights.mn04=2 objective.weights.speech=1.5 objective.weights.voice=0.5 \
  objective.weights.log_mel=0.25

learn open-3 "$out/open-2/checkpoint" last 0.5 run.steps=3957 distillation.crops=40192 \
  "distillation.features=$out/features-by-recording" distillation.crop.by_duration=0 distillation.last_layers=1 \
  distillation.longer_from=0.8 optimizer.learning_rate=8e-4 optimizer.warm_up=0.03 optimizer.hold=0.35 \
  distillation.token_dropping_until=0.8 distillation.balanced_by=mn04 distillation.noise_augmentation.noise_probability=0.5 \
  distillation.noise_augmentation.band_probability=0.15
