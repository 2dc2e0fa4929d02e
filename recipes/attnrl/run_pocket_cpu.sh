#!/usr/bin/env bash
# The overthinking pocket reasoner (1 M parameters, shipped with the package) on clock arithmetic, on two CPU cores. It
# thinks in lines, which are the steps here.
#
#   METHOD=attnrl bash recipes/attnrl/run_pocket_cpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

choose_output attnrl "pocket/seed$SEED" "${ARMS[@]}"
data=$OUT/data
if [ ! -f "$data/val.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$data" --train 4096 --val 256 --seed "$SEED"
fi
model=$("$PYTHON" -c 'from verl_softthink.pocket import OVERTHINKING, checkpoint_path; print(checkpoint_path(OVERTHINKING))')

shared=(
    "data.train_files=$data/train.parquet" "data.val_files=$data/val.parquet"
    data.train_batch_size=8 data.max_prompt_length=32 data.max_response_length=168
    "actor_rollout_ref.model.path=$model"
    actor_rollout_ref.actor.optim.lr=1e-4
    actor_rollout_ref.actor.ppo_mini_batch_size=8 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=16
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    "reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward"
    trainer.total_training_steps=40 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=20
)
tree=(
    actor_rollout_ref.rollout.n=6
    # Responses have about 35 tokens, where the paper's have thousands.
    softthink.attnrl.spacing=6
)
adaptive=(
    # About as many as 8 prompts train at the start; when fewer prompts have signal, more are sampled.
    softthink.attnrl.wanted_responses=176 softthink.attnrl.largest_batch=16
)
soft=(
    softthink.phase.budget=152
)
group=(
    # A tree costs 6 whole responses and about 20 continuations of 0.8 of one (seen at the start of training).
    actor_rollout_ref.rollout.n=22
)
run cpu "$@"
