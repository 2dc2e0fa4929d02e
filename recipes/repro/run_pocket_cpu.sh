#!/usr/bin/env bash
# The overthinking pocket reasoner (1 M parameters, shipped with the package) on clock arithmetic, on two CPU cores.
#
#   bash recipes/repro/run_pocket_cpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

choose_output repro "pocket/seed$SEED" repro grpo soft_grpo_repro soft_grpo
data=$OUT/data
if [ ! -f "$data/val.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$data" --train 4096 --val 256 --seed "$SEED"
fi
model=$("$PYTHON" -c 'from verl_softthink.pocket import OVERTHINKING, checkpoint_path; print(checkpoint_path(OVERTHINKING))')

shared=(
    "data.train_files=$data/train.parquet" "data.val_files=$data/val.parquet" "data.seed=$SEED"
    data.train_batch_size=16 data.max_prompt_length=32 data.max_response_length=168
    "actor_rollout_ref.model.path=$model"
    actor_rollout_ref.actor.optim.lr=1e-4 "actor_rollout_ref.actor.data_loader_seed=$SEED"
    actor_rollout_ref.actor.ppo_mini_batch_size=16 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=64
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001
    actor_rollout_ref.actor.kl_loss_type=low_var_kl
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    "reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward"
    trainer.total_training_steps=40 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=20
)
process=(
    # Every line is a segment; the answer is one digit, right after the end of thinking.
    $'softthink.repro.delimiters=["\n"]'
    'softthink.repro.lead_in="</think>"' 'softthink.repro.answer="{answer}"'
    'softthink.repro.backtracking=["?"]'
)
soft=(
    softthink.phase.budget=160
)
run cpu "$@"
