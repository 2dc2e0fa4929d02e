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
    "trainer.total_training_steps=$steps" "trainer.test_freq=$steps" "trainer.save_freq=$steps" \
    "actor_rollout_ref.actor.checkpoint.save_contents=[model,hf_model]" \
    "$@" >"$out/train.log" 2>&1 &
training=$!
trap 'kill "$training" 2>/dev/null || true' INT TERM
verl-softthink watch "$out/metrics.jsonl" --process "$training" --log "$out/train.log" --steps "$steps"
wait "$training"

verl-softthink summary "$out"

# Whether what was learnt needs its mixtures: the same thoughts again, one-hot, shuffled and removed.
checkpoint=$out/checkpoints/global_step_$steps/actor/huggingface
VLLM_LOGGING_LEVEL=ERROR verl-softthink audit "$checkpoint" --data "$out/data/val.parquet" --law gumbel --budget 56 \
    --max-tokens 64 --max-prompt-length 32 --json "$out/audit.json" --plot "$out/audit.png"
