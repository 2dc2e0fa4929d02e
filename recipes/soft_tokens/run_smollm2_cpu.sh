#!/usr/bin/env bash
# SmolLM2-135M-Instruct, a real language model, on word problems of one sum or difference, on two CPU cores.
#
#   bash recipes/soft_tokens/run_smollm2_cpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh); MODEL, DATA: directories that are made when they are missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

choose_output soft_tokens "smollm2/seed$SEED" "${METHODS[@]}"
MODEL=${MODEL:-$PWD/outputs/models/smollm2}
DATA=${DATA:-$PWD/outputs/data/word_problems_boxed}
"$PYTHON" -m verl_softthink.data.smollm2 --out "$MODEL"
if [ ! -f "$DATA/heldout.parquet" ]; then
    "$PYTHON" -m verl_softthink.data.word_problems --out "$DATA" --prompt final_answer_examples
fi

budget=40 prompt_length=192 response_length=72
shared=(
    "data.train_files=$DATA/train.parquet" "data.val_files=$DATA/heldout.parquet" data.val_max_samples=128
    data.train_batch_size=8
    "data.max_prompt_length=$prompt_length" "data.max_response_length=$response_length"
    data.filter_overlong_prompts=True
    "actor_rollout_ref.model.path=$MODEL"
    # The same schedule in every arm; the paper's warm-up would be much of so short a run.
    actor_rollout_ref.actor.optim.lr=1e-5
    actor_rollout_ref.actor.optim.lr_scheduler_type=constant actor_rollout_ref.actor.optim.lr_warmup_steps=0
    actor_rollout_ref.actor.ppo_mini_batch_size=8 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8
    actor_rollout_ref.rollout.n=8
    # 46 KB a token: 64 responses and their prompts fit without preemption.
    actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes=$((1 << 30))
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    'actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]'
    +reward.custom_reward_function.reward_kwargs.grader=number
    trainer.total_training_steps=40 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=10
)
thinking=("softthink.phase.budget=$budget")
rloo=(softthink.phase.answer_budget=12)
clipped=(
    reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001
    actor_rollout_ref.actor.kl_loss_type=low_var_kl
)
if [ "$METHOD" = soft_grpo ]; then
    thinking+=(
        'softthink.phase.end_of_thinking="The final answer is:"' softthink.phase.match=text
        'softthink.phase.answer_prefix=" \boxed{"' 'softthink.phase.lead_in=" The final answer is: \boxed{"'
    )
fi
run cpu "$@"
