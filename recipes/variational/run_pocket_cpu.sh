#!/usr/bin/env bash
# The pocket reasoner (1 M parameters) on clock arithmetic, on two CPU cores. Its hints are worked solutions, which the
# shipped checkpoint has never seen, so a model that has is trained first, for all arms (a few minutes, once).
#
#   METHOD=variational_b bash recipes/variational/run_pocket_cpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh); MODEL: checkpoint directory, trained when it is missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

choose_output variational "pocket/seed$SEED" "${ARMS[@]}"
MODEL=${MODEL:-$PWD/outputs/variational/pocket/model}
if [ ! -f "$MODEL/provenance.json" ]; then
    "$PYTHON" -m verl_softthink.pocket.train --out "$MODEL" --hint-rate 0.5 --steps 800
fi
data=$OUT/data
if [ ! -f "$data/val_hard.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$data" --train 4096 --val 256 --hard 128 --seed 0
fi

shared=(
    # The second file holds problems of the greatest length: val-core/pocket/longest is the hard-problem accuracy.
    "data.train_files=$data/train.parquet" "data.val_files=[$data/val.parquet,$data/val_hard.parquet]"
    data.train_batch_size=16 data.max_prompt_length=64 data.max_response_length=64
    "actor_rollout_ref.model.path=$MODEL"
    actor_rollout_ref.actor.optim.lr=1e-4
    actor_rollout_ref.actor.ppo_mini_batch_size=16 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=64
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    "reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward"
    trainer.total_training_steps=40 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=20
)
posterior=(
    # The prompt of the corpus (pocket/corpus.py).
    'softthink.variational.hint.template="{question}|{hint}"'
)
run cpu "$@"
