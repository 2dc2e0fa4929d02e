#!/usr/bin/env bash
# DeepSeek-R1-Distill-Qwen-1.5B on DeepScaleR with the paper's settings (arXiv 2512.01925), on 8 GPUs of 80 GB or more.
#
#   bash recipes/repro/run_qwen_gpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh); MODEL: hub name or directory; DATA: directory that is made when
# it is missing; GPUS: GPUs of this machine.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

MODEL=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B}
DATA=${DATA:-$PWD/outputs/data/reasoning}
GPUS=${GPUS:-8}
choose_output repro "qwen/seed$SEED" repro grpo soft_grpo_repro soft_grpo
if [ ! -f "$DATA/math500-test.parquet" ]; then
    "$PYTHON" -m verl_softthink.data.prepare deepscaler "$DATA"
    "$PYTHON" -m verl_softthink.data.prepare math500 "$DATA"
fi

prompt_length=2048 response_length=16384
shared=(
    "data.train_files=$DATA/deepscaler-train.parquet" "data.val_files=$DATA/math500-test.parquet" "data.seed=$SEED"
    data.train_batch_size=256
    data.max_prompt_length=$prompt_length data.max_response_length=$response_length
    data.filter_overlong_prompts=True
    "actor_rollout_ref.model.path=$MODEL"
    actor_rollout_ref.actor.optim.lr=1e-6 "actor_rollout_ref.actor.data_loader_seed=$SEED"
    actor_rollout_ref.actor.clip_ratio_low=0.2 actor_rollout_ref.actor.clip_ratio_high=0.28
    actor_rollout_ref.actor.ppo_mini_batch_size=64
    actor_rollout_ref.actor.use_dynamic_bsz=True
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=$((2 * (prompt_length + response_length)))
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001
    actor_rollout_ref.actor.kl_loss_type=low_var_kl
    actor_rollout_ref.rollout.n=8 actor_rollout_ref.rollout.temperature=1.0 actor_rollout_ref.rollout.top_p=1.0
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 actor_rollout_ref.rollout.gpu_memory_utilization=0.6
    actor_rollout_ref.rollout.max_model_len=$((prompt_length + response_length))
    actor_rollout_ref.rollout.val_kwargs.do_sample=True
    actor_rollout_ref.rollout.val_kwargs.temperature=0.6 actor_rollout_ref.rollout.val_kwargs.top_p=0.95
    "reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward"
    +reward.custom_reward_function.reward_kwargs.grader=math_verify
    "trainer.n_gpus_per_node=$GPUS" trainer.nnodes=1
    trainer.total_epochs=1 trainer.test_freq=20 trainer.save_freq=20
)
process=(
    softthink.repro.alpha=0.1 softthink.repro.segments=20
)
soft=(
    softthink.law.name=gumbel
)
run gpu "$@"
