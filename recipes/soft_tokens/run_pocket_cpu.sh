#!/usr/bin/env bash
# The pocket reasoner (1 M parameters, shipped with the package) on clock arithmetic, on two CPU cores.
#
#   bash recipes/soft_tokens/run_pocket_cpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

choose_output soft_tokens "pocket/seed$SEED" "${METHODS[@]}"
data=$OUT/data
if [ ! -f "$data/val.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$data" --train 4096 --val 256 --seed "$SEED"
fi
model=$("$PYTHON" -c 'from verl_softthink.pocket import checkpoint_path; print(checkpoint_path())')

shared=(
    "data.train_files=$data/train.parquet" "data.val_files=$data/val.parquet"
    data.train_batch_size=16 data.max_prompt_length=32 data.max_response_length=64
    "actor_rollout_ref.model.path=$model"
    # The same schedule in every arm; the paper's warm-up would be much of so short a run.
    actor_rollout_ref.actor.optim.lr=1e-4
    actor_rollout_ref.actor.optim.lr_scheduler_type=constant actor_rollout_ref.actor.optim.lr_warmup_steps=0
    actor_rollout_ref.actor.ppo_mini_batch_size=16 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=64
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=128
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    # A checkpoint that evaluation reads: weights in Hugging Face's format.
    'actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]'
    trainer.total_training_steps=40 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=20
)
thinking=('softthink.phase.end_of_thinking="</think>"' softthink.phase.budget=56)
rloo=(
    # The answer is the one digit after </think>: no text to look for, nothing to begin an answer with.
    softthink.phase.match=null softthink.phase.answer_prefix=null softthink.phase.lead_in=null
    softthink.phase.answer_budget=null
    reward.custom_reward_function.path=pkg://verl_softthink.data.graded_reward
    +reward.custom_reward_function.reward_kwargs.grader=pocket
)
case $METHOD in
    soft | fuzzy)
        # At the paper's 0.33 this sharp model thinks the same whatever the noise (README): nothing to learn from. 1.0 is
        # the largest that the paper saw learn.
        rloo+=(softthink.law.gamma=1.0)
        ;;
esac
clipped=(
    reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001
    actor_rollout_ref.actor.kl_loss_type=low_var_kl
)
run cpu "$@"
