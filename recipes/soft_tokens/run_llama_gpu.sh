#!/usr/bin/env bash
# Llama-3.2-3B-Instruct with the paper's settings (arXiv 2509.19170), on one machine with GPUs of 80 GB or more.
#
#   bash recipes/soft_tokens/run_llama_gpu.sh [verl overrides ...]
#   DATASET=math METHOD=fuzzy bash recipes/soft_tokens/run_llama_gpu.sh
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh); DATASET=gsm8k|math|deepscaler; MODEL: hub name or directory
# (Llama-3.1-8B-Instruct: LR=3e-6, Qwen2.5-3B-Instruct: LR=8e-6); DATA: directory that is made when it is missing;
# GPUS: GPUs of this machine.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

DATASET=${DATASET:-gsm8k}
case $DATASET in
    gsm8k) sets=(gsm8k) train=gsm8k-train held_out=gsm8k-test budget=128 ;;
    math) sets=(math math500) train=math-train held_out=math500-test budget=512 ;;
    deepscaler) sets=(deepscaler math500) train=deepscaler-train held_out=math500-test budget=512 ;;
    *)
        echo "DATASET=$DATASET is unknown; use gsm8k, math or deepscaler" >&2
        exit 2
        ;;
esac
MODEL=${MODEL:-meta-llama/Llama-3.2-3B-Instruct}
LR=${LR:-6e-6}
DATA=${DATA:-$PWD/outputs/data/final_answer}
GPUS=${GPUS:-1}
choose_output soft_tokens "llama-$DATASET/seed$SEED" "${METHODS[@]}"
if [ ! -f "$DATA/$train.parquet" ] || [ ! -f "$DATA/$held_out.parquet" ]; then
    for set in "${sets[@]}"; do
        "$PYTHON" -m verl_softthink.data.prepare "$set" "$DATA" --prompt final_answer
    done
fi

# Thinking, the lead-in (9 tokens or so) and 32 tokens of answer.
prompt_length=1024 response_length=$((budget + 64))
shared=(
    "data.train_files=$DATA/$train.parquet" "data.val_files=$DATA/$held_out.parquet"
    data.train_batch_size=2
    "data.max_prompt_length=$prompt_length" "data.max_response_length=$response_length"
    data.filter_overlong_prompts=True
    "actor_rollout_ref.model.path=$MODEL"
    "actor_rollout_ref.actor.optim.lr=$LR"
    actor_rollout_ref.actor.optim.lr_scheduler_type=cosine actor_rollout_ref.actor.optim.lr_warmup_steps=20
    actor_rollout_ref.actor.ppo_mini_batch_size=2 actor_rollout_ref.actor.use_dynamic_bsz=True
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=$((8 * (prompt_length + response_length)))
    actor_rollout_ref.rollout.n=32
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 actor_rollout_ref.rollout.gpu_memory_utilization=0.5
    "actor_rollout_ref.rollout.max_model_len=$((prompt_length + response_length))"
    'actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]'
    "trainer.n_gpus_per_node=$GPUS" trainer.nnodes=1
    trainer.total_training_steps=4000 trainer.test_freq=200 trainer.save_freq=200
)
thinking=("softthink.phase.budget=$budget")
rloo=()
clipped=(
    reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward
    +reward.custom_reward_function.reward_kwargs.grader=math_verify
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001
    actor_rollout_ref.actor.kl_loss_type=low_var_kl
)
if [ "$METHOD" = soft_grpo ]; then
    thinking+=(
        'softthink.phase.end_of_thinking="The final answer is:"' softthink.phase.match=text
        'softthink.phase.answer_prefix=" \boxed{"' 'softthink.phase.lead_in=" The final answer is: \boxed{"'
    )
fi
run gpu "$@"
