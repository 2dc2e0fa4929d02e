#!/usr/bin/env bash
# Qwen3-4B-Base on a training set with worked solutions, on 8 GPUs of 80 GB.
#
#   DATA=DIR METHOD=variational_b bash recipes/variational/run_qwen_gpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh); MODEL: hub name or directory; GPUS: GPUs of this machine; DATA:
# directory with train.parquet, whose rows have extra_info.solution, and val.parquet, val_hard.parquet.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

MODEL=${MODEL:-Qwen/Qwen3-4B-Base}
GPUS=${GPUS:-8}
choose_output variational "qwen/seed$SEED" "${ARMS[@]}"
DATA=${DATA:?DATA=DIR with train.parquet (rows with extra_info.solution), val.parquet and val_hard.parquet is needed}

# Room for the worked solution in the posterior's prompt.
prompt_length=4096 response_length=12288
shared=(
    "data.train_files=$DATA/train.parquet" "data.val_files=[$DATA/val.parquet,$DATA/val_hard.parquet]"
    data.train_batch_size=64
    data.max_prompt_length=$prompt_length data.max_response_length=$response_length
    "actor_rollout_ref.model.path=$MODEL"
    actor_rollout_ref.actor.optim.lr=1e-6 actor_rollout_ref.actor.grad_clip=1.0
    actor_rollout_ref.actor.ppo_mini_batch_size=64
    actor_rollout_ref.actor.use_dynamic_bsz=True
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=$((2 * (prompt_length + response_length)))
    actor_rollout_ref.rollout.n=8 actor_rollout_ref.rollout.temperature=1.0
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 actor_rollout_ref.rollout.gpu_memory_utilization=0.6
    actor_rollout_ref.rollout.max_model_len=$((prompt_length + response_length))
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    "reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward"
    +reward.custom_reward_function.reward_kwargs.grader=math_verify
    "trainer.n_gpus_per_node=$GPUS" trainer.nnodes=1
    trainer.total_epochs=1 trainer.test_freq=20 trainer.save_freq=50
)
posterior=(
    softthink.variational.hint.source=solution
    # Answers are sampled from the model after the thought, without the hint, and then scored.
    softthink.variational.resampled_answers=4
)
run gpu "$@"
