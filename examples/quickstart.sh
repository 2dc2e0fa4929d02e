#!/usr/bin/env bash
# From a bare clone to a trained model: SofT-GRPO on the pocket reasoner, on two CPU cores, in ten to fifteen minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source examples/setup_cpu.sh

out=$PWD/outputs/quickstart
steps=${STEPS:-30}
rm -rf "$out"
mkdir -p "$out"

METHOD=soft_grpo OUT=$out bash recipes/soft_grpo/run_pocket_cpu.sh \
    "trainer.total_training_steps=$steps" "trainer.test_freq=$steps" trainer.save_freq=-1 \
    "$@" >"$out/train.log" 2>&1 &
training=$!
trap 'kill "$training" 2>/dev/null || true' INT TERM
verl-softthink watch "$out/metrics.jsonl" --process "$training" --log "$out/train.log" --steps "$steps"
wait "$training"

verl-softthink summary "$out"
