#!/usr/bin/env bash
# Reinforcement learning on words of permutations, from a model that thinks in mixtures, on two CPU cores.
#
#   START=CHECKPOINT bash recipes/thought_anchor/run_permutation_words_cpu.sh [verl overrides ...]
#
#   METHOD=thought_anchor  thoughts held near the start's (default)
#   METHOD=soft_grpo       the same without the anchor
#   METHOD=grpo            tokens
#   START=CHECKPOINT       what ../soft_sft/run_permutation_words_cpu.sh trained: its .../huggingface
#   DATA=DIR               what `verl-softthink data permutation-words` wrote
#   OUT, PYTHON            see ../common.sh
set -euo pipefail
METHOD=${METHOD:-thought_anchor}
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
choose_output thought_anchor permutation_words thought_anchor soft_grpo grpo
DATA=${DATA:-outputs/soft_sft/permutation_words/data}
START=${START:-outputs/soft_sft/permutation_words/soft/checkpoints/global_step_500/huggingface}
export VERL_PLATFORM=cpu

recipes=cpu
arm=()
if [ "$METHOD" != grpo ]; then
    recipes=cpu,soft_grpo
    # As many thoughts as the word has symbols; sixteen draws leave room for four states.
    arm=(softthink.law.name=multiplex +softthink.law.draws=16 softthink.phase.budget=8)
    arm+=(actor_rollout_ref.actor.kl_loss_coef=0)
fi
if [ "$METHOD" = thought_anchor ]; then
    recipes=$recipes,thought_anchor
    arm+=(softthink.thought_anchor.coefficient=3.0)
fi
train "$recipes" \
    "data.train_files=$DATA/train.parquet" "data.val_files=$DATA/val.parquet" data.seed=0 \
    data.train_batch_size=64 data.max_prompt_length=32 data.max_response_length=12 \
    "actor_rollout_ref.model.path=$START" \
    actor_rollout_ref.actor.optim.lr=1e-5 \
    actor_rollout_ref.actor.ppo_mini_batch_size=64 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=256 \
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=256 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=256 \
    actor_rollout_ref.rollout.n=16 \
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0 \
    "reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward" \
    trainer.total_training_steps=40 trainer.total_epochs=4 trainer.test_freq=20 trainer.save_freq=20 \
    "${arm[@]}" "$@"
