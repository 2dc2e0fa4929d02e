#!/usr/bin/env bash
# The pocket reasoner (1 M parameters, shipped with the package) on clock arithmetic, on two CPU cores.
#
#   bash recipes/soft_grpo/run_pocket_cpu.sh [verl overrides ...]
#
# Environment: METHOD, OUT, PYTHON (see common.sh).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

choose_output soft_grpo pocket soft_grpo grpo
data=$OUT/data
if [ ! -f "$data/val.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$data" --train 4096 --val 256 --seed 0
fi
model=$("$PYTHON" -c 'from verl_softthink.pocket import checkpoint_path; print(checkpoint_path())')

shared=(
    "data.train_files=$data/train.parquet" "data.val_files=$data/val.parquet" data.seed=0
    data.train_batch_size=16 data.max_prompt_length=32 data.max_response_length=64
    "actor_rollout_ref.model.path=$model"
    actor_rollout_ref.actor.optim.lr=1e-4
    actor_rollout_ref.actor.ppo_mini_batch_size=16 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=64
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001
    actor_rollout_ref.actor.kl_loss_type=low_var_kl
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    "reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward"
    trainer.total_training_steps=60 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=20
)
soft=(
    softthink.phase.budget=56
)
run cpu "$@"
