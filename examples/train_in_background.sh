#!/usr/bin/env bash
# Distil public teachers at the lowest priority, beside other work.
#
#   examples/train_in_background.sh DATA GRAPHS [STATE]           # start or continue
#   examples/train_in_background.sh --finish DATA GRAPHS [STATE]  # write a checkpoint
#
# DATA is a folder of audio files or .tar shards, GRAPHS the folder of the teachers' ONNX files (see examples/teachers),
# STATE a folder for all results (default: runs/open). Run it again after any interruption: teacher features are saved
# piece by piece, the run every five minutes.
#
# The learning rate stays constant during the run. --finish copies the run and decays the rate, without token dropping,
# for a quarter of the time spent so far; then it writes STATE/checkpoint. The run itself is unchanged and can continue.
#
# Environment variables: THREADS (1), WORKERS (1, processes that run the teachers), CROPS (300000), TEACHERS
# (examples/teachers), NICE (19, the lowest priority) and SETTINGS ("key=value …").
set -euo pipefail
finish=
if [ "${1:-}" = --finish ]; then finish=1; shift; fi
data=$1 graphs=$2 state=${3:-runs/open}
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=${THREADS:-1}
settings=(--recipe tiny_distilled "distillation.teachers=${TEACHERS:-$here/teachers}" "distillation.graphs=$graphs"
  "distillation.features=$state/features" "distillation.crops=${CROPS:-300000}" "distillation.parts=${THREADS:-1}"
  run.steps=100000000 optimizer.warm_up=0.000003) # no end; the rate rises for 300 steps or 18 s
read -ra extra <<<"${SETTINGS:-}"
mkdir -p "$state"

if [ -z "$finish" ]; then
  nohup nice -n "${NICE:-19}" aasp-train pretrain --data "$data" --out "$state/run" --start-from aasp-tiny-pack-1 --max-time 100000 \
    "${settings[@]}" "distillation.workers=${WORKERS:-1}" ${extra[@]+"${extra[@]}"} >>"$state/run.log" 2>&1 &
  echo "training in process $!; aasp-train report $state/run writes a page on its progress"
else
  if [ ! -f "$state/run/state.safetensors" ]; then
    echo "no run to finish in $state; the first state is saved after five minutes" >&2
    exit 2
  fi
  if [ ! -d "$state/finish" ]; then # continue an interrupted --finish
    rm -rf "$state/finish.partial" && mkdir "$state/finish.partial"
    cp "$state/run/state.safetensors" "$state/run/rounds.jsonl" "$state/run/metrics.jsonl" "$state/finish.partial"
    grep -o '"seconds": [0-9.]*' "$state/finish.partial/metrics.jsonl" | tail -n 1 | awk '{print $2 / 60 / 0.8}' \
      >"$state/finish.partial/minutes"
    mv "$state/finish.partial" "$state/finish"
  fi
  nice -n "${NICE:-19}" aasp-train pretrain --data "$data" --out "$state/finish" --max-time "$(cat "$state/finish/minutes")" \
    "${settings[@]}" distillation.workers=0 optimizer.hold=0.8 distillation.token_dropping_until=0.8 ${extra[@]+"${extra[@]}"}
  aasp-train export "$state/finish" --out "$state/checkpoint" --name aasp-tiny-mine-1
  rm -rf "$state/finish"
fi
